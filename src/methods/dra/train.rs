//! DRA's training and scoring stages (docs/methods/dra.md, Computation).

use burn::tensor::{Device, Tensor};
use serde::Serialize;
use serde_json::json;

use super::loss::Prior;
use super::network::{Heads, Network};
use super::params::{Params, ReferenceScope, TestReferences};
use super::sampler::{Draft, Planes, Pool};
use super::trainer::{Batch, Trainer};
use crate::device::Chosen;
use crate::error::{Error, Result};
use crate::maps::upsample;
use crate::methods::Parameters as _;
use crate::plan::{Compute, Computed, Job, Model, NetworkInput, Pictures, Shape, Work};
use crate::spec::Settings;
use crate::train::{
    BATCHES_AT_ONCE, BatchNormMode, EpochLosses, Judge, Judged, Keep, Kept, Learner, Optimizer, Parameters, Sentence,
    Shelf, ahead, download, fit, upload,
};

/// The images that a model learns from, and the network that it starts from: a part of both stages.
#[derive(Clone, Serialize)]
pub struct Material<'a> {
    pub settings: Settings<Params>,
    pub seed: u64,
    /// Normal images of each class.
    pub normals: Vec<Pictures>,
    /// External anomalies of each category.
    pub externals: Vec<Pictures>,
    pub network: NetworkInput<'a>,
    #[serde(skip)]
    pub shape: Shape,
}

impl Material<'_> {
    fn network(&self) -> Network {
        Network::new(&self.settings.network, self.network.architecture(), self.network.taps())
    }

    /// Everything that can be drawn, with seen anomalies of these classes; images stay in so much memory.
    fn pool(&self, seen: &[Pictures], seen_classes: &[usize], memory_bytes: u64) -> Pool<'_> {
        let classes = self.normals.iter().enumerate();
        Pool {
            params: &self.settings,
            seed: self.seed,
            architecture: self.network.architecture(),
            sides: self.network().sides(self.shape.side),
            normals: Shelf::new([&self.normals[..], &self.externals].concat(), memory_bytes),
            classes: self.normals.len(),
            externals: self.externals.len(),
            images: classes.flat_map(|(class, list)| (0..list.len()).map(move |image| (class, image))).collect(),
            seen: Shelf::new(seen.to_vec(), memory_bytes),
            seen_classes: seen_classes.to_vec(),
        }
    }

    /// Steps of an epoch.
    fn steps(&self) -> usize {
        let train = &self.settings.train;
        if train.steps_by_class { train.steps * self.normals.len().max(1) } else { train.steps }
    }
}

/// Trains on the images of all classes; the artifact holds the parameters of the last epoch.
#[derive(Serialize)]
pub struct Train<'a> {
    pub material: Material<'a>,
    /// Seen anomalies of all classes: one list, with the class of each.
    pub seen: Pictures,
    pub seen_classes: Vec<usize>,
    pub device: Chosen,
}

impl Compute for Train<'_> {
    type Output = Model;
    const KIND: &'static str = "training";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 6;

    /// Every image passes forward once and backward once, which is twice the work, at every scale.
    fn work(&self) -> Work {
        let (material, network) = (&self.material, self.material.network());
        let Params { train, references, .. } = &*material.settings;
        let groups = if references.scope == ReferenceScope::Class { material.normals.len() } else { 1 };
        let (side, images) = (material.shape.side, train.batch + groups * references.count);
        let operations = 3.0 * (images * train.epochs * material.steps()) as f64 * network.operations(side);
        let pixels: usize = network.sides(side).into_iter().map(|side| 3 * 4 * side * side).sum();
        // Images stay in memory where there is room; parameters have a gradient and two moments.
        let kept = 3 * side * side * material.shape.images;
        let memory = images * (network.image_bytes(side).0 + BATCHES_AT_ONCE * pixels) + 20 * network.size() + kept;
        let on_device = images * (network.image_bytes(side).0 + pixels) + 20 * network.size();
        Work::matrix(Keep::Last.count(train.epochs), network.size(), operations)
            .with_memory(memory)
            .on_device(on_device, 0)
    }

    /// # Errors
    /// No training image, an image or weights that cannot be read; losses that are not finite.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let (material, network) = (&self.material, self.material.network());
        let pool = material.pool(std::slice::from_ref(&self.seen), &self.seen_classes, job.memory_bytes / 4);
        if pool.images.is_empty() {
            return Err(Error::method("there is no training image", "choose classes with normal training images"));
        }
        let device = self.device.get()?.autodiff();
        let parameters = network.initial(Some(&material.network.weights()?), material.seed, &device);
        let asks_seen = material.settings.asks_seen(!self.seen.is_empty());
        let trainer = Trainer::new(&material.settings, network, parameters, asks_seen);
        let mut training = Training { trainer, pool, steps: material.steps(), device };
        let train = &material.settings.train;
        fit(job, &mut training, train.epochs, Keep::Last, json!({ "network_included": true }))
    }
}

/// A model together with the images it learns from.
struct Training<'a> {
    trainer: Trainer,
    pool: Pool<'a>,
    /// Steps of an epoch.
    steps: usize,
    device: Device,
}

impl Learner for Training<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let Training { trainer, pool, steps, device } = self;
        let params = pool.params;
        trainer.optimizer().set_learning_rate(params.train.learning_rate(epoch));
        let (first, mut losses) = ((epoch * *steps) as u64, EpochLosses::default());
        ahead(
            *steps,
            |step| pool.draft(first + step as u64),
            |step, draft| {
                let number = (first + step as u64) * 4;
                let prior = |head: usize| Prior::draw(params.loss.prior_samples, pool.seed, number + head as u64);
                losses.add(trainer.step(&uploaded(draft, &pool.sides, device), std::array::from_fn(prior)));
                Ok(())
            },
        )?;
        Ok(losses.means())
    }

    fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        self.trainer.state()
    }
}

/// The images of a step, on the device.
fn uploaded(draft: Draft, sides: &[usize], device: &Device) -> Batch {
    let Draft { scales, labels, average, references } = draft;
    let images = references + labels.len();
    let scales = scales.into_iter().zip(sides);
    Batch {
        scales: scales.map(|(values, &side)| upload(values, [images, 3, side, side], device)).collect(),
        average: upload(average, [labels.len(), references], device),
        labels,
    }
}

/// Draws of references besides the one that counts, for the spread of scores over draws.
const OTHER_DRAWS: u64 = 2;

/// From images to scores: the weighted sum of the heads, and for patches the sum of the anomaly heads' maps.
#[derive(Serialize)]
pub struct Score<'a> {
    pub material: Material<'a>,
    /// Whether the head for seen anomalies has learned.
    pub asks_seen: bool,
    /// The class whose references are compared with, where each has its own.
    pub class: Option<usize>,
}

/// Reference features of a draw: the mean at every scale, 1 × channels × rows × columns.
type Means = Vec<Tensor<4>>;

impl Score<'_> {
    /// Features of some images at every scale, in evaluation mode.
    fn features(
        &self,
        parameters: &Parameters,
        sides: &[usize],
        images: Vec<Planes>,
        device: &Device,
    ) -> Vec<Tensor<4>> {
        let (network, mut parameters) = (self.material.network(), parameters.clone());
        let of_scale = |(scale, &side): (usize, &usize)| {
            let values: Vec<f32> = images.iter().flat_map(|image| &image[scale]).copied().collect();
            let images = upload(values, [images.len(), 3, side, side], device);
            network.features(&mut parameters, images, BatchNormMode::Evaluate)
        };
        sides.iter().enumerate().map(of_scale).collect()
    }

    /// Means of the references of all draws, those that count first.
    fn means(&self, pool: &Pool, parameters: &Parameters, batch: u64, device: &Device) -> Result<Vec<Means>> {
        let group = self.class.unwrap_or(0);
        let of_draw = |draw: u64| {
            let images = pool.test_references(group, draw, batch)?;
            let features = self.features(parameters, &pool.sides, images, device);
            Ok(features.into_iter().map(|features| features.mean_dim(0)).collect())
        };
        (0..=OTHER_DRAWS).map(of_draw).collect()
    }

    /// What the heads say of features that are compared with these means.
    fn heads(&self, parameters: &Parameters, features: &[Tensor<4>], means: &Means) -> Vec<Heads> {
        let (network, mut parameters) = (self.material.network(), parameters.clone());
        let pairs = features.iter().zip(means);
        let of_scale = |(features, mean): (&Tensor<4>, &Tensor<4>)| {
            let references = mean.clone().expand(features.dims());
            network.heads(&mut parameters, features.clone(), references, BatchNormMode::Evaluate)
        };
        pairs.map(of_scale).collect()
    }

    /// Weights of the heads; one that has not learned says nothing.
    fn weights(&self) -> [f64; 4] {
        let [holistic, seen, pseudo, composite] = self.material.settings.score.weights;
        [holistic, if self.asks_seen { seen } else { 0.0 }, pseudo, composite]
    }

    /// Scores of the images, one each.
    fn image_scores(&self, heads: &[Heads]) -> Vec<f32> {
        let mut scores = vec![0.0; heads[0].scores[0].dims()[0]];
        for (weight, head) in self.weights().into_iter().zip(0..) {
            for scale in heads {
                let values = download(scale.scores[head].clone());
                let share = weight / heads.len() as f64;
                scores.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * f64::from(value));
            }
        }
        scores.into_iter().map(|score| score as f32).collect()
    }

    /// Scores of the patches of each image: the maps of the anomaly heads at every scale, brought to the patches' grid and
    /// summed up.
    fn patch_scores(&self, heads: &[Heads]) -> Vec<Vec<f32>> {
        let (rows, columns) = self.material.shape.grid;
        let mut scores = vec![vec![0.0; rows * columns]; heads[0].scores[0].dims()[0]];
        for scale in heads {
            for (map, head) in scale.maps.iter().zip(1..) {
                let [_, _, height, width] = map.dims();
                if head == 1 && !self.asks_seen {
                    continue;
                }
                for (sum, map) in scores.iter_mut().zip(download(map.clone()).chunks(height * width)) {
                    let map = upsample(map, (height, width), (rows, columns));
                    sum.iter_mut().zip(map).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        scores
    }

    /// What is said of images with these features.
    fn judged(&self, parameters: &Parameters, features: &[Tensor<4>], means: &[Means]) -> Vec<Judged> {
        let heads = self.heads(parameters, features, &means[0]);
        let others = means[1..].iter().map(|means| self.image_scores(&self.heads(parameters, features, means)));
        let others: Vec<Vec<f32>> = others.collect();
        let scores = self.image_scores(&heads).into_iter().zip(self.patch_scores(&heads)).enumerate();
        let judged = scores.map(|(place, (image, patches))| Judged {
            image,
            patches,
            others: others.iter().map(|scores| scores[place]).collect(),
        });
        judged.collect()
    }
}

impl Judge for Score<'_> {
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn work(&self) -> (f64, usize) {
        let (network, side) = (self.material.network(), self.material.shape.side);
        (network.operations(side), network.image_bytes(side).1)
    }

    fn parameters(&self, device: &Device) -> Parameters {
        self.material.network().initial(None, 0, device)
    }

    fn open<'a>(&'a self, _job: &'a Job, kept: Kept<'a>, device: &'a Device) -> Result<Sentence<'a>> {
        let parameters = kept.parameters;
        let pool = self.material.pool(&[], &[], 0);
        let drawn = self.material.settings.references.test == TestReferences::RandomMixed;
        let batch = self.material.settings.train.batch;
        let fixed = if drawn { Vec::new() } else { self.means(&pool, parameters, 0, device)? };
        Ok(Box::new(move |pictures: &Pictures, images: &[usize]| {
            let mut judged = Vec::with_capacity(images.len());
            for same in images.chunk_by(|a, b| !drawn || a / batch == b / batch) {
                let planes =
                    same.iter().map(|&image| Ok(pool.planes(&pictures.load(image)?))).collect::<Result<_>>()?;
                let features = self.features(parameters, &pool.sides, planes, device);
                let own = match drawn {
                    true => self.means(&pool, parameters, (same[0] / batch) as u64, device)?,
                    false => Vec::new(),
                };
                judged.extend(self.judged(parameters, &features, if drawn { &own } else { &fixed }));
            }
            Ok(judged)
        }))
    }
}
