//! Vision transformers of the DINOv2 family (arXiv 2304.07193; registers: arXiv 2309.16588): patches of 14 × 14 pixels as
//! tokens, equal blocks, no change of resolution. What they compute is written down in docs/backbones.md.
//!
//! Owns: their rows of the registry, names and shapes of their tensors, and what they cost. `layout` reads the namings of weights
//! files, `positions` brings the table of positions to a grid, `network` runs them, on processors through `host`.

mod host;
pub mod layout;
pub mod network;
pub mod positions;

use super::plan::{Tap, TensorSpec};
use super::weights::PublishedFile;
use super::{Architecture, Body, IMAGENET_MEAN, IMAGENET_STD};

pub use network::Transformer;

/// Raised when any value of their features changes; part of every key that their features are part of.
pub const VERSION: u32 = 2;

/// Side of a patch, in pixels.
pub const PATCH: usize = 14;

/// The hidden layer of a block is so many times as wide as a token.
const MLP_RATIO: usize = 4;

/// What a transformer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Values of a token.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Heads of each attention; they share the width evenly.
    pub heads: usize,
    /// Tokens that stand between that of the class and those of the patches and have no position.
    pub registers: usize,
    /// Side of the grid that the table of positions was learned for.
    pub grid: usize,
}

const SMALL: Form = Form { width: 384, depth: 12, heads: 6, registers: 0, grid: 37 };
const BASE: Form = Form { width: 768, heads: 12, ..SMALL };
const REGISTERS: usize = 4;

/// ViT-S/14.
pub const SMALL_14: Architecture = Architecture {
    name: "dinov2_vits14",
    default_layers: &["norm"],
    taps: &taps(SMALL.width),
    mean: IMAGENET_MEAN,
    std: IMAGENET_STD,
    body: Body::Transformer(SMALL),
    published: Some(PublishedFile {
        file: "dinov2_vits14_pretrain.pth",
        url: "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
        sha256: None,
        licence: "Apache-2.0",
        source: "DINOv2, distilled, LVD-142M",
    }),
    embedded: None,
};

/// ViT-S/14 with four registers.
pub const SMALL_14_REGISTERS: Architecture = Architecture {
    name: "dinov2_vits14_reg",
    body: Body::Transformer(Form { registers: REGISTERS, ..SMALL }),
    published: Some(PublishedFile {
        file: "dinov2_vits14_reg4_pretrain.pth",
        url: "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth",
        sha256: None,
        licence: "Apache-2.0",
        source: "DINOv2 with registers, distilled, LVD-142M",
    }),
    ..SMALL_14
};

/// ViT-B/14.
pub const BASE_14: Architecture = Architecture {
    name: "dinov2_vitb14",
    taps: &taps(BASE.width),
    body: Body::Transformer(BASE),
    published: Some(PublishedFile {
        file: "dinov2_vitb14_pretrain.pth",
        url: "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
        sha256: None,
        licence: "Apache-2.0",
        source: "DINOv2, distilled, LVD-142M",
    }),
    ..SMALL_14
};

/// ViT-B/14 with four registers.
pub const BASE_14_REGISTERS: Architecture = Architecture {
    name: "dinov2_vitb14_reg",
    body: Body::Transformer(Form { registers: REGISTERS, ..BASE }),
    published: Some(PublishedFile {
        file: "dinov2_vitb14_reg4_pretrain.pth",
        url: "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth",
        sha256: None,
        licence: "Apache-2.0",
        source: "DINOv2 with registers, distilled, LVD-142M",
    }),
    ..BASE_14
};

/// The outputs of twelve blocks, counted from 0, and that of the last one behind the final normalisation, which counts as a
/// block of its own.
const fn taps(channels: usize) -> [Tap; 13] {
    const NAMES: [&str; 13] = [
        "block0", "block1", "block2", "block3", "block4", "block5", "block6", "block7", "block8", "block9", "block10",
        "block11", "norm",
    ];
    let mut taps = [Tap { name: "", block: 0, channels }; 13];
    let mut block = 0;
    while block < NAMES.len() {
        taps[block] = Tap { name: NAMES[block], block, channels };
        block += 1;
    }
    taps
}

impl Form {
    /// Tokens in front of those of the patches.
    pub fn leading(&self) -> usize {
        1 + self.registers
    }

    /// Tensors up to block `last`, where the final normalisation counts as the block behind the last one; called as in the
    /// published files, of which `mask_token` serves training alone and is left out.
    pub fn tensors(&self, last: usize) -> Vec<TensorSpec> {
        let (width, hidden) = (self.width, MLP_RATIO * self.width);
        let mut out = Vec::new();
        let mut add = |name: String, shape: &[usize]| out.push(TensorSpec { name, shape: shape.to_vec() });
        add("cls_token".into(), &[1, 1, width]);
        if self.registers > 0 {
            add("register_tokens".into(), &[1, self.registers, width]);
        }
        add("pos_embed".into(), &[1, 1 + self.grid * self.grid, width]);
        add("patch_embed.proj.weight".into(), &[width, 3, PATCH, PATCH]);
        add("patch_embed.proj.bias".into(), &[width]);
        for block in 0..self.depth.min(last + 1) {
            for (name, shape) in [
                ("norm1.weight", vec![width]),
                ("norm1.bias", vec![width]),
                ("attn.qkv.weight", vec![3 * width, width]),
                ("attn.qkv.bias", vec![3 * width]),
                ("attn.proj.weight", vec![width, width]),
                ("attn.proj.bias", vec![width]),
                ("ls1.gamma", vec![width]),
                ("norm2.weight", vec![width]),
                ("norm2.bias", vec![width]),
                ("mlp.fc1.weight", vec![hidden, width]),
                ("mlp.fc1.bias", vec![hidden]),
                ("mlp.fc2.weight", vec![width, hidden]),
                ("mlp.fc2.bias", vec![width]),
                ("ls2.gamma", vec![width]),
            ] {
                add(format!("blocks.{block}.{name}"), &shape);
            }
        }
        if last >= self.depth {
            add("norm.weight".into(), &[width]);
            add("norm.bias".into(), &[width]);
        }
        out
    }

    /// Tokens of a square image of `side` pixels.
    fn tokens(&self, side: usize) -> usize {
        self.leading() + (side / PATCH).pow(2)
    }

    /// Floating-point operations up to block `last` for a square image of `side` pixels, softmax and normalisations not counted.
    pub fn operations(&self, last: usize, side: usize) -> f64 {
        let (tokens, width) = (self.tokens(side) as f64, self.width as f64);
        let patches = (side / PATCH).pow(2) as f64;
        let weights = (4 + 2 * MLP_RATIO) as f64 * width * width;
        let blocks = self.depth.min(last + 1) as f64;
        2.0 * (patches * width * (3 * PATCH * PATCH) as f64 + blocks * tokens * (weights + 2.0 * tokens * width))
    }

    /// Bytes that the forward pass of such an image holds at once, roughly: two copies of the largest tensor, which is that of
    /// the attention's weights or a hidden layer, and queries, keys, values and tokens.
    pub fn memory_bytes(&self, side: usize) -> usize {
        let tokens = self.tokens(side);
        let largest = (self.heads * tokens * tokens).max(MLP_RATIO * tokens * self.width);
        4 * (2 * largest + 8 * tokens * self.width)
    }
}
