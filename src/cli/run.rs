//! `dmad run`: train, evaluate, record, print the tables.

use std::path::PathBuf;

use super::Common;
use crate::error::{Error, Result};
use crate::run::{Progress, Session, Summary};
use crate::spec::{self, Experiment, Run};
use crate::{methods, record, report, run};

/// Run experiments.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad run experiments/quickstart.toml
  dmad run experiments/real/mini.toml --seeds 0 --only full
A run that is recorded and up to date is not done again.")]
pub struct Args {
    /// Experiment files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only these seeds; others than the file's join it
    #[arg(long, value_delimiter = ',', value_name = "N,…", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seeds: Option<Vec<u64>>,
    /// Only runs whose variant or id matches this pattern (* stands for anything)
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
}

/// True when no run failed.
pub fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let methods = methods::kinds();
    let experiments = args
        .files
        .iter()
        .map(|file| spec::load(file, &methods, args.seeds.as_deref().unwrap_or_default()))
        .collect::<Result<Vec<Experiment>>>()?;
    if let Some((a, b)) = twice(&experiments) {
        let (first, second) = (a.path.display(), b.path.display());
        let what = format!("{first} and {second} are both named \"{}\", so they would share a results folder", a.name);
        return Err(Error::usage(what, "give one of them another `name`"));
    }
    let session = Session::open(common.settings(), common.catalog()?, Progress::new())?;
    let selected: Vec<Vec<Run>> = experiments.iter().map(|experiment| select(experiment, args)).collect();
    if let (Some(pattern), true) = (&args.only, selected.iter().all(Vec::is_empty)) {
        return Err(run::nothing_to_run(pattern, &experiments));
    }
    for (experiment, runs) in experiments.iter().zip(&selected) {
        run::check(&session, experiment, runs)?;
    }
    let mut fine = true;
    for (experiment, runs) in experiments.iter().zip(&selected) {
        let summary = run::experiment(&session, experiment, runs)?;
        let recorded = record::read_experiment(&common.results.join(&experiment.name), &methods)?;
        let tables = report::tables(&recorded);
        report::write(&recorded, &tables)?;
        match json {
            true => print_json(experiment, &recorded)?,
            false => tables.iter().try_for_each(|table| super::print(&table.text))?,
        }
        say(experiment, &summary, common);
        fine &= summary.failed.is_empty();
    }
    Ok(fine)
}

fn twice(experiments: &[Experiment]) -> Option<(&Experiment, &Experiment)> {
    let pairs = experiments.iter().enumerate().flat_map(|(i, a)| experiments[i + 1..].iter().map(move |b| (a, b)));
    pairs.into_iter().find(|(a, b)| a.name == b.name)
}

fn select(experiment: &Experiment, args: &Args) -> Vec<Run> {
    let named = |run: &Run, pattern: &str| matches(pattern, &run.spec.variant) || matches(pattern, &run.spec.id());
    let wanted = |run: &&Run| {
        args.seeds.as_ref().is_none_or(|seeds| seeds.contains(&run.spec.seed))
            && args.only.as_ref().is_none_or(|pattern| named(run, pattern))
    };
    experiment.runs.iter().filter(wanted).cloned().collect()
}

/// Shell-like match in which only * is special.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices().map(|(i, _)| i).chain([rest.len()]).any(|i| matches(tail, &rest[i..]))
        }),
    }
}

fn print_json(experiment: &Experiment, recorded: &record::Recorded) -> Result<()> {
    let rows: Vec<_> = recorded.metrics.iter().map(|row| serde_json::json!({
        "run": row.run, "variant": row.variant, "method": row.method, "dataset": row.dataset, "class": row.class,
        "setting": row.setting, "seen_anomalies": row.seen_anomalies, "seed": row.seed, "metric": row.metric,
        "value": row.value, "status": row.status, "error": row.error,
    })).collect();
    super::print(&serde_json::json!({ "experiment": experiment.name, "rows": rows }).to_string())
}

fn say(experiment: &Experiment, summary: &Summary, common: &Common) {
    let folder = common.results.join(&experiment.name);
    eprintln!(
        "{}: {} runs done, {} were up to date, {} failed; recorded in {}",
        experiment.name,
        summary.done,
        summary.current,
        summary.failed.len(),
        folder.display()
    );
    for (id, variant, message) in &summary.failed {
        eprintln!("  failed: {id} ({variant}): {message}");
        eprintln!("    again: dmad run {} --only {id}", experiment.path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("full", "full", true),
            ("full", "fuller", false),
            ("no_*", "no_filter", true),
            ("*_s*n", "no_seen", true),
            ("*", "", true),
            ("a*b", "ac", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} against {text}");
        }
    }
}
