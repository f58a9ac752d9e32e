//! SimpleNet's parameters: every choice of paper and released code, and every choice they leave open, with its default
//! (docs/methods/simplenet.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::{ImageScore, Select};
use crate::train::{Keep, OptimizerKind};

tables! {
    /// SimpleNet (CVPR 2023, arXiv 2303.15140).
    Params {
        /// The linear map in front of the discriminator.
        adaptor: Adaptor = Adaptor::default(),
        /// The network that tells real features from noisy ones.
        discriminator: Discriminator = Discriminator::default(),
        /// The noise that makes fake features.
        noise: Noise = Noise::default(),
        /// Truncated L1 loss.
        loss: Loss = Loss::default(),
        /// Training.
        train: Train = Train::default(),
        /// From patch scores to image scores and maps.
        score: Score = Score::default(),
    }
    /// The linear map in front of the discriminator.
    Adaptor {
        /// Linear layers with bias and nothing between them; 0 = features as they are.
        #[schemars(range(max = 16))]
        layers: usize = 1,
    }
    /// The network that tells real features from noisy ones.
    Discriminator {
        /// Blocks of Linear, BatchNorm, LeakyReLU in front of the last, bias-free layer.
        #[schemars(range(min = 1, max = 64))]
        blocks: usize = 1,
        /// Width.
        #[schemars(range(min = 1, max = 16384))]
        hidden: usize = 1024,
        /// Its optimiser: Adam's weight decay is part of the gradient (released code), AdamW's is apart from it.
        optimizer: OptimizerKind = OptimizerKind::Adam,
    }
    /// The noise that makes fake features.
    Noise {
        /// Standard deviation; 0.015 belongs to the scale of WideResNet50-2's features.
        #[schemars(range(min = 0.0))]
        std: f64 = 0.015,
        /// Strengths of noise: each patch draws k from 0 … `mix` − 1 and gets `std`·1.1^k. 1 = the same for all.
        #[schemars(range(min = 1, max = 100))]
        mix: usize = 1,
    }
    /// Truncated L1 loss.
    Loss {
        /// Beyond this value on its own side of zero a patch costs nothing.
        #[schemars(range(min = 0.0))]
        margin: f64 = 0.5,
    }
}

words! {
    /// How learning rates change over the epochs.
    Schedule {
        /// Not at all.
        Constant,
        /// The discriminator's falls along half a cosine, epoch by epoch; the adaptor's stays (released code's option).
        Cosine,
    }
}

tables! {
    /// Training.
    Train {
        /// Passes over the normal images. With several classes more can be much worse: see `curve`.
        #[schemars(range(min = 1, max = 100000))]
        epochs: usize = 48,
        /// Normal images per step.
        #[schemars(range(min = 1))]
        batch: usize = 32,
        /// Leave out an epoch's last batch where it is smaller.
        drop_last: bool = false,
        /// Patches of each image per step, drawn anew each step; 0 = all. Labels the run as subsampled.
        patches_per_image: usize = 0,
        /// Learning rate of the adaptor.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        lr_adaptor: f64 = 1e-4,
        /// Learning rate of the discriminator.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        lr_discriminator: f64 = 2e-4,
        /// Weight decay of the adaptor (AdamW).
        #[schemars(range(min = 0.0))]
        weight_decay_adaptor: f64 = 1e-2,
        /// Weight decay of the discriminator.
        #[schemars(range(min = 0.0))]
        weight_decay_discriminator: f64 = 1e-5,
        /// How learning rates change over the epochs.
        schedule: Schedule = Schedule::Constant,
        /// What of the learning rate is left at the end of the `cosine` schedule, as a share.
        #[schemars(range(min = 0.0, max = 1.0))]
        schedule_floor: f64 = 0.4,
        /// Which epoch is reported; the released code's way is `best_test`.
        select: Select = Select::Last,
        /// Keep the scores of every epoch, so that the record shows how the image AUROC went; `select` still chooses.
        curve: bool = false,
    }
}

impl Train {
    /// Which epochs' parameters are kept.
    pub fn keep(&self) -> Keep {
        self.select.keep(self.curve)
    }

    /// The discriminator's learning rate in an epoch (0-based).
    pub fn discriminator_rate(&self, epoch: usize) -> f64 {
        match self.schedule {
            Schedule::Constant => self.lr_discriminator,
            Schedule::Cosine => {
                let fall = (1.0 + (std::f64::consts::PI * epoch as f64 / self.epochs as f64).cos()) / 2.0;
                self.lr_discriminator * (self.schedule_floor + (1.0 - self.schedule_floor) * fall)
            }
        }
    }
}

tables! {
    /// From patch scores to image scores and maps.
    Score {
        /// What an image's score is taken from.
        image: ImageScore = ImageScore::Patches,
        /// The image score is the mean of this many largest patch scores (1 = maximum).
        #[schemars(range(min = 1))]
        top_k: usize = 1,
        /// Standard deviation of the Gaussian on the map, in pixels of the evaluation size.
        #[schemars(range(min = 0.0, max = 1000.0))]
        sigma: f64 = 4.0,
    }
}
