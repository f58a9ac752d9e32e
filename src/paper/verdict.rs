//! What is said of a published number after comparing it with ours.
//!
//! Owns: the rule. A number is judged only when it was measured on the paper's data, with its weights, whole, in its
//! settings, by its definition, and without a label that says otherwise; then it is reproduced when the mean over seeds is within a
//! tolerance. Does not own: where our numbers and their conditions come from (`report::verdicts`).
//!
//! All numbers here are in percent, as the paper prints them.

use super::{MEAN, PrintedValue};
use crate::metrics::bootstrap::Interval;
use crate::metrics::{self, MetricName};
pub use crate::spec::Tolerances;

impl Tolerances {
    /// The tolerance of a metric for a class, or for "mean".
    pub fn of(&self, metric: MetricName, class: &str) -> f64 {
        let is_auroc = matches!(metric, MetricName::ImageAuroc | MetricName::PixelAuroc);
        match (is_auroc, class == MEAN) {
            (true, true) => self.auroc_mean,
            (true, false) => self.auroc_class,
            (false, true) => self.other_mean,
            (false, false) => self.other_class,
        }
    }
}

/// Why a number of ours says nothing of the printed one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Reason {
    /// Other images; how it is known.
    #[error("other data ({0})")]
    OtherData(String),
    /// Another backbone or other weights; which.
    #[error("other weights ({0})")]
    OtherWeights(String),
    /// Images were left out.
    #[error("subsampled images")]
    Subsampled,
    /// A setting that is not the paper's: the key, ours, the paper's.
    #[error("{0}")]
    OtherSetting(String),
    /// No file declares the paper's settings for the value.
    #[error("no file declares the settings behind it")]
    Undeclared,
    /// The metric is defined otherwise; how.
    #[error("other definition ({0})")]
    OtherDefinition(String),
    /// The run carries a label.
    #[error("{0}")]
    Labelled(String),
    /// The run failed, or the metric is undefined; why.
    #[error("no value ({0})")]
    NoValue(String),
}

/// Under which conditions a number of ours was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Anomalous and normal test images behind the number.
    pub test_images: (u64, u64),
    /// What identifies the weights.
    pub weights: String,
    /// Images were left out on purpose.
    pub subsampled: bool,
    /// How the metric's definition differs from the paper's, where it does.
    pub definition: Option<String>,
    /// Labels of the run.
    pub labels: Vec<String>,
}

/// What is known of the paper's own conditions. What is not known is not held against a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaperConditions {
    /// Anomalous and normal test images, which are what its data are known by.
    pub test_images: Option<(u64, u64)>,
    /// Its backbone with weights.
    pub weights: Option<String>,
}

/// Why `ours` is not comparable with the paper's; empty = comparable. Data of which no number of test images is known can
/// never be told to be the paper's.
pub fn reasons(ours: &Conditions, paper: &PaperConditions) -> Vec<Reason> {
    let count = |(anomalous, normal): (u64, u64)| format!("{anomalous} anomalous and {normal} normal test images");
    let other_data = match paper.test_images {
        None => Some("nothing identifies the paper's: its dataset has no `counts`".into()),
        Some(expected) if expected == ours.test_images => None,
        Some(expected) => Some(format!("{} instead of {}", count(ours.test_images), count(expected))),
    };
    let other_weights = paper.weights.as_ref().filter(|expected| **expected != ours.weights);
    let other_weights = other_weights.map(|expected| format!("{} instead of {expected}", ours.weights));
    let mut reasons: Vec<Reason> = other_data.map(Reason::OtherData).into_iter().collect();
    reasons.extend(other_weights.map(Reason::OtherWeights));
    reasons.extend(ours.subsampled.then_some(Reason::Subsampled));
    reasons.extend(ours.definition.clone().map(Reason::OtherDefinition));
    reasons.extend(ours.labels.iter().cloned().map(Reason::Labelled));
    reasons
}

/// Our numbers for one published value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ours {
    /// One value per seed; failed and undefined ones are left out and named in `reasons`.
    pub values: Vec<f64>,
    /// 95 % interval of their mean, where there is one.
    pub interval: Option<Interval>,
    /// Why they are not comparable; empty = they are.
    pub reasons: Vec<Reason>,
    /// Which readings of what the paper leaves open they stand on, where these are not those of its file.
    pub readings: Vec<String>,
}

/// What is said of a published number.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Within the tolerance.
    Reproduced,
    /// Ours is higher by more than the tolerance.
    Better,
    /// Ours is lower by more than the tolerance.
    Worse,
    /// Measured, but under other conditions.
    NotComparable(Vec<Reason>),
    /// Not measured.
    NotRun,
}

impl Outcome {
    /// The words used in output.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Reproduced => "reproduced",
            Outcome::Better => "better",
            Outcome::Worse => "worse",
            Outcome::NotComparable(_) => "not comparable",
            Outcome::NotRun => "not run",
        }
    }
}

/// A published number, ours, and what is said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict<'a> {
    /// The printed value.
    pub cell: &'a PrintedValue,
    /// Mean over seeds.
    pub mean: Option<f64>,
    /// Standard deviation over seeds; `None` for fewer than two.
    pub sd: Option<f64>,
    /// Seeds with a value.
    pub seeds: usize,
    /// 95 % interval of the mean.
    pub interval: Option<Interval>,
    /// Ours minus printed; shown for numbers that are not comparable as well.
    pub difference: Option<f64>,
    /// How far it may be away.
    pub tolerance: f64,
    /// Which readings of what the paper leaves open ours stands on, where these are not those of its file.
    pub readings: Vec<String>,
    /// What is said.
    pub outcome: Outcome,
}

/// Compares one published value with ours; `None` = nothing is recorded.
///
/// # Panics
/// When a value is NaN or infinite: records hold no such values.
pub fn judge<'a>(cell: &'a PrintedValue, ours: Option<&Ours>, tolerances: &Tolerances) -> Verdict<'a> {
    let tolerance = tolerances.of(cell.key.metric, &cell.key.class);
    let values = ours.map_or(&[][..], |ours| &ours.values);
    assert!(values.iter().all(|value| value.is_finite()), "{}: {values:?}", cell.key);
    let seeds = values.len();
    let mean = (seeds > 0).then(|| metrics::mean(values));
    let sd = metrics::deviation(values);
    let difference = mean.map(|mean| mean - cell.value.value());
    let outcome = match (ours, difference) {
        (None, _) => Outcome::NotRun,
        (Some(ours), Some(difference)) if ours.reasons.is_empty() => within(difference, tolerance),
        (Some(ours), None) if ours.reasons.is_empty() => {
            Outcome::NotComparable(vec![Reason::NoValue("nothing is recorded of it".into())])
        }
        (Some(ours), _) => Outcome::NotComparable(ours.reasons.clone()),
    };
    let readings = ours.map(|ours| ours.readings.clone()).unwrap_or_default();
    let interval = ours.and_then(|ours| ours.interval);
    Verdict { cell, mean, sd, seeds, interval, difference, tolerance, readings, outcome }
}

/// The ends of the tolerance belong to it; what f64 adds to a decimal difference does not decide.
fn within(difference: f64, tolerance: f64) -> Outcome {
    const EXACT: f64 = 1e-9;
    match difference {
        difference if difference.abs() <= tolerance + EXACT => Outcome::Reproduced,
        difference if difference > 0.0 => Outcome::Better,
        _ => Outcome::Worse,
    }
}

/// How many published values came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the number of an `Outcome`")]
pub struct Tally {
    pub reproduced: usize,
    pub better: usize,
    pub worse: usize,
    pub not_comparable: usize,
    pub not_run: usize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { reproduced, better, worse, not_comparable, not_run } = self;
        let all = reproduced + better + worse + not_comparable + not_run;
        write!(
            f,
            "{all} printed values: {reproduced} reproduced, {better} better, {worse} worse, {not_comparable} not \
             comparable, {not_run} not run."
        )
    }
}

/// Counts outcomes.
pub fn tally<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Tally {
    let mut tally = Tally::default();
    for outcome in outcomes {
        *match outcome {
            Outcome::Reproduced => &mut tally.reproduced,
            Outcome::Better => &mut tally.better,
            Outcome::Worse => &mut tally.worse,
            Outcome::NotComparable(_) => &mut tally.not_comparable,
            Outcome::NotRun => &mut tally.not_run,
        } += 1;
    }
    tally
}
