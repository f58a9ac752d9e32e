//! Networks that turn images into maps: what they are, and frozen ones. Trained ones are the same (`train::Trunk`).
//!
//! Owns: the registry of architectures, loading, and the forward pass over bytes. Does not own: what an architecture is
//! made of and which weights it has (its row, in a file of its own), decoding and resizing of images (`data`), and what
//! becomes of the maps (`features`).

mod check;
mod convolve;
mod depthwise;
mod efficientnet;
pub mod network;
mod panels;
mod places;
pub mod plan;
pub mod resnet;
mod squares;
#[cfg(feature = "gpu")]
mod unfold;
pub mod vit;
pub mod weights;
mod window;
mod winograd;

pub use check::CHECKS;
use std::path::Path;

use burn::tensor::{Device, Tensor};

use crate::error::{Error, Result, suggestion};
use crate::spec::{self, Positions};
use network::Network;
use plan::{Plan, Tap, TensorSpec};
use vit::{Form, PATCH, Transformer};
use weights::{Embedded, PublishedFile, Resolved, StateDict};

/// Raised when the maps of any backbone change: part of the key of every stage that reads images through one.
pub const CODE_VERSION: u32 = 3;

/// One row of the registry.
#[derive(Debug)]
pub struct Architecture {
    /// Name in experiment files.
    pub name: &'static str,
    /// Taps when an experiment names none, shallow first.
    pub default_layers: &'static [&'static str],
    /// All taps, shallow first.
    pub taps: &'static [Tap],
    /// Subtracted from pixels in [0, 1], per channel.
    pub mean: [f32; 3],
    /// Divides what is left, per channel.
    pub std: [f32; 3],
    /// What it is made of.
    pub body: Body,
    /// The published file that `backbone.weights = "imagenet"` means.
    pub published: Option<PublishedFile>,
    /// What it means where that file is not at hand.
    pub embedded: Option<Embedded>,
}

/// What a network is made of, its tensors called as in the published weights.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// Convolutions, up to the last tap.
    Convolutions(fn() -> Plan),
    /// Attention between patches.
    Transformer(Form),
}

/// The kinds of networks that methods tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Convolutions: maps of several strides, and trunks that can be trained.
    Convolutions,
    /// Attention between patches: tokens, all in one grid.
    Transformer,
}

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Every architecture there is.
pub const ARCHITECTURES: &[Architecture] = &[
    resnet::WIDE_RESNET50_2,
    resnet::RESNET18,
    efficientnet::LITE0,
    efficientnet::B4,
    efficientnet::B4_TORCHVISION,
    efficientnet::B6,
    vit::SMALL_14,
    vit::SMALL_14_REGISTERS,
    vit::BASE_14,
    vit::BASE_14_REGISTERS,
];

impl Architecture {
    /// The architecture called `name`.
    pub fn find(name: &str) -> Result<&'static Architecture> {
        let row = ARCHITECTURES.iter().find(|row| row.name == name);
        row.ok_or_else(|| Error::unknown("backbone", name, ARCHITECTURES.iter().map(|row| row.name)))
    }

    /// The taps called `layers`, or the default ones for an empty list. They must be distinct and go deeper.
    pub fn taps(&self, layers: &[String]) -> Result<Vec<Tap>> {
        let names: Vec<&str> = self.taps.iter().map(|tap| tap.name).collect();
        let asked: Vec<&str> =
            if layers.is_empty() { self.default_layers.to_vec() } else { layers.iter().map(String::as_str).collect() };
        let mut found: Vec<Tap> = Vec::with_capacity(asked.len());
        for name in asked {
            let tap = self.taps.iter().find(|tap| tap.name == name).ok_or_else(|| {
                let what = format!("backbone {} has no layer \"{name}\"", self.name);
                Error::usage(what, suggestion(name, names.iter().copied()))
            })?;
            if found.last().is_some_and(|last| last.block >= tap.block) {
                let what = format!("backbone.layers names \"{name}\" after a layer that is as deep or deeper");
                return Err(Error::usage(what, format!("name each layer once, shallow first: {}", names.join(", "))));
            }
            found.push(*tap);
        }
        Ok(found)
    }

    /// Tensors that the network needs up to the last of `taps`.
    pub fn tensors(&self, taps: &[Tap]) -> Vec<TensorSpec> {
        match self.body {
            Body::Convolutions(plan) => plan().tensors(taps.last().map_or(0, |tap| tap.block + 1)),
            Body::Transformer(form) => form.tensors(deepest(taps)),
        }
    }

    /// Reads what the network needs up to the last of `taps` from a weights file, by the names of [`Self::tensors`].
    ///
    /// # Errors
    /// Everything that can be wrong with such a file.
    pub fn read(&self, path: &Path, taps: &[Tap]) -> Result<StateDict> {
        match &self.body {
            Body::Convolutions(_) => weights::read(path, &self.tensors(taps)),
            Body::Transformer(form) => vit::layout::read(path, form, deepest(taps)),
        }
    }

    /// Which kind of network it is.
    pub fn kind(&self) -> Kind {
        match self.body {
            Body::Convolutions(_) => Kind::Convolutions,
            Body::Transformer(_) => Kind::Transformer,
        }
    }

    /// The version of its features beyond [`CODE_VERSION`], which all networks share.
    pub fn version(&self) -> Option<u32> {
        (self.kind() == Kind::Transformer).then_some(vit::VERSION)
    }

    /// The convolutions that it is made of.
    ///
    /// # Panics
    /// Another kind of network: a method that asks says so in its row (`methods::Parameters::NETWORK`).
    pub fn plan(&self) -> Plan {
        match self.body {
            Body::Convolutions(plan) => plan(),
            Body::Transformer(_) => unreachable!("{} is not made of convolutions", self.name),
        }
    }

    /// What the transformer is made of.
    ///
    /// # Panics
    /// Another kind of network, as above.
    pub fn form(&self) -> Form {
        match self.body {
            Body::Transformer(form) => form,
            Body::Convolutions(_) => unreachable!("{} is not a transformer", self.name),
        }
    }

    /// Floating-point operations for one square image of `side` pixels, up to the last of `taps`.
    pub fn operations(&self, taps: &[Tap], side: usize) -> f64 {
        match self.body {
            Body::Convolutions(plan) => plan().operations(deepest(taps), side),
            Body::Transformer(form) => form.operations(deepest(taps), side),
        }
    }

    /// Bytes that the forward pass of one such image takes, roughly.
    pub fn memory_bytes(&self, taps: &[Tap], side: usize) -> usize {
        match self.body {
            Body::Convolutions(plan) => plan().memory_bytes(deepest(taps), side),
            Body::Transformer(form) => form.memory_bytes(side),
        }
    }

    /// Sides of the maps of `taps` for a square image of `side` pixels.
    ///
    /// # Errors
    /// Images that are too small, and for a transformer those that are not made of whole patches; it is `image.size` that has to
    /// change.
    pub fn map_sides(&self, taps: &[Tap], side: usize) -> Result<Vec<usize>> {
        let Body::Convolutions(plan) = self.body else {
            return self.patch_grid(side).map(|grid| vec![grid; taps.len()]);
        };
        let plan = plan();
        let sides: Vec<usize> = taps.iter().map(|tap| plan.map_side(tap.block, side)).collect();
        if side < LEAST_SIDE || sides.contains(&0) {
            let what = format!("images of {side} × {side} pixels are too small for {}", self.name);
            return Err(Error::usage(what, "set image.size to 32 or more"));
        }
        Ok(sides)
    }

    /// Patches on a side of a square image.
    fn patch_grid(&self, side: usize) -> Result<usize> {
        let grid = side / PATCH;
        if side >= LEAST_SIDE && side.is_multiple_of(PATCH) {
            return Ok(grid);
        }
        let what = format!("images of {side} × {side} pixels are not made of whole patches of {PATCH} × {PATCH}");
        let near =
            [grid.max(LEAST_SIDE.div_ceil(PATCH)), (grid + 1).max(LEAST_SIDE.div_ceil(PATCH))].map(|grid| grid * PATCH);
        let help = format!("{} wants a multiple of {PATCH} for image.size: {} or {}", self.name, near[0], near[1]);
        Err(Error::usage(what, help))
    }
}

/// Images with a shorter side are not looked at.
const LEAST_SIDE: usize = 32;

/// The block of the last of `taps`.
fn deepest(taps: &[Tap]) -> usize {
    taps.last().map_or(0, |tap| tap.block)
}

/// A loaded backbone on a device.
pub struct Backbone {
    /// What it is.
    pub architecture: &'static Architecture,
    /// The taps, shallow first.
    pub taps: Vec<Tap>,
    /// The device it runs on.
    pub device: Device,
    /// Where the weights came from, for people.
    pub source: String,
    /// Learned numbers in use (running statistics of batch normalisation not counted).
    pub parameters: usize,
    /// True when the weights were drawn and not learned.
    pub random: bool,
    network: Frozen,
}

/// The network itself.
enum Frozen {
    Convolutions(Box<Network>),
    Transformer(Box<Transformer>),
}

impl Backbone {
    /// Loads what `spec` asks for; `weights_dir` is where the weights catalog's files lie, `seed` serves `random`.
    ///
    /// Errors: unknown names, and everything that can be wrong with a weights file.
    pub fn load(spec: &spec::Backbone, weights_dir: &Path, seed: u64, device: &Device) -> Result<Backbone> {
        let architecture = Architecture::find(&spec.name)?;
        let taps = architecture.taps(&spec.layers)?;
        let weights = weights::resolve(spec, weights_dir, seed)?;
        Ok(Backbone::new(architecture, taps, spec.positions, &weights, device))
    }

    /// The network with weights that were resolved for the same taps; `positions` is a transformer's rule for grids that it was not
    /// trained with.
    pub fn new(
        architecture: &'static Architecture,
        taps: Vec<Tap>,
        positions: Positions,
        weights: &Resolved,
        device: &Device,
    ) -> Backbone {
        // An autodiff device would keep every activation of a network that is never trained.
        assert!(!device.is_autodiff(), "a frozen backbone belongs on the plain device");
        let blocks: Vec<usize> = taps.iter().map(|tap| tap.block).collect();
        let learned = weights.state.iter().filter(|(name, _)| !name.contains(".running_"));
        Backbone {
            architecture,
            network: match &architecture.body {
                Body::Convolutions(plan) => {
                    Frozen::Convolutions(Box::new(Network::new(&plan(), &blocks, &weights.state, device)))
                }
                Body::Transformer(form) => {
                    let network = Transformer::new(form, &blocks, positions, &weights.state, device);
                    Frozen::Transformer(Box::new(network))
                }
            },
            device: device.clone(),
            source: weights.source.clone(),
            parameters: learned.map(|(_, weight)| weight.values.len()).sum(),
            random: weights.random,
            taps,
        }
    }

    /// Maps of a batch of square RGB images (`side` × `side` × 3 bytes each): one tensor per tap, images × channels ×
    /// height × width.
    pub fn forward(&self, batch: &[&[u8]], side: usize) -> Result<Vec<Tensor<4>>> {
        let mut planes = Vec::with_capacity(batch.len() * 3 * side * side);
        for image in batch {
            assert_eq!(image.len(), side * side * 3, "an image of another size than {side} × {side} RGB");
            normalise(image, self.architecture, &mut planes);
        }
        self.maps(planes, side)
    }

    /// Maps of a batch of images as [`Self::forward`] gives them, from normalised planes, three of `side` × `side`
    /// values for each image.
    ///
    /// # Errors
    /// Images of a size that the network does not take.
    pub fn maps(&self, planes: Vec<f32>, side: usize) -> Result<Vec<Tensor<4>>> {
        self.architecture.map_sides(&self.taps, side)?;
        Ok(match &self.network {
            Frozen::Convolutions(network) => network.maps(planes, side, &self.device),
            Frozen::Transformer(network) => network.maps(planes, side),
        })
    }

    /// All tokens of a transformer for the same planes, one tensor per tap: images × (class, registers, patches) × channels.
    ///
    /// # Errors
    /// Images of a size that the network does not take.
    ///
    /// # Panics
    /// Another kind of network: a method that asks says so in its row (`methods::Parameters::NETWORK`).
    pub fn tokens(&self, planes: Vec<f32>, side: usize) -> Result<Vec<Tensor<3>>> {
        self.architecture.map_sides(&self.taps, side)?;
        match &self.network {
            Frozen::Transformer(network) => Ok(network.tokens(planes, [side; 2])),
            Frozen::Convolutions(_) => unreachable!("{} has no tokens", self.architecture.name),
        }
    }
}

/// Appends `image` (rows of RGB bytes) as three planes of (byte / 255 − mean) / std.
pub fn normalise(image: &[u8], architecture: &Architecture, out: &mut Vec<f32>) {
    for channel in 0..3 {
        let (mean, std) = (architecture.mean[channel], architecture.std[channel]);
        let table: [f32; 256] = std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std);
        out.extend(image.iter().skip(channel).step_by(3).map(|&byte| table[byte as usize]));
    }
}
