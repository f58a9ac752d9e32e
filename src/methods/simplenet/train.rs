//! SimpleNet's training and scoring stages (paper §3.3–3.5; docs/methods/simplenet.md, Computation).

use burn::tensor::{Device, Tensor, activation};
use rayon::prelude::*;
use serde_json::json;

use super::network::Network;
use super::params::{ImageScore, Noise, Params};
use crate::error::{Error, Result};
use crate::maps::{gaussian, upsample};
use crate::matrix::Rows;
use crate::plan::{Computed, Job};
use crate::random::{Purpose, Stream, stream};
use crate::store::TensorDecl;
use crate::train::{
    BatchNormMode, EpochLosses, Group, Keep, Learner, Optimizer, OptimizerKind, Parameters, download, epoch_prefix,
    fit, kept_epochs, upload,
};

/// Images per forward pass when scoring: part of the stage, independent of threads and memory.
const SCORE_CHUNK_IMAGES: usize = 4;

/// Ratio between two neighbouring strengths of mixed noise.
const MIX_RATIO: f64 = 1.1;

/// What training and scoring need to know besides their artifacts.
#[derive(Clone)]
pub struct Setup {
    /// Resolved parameters.
    pub params: Params,
    /// The run's seed.
    pub seed: u64,
    /// Patches per image: rows, columns.
    pub grid: (usize, usize),
    /// Side of the network's input, in pixels.
    pub image_size: usize,
    /// Values per patch.
    pub dim: usize,
    /// Where tensors live.
    pub device: Device,
}

impl Setup {
    fn patches(&self) -> usize {
        self.grid.0 * self.grid.1
    }
}

/// One model in training.
pub struct Trainer {
    network: Network,
    parameters: Parameters,
    adaptor: Optimizer,
    discriminator: Optimizer,
    zero_gradient: Vec<String>,
    margin: f64,
}

/// The two terms of a step's loss, and their sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepLosses {
    /// mean relu(m − D) over real rows.
    pub real: f64,
    /// mean relu(m + D) over fake rows.
    pub fake: f64,
    /// real + fake.
    pub total: f64,
}

impl StepLosses {
    fn terms(&self) -> [(&'static str, f64); 3] {
        [("loss", self.total), ("real", self.real), ("fake", self.fake)]
    }
}

impl Trainer {
    /// A trainer that starts from given parameters (on an autodiff device).
    pub fn new(params: &Params, parameters: Parameters) -> Self {
        let (network, train) = (Network::new(params), &params.train);
        let optimizer = |prefix: &str, kind, learning_rate, weight_decay| {
            Optimizer::new(vec![Group { prefixes: vec![prefix.into()], kind, learning_rate, weight_decay }])
        };
        Trainer {
            network,
            parameters,
            adaptor: optimizer("adaptor.", OptimizerKind::Adamw, train.lr_adaptor, train.weight_decay_adaptor),
            discriminator: optimizer(
                "discriminator.",
                params.discriminator.optimizer,
                train.lr_discriminator,
                train.weight_decay_discriminator,
            ),
            zero_gradient: network.zero_gradient(),
            margin: params.loss.margin,
        }
    }

    /// The parameters as they stand.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// One step on the patches of some images (rows × C) and the noise for them; returns the losses before it.
    pub fn step(&mut self, patches: Tensor<2>, noise: Tensor<2>) -> StepLosses {
        let (loss, losses) = self.loss(patches, noise);
        let gradients = loss.backward();
        for optimizer in [&mut self.adaptor, &mut self.discriminator] {
            optimizer.step(&mut self.parameters, &gradients, &self.zero_gradient);
        }
        losses
    }

    /// The loss (1 × 1) and its terms. Real and fake rows pass the discriminator together, so that batch statistics see
    /// both, and gradients reach the adaptor through both. Running statistics move; nothing else does.
    pub fn loss(&mut self, patches: Tensor<2>, noise: Tensor<2>) -> (Tensor<2>, StepLosses) {
        let rows = patches.dims()[0];
        let real = self.network.adapt(&self.parameters, patches);
        let both = Tensor::cat(vec![real.clone(), real + noise], 0);
        let scores = self.network.judge(&mut self.parameters, both, BatchNormMode::Train);
        let hinge = |range: std::ops::Range<usize>, sign: f64| {
            activation::relu(scores.clone().slice([range]) * sign + self.margin).mean_dim(0)
        };
        let (real, fake) = (hinge(0..rows, -1.0), hinge(rows..2 * rows, 1.0));
        // One transfer for both: a device is waited for once per step.
        let terms = download(Tensor::cat(vec![real.clone(), fake.clone()], 0));
        let [real_term, fake_term] = [f64::from(terms[0]), f64::from(terms[1])];
        (real + fake, StepLosses { real: real_term, fake: fake_term, total: real_term + fake_term })
    }
}

/// A model together with the training images it learns from.
struct Lesson<'a> {
    setup: &'a Setup,
    trainer: Trainer,
    /// Patches of each class.
    classes: Vec<Rows<'a>>,
    /// Class of each training image, and its number there.
    images: Vec<(usize, usize)>,
}

impl Lesson<'_> {
    /// Patches and noise of some images. `first` numbers these images through all epochs: each image of each epoch has
    /// draws of its own, so that they can be made in parallel and an epoch can be the first after a resume.
    fn batch(&self, images: &[usize], first: u64) -> (Tensor<2>, Tensor<2>) {
        let Setup { params, seed, dim, .. } = self.setup;
        let (patches, dim) = (self.setup.patches(), *dim);
        let chosen = match params.train.patches_per_image {
            0 => patches,
            wanted => wanted.min(patches),
        };
        let (mut rows, mut noise) = (vec![0.0; images.len() * chosen * dim], vec![0.0; images.len() * chosen * dim]);
        let places = rows.par_chunks_mut(chosen * dim).zip(noise.par_chunks_mut(chosen * dim));
        places.zip(images.par_iter()).enumerate().for_each(|(position, ((rows, noise), &image))| {
            let number = first + position as u64;
            let (class, image) = self.images[image];
            let mut choice = stream(*seed, Purpose::PatchChoice, number);
            let numbers = if chosen < patches { choice.choose(patches, chosen) } else { (0..patches).collect() };
            for (row, patch) in rows.chunks_mut(dim).zip(numbers) {
                row.copy_from_slice(self.classes[class].row(image * patches + patch));
            }
            fill_noise(noise, dim, &params.noise, &mut stream(*seed, Purpose::FeatureNoise, number));
        });
        let (shape, device) = ([images.len() * chosen, dim], self.setup.device.clone().autodiff());
        (upload(rows, shape, &device), upload(noise, shape, &device))
    }

    /// Training images of an epoch's steps, one list each.
    fn steps<'o>(&self, order: &'o [usize]) -> impl Iterator<Item = &'o [usize]> + use<'o> {
        let train = &self.setup.params.train;
        let (batch, drop_last) = (train.batch, train.drop_last);
        order.chunks(batch).filter(move |images| !drop_last || images.len() == batch)
    }
}

/// Normal noise; with `mix` > 1 each row has a strength of its own.
fn fill_noise(noise: &mut [f32], dim: usize, params: &Noise, draws: &mut Stream) {
    draws.fill_normal(noise, params.std);
    if params.mix > 1 {
        for row in noise.chunks_mut(dim) {
            let strength = MIX_RATIO.powi(draws.below(params.mix) as i32) as f32;
            row.iter_mut().for_each(|value| *value *= strength);
        }
    }
}

impl Learner for Lesson<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let Setup { params, seed, .. } = self.setup;
        self.trainer.discriminator.set_learning_rate(0, params.train.discriminator_rate(epoch));
        let order = stream(*seed, Purpose::NormalOrder, epoch as u64).permutation(self.images.len());
        let mut first = (epoch * order.len()) as u64;
        let mut losses = EpochLosses::default();
        for images in self.steps(&order) {
            let (patches, noise) = self.batch(images, first);
            losses.add(&self.trainer.step(patches, noise).terms());
            first += images.len() as u64;
        }
        Ok(losses.means())
    }

    fn parameters(&mut self) -> &mut Parameters {
        &mut self.trainer.parameters
    }

    fn optimizers(&mut self) -> Vec<&mut Optimizer> {
        vec![&mut self.trainer.adaptor, &mut self.trainer.discriminator]
    }
}

/// Trains on the features of all inputs; the artifact holds the parameters of the last epoch, or of each.
///
/// # Errors
/// No training image, or fewer than a batch where `drop_last` leaves none; losses that are not finite.
pub fn train(job: &Job, setup: &Setup) -> Result<Computed> {
    let train = &setup.params.train;
    let classes: Vec<Rows> = job.inputs.iter().map(|input| input.rows("features")).collect::<Result<_>>()?;
    let images: Vec<(usize, usize)> = classes
        .iter()
        .enumerate()
        .flat_map(|(class, rows)| (0..rows.len() / setup.patches()).map(move |image| (class, image)))
        .collect();
    if images.is_empty() || (train.drop_last && images.len() < train.batch) {
        let what = format!("{} training images make no step of {}", images.len(), train.batch);
        return Err(Error::method(what, "lower `method.train.batch`, or set `method.train.drop_last` to false"));
    }
    let parameters = Network::new(&setup.params).initial(setup.dim, setup.seed, &setup.device.clone().autodiff());
    let mut lesson = Lesson { setup, trainer: Trainer::new(&setup.params, parameters), classes, images };
    let keep = if train.keeps_every_epoch() { Keep::Every } else { Keep::Last };
    fit(job, &mut lesson, train.epochs, keep, json!({}))
}

/// Scores the test images of one class from its features (first input) and the trained model (second): `scores`, kept
/// epochs × images × patches, −D, higher = more abnormal; with `score.image = "map"` also `image_scores`, kept epochs ×
/// images.
pub fn score(job: &Job, setup: &Setup, test: &[usize]) -> Result<Computed> {
    let (features, model) = (job.inputs[0].rows("features")?, &job.inputs[1]);
    let network = Network::new(&setup.params);
    let mut parameters = network.initial(setup.dim, setup.seed, &setup.device);
    let kept = kept_epochs(model);
    let of_map = setup.params.score.image == ImageScore::Map;
    let mut tensors = vec![TensorDecl::f32("scores", &[kept, test.len(), setup.patches()])];
    if of_map {
        tensors.push(TensorDecl::f32("image_scores", &[kept, test.len()]));
    }
    let (mut writer, mut image_scores) = (job.create(tensors)?, Vec::new());
    for number in 0..kept {
        (job.progress)(number, kept);
        parameters.read(model, &epoch_prefix(number))?;
        let scores = patch_scores(setup, &network, &parameters, features, test);
        writer.f32(&scores)?;
        if of_map {
            image_scores.par_extend(scores.par_chunks(setup.patches()).map(|image| map_maximum(setup, image)));
        }
    }
    writer.f32(&image_scores)?;
    Ok(Computed::new(writer, json!({ "images": test.len() })))
}

fn patch_scores(setup: &Setup, network: &Network, parameters: &Parameters, rows: Rows, test: &[usize]) -> Vec<f32> {
    let (patches, dim) = (setup.patches(), setup.dim);
    let score = |images: &[usize]| {
        let mut chunk = Vec::with_capacity(images.len() * patches * dim);
        for image in images {
            chunk.extend_from_slice(rows.slice(image * patches..(image + 1) * patches).data());
        }
        let chunk = upload(chunk, [images.len() * patches, dim], &setup.device);
        download(network.score(&mut parameters.clone(), chunk))
    };
    let chunks: Vec<Vec<f32>> = test.par_chunks(SCORE_CHUNK_IMAGES).map(score).collect();
    chunks.concat()
}

/// The highest value of an image's smoothed map at the size of the network's input.
fn map_maximum(setup: &Setup, patches: &[f32]) -> f32 {
    let size = (setup.image_size, setup.image_size);
    let map = gaussian(&upsample(patches, setup.grid, size), size, setup.params.score.sigma);
    map.into_iter().fold(f32::NEG_INFINITY, f32::max)
}
