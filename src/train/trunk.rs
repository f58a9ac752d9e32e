//! A backbone that is trained: the networks of `backbone`, run on named parameters.
//!
//! Owns: the parameters' names and which of them learn. Does not own: what the network looks like (`backbone::plan`) or the
//! way through its blocks (`backbone::network`), which it shares with frozen networks.

use burn::tensor::{Device, Tensor};

use super::layers::BatchNormMode;
use super::maps::{batch_norm_maps, convolution};
use super::parameters::Parameters;
use crate::backbone::network::{Layers, Window, forward};
use crate::backbone::plan::{ConvSpec, Plan, TensorSpec};
use crate::backbone::weights::StateDict;
use crate::backbone::{Architecture, plan::Tap};

/// A network up to its deepest tap. Its parameters are called `trunk.` and what the published weights call them.
pub struct Trunk {
    plan: Plan,
    taps: Vec<Tap>,
    /// The stem and so many blocks stay as they are, running statistics included; 0 = all learn.
    frozen: usize,
}

const PREFIX: &str = "trunk.";

impl Trunk {
    /// The network of `architecture`, which is made of convolutions, with these taps. With `frozen` > 0 the stem and so many blocks do not learn.
    pub fn new(architecture: &Architecture, taps: &[Tap], frozen: usize) -> Trunk {
        Trunk { plan: architecture.plan(), taps: taps.to_vec(), frozen }
    }

    fn blocks(&self) -> usize {
        self.taps.last().map_or(0, |tap| tap.block + 1)
    }

    /// Tensors that do not learn, and those that do.
    fn tensors(&self) -> (Vec<TensorSpec>, Vec<TensorSpec>) {
        let frozen = self.frozen.min(self.blocks());
        let mut all = self.plan.tensors(self.blocks());
        let learned = all.split_off(if self.frozen == 0 { 0 } else { self.plan.tensors(frozen).len() });
        (all, learned)
    }

    /// Adds its parameters with the values of `state`, or zeros where only names and shapes are wanted.
    ///
    /// # Panics
    /// When `state` lacks a tensor: weights are resolved for the same taps.
    pub fn add(&self, parameters: &mut Parameters, state: Option<&StateDict>, device: &Device) {
        let (frozen, learned) = self.tensors();
        for (spec, learns) in frozen.iter().map(|spec| (spec, false)).chain(learned.iter().map(|spec| (spec, true))) {
            let count: usize = spec.shape.iter().product();
            let shape = match spec.shape.as_slice() {
                [_] => [1, count],
                shape => [shape[0], count / shape[0]],
            };
            let values = match state.map(|state| state.get(&spec.name)) {
                None => vec![0.0; count],
                Some(Some(weight)) => weight.values.clone(),
                Some(None) => panic!("{} was promised to be in the state dictionary", spec.name),
            };
            let name = format!("{PREFIX}{}", spec.name);
            match learns && !spec.name.contains(".running_") {
                true => parameters.insert(&name, values, shape, device),
                false => parameters.insert_buffer(&name, values, shape, device),
            }
        }
    }

    /// How many numbers learn.
    pub fn size(&self) -> usize {
        let learned = self.tensors().1.into_iter().filter(|spec| !spec.name.contains(".running_"));
        learned.map(|spec| spec.shape.iter().product::<usize>()).sum()
    }

    /// Channels of the deepest tap.
    pub fn channels(&self) -> usize {
        self.taps.last().map_or(0, |tap| tap.channels)
    }

    /// Operations of one forward pass of one square image of `side` pixels.
    pub fn operations(&self, side: usize) -> f64 {
        self.plan.operations(self.blocks() - 1, side)
    }

    /// Bytes of one such image in training, roughly: three maps for each convolution.
    pub fn training_bytes(&self, side: usize) -> usize {
        3 * 4 * self.plan.map_values(self.blocks() - 1, side)
    }

    /// Bytes of one such image when nothing is learned, roughly.
    pub fn forward_bytes(&self, side: usize) -> usize {
        self.plan.memory_bytes(self.blocks() - 1, side)
    }

    /// Maps of a normalised batch, images × 3 × side × side, one per tap. Blocks that do not learn keep to their running
    /// statistics whatever the mode.
    pub fn forward(&self, parameters: &mut Parameters, images: Tensor<4>, mode: BatchNormMode) -> Vec<Tensor<4>> {
        let taps: Vec<usize> = self.taps.iter().map(|tap| tap.block).collect();
        let mut layers = Learned { parameters, prefix: PREFIX, mode, epsilon: self.plan.norm_epsilon };
        forward(&self.plan, &taps, images, &mut layers)
    }
}

/// Convolutions and batch normalisations on parameters.
pub(super) struct Learned<'a> {
    pub parameters: &'a mut Parameters,
    /// In front of what the network calls its tensors.
    pub prefix: &'a str,
    pub mode: BatchNormMode,
    pub epsilon: f64,
}

impl Layers for Learned<'_> {
    fn convolution(&mut self, spec: &ConvSpec, x: Tensor<4>) -> Tensor<4> {
        let [weight, norm] = [&spec.weight, &spec.norm].map(|name| format!("{}{name}", self.prefix));
        let mode = if self.parameters.learns(&weight) { self.mode } else { BatchNormMode::Evaluate };
        let x = convolution(self.parameters, &weight, None, (spec.kernel, Window::of(spec)), x);
        batch_norm_maps(self.parameters, &norm, x, mode, self.epsilon)
    }

    fn pointwise(&mut self, prefix: &str, x: Tensor<4>) -> Tensor<4> {
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{}{prefix}.{part}", self.prefix));
        convolution(self.parameters, &weight, Some(&bias), (1, Window::POINT), x)
    }
}
