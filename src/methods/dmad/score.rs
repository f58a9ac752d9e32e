//! DMAD's scoring stage: score = −Ψ (paper §3.4; docs/methods/dmad.md, Computation).

use serde::Serialize;

use super::memory::{Banks, HostRows, Queries};
use super::network::Network;
use super::params::Params;
use crate::device::Chosen;
use crate::error::Result;
use crate::methods::Parameters as _;
use crate::plan::{Compute, Computed, Handle, Job, Model, Scores, Work};
use crate::spec::Settings;
use crate::train::{Parameters, score_epochs};

/// Scores the test images of one class: `scores`, kept epochs × images × patches, higher = more abnormal.
#[derive(Serialize)]
pub struct Score<'a> {
    pub settings: Settings<Params>,
    /// Patches of all images of the class.
    pub queries: Queries,
    pub memory: Banks,
    pub model: Handle<Model>,
    /// Numbers of the scored images.
    pub test: &'a [usize],
    pub device: Chosen,
    #[serde(skip)]
    pub patches: usize,
    #[serde(skip)]
    pub dim: usize,
    #[serde(skip)]
    pub name: &'a str,
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
        let network = Network::new(&self.settings, true, !self.memory.abnormal.is_empty());
        Work::matrix(rows, 1, 2.0 * rows as f64 * network.size(self.dim) as f64)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let (banks, queries, model) = (self.memory.open(job)?, self.queries.open(job)?, job.open(&self.model)?);
        let network = Network::new(&self.settings, true, !banks.abnormal.is_empty());
        let device = self.device.get()?;
        let score = |parameters: &Parameters, images: &[usize]| {
            let mut rows = HostRows::new(self.dim);
            for image in images {
                rows.push_image(&queries, &banks, image * self.patches..(image + 1) * self.patches);
            }
            let psi = network.evaluate(&mut parameters.clone(), &rows.upload(&device));
            psi.into_iter().map(|value| -value).collect()
        };
        score_epochs(job, model, network.initial(self.dim, 0, &device), (self.test, self.patches), score, None)
    }
}
