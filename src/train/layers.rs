//! Layers as functions of named parameters.

use burn::tensor::Tensor;
use burn::tensor::activation;

use super::parameters::Parameters;

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
}

/// x·Wᵀ + b; x is rows × inputs.
pub fn linear(parameters: &Parameters, name: &str, x: Tensor<2>) -> Tensor<2> {
    linear_bias_free(parameters, name, x) + parameters.get(&format!("{name}.bias"))
}

/// x·Wᵀ.
pub fn linear_bias_free(parameters: &Parameters, name: &str, x: Tensor<2>) -> Tensor<2> {
    x.matmul(parameters.get(&format!("{name}.weight")).transpose())
}

/// Batch normalisation over rows as PyTorch defines it: biased variance to normalise, unbiased variance remembered.
pub fn batch_norm(parameters: &mut Parameters, name: &str, x: Tensor<2>, mode: BatchNormMode) -> Tensor<2> {
    let key = |part: &str| format!("{name}.{part}");
    let (mean, variance) = match mode {
        BatchNormMode::Evaluate => (parameters.get(&key("running_mean")), parameters.get(&key("running_var"))),
        BatchNormMode::Train => {
            let rows = x.dims()[0] as f64;
            let mean = x.clone().mean_dim(0);
            let centred = x.clone() - mean.clone();
            let variance = (centred.clone() * centred).mean_dim(0);
            let unbiased = variance.clone().detach() * (rows / (rows - 1.0).max(1.0));
            remember(parameters, &key("running_mean"), mean.clone().detach());
            remember(parameters, &key("running_var"), unbiased);
            (mean, variance)
        }
    };
    let scale = (variance + BATCH_NORM_EPSILON).sqrt().recip() * parameters.get(&key("weight"));
    let shift = parameters.get(&key("bias")) - mean * scale.clone();
    x * scale + shift
}

/// ε of every layer normalisation (PyTorch's default).
const LAYER_NORM_EPSILON: f64 = 1e-5;

/// Layer normalisation: every row gets mean 0 and (biased) variance 1, then weight and bias.
pub fn layer_norm(parameters: &Parameters, name: &str, x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let normal = centred * (variance + LAYER_NORM_EPSILON).sqrt().recip();
    normal * parameters.get(&format!("{name}.weight")) + parameters.get(&format!("{name}.bias"))
}

fn remember(parameters: &mut Parameters, name: &str, value: Tensor<2>) {
    let old = parameters.get(name);
    parameters.set_buffer(name, old * (1.0 - MOMENTUM) + value * MOMENTUM);
}

/// x where positive, 0.2·x elsewhere.
pub fn leaky_relu(x: Tensor<2>) -> Tensor<2> {
    activation::leaky_relu(x, 0.2)
}
