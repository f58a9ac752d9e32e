//! DRA's network: a trained backbone and four heads (paper §3; docs/methods/dra.md, Computation).

use burn::tensor::{Device, Tensor, activation};

use super::params::NetworkParams;
use crate::backbone::network::Window;
use crate::backbone::plan::{Padding, Tap};
use crate::backbone::{Architecture, weights::StateDict};
use crate::device::rectify;
use crate::train::{
    BATCH_NORM_EPSILON, BatchNormMode, Parameters, Trunk, batch_norm_maps, convolution, linear, top_mean,
};

/// The heads in the order of all lists of four.
pub const HEADS: [&str; 4] = ["holistic", "seen", "pseudo", "composite"];

/// The network's shape: what the parameters alone do not say.
pub struct Network {
    trunk: Trunk,
    params: NetworkParams,
}

/// What the heads say at one scale.
pub struct Heads {
    /// One value ≥ 0 for each image (images × 1), in the order of [`HEADS`].
    pub scores: [Tensor<2>; 4],
    /// |scores| of every position for the last three heads: images × 1 × rows × columns.
    pub maps: [Tensor<4>; 3],
}

impl Network {
    /// The network of these settings on a backbone.
    pub fn new(params: &NetworkParams, architecture: &Architecture, taps: &[Tap]) -> Self {
        Network { trunk: Trunk::new(architecture, taps, params.frozen_blocks), params: params.clone() }
    }

    /// The backbone with the weights of `state` (zeros where only names and shapes are wanted) and freshly drawn heads.
    pub fn initial(&self, state: Option<&StateDict>, seed: u64, device: &Device) -> Parameters {
        let (mut parameters, channels) = (Parameters::default(), self.trunk.channels());
        self.trunk.add(&mut parameters, state, device);
        parameters.add_layer("holistic.fc1", channels, self.params.hidden, seed, device);
        parameters.add_layer("holistic.fc2", self.params.hidden, 1, seed, device);
        for head in ["seen", "pseudo", "composite"] {
            parameters.add_layer(&format!("{head}.scoring"), channels, 1, seed, device);
        }
        parameters.add_layer("composite.conv", 9 * channels, channels, seed, device);
        parameters.add_batch_norm("composite.bn", channels, device);
        parameters
    }

    /// How many numbers of the heads are learned, in the order of [`HEADS`].
    pub fn head_sizes(&self) -> [usize; 4] {
        let (channels, hidden) = (self.trunk.channels(), self.params.hidden);
        let point = channels + 1;
        [hidden * (channels + 1) + hidden + 1, point, point, channels * (9 * channels + 1) + 2 * channels + point]
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        self.trunk.size() + self.head_sizes().iter().sum::<usize>()
    }

    /// The bias in front of a batch normalisation, which removes it: its true gradient is zero.
    pub fn zero_gradient(&self) -> Vec<String> {
        vec!["composite.conv.bias".into()]
    }

    /// Sides of the scales of an image of `side` pixels.
    pub fn sides(&self, side: usize) -> Vec<usize> {
        (0..self.params.scales).map(|scale| side >> scale).collect()
    }

    /// Operations of one forward pass of one image of `side` pixels at all scales, but for the heads.
    pub fn operations(&self, side: usize) -> f64 {
        self.sides(side).into_iter().map(|side| self.trunk.operations(side)).sum()
    }

    /// Bytes of one image in training, and of one that is judged: roughly, at all scales.
    pub fn image_bytes(&self, side: usize) -> (usize, usize) {
        let sides = self.sides(side);
        let training = sides.iter().map(|&side| self.trunk.training_bytes(side) + 24 * side * side).sum();
        (training, sides.iter().map(|&side| self.trunk.forward_bytes(side) + 12 * side * side).max().unwrap_or(0))
    }

    /// The backbone's deepest map of a normalised batch (images × 3 × side × side).
    pub fn features(&self, parameters: &mut Parameters, images: Tensor<4>, mode: BatchNormMode) -> Tensor<4> {
        let mut maps = self.trunk.forward(parameters, images, mode);
        maps.pop().unwrap_or_else(|| unreachable!("a backbone has a tap"))
    }

    /// What the heads say of images with these features, of which each has a mean of reference features of the same shape.
    pub fn heads(
        &self,
        parameters: &mut Parameters,
        features: Tensor<4>,
        references: Tensor<4>,
        mode: BatchNormMode,
    ) -> Heads {
        let [images, channels, _, _] = features.dims();
        let pooled = features.clone().mean_dim(3).mean_dim(2).reshape([images, channels]);
        let hidden = activation::relu(linear(parameters, "holistic.fc1", pooled));
        let holistic = linear(parameters, "holistic.fc2", hidden).abs();
        let window = Window { padding: Padding::Fixed(1, 1), ..Window::POINT };
        let names = ("composite.conv.weight", "composite.conv.bias");
        let residual = convolution(parameters, names.0, Some(names.1), (3, window), references - features.clone());
        let residual = batch_norm_maps(parameters, "composite.bn", residual, mode, BATCH_NORM_EPSILON);
        let maps = [("seen", features.clone()), ("pseudo", features), ("composite", rectify(residual, None))];
        let maps = maps.map(|(head, x)| {
            let [weight, bias] = ["weight", "bias"].map(|part| format!("{head}.scoring.{part}"));
            convolution(parameters, &weight, Some(&bias), (1, Window::POINT), x).abs()
        });
        let [seen, pseudo, composite] = maps.clone().map(|map| {
            let [images, _, rows, columns] = map.dims();
            top_mean(map.reshape([images, rows * columns]), top_count(self.params.top_k, rows * columns))
        });
        Heads { scores: [holistic, seen, pseudo, composite], maps }
    }
}

/// How many of `positions` a share of them is: at least one.
pub fn top_count(share: f64, positions: usize) -> usize {
    ((share * positions as f64) as usize).clamp(1, positions)
}
