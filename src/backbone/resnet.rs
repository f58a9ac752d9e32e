//! Residual networks in torchvision's layout (He et al. 2016; Zagoruyko and Komodakis 2016 for the wide one).
//!
//! Owns: their rows of the registry. torchvision's variant puts the stride of a bottleneck on its 3×3 convolution.

use super::plan::{Activation, BlockSpec, ConvSpec, Padding, Plan, Shortcut, Tap};
use super::weights::PublishedFile;
use super::{Architecture, IMAGENET_MEAN, IMAGENET_STD};

/// ResNet-18. Taps are block outputs after the last ReLU, here as in all residual networks.
pub const RESNET18: Architecture = Architecture {
    name: "resnet18",
    default_layers: &["layer2", "layer3"],
    taps: &taps([64, 128, 256, 512], [2, 2, 2, 2]),
    mean: IMAGENET_MEAN,
    std: IMAGENET_STD,
    plan: resnet18,
    published: Some(PublishedFile {
        file: "resnet18-f37072fd.pth",
        url: "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        sha256: "f37072fd",
        licence: "BSD-3-Clause",
        source: "torchvision, ImageNet-1k, first weights",
    }),
    embedded: None,
};

/// WideResNet50-2: bottlenecks whose 3×3 convolution is twice as wide as ResNet-50's.
pub const WIDE_RESNET50_2: Architecture = Architecture {
    name: "wide_resnet50_2",
    taps: &taps([256, 512, 1024, 2048], [3, 4, 6, 3]),
    plan: wide_resnet50_2,
    published: Some(PublishedFile {
        file: "wide_resnet50_2-95faca4d.pth",
        url: "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
        sha256: "95faca4d",
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

fn resnet18() -> Plan {
    plan([2, 2, 2, 2], |prefix, inputs, planes, stride| {
        let convs = vec![
            conv(prefix, 1, [inputs, planes], 3, stride, Activation::Relu),
            conv(prefix, 2, [planes, planes], 3, 1, Activation::None),
        ];
        (convs, planes)
    })
}

fn wide_resnet50_2() -> Plan {
    plan([3, 4, 6, 3], |prefix, inputs, planes, stride| {
        let (width, outputs) = (2 * planes, 4 * planes);
        let convs = vec![
            conv(prefix, 1, [inputs, width], 1, 1, Activation::Relu),
            conv(prefix, 2, [width, width], 3, stride, Activation::Relu),
            conv(prefix, 3, [width, outputs], 1, 1, Activation::None),
        ];
        (convs, outputs)
    })
}

fn plan(depths: [usize; 4], convs: impl Fn(&str, usize, usize, usize) -> (Vec<ConvSpec>, usize)) -> Plan {
    let stem =
        ConvSpec { weight: "conv1.weight".into(), norm: "bn1".into(), ..conv("", 1, [3, 64], 7, 2, Activation::Relu) };
    let mut blocks = Vec::new();
    let mut inputs = 64;
    for (layer, &depth) in depths.iter().enumerate() {
        for index in 0..depth {
            let prefix = format!("layer{}.{index}.", layer + 1);
            let stride = if index == 0 && layer > 0 { 2 } else { 1 };
            let (convs, outputs) = convs(&prefix, inputs, 64 << layer, stride);
            let shortcut = if stride == 1 && inputs == outputs {
                Shortcut::Identity
            } else {
                Shortcut::Projection(ConvSpec {
                    weight: format!("{prefix}downsample.0.weight"),
                    norm: format!("{prefix}downsample.1"),
                    ..conv(&prefix, 0, [inputs, outputs], 1, stride, Activation::None)
                })
            };
            blocks.push(BlockSpec { convs, gate: None, shortcut, activation: Activation::Relu });
            inputs = outputs;
        }
    }
    Plan { stem, pool: true, blocks, norm_epsilon: 1e-5 }
}

fn conv(
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
        activation,
    }
}
