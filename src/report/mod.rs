//! Tables and figures from records alone. No model is ever run here.
//!
//! Owns: turning recorded rows into tables, and writing them as text, Markdown and CSV. Does not own: what was recorded.

mod figures;
mod pivot;
mod render;

use std::path::PathBuf;

use crate::error::Result;
use crate::metrics::{self, Options};
use crate::record::Recorded;
use crate::spec::{Dimension, Table};
use crate::store::write_atomically;

pub use figures::{DrawnFigure, Figures, draw_figures, write_figures};
pub use pivot::{Cell, Pivot};
pub use render::plain;

/// A finished table.
#[derive(Debug)]
pub struct Rendered {
    /// For a terminal.
    pub text: String,
    /// For a document.
    pub markdown: String,
    /// For a program.
    pub csv: String,
}

/// The declared tables, or one of all metrics by class when none is declared.
pub fn tables(recorded: &Recorded) -> Vec<Rendered> {
    let declared = &recorded.experiment.tables;
    let default = Table {
        rows: Dimension::Class,
        columns: Vec::new(),
        metrics: Vec::new(),
        classes: Vec::new(),
        datasets: Vec::new(),
        variants: Vec::new(),
        title: String::new(),
    };
    let specs = if declared.is_empty() { std::slice::from_ref(&default) } else { declared.as_slice() };
    specs
        .iter()
        .map(|spec| render::render(&Pivot::new(recorded, spec), &title(recorded, spec), &notes(recorded, spec)))
        .collect()
}

/// Writes the tables below the experiment's folder and returns the paths.
pub fn write(recorded: &Recorded, tables: &[Rendered]) -> Result<Vec<PathBuf>> {
    let folder = recorded.folder.join("tables");
    let mut paths = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        for (extension, text) in [("md", &table.markdown), ("csv", &table.csv)] {
            let path = folder.join(format!("table{}.{extension}", number + 1));
            write_atomically(&path, text.as_bytes())?;
            paths.push(path);
        }
    }
    Ok(paths)
}

/// What the stages of an experiment were expected to take, and what they took: one line per kind.
pub fn stage_costs(recorded: &Recorded) -> String {
    let mut kinds: Vec<(&str, usize, usize, f64, f64)> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for stage in &recorded.stages {
        let place = kinds.iter().position(|kind| kind.0 == stage.kind).unwrap_or_else(|| {
            kinds.push((&stage.kind, 0, 0, 0.0, 0.0));
            kinds.len() - 1
        });
        let kind = &mut kinds[place];
        kind.2 += 1;
        if seen.insert(&stage.key) {
            kind.1 += 1;
            kind.3 += stage.estimated_seconds;
            kind.4 += stage.wall_seconds;
        }
    }
    let rows = kinds.iter().map(|&(kind, distinct, uses, expected, actual)| {
        vec![kind.into(), distinct.to_string(), uses.to_string(), format!("{expected:.1}"), format!("{actual:.1}")]
    });
    let stages = render::plain(&["stages", "computed", "used", "expected s", "actual s"], rows);
    let mut named = std::collections::BTreeSet::new();
    let first = recorded.costs.iter().filter(|cost| named.insert((&cost.variant, cost.seen_anomalies)));
    let in_use = first.map(|cost| {
        let time = format!("{:.1}", cost.milliseconds_per_image);
        vec![cost.variant.clone(), cost.seen_anomalies.to_string(), time]
    });
    format!("{stages}\n{}", render::plain(&["in use", "seen", "ms per image"], in_use))
}

fn title(recorded: &Recorded, spec: &Table) -> String {
    if spec.title.is_empty() { recorded.experiment.title.clone() } else { spec.title.clone() }
}

/// What a reader must know of the numbers: definitions, spread, labels, cost, what is missing.
fn notes(recorded: &Recorded, spec: &Table) -> Vec<String> {
    let experiment = &recorded.experiment;
    let mut notes = vec![
        "Percent; ± is the standard deviation over seeds; \"mean\" is the unweighted mean over classes.".to_string(),
    ];
    let shown = if spec.metrics.is_empty() { &experiment.metrics } else { &spec.metrics };
    let options = experiment
        .runs
        .first()
        .map(|run| Options { ap: run.spec.evaluation.ap, pro: run.spec.evaluation.pro })
        .unwrap_or_default();
    for metric in shown {
        if let Some(sentence) = metrics::definition(metric.as_str(), &options) {
            notes.push(format!("{}: {sentence}", metric.as_str()));
        }
    }
    for label in pivot::common_labels(recorded) {
        notes.push(format!("All runs: {label}."));
    }
    notes.extend(costs(recorded));
    if !recorded.missing.is_empty() {
        notes.push(format!(
            "{} of {} runs are not recorded: {}.",
            recorded.missing.len(),
            experiment.runs.len(),
            recorded.missing.join(", ")
        ));
    }
    let mut failures: Vec<String> = recorded
        .metrics
        .iter()
        .filter(|row| row.status == "error")
        .map(|row| format!("Run {} failed: {}", row.run, row.error))
        .collect();
    failures.dedup();
    notes.extend(failures);
    notes
}

/// One line per variant and number of seen anomalies: parameters and bank of the first seed. Times are no part of a
/// table, which is to be the same for everyone.
fn costs(recorded: &Recorded) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for cost in &recorded.costs {
        let name = format!("Cost in use, {}, {} seen:", cost.variant, cost.seen_anomalies);
        if !lines.iter().any(|line| line.starts_with(&name)) {
            lines.push(format!(
                "{name} {:.2} M parameters, {:.1} MB of banks.",
                cost.parameters as f64 / 1e6,
                cost.bank_bytes as f64 / 1e6,
            ));
        }
    }
    lines
}
