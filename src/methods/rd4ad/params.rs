//! RD4AD's parameters: every choice of paper and released code, and every choice they leave open, with its default
//! (docs/methods/rd4ad.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::Select;
use crate::train::Keep;

tables! {
    /// RD4AD: reverse distillation (CVPR 2022, arXiv 2201.10703).
    Params {
        /// How far student and teacher are apart.
        loss: Loss = Loss::default(),
        /// Training.
        train: Train = Train::default(),
        /// From maps to scores.
        score: Score = Score::default(),
    }
}

words! {
    /// Between which vectors of a level the angle is taken.
    Cosine {
        /// Whole maps, one vector an image (released code).
        Flatten,
        /// The channels of each place, mean over places (paper).
        PerLocation,
    }
}

tables! {
    /// How far student and teacher are apart.
    Loss {
        /// Between which vectors of a level the angle is taken.
        cosine: Cosine = Cosine::Flatten,
        /// Weights of the levels in their sum, shallow first; [] = 1 each.
        #[schemars(inner(range(min = 0.0)))]
        level_weights: Vec<f64> = Vec::new(),
    }
    /// Training.
    Train {
        /// Passes over the normal images; 0 scores with the initial weights. ADer has 100, for all classes together.
        #[schemars(range(max = 100_000))]
        epochs: usize = 200,
        /// Images of a step; the last one of a pass may be smaller.
        #[schemars(range(min = 1, max = 65_535))]
        batch: usize = 16,
        /// Learning rate of Adam.
        #[schemars(range(min = 0.0))]
        lr: f64 = 0.005,
        /// Share of the epochs after which the learning rate is multiplied by `lr_factor`; 1 = never. ADer has 0.8.
        #[schemars(range(min = 0.0, max = 1.0))]
        lr_decay_at: f64 = 1.0,
        /// Factor on the learning rate.
        #[schemars(range(min = 0.0))]
        lr_factor: f64 = 0.1,
        /// Which epoch is reported.
        select: Select = Select::Last,
        /// Keep the scores of every epoch, so that the record shows how the image AUROC went; `select` still chooses.
        curve: bool = false,
    }
    /// From maps to scores.
    Score {
        /// The corners of an enlarged map are its outermost places; else places are centres of their patches.
        align_corners: bool = true,
        /// Standard deviation of a Gaussian on the sum of the maps, in pixels: of the network's input for image scores, of the
        /// evaluation size for maps; 0 = none.
        #[schemars(range(min = 0.0, max = 1000.0))]
        sigma: f64 = 4.0,
    }
}

impl Train {
    /// Which epochs' parameters are kept.
    pub fn keep(&self) -> Keep {
        self.select.keep(self.curve)
    }

    /// The learning rate of an epoch, counted from 0.
    pub fn learning_rate(&self, epoch: usize) -> f64 {
        if epoch < (self.lr_decay_at * self.epochs as f64) as usize { self.lr } else { self.lr * self.lr_factor }
    }
}

impl Loss {
    /// Weight of a level.
    pub fn weight(&self, level: usize) -> f64 {
        self.level_weights.get(level).copied().unwrap_or(1.0)
    }
}
