//! What records say, from records alone: tables, figures, rankings, claims, verdicts, one page. No model is ever run here.
//!
//! Owns: turning recorded rows into tables and judgements, and writing them as text, Markdown, CSV, LaTeX and HTML. Does
//! not own: what was recorded (`record`), the rules of judgements (`paper`), intervals (`metrics`).

pub mod claims;
pub mod diff;
pub mod evidence;
mod figures;
mod html;
mod latex;
mod marks;
mod pivot;
pub mod ranking;
mod render;
pub mod verdicts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::methods;
use crate::metrics::{self, Options};
use crate::record::{Recorded, RecordedRun};
use crate::spec::{Dimension, Kinds, MetricName, Table, lists_variant};
use crate::store::write_atomically;

pub use claims::Checked;
pub use figures::{FIGURES, Figures, draw_figures, write_figures};
pub use html::page;
pub use pivot::{Cell, Pivot};
pub use ranking::Ranking;
pub use render::plain;

/// All that experiment files may name.
pub fn kinds() -> Kinds {
    Kinds { methods: methods::kinds(), figures: FIGURES.iter().map(|entry| &entry.kind).collect() }
}

/// A finished table.
#[derive(Debug)]
pub struct Rendered {
    /// What it is of.
    pub title: String,
    /// Its cells.
    pub pivot: Pivot,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Who is best, where the table asks for it.
    pub rankings: Vec<Ranking>,
}

impl Rendered {
    /// For a terminal of `width` characters; `None` = of any width.
    pub fn text(&self, width: Option<usize>) -> String {
        let rankings: String = self.rankings.iter().map(|ranking| ranking.text() + "\n").collect();
        format!("{}\n{}\n{rankings}{}\n", self.title, render::text(&self.pivot, width), self.notes.join("\n"))
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let rankings: String = self.rankings.iter().map(Ranking::markdown).collect();
        render::markdown(&self.pivot, &self.title, &self.notes) + &rankings
    }

    /// For a program.
    pub fn csv(&self) -> String {
        render::csv(&self.pivot)
    }

    /// For a paper.
    pub fn latex(&self) -> String {
        latex::latex(&self.pivot, &self.title)
    }

    /// What belongs below that: title, number of seeds, labels, definitions, what is missing.
    pub fn latex_notes(&self) -> String {
        latex::notes(&self.title, &self.notes)
    }
}

/// The declared tables, or one of all metrics by class when none is declared.
///
/// # Errors
/// A damaged record, where a table ranks.
pub fn tables(recorded: &Recorded) -> Result<Vec<Rendered>> {
    let declared = &recorded.experiment.tables;
    let default = Table {
        rows: Dimension::Class,
        columns: Vec::new(),
        metrics: Vec::new(),
        classes: Vec::new(),
        datasets: Vec::new(),
        variants: Vec::new(),
        methods: Vec::new(),
        also: Vec::new(),
        rank: false,
        title: String::new(),
    };
    let specs = if declared.is_empty() { std::slice::from_ref(&default) } else { declared.as_slice() };
    let table = |spec: &Table| {
        let pivot = Pivot::new(recorded, spec);
        let rankings = if spec.rank { ranking::rank(recorded, spec)? } else { Vec::new() };
        let notes = notes(recorded, spec, &pivot);
        Ok(Rendered { title: title(recorded, spec), pivot, notes, rankings })
    };
    specs.iter().map(table).collect()
}

/// Writes tables and claims below the experiment's folder and returns the paths. Files of tables and claims that are no
/// longer declared go.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(recorded: &Recorded, tables: &[Rendered], claims: &[Checked]) -> Result<Vec<PathBuf>> {
    let folder = recorded.folder.join("tables");
    let mut files: Vec<(String, String)> = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let name = format!("table{}", number + 1);
        files.push((format!("{name}.md"), table.markdown()));
        files.push((format!("{name}.csv"), table.csv()));
        files.push((format!("{name}.tex"), table.latex()));
        files.push((format!("{name}_notes.tex"), table.latex_notes()));
        if !table.rankings.is_empty() {
            files.push((format!("{name}_ranking.csv"), ranking::csv(&table.rankings)));
        }
    }
    files.push(("costs.csv".into(), costs(recorded)));
    if !claims.is_empty() {
        files.push(("claims.md".into(), claims::markdown(claims)));
        files.push(("claims.csv".into(), claims::csv(claims)));
        files.push(("claims.tex".into(), claims::latex(claims)));
    }
    let write = |(name, text): (String, String)| {
        let path = folder.join(name);
        write_atomically(&path, text.as_bytes()).map(|()| path)
    };
    let paths = files.into_iter().map(write).collect::<Result<Vec<_>>>()?;
    remove_others(&folder, &["table", "claims"], &paths)?;
    Ok(paths)
}

/// Removes the files of a folder that begin like ours and are not among `kept`.
fn remove_others(folder: &Path, beginnings: &[&str], kept: &[PathBuf]) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if beginnings.iter().any(|beginning| name.starts_with(beginning)) && !kept.contains(&path) && path.is_file() {
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// What the stages of an experiment were expected to take, and what they took: one line per kind.
pub fn stage_costs(recorded: &Recorded) -> String {
    let mut kinds: Vec<(&str, usize, usize, f64, f64)> = Vec::new();
    let mut seen = BTreeSet::new();
    for stage in recorded.runs.iter().flat_map(|run| &run.stages) {
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
    let mut named = BTreeSet::new();
    let named_by =
        |run: &RecordedRun| (run.spec.variant.clone(), run.spec.dataset.clone(), run.spec.protocol.seen.count);
    let first = recorded.runs.iter().filter(|run| named.insert(named_by(run)));
    let in_use = first.filter_map(|run| {
        let cost = run.cost.as_ref()?;
        Some(vec![
            run.spec.variant.clone(),
            run.spec.dataset.clone(),
            run.spec.protocol.seen.count.to_string(),
            format!("{:.2}", cost.parameters as f64 / 1e6),
            format!("{:.1}", cost.bank_bytes as f64 / 1e6),
            format!("{:.1}", cost.milliseconds_per_image),
        ])
    });
    let head = ["in use", "dataset", "seen", "M parameters", "MB of banks", "ms per image"];
    format!("{stages}\n{}", render::plain(&head, in_use))
}

/// Numbers in backbone and model, and bytes of banks, by run. Times are left out: tables are the same for everyone.
fn costs(recorded: &Recorded) -> String {
    let mut out = "run,variant,seen_anomalies,seed,parameters,bank_bytes\n".to_string();
    for run in &recorded.runs {
        let Some(cost) = &run.cost else { continue };
        let (variant, seen, seed) = (render::quoted(&run.spec.variant), run.spec.protocol.seen.count, run.spec.seed);
        out += &format!("{},{variant},{seen},{seed},{},{}\n", run.id, cost.parameters, cost.bank_bytes);
    }
    out
}

/// How a metric is defined; where variants differ in that, each definition with its variants.
fn definitions(recorded: &Recorded, metric: MetricName) -> Vec<String> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for run in &recorded.experiment.runs {
        let options = Options { ap: run.spec.evaluation.ap, pro: run.spec.evaluation.pro };
        let Some(sentence) = metrics::definition(metric.as_str(), &options) else { continue };
        let place = found.iter().position(|(known, _)| *known == sentence).unwrap_or_else(|| {
            found.push((sentence, Vec::new()));
            found.len() - 1
        });
        if !found[place].1.contains(&run.spec.variant.as_str()) {
            found[place].1.push(&run.spec.variant);
        }
    }
    let name = metric.as_str();
    match &found[..] {
        [(sentence, _)] => vec![format!("{name}: {sentence}")],
        several => several.iter().map(|(s, variants)| format!("{name} of {}: {s}", variants.join(", "))).collect(),
    }
}

fn title(recorded: &Recorded, spec: &Table) -> String {
    if spec.title.is_empty() { recorded.experiment.title.clone() } else { spec.title.clone() }
}

/// What a reader must know of the numbers: definitions, spread, labels, cost, what is missing.
fn notes(recorded: &Recorded, spec: &Table, pivot: &Pivot) -> Vec<String> {
    let experiment = &recorded.experiment;
    let mut notes = vec![
        "Percent; ± is the standard deviation over seeds; \"mean\" is the unweighted mean over classes.".to_string(),
    ];
    match pivot.seeds() {
        Some((1, 1)) => notes.push("One seed behind every number.".into()),
        Some((fewest, most)) if fewest == most => notes.push(format!("n = {most} seeds behind every number.")),
        Some((fewest, most)) => {
            notes.push(format!("n = {fewest} to {most} seeds; the CSV says how many for each number."))
        }
        None => {}
    }
    let shown = if spec.metrics.is_empty() { &experiment.metrics } else { &spec.metrics };
    for metric in shown {
        notes.extend(definitions(recorded, *metric));
    }
    for label in pivot::common_labels(recorded) {
        notes.push(format!("All runs: {label}."));
    }
    for also in spec.also.iter().filter(|also| !pivot.names(also.name())) {
        notes.push(format!(
            "{}: not available, and compared with other numbers of seen anomalies than these.",
            also.name()
        ));
    }
    for class in spec.classes.iter().filter(|class| !recorded.metrics.iter().any(|row| row.class == **class)) {
        notes.push(format!("No recorded run has a class \"{class}\"."));
    }
    let reasons: BTreeSet<&String> = pivot
        .cells
        .iter()
        .flatten()
        .filter_map(|cell| match cell {
            Cell::Partial(.., reason) => Some(reason),
            _ => None,
        })
        .collect();
    notes.extend(reasons.into_iter().map(|reason| format!("* {reason}.")));
    let shown = recorded.runs.iter().filter(|run| {
        lists_variant(&spec.variants, &run.spec.variant)
            && (spec.datasets.is_empty() || spec.datasets.contains(&run.spec.dataset))
    });
    let common = pivot::common_labels(recorded);
    let told = |label: &&String| !common.contains(label) && !pivot.labels.contains(label);
    let untold: BTreeSet<&String> = shown.flat_map(|run| &run.labels).filter(told).collect();
    notes.extend(untold.into_iter().map(|label| format!("Some runs: {label}.")));
    notes.extend(pivot.labels.iter().enumerate().map(|(n, label)| format!("[{}] {label}.", pivot::letter(n))));
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
