//! `dmad verdict`: what our recorded numbers say of the numbers that the paper printed.
//!
//! Owns: which recorded rows belong to a printed value, under which conditions they were measured, and the printed
//! forms. Does not own: the rule (`paper::verdict`). Reads records alone; no model is run.

use std::path::PathBuf;

use comfy_table::{Cell as TextCell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;

use super::Common;
use crate::data::Catalog;
use crate::error::{Error, Result};
use crate::methods;
use crate::metrics::{self, Options};
use crate::paper::verdict::{
    Conditions, Ours, Outcome, PaperConditions, Reason, Tolerances, Verdict, judge, reasons, tally,
};
use crate::paper::{Cell, Key, MEAN, Published, audit};
use crate::record::{MetricRecord, Recorded, read_experiment};
use crate::spec::{BASE_VARIANT, MaskResize, MetricName, RunSpec, Setting};

/// Backbones of the compared methods, all with ImageNet weights: DMAD's paper §4.2, the other methods' own papers.
const BACKBONES: [(&str, &str); 5] = [
    ("dmad", "wide_resnet50_2 imagenet"),
    ("simplenet", "wide_resnet50_2 imagenet"),
    ("uniad", "efficientnet_b4 imagenet"),
    ("dra", "resnet18 imagenet"),
    ("bgad", "efficientnet_b6 imagenet"),
];

/// The label that says what a reason of its own says.
const TOLD_LABEL: &str = "subsampled images";

/// What recorded numbers say of the published ones.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dmad verdict experiments/paper/table4.toml
  dmad verdict results/table4 --table table4 --all --format json

Only numbers on the paper's data, with its weights, whole and by its definitions are judged; tolerances in percent: AUROC
1 for a mean over classes and 4 for a class, AP, F1max and PRO 3 and 8. Exit code 1: a judged number is not reproduced.")]
pub struct Args {
    /// Experiment files, or folders below results/
    #[arg(required = true, value_name = "FILE|DIR")]
    targets: Vec<PathBuf>,
    /// Table of the paper [default: the experiment's `reproduces`]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Other printed values than DMAD's
    #[arg(long, value_name = "FILE")]
    published: Option<PathBuf>,
    /// Show values that were not run as well
    #[arg(long)]
    all: bool,
}

/// Prints the verdicts; true when no judged number is off.
///
/// # Errors
/// A target without records, no or an unknown table, records in which a printed value has several counterparts.
pub(super) fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let published = args.published.as_deref().map_or_else(Published::embedded, Published::read)?;
    // The built-in catalog says what the paper's data are; one that the user writes says what the user's are.
    let catalog = Catalog::load(None)?;
    let mut fine = true;
    for target in &args.targets {
        let recorded = read_experiment(&super::report::folder(target, common)?, &methods::kinds())?;
        let table = args.table.as_deref().unwrap_or(&recorded.experiment.reproduces);
        let verdicts = compare(&recorded, &published, table, &catalog, &Tolerances::default())?;
        super::print(&if json { as_json(&verdicts) } else { text(&verdicts, &published, args.all) })?;
        fine &= !verdicts.iter().any(|verdict| matches!(verdict.outcome, Outcome::Better | Outcome::Worse));
    }
    Ok(fine)
}

/// A verdict on every value that the paper's `table` prints. `catalog` says how many test images the paper's data have.
///
/// # Errors
/// No such table, or several variants that a printed value could be held against.
pub fn compare<'a>(
    recorded: &Recorded,
    published: &'a Published,
    table: &'a str,
    catalog: &Catalog,
    tolerances: &Tolerances,
) -> Result<Vec<Verdict<'a>>> {
    let cells: Vec<&Cell> = published.table(table).collect();
    if cells.is_empty() {
        let what = match table {
            "" => format!("experiment {} does not say which table it reproduces", recorded.experiment.name),
            name => format!("{} has no table \"{name}\"", published.source().display()),
        };
        let help = "name one with --table, or with `reproduces` in the experiment file";
        return Err(Error::usage(what, help));
    }
    cells.into_iter().map(|cell| Ok(judge(cell, ours(recorded, cell, catalog)?.as_ref(), tolerances))).collect()
}

/// Our numbers for a printed value; `None` when nothing is recorded that could be one.
fn ours(recorded: &Recorded, cell: &Cell, catalog: &Catalog) -> Result<Option<Ours>> {
    let Some(variant) = variant(recorded, &cell.key)? else { return Ok(None) };
    let belongs = |row: &&MetricRecord| row.variant == variant && same_setting(row, &cell.key);
    let rows: Vec<&MetricRecord> = recorded.metrics.iter().filter(belongs).collect();
    let mut ours = Ours::default();
    let mut all_reasons = Vec::new();
    for row in rows.iter().filter(|row| row.metric == cell.key.metric.as_str()) {
        if row.status == "error" {
            all_reasons.push(Reason::NoValue(format!("seed {}: {}", row.seed, row.error)));
        } else if row.class == cell.key.class {
            match row.value {
                Some(value) => ours.values.push(100.0 * value),
                None => all_reasons.push(Reason::NoValue(format!("seed {}: {}", row.seed, row.error))),
            }
            if row.class == MEAN && !row.error.is_empty() && row.value.is_some() {
                all_reasons.push(Reason::OtherDefinition(row.error.clone()));
            }
        }
    }
    if ours.values.is_empty() && all_reasons.is_empty() {
        return Ok(None);
    }
    if !ours.values.is_empty() {
        let paper = paper_conditions(&cell.key, catalog);
        let found = conditions(recorded, &variant, &cell.key, &rows);
        if found.len() < ours.values.len() {
            all_reasons.push(Reason::Labelled("the record does not say how it was measured".into()));
        }
        all_reasons.extend(found.iter().flat_map(|found| reasons(found, &paper)));
    }
    all_reasons.sort();
    all_reasons.dedup();
    ours.reasons = all_reasons;
    Ok(Some(ours))
}

fn same_setting(row: &MetricRecord, key: &Key) -> bool {
    row.dataset == key.dataset && row.method == key.method && row.seen_anomalies == key.anomalies_per_class
}

/// The variant that a printed value is held against: the one of its name, and for "full", which is also what a paper
/// calls every compared method, the only one of that method.
fn variant(recorded: &Recorded, key: &Key) -> Result<Option<String>> {
    let mut names: Vec<&str> =
        recorded.metrics.iter().filter(|row| same_setting(row, key)).map(|row| row.variant.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.contains(&key.variant.as_str()) {
        return Ok(Some(key.variant.clone()));
    }
    match (key.variant == BASE_VARIANT, &names[..]) {
        (false, _) | (_, []) => Ok(None),
        (true, [only]) => Ok(Some((*only).into())),
        (true, several) => Err(Error::usage(
            format!("{key} could be any of the variants {}", several.join(", ")),
            "call the one that is meant \"full\", or leave the others out",
        )),
    }
}

fn paper_conditions(key: &Key, catalog: &Catalog) -> PaperConditions {
    let weights = BACKBONES.iter().filter(|(method, _)| *method == key.method).map(|(_, weights)| weights.to_string());
    let counts = catalog.get(&key.dataset).ok().map(|entry| &entry.counts).filter(|counts| !counts.is_empty());
    let test_images = counts.map(|counts| {
        let own = counts.iter().filter(|(class, _)| key.class == MEAN || **class == key.class);
        own.fold((0, 0), |(anomalous, normal), (_, count)| {
            // Where the training split has no anomalies of its own, seen ones leave the test set.
            let seen = if count.train_bad == 0 { key.anomalies_per_class as usize } else { 0 };
            (anomalous + count.test_bad.saturating_sub(seen) as u64, normal + count.test_good as u64)
        })
    });
    PaperConditions { datasets: Vec::new(), test_images, weights: weights.collect() }
}

/// The conditions of every recorded run behind a value.
fn conditions(recorded: &Recorded, variant: &str, key: &Key, rows: &[&MetricRecord]) -> Vec<Conditions> {
    let labels = recorded.labels.iter().filter(|(name, _)| name == variant).flat_map(|(_, labels)| labels);
    let labels: Vec<String> = labels.filter(|label| *label != TOLD_LABEL).cloned().collect();
    let counted = |row: &&&MetricRecord| row.class == key.class && row.metric == MetricName::ImageAuroc.as_str();
    let of_row = |row: &&MetricRecord| {
        let run = recorded.experiment.runs.iter().find(|run| run.spec.id() == row.run)?;
        let mut labels = labels.clone();
        if run.spec.protocol.setting == Setting::PerClass {
            labels.push("one model per class, the paper has one for all".into());
        }
        Some(Conditions {
            dataset: row.dataset.clone(),
            test_images: (row.n_pos, row.n_neg),
            weights: format!("{} {}", run.spec.backbone.name, run.spec.backbone.weights),
            subsampled: run.spec.protocol.is_subsampled(),
            definition: other_definition(&run.spec, key.metric),
            labels,
        })
    };
    rows.iter().filter(counted).filter_map(of_row).collect()
}

/// How the metric of a run differs from the defaults, which are what published numbers are held against.
fn other_definition(spec: &RunSpec, metric: MetricName) -> Option<String> {
    let evaluation = &spec.evaluation;
    let options = Options { ap: evaluation.ap, pro: evaluation.pro };
    let sentence = metrics::definition(metric.as_str(), &options);
    if sentence != metrics::definition(metric.as_str(), &Options::default()) {
        return sentence.map(str::to_string);
    }
    let pixels = metric.as_str().starts_with("pixel");
    match (evaluation.size, evaluation.mask_resize) {
        (256, MaskResize::Bilinear05) => None,
        _ if !pixels => None,
        (256, _) => Some("masks are resized otherwise".into()),
        (size, _) => Some(format!("maps of {size} instead of 256 pixels")),
    }
}

/// A warning for printed means that their own rows contradict.
fn doubt(published: &Published, cell: &Cell) -> Option<String> {
    let rows = audit::mean_of_rows(published, &cell.key).filter(|_| cell.key.class == MEAN)?;
    let off = (rows - cell.value.value()).abs() > audit::MEAN_THRESHOLD;
    off.then(|| format!("the printed rows have the mean {rows:.1}"))
}

fn text(verdicts: &[Verdict], published: &Published, all: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["printed value", "printed", "ours", "seeds", "difference", "tolerance", "verdict", "because"]);
    let mut shown = 0;
    for verdict in verdicts.iter().filter(|verdict| all || verdict.outcome != Outcome::NotRun) {
        let right = |text: String| TextCell::new(text).set_alignment(CellAlignment::Right);
        let mean = match (verdict.mean, verdict.sd) {
            (Some(mean), Some(sd)) => format!("{mean:.1} ± {sd:.1}"),
            (Some(mean), None) => format!("{mean:.1}"),
            (None, _) => "–".into(),
        };
        let because = because(verdict).into_iter().chain(doubt(published, verdict.cell)).collect::<Vec<_>>();
        table.add_row([
            TextCell::new(&verdict.cell.key),
            right(verdict.cell.value.to_string()),
            right(mean),
            right(verdict.seeds.to_string()),
            right(verdict.difference.map_or("–".into(), |difference| format!("{difference:+.1}"))),
            right(format!("{:.1}", verdict.tolerance)),
            TextCell::new(verdict.outcome.as_str()),
            TextCell::new(because.join("\n")),
        ]);
        shown += 1;
    }
    let count = tally(verdicts.iter().map(|verdict| &verdict.outcome));
    let line = format!(
        "{} printed values: {} reproduced, {} better, {} worse, {} not comparable, {} not run.",
        verdicts.len(),
        count.reproduced,
        count.better,
        count.worse,
        count.not_comparable,
        count.not_run
    );
    if shown == 0 { line } else { format!("Percent; ± is the standard deviation over seeds.\n{table}\n{line}") }
}

fn because(verdict: &Verdict) -> Vec<String> {
    match &verdict.outcome {
        Outcome::NotComparable(reasons) => reasons.iter().map(Reason::to_string).collect(),
        _ => Vec::new(),
    }
}

fn as_json(verdicts: &[Verdict]) -> String {
    let rows: Vec<_> = verdicts
        .iter()
        .map(|verdict| {
            let key = &verdict.cell.key;
            json!({
                "table": key.table,
                "dataset": key.dataset,
                "class": key.class,
                "method": key.method,
                "variant": key.variant,
                "anomalies_per_class": key.anomalies_per_class,
                "metric": key.metric.as_str(),
                "printed": verdict.cell.value.text(),
                "mean": verdict.mean,
                "sd": verdict.sd,
                "seeds": verdict.seeds,
                "difference": verdict.difference,
                "tolerance": verdict.tolerance,
                "verdict": verdict.outcome.as_str(),
                "because": because(verdict),
            })
        })
        .collect();
    format!("{:#}", json!(rows))
}
