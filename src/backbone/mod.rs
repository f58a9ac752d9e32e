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
pub mod weights;
mod window;
mod winograd;

pub use check::CHECKS;
use std::path::Path;

use burn::tensor::{Device, Tensor};

use crate::error::{Error, Result, suggestion};
use crate::spec;
use network::Network;
use plan::{Plan, Tap, TensorSpec};
use weights::{Embedded, PublishedFile, Resolved};

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
    /// The whole network up to the last tap, its tensors called as in the published weights.
    pub plan: fn() -> Plan,
    /// The published file that `backbone.weights = "imagenet"` means.
    pub published: Option<PublishedFile>,
    /// What it means where that file is not at hand.
    pub embedded: Option<Embedded>,
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
        (self.plan)().tensors(taps.last().map_or(0, |tap| tap.block + 1))
    }

    /// Floating-point operations for one square image of `side` pixels, up to the last of `taps`.
    pub fn operations(&self, taps: &[Tap], side: usize) -> f64 {
        (self.plan)().operations(taps.last().map_or(0, |tap| tap.block), side)
    }

    /// Bytes that the forward pass of one such image takes, roughly.
    pub fn memory_bytes(&self, taps: &[Tap], side: usize) -> usize {
        (self.plan)().memory_bytes(taps.last().map_or(0, |tap| tap.block), side)
    }

    /// Sides of the maps of `taps` for a square image of `side` pixels.
    pub fn map_sides(&self, taps: &[Tap], side: usize) -> Result<Vec<usize>> {
        let plan = (self.plan)();
        let sides: Vec<usize> = taps.iter().map(|tap| plan.map_side(tap.block, side)).collect();
        if side < 32 || sides.contains(&0) {
            let what = format!("images of {side} × {side} pixels are too small for {}", self.name);
            return Err(Error::usage(what, "set image.size to 32 or more"));
        }
        Ok(sides)
    }
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
    network: Network,
}

impl Backbone {
    /// Loads what `spec` asks for; `weights_dir` is where the weights catalog's files lie, `seed` serves `random`.
    ///
    /// Errors: unknown names, and everything that can be wrong with a weights file.
    pub fn load(spec: &spec::Backbone, weights_dir: &Path, seed: u64, device: &Device) -> Result<Backbone> {
        let architecture = Architecture::find(&spec.name)?;
        let taps = architecture.taps(&spec.layers)?;
        let weights = weights::resolve(spec, weights_dir, seed)?;
        Ok(Backbone::new(architecture, taps, &weights, device))
    }

    /// The network with weights that were resolved for the same taps.
    pub fn new(architecture: &'static Architecture, taps: Vec<Tap>, weights: &Resolved, device: &Device) -> Backbone {
        // An autodiff device would keep every activation of a network that is never trained.
        assert!(!device.is_autodiff(), "a frozen backbone belongs on the plain device");
        let blocks: Vec<usize> = taps.iter().map(|tap| tap.block).collect();
        let learned = weights.state.iter().filter(|(name, _)| !name.contains(".running_"));
        Backbone {
            architecture,
            network: Network::new(&(architecture.plan)(), &blocks, &weights.state, device),
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

    /// The same of normalised planes, three of `side` × `side` values for each image.
    ///
    /// # Errors
    /// Images that are too small for the network.
    pub fn maps(&self, planes: Vec<f32>, side: usize) -> Result<Vec<Tensor<4>>> {
        self.architecture.map_sides(&self.taps, side)?;
        Ok(self.network.maps(planes, side, &self.device))
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
