//! SimpleNet's learned part: adaptor and discriminator (paper §3.2–3.4; docs/methods/simplenet.md, Computation).

use burn::tensor::{Device, Tensor};

use super::params::{Discriminator, Params};
use crate::train::{BatchNormMode, Mlp, Parameters, linear};

/// The network's shape: what the parameters alone do not say.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    adaptor_layers: usize,
    discriminator: Mlp,
    dim: usize,
}

impl Network {
    /// The network of these settings for patches of `dim` values.
    pub fn new(params: &Params, dim: usize) -> Self {
        let Discriminator { blocks, hidden, .. } = params.discriminator;
        let discriminator = Mlp { prefix: "discriminator", inputs: dim, blocks, hidden, skips: false };
        Network { adaptor_layers: params.adaptor.layers, discriminator, dim }
    }

    /// Freshly drawn parameters.
    pub fn initial(&self, seed: u64, device: &Device) -> Parameters {
        let mut parameters = Parameters::default();
        for layer in 1..=self.adaptor_layers {
            parameters.add_linear(&format!("adaptor.{layer}"), self.dim, self.dim, true, seed, device);
        }
        self.discriminator.add(&mut parameters, seed, device);
        parameters
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        self.adaptor_layers * self.dim * (self.dim + 1) + self.discriminator.size()
    }

    /// Parameters whose gradient is zero but for rounding: real and fake rows are shifted alike, and the batch
    /// normalisation that follows removes what all rows share.
    pub fn zero_gradient(&self) -> Vec<String> {
        let adaptor = (1..=self.adaptor_layers).map(|layer| format!("adaptor.{layer}.bias"));
        adaptor.chain(self.discriminator.zero_gradient()).collect()
    }

    /// Patch features (rows × C) to adapted features (rows × C).
    pub fn adapt(&self, parameters: &Parameters, patches: Tensor<2>) -> Tensor<2> {
        (1..=self.adaptor_layers).fold(patches, |x, layer| linear(parameters, &format!("adaptor.{layer}"), x))
    }

    /// D of adapted features, rows × 1: positive = real. In training the statistics are those of all rows together.
    pub fn judge(&self, parameters: &mut Parameters, adapted: Tensor<2>, mode: BatchNormMode) -> Tensor<2> {
        self.discriminator.forward(parameters, adapted, mode)
    }

    /// Anomaly scores −D of patch features, rows × 1, in evaluation mode: each row on its own.
    pub fn score(&self, parameters: &mut Parameters, patches: Tensor<2>) -> Tensor<2> {
        let adapted = self.adapt(parameters, patches);
        -self.judge(parameters, adapted, BatchNormMode::Evaluate)
    }
}
