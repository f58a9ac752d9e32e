//! Runs a frozen network on burn tensors, with batch normalisation folded into the convolutions.
//!
//! Owns: folding and the forward pass. Does not own: what the network looks like (`plan`) or where numbers come from
//! (`weights`).

use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};

use super::plan::{Activation, BlockSpec, ConvSpec, GateSpec, Padding, Plan, Shortcut};
use super::weights::StateDict;

/// A network ready to run: the stem, and blocks up to the deepest tap.
pub struct Network {
    stem: Conv,
    pool: bool,
    blocks: Vec<Block>,
    /// Blocks whose output leaves the network, ascending.
    taps: Vec<usize>,
}

struct Conv {
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    groups: usize,
    padding: Padding,
    activation: Activation,
}

/// Squeeze and excitation: two pointwise convolutions, the first to fewer channels.
struct Gate([Conv; 2]);

enum Branch {
    None,
    Identity,
    Projection(Box<Conv>),
}

struct Block {
    convs: Vec<Conv>,
    gate: Option<Gate>,
    shortcut: Branch,
    activation: Activation,
}

impl Network {
    /// Builds the network from `state`, which holds every tensor that `plan.tensors` names up to the deepest of
    /// `taps` (block numbers, ascending), in the right shapes.
    pub fn new(plan: &Plan, taps: &[usize], state: &StateDict, device: &Device) -> Network {
        let fold = Fold { state, epsilon: plan.norm_epsilon, device };
        let depth = taps.last().map_or(0, |&block| block + 1);
        let blocks = plan.blocks[..depth].iter().map(|block| fold.block(block)).collect();
        Network { stem: fold.conv(&plan.stem), pool: plan.pool, blocks, taps: taps.to_vec() }
    }

    /// Maps of a normalised batch, images × 3 × side × side, one per tap.
    pub fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.stem.forward(images);
        if self.pool {
            x = max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]));
        }
        let mut maps = Vec::with_capacity(self.taps.len());
        for (number, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            if self.taps.contains(&number) {
                maps.push(x.clone());
            }
        }
        maps
    }
}

impl Block {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Branch::None => None,
            Branch::Identity => Some(input.clone()),
            Branch::Projection(conv) => Some(conv.forward(input.clone())),
        };
        let mut x = input;
        for (index, conv) in self.convs.iter().enumerate() {
            if let Some(gate) = self.gate.as_ref().filter(|_| index + 1 == self.convs.len()) {
                x = gate.forward(x);
            }
            x = conv.forward(x);
        }
        if let Some(shortcut) = shortcut {
            x = x + shortcut;
        }
        activate(x, self.activation)
    }
}

impl Gate {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mean = x.clone().mean_dim(3).mean_dim(2);
        x * sigmoid(self.0.iter().fold(mean, |x, conv| conv.forward(x)))
    }
}

impl Conv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let ([_, _, height, width], kernel) = (x.dims(), self.weight.dims()[3]);
        let padding = [height, width].map(|side| self.padding.around(side, kernel, self.stride));
        let options = ConvOptions::new_with_padding([self.stride; 2], padding, [1, 1], self.groups);
        activate(conv2d(x, self.weight.clone(), Some(self.bias.clone()), options), self.activation)
    }
}

fn activate(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    match activation {
        Activation::None => x,
        Activation::Relu => relu(x),
        // Two passes that the compiler vectorises beat `clamp`, which it does not (0.4 against 1.3 ms for 1.6 M values).
        Activation::Relu6 => relu(x).clamp_max(6.0),
        Activation::Silu => x.clone() * sigmoid(x),
    }
}

struct Fold<'a> {
    state: &'a StateDict,
    epsilon: f64,
    device: &'a Device,
}

impl Fold<'_> {
    fn block(&self, spec: &BlockSpec) -> Block {
        Block {
            convs: spec.convs.iter().map(|conv| self.conv(conv)).collect(),
            gate: spec.gate.as_ref().map(|gate| self.gate(gate)),
            shortcut: match &spec.shortcut {
                Shortcut::None => Branch::None,
                Shortcut::Identity => Branch::Identity,
                Shortcut::Projection(conv) => Branch::Projection(Box::new(self.conv(conv))),
            },
            activation: spec.activation,
        }
    }

    /// Convolution and batch normalisation as one convolution with bias, multiplied out in f64.
    fn conv(&self, spec: &ConvSpec) -> Conv {
        let norm = |part: &str| self.values(&format!("{}.{part}", spec.norm));
        let (gamma, beta, mean, variance) = (norm("weight"), norm("bias"), norm("running_mean"), norm("running_var"));
        let kernel = self.values(&spec.weight);
        let per_output = kernel.len() / spec.outputs;
        let mut weight = Vec::with_capacity(kernel.len());
        let mut bias = Vec::with_capacity(spec.outputs);
        for output in 0..spec.outputs {
            let scale = gamma[output] as f64 / (variance[output] as f64 + self.epsilon).sqrt();
            let values = &kernel[output * per_output..(output + 1) * per_output];
            weight.extend(values.iter().map(|&value| (value as f64 * scale) as f32));
            bias.push((beta[output] as f64 - mean[output] as f64 * scale) as f32);
        }
        let shape = [spec.outputs, spec.inputs / spec.groups, spec.kernel, spec.kernel];
        Conv {
            weight: Tensor::from_data(TensorData::new(weight, shape), self.device),
            bias: Tensor::from_data(TensorData::new(bias, [spec.outputs]), self.device),
            stride: spec.stride,
            groups: spec.groups,
            padding: spec.padding,
            activation: spec.activation,
        }
    }

    fn gate(&self, spec: &GateSpec) -> Gate {
        let pointwise = |prefix: &str, [outputs, inputs]: [usize; 2], activation| {
            let weight = self.values(&format!("{prefix}.weight")).to_vec();
            let bias = self.values(&format!("{prefix}.bias")).to_vec();
            Conv {
                weight: Tensor::from_data(TensorData::new(weight, [outputs, inputs, 1, 1]), self.device),
                bias: Tensor::from_data(TensorData::new(bias, [outputs]), self.device),
                stride: 1,
                groups: 1,
                padding: Padding::Fixed(0, 0),
                activation,
            }
        };
        Gate([
            pointwise(&spec.reduce, [spec.squeezed, spec.channels], Activation::Silu),
            pointwise(&spec.expand, [spec.channels, spec.squeezed], Activation::None),
        ])
    }

    fn values(&self, name: &str) -> &[f32] {
        let weight = self.state.get(name);
        &weight.unwrap_or_else(|| panic!("{name} was promised to be in the state dictionary")).values
    }
}
