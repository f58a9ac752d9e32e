//! From likelihoods to scores (docs/methods/bgad.md, Scores): what likelihoods are relative to, and the sum over layers.

use burn::tensor::Device;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::flow::{Flow, position_code};
use super::levels::{declared, flows, vectors};
use super::params::{FlowParams, Params};
use crate::backbone::Backbone;
use crate::data::decode::Pixels;
use crate::device::Chosen;
use crate::error::Result;
use crate::maps::enlarged_sum;
use crate::methods::Parameters as _;
use crate::plan::{
    Compute, Computed, Content, Handle, Job, Level, Model, NetworkInput, Pictures, Shape, Work, content,
};
use crate::spec::Settings;
use crate::store::{Artifact, TensorDecl};
use crate::train::{
    Judge, Judged, Kept, Parameters, SCORE_CHUNK_IMAGES, Sentence, download, epoch_prefix, kept_epochs, upload,
};

content! {
    /// The largest log-likelihood of each layer: `maxima`, kept epochs × layers.
    Maxima, &'a [f32], artifact => artifact.f32("maxima")
}

/// Flows and backbone: a part of both stages.
#[derive(Clone, Serialize)]
pub struct Frozen<'a> {
    pub flow: Settings<FlowParams>,
    pub network: NetworkInput<'a>,
    #[serde(skip)]
    pub shape: Shape,
}

/// Log-likelihoods of an image: one map for each layer, with its side.
type Likelihoods = Vec<(usize, Vec<f32>)>;

/// Everything that makes likelihoods, on a device.
struct Open<'a> {
    backbone: Backbone,
    levels: Vec<Level>,
    flows: Vec<Flow>,
    /// Codes of the places of each layer.
    codes: Vec<Vec<f32>>,
    parameters: &'a Parameters,
    device: &'a Device,
}

impl Frozen<'_> {
    fn flows(&self) -> Vec<Flow> {
        flows(&self.flow, &self.network)
    }

    fn parameters(&self, device: &Device) -> Parameters {
        declared(&self.flows(), device)
    }

    /// Operations for one image, and bytes for one that is worked on.
    fn work(&self) -> (f64, usize) {
        let (network, taps, side) = (self.network.architecture(), self.network.taps(), self.shape.side);
        let levels = self.network.levels(side).unwrap_or_default();
        let flow = |(flow, level): (&Flow, &Level)| 2.0 * (level.side.pow(2) * flow.size()) as f64;
        let of_flows: f64 = self.flows().iter().zip(&levels).map(flow).sum();
        let widest = levels.iter().map(|level| level.side.pow(2) * (5 * level.channels + 4 * self.flow.position)).max();
        (network.operations(taps, side) + of_flows, network.memory_bytes(taps, side) + 4 * widest.unwrap_or(0))
    }

    fn open<'a>(&self, parameters: &'a Parameters, device: &'a Device) -> Result<Open<'a>> {
        let levels = self.network.levels(self.shape.side)?;
        let code = |level: &Level| position_code(self.flow.position, level.side, level.side);
        Ok(Open {
            backbone: self.network.frozen(device)?,
            codes: levels.iter().map(code).collect(),
            levels,
            flows: self.flows(),
            parameters,
            device,
        })
    }
}

impl Open<'_> {
    fn likelihoods(&self, image: &Pixels) -> Result<Likelihoods> {
        let of_level = |(number, vectors): (usize, Vec<f32>)| {
            let (level, code) = (self.levels[number], &self.codes[number]);
            let places = level.side.pow(2);
            let vectors = upload(vectors, [places, level.channels], self.device);
            let condition = upload(code.clone(), [places, code.len() / places], self.device);
            (level.side, download(self.flows[number].likelihood(self.parameters, vectors, condition)))
        };
        Ok(vectors(&self.backbone, image)?.into_iter().enumerate().map(of_level).collect())
    }
}

/// What likelihoods are relative to: their maxima over some images, layer by layer.
#[derive(Serialize)]
pub struct FindMaxima<'a> {
    pub frozen: Frozen<'a>,
    pub model: Handle<Model>,
    pub pictures: Vec<Pictures>,
    pub device: Chosen,
}

impl Compute for FindMaxima<'_> {
    type Output = Maxima;
    const KIND: &'static str = "maxima";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        "largest likelihoods".into()
    }

    fn work(&self) -> Work {
        let (operations, bytes) = self.frozen.work();
        let (epochs, layers) = (self.model.work.rows, self.frozen.network.taps().len());
        let images: usize = self.pictures.iter().map(Pictures::len).sum();
        Work::matrix(epochs, layers, (epochs * images) as f64 * operations)
            .with_memory(bytes * SCORE_CHUNK_IMAGES * rayon::current_num_threads())
    }

    /// # Errors
    /// A model of another shape, an image or weights that cannot be read, and whatever the disk reports.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let (model, device) = (job.open(&self.model)?, self.device.get()?);
        let (kept, mut maxima) = (kept_epochs(model), Vec::new());
        let lists = self.pictures.iter();
        let images: Vec<_> = lists.flat_map(|list| (0..list.len()).map(move |number| (list, number))).collect();
        let mut parameters = self.frozen.parameters(&device);
        for number in 0..kept {
            (job.progress)(number, kept);
            parameters.read(model, &epoch_prefix(number))?;
            let open = self.frozen.open(&parameters, &device)?;
            let largest = |&(list, image): &(&Pictures, usize)| -> Result<Vec<f32>> {
                let likelihoods = open.likelihoods(&list.load(image)?)?;
                Ok(likelihoods.into_iter().map(|(_, lp)| lp.into_iter().fold(f32::NEG_INFINITY, f32::max)).collect())
            };
            let found = images.par_iter().map(largest).collect::<Result<Vec<_>>>()?;
            let of_layer = |layer: usize| found.iter().map(|all| all[layer]).fold(f32::NEG_INFINITY, f32::max);
            maxima.extend((0..open.levels.len()).map(of_layer));
        }
        let layers = self.frozen.network.taps().len();
        let mut writer = job.create(vec![TensorDecl::f32("maxima", &[kept, layers])])?;
        writer.f32(&maxima)?;
        Ok(Computed::new(writer, json!({ "images": images.len() })))
    }
}

/// The sum over layers of the likelihoods of an image (square maps with these sides) relative to the largest ones, at most 1
/// each, every map brought to `size` with aligned corners.
pub fn fused(likelihoods: &[(usize, &[f32])], maxima: &[f32], size: (usize, usize)) -> Vec<f32> {
    let relative = |((side, lp), largest): (&(usize, &[f32]), &f32)| {
        (*side, lp.iter().map(|lp| (lp - largest).min(0.0).exp()).collect())
    };
    let maps: Vec<(usize, Vec<f32>)> = likelihoods.iter().zip(maxima).map(relative).collect();
    enlarged_sum(&maps, size, true)
}

/// From images to scores: the negative sums of relative likelihoods. An image's score is the largest one at the size of the
/// network's input. What the released code adds is a constant; without it small sums keep all their digits.
#[derive(Serialize)]
pub struct Score<'a> {
    pub frozen: Frozen<'a>,
    pub maxima: Handle<Maxima>,
}

impl Judge for Score<'_> {
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn work(&self) -> (f64, usize) {
        let (operations, bytes) = self.frozen.work();
        (operations, bytes + 16 * self.frozen.shape.side.pow(2))
    }

    fn parameters(&self, device: &Device) -> Parameters {
        self.frozen.parameters(device)
    }

    fn open<'a>(&'a self, job: &'a Job, kept: Kept<'a>, device: &'a Device) -> Result<Sentence<'a>> {
        let open = self.frozen.open(kept.parameters, device)?;
        let layers = open.levels.len();
        let maxima = &job.open(&self.maxima)?[kept.number * layers..(kept.number + 1) * layers];
        let (grid, side) = (self.frozen.shape.grid, self.frozen.shape.side);
        let scores = move |likelihoods: &[(usize, &[f32])], size: (usize, usize)| -> Vec<f32> {
            fused(likelihoods, maxima, size).into_iter().map(|sum| -sum).collect()
        };
        Ok(Box::new(move |pictures: &Pictures, images: &[usize]| {
            let judge = |&image: &usize| {
                let likelihoods = open.likelihoods(&pictures.load(image)?)?;
                let maps: Vec<(usize, &[f32])> = likelihoods.iter().map(|(side, lp)| (*side, lp.as_slice())).collect();
                let image = scores(&maps, (side, side)).into_iter().fold(f32::NEG_INFINITY, f32::max);
                Ok(Judged { image, patches: scores(&maps, grid), others: Vec::new() })
            };
            images.iter().map(judge).collect()
        }))
    }
}
