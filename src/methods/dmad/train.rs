//! DMAD's training stage (paper §3.3–3.4, Eq. 9–12; docs/methods/dmad.md, Computation).

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use serde::Serialize;
use serde_json::json;

use super::descent::PART_ROWS;
use super::memory::{Banks, OpenBanks, OpenQueries, Queries, ResidentMemory, upload_patches};
use super::network::{Network, PatchRows};
use super::params::{AttentionMode, NoiseWhere, Params};
use super::seen::{SeenRows, standard_deviation};
use super::trainer::Trainer;
use crate::device::{Chosen, draws};
use crate::error::{Error, Result};
use crate::methods::Parameters as _;
use crate::plan::{Compute, Computed, Handle, Job, Model, Shape, Work};
use crate::random::{Purpose, Stream, stream};
use crate::spec::Settings;
use crate::train::{EpochLosses, Learner, Optimizer, Parameters, class_images, fit, patches_per_step};

/// Trains; the artifact holds the parameters after the last epoch (`select = "last"`) or after each.
#[derive(Serialize)]
pub struct Train {
    pub settings: Settings<Params>,
    pub seed: u64,
    pub memory: Banks,
    /// Normal patches of each class.
    pub normals: Vec<Queries>,
    /// Patches of the seen anomalies.
    pub seen: Option<Queries>,
    /// The same with the image each is from.
    pub seen_images: Option<Handle<SeenRows>>,
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
        let train = &self.settings.train;
        let per_image = patches_per_step(train.patches_per_image, self.shape.patches());
        let anomalies = if self.seen.is_some() { train.anomaly_batch as f64 / train.batch as f64 } else { 0.0 };
        let rows = (self.shape.images * per_image * train.epochs) as f64 * (2.0 + anomalies);
        let learned = Network::new(&self.settings, self.shape.dim, !self.memory.abnormal.is_empty()).size();
        let kept = train.keep().count(train.epochs);
        let parts = self.memory.abnormal.iter().map(|bank| bank.stage.work).chain([self.memory.normal.work]);
        let banks: usize = parts.map(|bank| 4 * bank.rows * bank.cols).sum();
        let [sparing, keeping] = [false, true].map(|keeps| self.step_bytes(keeps) as usize + 16 * learned);
        let here = match (self.device.is_gpu(), self.device.host_spares(keeping as u64)) {
            (true, _) => self.host_step_bytes(),
            (false, true) => keeping,
            (false, false) => sparing,
        };
        Work::matrix(kept, learned, 6.0 * rows * learned as f64)
            .with_memory(here)
            .on_device(sparing, keeping - sparing + 4 * self.shape.rows() * self.shape.dim + banks)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let train = &self.settings.train;
        let mut training = Training::new(self, job)?;
        let steps = training.images.len().div_ceil(train.batch) * train.epochs;
        let note = json!({ "steps": steps, "noise_std": training.noise_std });
        fit(job, &mut training, train.epochs, train.keep(), note)
    }
}

impl Train {
    /// Bytes of the rows of a step, where the host gathers them for a GPU.
    fn host_step_bytes(&self) -> usize {
        let train = &self.settings.train;
        let images = train.batch + if self.seen.is_some() { train.anomaly_batch } else { 0 };
        4 * 3 * images * patches_per_step(train.patches_per_image, self.shape.patches()) * self.shape.dim
    }

    /// Bytes that a step needs at most beside parameters, moments, and what stays through the training; with `keeps` it holds what its way
    /// back needs, instead of making some of it again (`descent`).
    fn step_bytes(&self, keeps: bool) -> u64 {
        let Params { train, mlp, .. } = &*self.settings;
        let per_image = patches_per_step(train.patches_per_image, self.shape.patches());
        let anomalies = if self.seen.is_some() { train.anomaly_batch * per_image } else { 0 };
        let normals = train.batch * per_image;
        let on_patches = self.settings.noise.place == NoiseWhere::Q;
        let rows = normals + anomalies + if on_patches { normals } else { 0 };
        let scored = 2 * normals + anomalies;
        let (dim, described) = (self.shape.dim, 3 * self.shape.dim);
        // Patches and their neighbours, and what is known of each bank before and after its normalisation.
        let noise = normals * if self.settings.noise.shared_blocks || on_patches { dim } else { described };
        // Attention over images: value, a key for each bank, and what each image's softmax is of.
        let attended = match self.settings.attention.mode {
            AttentionMode::Image => rows * (3 * dim + 4 * per_image),
            AttentionMode::Literal => rows * 6 * dim,
            _ => 0,
        };
        let given = (3 + 4) * rows * dim + noise + attended;
        let between = scored * mlp.hidden;
        // Where the scores are, every block has its products; where the descriptions are, one is left.
        let in_blocks = (mlp.blocks + 4) * between;
        let in_parts = between + 3 * 2 * PART_ROWS.min(normals) * described + 2 * rows * dim;
        let kept = if keeps { scored * described + mlp.blocks * between } else { 0 };
        4 * (given + in_blocks.max(in_parts) + kept) as u64
    }
}

/// One model in training, with all it learns from.
struct Training<'a> {
    stage: &'a Train,
    device: Device,
    trainer: Trainer,
    banks: OpenBanks<'a>,
    normals: Vec<OpenQueries<'a>>,
    /// Normal images: class, number.
    images: Vec<(usize, usize)>,
    seen: Option<OpenQueries<'a>>,
    seen_images: Vec<Range<usize>>,
    /// Everything that steps are made of, where a GPU has room for it.
    resident: Option<ResidentMemory>,
    /// Order in which seen anomalies take their turns, over and over.
    anomalies: Vec<usize>,
    noise_std: f64,
}

impl<'a> Training<'a> {
    fn new(stage: &'a Train, job: &'a Job) -> Result<Self> {
        let (params, device) = (&*stage.settings, stage.device.get()?.autodiff());
        let banks = stage.memory.open(job)?;
        let normals: Vec<OpenQueries> = stage.normals.iter().map(|q| q.open(job)).collect::<Result<_>>()?;
        let seen_images = match &stage.seen_images {
            Some(seen) => image_ranges(job.open(seen)?.1),
            None => Vec::new(),
        };
        if stage.seen.is_some() && seen_images.is_empty() {
            let help = "set `method.filter.on_empty` to nearest";
            return Err(Error::method("no seen anomaly has an abnormal patch", help));
        }
        let unit = if params.noise.relative { standard_deviation(banks.normal) } else { 1.0 };
        let network = Network::new(params, stage.shape.dim, !banks.abnormal.is_empty());
        let parameters = network.initial(stage.seed, &device);
        let mut anomalies: Vec<usize> = (0..seen_images.len()).collect();
        stream(stage.seed, Purpose::AnomalyOrder, 0).shuffle(&mut anomalies);
        let seen = stage.seen.as_ref().map(|q| q.open(job)).transpose()?;
        let patches = normals.iter().chain(&seen).map(|queries| 4 * queries.rows.data().len() as u64).sum::<u64>();
        let staying = patches + banks.bytes();
        let keeps = stage.device.keeps(staying);
        let resident = match keeps {
            true => {
                let seen = seen.as_ref().map(|seen| (seen, seen_images.as_slice()));
                ResidentMemory::new(&banks, &normals, stage.shape.patches(), seen, &device)
            }
            false => None,
        };
        let trainer = Trainer::new(params, network, parameters);
        let room = stage.step_bytes(true) + 16 * trainer.network.size() as u64;
        let spares = stage.device.spares(room + if keeps { staying } else { 0 });
        Ok(Training {
            trainer: if spares { trainer } else { trainer.sparing() },
            images: class_images(normals.iter().map(|queries| queries.rows.len()), stage.shape.patches()),
            noise_std: params.noise.std * unit,
            seen,
            resident,
            stage,
            device,
            banks,
            normals,
            seen_images,
            anomalies,
        })
    }

    /// Seen anomalies that join a batch; a last, smaller batch gets its share.
    fn anomalies_with(&self, normals: usize) -> usize {
        let train = &self.stage.settings.train;
        if self.anomalies.is_empty() { 0 } else { (train.anomaly_batch * normals).div_ceil(train.batch) }
    }

    /// Patches of a batch of normal images.
    fn normal_rows(&self, batch: &[usize], draws: &mut Stream) -> PatchRows {
        let patches = self.stage.shape.patches();
        let chosen: Vec<Vec<usize>> = batch.iter().map(|_| self.choose(draws, patches)).collect();
        if let Some(resident) = &self.resident {
            return resident.gather(&resident.normals, batch.to_vec(), &chosen);
        }
        let of_image = |(&number, chosen): (&usize, Vec<usize>)| {
            let (class, image) = self.images[number];
            (&self.normals[class], shifted(chosen, image * patches))
        };
        let images: Vec<_> = batch.iter().zip(chosen).map(of_image).collect();
        upload_patches(&self.banks, &images, &self.device)
    }

    /// Patches of the seen anomalies whose turns these are.
    fn anomalous_rows(&self, turns: Range<usize>, draws: &mut Stream) -> Option<PatchRows> {
        let images: Vec<usize> = turns.map(|turn| self.anomalies[turn % self.anomalies.len()]).collect();
        let chosen: Vec<Vec<usize>> =
            images.iter().map(|&image| self.choose(draws, self.seen_images[image].len())).collect();
        if chosen.iter().all(Vec::is_empty) {
            return None;
        }
        if let Some(resident) = &self.resident {
            return Some(resident.gather(resident.seen.as_ref()?, images, &chosen));
        }
        let seen = self.seen.as_ref()?;
        let of_image = |(image, chosen): (usize, Vec<usize>)| (seen, shifted(chosen, self.seen_images[image].start));
        let images: Vec<_> = images.into_iter().zip(chosen).map(of_image).collect();
        Some(upload_patches(&self.banks, &images, &self.device))
    }

    /// Which of `patches` of an image enter a step.
    fn choose(&self, draws: &mut Stream, patches: usize) -> Vec<usize> {
        let wanted = self.stage.settings.train.patches_per_image;
        if wanted == 0 || wanted >= patches { (0..patches).collect() } else { draws.choose(patches, wanted) }
    }

    /// Gaussian noise for `rows` patches.
    fn noise(&self, rows: usize, step: u64) -> Tensor<2> {
        let mut stream = stream(self.stage.seed, Purpose::FeatureNoise, step);
        draws::normals(&mut stream, [rows, self.trainer.network.noise_width()], self.noise_std, &self.device)
    }
}

impl Learner for Training<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let stage = self.stage;
        let order = stream(stage.seed, Purpose::NormalOrder, epoch as u64).permutation(self.images.len());
        let batches: Vec<&[usize]> = order.chunks(stage.settings.train.batch).collect();
        let mut turn = epoch * batches.iter().map(|batch| self.anomalies_with(batch.len())).sum::<usize>();
        let mut losses = EpochLosses::default();
        for (number, batch) in batches.iter().enumerate() {
            let step = (epoch * batches.len() + number) as u64;
            let mut draws = stream(stage.seed, Purpose::PatchChoice, step);
            let normal = self.normal_rows(batch, &mut draws);
            let turns = turn..turn + self.anomalies_with(batch.len());
            turn = turns.end;
            let anomalous = self.anomalous_rows(turns, &mut draws);
            let noise = self.noise(normal.patch.dims()[0], step);
            losses.add(self.trainer.step(&normal, noise, anomalous.as_ref()));
        }
        Ok(losses.means())
    }

    fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        (&mut self.trainer.parameters, self.trainer.optimizers.iter_mut().collect())
    }
}

/// Numbers of rows counted from `start` on.
fn shifted(rows: Vec<usize>, start: usize) -> Vec<usize> {
    rows.into_iter().map(|row| start + row).collect()
}

/// Row ranges of runs of equal image numbers.
fn image_ranges(images: &[u32]) -> Vec<Range<usize>> {
    let mut end = 0;
    let range = |run: &[u32]| {
        end += run.len();
        end - run.len()..end
    };
    images.chunk_by(|a, b| a == b).map(range).collect()
}
