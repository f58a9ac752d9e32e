//! DM-GRD's training stage (docs/methods/dm_grd.md, Computation).

use std::sync::Arc;

use burn::tensor::Device;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::loss::memory_triplet;
use super::memory::{Memory, MemoryView};
use super::network::Network;
use super::params::{Params, Triplet};
use super::sampler::{Drawn, Memories, Pool, Prepared, teacher_maps};
use super::select::Selected;
use super::trainer::{Batch, Trainer};
use crate::backbone::Backbone;
use crate::device::Chosen;
use crate::error::{Error, Result};
use crate::methods::Parameters as _;
use crate::methods::distillation::{Design, Maps, stack};
use crate::plan::{Compute, Computed, Handle, Job, Level, Model, NetworkInput, Pictures, Shape, Work};
use crate::random::{Purpose, stream};
use crate::spec::Settings;
use crate::train::{BATCHES_AT_ONCE, EpochLosses, Learner, Optimizer, Parameters, Shelf, ahead, fit};

/// Trains on the images of all classes; the artifact holds the parameters of the last epoch, or of each.
#[derive(Serialize)]
pub struct Train<'a> {
    pub settings: Settings<Params>,
    pub seed: u64,
    /// Normal images of each class.
    pub normals: Vec<Pictures>,
    /// Textures of each category; none where no anomaly is made.
    pub textures: Vec<Pictures>,
    /// The memories, as far as there are any.
    pub normal: Option<Handle<Memory>>,
    pub abnormal: Option<Handle<Memory>>,
    pub network: NetworkInput<'a>,
    pub device: Chosen,
    #[serde(skip)]
    pub design: Design,
    #[serde(skip)]
    pub shape: Shape,
}

impl Train<'_> {
    fn networks(&self) -> Network {
        Network::new(&self.settings.fusion, self.design.clone())
    }
}

impl Compute for Train<'_> {
    type Output = Model;
    const KIND: &'static str = "training";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 4;

    /// Every image passes the teacher once, and the networks forward and, which is twice the work, backward.
    fn work(&self) -> Work {
        let (networks, train) = (self.networks(), &self.settings.train);
        let (network, taps, side) = (self.network.architecture(), self.network.taps(), self.shape.side);
        let (operations, values) = networks.cost(if self.abnormal.is_some() { 2 } else { 1 });
        let images = (train.epochs * train.steps * train.batch) as f64;
        let maps: usize = self.design.levels.iter().map(Level::values).sum();
        let operations = images * (3.0 * operations + network.operations(taps, side));
        let batches = train.batch * (12 * values + BATCHES_AT_ONCE * 16 * maps);
        let teacher = rayon::current_num_threads() * network.memory_bytes(taps, side);
        let kept = 3 * side * side * self.shape.images;
        Work::matrix(train.keep().count(train.epochs), networks.size(), operations)
            .with_memory(batches + teacher + kept + 20 * networks.size())
            .on_device(train.batch * (12 * values + network.memory_bytes(taps, side)) + 20 * networks.size(), 0)
    }

    /// # Errors
    /// No training image, an image or weights that cannot be read; losses that are not finite.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let classes = self.normals.iter().enumerate();
        let pool = Pool {
            params: &self.settings,
            seed: self.seed,
            normals: Shelf::new(self.normals.clone(), job.memory_bytes / 4),
            images: classes.flat_map(|(class, list)| (0..list.len()).map(move |image| (class, image))).collect(),
            textures: Shelf::new(self.textures.clone(), job.memory_bytes / 4),
            categories: self.textures.len(),
        };
        if pool.images.is_empty() {
            return Err(Error::method("there is no training image", "choose classes with normal training images"));
        }
        let open = |memory: &Option<Handle<Memory>>| -> Result<Option<MemoryView>> {
            memory.as_ref().map(|memory| job.open(memory)).transpose()
        };
        let memories = Memories { normal: open(&self.normal)?, abnormal: open(&self.abnormal)? };
        let plain = self.device.get()?;
        let device = plain.clone().autodiff();
        let networks = self.networks();
        let parameters = networks.initial(Some(self.seed), &device);
        let levels = self.design.levels.clone();
        let side = self.shape.side;
        let backbone = self.network.frozen(&plain)?;
        let trainer = Trainer::new(&self.settings, networks, parameters);
        let source = Source { pool, memories, backbone, levels, side, plain };
        let mut training = Training { trainer, source, device };
        let train = &self.settings.train;
        fit(job, &mut training, train.epochs, train.keep(), json!({}))
    }
}

/// Everything that steps are made of.
struct Source<'a> {
    pool: Pool<'a>,
    memories: Memories<'a>,
    backbone: Backbone,
    levels: Vec<Level>,
    /// Of the images, in pixels.
    side: usize,
    plain: Device,
}

impl Source<'_> {
    /// The images of a step, with what the teacher says of them and what they are compared with.
    fn prepared(&self, step: u64) -> Result<Vec<Prepared>> {
        let drawn = self.pool.draw(step, self.backbone.architecture)?;
        let of_image = |image: Drawn| {
            let look = |planes: Vec<f32>| teacher_maps(&self.backbone, planes, self.side).map(Arc::new);
            let target = image.clean.map(look).transpose()?;
            let prepared = self.memories.look_up(self.pool.params, look(image.planes)?, &self.plain);
            Ok(Prepared { target, ..prepared })
        };
        drawn.into_par_iter().map(of_image).collect()
    }

    /// The same on a device.
    fn uploaded(&self, step: u64, images: &[Prepared], device: &Device) -> Result<Batch> {
        let maps = |of: &dyn Fn(&Prepared) -> Arc<Maps>| {
            stack(&images.iter().map(of).collect::<Vec<_>>(), &self.levels, device)
        };
        let found = |memory: &Option<MemoryView>, selected: fn(&Prepared) -> Option<&Selected>| {
            let number = |image: &Prepared| selected(image).map_or(0, |selected| selected.image);
            memory.as_ref().map(|memory| maps(&|image| Arc::new(memory.image(number(image)))))
        };
        let changed = images.iter().any(|image| image.target.is_some());
        Ok(Batch {
            maps: maps(&|image| Arc::clone(&image.maps)),
            targets: changed.then(|| maps(&|image| Arc::clone(image.target.as_ref().unwrap_or(&image.maps)))),
            normal: found(&self.memories.normal, |image| image.normal.as_ref()),
            abnormal: found(&self.memories.abnormal, |image| image.abnormal.as_ref()),
            triplet: self.triplet(images)?,
            order: stream(self.pool.seed, Purpose::BatchOrder, step).permutation(images.len()),
        })
    }

    /// The released triplet loss, where it is asked for.
    fn triplet(&self, images: &[Prepared]) -> Result<Option<f64>> {
        let loss = &self.pool.params.loss;
        let (Memories { normal: Some(normal), abnormal: Some(abnormal) }, Triplet::LogOnly) =
            (&self.memories, loss.triplet)
        else {
            return Ok(None);
        };
        let own: Vec<&Selected> = images.iter().filter_map(|image| image.normal.as_ref()).collect();
        let others: Vec<&Selected> = images.iter().filter_map(|image| image.abnormal.as_ref()).collect();
        memory_triplet([normal, abnormal], &own, &others, self.levels.len(), loss.triplet_margin).map(Some)
    }
}

/// A model together with what it learns from.
struct Training<'a> {
    trainer: Trainer,
    source: Source<'a>,
    device: Device,
}

impl Learner for Training<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let Training { trainer, source, device } = self;
        let train = &source.pool.params.train;
        let (first, mut losses) = (epoch * train.steps, EpochLosses::default());
        let learn = |step: usize, images: Vec<Prepared>| {
            let step = first + step;
            trainer.set_learning_rate(train.learning_rate(step));
            losses.add(trainer.step(&source.uploaded(step as u64, &images, device)?));
            Ok(())
        };
        ahead(train.steps, |step| source.prepared((first + step) as u64), learn)?;
        Ok(losses.means())
    }

    fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        self.trainer.state()
    }
}
