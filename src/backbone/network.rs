//! Runs networks on burn tensors: the way through blocks that frozen and trained networks share, and the frozen one, with
//! batch normalisation folded into the convolutions.
//!
//! Owns: the forward pass, and folding. Does not own: what the network looks like (`plan`), where numbers come from
//! (`weights`), or parameters that learn (`train`).

use std::collections::BTreeMap;

use burn::tensor::activation::sigmoid;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};

use super::convolve::convolve;
use super::places::{self, Packed};
use super::plan::{Activation, BlockSpec, ConvSpec, GateSpec, Padding, Plan, Shortcut};
use super::weights::StateDict;
use crate::device::{has_own, rectify};

/// The layers of a network as something that can be called; maps are images × channels × height × width.
pub trait Layers {
    /// A convolution with its batch normalisation; the activation comes later.
    fn convolution(&mut self, spec: &ConvSpec, x: Tensor<4>) -> Tensor<4>;

    /// A 1×1 convolution with bias, whose tensors are `prefix.weight` and `prefix.bias`.
    fn pointwise(&mut self, prefix: &str, x: Tensor<4>) -> Tensor<4>;
}

/// Passes a normalised batch, images × 3 × side × side, through the network; one map for each of `taps` (block numbers,
/// ascending). Blocks behind the last tap are not run.
pub fn forward(plan: &Plan, taps: &[usize], images: Tensor<4>, layers: &mut impl Layers) -> Vec<Tensor<4>> {
    let depth = taps.last().map_or(0, |&block| block + 1);
    let mut x = activated(&plan.stem, images, layers);
    if plan.pool {
        x = max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]));
    }
    let mut maps = Vec::with_capacity(taps.len());
    for (number, block) in plan.blocks[..depth].iter().enumerate() {
        x = through(block, x, layers);
        if taps.contains(&number) {
            maps.push(x.clone());
        }
    }
    maps
}

/// A map through a block.
pub fn through(block: &BlockSpec, input: Tensor<4>, layers: &mut impl Layers) -> Tensor<4> {
    let shortcut = match &block.shortcut {
        Shortcut::None => None,
        Shortcut::Identity => Some(input.clone()),
        Shortcut::Projection(conv) => Some(activated(conv, input.clone(), layers)),
    };
    let mut x = input;
    for (index, conv) in block.convs.iter().enumerate() {
        if let Some(gate) = block.gate.as_ref().filter(|_| index + 1 == block.convs.len()) {
            let mean = x.clone().mean_dim(3).mean_dim(2);
            let squeezed = activate(layers.pointwise(&gate.reduce, mean), Activation::Silu);
            x = x * sigmoid(layers.pointwise(&gate.expand, squeezed));
        }
        x = activated(conv, x, layers);
    }
    if let Some(shortcut) = shortcut {
        x = x + shortcut;
    }
    activate(x, block.activation)
}

/// A map through a convolution, its normalisation and its activation.
pub fn activated(conv: &ConvSpec, x: Tensor<4>, layers: &mut impl Layers) -> Tensor<4> {
    activate(layers.convolution(conv, x), conv.activation)
}

/// What follows a convolution or a block.
pub fn activate(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    match activation {
        Activation::None => x,
        Activation::Relu => rectify(x, None),
        Activation::Relu6 => rectify(x, Some(6.0)),
        Activation::Silu => x.clone() * sigmoid(x),
    }
}

/// A square convolution without anything around it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Stride in both directions.
    pub stride: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Zeros around the input.
    pub padding: Padding,
    /// Every place becomes a square as wide as the kernel, side by side; the other fields do not count.
    pub transposed: bool,
}

impl Window {
    /// One pixel, every pixel.
    pub const POINT: Window = Window { stride: 1, groups: 1, padding: Padding::Fixed(0, 0), transposed: false };

    /// The window of a convolution of a plan.
    pub fn of(spec: &ConvSpec) -> Window {
        let &ConvSpec { stride, groups, padding, transposed, .. } = spec;
        Window { stride, groups, padding, transposed }
    }

    /// The convolution of `x` with `weight`, outputs × inputs / groups × side × side; transposed: inputs × outputs × side × side.
    pub fn convolve(&self, x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
        if self.transposed {
            return spread(x, weight, bias);
        }
        let ([_, _, height, width], kernel) = (x.dims(), weight.dims()[3]);
        let padding = [height, width].map(|side| self.padding.around(side, kernel, self.stride));
        convolve(x, weight, bias, ConvOptions::new_with_padding([self.stride; 2], padding, [1, 1], self.groups))
    }
}

/// The transposed convolution whose squares lie side by side: a convolution of single places, whose outputs are then laid out
/// as squares.
fn spread(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let ([images, _, rows, columns], [inputs, outputs, side, _]) = (x.dims(), weight.dims());
    let values = outputs * side * side;
    let points = weight.reshape([inputs, values]).transpose().reshape([values, inputs, 1, 1]);
    let flat = convolve(x, points, None, ConvOptions::new([1, 1], [0, 0], [1, 1], 1));
    let squares: Tensor<6> = flat.reshape([images, outputs, side, side, rows, columns]);
    let y = squares.permute([0, 1, 4, 2, 5, 3]).reshape([images, outputs, rows * side, columns * side]);
    match bias {
        Some(bias) => y + bias.reshape([1, outputs, 1, 1]),
        None => y,
    }
}

/// A frozen network ready to run: the stem, and blocks up to the deepest tap.
pub struct Network {
    plan: Plan,
    /// Blocks whose output leaves the network, ascending.
    taps: Vec<usize>,
    /// Convolutions with what follows folded in, by the key of the kernel.
    convolutions: BTreeMap<String, Conv>,
    /// The same on a processor that has a faster way through them.
    packed: Option<Packed>,
}

struct Conv {
    weight: Tensor<4>,
    bias: Tensor<1>,
    window: Window,
}

impl Conv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.window.convolve(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

impl Network {
    /// Builds the network from `state`, which holds every tensor that `plan.tensors` names up to the deepest of
    /// `taps` (block numbers, ascending), in the right shapes.
    pub fn new(plan: &Plan, taps: &[usize], state: &StateDict, device: &Device) -> Network {
        let depth = taps.last().map_or(0, |&block| block + 1);
        let packed = (has_own(device) && places::runs(plan, depth)).then(Packed::new);
        Network::folded(plan, taps, state, device, packed)
    }

    fn folded(plan: &Plan, taps: &[usize], state: &StateDict, device: &Device, packed: Option<Packed>) -> Network {
        let depth = taps.last().map_or(0, |&block| block + 1);
        let mut fold = Fold { state, epsilon: plan.norm_epsilon, device, made: BTreeMap::new(), packed };
        fold.conv(&plan.stem);
        plan.blocks[..depth].iter().for_each(|block| fold.block(block));
        Network { convolutions: fold.made, packed: fold.packed, plan: plan.clone(), taps: taps.to_vec() }
    }

    /// Maps of normalised planes, 3 × side × side for each image; one tensor per tap.
    pub fn maps(&self, planes: Vec<f32>, side: usize, device: &Device) -> Vec<Tensor<4>> {
        if let Some(packed) = &self.packed {
            return packed.forward(&self.plan, &self.taps, &planes, side);
        }
        let images = planes.len() / (3 * side * side);
        self.forward(Tensor::from_data(TensorData::new(planes, [images, 3, side, side]), device))
    }

    /// Maps of a normalised batch, images × 3 × side × side, one per tap.
    fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        forward(&self.plan, &self.taps, images, &mut Folded(&self.convolutions))
    }
}

struct Folded<'a>(&'a BTreeMap<String, Conv>);

impl Folded<'_> {
    fn call(&self, key: &str, x: Tensor<4>) -> Tensor<4> {
        self.0.get(key).unwrap_or_else(|| panic!("{key} was folded when the network was built")).forward(x)
    }
}

impl Layers for Folded<'_> {
    fn convolution(&mut self, spec: &ConvSpec, x: Tensor<4>) -> Tensor<4> {
        self.call(&spec.weight, x)
    }

    fn pointwise(&mut self, prefix: &str, x: Tensor<4>) -> Tensor<4> {
        self.call(&format!("{prefix}.weight"), x)
    }
}

struct Fold<'a> {
    state: &'a StateDict,
    epsilon: f64,
    device: &'a Device,
    made: BTreeMap<String, Conv>,
    packed: Option<Packed>,
}

impl Fold<'_> {
    fn block(&mut self, spec: &BlockSpec) {
        spec.convolutions().for_each(|conv| self.conv(conv));
        spec.gate.iter().for_each(|gate| self.gate(gate));
    }

    /// Convolution and batch normalisation as one convolution with bias, multiplied out in f64.
    fn conv(&mut self, spec: &ConvSpec) {
        let norm = |part: &str| self.values(&format!("{}.{part}", spec.norm));
        let (gamma, beta, mean, variance) = (norm("weight"), norm("bias"), norm("running_mean"), norm("running_var"));
        let kernel = self.values(&spec.weight);
        let scale = |output: usize| gamma[output] as f64 / (variance[output] as f64 + self.epsilon).sqrt();
        let scales: Vec<f64> = (0..spec.outputs).map(scale).collect();
        // Values in a row that belong to one output.
        let run = if spec.transposed { spec.kernel * spec.kernel } else { kernel.len() / spec.outputs };
        let scaled = |(run, values): (usize, &[f32])| {
            let scale = scales[run % spec.outputs];
            values.iter().map(|&value| (value as f64 * scale) as f32).collect::<Vec<f32>>()
        };
        let weight: Vec<f32> = kernel.chunks(run).enumerate().flat_map(scaled).collect();
        let shift = |(output, scale): (usize, &f64)| (beta[output] as f64 - mean[output] as f64 * scale) as f32;
        let bias: Vec<f32> = scales.iter().enumerate().map(shift).collect();
        if let Some(packed) = &mut self.packed {
            return packed.add(spec, &weight, &bias);
        }
        self.add(&spec.weight, weight, spec.shape(), bias, Window::of(spec));
    }

    fn gate(&mut self, spec: &GateSpec) {
        for (prefix, [outputs, inputs]) in
            [(&spec.reduce, [spec.squeezed, spec.channels]), (&spec.expand, [spec.channels, spec.squeezed])]
        {
            let key = format!("{prefix}.weight");
            let (weight, bias) = (self.values(&key).to_vec(), self.values(&format!("{prefix}.bias")).to_vec());
            self.add(&key, weight, [outputs, inputs, 1, 1], bias, Window::POINT);
        }
    }

    fn add(&mut self, key: &str, weight: Vec<f32>, shape: [usize; 4], bias: Vec<f32>, window: Window) {
        let outputs = bias.len();
        let conv = Conv {
            weight: Tensor::from_data(TensorData::new(weight, shape), self.device),
            bias: Tensor::from_data(TensorData::new(bias, [outputs]), self.device),
            window,
        };
        self.made.insert(key.into(), conv);
    }

    fn values(&self, name: &str) -> &[f32] {
        let weight = self.state.get(name);
        &weight.unwrap_or_else(|| panic!("{name} was promised to be in the state dictionary")).values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{Architecture, weights};
    use crate::device::download;
    use crate::random::{Purpose, stream};
    use crate::spec;
    use std::path::Path;

    #[test]
    fn packed_networks_make_the_maps_of_the_plain_ones_at_even_and_odd_sides() {
        let device = Device::flex();
        for (name, sides) in [("resnet18", [64, 41]), ("efficientnet_lite0", [64, 45])] {
            let architecture = Architecture::find(name).expect("known");
            let plan = architecture.plan();
            let taps: Vec<usize> = architecture.taps.iter().map(|tap| tap.block).collect();
            let layers = architecture.taps.iter().map(|tap| tap.name.into()).collect();
            let weights = "random".into();
            let spec = spec::Backbone { name: name.into(), layers, weights, ..spec::Backbone::default() };
            let state = weights::resolve(&spec, Path::new("none"), 0).expect("drawn").state;
            let packed = Network::new(&plan, &taps, &state, &device);
            let plain = Network::folded(&plan, &taps, &state, &device, None);
            for side in sides {
                let mut planes = vec![0.0; 2 * 3 * side * side];
                stream(0, Purpose::Synthetic, 0).fill_normal(&mut planes, 1.0);
                let maps = [&packed, &plain].map(|network| network.maps(planes.clone(), side, &device));
                for (own, plain) in std::iter::zip(&maps[0], &maps[1]) {
                    assert_eq!(own.dims(), plain.dims());
                    let [own, plain] = [own, plain].map(|map| download(map.clone()));
                    let scale = plain.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                    let worst = std::iter::zip(&own, &plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(scale > 0.0 && worst <= 1e-5 * scale, "{name} at {side}: {worst} of {scale}");
                }
            }
        }
    }
}
