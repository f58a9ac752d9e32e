//! UniAD's parameters: the released configuration and every choice the sources leave open
//! (docs/methods/uniad.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::Select;

/// UniAD's parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The transformer.
    pub network: NetworkParams,
    /// What attention may not look at.
    pub mask: Mask,
    /// Noise on the tokens in training.
    pub jitter: Jitter,
    /// Training.
    pub train: Train,
    /// From reconstruction errors to scores.
    pub score: Score,
}

/// The transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkParams {
    /// Width of the tokens inside; even, and a multiple of `heads`.
    #[schemars(range(min = 2, max = 16384))]
    pub hidden: usize,
    /// Heads of every attention.
    #[schemars(range(min = 1, max = 256))]
    pub heads: usize,
    /// Width of the feed-forward layers.
    #[schemars(range(min = 1, max = 65536))]
    pub feed_forward: usize,
    /// Encoder layers.
    #[schemars(range(min = 1, max = 64))]
    pub encoder_layers: usize,
    /// Decoder layers, each with its own learned query.
    #[schemars(range(min = 1, max = 64))]
    pub decoder_layers: usize,
    /// Share of values dropped in training.
    #[schemars(range(min = 0.0, max = 0.99))]
    pub dropout: f64,
}

impl Default for NetworkParams {
    fn default() -> Self {
        NetworkParams { hidden: 256, heads: 8, feed_forward: 1024, encoder_layers: 4, decoder_layers: 4, dropout: 0.1 }
    }
}

/// The neighbour mask: a token attends to nothing in a square around itself, itself included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mask {
    /// Side of the square in tokens, odd. (ADer's 8 reaches 4 tokens to each side: 9 here.)
    #[schemars(range(min = 1, max = 255))]
    pub size: usize,
    /// In the encoder's self-attention.
    pub encoder: bool,
    /// In the decoder's attention to the encoder's output.
    pub decoder_memory: bool,
    /// In the decoder's attention to the previous decoder layer.
    pub decoder_previous: bool,
}

impl Default for Mask {
    fn default() -> Self {
        Mask { size: 7, encoder: true, decoder_memory: true, decoder_previous: true }
    }
}

/// Noise on the tokens in training; the target stays clean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Jitter {
    /// Standard deviation of the noise, as a multiple of the token's norm over its number of values.
    #[schemars(range(min = 0.0))]
    pub scale: f64,
    /// How probable a batch is disturbed at all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for Jitter {
    fn default() -> Self {
        Jitter { scale: 20.0, probability: 1.0 }
    }
}

/// Training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Passes over the normal images; 0 scores with the initial weights.
    #[schemars(range(max = 100000))]
    pub epochs: usize,
    /// Images per step (8 per GPU in the released code, learning rate not rescaled).
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// Learning rate.
    #[schemars(range(min = 0.0))]
    pub lr: f64,
    /// Epoch (counted from 0) from which on the learning rate is multiplied by `lr_factor`; 0 = never. The released code's
    /// step at 800 takes effect from 801 on.
    pub lr_drop_epoch: usize,
    /// Factor on the learning rate.
    #[schemars(range(min = 0.0))]
    pub lr_factor: f64,
    /// Weight decay, apart from the gradient step.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Greatest norm of all gradients together; 0 = not clipped.
    #[schemars(range(min = 0.0))]
    pub clip: f64,
    /// Which epoch is reported.
    pub select: Select,
}

impl Default for Train {
    fn default() -> Self {
        Train {
            epochs: 1000,
            batch: 8,
            lr: 1e-4,
            lr_drop_epoch: 801,
            lr_factor: 0.1,
            weight_decay: 1e-4,
            clip: 0.1,
            select: Select::Last,
        }
    }
}

impl Train {
    /// The learning rate of an epoch, counted from 0.
    pub fn learning_rate(&self, epoch: usize) -> f64 {
        if self.lr_drop_epoch > 0 && epoch >= self.lr_drop_epoch { self.lr * self.lr_factor } else { self.lr }
    }
}

/// What of the map is the image score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageScore {
    /// Largest average over a square of `pool` pixels.
    #[default]
    MaxPool,
    /// Mean.
    Mean,
    /// Standard deviation.
    Std,
}

/// From reconstruction errors to scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Score {
    /// What of the map, at the size of the images, is the image score.
    pub image: ImageScore,
    /// Side of the square of `max_pool`, in pixels of the image.
    #[schemars(range(min = 1, max = 4096))]
    pub pool: usize,
    /// The corners of the map are the outermost tokens; else tokens are centres of their patches.
    pub align_corners: bool,
    /// Standard deviation of a Gaussian on the map, in pixels of the evaluation size; 0 = none.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub sigma: f64,
}

impl Default for Score {
    fn default() -> Self {
        Score { image: ImageScore::MaxPool, pool: 16, align_corners: true, sigma: 0.0 }
    }
}
