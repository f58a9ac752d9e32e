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
    /// What follows.
    pub activation: Activation,
}

impl ConvSpec {
    /// Side of the output map for an input of `side`; 0 when the input is too small.
    pub fn output_side(&self, side: usize) -> usize {
        let (before, after) = self.padding.around(side.max(1), self.kernel, self.stride);
        (side + before + after).checked_sub(self.kernel).map_or(0, |room| room / self.stride + 1)
    }

    fn tensors(&self, out: &mut Vec<TensorSpec>) {
        let kernel = vec![self.outputs, self.inputs / self.groups, self.kernel, self.kernel];
        out.push(TensorSpec { name: self.weight.clone(), shape: kernel });
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
        let of = |conv: &ConvSpec, side: usize| {
            let kernel = conv.outputs * (conv.inputs / conv.groups) * conv.kernel * conv.kernel;
            2.0 * kernel as f64 * (conv.output_side(side) as f64).powi(2)
        };
        let mut total = of(&self.stem, side);
        let mut side = self.start_side(side);
        for block in &self.blocks[..=block] {
            if let Shortcut::Projection(conv) = &block.shortcut {
                total += of(conv, side);
            }
            for conv in &block.convs {
                total += of(conv, side);
                side = conv.output_side(side);
            }
        }
        total
    }

    /// Bytes that the forward pass of one such image holds at once, roughly: three maps of the largest size.
    pub fn memory_bytes(&self, block: usize, side: usize) -> usize {
        let mut largest = self.stem.outputs * self.stem.output_side(side).pow(2);
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
        let mut total = self.stem.outputs * self.stem.output_side(side).pow(2);
        let mut side = self.start_side(side);
        for block in &self.blocks[..=block] {
            if let Shortcut::Projection(conv) = &block.shortcut {
                total += conv.outputs * conv.output_side(side).pow(2);
            }
            for conv in &block.convs {
                side = conv.output_side(side);
                total += conv.outputs * side * side;
            }
        }
        total
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
