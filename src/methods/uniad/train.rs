//! UniAD's training and scoring stages (paper §3; docs/methods/uniad.md, Computation).

use burn::tensor::{Device, Gradients, Tensor};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::network::Network;
use super::params::{self, ImageScore, Params};
use crate::device::{Chosen, draws, is_cpu};
use crate::error::Result;
use crate::maps::{pooled_maximum, upsample, upsample_corners};
use crate::matrix::Rows;
use crate::methods::Parameters as _;
use crate::plan::{Compute, Computed, Features, Handle, Job, Model, Shape, Work};
use crate::random::{Purpose, stream};
use crate::spec::Settings;
use crate::train::{
    BETAS, Dropout, EpochLosses, Forward, Group, Learner, Optimizer, OptimizerKind, Parameters, Pass, Resident,
    SCORE_CHUNK_IMAGES, Terms, add_gradients, class_images, clip_gradients, download, fit, upload_images,
};

/// Images that are differentiated together on a CPU; their gradients are added in the order of the batch, so that the
/// number of threads changes nothing. On a GPU it is the whole batch.
const TRAIN_PART_IMAGES: usize = 1;

/// Trains on the features of all classes; the artifact holds the parameters after the last epoch or after each.
#[derive(Serialize)]
pub struct Train {
    pub settings: Settings<Params>,
    pub seed: u64,
    pub train: Vec<Handle<Features>>,
    pub device: Chosen,
    #[serde(skip)]
    pub shape: Shape,
}

impl Compute for Train {
    type Output = Model;
    const KIND: &'static str = "training";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 4;

    /// Every image passes forward once and backward once, which is twice the work, in every epoch.
    fn work(&self) -> Work {
        let (train, network) = (&self.settings.train, Network::new(&self.settings, self.shape.grid, self.shape.dim));
        let kept = train.keep().count(train.epochs);
        let operations = 3.0 * (self.shape.images * train.epochs) as f64 * network.operations();
        // Each thread has one image and its gradients; parameters and moments are there once.
        let at_once = train.batch.min(rayon::current_num_threads());
        let bytes = 4 * at_once * (network.activations() + 2 * network.size()) + 16 * network.size();
        let of_batch = 4 * train.batch * network.activations() + 20 * network.size();
        Work::matrix(kept, network.size(), operations)
            .with_memory(bytes)
            .on_device(of_batch, 4 * self.shape.rows() * self.shape.dim)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let train = &self.settings.train;
        let classes: Vec<Rows> = self.train.iter().map(|class| job.open(class)).collect::<Result<_>>()?;
        let network = Network::new(&self.settings, self.shape.grid, self.shape.dim);
        let images = class_images(classes.iter().map(Rows::len), network.positions());
        let device = self.device.get()?.autodiff();
        let parameters = network.initial(self.seed, &device);
        network.prepare(&device);
        let resident = Resident::where_there_is_room(&self.device, &classes, network.positions(), &device);
        let trainer = Trainer::new(&self.settings, network, parameters);
        let mut training = Training { trainer, stage: self, images, classes, resident, device };
        fit(job, &mut training, train.epochs, train.keep(), json!({}))
    }
}

/// A model together with the training images it learns from.
struct Training<'a> {
    trainer: Trainer,
    stage: &'a Train,
    classes: Vec<Rows<'a>>,
    /// Class and number within the class of every training image.
    images: Vec<(usize, usize)>,
    /// The tokens of these images, where a GPU has room for them.
    resident: Option<Resident>,
    device: Device,
}

impl Training<'_> {
    /// Tokens of some images, on the device.
    fn tokens(&self, batch: &[usize]) -> Tensor<2> {
        if let Some(resident) = &self.resident {
            return resident.gather(&resident.all(batch.to_vec()));
        }
        let positions = self.trainer.network.positions();
        let images = batch.iter().map(|&number| self.images[number]);
        let tokens = images.map(|(class, image)| self.classes[class].slice(image * positions..(image + 1) * positions));
        upload_images(tokens, self.stage.shape.dim, &self.device)
    }

    /// Standard normal noise for some tokens, or none for this batch.
    fn noise(&self, tokens: usize, step: u64) -> Option<Tensor<2>> {
        let jitter = &self.stage.settings.jitter;
        let mut draws = stream(self.stage.seed, Purpose::Jitter, step);
        if draws.uniform() >= jitter.probability {
            return None;
        }
        Some(draws::normals(&mut draws, [tokens, self.stage.shape.dim], 1.0, &self.device))
    }
}

impl Learner for Training<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let (seed, train) = (self.stage.seed, &self.stage.settings.train);
        let order = stream(seed, Purpose::NormalOrder, epoch as u64).permutation(self.images.len());
        self.trainer.optimizer.set_learning_rate(train.learning_rate(epoch));
        let steps = order.len().div_ceil(train.batch);
        let mut losses = EpochLosses::default();
        for (number, batch) in order.chunks(train.batch).enumerate() {
            let step = (epoch * steps + number) as u64;
            let tokens = self.tokens(batch);
            let noise = self.noise(tokens.dims()[0], step);
            let of_image = |image: usize| stream(seed, Purpose::Dropout, step * train.batch as u64 + image as u64);
            let dropout = Dropout::new(self.stage.settings.network.dropout, (0..batch.len()).map(of_image).collect());
            losses.add(self.trainer.step(tokens, noise, dropout));
        }
        Ok(losses.means())
    }

    fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        (&mut self.trainer.parameters, vec![&mut self.trainer.optimizer])
    }
}

/// One model in training.
pub struct Trainer {
    network: Network,
    /// As they stand.
    pub parameters: Parameters,
    optimizer: Optimizer,
    zero_gradient: Vec<String>,
    params: Params,
}

impl Trainer {
    /// A trainer that starts from given parameters (on an autodiff device).
    pub fn new(params: &Params, network: Network, parameters: Parameters) -> Self {
        let group = Group {
            prefixes: vec![String::new()], // every name
            kind: OptimizerKind::Adamw,
            learning_rate: params.train.lr,
            weight_decay: params.train.weight_decay,
            betas: BETAS,
        };
        let zero_gradient = network.zero_gradient();
        Trainer { network, parameters, optimizer: Optimizer::new(group), zero_gradient, params: params.clone() }
    }

    /// The loss (1 × 1): mean squared distance of the reconstruction of the disturbed tokens to the clean ones. `noise` is
    /// standard normal, shaped as the tokens; each of them gets it times its norm · scale / values.
    pub fn loss(&self, tokens: &Tensor<2>, noise: Option<Tensor<2>>, dropout: Dropout) -> Tensor<2> {
        self.loss_of(&self.parameters, Part { tokens: tokens.clone(), noise, dropout, share: 1.0 })
    }

    fn loss_of(&self, parameters: &Parameters, part: Part) -> Tensor<2> {
        let Part { tokens, noise, dropout, share } = part;
        let [rows, values] = tokens.dims();
        let input = match noise {
            None => tokens.clone(),
            Some(noise) => {
                let norm = (tokens.clone() * tokens.clone()).sum_dim(1).sqrt();
                tokens.clone() + noise * norm * (self.params.jitter.scale / values as f64)
            }
        };
        let images = rows / self.network.positions();
        let difference = self.network.pass(parameters, images, dropout).reconstruct(input) - tokens;
        (difference.clone() * difference).mean_dim(1).mean_dim(0) * share
    }

    /// One step: its loss before it, and the norm of all gradients together before clipping.
    pub fn step(&mut self, tokens: Tensor<2>, noise: Option<Tensor<2>>, mut dropout: Dropout) -> Terms {
        let positions = self.network.positions();
        let images = tokens.dims()[0] / positions;
        let size = if is_cpu(&tokens.device()) { TRAIN_PART_IMAGES } else { images };
        let part = |first: usize| {
            let count = size.min(images - first);
            let rows = first * positions..(first + count) * positions;
            let rows = |all: &Tensor<2>| all.clone().slice([rows.clone()]);
            Part {
                tokens: rows(&tokens),
                noise: noise.as_ref().map(rows),
                dropout: dropout.split_off(count),
                share: count as f64 / images as f64,
            }
        };
        let parts: Vec<Part> = (0..images).step_by(size).map(part).collect();
        let (loss, mut gradients) = self.differentiate(parts);
        let norm = clip_gradients(&self.parameters, &mut gradients, self.params.train.clip);
        self.optimizer.step(&mut self.parameters, &gradients, &self.zero_gradient);
        let norm = norm.unwrap_or_else(|| loss.zeros_like());
        Terms::new(vec![("loss", loss), ("gradient_norm", norm)])
    }

    /// The sum of the losses of all parts, and its gradients with respect to the parameters (leaves of another graph after).
    fn differentiate(&mut self, parts: Vec<Part>) -> (Tensor<2>, Gradients) {
        let mut sum: Option<(Tensor<2>, Parameters, Gradients)> = None;
        let mut parts = parts.into_iter().peekable();
        while parts.peek().is_some() {
            // No more at once than there are threads: each holds gradients of its own.
            let group: Vec<Part> = parts.by_ref().take(rayon::current_num_threads()).collect();
            let of_part = |part| {
                let parameters = self.parameters.leaves();
                let loss = self.loss_of(&parameters, part);
                let gradients = loss.backward();
                (loss.inner(), parameters, gradients)
            };
            let done: Vec<(Tensor<2>, Parameters, Gradients)> = group.into_par_iter().map(of_part).collect();
            for (loss, parameters, gradients) in done {
                match &mut sum {
                    None => sum = Some((loss, parameters, gradients)),
                    Some((total, first, all)) => {
                        *total = total.clone() + loss;
                        add_gradients(first, all, &parameters, &gradients);
                    }
                }
            }
        }
        let Some((loss, parameters, gradients)) = sum else { unreachable!("a batch has images") };
        self.parameters = parameters;
        (loss, gradients)
    }
}

/// Some images of a batch.
struct Part {
    tokens: Tensor<2>,
    noise: Option<Tensor<2>>,
    dropout: Dropout,
    /// Its images among all of the batch.
    share: f64,
}

/// Distance of every token to its reconstruction: the square root of the sum over its squared differences.
pub fn token_scores(network: &Network, parameters: &Parameters, tokens: Tensor<2>) -> Vec<f32> {
    let difference = network.reconstruct(parameters, tokens.clone()) - tokens;
    download((difference.clone() * difference).sum_dim(1).sqrt())
}

/// The score of an image from those of its tokens: their map at the size of the image (`side`), then what `score` says.
pub fn image_score(scores: &[f32], grid: (usize, usize), side: usize, score: &params::Score) -> f64 {
    let enlarge = if score.align_corners { upsample_corners } else { upsample };
    let map = enlarge(scores, grid, (side, side));
    let count = map.len() as f64;
    let mean = || map.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    match score.image {
        ImageScore::MaxPool => pooled_maximum(&map, (side, side), score.pool),
        ImageScore::Mean => mean(),
        ImageScore::Std => {
            let mean = mean();
            (map.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count).sqrt()
        }
    }
}

/// From tokens to scores: distances to their reconstructions, and an image's score from the map of them.
#[derive(Serialize)]
pub struct Score {
    pub settings: Settings<Params>,
    /// Tokens of all images of the class.
    pub features: Handle<Features>,
    #[serde(skip)]
    pub shape: Shape,
}

impl Forward for Score {
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn work(&self) -> (f64, usize) {
        let network = Network::new(&self.settings, self.shape.grid, self.shape.dim);
        let weights = rayon::current_num_threads() * SCORE_CHUNK_IMAGES * 3 * network.attention_weights();
        (network.operations(), 4 * weights)
    }

    fn open<'a>(&'a self, job: &'a Job, device: &'a Device) -> Result<Pass<'a>> {
        let Shape { grid, dim, side, .. } = self.shape;
        let (features, network) = (job.open(&self.features)?, Network::new(&self.settings, grid, dim));
        let (parameters, positions) = (network.initial(0, device), network.positions());
        let score = move |parameters: &Parameters, images: &[usize]| {
            let tokens = images.iter().map(|image| features.slice(image * positions..(image + 1) * positions));
            token_scores(&network, parameters, upload_images(tokens, dim, device))
        };
        let of_image = move |scores: &[f32]| image_score(scores, grid, side, &self.settings.score) as f32;
        Ok(Pass { parameters, patch_scores: Box::new(score), image_score: Some(Box::new(of_image)) })
    }
}
