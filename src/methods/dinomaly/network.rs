//! Dinomaly's bottleneck and decoder (docs/methods/dinomaly.md, Computation).
//!
//! Tokens are matrices: images one below the other, all tokens of each, those without a place first, then the grid row by row.

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};

use super::attention::{attend, mask};
use super::encoder::Design;
use super::params::{Attention, NetworkParams};
use crate::random::{Purpose, stream};
use crate::train::{Dropout, Parameters, gelu, layer_norm, linear, linear_bias_free};

/// ε of the decoder's layer normalisations.
const EPSILON: f64 = 1e-8;

/// Standard deviation of the initial weights, and how many of it they may be away from zero.
const INITIAL: (f64, f64) = (0.01, 3.0);

/// In front of the names of the bottleneck's parameters, as the released code has it.
const BOTTLENECK: &str = "bottleneck.0";

/// Bottleneck and decoder: their shape, what the parameters alone do not say.
#[derive(Debug)]
pub struct Network {
    params: NetworkParams,
    design: Design,
    /// What attention may not look at, on the device that asked first.
    mask: OnceLock<Option<Tensor<4>>>,
}

impl Network {
    /// The network for tokens like these.
    pub fn new(params: &NetworkParams, design: &Design) -> Self {
        Network { params: params.clone(), design: design.clone(), mask: OnceLock::new() }
    }

    /// What its tokens look like.
    pub fn design(&self) -> &Design {
        &self.design
    }

    /// Layers with weights and bias: name, inputs, outputs, and whether there is a bias.
    fn layers(&self) -> Vec<(String, usize, usize, bool)> {
        let (width, bias) = (self.design.width, self.params.mlp_bias);
        let inner = self.params.expansion * width;
        let mlp =
            |name: &str| [(format!("{name}.fc1"), width, inner, bias), (format!("{name}.fc2"), inner, width, bias)];
        let block = |block: usize| {
            let name = |part: &str| format!("decoder.{block}.{part}");
            let attention = [(name("attn.qkv"), width, 3 * width, true), (name("attn.proj"), width, width, true)];
            attention.into_iter().chain(mlp(&name("mlp")))
        };
        mlp(BOTTLENECK).into_iter().chain((0..self.params.blocks).flat_map(block)).collect()
    }

    /// Freshly drawn parameters (docs/methods/dinomaly.md, Fixed), or zeros where only names and shapes are wanted.
    pub fn parameters(&self, seed: Option<u64>, device: &Device) -> Parameters {
        let (mut parameters, (deviation, limit)) = (Parameters::default(), INITIAL);
        for (name, inputs, outputs, bias) in self.layers() {
            let mut weight = vec![0.0; inputs * outputs];
            if let Some(seed) = seed {
                let number = parameters.learned_names().count() as u64;
                stream(seed, Purpose::InitialWeights, number).fill_cut_normal(&mut weight, deviation, limit);
            }
            parameters.insert(&format!("{name}.weight"), weight, [outputs, inputs], device);
            if bias {
                parameters.insert(&format!("{name}.bias"), vec![0.0; outputs], [1, outputs], device);
            }
        }
        let width = self.design.width;
        for norm in (0..self.params.blocks).flat_map(|block| [1, 2].map(|norm| format!("decoder.{block}.norm{norm}"))) {
            parameters.insert(&format!("{norm}.weight"), vec![1.0; width], [1, width], device);
            parameters.insert(&format!("{norm}.bias"), vec![0.0; width], [1, width], device);
        }
        parameters
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        let of_layer =
            |(_, inputs, outputs, bias): (String, usize, usize, bool)| outputs * (inputs + usize::from(bias));
        self.layers().into_iter().map(of_layer).sum::<usize>() + 4 * self.params.blocks * self.design.width
    }

    /// Floating-point operations of one image's way forward, roughly.
    pub fn operations(&self) -> f64 {
        let (tokens, width) = (self.design.tokens() as f64, self.design.width as f64);
        let NetworkParams { blocks, head_width, .. } = self.params;
        let square = if self.is_square() { tokens } else { head_width as f64 };
        2.0 * tokens * self.size() as f64 + 4.0 * tokens * square * width * blocks as f64
    }

    /// Whether attention has a matrix of weights between all tokens.
    fn is_square(&self) -> bool {
        self.params.attention == Attention::Softmax || self.params.neighbour_mask > 0
    }

    /// Values that one image leaves behind for the way back, roughly.
    pub fn activations(&self) -> usize {
        let (tokens, width) = (self.design.tokens(), self.design.width);
        let NetworkParams { blocks, expansion, head_width, .. } = self.params;
        let square = if self.is_square() { 4 * (width / head_width) * tokens * tokens } else { 0 };
        // Normalisations, queries, keys and values with what becomes of them, the result, and the layer inside, twice.
        let block = tokens * width * (26 + 3 * expansion) + square;
        blocks * block + tokens * width * (4 + 4 * expansion)
    }

    /// Brings to a device what does not change from pass to pass.
    pub fn prepare(&self, device: &Device) {
        self.hidden(device);
    }

    fn hidden(&self, device: &Device) -> Option<Tensor<4>> {
        let make = || mask(&self.params, &self.design, device);
        let known = self.mask.get_or_init(make);
        if known.as_ref().is_none_or(|known| known.device() == *device) { known.clone() } else { make() }
    }

    /// What comes out of the bottleneck: two layers, and dropout in front of, between and behind them.
    pub fn bottleneck(
        &self,
        parameters: &Parameters,
        tokens: Tensor<2>,
        mut drop: impl FnMut(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let inner = gelu(self.layer(parameters, &format!("{BOTTLENECK}.fc1"), drop(tokens)));
        let out = self.layer(parameters, &format!("{BOTTLENECK}.fc2"), drop(inner));
        drop(out)
    }

    /// A layer of bottleneck or block, with bias where these have one.
    fn layer(&self, parameters: &Parameters, name: &str, x: Tensor<2>) -> Tensor<2> {
        if self.params.mlp_bias { linear(parameters, name, x) } else { linear_bias_free(parameters, name, x) }
    }

    /// The attention term of a decoder block, before it is added: from its normalised tokens.
    pub fn attention(&self, parameters: &Parameters, block: usize, x: Tensor<2>) -> Tensor<2> {
        let ([rows, width], tokens, head) = (x.dims(), self.design.tokens(), self.params.head_width);
        let images = rows / tokens;
        let packed = linear(parameters, &format!("decoder.{block}.attn.qkv"), x);
        let part = |number: usize| {
            let part = packed.clone().narrow(1, number * width, width);
            part.reshape([images, tokens, width / head, head]).swap_dims(1, 2)
        };
        let hidden = self.hidden(&packed.device());
        let found = attend(&self.params, [part(0), part(1), part(2)], hidden);
        let found = found.swap_dims(1, 2).reshape([rows, width]);
        linear(parameters, &format!("decoder.{block}.attn.proj"), found)
    }

    /// A decoder block.
    pub fn block(&self, parameters: &Parameters, block: usize, x: Tensor<2>) -> Tensor<2> {
        let normal = |norm: usize, x: &Tensor<2>| {
            layer_norm(parameters, &format!("decoder.{block}.norm{norm}"), x.clone(), EPSILON)
        };
        let x = x.clone() + self.attention(parameters, block, normal(1, &x));
        let name = |part: &str| format!("decoder.{block}.mlp.{part}");
        let inner = gelu(self.layer(parameters, &name("fc1"), normal(2, &x)));
        x + self.layer(parameters, &name("fc2"), inner)
    }

    /// The decoder's groups (images · patches × width each) for the encoder's, which hold all tokens. The latest blocks come
    /// first, beside the encoder's earliest layers.
    pub fn forward(&self, parameters: &Parameters, encoder: &[Tensor<2>], dropout: &mut Dropout) -> Vec<Tensor<2>> {
        let mut x = self.bottleneck(parameters, mean(encoder), |x| dropout.apply(x));
        let mut outputs = Vec::with_capacity(self.params.blocks);
        for block in 0..self.params.blocks {
            x = self.block(parameters, block, x);
            outputs.push(x.clone());
        }
        outputs.reverse();
        let groups = outputs.chunks(self.params.blocks / self.params.groups);
        groups.map(|group| self.patches(mean(group))).collect()
    }

    /// Tokens that have a place.
    pub fn patches(&self, tokens: Tensor<2>) -> Tensor<2> {
        let Design { prefix, width, .. } = self.design;
        if prefix == 0 {
            return tokens;
        }
        let (images, places) = (tokens.dims()[0] / self.design.tokens(), self.design.patches());
        let each = tokens.reshape([images, prefix + places, width]).narrow(1, prefix, places);
        each.reshape([images * places, width])
    }
}

/// The mean of tensors of one shape; there is at least one.
pub fn mean(tensors: &[Tensor<2>]) -> Tensor<2> {
    let (first, others) = tensors.split_first().unwrap_or_else(|| unreachable!("groups have members"));
    others.iter().fold(first.clone(), |sum, tensor| sum + tensor.clone()) / tensors.len() as f64
}
