//! The stage that every method starts from: patch features of a list of images.

use serde::Serialize;
use serde_json::json;

use super::prepare::{Prepared, RunEnvironment};
use crate::augment::turned_mirrored;
use crate::backbone::{self, Architecture};
use crate::data::{Listed, square};
use crate::device::Chosen;
use crate::error::Result;
use crate::features;
use crate::matrix::Matrix;
use crate::plan::{Compute, Computed, Features, Job, Work};
use crate::spec::{self, Geometry, Positions, Settings, StoredAs};
use crate::store::{DType, TensorDecl};

/// Extracts the features of images.
#[derive(Serialize)]
pub(super) struct Extract<'a> {
    /// Digest of the images' contents, in order.
    images: String,
    geometry: Settings<Geometry>,
    backbone: &'a str,
    /// Resolved, so that a default and the same thing spelled out are one stage.
    layers: Vec<&'static str>,
    weights: &'a str,
    #[serde(skip_serializing_if = "Positions::is_default")]
    positions: Positions,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    features: Settings<spec::Features>,
    chunk: usize,
    /// Every image is there once for each of these turns, in degrees; none = as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    turns: Vec<u32>,
    device: Chosen,
    #[serde(skip)]
    list: Listed,
    #[serde(skip)]
    environment: &'a RunEnvironment<'a>,
    #[serde(skip)]
    label: String,
    #[serde(skip)]
    work: Work,
}

impl<'a> Extract<'a> {
    /// The features of listed images.
    pub fn new(environment: &'a RunEnvironment, listed: Listed, label: &str) -> Result<Self> {
        let Prepared { spec, shape, weights_digest, .. } = environment.prepared;
        let architecture = Architecture::find(&spec.backbone.name)?;
        let taps = architecture.taps(&spec.backbone.layers)?;
        let operations = architecture.operations(&taps, spec.image.size) * listed.len() as f64;
        let per_image = architecture.memory_bytes(&taps, spec.image.size) + 4 * shape.patches() * shape.dim;
        let work = Work::matrix(listed.len() * shape.patches(), shape.dim, operations)
            .with_memory(per_image * features::images_in_flight(u64::MAX, per_image))
            .on_device(2 * per_image * features::CHUNK_IMAGES, 0);
        let work = match spec.features.store {
            StoredAs::F32 => work,
            StoredAs::F16 | StoredAs::Bf16 => Work { bytes: work.bytes / 2, ..work },
        };
        Ok(Extract {
            images: listed.digest().into(),
            geometry: spec.image.clone().into(),
            backbone: &spec.backbone.name,
            layers: taps.iter().map(|tap| tap.name).collect(),
            weights: weights_digest,
            positions: spec.backbone.positions,
            version: architecture.version(),
            features: spec.features.clone().into(),
            chunk: features::CHUNK_IMAGES,
            turns: Vec::new(),
            device: environment.session.device.clone(),
            list: listed,
            environment,
            label: label.into(),
            work,
        })
    }

    /// The same of every image turned by each of `degrees`.
    pub fn turned(self, degrees: &[u32]) -> Self {
        if degrees == [0] {
            return self;
        }
        let Work { rows, operations, bytes, .. } = self.work;
        let work = Work {
            rows: rows * degrees.len(),
            operations: operations * degrees.len() as f64,
            bytes: bytes * degrees.len() as u64,
            ..self.work
        };
        Extract { turns: degrees.to_vec(), work, ..self }
    }

    /// How many images there are, each turn counted.
    fn count(&self) -> usize {
        self.list.len() * self.turns.len().max(1)
    }

    /// An image as the backbone sees it: every turn of the first, then of the second, and so on.
    fn load(&self, number: usize) -> Result<Vec<u8>> {
        let views = self.turns.len().max(1);
        let image = self.list.load(number / views)?;
        let image = match self.turns.get(number % views) {
            None | Some(0) => image,
            Some(&degrees) => turned_mirrored(&image, f64::from(degrees)),
        };
        Ok(square(&image, &self.geometry)?.data)
    }
}

impl Compute for Extract<'_> {
    type Output = Features;
    const KIND: &'static str = "features";
    // Raised by each of the two that it is made of.
    const VERSION: u32 = features::CODE_VERSION + backbone::CODE_VERSION;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn work(&self) -> Work {
        self.work
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let RunEnvironment { session, prepared: Prepared { spec, shape, .. } } = self.environment;
        let (patches, dim, side) = (shape.patches(), shape.dim, self.geometry.size);
        let backbone = session.backbone(&spec.backbone, spec.seed)?;
        let kept = match self.features.store {
            StoredAs::F32 => DType::F32,
            StoredAs::F16 => DType::F16,
            StoredAs::Bf16 => DType::BF16,
        };
        let mut writer = job.create(vec![TensorDecl::floats("features", kept, &[self.count() * patches, dim])])?;
        let mut written = 0;
        let sink = |chunk: Matrix| {
            written += chunk.len();
            (job.progress)(written / patches, self.count());
            writer.floats(chunk.view().data(), kept)
        };
        let per_image = backbone.architecture.memory_bytes(&backbone.taps, side) + 4 * patches * dim;
        let in_flight = features::images_in_flight(job.memory_bytes, per_image);
        let load = |number: usize| self.load(number);
        features::extract(&backbone, &self.features, side, self.count(), in_flight, load, sink)?;
        Ok(Computed::new(writer, json!({ "images": self.count(), "weights": backbone.source })))
    }
}
