//! DMAD's scoring stage: score = −Ψ (paper §3.4; docs/methods/dmad.md, Computation).

use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::memory::{Banks, HostRows, Queries};
use super::network::Network;
use super::params::Params;
use super::trainer::judge;
use crate::device::Chosen;
use crate::error::Result;
use crate::methods::Parameters as _;
use crate::plan::{Compute, Computed, Handle, Job, Model, Scores, Work};
use crate::spec::Settings;
use crate::store::TensorDecl;
use crate::train::{epoch_prefix, kept_epochs};

/// Images per forward pass when scoring: part of the stage, independent of threads and memory.
const SCORE_CHUNK_IMAGES: usize = 4;

/// Scores the test images of one class: `scores`, kept epochs × images × patches, higher = more abnormal.
#[derive(Serialize)]
pub struct Score<'a> {
    /// What the forward pass uses of the parameters.
    pub settings: Settings<Params>,
    /// Patches of all images of the class.
    pub queries: Queries,
    /// The banks.
    pub memory: Banks,
    /// The trained network.
    pub model: Handle<Model>,
    /// Numbers of the scored images.
    pub test: &'a [usize],
    /// Where tensors live.
    pub device: Chosen,
    /// Patches per image.
    #[serde(skip)]
    pub patches: usize,
    /// Values per patch.
    #[serde(skip)]
    pub dim: usize,
    /// What the images are called.
    #[serde(skip)]
    pub name: &'a str,
}

impl Score<'_> {
    fn network(&self) -> Network {
        Network::new(&self.settings, true, !self.memory.abnormal.is_empty())
    }
}

impl Compute for Score<'_> {
    type Output = Scores;
    const KIND: &'static str = "scores";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        format!("{} scores", self.name)
    }

    fn work(&self) -> Work {
        let rows = self.test.len() * self.patches;
        Work::matrix(rows, 1, 2.0 * rows as f64 * self.network().size(self.dim) as f64)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let (banks, queries, model) = (self.memory.open(job)?, self.queries.open(job)?, job.open(&self.model)?);
        let (network, device, kept) = (self.network(), self.device.get()?, kept_epochs(model));
        // Whatever they are drawn as, the model's take their place.
        let blank = network.initial(self.dim, 0, &device);
        let mut writer = job.create(vec![TensorDecl::f32("scores", &[kept, self.test.len(), self.patches])])?;
        for number in 0..kept {
            let mut parameters = blank.clone();
            parameters.read(model, &epoch_prefix(number))?;
            let score = |images: &[usize]| -> Vec<f32> {
                let mut rows = HostRows::new(self.dim);
                for image in images {
                    rows.push_image(&queries, &banks, image * self.patches..(image + 1) * self.patches);
                }
                let psi = judge(&network, &mut parameters.clone(), &rows.upload(&device));
                psi.into_iter().map(|value| -value).collect()
            };
            let chunks: Vec<Vec<f32>> = self.test.par_chunks(SCORE_CHUNK_IMAGES).map(score).collect();
            chunks.iter().try_for_each(|chunk| writer.f32(chunk))?;
        }
        Ok(Computed::new(writer, json!({ "images": self.test.len() })))
    }
}
