//! The numbers that say how well scores find defects: image and pixel AUROC, average precision, F1max and AUPRO.
//!
//! Owns: definitions, their names, exact ways to compute them over images that stream by, and bootstrap intervals. Does
//! not own: reading images or tensors, resizing masks, rounding, and which numbers a table shows. All arithmetic is f64 or
//! integer, and no result depends on the number of threads.
//!
#![doc = include_str!("../../docs/metrics.md")]

pub mod bootstrap;
mod gaps;
mod pixels;
mod pro_legacy;
mod ranking;
mod regions;
mod source;
mod sum;

pub use pixels::{ImageFacts, PixelReport, pixel_metrics};
pub use ranking::image_metrics;
pub use regions::{Regions, Run, regions};
pub use source::{PixelImage, PixelSource, Score};

use crate::spec::{Ap, Pro};

/// A metric and the sentence that tables print beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name in records, tables and JSON.
    pub name: &'static str,
    /// What it is under the default options.
    pub sentence: &'static str,
}

/// All metrics, in the order in which tables show them.
pub const REGISTRY: &[Definition] = &[
    Definition {
        name: "image_auroc",
        sentence: "Share of (anomalous, normal) image pairs in which the anomalous one scores higher, ties counting half.",
    },
    Definition {
        name: "image_ap",
        sentence: "Average precision over images: precision at each distinct score, weighted by the recall it adds.",
    },
    Definition {
        name: "image_f1max",
        sentence: "Highest F1 of the anomalous images over all distinct image scores taken as threshold.",
    },
    Definition {
        name: "pixel_auroc",
        sentence: "Share of (defect, normal) pixel pairs, over all test images together, in which the defect pixel scores higher, ties counting half.",
    },
    Definition {
        name: "pixel_ap",
        sentence: "Average precision over all pixels of all test images: precision at each distinct score, weighted by the recall it adds.",
    },
    Definition {
        name: "pixel_f1max",
        sentence: "Highest F1 of the defect pixels of all test images over all distinct scores taken as threshold.",
    },
    Definition {
        name: "pixel_pro",
        sentence: "AUPRO@0.3: mean overlap of the 8-connected defect regions of all images against the false positive rate over all normal pixels, all thresholds, integrated to 0.3 (interpolated there) and divided by 0.3.",
    },
];

/// Which variant of the metrics that have variants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Average precision of images and pixels.
    pub ap: Ap,
    /// Per-region overlap.
    pub pro: Pro,
}

/// The sentence that says what `name` is under these options; `None` for a name that the registry does not hold.
pub fn definition(name: &str, options: &Options) -> Option<&'static str> {
    let default = REGISTRY.iter().find(|entry| entry.name == name)?.sentence;
    Some(match (name, options.ap, options.pro) {
        ("image_ap", Ap::Trapezoid, _) => {
            "Area under the precision-recall polyline over images, from recall 0 and precision 1 (optimistic between points)."
        }
        ("pixel_ap", Ap::Trapezoid, _) => {
            "Area under the precision-recall polyline over all pixels of all test images, from recall 0 and precision 1 (optimistic between points)."
        }
        ("pixel_pro", _, Pro::Simplenet) => {
            "SimpleNet's PRO: 200 equal-width thresholds, predictions widened by 5 × 5 pixels before the overlap (not for the false positive rate), rates below 0.3 divided by their maximum. Not comparable with AUPRO@0.3."
        }
        ("pixel_pro", _, Pro::Ader) => {
            "ADer's PRO: 100 equal-width thresholds, false positive rates below 0.3 stretched to [0, 1]. Not comparable with AUPRO@0.3."
        }
        _ => default,
    })
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
    /// Its name in the registry.
    pub name: &'static str,
    /// In [0, 1], or the reason why it is undefined.
    pub value: Value,
    /// Anomalous images, or defect pixels.
    pub n_pos: u64,
    /// Normal images, or normal pixels.
    pub n_neg: u64,
    /// Defect regions, for the metrics that know regions.
    pub regions: Option<u64>,
}

/// Mean over classes, each with the same weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassMean {
    /// Mean of the defined values; `None` when there is none.
    pub mean: Option<f64>,
    /// Classes that entered the mean.
    pub classes: usize,
    /// Classes left out because the metric is undefined there.
    pub undefined: usize,
}

/// Unweighted mean over classes, in the order given; undefined classes (`None`) are left out and counted.
pub fn class_mean(values: impl IntoIterator<Item = Option<f64>>) -> ClassMean {
    let (mut total, mut classes, mut undefined) = (sum::Sum::default(), 0, 0);
    for value in values {
        match value {
            Some(value) => {
                total.add(value);
                classes += 1;
            }
            None => undefined += 1,
        }
    }
    ClassMean { mean: (classes > 0).then(|| total.value() / classes as f64), classes, undefined }
}
