//! AnomalyDINO's keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::{NormalBank, Scope};

/// Turns of a reference where there are few (arXiv 2405.14529): every 45 degrees.
pub const TURNS: usize = 8;

/// Classes of MVTec-AD and VisA whose objects stand before a background (docs/methods/anomalydino.md, Masks).
const LISTED: &[&str] = &[
    "capsule",
    "hazelnut",
    "pill",
    "screw",
    "toothbrush",
    "candle",
    "capsules",
    "cashew",
    "chewinggum",
    "fryum",
    "macaroni1",
    "macaroni2",
    "pcb1",
    "pcb2",
    "pcb3",
    "pcb4",
    "pipe_fryum",
];

words! {
    /// Which training images are references where there are fewer.
    Pick {
        /// With seed s the s-th of the runs of so many that the sorted list falls into, from the first again behind the last
        /// (the released code).
        Chunk,
        /// Drawn from the seed.
        Random,
    }
    /// For which images the background is masked.
    Apply {
        /// For those of `mask.classes`.
        Listed,
        /// For none.
        None,
        /// For all.
        All,
    }
    /// The distance of a patch from a row of the bank.
    Metric {
        /// 1 − the cosine of their angle.
        Cosine,
        /// That of the values as they are.
        Euclidean,
    }
}

tables! {
    /// AnomalyDINO's parameters (docs/methods/anomalydino.md, Keys).
    Params {
        /// The references.
        bank: Bank = Bank::default(),
        /// How the bank is thinned; with a ratio of 1 it is not.
        coreset: NormalBank = NormalBank { ratio: 1.0, scope: Scope::PerClass, ..NormalBank::default() },
        /// The mask of the background.
        mask: Mask = Mask::default(),
        /// From distances to scores.
        score: Score = Score::default(),
    }
    /// The references.
    Bank {
        /// Training images of each class that are references; 0 = all.
        shots: usize = 16,
        /// Which ones.
        pick: Pick = Pick::Chunk,
        /// Views of each reference, turned by equal angles through the whole circle; 0 = 8 of few references, 1 where all
        /// images are.
        #[schemars(range(max = 360))]
        rotations: usize = 0,
    }
    /// The mask of the background: the first principal component of an image's own patches.
    Mask {
        /// For which images.
        apply: Apply = Apply::Listed,
        /// The classes of `apply = "listed"`.
        classes: Vec<String> = LISTED.iter().map(|name| name.to_string()).collect(),
        /// A patch is foreground where the component is above.
        threshold: f64 = 10.0,
        /// The background of references is left out of the bank, too.
        references: bool = false,
        /// Masked patches count among all of which the image score takes a share, with a distance of 0.
        in_score: bool = true,
    }
    /// From distances to scores.
    Score {
        /// The distance of a patch from a row of the bank.
        metric: Metric = Metric::Cosine,
        /// A patch's score is the mean over this many neighbours.
        #[schemars(range(min = 1, max = 1000))]
        neighbours: usize = 1,
        /// The image score is the mean of this share of the patch scores, the largest ones, rounded down; the largest where
        /// that is none.
        #[schemars(range(min = 0.0, max = 1.0))]
        top_fraction: f64 = 0.01,
        /// Standard deviation of the Gaussian on the map, in pixels of the evaluation size.
        #[schemars(range(min = 0.0, max = 1000.0))]
        sigma: f64 = 4.0,
    }
}

impl Mask {
    /// Whether images of `class` are masked.
    pub fn applies(&self, class: &str) -> bool {
        match self.apply {
            Apply::Listed => self.classes.iter().any(|name| name == class),
            Apply::None => false,
            Apply::All => true,
        }
    }
}
