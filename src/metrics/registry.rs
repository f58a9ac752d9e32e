//! All metrics, one row each: what they are called, how they are defined, and the walk that computes them.
//!
//! Owns: the names and their order. Does not own: the computations, which have a file each. A new metric is such a file
//! and a row here; schema, records, tables, figures and LaTeX follow.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::Level::{Image, Pixel};
use super::walk::{Totals, Walk};
use super::{Definitions, ap, auroc, f1max, pro};

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
    pub other: fn(&Definitions) -> Option<&'static str>,
    /// Name on the axes of figures.
    pub axis: &'static str,
    /// Name in LaTeX tables.
    pub latex: &'static str,
    /// What it ranks.
    pub level: Level,
    /// Begins to compute it.
    pub walk: fn(&Totals, &Definitions) -> Box<dyn Walk>,
}

macro_rules! registry {
    ($($value:ident { name: $name:tt, sentence: $sentence:tt, $($field:ident: $content:expr,)* })*) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum MetricName {
            $(#[doc = $sentence] #[serde(rename = $name)] $value,)*
        }

        impl MetricName {
            /// All metrics, in the order in which tables show them.
            pub const ALL: [MetricName; REGISTRY.len()] = [$(MetricName::$value,)*];
        }

        /// All metrics, in that order.
        pub const REGISTRY: &[MetricKind] =
            &[$(MetricKind { name: $name, sentence: $sentence, $($field: $content,)* },)*];
    };
}

registry! {
    ImageAuroc {
        name: "image_auroc",
        sentence: "Share of (anomalous, normal) image pairs in which the anomalous one scores higher, ties counting half.",
        other: |_| None, axis: "image AUROC (%)", latex: "image AUROC", level: Image, walk: auroc::walk,
    }
    ImageAp {
        name: "image_ap",
        sentence: "Average precision over images: precision at each distinct score, weighted by the recall it adds.",
        other: ap::image_sentence, axis: "image AP (%)", latex: "image AP", level: Image, walk: ap::walk,
    }
    ImageF1max {
        name: "image_f1max",
        sentence: "Highest F1 of the anomalous images over all distinct image scores taken as threshold.",
        other: |_| None, axis: "image F1max (%)", latex: "image F1max", level: Image, walk: f1max::walk,
    }
    PixelAuroc {
        name: "pixel_auroc",
        sentence: "Share of (defect, normal) pixel pairs, over all test images together, in which the defect pixel scores higher, ties counting half.",
        other: |_| None, axis: "pixel AUROC (%)", latex: "pixel AUROC", level: Pixel, walk: auroc::walk,
    }
    PixelAp {
        name: "pixel_ap",
        sentence: "Average precision over all pixels of all test images: precision at each distinct score, weighted by the recall it adds.",
        other: ap::pixel_sentence, axis: "pixel AP (%)", latex: "pixel AP", level: Pixel, walk: ap::walk,
    }
    PixelF1max {
        name: "pixel_f1max",
        sentence: "Highest F1 of the defect pixels of all test images over all distinct scores taken as threshold.",
        other: |_| None, axis: "pixel F1max (%)", latex: "pixel F1max", level: Pixel, walk: f1max::walk,
    }
    PixelPro {
        name: "pixel_pro",
        sentence: "AUPRO@0.3: mean overlap of the 8-connected defect regions of all images against the false positive rate over all normal pixels, all thresholds, integrated to 0.3 (interpolated there) and divided by 0.3.",
        other: pro::sentence, axis: "pixel PRO (%)", latex: "AUPRO", level: Pixel, walk: pro::walk,
    }
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
    pub fn definition(self, definitions: &Definitions) -> &'static str {
        (self.kind().other)(definitions).unwrap_or(self.kind().sentence)
    }

    /// The metrics that rank images, or pixels.
    pub fn of(level: Level) -> impl Iterator<Item = MetricName> {
        Self::ALL.into_iter().filter(move |metric| metric.kind().level == level)
    }
}
