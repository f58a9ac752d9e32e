//! What every method is given: features or the images themselves, seen anomalies, outlier textures. No test label, no test
//! mask.

use serde::{Serialize, Serializer};

use super::compute::Handle;
use super::contents::Features;
use super::graph::Graph;
use super::pictures::{NetworkInput, Pictures};
use crate::backbone::weights::Resolved;
use crate::data::{Digest, Image, SeenAnomaly};
use crate::device::Chosen;
use crate::error::Result;
use crate::spec::Geometry;

/// Everything one model may use.
pub struct Inputs<'a> {
    /// The classes it serves: all of them (unified) or one (per class).
    pub classes: Vec<ClassInputs>,
    /// The sets of images it is to score: the test images of each class, or new ones.
    pub tested: Vec<Tested>,
    /// Patches per image: rows, columns.
    pub grid: (usize, usize),
    /// Values per patch.
    pub dim: usize,
    /// The run's seed.
    pub seed: u64,
    /// Where tensors live.
    pub device: Chosen,
    /// Geometry of the images that the masks of seen anomalies are brought to.
    pub image: Geometry,
    /// The network of `[backbone]`, for methods that train it or run it themselves.
    pub network: NetworkInput<'a>,
    /// Further images that a method may ask for.
    pub environment: &'a dyn Environment,
}

impl Inputs<'_> {
    /// Patches per image.
    pub fn patches(&self) -> usize {
        self.shape().patches()
    }

    /// How much there is.
    pub fn shape(&self) -> Shape {
        let images = self.classes.iter().map(|class| class.train_images).sum();
        Shape { grid: self.grid, dim: self.dim, side: self.image.size, images }
    }

    /// Features of the normal training images of all classes.
    pub fn train(&self) -> Vec<Handle<Features>> {
        self.classes.iter().map(|class| class.train.clone()).collect()
    }

    /// The normal training images of all classes themselves.
    pub fn pictures(&self) -> Vec<Pictures> {
        self.classes.iter().map(|class| class.pictures.clone()).collect()
    }

    /// The images of the seen anomalies of all classes, in the order of [`Inputs::seen`].
    ///
    /// # Errors
    /// A file that is not there any more.
    pub fn seen_pictures(&self) -> Result<Pictures> {
        let images: Vec<Image> = self.seen().map(|(_, seen)| seen.anomaly.image.clone()).collect();
        self.environment.pictures(&images)
    }

    /// Seen anomalies of all classes, each with the number of its class.
    pub fn seen(&self) -> impl Iterator<Item = (usize, &SeenInput)> {
        self.classes.iter().enumerate().flat_map(|(number, class)| class.seen.iter().map(move |seen| (number, seen)))
    }
}

/// How much there is of what a stage reads. It follows from the stages of features, so no key holds it.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Patches per image: rows, columns.
    pub grid: (usize, usize),
    /// Values per patch.
    pub dim: usize,
    /// Side of the network's input, in pixels.
    pub side: usize,
    /// Normal training images of all classes.
    pub images: usize,
}

impl Shape {
    /// Patches per image.
    pub fn patches(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    /// Normal patches of all classes.
    pub fn rows(&self) -> usize {
        self.images * self.patches()
    }
}

/// One class.
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct ClassInputs {
    pub name: String,
    /// Features of its normal training images.
    pub train: Handle<Features>,
    pub train_images: usize,
    /// These images themselves.
    pub pictures: Pictures,
    pub seen: Vec<SeenInput>,
}

/// Images to be scored. Their labels and masks are nowhere near.
pub struct Tested {
    /// What progress lines call them: the class they are from.
    pub name: String,
    /// A feature artifact that holds them.
    pub pool: Handle<Features>,
    /// Their numbers in `pool`.
    pub images: Vec<usize>,
    /// The images to be scored themselves, in the same order.
    pub pictures: Pictures,
}

/// One seen anomaly.
#[derive(Clone)]
pub struct SeenInput {
    /// Feature artifact that holds it.
    pub features: Handle<Features>,
    /// Its number among the images of that artifact.
    pub image: usize,
    /// Image and mask.
    pub anomaly: SeenAnomaly,
    /// Digest of image and mask contents.
    pub digest: String,
    /// Digest of the mask's contents alone.
    pub mask: Digest,
}

/// A seen anomaly in a key: which features, and the contents of image and mask.
impl Serialize for SeenInput {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        (&self.features, self.image, &self.digest).serialize(serializer)
    }
}

/// Images of one outlier category.
pub struct OutlierCategory {
    /// Name.
    pub name: String,
    /// Images, sorted by path.
    pub images: Vec<Image>,
}

/// Images beyond the dataset's own.
pub trait Environment: Sync {
    /// Categories of a dataset of textures.
    fn outliers(&self, dataset: &str) -> Result<Vec<OutlierCategory>>;

    /// A list of images as something that can be looked at.
    fn pictures(&self, images: &[Image]) -> Result<Pictures>;

    /// The weights of the network of `[backbone]`.
    fn weights(&self) -> Result<Resolved>;

    /// The feature stage of the images of a list that are `chosen`, each turned at its original size by every one of `degrees`
    /// (`augment::turned_mirrored`): image by image, turn by turn.
    ///
    /// # Errors
    /// A file that is not there any more.
    fn turned<'a>(
        &'a self,
        graph: &mut Graph<'a>,
        pictures: &Pictures,
        chosen: &[usize],
        degrees: &[u32],
        label: &str,
    ) -> Result<Handle<Features>>;

    /// The feature stage of a list of images.
    fn features<'a>(&'a self, graph: &mut Graph<'a>, images: &[Image], label: &str) -> Result<Handle<Features>>;
}
