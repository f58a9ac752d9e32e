//! `dmad run`: train, evaluate, record, print the tables.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::choice::{Choice, repeats};
use super::{Common, bases};
use crate::clock::{self, Clock};
use crate::console::{insist, say};
use crate::error::{Error, Result};
use crate::export::live::{Ear, Live as Tracking};
use crate::export::mlflow::SPOOL;
use crate::run::{Expected, Failure, Isolate, Live, Needs, Options, Session, Summary};
use crate::spec::{Experiment, Run};
use crate::{record, report, run, stop};

/// Run experiments.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad run experiments/quickstart.toml
  dmad run experiments/real/mini.toml --seeds 0 --only full
  dmad run experiments/quickstart.toml --set image.size=320 --set method.train.epochs=5     as if the file said so
  dmad run experiments/real/mini.toml --shard 1/4       the first quarter; the others on other machines
  dmad run experiments/real/mini.toml --jobs 1          one stage after the other, so that each is timed alone
  dmad run experiments/quickstart.toml --profile spans.json   what was computed when, for a trace viewer
A run that is recorded and up to date is not done again; one that was interrupted goes on where it was.\nSeveral processes may run the same experiment at once: they share the work.")]
pub struct Args {
    #[command(flatten)]
    choice: Choice,
    /// End the experiment at the first run that fails; runs that are under way are brought to their end
    #[arg(long)]
    fail_fast: bool,
    /// Give every run a process of its own: one that dies (out of memory) takes no other with it; not with --profile
    #[arg(long)]
    isolate: bool,
    /// Begin without asking, whatever is expected of time and memory
    #[arg(long)]
    yes: bool,
    /// Leave no small pictures of the test images for the page's gallery
    #[arg(long)]
    no_gallery: bool,
    /// Write what was computed when to this file, which trace viewers open (ui.perfetto.dev, chrome://tracing)
    #[arg(long, value_name = "FILE", conflicts_with = "isolate")]
    profile: Option<PathBuf>,
    /// This is such a process
    #[arg(long, hide = true)]
    child: bool,
}

/// Expected seconds beyond which whoever sits at the terminal is asked.
const LONG_SECONDS: f64 = 3600.0;

/// True when no run failed and every report was made.
pub fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let mut chosen = args.choice.load()?;
    let mut progress = common.progress()?;
    if let Some(path) = &args.profile {
        let trace = run::Trace::create(path)?;
        progress = progress.heard_by(move |event| trace.hear(event));
    }
    let ear = Ear::default();
    let hears = ear.clone();
    progress = progress.heard_by(move |event| hears.hear(event));
    let catalog = common.catalog()?.beside(&args.choice.selection.files);
    let session = Session::open(args.choice.resources(common)?, catalog, progress)?;
    let needs = check(&session, &mut chosen, &args.choice.selection.files, common)?;
    if !args.child {
        chosen.iter().filter_map(|(_, runs)| repeats(runs)).for_each(|note| say!("note: {note}"));
        confirm(&session, &needs, args.yes)?;
    }
    let isolate = args.isolate.then(isolated).transpose()?;
    let options = Options { fail_fast: args.fail_fast, isolate, is_child: args.child, album: !args.no_gallery };
    let mut fine = true;
    stop::listen();
    for ((experiment, runs), Needs { expected, .. }) in chosen.iter().zip(needs) {
        let clock = Clock::start();
        warn_of_namesake(experiment, common);
        let tracking = if args.child { None } else { tracking(experiment, common, &ear) };
        let mut summary = match watched(&session, experiment, runs, expected, &options) {
            // One of several that cannot be recorded keeps nobody from the others.
            Err(fault) if chosen.len() > 1 && !args.child && !args.fail_fast && !fault.ends_everything() => {
                super::print_error(&fault);
                fine = false;
                continue;
            }
            summary => summary?,
        };
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
        if let Some(tracking) = tracking {
            tracking.finish();
        }
        let given = args.choice.selection.overrides.given();
        tell(experiment, &summary, clock.wall_seconds(), (common, &given));
        if let Err(fault) = shown {
            unreported(experiment, &fault, (common, &given));
            fine = false;
        }
        if args.fail_fast && !done {
            break;
        }
    }
    Ok(fine)
}

/// Says that an experiment's folder is that of another file.
fn warn_of_namesake(experiment: &Experiment, common: &Common) {
    let folder = common.results.join(&experiment.name);
    if let Some(other) = record::other_origin(&folder, &experiment.path) {
        let (own, folder) = (experiment.path.display(), folder.display());
        say!(
            "{folder} is that of {}, which has the same `name` as {own}: its runs stay, its tables are replaced",
            other.display()
        );
    }
}

/// Whoever the experiment wants told of its runs.
fn tracking(experiment: &Experiment, common: &Common, ear: &Ear) -> Option<Tracking> {
    let folder = common.results.join(&experiment.name);
    Tracking::start(&experiment.tracking, &folder, &common.results.join(SPOOL), ear)
}

/// Runs an experiment; while it runs, its page and its status can be looked at.
fn watched(
    session: &Session,
    experiment: &Experiment,
    runs: &[Run],
    expected: Expected,
    options: &Options,
) -> Result<Summary> {
    let work = || run::experiment(session, experiment, runs, expected, options);
    // The process that has started this one tells of it.
    if options.is_child || runs.is_empty() {
        return work();
    }
    let live = Live::begin(session, experiment, runs.len());
    let folder = session.resources.results.join(&experiment.name);
    let summary = live.during(|| super::report::renew(&folder, &experiment.kinds), work);
    live.finish(summary.as_ref().map_or(true, |summary| summary.skipped > 0));
    summary
}

/// What the stages of every experiment are expected to take. Files that are there to be included, and cannot be run, leave.
fn check(
    session: &Session,
    chosen: &mut Vec<(Experiment, Vec<Run>)>,
    files: &[PathBuf],
    common: &Common,
) -> Result<Vec<Needs>> {
    let mut needs = Vec::new();
    for (experiment, runs) in std::mem::take(chosen) {
        match run::check(session, &experiment, &runs) {
            Err(fault) if bases::is_base(&experiment.path, &experiment.name, files, common) => {
                say!("{}", bases::passed_over(&experiment.path, &fault));
            }
            Err(fault) => {
                if files.len() > 1 {
                    insist!("{} cannot be run:", experiment.path.display());
                }
                return Err(fault);
            }
            Ok(own) => {
                needs.push(own);
                chosen.push((experiment, runs));
            }
        }
    }
    Ok(needs)
}

/// Asks before something begins that this machine has no memory for, or that takes hours; where nobody can be asked, a lack of
/// memory is an error.
fn confirm(session: &Session, needs: &[Needs], yes: bool) -> Result<()> {
    let seconds: f64 = needs.iter().map(|own| own.seconds).sum();
    let (wanted, allowed) =
        (needs.iter().map(|own| own.memory_bytes).max().unwrap_or(0), session.resources.memory_bytes);
    let there = clock::memory_bytes();
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let memory = format!(
        "a stage is expected to take {:.1} GB of memory; {:.1} GB are allowed, of {:.1} GB that this machine has",
        gigabytes(wanted),
        gigabytes(allowed),
        gigabytes(there)
    );
    let smaller =
        "make image.size, backbone.layers, the banks or batches smaller (`dmad plan --stages FILE` names the stage)";
    let long = seconds > LONG_SECONDS;
    if yes || (wanted <= allowed && !long) {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return match wanted > there {
            true => Err(Error::usage(memory, format!("{smaller}, or begin all the same with --yes"))),
            false => {
                if wanted > allowed {
                    say!("note: {memory}");
                }
                Ok(())
            }
        };
    }
    if wanted > allowed {
        insist!("{memory}\n  help: {smaller}");
    }
    insist!("This is expected to take {}. Begin? [y/N]", run::duration(seconds));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(Error::io("read", "the answer"))?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::usage("not begun", "--yes begins without asking")),
    }
}

/// Prints and writes what the experiment's records say, and what its stages took when some were computed now.
fn show(experiment: &Experiment, computed: bool, common: &Common, json: bool) -> Result<()> {
    let recorded = record::read_experiment(&common.results.join(&experiment.name), &experiment.kinds)?;
    super::report::refused(&recorded);
    super::report::show(&recorded, json)?;
    if !json && computed {
        super::print(&report::stage_costs(&recorded))?;
    }
    Ok(())
}

/// Says why an experiment has no report, or an old one.
fn unreported(experiment: &Experiment, fault: &Error, (common, given): (&Common, &str)) {
    super::print_error(fault);
    let file = super::quoted(&experiment.path.to_string_lossy());
    let command = format!("dmad report {file}{given}{}", common.given());
    insist!("  the runs of {} stay recorded; its report is made by `{command}`", experiment.name);
}

/// This program with these arguments, once for every run.
fn isolated() -> Result<Isolate> {
    let program = std::env::current_exe().map_err(Error::io("find", "this program"))?;
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let options = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let files = arguments.split_off(options);
    arguments.retain(|argument| argument != "--isolate");
    // The choice of runs is made anew for each, and its share of the memory.
    for option in ["--only", "--seeds", "--shard", "--jobs", "--memory"] {
        while let Some(place) = arguments.iter().position(|argument| argument == option) {
            arguments.drain(place..(place + 2).min(arguments.len()));
        }
        let joined = format!("{option}=");
        arguments.retain(|argument| !argument.to_string_lossy().starts_with(&joined));
    }
    Ok(Isolate { program, arguments, files })
}

fn tell(experiment: &Experiment, summary: &Summary, seconds: f64, (common, given): (&Common, &str)) {
    let folder = common.results.join(&experiment.name);
    say!(
        "{}: {} runs done, {} were up to date, {} failed, in {}; recorded in {}, the page is report.html there",
        experiment.name,
        summary.done,
        summary.current,
        summary.failed.len(),
        run::duration(seconds),
        folder.display()
    );
    for (id, variant, why) in &summary.stale {
        say!("  was stale: {id} ({variant}): {why}");
    }
    for Failure { run, variant, seed, message } in &summary.failed {
        insist!("  failed: {run} ({variant}): {message}");
        let file = super::quoted(&experiment.path.to_string_lossy());
        insist!("    again: dmad run {file} --seeds {seed} --only {run}{given}{}", common.given());
    }
    if summary.skipped > 0 {
        say!("  {} runs were not begun after the failure (--fail-fast)", summary.skipped);
    }
}
