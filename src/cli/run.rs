//! `dmad run`: train, evaluate, record, print the tables.

use std::path::PathBuf;

use wildmatch::WildMatchPattern;

use super::Common;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::run::{Failure, Isolate, Options, Session, Summary};
use crate::spec::{self, Experiment, Run};
use crate::{record, report, run};

/// Run experiments.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad run experiments/quickstart.toml
  dmad run experiments/real/mini.toml --seeds 0 --only full
  dmad run experiments/real/mini.toml --shard 1/4       the first quarter; the others on other machines
A run that is recorded and up to date is not done again; one that was interrupted goes on where it was.\nSeveral processes may run the same study at once: they share the work.")]
pub struct Args {
    /// Experiment files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// End the study at the first run that fails
    #[arg(long)]
    fail_fast: bool,
    /// Give every run a process of its own: one that dies (out of memory) takes no other with it
    #[arg(long)]
    isolate: bool,
    /// This is such a process
    #[arg(long, hide = true)]
    child: bool,
}

/// Which runs of the files.
#[derive(clap::Args, Debug)]
pub(super) struct Choice {
    /// Only these seeds; others than the file's join it
    #[arg(long, value_delimiter = ',', value_name = "N,…", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seeds: Option<Vec<u64>>,
    /// Only runs whose variant or id matches this pattern (* stands for anything)
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
    /// Only the i-th of n parts of the runs (1-based), for job arrays; parts share results and store
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
}

impl Choice {
    /// Reads experiment files; the chosen seeds join theirs.
    pub(super) fn load(&self, files: &[PathBuf]) -> Result<Vec<Experiment>> {
        let (kinds, seeds) = (report::kinds(), self.seeds.as_deref().unwrap_or_default());
        files.iter().map(|file| spec::load(file, &kinds, seeds)).collect()
    }

    /// The chosen runs, in the experiment's order.
    pub(super) fn select(&self, experiment: &Experiment) -> Vec<Run> {
        let named = |run: &Run, pattern: &str| glob(pattern, &run.spec.variant) || glob(pattern, &run.spec.id);
        let wanted = |run: &&Run| {
            self.seeds.as_ref().is_none_or(|seeds| seeds.contains(&run.spec.seed))
                && self.only.as_ref().is_none_or(|pattern| named(run, pattern))
        };
        let runs: Vec<Run> = experiment.runs.iter().filter(wanted).cloned().collect();
        match self.shard {
            Some(shard) => shard.of(&runs),
            None => runs,
        }
    }
}

/// One of several parts of a study.
#[derive(Clone, Copy, Debug)]
struct Shard {
    number: usize,
    parts: usize,
}

fn shard(text: &str) -> std::result::Result<Shard, String> {
    let help = || format!("`{text}` is no part such as 2/8 (from 1/8 to 8/8)");
    let (number, parts) = text.split_once('/').ok_or_else(help)?;
    let (number, parts) = (number.parse().map_err(|_| help())?, parts.parse().map_err(|_| help())?);
    if number >= 1 && number <= parts { Ok(Shard { number, parts }) } else { Err(help()) }
}

impl Shard {
    /// Neighbours stay together, since they share most stages.
    fn of<T: Clone>(self, all: &[T]) -> Vec<T> {
        let edge = |number: usize| all.len() * number / self.parts;
        all[edge(self.number - 1)..edge(self.number)].to_vec()
    }
}

/// True when no run failed and every report was made.
pub fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let experiments = args.choice.load(&args.files)?;
    if let Some((a, b)) = twice(&experiments) {
        let (first, second) = (a.path.display(), b.path.display());
        let what = format!("{first} and {second} are both named \"{}\", so they would share a results folder", a.name);
        return Err(Error::usage(what, "give one of them another `name`"));
    }
    let session = Session::open(common.settings(), common.catalog()?, common.progress()?)?;
    let selected: Vec<Vec<Run>> = experiments.iter().map(|experiment| args.choice.select(experiment)).collect();
    if let (Some(pattern), true) = (&args.choice.only, selected.iter().all(Vec::is_empty)) {
        return Err(run::nothing_to_run(pattern, &experiments));
    }
    for (experiment, runs) in experiments.iter().zip(&selected) {
        run::check(&session, experiment, runs)?;
    }
    let isolate = args.isolate.then(isolated).transpose()?;
    let options = Options { fail_fast: args.fail_fast, isolate, is_child: args.child };
    let mut fine = true;
    for (experiment, runs) in experiments.iter().zip(&selected) {
        let clock = Clock::start();
        let mut summary = run::experiment(&session, experiment, runs, &options)?;
        let done = summary.failed.is_empty() && summary.skipped == 0;
        fine &= done;
        if args.child {
            continue;
        }
        let shown = match summary.unreported.take() {
            Some(fault) => Err(fault),
            None if runs.is_empty() => Ok(()),
            None => show(experiment, summary.done > 0, common, json),
        };
        say(experiment, &summary, clock.wall_seconds(), common);
        if let Err(fault) = shown {
            unreported(experiment, &fault);
            fine = false;
        }
        if args.fail_fast && !done {
            break;
        }
    }
    Ok(fine)
}

/// Prints and writes what the experiment's records say, and what its stages took when some were computed now.
fn show(experiment: &Experiment, computed: bool, common: &Common, json: bool) -> Result<()> {
    let recorded = record::read_experiment(&common.results.join(&experiment.name), &experiment.kinds)?;
    super::report::show(&recorded, json)?;
    if !json && computed {
        super::print(&report::stage_costs(&recorded))?;
    }
    Ok(())
}

/// Says why an experiment has no report, or an old one.
fn unreported(experiment: &Experiment, fault: &Error) {
    super::print_error(fault);
    let file = experiment.path.display();
    eprintln!("  the runs of {} stay recorded; its report is made by `dmad report {file}`", experiment.name);
}

/// This program with these arguments, once for every run.
fn isolated() -> Result<Isolate> {
    let program = std::env::current_exe().map_err(Error::io("find", "this program"))?;
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    arguments.retain(|argument| argument != "--isolate");
    // The choice of runs is made anew for each.
    for option in ["--only", "--seeds", "--shard"] {
        while let Some(place) = arguments.iter().position(|argument| argument == option) {
            arguments.drain(place..(place + 2).min(arguments.len()));
        }
        let joined = format!("{option}=");
        arguments.retain(|argument| !argument.to_string_lossy().starts_with(&joined));
    }
    Ok(Isolate { program, arguments })
}

fn twice(experiments: &[Experiment]) -> Option<(&Experiment, &Experiment)> {
    let pairs = experiments.iter().enumerate().flat_map(|(i, a)| experiments[i + 1..].iter().map(move |b| (a, b)));
    pairs.into_iter().find(|(a, b)| a.name == b.name)
}

/// A match in which only * is special: the names of swept variants hold brackets.
fn glob(pattern: &str, text: &str) -> bool {
    WildMatchPattern::<'*', '\0'>::new(pattern).matches(text)
}

fn say(experiment: &Experiment, summary: &Summary, seconds: f64, common: &Common) {
    let folder = common.results.join(&experiment.name);
    eprintln!(
        "{}: {} runs done, {} were up to date, {} failed, in {}; recorded in {}",
        experiment.name,
        summary.done,
        summary.current,
        summary.failed.len(),
        run::duration(seconds),
        folder.display()
    );
    for (id, variant, why) in &summary.stale {
        eprintln!("  was stale: {id} ({variant}): {why}");
    }
    for Failure { run, variant, seed, message } in &summary.failed {
        eprintln!("  failed: {run} ({variant}): {message}");
        eprintln!("    again: dmad run {} --seeds {seed} --only {run}", experiment.path.display());
    }
    if summary.skipped > 0 {
        eprintln!("  {} runs were not begun after the failure (--fail-fast)", summary.skipped);
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("full", "full", true),
            ("full", "fuller", false),
            ("no_*", "no_filter", true),
            ("*_s*n", "no_seen", true),
            ("*", "", true),
            ("a*b", "ac", false),
            ("full[ratio=*]", "full[ratio=0.1]", true),
            ("f?ll", "full", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} against {text}");
        }
    }
}
