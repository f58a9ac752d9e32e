//! The scoring stage that all trained methods share: kept epochs, and images in chunks.
//!
//! Owns: what an artifact of scores holds, and which images share a forward pass. Does not own: networks, nor the rule
//! that makes an image's score.

use burn::tensor::Device;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::fit::{epoch_prefix, kept_epochs};
use super::parameters::Parameters;
use crate::device::Chosen;
use crate::error::Result;
use crate::plan::{Compute, Computed, Graph, Handle, Inputs, Job, Model, Scores, Tested, Work};
use crate::store::TensorDecl;

/// Images per forward pass when scoring: part of the stages, independent of threads and memory.
pub const SCORE_CHUNK_IMAGES: usize = 4;

/// A trained method's way from images to scores: its settings and the stages it reads, which are part of the key.
pub trait Forward: Serialize + Send + Sync {
    /// The method.
    const METHOD: &'static str;

    /// Version of its code: raised with every change that may change its scores.
    const VERSION: u32;

    /// Operations for one image, and bytes of memory however many there are.
    fn work(&self) -> (f64, usize);

    /// Opens what it reads, for tensors on `device`.
    ///
    /// # Errors
    /// An artifact that lacks what it should hold.
    fn open<'a>(&'a self, job: &'a Job, device: &'a Device) -> Result<Pass<'a>>;
}

/// A [`Forward`] with everything open.
pub struct Pass<'a> {
    /// Of the model's names and shapes; their values are never used.
    pub parameters: Parameters,
    /// Patch scores of the images with these numbers.
    pub patch_scores: PatchScores<'a>,
    /// What makes an image's score of those of its patches, where the method has a rule of its own.
    pub image_score: Option<ImageScore<'a>>,
}

/// From a model and numbers of images to the scores of all their patches.
pub type PatchScores<'a> = Box<dyn Fn(&Parameters, &[usize]) -> Vec<f32> + Sync + 'a>;

/// From the scores of an image's patches to its own.
pub type ImageScore<'a> = Box<dyn Fn(&[f32]) -> f32 + Sync + 'a>;

/// Scores images with the parameters of every epoch that the model keeps: `scores`, kept epochs × images × patches, higher
/// = more abnormal; with a rule of the method's own for images also `image_scores`, kept epochs × images.
#[derive(Serialize)]
pub struct ScoreImages<'a, F> {
    forward: F,
    model: Handle<Model>,
    images: &'a [usize],
    device: Chosen,
    #[serde(skip)]
    patches: usize,
    #[serde(skip)]
    name: &'a str,
}

impl<'a, F: Forward + 'a> ScoreImages<'a, F> {
    /// Adds the scoring of all that is to be scored; `forward` makes the way to it.
    pub fn stages(
        graph: &mut Graph<'a>,
        inputs: &'a Inputs,
        model: &Handle<Model>,
        forward: impl Fn(&mut Graph<'a>, &'a Tested) -> F,
    ) -> Vec<Handle<Scores>> {
        let add = |tested: &'a Tested| {
            let forward = forward(graph, tested);
            let (model, device, patches) = (model.clone(), inputs.device.clone(), inputs.patches());
            graph.add(ScoreImages { forward, model, images: &tested.images, device, patches, name: &tested.name })
        };
        inputs.tested.iter().map(add).collect()
    }
}

impl<F: Forward> Compute for ScoreImages<'_, F> {
    type Output = Scores;
    const KIND: &'static str = "scores";
    const METHOD: &'static str = F::METHOD;
    const VERSION: u32 = F::VERSION;

    fn label(&self) -> String {
        format!("{} scores", self.name)
    }

    fn work(&self) -> Work {
        let (operations, bytes) = self.forward.work();
        let passes = self.model.work.rows * self.images.len(); // of every kept epoch
        Work::matrix(passes * self.patches, 1, passes as f64 * operations).with_memory(bytes)
    }

    /// # Errors
    /// A model of another shape, and whatever the disk reports.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let (model, device) = (job.open(&self.model)?, self.device.get()?);
        let Pass { mut parameters, patch_scores, image_score } = self.forward.open(job, &device)?;
        let (kept, images) = (kept_epochs(model), self.images.len());
        let mut tensors = vec![TensorDecl::f32("scores", &[kept, images, self.patches])];
        tensors.extend(image_score.as_ref().map(|_| TensorDecl::f32("image_scores", &[kept, images])));
        let (mut writer, mut image_scores) = (job.create(tensors)?, Vec::new());
        for number in 0..kept {
            (job.progress)(number, kept);
            parameters.read(model, &epoch_prefix(number))?;
            let chunks = self.images.par_chunks(SCORE_CHUNK_IMAGES).map(|images| patch_scores(&parameters, images));
            let scores = chunks.collect::<Vec<_>>().concat();
            writer.f32(&scores)?;
            if let Some(image_score) = &image_score {
                image_scores.par_extend(scores.par_chunks(self.patches).map(image_score));
            }
        }
        writer.f32(&image_scores)?;
        Ok(Computed::new(writer, json!({ "images": images })))
    }
}
