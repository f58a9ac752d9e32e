//! Dinomaly's training stage (docs/methods/dinomaly.md, Computation).

use std::sync::Arc;

use burn::tensor::Device;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::encoder::{Design, Encoder, Rows, stack};
use super::network::Network;
use super::params::Params;
use super::trainer::Trainer;
use crate::device::Chosen;
use crate::error::Result;
use crate::methods::Parameters as _;
use crate::plan::{Compute, Computed, Job, Model, NetworkInput, Pictures, Shape, Work};
use crate::random::{Purpose, stream};
use crate::spec::Settings;
use crate::train::{BATCHES_AT_ONCE, Dropout, EpochLosses, Learner, Optimizer, Parameters, ahead, fit};

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
    const VERSION: u32 = 2;

    /// Every image of a step passes forward once and backward, which is twice the work; the encoder looks at it once where
    /// its tokens stay in memory.
    fn work(&self) -> Work {
        let (train, design, side) = (&self.settings.train, &self.design, self.shape.side);
        let (encoder, taps) = (self.network.architecture(), self.network.taps());
        let network = Network::new(&self.settings.network, design);
        let passes = (train.epochs * train.steps * train.batch) as f64;
        let looks = self.shape.images as f64 * encoder.operations(taps, side);
        let batch = train.batch * 4 * (network.activations() + (BATCHES_AT_ONCE + 2) * design.values());
        let looking = rayon::current_num_threads() * encoder.memory_bytes(taps, side);
        let kept = 4 * self.shape.images * design.values();
        // Parameters have a gradient, three moments, and what a step makes of one of them.
        Work::matrix(train.keep().count(train.epochs), network.size(), 3.0 * passes * network.operations() + looks)
            .with_memory(batch + looking + kept + 24 * network.size())
            .on_device(
                train.batch * (4 * network.activations() + encoder.memory_bytes(taps, side)) + 24 * network.size(),
                0,
            )
    }

    /// # Errors
    /// An image or weights that cannot be read; losses that are not finite.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let (Params { encoder, network, train, .. }, design) = (&*self.settings, &self.design);
        let device = self.device.get()?;
        let look = (self.shape.side, &device);
        let encoder = Encoder::new(&self.network, (encoder, design), self.normals.clone(), job.memory_bytes / 2, look)?;
        let images = encoder.images();
        let device = device.autodiff();
        let network = Network::new(network, design);
        network.prepare(&device);
        let parameters = network.parameters(Some(self.seed), &device);
        let trainer = Trainer::new(&self.settings, network, parameters);
        let source = Source { stage: self, encoder, images };
        let mut training = Training { trainer, source, device };
        fit(job, &mut training, train.epochs, train.keep(), json!({}))
    }
}

/// A model together with the images it learns from.
struct Training<'a> {
    trainer: Trainer,
    source: Source<'a>,
    device: Device,
}

/// What steps are made of: a function of their number alone.
struct Source<'a> {
    stage: &'a Train<'a>,
    encoder: Encoder,
    /// Class and number within the class of every training image.
    images: Vec<(usize, usize)>,
}

impl Source<'_> {
    /// Tokens of the images of a step: one batch after the other of an order that is new for each pass, whose rest is left
    /// out.
    fn batch(&self, step: usize) -> Result<Vec<Arc<Rows>>> {
        let batch = self.stage.settings.train.batch;
        let steps = (self.images.len() / batch).max(1);
        let (pass, place) = (step / steps, step % steps);
        let order = stream(self.stage.seed, Purpose::NormalOrder, pass as u64).permutation(self.images.len());
        let numbers: Vec<usize> = order.into_iter().skip(place * batch).take(batch).collect();
        numbers.par_iter().map(|&number| self.encoder.rows(self.images[number])).collect()
    }

    /// What a step drops.
    fn dropout(&self, step: usize) -> Dropout {
        let Params { network, train, .. } = &*self.stage.settings;
        let of_image = |image: usize| stream(self.stage.seed, Purpose::Dropout, (step * train.batch + image) as u64);
        Dropout::new(network.dropout, (0..train.batch).map(of_image).collect())
    }
}

impl Learner for Training<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let Training { trainer, source, device } = self;
        let steps = source.stage.settings.train.steps;
        let (first, mut losses) = (epoch * steps, EpochLosses::default());
        let look = |number: usize| source.batch(first + number);
        ahead(steps, look, |number, tokens| {
            let step = first + number;
            let tokens = stack(&tokens, &source.stage.design, device);
            losses.add(trainer.step(&tokens, step, source.dropout(step)));
            Ok(())
        })?;
        Ok(losses.means())
    }

    fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        self.trainer.state()
    }
}
