//! Layers as functions of named parameters.

use burn::tensor::{Tensor, activation};

use super::parameters::Parameters;
use crate::device::{Normalised, affine, has_own, is_cpu, normalise, plus_row, product, times_row};

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

/// x·Wᵀ + b in front of a batch normalisation, which removes what all rows share: where the bias costs a pass over all
/// rows (a GPU), it is not added, and what is missing is told (one row). Nothing is tracked.
pub fn linear_to_norm(parameters: &Parameters, name: &str, x: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
    let [weight, bias] = ["weight", "bias"].map(|part| parameters.plain(&format!("{name}.{part}")));
    match has_own(&x.device()) {
        true => (affine(x, weight, bias), None),
        false => (product(x, weight.transpose()), Some(bias)),
    }
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
    let rows = x.dims()[0];
    let Normalised { rows: normal, mean, variance } = normalise(x, weight, bias, BATCH_NORM_EPSILON);
    if mode == BatchNormMode::Train {
        remember_statistics(parameters, name, mean, variance, rows);
    }
    normal
}

/// Moves the running statistics of a batch normalisation towards those of `rows` rows; the variance is the biased one.
pub(super) fn remember_statistics(
    parameters: &mut Parameters,
    name: &str,
    mean: Tensor<2>,
    variance: Tensor<2>,
    rows: usize,
) {
    let rows = rows as f64;
    remember(parameters, &format!("{name}.running_mean"), mean);
    remember(parameters, &format!("{name}.running_var"), variance * (rows / (rows - 1.0).max(1.0)));
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
