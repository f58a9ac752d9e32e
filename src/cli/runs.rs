//! `dmad runs`: find, inspect and compare recorded runs.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::Common;
use super::choice::{Overrides, glob};
use crate::console::say;
use crate::error::{Result, suggestion};
use crate::metrics::MetricName;
use crate::record::{self, MEAN, Recorded, RecordedRun};
use crate::report;
use crate::report::diff::{self, MetricDifference};
use crate::report::frame::{distinct, value};

/// Find, inspect and compare recorded runs.
#[derive(clap::Subcommand, Debug)]
pub(super) enum RunsCommand {
    /// All recorded runs with their mean numbers, those of earlier forms of an experiment as well.
    #[command(after_help = "\
Examples:
  dmad runs list --where method=dmad --where seen_anomalies=10
  dmad runs list results/table4 --where 'variant=no_*' --where state=earlier")]
    List {
        /// Experiment files, or folders below results/ [default: everything below --results]
        #[arg(value_name = "FILE|DIR")]
        targets: Vec<PathBuf>,
        /// Only runs with this value (* stands for anything) of a column, or of method, error, folder
        #[arg(long = "where", value_name = "COLUMN=GLOB", value_parser = condition)]
        conditions: Vec<(String, String)>,
    },
    /// Everything about one run.
    Show {
        /// Id of the run, its beginning, or EXPERIMENT/ID
        #[arg(value_name = "RUN")]
        run: String,
    },
    /// What differs between two runs: settings, numbers with paired intervals, classes.
    #[command(after_help = "\
Examples:
  dmad runs diff 3f2a 9c01
  dmad runs diff table4/3f2a table4/9c01 --format json")]
    Diff {
        /// The first run
        #[arg(value_name = "RUN")]
        first: String,
        /// The second run; differences are second minus first
        #[arg(value_name = "RUN")]
        second: String,
    },
}

/// False when some records were refused.
pub(super) fn run(command: &RunsCommand, common: &Common, as_json: bool) -> Result<bool> {
    match command {
        RunsCommand::List { targets, conditions } => list(targets, conditions, common, as_json),
        RunsCommand::Show { run } => show(run, common, as_json).map(|()| true),
        RunsCommand::Diff { first, second } => compare(first, second, common, as_json).map(|()| true),
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{:.1}", 100.0 * value))
}

/// `COLUMN=GLOB`.
fn condition(text: &str) -> Result<(String, String), String> {
    let (column, pattern) = text.split_once('=').ok_or("write COLUMN=GLOB, such as method=dmad")?;
    if COLUMNS.contains(&column) {
        return Ok((column.into(), pattern.into()));
    }
    Err(format!("no column `{column}`; {}", suggestion(column, COLUMNS)))
}

/// What runs can be listed by.
const COLUMNS: [&str; 11] = [
    "run",
    "experiment",
    "variant",
    "method",
    "dataset",
    "seen_anomalies",
    "seed",
    "state",
    "recorded",
    "error",
    "folder",
];

fn list(targets: &[PathBuf], conditions: &[(String, String)], common: &Common, as_json: bool) -> Result<bool> {
    let folders: Vec<PathBuf> = match targets.is_empty() {
        true if common.results == Path::new(super::RESULTS) && !common.results.exists() => {
            say!("no run is recorded here: there is no folder {}", common.results.display());
            Vec::new()
        }
        true => record::experiments(&common.results)?,
        false => targets
            .iter()
            .map(|target| super::report::folder(target, &Overrides::default(), common))
            .collect::<Result<_>>()?,
    };
    let (mut rows, mut fine) = (Vec::new(), true);
    for folder in folders {
        let earlier = match record::read_experiment(&folder, &report::kinds()) {
            Ok(recorded) => {
                super::report::refused(&recorded);
                fine &= recorded.refused.is_empty();
                rows.extend(recorded.runs.iter().map(|run| summary(&recorded, run)));
                recorded.others
            }
            Err(fault) => {
                let earlier = record::run_ids(&folder);
                if earlier.is_empty() && record::is_none_recorded(&fault) {
                    say!("{}: no run is recorded yet", folder.display());
                } else {
                    super::print_error(&fault);
                    fine = false;
                }
                earlier
            }
        };
        // Of those whose record is refused, only what is declared today is worth a word.
        if !earlier.is_empty() {
            let recorded = record::read_earlier(&folder, &earlier, &report::kinds())?;
            rows.extend(recorded.runs.iter().map(|run| {
                let mut row = summary(&recorded, run);
                row["state"] = "earlier".into();
                row
            }));
        }
    }
    rows.retain(|row| conditions.iter().all(|(column, pattern)| glob(pattern, &in_words(&row[column]))));
    super::print(&if as_json { format!("{:#}", Json::from(rows)) } else { as_table(&rows) })?;
    Ok(fine)
}

fn in_words(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => "–".into(),
        other => other.to_string(),
    }
}

/// Runs as a table for a terminal.
fn as_table(rows: &[Json]) -> String {
    let head =
        ["run", "experiment", "variant", "dataset", "seen", "seed", "state", "recorded", "image_auroc", "pixel_auroc"];
    let row = |row: &Json| {
        let numbers = [&row["image_auroc"], &row["pixel_auroc"]].map(|value| match row["state"] == "failed" {
            true => "failed".into(),
            false => percent(value.as_f64()),
        });
        let texts = ["run", "experiment", "variant", "dataset", "seen_anomalies", "seed", "state", "recorded"];
        [texts.map(|key| in_words(&row[key])).to_vec(), numbers.to_vec()].concat()
    };
    super::terminal::table(&head, rows.iter().map(row))
}

fn summary(recorded: &Recorded, run: &RecordedRun) -> Json {
    let spec = &run.spec;
    let mut json = json!({
        "run": run.id, "experiment": recorded.experiment.name, "variant": spec.variant, "method": spec.method_name(),
        "dataset": spec.dataset, "seen_anomalies": spec.protocol.seen.count, "seed": spec.seed,
        "state": if run.failure.is_some() { "failed" } else { "ok" }, "error": run.failure,
        "recorded": run.value(&["environment", "date"]).and_then(toml::Value::as_str),
        "labels": run.labels, "folder": run.file("").display().to_string(),
    });
    for metric in MetricName::ALL {
        json[metric.as_str()] = value(recorded, &run.id, MEAN, metric).into();
    }
    json
}

fn show(name: &str, common: &Common, as_json: bool) -> Result<()> {
    let recorded = record::find_run(&common.results, name, &report::kinds())?;
    let run = &recorded.runs[0];
    if as_json {
        let rows = recorded.metrics.iter().map(|row| {
            json!({ "class": row.class, "metric": row.metric, "value": row.value, "n_pos": row.n_pos,
                    "n_neg": row.n_neg, "error": row.error })
        });
        let whole = json!({ "summary": summary(&recorded, run), "rows": rows.collect::<Json>(), "record": run.toml });
        return super::print(&format!("{whole:#}"));
    }
    let spec = &run.spec;
    super::print(&format!(
        "{}/{}: {}, {}, {} seen, seed {}",
        recorded.experiment.name, run.id, spec.variant, spec.dataset, spec.protocol.seen.count, spec.seed
    ))?;
    if let Some(message) = &run.failure {
        super::print(&format!("failed: {message}"))?;
    }
    run.labels.iter().try_for_each(|label| super::print(&format!("label: {label}")))?;
    super::print(&classes(&recorded, run))?;
    super::print(&format!("{}\n{}", run.file("run.toml").display(), toml_text(run)))
}

/// Settings and provenance without the list of stages, which is in the log.
fn toml_text(run: &RecordedRun) -> String {
    let mut table = run.toml.clone();
    if let Some(provenance) = table.get_mut("provenance").and_then(toml::Value::as_table_mut) {
        provenance.remove("stages");
    }
    table.remove("class");
    toml::to_string(&table).unwrap_or_else(|fault| unreachable!("a record is plain data: {fault}"))
}

/// Classes × metrics of the only run.
fn classes(recorded: &Recorded, run: &RecordedRun) -> String {
    let names = distinct(recorded.metrics.iter().map(|row| row.class.as_str()));
    let head: Vec<&str> = std::iter::once("class").chain(MetricName::ALL.map(MetricName::as_str)).collect();
    let row = |class: &str| {
        let values = MetricName::ALL.map(|metric| percent(value(recorded, &run.id, class, metric)));
        std::iter::once(class.to_string()).chain(values).collect()
    };
    super::terminal::table(&head, names.into_iter().map(row))
}

fn compare(first: &str, second: &str, common: &Common, as_json: bool) -> Result<()> {
    let [first, second] = [first, second].map(|name| record::find_run(&common.results, name, &report::kinds()));
    let (first, second) = (first?, second?);
    let (a, b) = (&first.runs[0], &second.runs[0]);
    let (settings, origins) = (diff::settings(a, b), diff::origins(a, b));
    let metrics = diff::metrics((&first, a), (&second, b))?;
    if as_json {
        let whole = json!({
            "first": summary(&first, a), "second": summary(&second, b),
            "settings": settings, "origins": origins,
            "metrics": metrics.iter().map(difference_json).collect::<Json>(),
        });
        return super::print(&format!("{whole:#}"));
    }
    let (a, b) = (a.id.as_str(), b.id.as_str());
    for (title, list) in [("Settings", &settings), ("Origins", &origins)] {
        let rows = list.iter().map(|c| vec![c.key.clone(), or_dash(&c.first), or_dash(&c.second)]);
        super::print(&match list.is_empty() {
            true => format!("{title}: the same"),
            false => format!("{title} that differ\n{}", super::terminal::table(&["key", a, b], rows)),
        })?;
    }
    let head = ["metric", "class", a, b, "difference [95 %]", ""];
    for (title, is_mean) in [("Mean over the classes of both", true), ("By class", false)] {
        let rows = metrics.iter().filter(|own| (own.class == MEAN) == is_mean).map(row);
        super::print(&format!("{title}, percent\n{}", super::terminal::table(&head, rows)))?;
    }
    super::print(
        "Second minus first; 95 % intervals by paired bootstrap over the images of both (image metrics) or over classes (means of pixel metrics).",
    )
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "–".into() } else { text.into() }
}

fn row(own: &MetricDifference) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.1}"));
    let difference = match (own.interval, own.first, own.second) {
        (Some(i), ..) => format!("{:+.1} [{:+.1}, {:+.1}]", i.estimate, i.low, i.high),
        (None, Some(first), Some(second)) if own.remark.is_empty() => format!("{:+.1}", second - first),
        _ => "–".into(),
    };
    let remark = match own.left_out {
        0 => own.remark.clone(),
        count => format!("{count} images of only one left out"),
    };
    vec![own.metric.as_str().into(), own.class.clone(), number(own.first), number(own.second), difference, remark]
}

fn difference_json(own: &MetricDifference) -> Json {
    json!({
        "metric": own.metric.as_str(), "class": own.class, "first": own.first, "second": own.second,
        "difference": own.interval.map(|i| i.estimate), "low": own.interval.map(|i| i.low),
        "high": own.interval.map(|i| i.high), "images_left_out": own.left_out, "remark": own.remark,
    })
}
