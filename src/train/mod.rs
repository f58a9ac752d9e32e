//! What trained methods share: named parameters, layers, AdamW and Adam as plain functions over burn tensors, and the
//! training loop.
//!
//! Owns: parameter storage, initialisation from host streams, optimiser arithmetic, the loop over epochs with its
//! checkpoints. Does not own: any method's network, loss or schedule.
//!
//! burn's own modules are not used here for two reasons that the reference numbers make visible: its BatchNorm keeps the
//! biased variance where PyTorch keeps the unbiased one, and checkpoints have to hold optimiser state in plain tensors.

mod fit;
mod gradients;
mod layers;
mod optimizer;
mod parameters;

pub use fit::{EpochLosses, Keep, Learner, epoch_prefix, fit, kept_epochs};
pub use gradients::{add_gradients, clip_gradients};
pub use layers::{BATCH_NORM_EPSILON, BatchNormMode, batch_norm, layer_norm, leaky_relu, linear, linear_bias_free};
pub use optimizer::{Group, Optimizer, OptimizerKind};
pub use parameters::{Parameters, download, upload};
