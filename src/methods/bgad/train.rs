//! BGAD's training stage (docs/methods/bgad.md, Computation).

use std::sync::OnceLock;

use burn::tensor::Device;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::flow::{Flow, position_code};
use super::levels::flows;
use super::params::Params;
use super::sampler::{Draft, Pass, Pool};
use super::trainer::{Chunk, Trainer};
use crate::data::decode::Pixels;
use crate::data::nearest_training_mask;
use crate::device::Chosen;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::methods::Parameters as _;
use crate::plan::{Compute, Computed, Job, Level, Model, NetworkInput, Pictures, SeenInput, Shape, Work};
use crate::spec::{Geometry, Settings};
use crate::train::{BATCHES_AT_ONCE, EpochLosses, Learner, Optimizer, Parameters, Shelf, ahead, fit, upload};

/// A seen anomaly in a key: its class, and the contents of image and mask.
pub struct Seen<'a> {
    pub class: usize,
    pub input: &'a SeenInput,
}

impl Serialize for Seen<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        (self.class, &self.input.digest).serialize(serializer)
    }
}

/// Trains on the images of all classes; the artifact holds the parameters of the last epoch, or of each.
#[derive(Serialize)]
pub struct Train<'a> {
    pub settings: Settings<Params>,
    pub seed: u64,
    /// Normal images of each class.
    pub normals: Vec<Pictures>,
    /// Seen anomalies of all classes that are learned from, and what else is known of them.
    pub pictures: Pictures,
    pub seen: Vec<Seen<'a>>,
    pub geometry: Settings<Geometry>,
    pub network: NetworkInput<'a>,
    pub device: Chosen,
    #[serde(skip)]
    pub shape: Shape,
}

impl Train<'_> {
    /// Layers; those of an impossible size were refused with the experiment.
    fn levels(&self) -> Vec<Level> {
        self.network.levels(self.geometry.size).unwrap_or_default()
    }

    fn flows(&self) -> Vec<Flow> {
        flows(&self.settings.flow, &self.network)
    }

    /// Bytes of an image's vectors.
    fn image_bytes(&self) -> usize {
        self.levels().iter().map(|level| 4 * level.values()).sum()
    }

    /// Everything that can be drawn. Images and vectors stay in so much memory, vectors first.
    fn pool(&self, memory_bytes: u64) -> Result<Pool<'_>> {
        let classes = self.normals.iter().enumerate();
        let images: Vec<(usize, usize)> =
            classes.flat_map(|(class, list)| (0..list.len()).map(move |image| (class, image))).collect();
        let fitting = memory_bytes / self.image_bytes().max(1) as u64;
        let count = usize::try_from(fitting).unwrap_or(usize::MAX).min(images.len() + self.seen.len());
        let side = self.geometry.size;
        let mask = |seen: &Seen| {
            let SeenInput { anomaly, mask, .. } = seen.input;
            let mask = nearest_training_mask(&anomaly.image, &anomaly.mask, Some(mask), &self.geometry)?;
            let data = mask.into_iter().map(|set| if set { u8::MAX } else { 0 }).collect();
            Ok(Pixels { width: side, height: side, channels: 1, data })
        };
        Ok(Pool {
            params: &self.settings,
            seed: self.seed,
            levels: self.levels(),
            backbone: self.network.frozen(&self.device.get()?)?,
            normals: Shelf::new(self.normals.clone(), memory_bytes / 4),
            images,
            seen: Shelf::new(vec![self.pictures.clone()], memory_bytes / 4),
            seen_classes: self.seen.iter().map(|seen| seen.class).collect(),
            masks: self.seen.iter().map(mask).collect::<Result<_>>()?,
            kept: (0..count).map(|_| OnceLock::new()).collect(),
        })
    }
}

impl Compute for Train<'_> {
    type Output = Model;
    const KIND: &'static str = "training";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 4;

    /// Every place of every image passes its flow forward and, which is twice the work, backward; the backbone runs once for
    /// each image, and again where images are changed.
    fn work(&self) -> Work {
        let Params { train, anomalies, .. } = &*self.settings;
        let (flows, levels, side) = (self.flows(), self.levels(), self.geometry.size);
        let entries = anomalies.repeat * self.seen.len();
        let passes = (train.epochs * train.sub_epochs) as f64;
        let images = passes * (self.shape.images + entries) as f64;
        let flow = |(flow, level): (&Flow, &Level)| 6.0 * (level.side.pow(2) * flow.size()) as f64;
        let of_flows: f64 = flows.iter().zip(&levels).map(flow).sum();
        let encoded = self.shape.images as f64 + passes * anomalies.pasted * entries as f64;
        let (network, taps) = (self.network.architecture(), self.network.taps());
        let operations = images * of_flows + encoded * network.operations(taps, side);
        let size: usize = flows.iter().map(Flow::size).sum();
        let widest = levels.iter().map(|level| 10 * level.channels + 6 * self.settings.flow.position).max();
        let step = 4 * train.chunk * self.settings.flow.blocks * widest.unwrap_or(0);
        let batches = (BATCHES_AT_ONCE + 1) * train.batch * self.image_bytes();
        Work::matrix(train.keep().count(train.epochs), size, operations)
            .with_memory(step + batches + network.memory_bytes(taps, side) + 20 * size)
            .on_device(step + train.batch * (self.image_bytes() + network.memory_bytes(taps, side)) + 20 * size, 0)
    }

    /// # Errors
    /// Images, masks or weights that cannot be read; losses that are not finite.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let pool = self.pool(job.memory_bytes / 2)?;
        let train = &self.settings.train;
        let device = self.device.get()?.autodiff();
        let (flows, mut parameters) = (self.flows(), Parameters::default());
        flows.iter().for_each(|flow| flow.add(&mut parameters, self.seed, &device));
        let values = self.settings.flow.position;
        let code = |level: &Level| Matrix::new(position_code(values, level.side, level.side), values);
        let codes = pool.levels.iter().map(code).collect();
        let trainer = Trainer::new(&self.settings, flows, parameters);
        let mut training = Training { trainer, pool, codes, device };
        fit(job, &mut training, train.epochs, train.keep(), json!({}))
    }
}

/// A model together with the images it learns from.
struct Training<'a> {
    trainer: Trainer,
    pool: Pool<'a>,
    /// Codes of the places of each layer.
    codes: Vec<Matrix>,
    device: Device,
}

impl Learner for Training<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let Training { trainer, pool, codes, device } = self;
        let (train, mut losses) = (&pool.params.train, EpochLosses::default());
        for sub_epoch in 0..train.sub_epochs {
            let pass = Pass { number: epoch * train.sub_epochs + sub_epoch, first_epoch: epoch == 0 };
            let count = pool.batches(pass);
            let learn = |batch: usize, drafts: Vec<Draft>| {
                trainer.set_learning_rate(train.learning_rate(epoch, sub_epoch, batch, count));
                for draft in drafts {
                    losses.add(trainer.step(&uploaded(draft, codes, device), pass.first_epoch));
                }
                Ok(())
            };
            ahead(count, |batch| pool.drafts(pass, batch), learn)?;
        }
        Ok(losses.means())
    }

    fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        self.trainer.state()
    }
}

/// The places of a step, on the device, with the codes of the places of each layer.
fn uploaded(draft: Draft, codes: &[Matrix], device: &Device) -> Chunk {
    let Draft { level, vectors, places, anomalous } = draft;
    let (count, codes) = (places.len(), codes[level].view());
    let channels = vectors.len() / count.max(1);
    let own = places.iter().flat_map(|&place| codes.row(place)).copied().collect();
    Chunk {
        level,
        condition: upload(own, [count, codes.cols()], device),
        vectors: upload(vectors, [count, channels], device),
        anomalous,
    }
}
