//! Dinomaly's parameters: every choice of paper and released code, and every choice they leave open, with its default
//! (docs/methods/dinomaly.md, Keys).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::maps::Border;
use crate::methods::Select;
use crate::train::Keep;

tables! {
    /// Dinomaly (CVPR 2025, arXiv 2405.14325).
    Params {
        /// What is rebuilt.
        encoder: EncoderParams = EncoderParams::default(),
        /// Bottleneck and decoder.
        network: NetworkParams = NetworkParams::default(),
        /// How far decoder and encoder are apart.
        loss: Loss = Loss::default(),
        /// Training.
        train: Train = Train::default(),
        /// From distances to scores.
        score: Score = Score::default(),
    }
}

words! {
    /// How the maps of `backbone.layers` become layers of tokens.
    Layers {
        /// Each is a layer: they have one width and one grid (published, with a vision transformer).
        Stack,
        /// All are brought to the grid of the finest and stand side by side in one layer: for convolutional networks.
        Concat,
    }
    /// Which tokens the decoder has.
    Tokens {
        /// All: class and register tokens as well, where the encoder has them.
        All,
        /// Those of patches alone.
        Patches,
        /// Those of patches, from which the layer's class token is taken away.
        Recentred,
    }
    /// The decoder's attention.
    Attention {
        /// Weights (elu(q) + 1) · (elu(k) + 1), without a square matrix of them.
        Linear,
        /// Softmax of q · k over the root of the head's width.
        Softmax,
    }
}

tables! {
    /// What is rebuilt.
    EncoderParams {
        /// How the maps of `backbone.layers` become layers of tokens.
        layers: Layers = Layers::Stack,
        /// Which tokens the decoder has.
        tokens: Tokens = Tokens::All,
    }
    /// Bottleneck and decoder.
    NetworkParams {
        /// Blocks of the decoder; a multiple of `groups`.
        #[schemars(range(min = 1, max = 64))]
        blocks: usize = 8,
        /// Groups that the encoder's layers and the decoder's blocks are averaged in; the layers are a multiple of it.
        #[schemars(range(min = 1, max = 64))]
        groups: usize = 2,
        /// Values of a head; the width of the tokens is a multiple of it.
        #[schemars(range(min = 1, max = 4096))]
        head_width: usize = 64,
        /// Width of the layer inside bottleneck and blocks, as a multiple of that of the tokens.
        #[schemars(range(min = 1, max = 64))]
        expansion: usize = 4,
        /// Share of values dropped at each of the bottleneck's three places in training; Real-IAD: 0.4.
        #[schemars(range(min = 0.0, max = 0.99))]
        dropout: f64 = 0.2,
        /// Biases in the layers of bottleneck and blocks; anomalib has none there.
        mlp_bias: bool = true,
        /// The decoder's attention.
        attention: Attention = Attention::Linear,
        /// Added to what attention divides by; 1e-6 where a loss is not finite.
        #[schemars(range(min = 0.0, max = 1.0))]
        epsilon: f64 = 0.0,
        /// Side of the square of tokens around itself, itself included, that a token attends to nothing in; odd; 0 = none.
        #[schemars(range(max = 255))]
        neighbour_mask: usize = 0,
    }
    /// How far decoder and encoder are apart.
    Loss {
        /// Share of the places whose gradient is made small once warm: those with the smallest distances.
        #[schemars(range(min = 0.0, max = 1.0))]
        mined: f64 = 0.9,
        /// Factor on their gradient.
        #[schemars(range(min = 0.0, max = 1.0))]
        factor: f64 = 0.1,
        /// Steps in which the share grows from nothing; 0 = it is there from the first.
        #[schemars(range(max = 10_000_000))]
        warmup: usize = 1000,
    }
    /// Training.
    Train {
        /// Epochs; they are no passes through the images but so many steps.
        #[schemars(range(max = 100_000))]
        epochs: usize = 10,
        /// Steps of an epoch. Published: 10 000 in all for MVTec-AD and VisA, 50 000 for Real-IAD, 5 000 for one class.
        #[schemars(range(min = 1, max = 1_000_000))]
        steps: usize = 1000,
        /// Images of a step; those left over at the end of a pass are not used.
        #[schemars(range(min = 1, max = 65_535))]
        batch: usize = 16,
        /// Learning rate once warm.
        #[schemars(range(min = 0.0))]
        lr: f64 = 2e-3,
        /// Learning rate at the end of the cosine.
        #[schemars(range(min = 0.0))]
        lr_final: f64 = 2e-4,
        /// Steps in which the learning rate grows from zero.
        #[schemars(range(max = 10_000_000))]
        warmup: usize = 100,
        /// Weight decay, apart from the gradient step.
        #[schemars(range(min = 0.0))]
        weight_decay: f64 = 1e-4,
        /// Beside the root of the second moment. Released code: 1e-8 with one model for each class, as anomalib.
        #[schemars(range(min = 0.0))]
        epsilon: f64 = 1e-10,
        /// The second moment counts as the largest that it ever was.
        amsgrad: bool = true,
        /// Greatest norm of all gradients together; 0 = not clipped.
        #[schemars(range(min = 0.0))]
        clip: f64 = 0.1,
        /// Which epoch is reported.
        select: Select = Select::Last,
        /// Keep the scores of every epoch, so that the record shows how the image AUROC went; `select` still chooses.
        curve: bool = false,
    }
    /// From distances to scores.
    Score {
        /// The corners of the map at the network's input size are its outermost tokens; else tokens are centres of patches.
        align_corners: bool = true,
        /// Side of the map that image scores are taken from; 0 = that of the network's input.
        #[schemars(range(max = 8192))]
        size: usize = 256,
        /// Standard deviation of a Gaussian, in pixels: of `size` for image scores, of the evaluation size for maps; 0 = none.
        #[schemars(range(min = 0.0, max = 1000.0))]
        sigma: f64 = 4.0,
        /// Side of the square that the Gaussian is cut to, in pixels, odd.
        #[schemars(range(min = 1, max = 255))]
        kernel: usize = 5,
        /// What lies beyond the edges of a map that is smoothed.
        border: Border = Border::Zero,
        /// Whether pixel metrics see smoothed maps; anomalib smooths for image scores alone.
        smooth_maps: bool = true,
        /// Share of the pixels, the largest ones, whose mean is the image score; at least one pixel.
        #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
        top_fraction: f64 = 0.01,
    }
}

impl Loss {
    /// Share of the places with a smaller gradient in a step, counted from 0 through all epochs.
    pub fn share(&self, step: usize) -> f64 {
        if step >= self.warmup { self.mined } else { self.mined * step as f64 / self.warmup as f64 }
    }

    /// How many of so many places keep their gradient where this share does not; at least one.
    pub fn kept(places: usize, share: f64) -> usize {
        // In this form, as the released code has it: 100 places and a share of 0.9 leave 9.
        ((places as f64 * (1.0 - share)) as usize).max(1)
    }
}

impl Train {
    /// Which epochs' parameters are kept.
    pub fn keep(&self) -> Keep {
        self.select.keep(self.curve)
    }

    /// The learning rate of a step, counted from 0 through all epochs: from zero to `lr` in a line, then along a cosine.
    pub fn learning_rate(&self, step: usize) -> f64 {
        let total = self.epochs * self.steps;
        if step < self.warmup {
            return self.lr * step as f64 / (self.warmup - 1).max(1) as f64;
        }
        let way = (step - self.warmup) as f64 / (total.saturating_sub(self.warmup)).max(1) as f64;
        self.lr_final + 0.5 * (self.lr - self.lr_final) * (1.0 + (std::f64::consts::PI * way).cos())
    }
}

impl Score {
    /// Side of the map that image scores are taken from, where the network's input has this one.
    pub fn side(&self, input: usize) -> usize {
        if self.size == 0 { input } else { self.size }
    }
}
