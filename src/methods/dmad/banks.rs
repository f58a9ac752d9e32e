//! M_o, the outlier side of DMAD's memory (paper §3.2, Eq. 4; docs/methods/dmad.md, Banks).

use serde::Serialize;
use serde_json::json;

use super::params;
use crate::error::{Error, Result};
use crate::matrix::Rows;
use crate::methods::{NormalBank, Parameters as _, offsets};
use crate::plan::{Bank, Compute, Computed, Features, Graph, Handle, Inputs, Job, Work};
use crate::random::{Purpose, name_index, stream};
use crate::spec::Settings;
use crate::store::TensorDecl;

/// M_o: textures mixed position by position with a random normal image each, thinned by a coreset.
#[derive(Serialize)]
pub struct OutlierBank {
    /// Mixture and share; which textures there are, their features' key tells.
    settings: Settings<params::OutlierBank>,
    seed: u64,
    coreset: Settings<NormalBank>,
    textures: Handle<Features>,
    /// What textures are mixed with; none with `beta = 1`.
    normals: Vec<Handle<Features>>,
    #[serde(skip)]
    images: usize,
    #[serde(skip)]
    patches: usize,
    #[serde(skip)]
    dim: usize,
}

impl OutlierBank {
    /// Adds it to a graph, with the features of the textures that are drawn.
    ///
    /// # Errors
    /// A dataset of textures that is not there, or has fewer images than are wanted.
    pub fn stage<'a>(
        graph: &mut Graph<'a>,
        inputs: &'a Inputs,
        params: &params::OutlierBank,
        coreset: NormalBank,
    ) -> Result<Handle<Bank>> {
        let mut images = Vec::new();
        for category in inputs.environment.outliers(&params.dataset)? {
            let (wanted, there) = (params.images_per_category, category.images.len());
            // `run::check` has said so of the runs that are to be done; figures come back to recorded ones.
            if there < wanted {
                let what = format!(
                    "category `{}` of `{}` has {there} images, {wanted} are wanted",
                    category.name, params.dataset
                );
                return Err(Error::method(what, "lower `method.bank.outlier.images_per_category`"));
            }
            let mut draws = stream(inputs.seed, Purpose::OutlierImages, name_index(&category.name));
            images.extend(draws.choose(there, wanted).into_iter().map(|number| category.images[number].clone()));
        }
        let textures = inputs.environment.features(graph, &images, "outlier features")?;
        Ok(graph.add(OutlierBank {
            settings: params::OutlierBank { beta: params.beta, ratio: params.ratio, ..Default::default() }.into(),
            seed: inputs.seed,
            coreset: coreset.into(),
            textures,
            normals: if params.beta < 1.0 { inputs.train() } else { Vec::new() },
            images: images.len(),
            patches: inputs.patches(),
            dim: inputs.dim,
        }))
    }
}

impl Compute for OutlierBank {
    type Output = Bank;
    const KIND: &'static str = "outlier_bank";
    const METHOD: &'static str = params::Params::NAME;
    const VERSION: u32 = 1;

    fn work(&self) -> Work {
        let mixed = self.images * self.patches;
        let work = self.coreset.work(mixed, self.settings.ratio, self.dim);
        work.with_memory(work.memory_bytes as usize + 4 * mixed * self.dim)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let textures = job.open(&self.textures)?;
        assert_eq!(textures.len(), self.images * self.patches, "features of every texture");
        let mut mixed = job.scratch(textures.len(), self.dim)?;
        mixed.data_mut().copy_from_slice(textures.data());
        if self.settings.beta < 1.0 {
            let normals: Vec<Rows> = self.normals.iter().map(|normal| job.open(normal)).collect::<Result<_>>()?;
            mix(&normals, mixed.data_mut(), self.settings.beta, self.patches * self.dim, self.seed);
        }
        let picks = self.coreset.select(job, &[mixed.view()], self.settings.ratio, self.seed, 1)?;
        let mut writer = job.create(vec![TensorDecl::f32("rows", &[picks.len(), self.dim])])?;
        picks.iter().try_for_each(|&pick| writer.f32(mixed.view().row(pick)))?;
        Ok(Computed::new(writer, json!({ "rows": picks.len(), "images": self.images })))
    }
}

/// β·F(x_o) + (1 − β)·F(x_n), one random normal image for each texture (Eq. 4).
fn mix(normals: &[Rows], textures: &mut [f32], beta: f64, image_values: usize, seed: u64) {
    let offsets = offsets(normals);
    let total: usize = normals.iter().map(Rows::len).sum();
    let mut draws = stream(seed, Purpose::OutlierPartner, 0);
    let patches = image_values / normals[0].cols();
    for texture in textures.chunks_exact_mut(image_values) {
        let first = draws.below(total / patches) * patches;
        let part = offsets.partition_point(|&offset| offset <= first) - 1;
        let normal = normals[part].slice(first - offsets[part]..first - offsets[part] + patches);
        for (value, &partner) in texture.iter_mut().zip(normal.data()) {
            *value = (beta * *value as f64 + (1.0 - beta) * partner as f64) as f32;
        }
    }
}
