//! From images to scores (docs/methods/dm_grd.md, Scores): how far the student is from the teacher.

use std::sync::Arc;

use burn::tensor::Device;
use serde::Serialize;

use super::memory::{Memory, MemoryView};
use super::network::Network;
use super::params::Params;
use super::sampler::teacher_maps;
use super::select::select;
use crate::backbone::normalise;
use crate::data::decode::Pixels;
use crate::error::Result;
use crate::maps::{enlarged_sum, gaussian};
use crate::methods::Parameters as _;
use crate::methods::distillation::{Design, Maps, cosine_maps, stack};
use crate::methods::scoring::Scoring;
use crate::plan::{Handle, Job, NetworkInput, Pictures, Shape};
use crate::spec::Settings;
use crate::train::{BatchNormMode, Judge, Judged, Kept, Parameters, Sentence, download};

/// From images to scores: the sums over levels of the cosine distances between teacher and student.
#[derive(Serialize)]
pub struct Score<'a> {
    pub settings: Settings<Params>,
    /// The memory of normal images, where there is one.
    pub memory: Option<Handle<Memory>>,
    pub network: NetworkInput<'a>,
    #[serde(skip)]
    pub design: Design,
    #[serde(skip)]
    pub shape: Shape,
}

impl Score<'_> {
    fn networks(&self) -> Network {
        Network::new(&self.settings.fusion, self.design.clone())
    }

    /// The score of an image: the mean of the largest pixels of its smoothed map at the size of the network's input.
    fn image_score(&self, distances: &[(usize, Vec<f32>)]) -> f32 {
        let (score, side) = (&self.settings.score, (self.shape.side, self.shape.side));
        let map = gaussian(&enlarged_sum(distances, side, true), side, score.sigma);
        Scoring { top_k: score.top_k, ..Scoring::default() }.image_score(&map) as f32
    }

    /// Cosine distances of an image at every level, with the side of each. Each image passes alone.
    fn distances(
        &self,
        networks: &Network,
        parameters: &Parameters,
        memory: Option<&MemoryView>,
        maps: &Arc<Maps>,
        device: &Device,
    ) -> Vec<(usize, Vec<f32>)> {
        let (levels, mut parameters) = (&self.design.levels, parameters.clone());
        let own = stack(std::slice::from_ref(maps), levels, device);
        let others = memory.map(|memory| {
            let image = select(self.settings.memory.select, memory, maps, device).image;
            stack(&[Arc::new(memory.image(image))], levels, device)
        });
        let compared = networks.compared(&own, others.as_deref());
        let fused = networks.fusion.forward(&mut parameters, &compared, BatchNormMode::Evaluate);
        let rebuilt = networks.rebuild(&mut parameters, &fused, BatchNormMode::Evaluate);
        let distance = own.into_iter().zip(rebuilt).map(|(teacher, student)| download(cosine_maps(teacher, student)));
        levels.iter().map(|level| level.side).zip(distance).collect()
    }
}

impl Judge for Score<'_> {
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn work(&self) -> (f64, usize) {
        let (network, taps, side) = (self.network.architecture(), self.network.taps(), self.shape.side);
        let (operations, values) = self.networks().cost(1);
        let bytes = network.memory_bytes(taps, side) + 4 * values + 24 * side * side;
        (network.operations(taps, side) + operations, bytes)
    }

    fn parameters(&self, device: &Device) -> Parameters {
        self.networks().initial(None, device)
    }

    fn open<'a>(&'a self, job: &'a Job, kept: Kept<'a>, device: &'a Device) -> Result<Sentence<'a>> {
        let (networks, backbone) = (self.networks(), self.network.frozen(device)?);
        let memory = self.memory.as_ref().map(|memory| job.open(memory)).transpose()?;
        let judge = move |image: &Pixels| {
            let mut planes = Vec::with_capacity(image.data.len());
            normalise(&image.data, backbone.architecture, &mut planes);
            let maps = Arc::new(teacher_maps(&backbone, planes, image.width)?);
            let distances = self.distances(&networks, kept.parameters, memory.as_ref(), &maps, device);
            let patches = enlarged_sum(&distances, self.shape.grid, true);
            Ok(Judged { image: self.image_score(&distances), patches, others: Vec::new() })
        };
        Ok(Box::new(move |pictures: &Pictures, images: &[usize]| {
            images.iter().map(|&image| judge(&pictures.load(image)?)).collect()
        }))
    }
}
