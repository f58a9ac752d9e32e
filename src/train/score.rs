//! The scoring loop that all trained methods share: kept epochs, and images in chunks.
//!
//! Owns: what an artifact of scores holds, and which images share a forward pass. Does not own: networks, nor the rule
//! that makes an image's score.

use rayon::prelude::*;
use serde_json::json;

use super::fit::{epoch_prefix, kept_epochs};
use super::parameters::Parameters;
use crate::error::Result;
use crate::plan::{Computed, Job};
use crate::store::{Artifact, TensorDecl};

/// Images per forward pass when scoring: part of the stages, independent of threads and memory.
pub const SCORE_CHUNK_IMAGES: usize = 4;

/// What makes an image's score of those of its patches.
pub type ImageScore<'a> = &'a (dyn Fn(&[f32]) -> f32 + Sync);

/// Scores `images`, of `patches` patches each, with the parameters of every epoch that `model` keeps: `scores`, kept
/// epochs × images × patches, higher = more abnormal; with a rule of the method's own for images also `image_scores`, kept
/// epochs × images. `score` gives the patch scores of some images; whatever `parameters` are, the model's take their place.
///
/// # Errors
/// A model of another shape, and whatever the disk reports.
pub fn score_epochs(
    job: &Job,
    model: &Artifact,
    mut parameters: Parameters,
    (images, patches): (&[usize], usize),
    score: impl Fn(&Parameters, &[usize]) -> Vec<f32> + Sync,
    image_score: Option<ImageScore>,
) -> Result<Computed> {
    let kept = kept_epochs(model);
    let mut tensors = vec![TensorDecl::f32("scores", &[kept, images.len(), patches])];
    tensors.extend(image_score.map(|_| TensorDecl::f32("image_scores", &[kept, images.len()])));
    let (mut writer, mut image_scores) = (job.create(tensors)?, Vec::new());
    for number in 0..kept {
        (job.progress)(number, kept);
        parameters.read(model, &epoch_prefix(number))?;
        let chunks = images.par_chunks(SCORE_CHUNK_IMAGES).map(|images| score(&parameters, images));
        let scores = chunks.collect::<Vec<_>>().concat();
        writer.f32(&scores)?;
        if let Some(image_score) = image_score {
            image_scores.par_extend(scores.par_chunks(patches).map(image_score));
        }
    }
    writer.f32(&image_scores)?;
    Ok(Computed::new(writer, json!({ "images": images.len() })))
}
