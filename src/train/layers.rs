//! Layers as functions of named parameters.

use burn::tensor::{Device, Tensor, activation};

use super::parameters::Parameters;
use crate::device::{Normalised, affine, is_cpu, leaky_relu, normalise, plus_row, product, times_row};

/// ε of every batch normalisation (PyTorch's default).
pub const BATCH_NORM_EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Whether a batch normalisation uses the rows at hand or what it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormMode {
    /// Statistics of the rows at hand; the running ones are updated.
    Train,
    /// The running statistics.
    Evaluate,
    /// Statistics of the rows at hand; none is remembered.
    Batch,
}

/// x·Wᵀ + b; x is rows × inputs.
pub fn linear(parameters: &Parameters, name: &str, x: Tensor<2>) -> Tensor<2> {
    let [weight, bias] = ["weight", "bias"].map(|part| parameters.get(&format!("{name}.{part}")));
    affine(x, weight, bias)
}

/// x·Wᵀ.
pub fn linear_bias_free(parameters: &Parameters, name: &str, x: Tensor<2>) -> Tensor<2> {
    product(x, parameters.get(&format!("{name}.weight")).transpose())
}

/// Batch normalisation over rows as PyTorch defines it: biased variance to normalise, unbiased variance remembered.
pub fn batch_norm(parameters: &mut Parameters, name: &str, x: Tensor<2>, mode: BatchNormMode) -> Tensor<2> {
    let key = |part: &str| format!("{name}.{part}");
    let [weight, bias] = ["weight", "bias"].map(|part| parameters.get(&key(part)));
    if mode == BatchNormMode::Evaluate {
        let scale = (parameters.get(&key("running_var")) + BATCH_NORM_EPSILON).sqrt().recip() * weight;
        let shift = bias - parameters.get(&key("running_mean")) * scale.clone();
        return plus_row(times_row(x, scale), shift);
    }
    let rows = x.dims()[0] as f64;
    let Normalised { rows: normal, mean, variance } = normalise(x, weight, bias, BATCH_NORM_EPSILON);
    if mode == BatchNormMode::Train {
        remember(parameters, &key("running_mean"), mean);
        remember(parameters, &key("running_var"), variance * (rows / (rows - 1.0).max(1.0)));
    }
    normal
}

/// PyTorch's default ε of layer normalisations.
pub const LAYER_NORM_EPSILON: f64 = 1e-5;

/// Layer normalisation: every row gets mean 0 and (biased) variance 1, then weight and bias.
pub fn layer_norm(parameters: &Parameters, name: &str, x: Tensor<2>, epsilon: f64) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let normal = centred * (variance + epsilon).sqrt().recip();
    let scaled = times_row(normal, parameters.get(&format!("{name}.weight")));
    plus_row(scaled, parameters.get(&format!("{name}.bias")))
}

/// x · Φ(x) with the normal distribution function Φ, the error function's form.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    if is_cpu(&x.device()) {
        return activation::gelu(x);
    }
    // The tensor library's slope on a GPU is that of an approximation by a hyperbolic tangent.
    let distribution = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
    x * distribution * 0.5
}

/// Moves a running statistic towards the value of a batch.
pub(super) fn remember(parameters: &mut Parameters, name: &str, value: Tensor<2>) {
    let old = parameters.get(name);
    parameters.set_buffer(name, old * (1.0 - MOMENTUM) + value * MOMENTUM);
}

/// A network from rows to one value each: blocks of Linear, BatchNorm and LeakyReLU (slope 0.2), and a last layer without
/// bias. Its parameters are called `prefix.BLOCK.linear`, `prefix.BLOCK.bn` (blocks from 1) and `prefix.out`.
#[derive(Clone, Copy, Debug)]
pub struct Mlp {
    /// In front of its parameters' names.
    pub prefix: &'static str,
    /// Columns of the rows.
    pub inputs: usize,
    /// How many blocks.
    pub blocks: usize,
    /// Their width.
    pub hidden: usize,
    /// Every block but the first adds what it gets.
    pub skips: bool,
}

impl Mlp {
    /// Adds freshly drawn parameters.
    pub fn add(&self, parameters: &mut Parameters, seed: u64, device: &Device) {
        for block in 1..=self.blocks {
            let inputs = if block == 1 { self.inputs } else { self.hidden };
            parameters.add_linear(&self.name(block, "linear"), inputs, self.hidden, true, seed, device);
            parameters.add_batch_norm(&self.name(block, "bn"), self.hidden, device);
        }
        parameters.add_linear(&format!("{}.out", self.prefix), self.hidden, 1, false, seed, device);
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        let block = |inputs: usize| self.hidden * (inputs + 3);
        block(self.inputs) + (self.blocks - 1) * block(self.hidden) + self.hidden
    }

    /// The biases in front of batch normalisations, which remove what all rows share: their true gradient is zero.
    pub fn zero_gradient(&self) -> impl Iterator<Item = String> {
        (1..=self.blocks).map(|block| self.name(block, "linear.bias"))
    }

    /// One value for each row.
    pub fn forward(&self, parameters: &mut Parameters, rows: Tensor<2>, mode: BatchNormMode) -> Tensor<2> {
        let mut hidden = rows;
        for block in 1..=self.blocks {
            let inner = linear(parameters, &self.name(block, "linear"), hidden.clone());
            let out = leaky_relu(batch_norm(parameters, &self.name(block, "bn"), inner, mode), 0.2);
            hidden = if self.skips && block > 1 { hidden + out } else { out };
        }
        linear_bias_free(parameters, &format!("{}.out", self.prefix), hidden)
    }

    fn name(&self, block: usize, part: &str) -> String {
        format!("{}.{block}.{part}", self.prefix)
    }
}
