//! The numbers that say how well scores find defects: image and pixel AUROC, average precision, F1max and AUPRO.
//!
//! Owns: definitions, their names, exact ways to compute them over images that stream by, and bootstrap intervals. Does
//! not own: reading images or tensors, resizing masks, rounding, and which numbers a table shows. All arithmetic is f64 or
//! integer, and no result depends on the number of threads.
//!
#![doc = include_str!("../../docs/metrics.md")]

mod ap;
mod auroc;
pub mod bootstrap;
mod f1_normal;
mod f1max;
mod gaps;
mod images;
mod pimo;
mod pixels;
mod pro;
mod pro_legacy;
mod regions;
mod registry;
mod source;
mod sum;
mod walk;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use images::image_metrics;
pub use pixels::{ImageFacts, PixelReport, pixel_metrics};
pub use regions::{Regions, Stretch, regions};
pub use registry::{Level, MetricKind, MetricName, REGISTRY};
pub use source::{PixelImage, PixelSource, Score};
pub use walk::{Step, Totals, Walk};

/// Which AUPRO is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pro {
    /// All thresholds, FPR over all normal pixels, interpolated at the limit, divided by it.
    #[default]
    Exact,
    /// SimpleNet's: 200 equal-width thresholds, predictions dilated by 5×5, FPR below the limit rescaled by its maximum.
    Simplenet,
    /// ADer's: 100 equal-width thresholds, FPR below the limit rescaled to [0, 1].
    Ader,
    /// RD4AD's: the mean over anomalous images of a PRO of each, 200 equal-width thresholds, FPR below the limit rescaled by its
    /// maximum.
    Rd4ad,
}

/// Area under the precision-recall curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ap {
    /// Step-wise average precision.
    #[default]
    Step,
    /// Trapezoids, starting at recall 0, precision 1.
    Trapezoid,
}

/// By which definition the metrics that have several are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Definitions {
    /// Average precision of images and pixels.
    pub ap: Ap,
    /// Per-region overlap.
    pub pro: Pro,
    /// False positive rate up to which it is integrated, above 0 and at most 1.
    pub pro_limit: f64,
}

impl Default for Definitions {
    fn default() -> Self {
        Definitions { ap: Ap::default(), pro: Pro::default(), pro_limit: pro::LIMIT }
    }
}

/// A number, or why there is none.
pub type Value = Result<f64, &'static str>;

/// Why a metric has no value when nothing is there to be found.
pub const NO_POSITIVE: &str = "nothing is labelled anomalous";
/// Why a metric has no value when nothing could be found wrongly.
pub const NO_NEGATIVE: &str = "nothing is labelled normal";

/// One metric of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Which.
    pub name: MetricName,
    /// In [0, 1], or the reason why it is undefined.
    pub value: Value,
    /// Anomalous images, or defect pixels.
    pub n_pos: u64,
    /// Normal images, or normal pixels.
    pub n_neg: u64,
}

/// Mean over classes, each with the same weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassMean {
    /// Mean of the defined values; `None` when there is none.
    pub mean: Option<f64>,
    /// Classes left out because the metric is undefined there.
    pub undefined: usize,
}

/// Unweighted mean over classes, in the order given; undefined classes (`None`) are left out and counted.
pub fn class_mean(values: impl IntoIterator<Item = Option<f64>>) -> ClassMean {
    let (mut total, mut classes, mut undefined) = (sum::Sum::default(), 0, 0);
    for value in values {
        value.into_iter().for_each(|value| total.add(value));
        *(if value.is_some() { &mut classes } else { &mut undefined }) += 1;
    }
    ClassMean { mean: (classes > 0).then(|| total.value() / classes as f64), undefined }
}

/// Mean of at least one value, such as those of several seeds.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Their standard deviation (n − 1); `None` for one value.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}
