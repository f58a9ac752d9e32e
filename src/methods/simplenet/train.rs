//! SimpleNet's training and scoring stages (paper §3.3–3.5; docs/methods/simplenet.md, Computation).

use burn::tensor::{Device, Tensor, activation};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::network::Network;
use super::params::{Noise, Params};
use crate::device::{Chosen, column_means, draws, is_cpu};
use crate::error::Result;
use crate::matrix::Rows;
use crate::methods::Parameters as _;
use crate::plan::{Compute, Computed, Features, Handle, Job, Model, Shape, Work};
use crate::random::{Purpose, Stream, stream};
use crate::spec::Settings;
use crate::train::{
    BETAS, BatchNormMode, EpochLosses, Forward, Group, Learner, Optimizer, OptimizerKind, Parameters, Pass, Resident,
    Terms, class_images, download, fit, patches_per_step, upload, upload_images,
};

/// Ratio between two neighbouring strengths of mixed noise.
const MIX_RATIO: f64 = 1.1;

/// Trains on the features of all classes; the artifact holds the parameters of the last epoch, or of each.
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

    /// Every patch of a step passes forward and backward, once as it is and once with noise.
    fn work(&self) -> Work {
        let Params { train, discriminator, adaptor, .. } = &*self.settings;
        let per_image = patches_per_step(train.patches_per_image, self.shape.patches());
        let rows = (2 * self.shape.images * per_image * train.epochs) as f64;
        let learned = Network::new(&self.settings, self.shape.dim).size();
        let width = (2 + adaptor.layers) * self.shape.dim + 6 * discriminator.blocks * discriminator.hidden;
        let activations = 4 * 2 * train.batch * per_image * width;
        Work::matrix(train.keep().count(train.epochs), learned, 6.0 * rows * learned as f64)
            .with_memory(activations + 16 * learned)
            .on_device(activations + 16 * learned, 4 * self.shape.rows() * self.shape.dim)
    }

    /// # Errors
    /// Losses that are not finite.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let train = &self.settings.train;
        let classes: Vec<Rows> = self.train.iter().map(|class| job.open(class)).collect::<Result<_>>()?;
        let images = class_images(classes.iter().map(Rows::len), self.shape.patches());
        let device = self.device.get()?.autodiff();
        let network = Network::new(&self.settings, self.shape.dim);
        let trainer = Trainer::new(&self.settings, network, network.initial(self.seed, &device));
        let resident = Resident::where_there_is_room(&self.device, &classes, self.shape.patches(), &device);
        let mut training = Training { stage: self, trainer, classes, images, resident, device };
        fit(job, &mut training, train.epochs, train.keep(), json!({}))
    }
}

/// One model in training.
pub struct Trainer {
    network: Network,
    /// As they stand.
    pub parameters: Parameters,
    adaptor: Optimizer,
    discriminator: Optimizer,
    zero_gradient: Vec<String>,
    margin: f64,
}

impl Trainer {
    /// A trainer that starts from given parameters (on an autodiff device).
    pub fn new(params: &Params, network: Network, parameters: Parameters) -> Self {
        let train = &params.train;
        let optimizer = |prefix: &str, kind, learning_rate, weight_decay| {
            Optimizer::new(Group { prefixes: vec![prefix.into()], kind, learning_rate, weight_decay, betas: BETAS })
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

    /// One step on the patches of some images (rows × C) and the noise for them; returns the losses before it.
    pub fn step(&mut self, patches: Tensor<2>, noise: Tensor<2>) -> Terms {
        let (loss, losses) = self.loss(patches, noise);
        let gradients = loss.backward();
        for optimizer in [&mut self.adaptor, &mut self.discriminator] {
            optimizer.step(&mut self.parameters, &gradients, &self.zero_gradient);
        }
        losses
    }

    /// The loss (1 × 1) and its terms: "real", mean relu(m − D) over real rows, and "fake", mean relu(m + D) over fake ones. Real and fake rows pass the discriminator together, so that batch statistics see
    /// both, and gradients reach the adaptor through both. Running statistics move; nothing else does.
    pub fn loss(&mut self, patches: Tensor<2>, noise: Tensor<2>) -> (Tensor<2>, Terms) {
        let rows = patches.dims()[0];
        let real = self.network.adapt(&self.parameters, patches);
        let both = Tensor::cat(vec![real.clone(), real + noise], 0);
        let scores = self.network.judge(&mut self.parameters, both, BatchNormMode::Train);
        let hinge = |range: std::ops::Range<usize>, sign: f64| {
            column_means(activation::relu(scores.clone().slice([range]) * sign + self.margin))
        };
        let (real, fake) = (hinge(0..rows, -1.0), hinge(rows..2 * rows, 1.0));
        let loss = real.clone() + fake.clone();
        (loss.clone(), Terms::new(vec![("loss", loss), ("real", real), ("fake", fake)]))
    }
}

/// A model together with the training images it learns from.
struct Training<'a> {
    stage: &'a Train,
    trainer: Trainer,
    /// Patches of each class.
    classes: Vec<Rows<'a>>,
    /// Class of each training image, and its number there.
    images: Vec<(usize, usize)>,
    /// The patches of these images, where a GPU has room for them.
    resident: Option<Resident>,
    device: Device,
}

impl Training<'_> {
    /// Patches and noise of some images. `first` numbers these images through all epochs: each image of each epoch has
    /// draws of its own, so that they can be made in parallel and an epoch can be the first after a resume.
    fn batch(&self, images: &[usize], first: u64) -> (Tensor<2>, Tensor<2>) {
        let Train { settings: params, seed, shape, .. } = self.stage;
        let patches = shape.patches();
        let numbers: Vec<u64> = (first..).take(images.len()).collect();
        let choose = |&number: &u64| {
            let mut draws = stream(*seed, Purpose::PatchChoice, number);
            let wanted = patches_per_step(params.train.patches_per_image, patches);
            if wanted < patches { draws.choose(patches, wanted) } else { (0..patches).collect() }
        };
        let chosen: Vec<Vec<usize>> = numbers.par_iter().map(choose).collect();
        let noise = if is_cpu(&self.device) { Training::host_noise } else { Training::device_noise };
        (self.patches(images, &chosen), noise(self, &numbers, chosen[0].len()))
    }

    /// The chosen patches of each image.
    fn patches(&self, images: &[usize], chosen: &[Vec<usize>]) -> Tensor<2> {
        let (patches, dim) = (self.stage.shape.patches(), self.stage.shape.dim);
        if let Some(resident) = &self.resident {
            return resident.gather(&resident.some(images.to_vec(), chosen));
        }
        let mut rows = vec![0.0; images.len() * chosen[0].len() * dim];
        rows.par_chunks_mut(chosen[0].len() * dim).zip(images).zip(chosen).for_each(|((rows, &image), chosen)| {
            let (class, image) = self.images[image];
            for (row, patch) in rows.chunks_mut(dim).zip(chosen) {
                row.copy_from_slice(self.classes[class].row(image * patches + patch));
            }
        });
        upload(rows, [images.len() * chosen[0].len(), dim], &self.device)
    }

    /// Noise for so many patches of each of the images with these numbers.
    fn host_noise(&self, numbers: &[u64], patches: usize) -> Tensor<2> {
        let Train { settings: params, seed, shape, .. } = self.stage;
        let mut noise = vec![0.0; numbers.len() * patches * shape.dim];
        noise.par_chunks_mut(patches * shape.dim).zip(numbers).for_each(|(noise, &number)| {
            fill_noise(noise, shape.dim, &params.noise, &mut stream(*seed, Purpose::FeatureNoise, number));
        });
        upload(noise, [numbers.len() * patches, shape.dim], &self.device)
    }

    /// The same, drawn on a GPU.
    fn device_noise(&self, numbers: &[u64], patches: usize) -> Tensor<2> {
        let Train { settings: params, seed, shape, .. } = self.stage;
        let of_image = |&number: &u64| {
            let mut draws = stream(*seed, Purpose::FeatureNoise, number);
            let noise = draws::normals(&mut draws, [patches, shape.dim], params.noise.std, &self.device);
            if params.noise.mix <= 1 {
                return noise;
            }
            let strengths: Vec<f32> = (0..patches).map(|_| strength(&params.noise, &mut draws)).collect();
            noise * upload(strengths, [patches, 1], &self.device)
        };
        Tensor::cat(numbers.iter().map(of_image).collect(), 0)
    }
}

/// How strong the noise of a row is, with `mix` > 1.
fn strength(params: &Noise, draws: &mut Stream) -> f32 {
    MIX_RATIO.powi(draws.below(params.mix) as i32) as f32
}

/// Normal noise; with `mix` > 1 each row has a strength of its own.
fn fill_noise(noise: &mut [f32], dim: usize, params: &Noise, draws: &mut Stream) {
    draws.fill_normal(noise, params.std);
    if params.mix > 1 {
        for row in noise.chunks_mut(dim) {
            let strength = strength(params, draws);
            row.iter_mut().for_each(|value| *value *= strength);
        }
    }
}

impl Learner for Training<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let Train { settings: params, seed, .. } = self.stage;
        self.trainer.discriminator.set_learning_rate(params.train.discriminator_rate(epoch));
        let order = stream(*seed, Purpose::NormalOrder, epoch as u64).permutation(self.images.len());
        let mut first = (epoch * order.len()) as u64;
        let mut losses = EpochLosses::default();
        let train = &params.train;
        for images in order.chunks(train.batch).filter(|images| !train.drop_last || images.len() == train.batch) {
            let (patches, noise) = self.batch(images, first);
            losses.add(self.trainer.step(patches, noise));
            first += images.len() as u64;
        }
        Ok(losses.means())
    }

    fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        let Trainer { parameters, adaptor, discriminator, .. } = &mut self.trainer;
        (parameters, vec![adaptor, discriminator])
    }
}

/// From patches to scores, −D; with `score.image = "map"` an image's score is the maximum of its smoothed map.
#[derive(Serialize)]
pub struct Score {
    pub settings: Settings<Params>,
    /// Patches of all images of the class.
    pub features: Handle<Features>,
    #[serde(skip)]
    pub shape: Shape,
}

impl Forward for Score {
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn work(&self) -> (f64, usize) {
        (2.0 * self.shape.patches() as f64 * Network::new(&self.settings, self.shape.dim).size() as f64, 0)
    }

    fn open<'a>(&'a self, job: &'a Job, device: &'a Device) -> Result<Pass<'a>> {
        let (dim, patches) = (self.shape.dim, self.shape.patches());
        let (features, network) = (job.open(&self.features)?, Network::new(&self.settings, dim));
        let score = move |parameters: &Parameters, images: &[usize]| {
            let rows = images.iter().map(|image| features.slice(image * patches..(image + 1) * patches));
            download(network.score(&mut parameters.clone(), upload_images(rows, dim, device)))
        };
        let image_score = self.settings.score.image.rule(self.shape, self.settings.score.sigma);
        Ok(Pass { parameters: network.initial(0, device), patch_scores: Box::new(score), image_score })
    }
}
