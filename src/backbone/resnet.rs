//! Residual networks in torchvision's layout (He et al. 2016; Zagoruyko and Komodakis 2016 for the wide one).
//!
//! Owns: their rows of the registry. torchvision's variant puts the stride of a bottleneck on its 3×3 convolution.

use super::plan::{Activation, BlockSpec, ConvSpec, Padding, Plan, Shortcut, Tap};
use super::weights::PublishedFile;
use super::{Architecture, Body, IMAGENET_MEAN, IMAGENET_STD};

/// ResNet-18. Taps are block outputs after the last ReLU, here as in all residual networks.
pub const RESNET18: Architecture = Architecture {
    name: "resnet18",
    default_layers: &["layer2", "layer3"],
    taps: &taps([64, 128, 256, 512], [2, 2, 2, 2]),
    mean: IMAGENET_MEAN,
    std: IMAGENET_STD,
    body: Body::Convolutions(resnet18),
    published: Some(PublishedFile {
        file: "resnet18-f37072fd.pth",
        url: "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        sha256: Some("f37072fd"),
        licence: "BSD-3-Clause",
        source: "torchvision, ImageNet-1k, first weights",
    }),
    embedded: None,
};

/// WideResNet50-2: bottlenecks whose 3×3 convolution is twice as wide as ResNet-50's.
pub const WIDE_RESNET50_2: Architecture = Architecture {
    name: "wide_resnet50_2",
    taps: &taps([256, 512, 1024, 2048], [3, 4, 6, 3]),
    body: Body::Convolutions(wide_resnet50_2),
    published: Some(PublishedFile {
        file: "wide_resnet50_2-95faca4d.pth",
        url: "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
        sha256: Some("95faca4d"),
        licence: "BSD-3-Clause",
        source: "torchvision, ImageNet-1k, first weights",
    }),
    ..RESNET18
};

const fn taps(channels: [usize; 4], depths: [usize; 4]) -> [Tap; 4] {
    let [first, second, third, fourth] = depths;
    [
        Tap { name: "layer1", block: first - 1, channels: channels[0] },
        Tap { name: "layer2", block: first + second - 1, channels: channels[1] },
        Tap { name: "layer3", block: first + second + third - 1, channels: channels[2] },
        Tap { name: "layer4", block: first + second + third + fourth - 1, channels: channels[3] },
    ]
}

/// What a block does to the sides of its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// Nothing.
    Keep,
    /// Halves them, by a stride.
    Halve,
    /// Doubles them, by a transposed convolution of 2 × 2 in place of the 3 × 3 one.
    Double,
}

/// The two kinds of residual blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// Two convolutions of 3 × 3.
    Basic,
    /// One of 1 × 1, one of 3 × 3, one of 1 × 1; the inner values are half as many as the outer ones.
    WideBottleneck,
}

impl Residual {
    /// A block between maps of so many channels, its tensors called `prefix` and what torchvision calls them; those of a
    /// shortcut that doubles sides `upsample`.
    pub fn block(self, prefix: &str, [inputs, outputs]: [usize; 2], resize: Resize) -> BlockSpec {
        let convs = match self {
            Residual::Basic => vec![
                square(prefix, 1, [inputs, outputs], resize, Activation::Relu),
                conv(prefix, 2, [outputs, outputs], 3, 1, Activation::None),
            ],
            Residual::WideBottleneck => vec![
                conv(prefix, 1, [inputs, outputs / 2], 1, 1, Activation::Relu),
                square(prefix, 2, [outputs / 2, outputs / 2], resize, Activation::Relu),
                conv(prefix, 3, [outputs / 2, outputs], 1, 1, Activation::None),
            ],
        };
        let shortcut = match resize {
            Resize::Keep if inputs == outputs => Shortcut::Identity,
            _ => Shortcut::Projection(projection(prefix, [inputs, outputs], resize)),
        };
        BlockSpec { convs, gate: None, shortcut, activation: Activation::Relu }
    }
}

/// The 3 × 3 convolution that changes sides, or what stands in its place.
fn square(prefix: &str, number: usize, channels: [usize; 2], resize: Resize, activation: Activation) -> ConvSpec {
    match resize {
        Resize::Keep => conv(prefix, number, channels, 3, 1, activation),
        Resize::Halve => conv(prefix, number, channels, 3, 2, activation),
        Resize::Double => doubling(conv(prefix, number, channels, 2, 2, activation)),
    }
}

fn doubling(conv: ConvSpec) -> ConvSpec {
    ConvSpec { padding: Padding::Fixed(0, 0), transposed: true, ..conv }
}

/// The convolution of a shortcut.
fn projection(prefix: &str, channels: [usize; 2], resize: Resize) -> ConvSpec {
    let name = if resize == Resize::Double { "upsample" } else { "downsample" };
    let own = match resize {
        Resize::Keep => conv(prefix, 0, channels, 1, 1, Activation::None),
        Resize::Halve => conv(prefix, 0, channels, 1, 2, Activation::None),
        Resize::Double => doubling(conv(prefix, 0, channels, 2, 2, Activation::None)),
    };
    ConvSpec { weight: format!("{prefix}{name}.0.weight"), norm: format!("{prefix}{name}.1"), ..own }
}

fn resnet18() -> Plan {
    plan([2, 2, 2, 2], Residual::Basic, 64)
}

fn wide_resnet50_2() -> Plan {
    plan([3, 4, 6, 3], Residual::WideBottleneck, 256)
}

/// A network whose first layer has maps of `channels`, and every further one twice as many.
fn plan(depths: [usize; 4], kind: Residual, channels: usize) -> Plan {
    let stem =
        ConvSpec { weight: "conv1.weight".into(), norm: "bn1".into(), ..conv("", 1, [3, 64], 7, 2, Activation::Relu) };
    let mut blocks = Vec::new();
    let mut inputs = 64;
    for (layer, &depth) in depths.iter().enumerate() {
        for index in 0..depth {
            let prefix = format!("layer{}.{index}.", layer + 1);
            let resize = if index == 0 && layer > 0 { Resize::Halve } else { Resize::Keep };
            blocks.push(kind.block(&prefix, [inputs, channels << layer], resize));
            inputs = channels << layer;
        }
    }
    Plan { stem, pool: true, blocks, norm_epsilon: 1e-5 }
}

/// A convolution `convN` with the normalisation `bnN`, zeros around it where its kernel is odd and wider than a place.
pub fn conv(
    prefix: &str,
    number: usize,
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    stride: usize,
    activation: Activation,
) -> ConvSpec {
    ConvSpec {
        weight: format!("{prefix}conv{number}.weight"),
        norm: format!("{prefix}bn{number}"),
        inputs,
        outputs,
        kernel,
        stride,
        groups: 1,
        padding: Padding::Fixed(kernel / 2, kernel / 2),
        transposed: false,
        activation,
    }
}
