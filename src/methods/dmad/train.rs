//! DMAD's training and scoring stages (paper §3.3–3.4, Eq. 9–12; docs/methods/dmad.md, Computation).

use std::sync::Arc;

use burn::tensor::{Device, Tensor, activation};
use rayon::prelude::*;
use serde_json::json;

use super::network::{Network, PatchRows};
use super::params::{AttentionMode, Params};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, Rows};
use crate::methods::Select;
use crate::plan::{Computed, Job};
use crate::random::{Purpose, Stream, stream};
use crate::store::{Artifact, TensorDecl};
use crate::train::{
    BatchNormMode, EpochLosses, Group, Keep, Learner, Optimizer, Parameters, download, epoch_prefix, fit, kept_epochs,
    upload,
};

/// Images per forward pass when scoring: part of the stage, independent of threads and memory.
const SCORE_CHUNK_IMAGES: usize = 4;

/// What training and scoring need to know besides their artifacts.
#[derive(Clone)]
pub struct Setup {
    /// Resolved parameters.
    pub params: Params,
    /// The run's seed.
    pub seed: u64,
    /// Patches per image.
    pub patches: usize,
    /// Values per patch.
    pub dim: usize,
    /// Where tensors live.
    pub device: Device,
}

/// A set of queries with their neighbours: which artifacts hold them.
#[derive(Clone, Debug)]
pub struct QueryLayout {
    /// Input with the patches, and its tensor.
    pub features: (usize, &'static str),
    /// Input with the neighbours in the normal bank.
    pub normal: usize,
    /// Inputs with the neighbours in each part of the abnormal bank.
    pub abnormal: Vec<usize>,
}

/// Where the inputs of a stage hold what: positions in its list of inputs.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The normal bank.
    pub normal_bank: usize,
    /// Parts of the abnormal bank, in their order.
    pub abnormal_banks: Vec<usize>,
    /// Queries: one per class for normals and test images, one for all seen anomalies.
    pub queries: Vec<QueryLayout>,
    /// Seen anomalies' queries, when there are any.
    pub seen: Option<QueryLayout>,
}

/// Queries with everything mapped.
struct Queries<'a> {
    features: Rows<'a>,
    normal: &'a [u32],
    abnormal: Vec<(&'a [u32], &'a [f32])>,
}

/// Banks with everything mapped.
struct Banks<'a> {
    normal: Rows<'a>,
    abnormal: Vec<Rows<'a>>,
}

impl<'a> Queries<'a> {
    fn open(inputs: &'a [Arc<Artifact>], layout: &QueryLayout) -> Result<Self> {
        let pair = |&input: &usize| Ok((inputs[input].u32("index")?, inputs[input].f32("distance")?));
        Ok(Queries {
            features: inputs[layout.features.0].rows(layout.features.1)?,
            normal: inputs[layout.normal].u32("index")?,
            abnormal: layout.abnormal.iter().map(pair).collect::<Result<_>>()?,
        })
    }
}

impl<'a> Banks<'a> {
    fn open(inputs: &'a [Arc<Artifact>], layout: &Layout) -> Result<Self> {
        Ok(Banks {
            normal: inputs[layout.normal_bank].rows("rows")?,
            abnormal: layout.abnormal_banks.iter().map(|&input| inputs[input].rows("rows")).collect::<Result<_>>()?,
        })
    }

    /// The nearest row over all parts of the abnormal bank; the earlier part wins ties. None when every part excludes
    /// the query.
    fn abnormal_row(&self, queries: &Queries, query: usize) -> Option<&'a [f32]> {
        let found = queries.abnormal.iter().zip(&self.abnormal).filter(|((index, _), _)| index[query] != u32::MAX);
        let best = found.min_by(|((_, a), _), ((_, b), _)| a[query].total_cmp(&b[query]))?;
        Some(best.1.row(best.0.0[query] as usize))
    }
}

/// Rows on the host, before they go to a device.
struct HostRows {
    patch: Vec<f32>,
    normal: Vec<f32>,
    abnormal: Vec<f32>,
    rows_per_image: Vec<usize>,
    dim: usize,
}

impl HostRows {
    fn new(dim: usize) -> Self {
        HostRows { patch: Vec::new(), normal: Vec::new(), abnormal: Vec::new(), rows_per_image: Vec::new(), dim }
    }

    /// Appends the patches of one image. A patch without abnormal neighbour (all excluded) is its own, d_a = 0.
    fn push_image(&mut self, queries: &Queries, banks: &Banks, rows: impl IntoIterator<Item = usize>) {
        let before = self.patch.len();
        for row in rows {
            let patch = queries.features.row(row);
            self.patch.extend_from_slice(patch);
            self.normal.extend_from_slice(match queries.normal[row] {
                u32::MAX => patch,
                index => banks.normal.row(index as usize),
            });
            if !banks.abnormal.is_empty() {
                self.abnormal.extend_from_slice(banks.abnormal_row(queries, row).unwrap_or(patch));
            }
        }
        self.rows_per_image.push((self.patch.len() - before) / self.dim);
    }

    fn upload(self, device: &Device) -> PatchRows {
        let rows = self.patch.len() / self.dim;
        let abnormal = (!self.abnormal.is_empty()).then(|| upload(self.abnormal, [rows, self.dim], device));
        PatchRows {
            patch: upload(self.patch, [rows, self.dim], device),
            normal: Some(upload(self.normal, [rows, self.dim], device)),
            abnormal,
            rows_per_image: self.rows_per_image,
        }
    }
}

/// Trains; the artifact holds the parameters after the last epoch (`select = "last"`) or after each.
pub fn train(job: &Job, setup: &Setup, layout: &Layout) -> Result<Computed> {
    let banks = Banks::open(&job.inputs, layout)?;
    let normals: Vec<Queries> = layout.queries.iter().map(|q| Queries::open(&job.inputs, q)).collect::<Result<_>>()?;
    let seen = layout.seen.as_ref().map(|q| Queries::open(&job.inputs, q)).transpose()?;
    let seen_images = match &layout.seen {
        Some(query) => image_ranges(job.inputs[query.features.0].u32("image")?),
        None => Vec::new(),
    };
    if layout.seen.is_some() && seen_images.is_empty() {
        return Err(Error::method("no seen anomaly has an abnormal patch", "set `method.filter.on_empty` to nearest"));
    }
    let train = &setup.params.train;
    let mut study = Study::new(setup, banks, normals, seen, seen_images);
    let keep = if train.select == Select::BestTest { Keep::Every } else { Keep::Last };
    let steps = study.images.len().div_ceil(train.batch) * train.epochs;
    let note = json!({ "steps": steps, "noise_std": study.noise_std });
    fit(job, &mut study, train.epochs, keep, note)
}

/// One model in training, with all it learns from.
struct Study<'a> {
    setup: &'a Setup,
    device: Device,
    trainer: Trainer,
    banks: Banks<'a>,
    normals: Vec<Queries<'a>>,
    /// Normal images: class, number.
    images: Vec<(usize, usize)>,
    seen: Option<Queries<'a>>,
    seen_images: Vec<std::ops::Range<usize>>,
    /// Order in which seen anomalies take their turns, over and over.
    anomalies: Vec<usize>,
    noise_std: f64,
}

impl<'a> Study<'a> {
    fn new(
        setup: &'a Setup,
        banks: Banks<'a>,
        normals: Vec<Queries<'a>>,
        seen: Option<Queries<'a>>,
        seen_images: Vec<std::ops::Range<usize>>,
    ) -> Self {
        let device = setup.device.clone().autodiff();
        let noise = &setup.params.noise;
        let unit = if noise.relative { super::banks::standard_deviation(banks.normal) } else { 1.0 };
        let of_class = |(class, queries): (usize, &Queries)| {
            (0..queries.features.len() / setup.patches).map(move |image| (class, image)).collect::<Vec<_>>()
        };
        let mut anomalies: Vec<usize> = (0..seen_images.len()).collect();
        stream(setup.seed, Purpose::AnomalyOrder, 0).shuffle(&mut anomalies);
        Study {
            trainer: Trainer::new(setup, !banks.abnormal.is_empty(), &device),
            images: normals.iter().enumerate().flat_map(of_class).collect(),
            noise_std: noise.std * unit,
            setup,
            device,
            banks,
            normals,
            seen,
            seen_images,
            anomalies,
        }
    }

    /// Seen anomalies that join a batch; a last, smaller batch gets its share.
    fn anomalies_with(&self, normals: usize) -> usize {
        let train = &self.setup.params.train;
        if self.anomalies.is_empty() { 0 } else { (train.anomaly_batch * normals).div_ceil(train.batch) }
    }

    /// Patches of a batch of normal images.
    fn normal_rows(&self, batch: &[usize], draws: &mut Stream) -> HostRows {
        let (patches, wanted) = (self.setup.patches, self.setup.params.train.patches_per_image);
        let mut rows = HostRows::new(self.setup.dim);
        for &number in batch {
            let (class, image) = self.images[number];
            let chosen = choose(draws, patches, wanted).into_iter().map(|patch| image * patches + patch);
            rows.push_image(&self.normals[class], &self.banks, chosen);
        }
        rows
    }

    /// Patches of the seen anomalies whose turns these are.
    fn anomalous_rows(&self, turns: std::ops::Range<usize>, draws: &mut Stream) -> Option<PatchRows> {
        let mut rows = HostRows::new(self.setup.dim);
        for turn in turns {
            let range = &self.seen_images[self.anomalies[turn % self.anomalies.len()]];
            let chosen = choose(draws, range.len(), self.setup.params.train.patches_per_image);
            rows.push_image(self.seen.as_ref()?, &self.banks, chosen.into_iter().map(|patch| range.start + patch));
        }
        (!rows.patch.is_empty()).then(|| rows.upload(&self.device))
    }

    /// Gaussian noise for `rows` patches.
    fn noise(&self, rows: usize, step: u64) -> Tensor<2> {
        let width = self.trainer.network.noise_width(self.setup.dim);
        let mut noise = Matrix::zeros(rows, width);
        stream(self.setup.seed, Purpose::FeatureNoise, step).fill_normal(noise.data_mut(), self.noise_std);
        upload(noise.into_data(), [rows, width], &self.device)
    }
}

impl Learner for Study<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>> {
        let setup = self.setup;
        let order = stream(setup.seed, Purpose::NormalOrder, epoch as u64).permutation(self.images.len());
        let batches: Vec<&[usize]> = order.chunks(setup.params.train.batch).collect();
        let mut turn = epoch * batches.iter().map(|batch| self.anomalies_with(batch.len())).sum::<usize>();
        let mut losses = EpochLosses::default();
        for (number, batch) in batches.iter().enumerate() {
            let step = (epoch * batches.len() + number) as u64;
            let mut draws = stream(setup.seed, Purpose::PatchChoice, step);
            let normal = self.normal_rows(batch, &mut draws);
            let turns = turn..turn + self.anomalies_with(batch.len());
            turn = turns.end;
            let anomalous = self.anomalous_rows(turns, &mut draws);
            let noise = self.noise(normal.patch.len() / setup.dim, step);
            losses.add(&self.trainer.step(&normal.upload(&self.device), noise, anomalous.as_ref()).terms());
        }
        Ok(losses.means())
    }

    fn parameters(&mut self) -> &mut Parameters {
        &mut self.trainer.parameters
    }

    fn optimizers(&mut self) -> Vec<&mut Optimizer> {
        self.trainer.optimizers.iter_mut().collect()
    }
}

/// Which patches of an image enter a step; 0 = all.
fn choose(draws: &mut Stream, patches: usize, wanted: usize) -> Vec<usize> {
    if wanted == 0 || wanted >= patches { (0..patches).collect() } else { draws.choose(patches, wanted) }
}

/// Row ranges of runs of equal image numbers.
fn image_ranges(images: &[u32]) -> Vec<std::ops::Range<usize>> {
    let mut start = 0;
    images
        .chunk_by(|a, b| a == b)
        .map(|run| {
            start += run.len();
            start - run.len()..start
        })
        .collect()
}

/// One model in training.
pub struct Trainer {
    network: Network,
    parameters: Parameters,
    optimizers: Vec<Optimizer>,
    zero_gradient: Vec<String>,
    params: Params,
}

/// The three hinge terms of a step, before their weights, and their weighted sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepLosses {
    /// mean relu(m − Ψ) over normals.
    pub normal: f64,
    /// mean relu(m + Ψ) over pseudo-anomalies.
    pub noise: f64,
    /// mean relu(m + Ψ) over seen anomalies.
    pub anomaly: f64,
    /// normal + λ1·noise + λ2·anomaly.
    pub total: f64,
}

impl StepLosses {
    fn terms(&self) -> [(&'static str, f64); 4] {
        [("loss", self.total), ("normal", self.normal), ("noise", self.noise), ("anomaly", self.anomaly)]
    }
}

impl Trainer {
    fn new(setup: &Setup, has_abnormal: bool, device: &Device) -> Self {
        let network = Network::new(&setup.params, true, has_abnormal);
        let parameters = network.initial(setup.dim, setup.seed, device);
        Trainer::with(&setup.params, network, parameters)
    }

    /// A trainer that starts from given parameters (on an autodiff device).
    pub fn with(params: &Params, network: Network, parameters: Parameters) -> Self {
        let train = &params.train;
        // The knowledge's batch normalisation belongs to the attention's group where there is attention
        // (docs/methods/dmad.md, Training).
        let mut front: Vec<String> = vec!["proj".into()];
        if params.attention.train {
            front.push("attn.".into());
        }
        if params.attention.train || params.attention.mode == AttentionMode::Off {
            front.push("bn_k".into());
        }
        let group = |prefixes, kind, learning_rate, weight_decay| Group { prefixes, kind, learning_rate, weight_decay };
        let adamw = crate::train::OptimizerKind::Adamw;
        let optimizers = vec![
            Optimizer::new(vec![group(front, adamw, train.lr_projection, train.weight_decay_projection)]),
            Optimizer::new(vec![group(
                vec!["mlp.".into()],
                params.mlp.optimizer,
                train.lr_mlp,
                train.weight_decay_mlp,
            )]),
        ];
        let zero_gradient = network.zero_gradient();
        Trainer { network, parameters, optimizers, zero_gradient, params: params.clone() }
    }

    /// The parameters as they stand.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// One step; returns the losses before it.
    pub fn step(&mut self, normal: &PatchRows, noise: Tensor<2>, anomalous: Option<&PatchRows>) -> StepLosses {
        let (loss, losses) = self.loss(normal, noise, anomalous);
        let gradients = loss.backward();
        for optimizer in &mut self.optimizers {
            optimizer.step(&mut self.parameters, &gradients, &self.zero_gradient);
        }
        losses
    }

    /// The loss (1 × 1) on all three groups of rows together, so that batch statistics see them all (Eq. 12), and its
    /// terms. Running statistics move; nothing else does.
    pub fn loss(
        &mut self,
        normal: &PatchRows,
        noise: Tensor<2>,
        anomalous: Option<&PatchRows>,
    ) -> (Tensor<2>, StepLosses) {
        let (network, mode) = (&self.network, BatchNormMode::Train);
        let described = network.describe(&mut self.parameters, normal, mode);
        let disturbed = network.disturb(&mut self.parameters, normal, described.clone(), noise);
        let rows = described.dims()[0];
        let mut groups = vec![described, disturbed];
        if let Some(anomalous) = anomalous {
            groups.push(network.describe(&mut self.parameters, anomalous, mode));
        }
        let total_rows: usize = groups.iter().map(|group| group.dims()[0]).sum();
        let scores = network.judge(&mut self.parameters, Tensor::cat(groups, 0), mode);
        let margin = self.params.loss.margin;
        let hinge = |range: std::ops::Range<usize>, sign: f64| {
            activation::relu(scores.clone().slice([range]) * sign + margin).mean_dim(0)
        };
        let normal_term = hinge(0..rows, -1.0);
        let noise_term = hinge(rows..2 * rows, 1.0);
        let mut loss = normal_term.clone() + noise_term.clone() * self.params.loss.lambda1.number();
        let mut losses = StepLosses { normal: value(&normal_term), noise: value(&noise_term), ..StepLosses::default() };
        if total_rows > 2 * rows {
            let term = hinge(2 * rows..total_rows, 1.0);
            losses.anomaly = value(&term);
            loss = loss + term * self.params.loss.lambda2.number();
        }
        losses.total = value(&loss);
        (loss, losses)
    }

    /// Ψ in evaluation mode, one value per row.
    pub fn judge(&mut self, rows: &PatchRows) -> Vec<f32> {
        judge(&self.network, &mut self.parameters, rows)
    }
}

fn judge(network: &Network, parameters: &mut Parameters, rows: &PatchRows) -> Vec<f32> {
    let described = network.describe(parameters, rows, BatchNormMode::Evaluate);
    download(network.judge(parameters, described, BatchNormMode::Evaluate))
}

fn value(tensor: &Tensor<2>) -> f64 {
    download(tensor.clone())[0] as f64
}

/// Scores the test images of one class: `scores`, kept epochs × images × patches, score = −Ψ (higher = more abnormal).
/// The last input is the trained model.
pub fn score(job: &Job, setup: &Setup, layout: &Layout, test: &[usize]) -> Result<Computed> {
    let (banks, queries) = (Banks::open(&job.inputs, layout)?, Queries::open(&job.inputs, &layout.queries[0])?);
    let Some(model) = job.inputs.last() else { unreachable!("the model is an input") };
    let network = Network::new(&setup.params, true, !banks.abnormal.is_empty());
    let blank = network.initial(setup.dim, setup.seed, &setup.device);
    let kept = kept_epochs(model);
    let mut writer = job.create(vec![TensorDecl::f32("scores", &[kept, test.len(), setup.patches])])?;
    for number in 0..kept {
        let mut parameters = blank.clone();
        parameters.read(model, &epoch_prefix(number))?;
        let chunks: Vec<Vec<f32>> = test
            .par_chunks(SCORE_CHUNK_IMAGES)
            .map(|images| {
                let mut rows = HostRows::new(setup.dim);
                for image in images {
                    rows.push_image(&queries, &banks, image * setup.patches..(image + 1) * setup.patches);
                }
                let psi = judge(&network, &mut parameters.clone(), &rows.upload(&setup.device));
                psi.into_iter().map(|value| -value).collect()
            })
            .collect();
        chunks.iter().try_for_each(|chunk| writer.f32(chunk))?;
    }
    Ok(Computed::new(writer, json!({ "images": test.len() })))
}
