//! What a network is made of: convolutions with batch normalisation, grouped into blocks, and the taps behind
//! some of them.
//!
//! Owns: the description from which tensor lists, map sizes and the executable network are all derived, so that the
//! three cannot disagree. Does not own: concrete architectures (`resnet`, `efficientnet`) or execution (`network`).

/// Name and shape of one tensor of a weights file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Key in the state dictionary.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

/// What follows a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(x, 0).
    Relu,
    /// x clamped to [0, 6].
    Relu6,
    /// x · sigmoid(x).
    Silu,
}

/// Zeros around the input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So many before and after, in rows and in columns.
    Fixed(usize, usize),
    /// TensorFlow's rule: ceil(input / stride) outputs; an odd zero goes behind.
    Same,
}

impl Padding {
    /// Zeros before and after an input of `side`.
    pub fn around(self, side: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Padding::Fixed(before, after) => (before, after),
            Padding::Same => {
                let total = ((side.div_ceil(stride) - 1) * stride + kernel).saturating_sub(side);
                (total / 2, total - total / 2)
            }
        }
    }
}

/// A convolution without bias, followed by batch normalisation and an activation.
#[derive(Clone, Debug)]
pub struct ConvSpec {
    /// Key of the kernel.
    pub weight: String,
    /// Prefix of the four batch-norm tensors.
    pub norm: String,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// 1, or `inputs` for a depthwise convolution.
    pub groups: usize,
    /// Zeros around the input.
    pub padding: Padding,
    /// Every place becomes a square of `kernel` × `kernel` places, side by side: a transposed convolution without padding whose
    /// stride is its kernel.
    pub transposed: bool,
    /// What follows.
    pub activation: Activation,
}

impl ConvSpec {
    /// Side of the output map for an input of `side`; 0 when the input is too small.
    pub fn output_side(&self, side: usize) -> usize {
        if self.transposed {
            return side * self.stride;
        }
        let (before, after) = self.padding.around(side.max(1), self.kernel, self.stride);
        (side + before + after).checked_sub(self.kernel).map_or(0, |room| room / self.stride + 1)
    }

    /// Sizes of the kernel: outputs first, or inputs where it is transposed.
    pub fn shape(&self) -> [usize; 4] {
        let (first, second) =
            if self.transposed { (self.inputs, self.outputs) } else { (self.outputs, self.inputs / self.groups) };
        [first, second, self.kernel, self.kernel]
    }

    /// Floating-point operations for an input of `side`.
    pub fn operations(&self, side: usize) -> f64 {
        let places = if self.transposed { side } else { self.output_side(side) };
        2.0 * self.shape().iter().product::<usize>() as f64 * (places as f64).powi(2)
    }

    /// Values of the output map for an input of `side`.
    pub fn map_values(&self, side: usize) -> usize {
        self.outputs * self.output_side(side).pow(2)
    }

    fn tensors(&self, out: &mut Vec<TensorSpec>) {
        out.push(TensorSpec { name: self.weight.clone(), shape: self.shape().to_vec() });
        for part in ["weight", "bias", "running_mean", "running_var"] {
            out.push(TensorSpec { name: format!("{}.{part}", self.norm), shape: vec![self.outputs] });
        }
    }
}

/// Squeeze and excitation: each channel is scaled by a gate computed from the mean of all channels.
#[derive(Clone, Debug)]
pub struct GateSpec {
    /// Prefix of the 1×1 convolution to `squeezed` channels (with bias, SiLU behind).
    pub reduce: String,
    /// Prefix of the 1×1 convolution back (with bias, sigmoid behind).
    pub expand: String,
    /// Channels that are gated.
    pub channels: usize,
    /// Channels in between.
    pub squeezed: usize,
}

impl GateSpec {
    fn tensors(&self, out: &mut Vec<TensorSpec>) {
        for (prefix, outputs, inputs) in
            [(&self.reduce, self.squeezed, self.channels), (&self.expand, self.channels, self.squeezed)]
        {
            out.push(TensorSpec { name: format!("{prefix}.weight"), shape: vec![outputs, inputs, 1, 1] });
            out.push(TensorSpec { name: format!("{prefix}.bias"), shape: vec![outputs] });
        }
    }
}

/// What is added to the output of a block.
#[derive(Clone, Debug)]
pub enum Shortcut {
    /// Nothing.
    None,
    /// The block's input.
    Identity,
    /// The block's input after a convolution of its own.
    Projection(ConvSpec),
}

/// One residual block.
#[derive(Clone, Debug)]
pub struct BlockSpec {
    /// Convolutions in order.
    pub convs: Vec<ConvSpec>,
    /// A gate before the last convolution.
    pub gate: Option<GateSpec>,
    /// What is added.
    pub shortcut: Shortcut,
    /// What follows the sum.
    pub activation: Activation,
}

impl BlockSpec {
    /// Its convolutions, that of the shortcut last.
    pub fn convolutions(&self) -> impl Iterator<Item = &ConvSpec> {
        let shortcut = if let Shortcut::Projection(conv) = &self.shortcut { Some(conv) } else { None };
        self.convs.iter().chain(shortcut)
    }
}

/// The convolutions of blocks in a row, each with the side of the map that it gets, where the first block gets one of `side`.
pub fn walk(blocks: &[BlockSpec], mut side: usize) -> Vec<(&ConvSpec, usize)> {
    let mut all = Vec::new();
    for block in blocks {
        let start = side;
        for conv in &block.convs {
            all.push((conv, side));
            side = conv.output_side(side);
        }
        if let Shortcut::Projection(conv) = &block.shortcut {
            all.push((conv, start));
        }
    }
    all
}

/// A point where a map leaves the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Name in experiment files.
    pub name: &'static str,
    /// The block whose output it is.
    pub block: usize,
    /// Channels of the map.
    pub channels: usize,
}

/// A whole network up to its last tap.
#[derive(Clone, Debug)]
pub struct Plan {
    /// First convolution.
    pub stem: ConvSpec,
    /// Max pooling 3×3, stride 2, padding 1 behind the stem.
    pub pool: bool,
    /// Residual blocks in order.
    pub blocks: Vec<BlockSpec>,
    /// Added to variances before the root.
    pub norm_epsilon: f64,
}

impl Plan {
    /// Tensors of the stem and the first `blocks` blocks, in execution order.
    pub fn tensors(&self, blocks: usize) -> Vec<TensorSpec> {
        let mut out = Vec::new();
        self.stem.tensors(&mut out);
        for block in &self.blocks[..blocks] {
            block.convs.iter().for_each(|conv| conv.tensors(&mut out));
            block.gate.iter().for_each(|gate| gate.tensors(&mut out));
            if let Shortcut::Projection(conv) = &block.shortcut {
                conv.tensors(&mut out);
            }
        }
        out
    }

    /// Floating-point operations of the convolutions up to block `block` for one square image of `side` pixels.
    pub fn operations(&self, block: usize, side: usize) -> f64 {
        let convs = walk(&self.blocks[..=block], self.start_side(side)).into_iter();
        self.stem.operations(side) + convs.map(|(conv, side)| conv.operations(side)).sum::<f64>()
    }

    /// Bytes that the forward pass of one such image holds at once, roughly: three maps of the largest size.
    pub fn memory_bytes(&self, block: usize, side: usize) -> usize {
        let mut largest = self.stem.map_values(side);
        let mut side = self.start_side(side);
        for conv in self.blocks[..=block].iter().flat_map(|block| &block.convs) {
            side = conv.output_side(side);
            largest = largest.max(conv.outputs * side * side);
        }
        3 * 4 * largest
    }

    /// Values of all maps that the convolutions up to block `block` give for one such image: what training keeps of them, once
    /// for the convolution, once for the normalisation and once for the activation.
    pub fn map_values(&self, block: usize, side: usize) -> usize {
        let convs = walk(&self.blocks[..=block], self.start_side(side)).into_iter();
        self.stem.map_values(side) + convs.map(|(conv, side)| conv.map_values(side)).sum::<usize>()
    }

    /// Side of the map that the first block gets.
    fn start_side(&self, side: usize) -> usize {
        let stem = self.stem.output_side(side);
        if self.pool { stem.div_ceil(2) } else { stem }
    }

    /// Side of the map behind block `block` for a square image of `side` pixels; 0 when the image is too small.
    pub fn map_side(&self, block: usize, side: usize) -> usize {
        let convs = self.blocks[..=block].iter().flat_map(|block| &block.convs);
        convs.fold(self.start_side(side), |side, conv| conv.output_side(side))
    }
}
