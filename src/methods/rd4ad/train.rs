//! RD4AD's training stage (docs/methods/rd4ad.md, Computation).

use std::sync::Arc;

use burn::tensor::Device;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::params::Params;
use super::trainer::Trainer;
use crate::device::Chosen;
use crate::error::{Error, Result};
use crate::methods::Parameters as _;
use crate::methods::distillation::{Design, Maps, Teacher, stack};
use crate::plan::{Compute, Computed, Job, Model, NetworkInput, Pictures, Shape, Work};
use crate::random::{Purpose, stream};
use crate::spec::Settings;
use crate::train::{BATCHES_AT_ONCE, EpochLosses, Learner, Optimizer, Parameters, ahead, fit};

/// Trains on the images of all classes; the artifact holds the parameters of the last epoch, or of each.
#[derive(Serialize)]
pub struct Train<'a> {
    pub settings: Settings<Params>,
    pub seed: u64,
    /// Normal images of each class.
    pub normals: Vec<Pictures>,
    pub network: NetworkInput<'a>,
    pub device: Chosen,
    #[serde(skip)]
    pub design: Design,
    #[serde(skip)]
    pub shape: Shape,
}

impl Compute for Train<'_> {
    type Output = Model;
    const KIND: &'static str = "training";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 4;

    /// Every image passes forward once and backward, which is twice the work, in every epoch; the teacher looks at it once
    /// where its maps stay in memory.
    fn work(&self) -> Work {
        let (train, design, side) = (&self.settings.train, &self.design, self.shape.side);
        let (network, taps) = (self.network.architecture(), self.network.taps());
        let (operations, values) = design.cost();
        let images = self.shape.images as f64;
        let all = images * (3.0 * train.epochs as f64 * operations + network.operations(taps, side));
        // Of a map training keeps what convolution, normalisation and activation give; parameters have a gradient and two
        // moments.
        let batch = train.batch * (12 * values + BATCHES_AT_ONCE * Teacher::image_bytes(&design.levels));
        let looking = rayon::current_num_threads() * network.memory_bytes(taps, side);
        Work::matrix(train.keep().count(train.epochs), design.size(), all)
            .with_memory(batch + looking + 20 * design.size())
            .on_device(train.batch * (12 * values + network.memory_bytes(taps, side)) + 20 * design.size(), 0)
    }

    /// # Errors
    /// No training image, an image or weights that cannot be read; losses that are not finite.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let (train, design) = (&self.settings.train, &self.design);
        let device = self.device.get()?;
        let teacher =
            Teacher::new(self.network.frozen(&device)?, self.normals.clone(), &design.levels, job.memory_bytes / 2);
        let images = teacher.images();
        if images.is_empty() {
            return Err(Error::method("there is no training image", "choose classes with normal training images"));
        }
        let device = device.autodiff();
        let trainer = Trainer::new(&self.settings, design, design.parameters(Some(self.seed), &device));
        let mut training = Training { trainer, stage: self, teacher, images, device };
        fit(job, &mut training, train.epochs, train.keep(), json!({}))
    }
}

/// A model together with the images it learns from.
struct Training<'a> {
    trainer: Trainer,
    stage: &'a Train<'a>,
    teacher: Teacher,
    /// Class and number within the class of every training image.
    images: Vec<(usize, usize)>,
    device: Device,
}

impl Learner for Training<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let Training { trainer, stage, teacher, images, device } = self;
        let train = &stage.settings.train;
        let order = stream(stage.seed, Purpose::NormalOrder, epoch as u64).permutation(images.len());
        let batches: Vec<&[usize]> = order.chunks(train.batch).collect();
        trainer.optimizer().set_learning_rate(train.learning_rate(epoch));
        let look = |number: usize| -> Result<Vec<Arc<Maps>>> {
            batches[number].par_iter().map(|&image| teacher.maps(images[image])).collect()
        };
        let mut losses = EpochLosses::default();
        ahead(batches.len(), look, |_, maps| {
            losses.add(trainer.step(&stack(&maps, &stage.design.levels, device)));
            Ok(())
        })?;
        Ok(losses.means())
    }

    fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        self.trainer.state()
    }
}
