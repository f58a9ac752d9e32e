//! Convolutions and residual blocks that are drawn and learn: what networks behind a backbone are made of.
//!
//! Owns: their initial values. Does not own: what they look like (`backbone::plan`) or the way through them
//! (`backbone::network`), which they share with backbones.

use burn::tensor::{Device, Tensor};

use super::layers::{BATCH_NORM_EPSILON, BatchNormMode};
use super::parameters::Parameters;
use super::trunk::Learned;
use crate::backbone::network::{activated, through};
use crate::backbone::plan::{BlockSpec, ConvSpec};
use crate::random::{Purpose, stream};

/// Adds a convolution with its batch normalisation, whose tensors are called `prefix` and what `spec` calls them: drawn from a
/// run's seed as PyTorch's residual networks are (normal with √(2 / outputs of a place), transposed ones uniform in ±1/√(outputs of a
/// place)), or zeros where only names and shapes are wanted.
pub fn add_convolution(parameters: &mut Parameters, prefix: &str, spec: &ConvSpec, seed: Option<u64>, device: &Device) {
    let [first, second, side, _] = spec.shape();
    let (values, spread) = (second * side * side, (spec.outputs * side * side) as f64);
    let mut weight = vec![0.0; first * values];
    if let Some(seed) = seed {
        let mut draws = stream(seed, Purpose::InitialWeights, parameters.learned_names().count() as u64);
        match spec.transposed {
            true => draws.fill_uniform(&mut weight, 1.0 / spread.sqrt()),
            false => draws.fill_normal(&mut weight, (2.0 / spread).sqrt()),
        }
    }
    parameters.insert(&format!("{prefix}{}", spec.weight), weight, [first, values], device);
    parameters.add_batch_norm(&format!("{prefix}{}", spec.norm), spec.outputs, device);
}

/// Maps (images × channels × rows × columns) through a convolution, its normalisation and its activation.
pub fn convolve(
    parameters: &mut Parameters,
    prefix: &str,
    spec: &ConvSpec,
    x: Tensor<4>,
    mode: BatchNormMode,
) -> Tensor<4> {
    activated(spec, x, &mut Learned { parameters, prefix, mode, epsilon: BATCH_NORM_EPSILON })
}

/// Maps through a residual block.
pub fn pass_block(
    parameters: &mut Parameters,
    prefix: &str,
    block: &BlockSpec,
    x: Tensor<4>,
    mode: BatchNormMode,
) -> Tensor<4> {
    through(block, x, &mut Learned { parameters, prefix, mode, epsilon: BATCH_NORM_EPSILON })
}
