//! SimpleNet's parameters: every choice of paper and released code, and every choice they leave open, with its default
//! (docs/methods/simplenet.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::Select;
use crate::train::OptimizerKind;

/// SimpleNet (CVPR 2023, arXiv 2303.15140).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The linear map in front of the discriminator.
    pub adaptor: Adaptor,
    /// The network that tells real features from noisy ones.
    pub discriminator: Discriminator,
    /// The noise that makes fake features.
    pub noise: Noise,
    /// Truncated L1 loss.
    pub loss: Loss,
    /// Training.
    pub train: Train,
    /// From patch scores to image scores and maps.
    pub score: Score,
}

/// The linear map in front of the discriminator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Adaptor {
    /// Linear layers with bias and nothing between them; 0 = features as they are.
    #[schemars(range(max = 16))]
    pub layers: usize,
}

impl Default for Adaptor {
    fn default() -> Self {
        Adaptor { layers: 1 }
    }
}

/// The network that tells real features from noisy ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Discriminator {
    /// Blocks of Linear, BatchNorm, LeakyReLU in front of the last, bias-free layer.
    #[schemars(range(min = 1, max = 64))]
    pub blocks: usize,
    /// Width.
    #[schemars(range(min = 1, max = 16384))]
    pub hidden: usize,
    /// Its optimiser: Adam's weight decay is part of the gradient (released code), AdamW's is apart from it.
    pub optimizer: OptimizerKind,
}

impl Default for Discriminator {
    fn default() -> Self {
        Discriminator { blocks: 1, hidden: 1024, optimizer: OptimizerKind::Adam }
    }
}

/// The noise that makes fake features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// Standard deviation; 0.015 belongs to the scale of WideResNet50-2's features.
    #[schemars(range(min = 0.0))]
    pub std: f64,
    /// Strengths of noise: each patch draws k from 0 … `mix` − 1 and gets `std`·1.1^k. 1 = the same for all.
    #[schemars(range(min = 1, max = 100))]
    pub mix: usize,
}

impl Default for Noise {
    fn default() -> Self {
        Noise { std: 0.015, mix: 1 }
    }
}

/// Truncated L1 loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// Beyond this value on its own side of zero a patch costs nothing.
    #[schemars(range(min = 0.0))]
    pub margin: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Loss { margin: 0.5 }
    }
}

/// How learning rates change over the epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Not at all.
    #[default]
    Constant,
    /// The discriminator's falls along half a cosine, epoch by epoch; the adaptor's stays (released code's option).
    Cosine,
}

/// Training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Passes over the normal images. With several classes more can be much worse: see `curve`.
    #[schemars(range(min = 1, max = 100000))]
    pub epochs: usize,
    /// Normal images per step.
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// Leave out an epoch's last batch where it is smaller.
    pub drop_last: bool,
    /// Patches of each image per step, drawn anew each step; 0 = all. Labels the run as subsampled.
    pub patches_per_image: usize,
    /// Learning rate of the adaptor.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub lr_adaptor: f64,
    /// Learning rate of the discriminator.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub lr_discriminator: f64,
    /// Weight decay of the adaptor (AdamW).
    #[schemars(range(min = 0.0))]
    pub weight_decay_adaptor: f64,
    /// Weight decay of the discriminator.
    #[schemars(range(min = 0.0))]
    pub weight_decay_discriminator: f64,
    /// How learning rates change over the epochs.
    pub schedule: Schedule,
    /// What of the learning rate is left at the end of the `cosine` schedule, as a share.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub schedule_floor: f64,
    /// Which epoch is reported; the released code's way is `best_test`.
    pub select: Select,
    /// Keep the scores of every epoch, so that the record shows how the image AUROC went; `select` still chooses.
    pub curve: bool,
}

impl Default for Train {
    fn default() -> Self {
        Train {
            epochs: 48,
            batch: 32,
            drop_last: false,
            patches_per_image: 0,
            lr_adaptor: 1e-4,
            lr_discriminator: 2e-4,
            weight_decay_adaptor: 1e-2,
            weight_decay_discriminator: 1e-5,
            schedule: Schedule::Constant,
            schedule_floor: 0.4,
            select: Select::Last,
            curve: false,
        }
    }
}

impl Train {
    /// Whether the parameters of every epoch are kept, not only those of the last.
    pub fn keeps_every_epoch(&self) -> bool {
        self.curve || self.select == Select::BestTest
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

/// What an image's score is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageScore {
    /// The patch scores, before any smoothing.
    #[default]
    Patches,
    /// The maximum of the smoothed map at the size of the network's input (a column of other benchmarks).
    Map,
}

/// From patch scores to image scores and maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Score {
    /// What an image's score is taken from.
    pub image: ImageScore,
    /// The image score is the mean of this many largest patch scores (1 = maximum).
    #[schemars(range(min = 1))]
    pub top_k: usize,
    /// Standard deviation of the Gaussian on the map, in pixels of the evaluation size.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub sigma: f64,
}

impl Default for Score {
    fn default() -> Self {
        Score { image: ImageScore::Patches, top_k: 1, sigma: 4.0 }
    }
}
