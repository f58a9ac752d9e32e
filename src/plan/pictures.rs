//! What methods that train on images are given besides features: the images themselves, and the network of `[backbone]`.
//!
//! Owns: how both enter a stage's key. Does not own: what becomes of them (`train`, the methods).

use burn::tensor::Device;
use serde::{Serialize, Serializer};

use super::inputs::Environment;
use crate::backbone::plan::Tap;
use crate::backbone::weights::StateDict;
use crate::backbone::{Architecture, Backbone};
use crate::data::decode::Pixels;
use crate::data::{Image, Listed, square};
use crate::error::Result;
use crate::spec::{self, Geometry, Positions, Settings};

/// Images as the network sees them: squares of RGB bytes. In a key they are the digest of their contents, in order, and the
/// geometry. Only pixels can be had of them: where a test image lies would tell what is wrong with it.
#[derive(Clone, Debug)]
pub struct Pictures {
    listed: Listed,
    geometry: Settings<Geometry>,
}

impl Pictures {
    /// Listed images.
    pub(crate) fn new(listed: Listed, geometry: Geometry) -> Self {
        Pictures { listed, geometry: geometry.into() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The images themselves, for whoever may see where they lie.
    pub(crate) fn images(&self) -> &[Image] {
        self.listed.images()
    }

    /// Side of the squares, in pixels.
    pub fn side(&self) -> usize {
        self.geometry.size
    }

    /// An image: decoded and brought to the square, each time anew.
    ///
    /// # Errors
    /// A file that cannot be decoded any more, or holds another image than when it was listed.
    pub fn load(&self, number: usize) -> Result<Pixels> {
        square(&self.listed.load(number)?, &self.geometry)
    }
}

impl Serialize for Pictures {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        (self.listed.digest(), &self.geometry).serialize(serializer)
    }
}

/// The network of `[backbone]` for methods that train it, or run it themselves. In a key it is its name, the taps, and the
/// digest of the weights that it starts from; of a transformer also its version, and the rule for positions where it is not the default.
#[derive(Clone, Serialize)]
pub struct NetworkInput<'a> {
    name: &'static str,
    taps: Vec<&'static str>,
    weights: &'a str,
    #[serde(skip_serializing_if = "Positions::is_default")]
    positions: Positions,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip)]
    architecture: &'static Architecture,
    #[serde(skip)]
    found: Vec<Tap>,
    #[serde(skip)]
    environment: &'a dyn Environment,
}

impl<'a> NetworkInput<'a> {
    /// The network that `spec` names up to its deepest layer, whose weights have the digest `weights`.
    ///
    /// # Errors
    /// Unknown names.
    pub(crate) fn new(spec: &spec::Backbone, weights: &'a str, environment: &'a dyn Environment) -> Result<Self> {
        let architecture = Architecture::find(&spec.name)?;
        let found = architecture.taps(&spec.layers)?;
        let taps = found.iter().map(|tap| tap.name).collect();
        let (positions, version) = (spec.positions, architecture.version());
        Ok(NetworkInput {
            name: architecture.name,
            taps,
            weights,
            positions,
            version,
            architecture,
            found,
            environment,
        })
    }

    /// What it is.
    pub fn architecture(&self) -> &'static Architecture {
        self.architecture
    }

    /// Its taps, shallow first; there is at least one.
    pub fn taps(&self) -> &[Tap] {
        &self.found
    }

    /// Its maps of square images of `side` pixels, shallow first.
    ///
    /// # Errors
    /// Images of a size that it does not take.
    pub fn levels(&self, side: usize) -> Result<Vec<Level>> {
        let sides = self.architecture.map_sides(&self.found, side)?.into_iter();
        Ok(sides.zip(&self.found).map(|(side, tap)| Level { side, channels: tap.channels }).collect())
    }

    /// The weights that it starts from, by the names of its plan.
    ///
    /// # Errors
    /// Whatever can be wrong with a weights file.
    pub fn weights(&self) -> Result<StateDict> {
        Ok(self.environment.weights()?.state)
    }

    /// The network as it is, on a plain device: for methods that look at its maps of images that they change or make.
    ///
    /// # Errors
    /// Whatever can be wrong with a weights file.
    pub fn frozen(&self, device: &Device) -> Result<Backbone> {
        Ok(Backbone::new(self.architecture, self.found.clone(), self.positions, &self.environment.weights()?, device))
    }
}

/// The maps of one tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Their side: they are square.
    pub side: usize,
    /// Channels.
    pub channels: usize,
}

impl Level {
    /// Values of a map.
    pub fn values(&self) -> usize {
        self.channels * self.side.pow(2)
    }
}
