//! What our recorded numbers say of the numbers that the paper printed.
//!
//! Owns: which recorded rows belong to a printed value, and under which conditions they were measured. Does not own: the
//! rule (`paper::verdict`), or how verdicts are shown.

use super::evidence::interval;
use super::frame::{Wanted, groups};
use crate::backbone::Architecture;
use crate::data::Catalog;
use crate::error::{Error, Result};
use crate::features::feature_shape;
use crate::methods::NOT_AS_PUBLISHED;
use crate::metrics::{Level, MetricName};
use crate::paper::settings::{self, Comparison, PaperSettings};
use crate::paper::verdict::{Conditions, Ours, Outcome, PaperConditions, Reason, Tolerances, Verdict, judge, reasons};
use crate::paper::{MEAN, PrintedKey, PrintedValue, Published, audit};
use crate::record::{MetricRecord, Recorded, RecordedRun};
use crate::spec::{Aggregation, Evaluation, RunSpec};

/// A label that says what a reason of its own says, as those do of settings that are not the published ones.
const TOLD_LABEL: &str = "subsampled images";

/// What is known of a paper.
#[derive(Clone, Copy)]
pub struct Paper<'a> {
    /// What it printed.
    pub published: &'a Published,
    /// The settings behind that.
    pub settings: &'a PaperSettings,
    /// How many test images its data have.
    pub catalog: &'a Catalog,
}

/// A verdict on every value that the paper's `table` prints.
///
/// # Errors
/// No such table, or several variants that a printed value could be held against.
pub fn compare<'a>(
    recorded: &Recorded,
    paper: Paper<'a>,
    table: &'a str,
    tolerances: &Tolerances,
) -> Result<Vec<Verdict<'a>>> {
    let cells = cells(paper.published, table, &recorded.experiment.name)?;
    let judged = |cell: &'a PrintedValue| {
        let declared = paper.settings.behind(&cell.key);
        let expected = paper_conditions(&cell.key, paper.catalog, declared.map(|declared| declared.spec));
        let hold = |run: &RecordedRun, found: &Conditions, ours: &mut Ours| {
            ours.reasons.extend(reasons(found, &expected));
            match declared.map(|declared| settings::compare(&run.spec, &declared, resolved)) {
                None => ours.reasons.push(Reason::Undeclared),
                Some(Comparison { differences, readings }) => {
                    ours.reasons.extend(differences.into_iter().map(Reason::OtherSetting));
                    ours.readings.extend(readings);
                }
            }
        };
        let evaluation = declared.map(|declared| declared.spec.evaluation.clone()).unwrap_or_default();
        let mut verdict = judge(cell, ours(recorded, &cell.key, &evaluation, &hold)?.as_ref(), tolerances);
        let usual = Tolerances::default().of(cell.key.metric, &cell.key.class);
        if verdict.tolerance != usual {
            verdict.readings.push(format!("tolerance {} of the experiment, usually {usual}", verdict.tolerance));
        }
        Ok(verdict)
    };
    cells.into_iter().map(judged).collect()
}

/// The verdicts on a table of which nothing is recorded.
///
/// # Errors
/// No such table.
pub fn not_run<'a>(
    published: &'a Published,
    table: &'a str,
    experiment: &str,
    tolerances: &Tolerances,
) -> Result<Vec<Verdict<'a>>> {
    Ok(cells(published, table, experiment)?.into_iter().map(|cell| judge(cell, None, tolerances)).collect())
}

fn cells<'a>(published: &'a Published, table: &'a str, experiment: &str) -> Result<Vec<&'a PrintedValue>> {
    let cells: Vec<&PrintedValue> = published.table(table).collect();
    if cells.is_empty() { Err(unknown_table(published, table, experiment)) } else { Ok(cells) }
}

/// The error for a table that the paper has not, or that an experiment does not name.
pub fn unknown_table(published: &Published, table: &str, experiment: &str) -> Error {
    let what = match table {
        "" => format!("experiment {experiment} does not say which table it reproduces"),
        name => format!("{} has no table \"{name}\"", published.source().display()),
    };
    Error::usage(what, "name one with --table, or with `reproduces` in the experiment file")
}

/// Adds what keeps a run, measured under these conditions, from being held against a printed value.
pub(super) type Hold<'a> = &'a dyn Fn(&RecordedRun, &Conditions, &mut Ours);

/// Our numbers for what `key` names, which is defined by `evaluation`; `None` when nothing is recorded that could be one.
pub(super) fn ours(recorded: &Recorded, key: &PrintedKey, evaluation: &Evaluation, hold: Hold) -> Result<Option<Ours>> {
    let rows = rows(recorded, key)?;
    let mut ours = Ours::default();
    let is_own = |row: &MetricRecord| row.status == "error" || row.class == key.class;
    for row in rows.iter().filter(|row| row.metric == key.metric.as_str() && is_own(row)) {
        match row.value {
            Some(value) => ours.values.push(100.0 * value),
            None => ours.reasons.push(Reason::NoValue(format!("seed {}: {}", row.seed, row.error))),
        }
        if row.class == MEAN && !row.error.is_empty() && row.value.is_some() {
            ours.reasons.push(Reason::OtherDefinition(row.error.clone()));
        }
    }
    if ours.values.is_empty() && ours.reasons.is_empty() {
        return Ok(None);
    }
    if !ours.values.is_empty() {
        let found = conditions(recorded, key, evaluation, &rows);
        if found.len() < ours.values.len() {
            ours.reasons.push(Reason::Labelled("the record does not say how it was measured".into()));
        }
        found.iter().for_each(|(run, found)| hold(run, found, &mut ours));
        ours.readings.sort();
        ours.readings.dedup();
    }
    let is_behind = |run: &&RecordedRun| run.failure.is_none() && rows.iter().any(|row| row.run == run.id);
    let runs: Vec<&RecordedRun> = recorded.runs.iter().filter(is_behind).collect();
    let class = Some(key.class.as_str()).filter(|class| *class != MEAN);
    ours.interval = interval((recorded, &runs), key.metric, class)?.map(|interval| interval.times(100.0));
    ours.reasons.sort();
    ours.reasons.dedup();
    Ok(Some(ours))
}

/// The rows, of all classes and metrics, of the variant that a printed value is held against.
fn rows<'a>(recorded: &'a Recorded, key: &PrintedKey) -> Result<Vec<&'a MetricRecord>> {
    let (datasets, methods) = ([key.dataset.clone()], [key.method.clone()]);
    let seen = [key.anomalies_per_class as usize];
    let wanted = Wanted { datasets: &datasets, methods: &methods, seen: &seen, ..Wanted::default() };
    let mut variants = groups(wanted.rows(recorded).map(|(_, row)| (row.variant.as_str(), row)));
    variants.sort_unstable_by_key(|(name, _)| *name);
    let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
    let meant = settings::meant(key, &names);
    variants.retain(|(name, _)| meant.contains(name));
    if variants.len() > 1 {
        let several: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
        let what = format!("{key} could be any of the variants {}", several.join(", "));
        let names = format!("\"{}\" or \"{}\"", key.variant, key.method);
        let help = format!("call the one that is meant {names}, or leave the others out");
        return Err(Error::usage(what, help));
    }
    Ok(variants.pop().map(|(_, rows)| rows).unwrap_or_default())
}

/// The same settings with the layers named that are the backbone's own default, and with numbers for zeros that stand for some.
fn resolved(spec: &RunSpec) -> RunSpec {
    let mut spec = spec.clone();
    let Ok(architecture) = Architecture::find(&spec.backbone.name) else { return spec };
    if spec.backbone.layers.is_empty() {
        spec.backbone.layers = architecture.default_layers.iter().map(|name| name.to_string()).collect();
    }
    if let (Aggregation::Patchcore, Ok(shape)) =
        (spec.features.aggregation, feature_shape(&spec.backbone, &spec.features, spec.image.size))
    {
        spec.features.dim = shape.dim;
        if spec.features.pretrain_dim == 0 {
            spec.features.pretrain_dim = shape.dim;
        }
    }
    spec
}

fn weights(spec: &RunSpec) -> String {
    format!("{} {}", spec.backbone.name, spec.backbone.weights)
}

/// What is known of the conditions behind a printed value.
pub(super) fn paper_conditions(key: &PrintedKey, catalog: &Catalog, declared: Option<&RunSpec>) -> PaperConditions {
    let counts = catalog.get(&key.dataset).ok().map(|entry| &entry.declared.counts).filter(|counts| !counts.is_empty());
    let test_images = counts.map(|counts| {
        let own = counts.iter().filter(|(class, _)| key.class == MEAN || **class == key.class);
        own.fold((0, 0), |(anomalous, normal), (_, count)| {
            // Where the training split has no anomalies of its own, seen ones leave the test set.
            let seen = if count.train_bad == 0 { key.anomalies_per_class as usize } else { 0 };
            (anomalous + count.test_bad.saturating_sub(seen) as u64, normal + count.test_good as u64)
        })
    });
    PaperConditions { test_images, weights: declared.map(weights) }
}

/// The settings and conditions of every recorded run behind a value.
fn conditions<'a>(
    recorded: &'a Recorded,
    key: &PrintedKey,
    evaluation: &Evaluation,
    rows: &[&MetricRecord],
) -> Vec<(&'a RecordedRun, Conditions)> {
    let counted = |row: &&&MetricRecord| row.class == key.class && row.metric == MetricName::ImageAuroc.as_str();
    let of_row = |row: &&MetricRecord| {
        let run = recorded.run(&row.run)?;
        let is_told = |label: &&String| *label == TOLD_LABEL || label.starts_with(NOT_AS_PUBLISHED);
        let labels = run.labels.iter().filter(|label| !is_told(label)).cloned().collect();
        let conditions = Conditions {
            test_images: (row.n_pos, row.n_neg),
            weights: weights(&run.spec),
            subsampled: run.spec.protocol.is_subsampled(),
            definition: other_definition(&run.spec.evaluation, evaluation, key.metric),
            labels,
        };
        Some((run, conditions))
    };
    rows.iter().filter(counted).filter_map(of_row).collect()
}

/// How the metric of a run differs from that of the published number.
fn other_definition(ours: &Evaluation, published: &Evaluation, metric: MetricName) -> Option<String> {
    let sentence = metric.definition(&ours.definitions());
    if sentence != metric.definition(&published.definitions()) {
        return Some(sentence.into());
    }
    if metric.kind().level != Level::Pixel {
        return None;
    }
    if ours.size != published.size {
        return Some(format!("maps of {} instead of {} pixels", ours.size, published.size));
    }
    (ours.mask_resize != published.mask_resize).then(|| "masks are resized otherwise".into())
}

/// What a verdict's judgement stands on, or why it is none, in words.
pub fn because(verdict: &Verdict) -> Vec<String> {
    match &verdict.outcome {
        Outcome::NotComparable(reasons) => reasons.iter().map(Reason::to_string).collect(),
        Outcome::NotRun => Vec::new(),
        _ => verdict.readings.iter().map(|reading| format!("reading: {reading}")).collect(),
    }
}

/// A warning for printed means that their own rows contradict.
pub fn doubt(published: &Published, cell: &PrintedValue) -> Option<String> {
    let rows = audit::mean_of_rows(published, &cell.key).filter(|_| cell.key.class == MEAN)?;
    let off = (rows - cell.value.value()).abs() > audit::MEAN_THRESHOLD;
    off.then(|| format!("the printed rows have the mean {rows:.1}"))
}

/// What every form of verdicts shows.
pub const HEAD: [&str; 9] =
    ["printed value", "printed", "ours", "seeds", "95 %", "difference", "tolerance", "verdict", "because"];

/// A verdict below `HEAD` as texts, without the reasons.
pub fn texts(verdict: &Verdict) -> [String; 8] {
    let spread = verdict.sd.map(|sd| format!(" ± {sd:.1}")).unwrap_or_default();
    [
        verdict.cell.key.to_string(),
        verdict.cell.value.to_string(),
        verdict.mean.map_or("–".into(), |mean| format!("{mean:.1}{spread}")),
        verdict.seeds.to_string(),
        verdict.interval.map_or("–".into(), |i| format!("[{:.1}, {:.1}]", i.low, i.high)),
        verdict.difference.map_or("–".into(), |difference| format!("{difference:+.1}")),
        format!("{:.1}", verdict.tolerance),
        verdict.outcome.as_str().into(),
    ]
}
