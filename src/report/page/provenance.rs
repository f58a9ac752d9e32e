//! When, where and by what the runs were made.

use maud::{Markup, html};

use crate::record::{Recorded, RecordedRun};
use crate::report::export::{Field, sortable};
use crate::report::frame::distinct;
use crate::spec::RunSpec;

/// A declared run in words.
pub fn named(spec: &RunSpec) -> String {
    format!("{}, {}, {} seen, seed {}", spec.variant, spec.dataset, spec.protocol.seen.count, spec.seed)
}

/// A text of `run.toml`; empty where it has none.
fn text<'a>(run: &'a RecordedRun, path: &[&str]) -> &'a str {
    run.value(path).and_then(toml::Value::as_str).unwrap_or_default()
}

fn revision(run: &RecordedRun) -> String {
    let dirty = run.value(&["environment", "git_dirty"]).and_then(toml::Value::as_bool) == Some(true);
    let revision: String = text(run, &["environment", "git_revision"]).chars().take(12).collect();
    if dirty { format!("{revision} with changes") } else { revision }
}

/// When the runs were recorded, and on what, in a line below the title.
pub fn summary(recorded: &Recorded) -> Markup {
    let of = |path: &[&str]| {
        let all = distinct(recorded.runs.iter().map(|run| text(run, path)).filter(|text| !text.is_empty()));
        all.join(", ")
    };
    let dates: Vec<&str> = recorded.runs.iter().map(|run| text(run, &["environment", "date"])).collect();
    let minute = |date: &&str| date.get(..16).unwrap_or(date).replace('T', " ");
    let ends = [dates.iter().min().map(minute), dates.iter().max().map(minute)];
    let when = match ends {
        [Some(first), Some(last)] if first == last => format!("{first} UTC"),
        [Some(first), Some(last)] => format!("{first} to {last} UTC"),
        _ => String::new(),
    };
    let versions = distinct(
        recorded
            .runs
            .iter()
            .map(|run| format!("dmad {} ({})", text(run, &["environment", "crate_version"]), revision(run))),
    );
    let parts = [
        ("Recorded", when),
        ("on", of(&["environment", "host"])),
        ("computed by", of(&["provenance", "device_name"])),
        ("with", versions.join(", ")),
    ];
    let shown: Vec<String> =
        parts.into_iter().filter(|(_, what)| !what.is_empty()).map(|(how, what)| format!("{how} {what}")).collect();
    html! { @if !recorded.runs.is_empty() { p.about { (shown.join(" · ")) } } }
}

/// Every run with what it was made by.
pub fn table(recorded: &Recorded) -> Markup {
    let head = "run,variant,dataset,seen,seed,date,labels,version,revision,host,device,processor,threads,jobs,seconds,peak GB,dataset digest,weights digest,command";
    let head: Vec<&str> = head.split(',').collect();
    html! { @if !recorded.runs.is_empty() { (sortable(&head, recorded.runs.iter().map(row))) } }
}

fn row(run: &RecordedRun) -> Vec<Field> {
    let shown = |path: &[&str]| match run.value(path) {
        Some(toml::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "–".into(),
    };
    let number = |path: &[&str]| run.value(path).and_then(|v| v.as_float().or(v.as_integer().map(|i| i as f64)));
    let scaled = |path: &[&str], scale: f64| match number(path) {
        Some(value) => Field::number(format!("{:.1}", value * scale), Some(value)),
        None => Field::text("–"),
    };
    let digest = |text: &str| Field::text(text.chars().take(16).collect::<String>());
    vec![
        Field::text(&run.id),
        Field::text(&run.spec.variant),
        Field::text(&run.spec.dataset),
        Field::count(run.spec.protocol.seen.count as u64),
        Field::count(run.spec.seed),
        Field::text(shown(&["environment", "date"])),
        Field::long(run.failure.as_ref().map_or_else(|| run.labels.join("; "), |why| format!("failed: {why}"))),
        Field::text(shown(&["environment", "crate_version"])),
        Field::text(revision(run)),
        Field::text(shown(&["environment", "host"])),
        Field::text(shown(&["provenance", "device"])),
        Field::text(shown(&["environment", "cpu"])),
        Field::number(shown(&["provenance", "threads"]), number(&["provenance", "threads"])),
        Field::number(shown(&["provenance", "jobs"]), number(&["provenance", "jobs"])),
        scaled(&["provenance", "wall_seconds"], 1.0),
        scaled(&["provenance", "peak_memory_bytes"], 1e-9),
        digest(&run.dataset_digest),
        digest(&run.weights_digest),
        Field::long(shown(&["environment", "command"])),
    ]
}
