//! SimpleNet's learned part: adaptor and discriminator (paper §3.2–3.4; docs/methods/simplenet.md, Computation).

use burn::tensor::{Device, Tensor};

use super::params::Params;
use crate::train::{BatchNormMode, Parameters, batch_norm, leaky_relu, linear, linear_bias_free};

/// The network's shape: what the parameters alone do not say.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    adaptor_layers: usize,
    blocks: usize,
    hidden: usize,
}

impl Network {
    /// The network of these settings.
    pub fn new(params: &Params) -> Self {
        Network {
            adaptor_layers: params.adaptor.layers,
            blocks: params.discriminator.blocks,
            hidden: params.discriminator.hidden,
        }
    }

    /// Freshly drawn parameters for patches of `dim` values.
    pub fn initial(&self, dim: usize, seed: u64, device: &Device) -> Parameters {
        let mut parameters = Parameters::default();
        for layer in 1..=self.adaptor_layers {
            parameters.add_linear(&format!("adaptor.{layer}"), dim, dim, true, seed, device);
        }
        for block in 1..=self.blocks {
            let inputs = if block == 1 { dim } else { self.hidden };
            parameters.add_linear(&format!("discriminator.{block}.linear"), inputs, self.hidden, true, seed, device);
            parameters.add_batch_norm(&format!("discriminator.{block}.bn"), self.hidden, device);
        }
        parameters.add_linear("discriminator.out", self.hidden, 1, false, seed, device);
        parameters
    }

    /// How many numbers are learned for patches of `dim` values.
    pub fn size(&self, dim: usize) -> usize {
        let block = |inputs: usize| self.hidden * (inputs + 3);
        let blocks = block(dim) + (self.blocks - 1) * block(self.hidden);
        self.adaptor_layers * dim * (dim + 1) + blocks + self.hidden
    }

    /// Parameters whose gradient is zero but for rounding: real and fake rows are shifted alike, and the batch
    /// normalisation that follows removes what all rows share.
    pub fn zero_gradient(&self) -> Vec<String> {
        let adaptor = (1..=self.adaptor_layers).map(|layer| format!("adaptor.{layer}.bias"));
        adaptor.chain((1..=self.blocks).map(|block| format!("discriminator.{block}.linear.bias"))).collect()
    }

    /// Patch features (rows × C) to adapted features (rows × C).
    pub fn adapt(&self, parameters: &Parameters, patches: Tensor<2>) -> Tensor<2> {
        (1..=self.adaptor_layers).fold(patches, |x, layer| linear(parameters, &format!("adaptor.{layer}"), x))
    }

    /// D of adapted features, rows × 1: positive = real. In training the statistics are those of all rows together.
    pub fn judge(&self, parameters: &mut Parameters, adapted: Tensor<2>, mode: BatchNormMode) -> Tensor<2> {
        let mut x = adapted;
        for block in 1..=self.blocks {
            let inner = linear(parameters, &format!("discriminator.{block}.linear"), x);
            x = leaky_relu(batch_norm(parameters, &format!("discriminator.{block}.bn"), inner, mode));
        }
        linear_bias_free(parameters, "discriminator.out", x)
    }

    /// Anomaly scores −D of patch features, rows × 1, in evaluation mode: each row on its own.
    pub fn score(&self, parameters: &mut Parameters, patches: Tensor<2>) -> Tensor<2> {
        let adapted = self.adapt(parameters, patches);
        -self.judge(parameters, adapted, BatchNormMode::Evaluate)
    }
}
