//! What trained methods share: named parameters, layers, AdamW, Adam and StableAdamW as plain functions over burn tensors, and the
//! loops of training and scoring. Methods that train on images find here backbones that learn, blocks to put behind them, and
//! batches made ahead of the device.
//!
//! Owns: parameter storage, initialisation from host streams, optimiser arithmetic, the loop over epochs with its
//! checkpoints, and that over the images of a kept epoch. Does not own: any method's network, loss or schedule.
//!
//! burn's own modules are not used here for two reasons that the reference numbers make visible: its BatchNorm keeps the
//! biased variance where PyTorch keeps the unbiased one, and checkpoints have to hold optimiser state in plain tensors.

mod blocks;
mod dropout;
mod fit;
mod gradients;
mod judge;
mod layers;
mod loader;
mod losses;
mod maps;
mod mlp;
mod optimizer;
mod parameters;
mod ranks;
mod resident;
mod score;
mod stable;
mod trunk;

pub use crate::device::{download, product, upload};
pub use blocks::{add_convolution, convolve, pass_block};
pub use dropout::Dropout;
pub use fit::{Keep, Learner, class_images, epoch_prefix, epochs_done, fit, kept_epochs, patches_per_step};
pub use gradients::{GradientOf, NamedGradients, add_gradients, clip_gradients};
pub use judge::{Judge, JudgeImages, Judged, Kept, Sentence};
pub use layers::{
    BATCH_NORM_EPSILON, BatchNormMode, LAYER_NORM_EPSILON, batch_norm, gelu, layer_norm, linear, linear_bias_free,
    linear_to_norm,
};
pub use loader::{BATCHES_AT_ONCE, Shelf, ahead, rounds};
pub use losses::{EpochLosses, Terms};
pub use maps::{batch_norm_maps, convolution};
pub use mlp::{Mlp, MlpPass};
pub use optimizer::{BETAS, Group, Optimizer, OptimizerKind};
pub use parameters::{Parameters, upload_images};
pub use ranks::{largest, smallest, top_mean};
pub use resident::{Choice, Resident};
pub use score::{Forward, ImageScore, Pass, SCORE_CHUNK_IMAGES, ScoreImages};
pub use stable::StableAdamw;
pub use trunk::Trunk;
