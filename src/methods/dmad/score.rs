//! DMAD's scores: −Ψ (paper §3.4; docs/methods/dmad.md, Computation).

use burn::tensor::Device;
use serde::Serialize;

use super::memory::{Banks, Queries, upload_patches};
use super::network::Network;
use super::params::Params;
use crate::error::Result;
use crate::methods::Parameters as _;
use crate::plan::{Job, Shape};
use crate::spec::Settings;
use crate::train::{Forward, Parameters, Pass};

/// From patches with their neighbours to scores.
#[derive(Serialize)]
pub struct Score {
    pub settings: Settings<Params>,
    /// Patches of all images of the class.
    pub queries: Queries,
    pub memory: Banks,
    #[serde(skip)]
    pub shape: Shape,
}

impl Forward for Score {
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn work(&self) -> (f64, usize) {
        let network = Network::new(&self.settings, self.shape.dim, !self.memory.abnormal.is_empty());
        (2.0 * self.shape.patches() as f64 * network.size() as f64, 0)
    }

    fn open<'a>(&'a self, job: &'a Job, device: &'a Device) -> Result<Pass<'a>> {
        let (banks, queries) = (self.memory.open(job)?, self.queries.open(job)?);
        let (patches, dim) = (self.shape.patches(), self.shape.dim);
        let network = Network::new(&self.settings, dim, !banks.abnormal.is_empty());
        let parameters = network.initial(0, device);
        let score = move |parameters: &Parameters, images: &[usize]| {
            let of_image = |image: &usize| (&queries, (image * patches..(image + 1) * patches).collect());
            let rows = upload_patches(&banks, &images.iter().map(of_image).collect::<Vec<_>>(), device);
            let psi = network.evaluate(&mut parameters.clone(), &rows);
            psi.into_iter().map(|value| -value).collect()
        };
        let image_score = self.settings.score.image.rule(self.shape, self.settings.score.sigma);
        Ok(Pass { parameters, patch_scores: Box::new(score), image_score })
    }
}
