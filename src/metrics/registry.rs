//! All metrics, one row each: what they are called, how they are defined, and the walk that computes them.
//!
//! Owns: the names and their order. Does not own: the computations, which have a file each. A new metric is such a file
//! and a row here; schema, records, tables, figures and LaTeX follow.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::walk::{Totals, Walk};
use super::{Definitions, ap, auroc, f1_normal, f1max, pimo, pro};

/// What a metric ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Images, by one score each.
    Image,
    /// The pixels of all images together.
    Pixel,
}

/// A row of the registry.
#[derive(Debug)]
pub struct MetricKind {
    /// Name in files, tables and JSON.
    pub name: &'static str,
    /// The sentence that tables print beside it, under the default definitions.
    pub sentence: &'static str,
    /// The sentence under other definitions; `None` where they make no difference.
    pub other: fn(&Definitions) -> Option<String>,
    /// Name on the axes of figures.
    pub axis: &'static str,
    /// Name in words, as in LaTeX tables.
    pub words: &'static str,
    /// What it ranks.
    pub level: Level,
    /// Begins to compute it.
    pub walk: fn(&Totals, &Definitions) -> Box<dyn Walk>,
}

/// One row per metric: name in files, name in words, how it is
/// computed, its sentence, and what tells the sentence under other definitions.
macro_rules! registry {
    ($($value:ident: $name:tt, $words:tt, $level:ident, $walk:path, $sentence:tt $(or $other:path)?;)*) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum MetricName {
            $(#[doc = $sentence] #[serde(rename = $name)] $value,)*
        }

        impl MetricName {
            /// All metrics, in the order in which tables show them.
            pub const ALL: [MetricName; REGISTRY.len()] = [$(MetricName::$value,)*];
        }

        /// All metrics, in that order.
        pub const REGISTRY: &[MetricKind] = &[$(MetricKind {
            name: $name,
            sentence: $sentence,
            other: first!($($other,)? |_| None),
            axis: concat!($words, " (%)"),
            words: $words,
            level: Level::$level,
            walk: $walk,
        },)*];
    };
}

macro_rules! first {
    ($first:expr $(, $rest:expr)?) => {
        $first
    };
}

registry! {
    ImageAuroc: "image_auroc", "image AUROC", Image, auroc::walk,
        "Share of (anomalous, normal) image pairs in which the anomalous one scores higher, ties counting half.";
    ImageAp: "image_ap", "image AP", Image, ap::walk,
        "Average precision over images: precision at each distinct score, weighted by the recall it adds."
        or ap::image_sentence;
    ImageF1max: "image_f1max", "image F1max", Image, f1max::walk,
        "Highest F1 of the anomalous images over all distinct image scores taken as threshold.";
    ImageF1Normal: "image_f1_normal", "image F1 at 5 % false alarms", Image, f1_normal::walk,
        "F1 of the anomalous images at the threshold that 5 % of the normal test images exceed, which takes no anomaly to choose.";
    PixelAuroc: "pixel_auroc", "pixel AUROC", Pixel, auroc::walk,
        "Share of (defect, normal) pixel pairs, over all test images together, in which the defect pixel scores higher, ties counting half.";
    PixelAp: "pixel_ap", "pixel AP", Pixel, ap::walk,
        "Average precision over all pixels of all test images: precision at each distinct score, weighted by the recall it adds."
        or ap::pixel_sentence;
    PixelF1max: "pixel_f1max", "pixel F1max", Pixel, f1max::walk,
        "Highest F1 of the defect pixels of all test images over all distinct scores taken as threshold.";
    PixelPro: "pixel_pro", "pixel AUPRO", Pixel, pro::walk,
        "AUPRO@0.3: mean overlap of the 8-connected defect regions of all images against the false positive rate over all normal pixels, all thresholds, integrated to 0.3 (interpolated there) and divided by 0.3."
        or pro::sentence;
    PixelAupimo: "pixel_aupimo", "pixel AUPIMO", Pixel, pimo::walk,
        "AUPIMO: mean over anomalous images of the share of their defect pixels found, against the logarithm of the false positive rate on normal images, integrated from 1e-5 to 1e-4 and divided by the length.";
}

impl MetricName {
    /// Its row.
    pub fn kind(self) -> &'static MetricKind {
        &REGISTRY[self as usize]
    }

    /// Name in files.
    pub fn as_str(self) -> &'static str {
        self.kind().name
    }

    /// The sentence that says what it is under these definitions.
    pub fn definition(self, definitions: &Definitions) -> Cow<'static, str> {
        (self.kind().other)(definitions).map_or(self.kind().sentence.into(), Cow::from)
    }

    /// The metrics of an experiment that names none.
    pub fn usual() -> Vec<MetricName> {
        let asked_for = [MetricName::ImageF1Normal, MetricName::PixelAupimo];
        Self::ALL.into_iter().filter(|metric| !asked_for.contains(metric)).collect()
    }

    /// The metrics that rank images, or pixels.
    pub fn of(level: Level) -> impl Iterator<Item = MetricName> {
        Self::ALL.into_iter().filter(move |metric| metric.kind().level == level)
    }
}
