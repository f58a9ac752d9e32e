//! UniAD's parameters: the released configuration and every choice the sources leave open
//! (docs/methods/uniad.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::Select;
use crate::train::Keep;

tables! {
    /// UniAD's parameters.
    Params {
        /// The transformer.
        network: NetworkParams = NetworkParams::default(),
        /// What attention may not look at.
        mask: Mask = Mask::default(),
        /// Noise on the tokens in training.
        jitter: Jitter = Jitter::default(),
        /// Training.
        train: Train = Train::default(),
        /// From reconstruction errors to scores.
        score: Score = Score::default(),
    }
    /// The transformer.
    NetworkParams {
        /// Width of the tokens inside; even, and a multiple of `heads`.
        #[schemars(range(min = 2, max = 16384))]
        hidden: usize = 256,
        /// Heads of every attention.
        #[schemars(range(min = 1, max = 256))]
        heads: usize = 8,
        /// Width of the feed-forward layers.
        #[schemars(range(min = 1, max = 65536))]
        feed_forward: usize = 1024,
        /// Encoder layers.
        #[schemars(range(min = 1, max = 64))]
        encoder_layers: usize = 4,
        /// Decoder layers, each with its own learned query.
        #[schemars(range(min = 1, max = 64))]
        decoder_layers: usize = 4,
        /// Share of values dropped in training.
        #[schemars(range(min = 0.0, max = 0.99))]
        dropout: f64 = 0.1,
    }
    /// The neighbour mask: a token attends to nothing in a square around itself, itself included.
    Mask {
        /// Side of the square in tokens, odd. (ADer's 8 reaches 4 tokens to each side: 9 here.)
        #[schemars(range(min = 1, max = 255))]
        size: usize = 7,
        /// In the encoder's self-attention.
        encoder: bool = true,
        /// In the decoder's attention to the encoder's output.
        decoder_memory: bool = true,
        /// In the decoder's attention to the previous decoder layer.
        decoder_previous: bool = true,
    }
    /// Noise on the tokens in training; the target stays clean.
    Jitter {
        /// Standard deviation of the noise, as a multiple of the token's norm over its number of values.
        #[schemars(range(min = 0.0))]
        scale: f64 = 20.0,
        /// How probable a batch is disturbed at all.
        #[schemars(range(min = 0.0, max = 1.0))]
        probability: f64 = 1.0,
    }
    /// Training.
    Train {
        /// Passes over the normal images; 0 scores with the initial weights.
        #[schemars(range(max = 100000))]
        epochs: usize = 1000,
        /// Images per step (8 per GPU in the released code, learning rate not rescaled).
        #[schemars(range(min = 1))]
        batch: usize = 8,
        /// Learning rate.
        #[schemars(range(min = 0.0))]
        lr: f64 = 1e-4,
        /// Epoch (counted from 0) from which on the learning rate is multiplied by `lr_factor`; 0 = never. The released code's
        /// step at 800 takes effect from 801 on.
        lr_drop_epoch: usize = 801,
        /// Factor on the learning rate.
        #[schemars(range(min = 0.0))]
        lr_factor: f64 = 0.1,
        /// Weight decay, apart from the gradient step.
        #[schemars(range(min = 0.0))]
        weight_decay: f64 = 1e-4,
        /// Greatest norm of all gradients together; 0 = not clipped.
        #[schemars(range(min = 0.0))]
        clip: f64 = 0.1,
        /// Which epoch is reported.
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

    /// The learning rate of an epoch, counted from 0.
    pub fn learning_rate(&self, epoch: usize) -> f64 {
        if self.lr_drop_epoch > 0 && epoch >= self.lr_drop_epoch { self.lr * self.lr_factor } else { self.lr }
    }
}

words! {
    /// What of the map is the image score.
    ImageScore {
        /// Largest average over a square of `pool` pixels.
        MaxPool,
        /// Mean.
        Mean,
        /// Standard deviation.
        Std,
    }
}

tables! {
    /// From reconstruction errors to scores.
    Score {
        /// What of the map, at the size of the images, is the image score.
        image: ImageScore = ImageScore::MaxPool,
        /// Side of the square of `max_pool`, in pixels of the image.
        #[schemars(range(min = 1, max = 4096))]
        pool: usize = 16,
        /// The corners of the map are the outermost tokens; else tokens are centres of their patches.
        align_corners: bool = true,
        /// Standard deviation of a Gaussian on the map, in pixels of the evaluation size; 0 = none.
        #[schemars(range(min = 0.0, max = 1000.0))]
        sigma: f64 = 0.0,
    }
}
