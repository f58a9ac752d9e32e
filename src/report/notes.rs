//! What a reader must know of a table's numbers: definitions, spread, labels, what is missing.

use std::collections::BTreeSet;

use super::frame::{Wanted, distinct, groups};
use super::labels::{common, letter};
use super::pivot::{Cell, Pivot, metrics_of};
use crate::metrics::MetricName;
use crate::record::{Recorded, RecordedRun};
use crate::spec::Table;

/// All notes, in the order in which they are shown.
pub fn notes(recorded: &Recorded, spec: &Table, pivot: &Pivot) -> Vec<String> {
    let percent = "Percent; ± is the standard deviation over seeds; \"mean\" is the unweighted mean over classes.";
    let mut notes = vec![percent.to_string()];
    notes.extend(seeds(pivot));
    notes.extend(metrics_of(recorded, spec).iter().flat_map(|metric| definitions(recorded, *metric)));
    let common = common(recorded);
    notes.extend(common.iter().map(|label| format!("All runs: {label}.")));
    let names = &recorded.experiment.names;
    let unseen = spec.also.iter().map(|also| names.of(also.name())).filter(|name| !pivot.names(name));
    let elsewhere = "not available, and compared with other numbers of seen anomalies than these";
    notes.extend(unseen.map(|name| format!("{name}: {elsewhere}.")));
    let unknown = spec.classes.iter().filter(|class| !recorded.metrics.iter().any(|row| row.class == **class));
    notes.extend(unknown.map(|class| format!("No recorded run has a class \"{class}\".")));
    let partial = pivot.cells.iter().flatten().filter_map(|cell| match cell {
        Cell::Partial(.., reason) => Some(reason),
        _ => None,
    });
    notes.extend(partial.collect::<BTreeSet<_>>().into_iter().map(|reason| format!("* {reason}.")));
    let undefined = pivot.cells.iter().flatten().filter_map(|cell| match cell {
        Cell::Undefined(reason) if !reason.is_empty() => Some(reason),
        _ => None,
    });
    notes.extend(undefined.collect::<BTreeSet<_>>().into_iter().map(|reason| format!("undefined: {reason}.")));
    notes.extend(the_same(recorded, spec));
    notes.extend(untold(recorded, spec, &[common, pivot.labels.clone()].concat()));
    notes.extend(pivot.labels.iter().enumerate().map(|(n, label)| format!("[{}] {label}.", letter(n))));
    notes.extend(missing(recorded));
    notes
}

fn seeds(pivot: &Pivot) -> Option<String> {
    let (fewest, most) = pivot.seeds()?;
    Some(match (fewest, most) {
        (1, 1) => "One seed behind every number.".into(),
        _ if fewest == most => format!("n = {most} seeds behind every number."),
        _ => format!("n = {fewest} to {most} seeds; the CSV says how many for each number."),
    })
}

/// How a metric is defined; where variants differ in that, each definition with its variants.
fn definitions(recorded: &Recorded, metric: MetricName) -> Vec<String> {
    let runs = recorded.experiment.runs.iter();
    let sentence = |spec: &crate::spec::RunSpec| metric.definition(&spec.evaluation.definitions());
    let found = groups(runs.map(|spec| (sentence(spec), spec.variant.as_str())));
    let (name, names) = (metric.as_str(), &recorded.experiment.names);
    let shown = |variants: &[&str]| distinct(variants.iter().map(|variant| names.of(variant).into_owned()));
    let of = |variants: &[&str]| match found.len() {
        1 => String::new(),
        _ => format!(" of {}", shown(variants).join(", ")),
    };
    found.iter().map(|(sentence, variants)| format!("{name}{}: {sentence}", of(variants))).collect()
}

/// Labels of runs that are shown, besides those that are `told`.
fn untold(recorded: &Recorded, spec: &Table, told: &[String]) -> Vec<String> {
    let shown = Wanted { methods: &[], ..Wanted::of(spec) };
    let labels: BTreeSet<&String> =
        shown.runs(recorded).flat_map(|run| &run.labels).filter(|label| !told.contains(label)).collect();
    labels.into_iter().map(|label| format!("Some runs: {label}.")).collect()
}

/// Variants that come to the same computation: what they differ in is not used there.
fn the_same(recorded: &Recorded, spec: &Table) -> Vec<String> {
    let runs: Vec<&RecordedRun> = Wanted::of(spec).runs(recorded).collect();
    // Records stand for their last stage, which knows all that it was made of.
    let key = |run: &&RecordedRun| run.value(&["key"]).map(ToString::to_string);
    let names = &recorded.experiment.names;
    let several = groups(runs.iter().filter_map(|run| Some((key(run)?, *run)))).into_iter().filter_map(|(_, same)| {
        let variants = distinct(same.iter().map(|run| names.of(&run.spec.variant)));
        (variants.len() > 1).then(|| (variants.join(" and "), same[0].spec.protocol.seen.count))
    });
    let counts = groups(several).into_iter().map(|(variants, counts)| {
        let counts: Vec<String> = distinct(counts).iter().map(usize::to_string).collect();
        format!(
            "{variants} are the same computation at {} seen: what they differ in has no part in it.",
            counts.join(", ")
        )
    });
    counts.collect()
}

/// Runs without numbers.
fn missing(recorded: &Recorded) -> Vec<String> {
    let (missing, declared) = (&recorded.missing, recorded.experiment.runs.len());
    let list = || format!("{} of {declared} runs are not recorded: {}.", missing.len(), missing.join(", "));
    let failed = recorded.metrics.iter().filter(|row| row.status == "error");
    let mut failures: Vec<String> = failed.map(|row| format!("Run {} failed: {}", row.run, row.error)).collect();
    failures.dedup();
    (!missing.is_empty()).then(list).into_iter().chain(failures).collect()
}
