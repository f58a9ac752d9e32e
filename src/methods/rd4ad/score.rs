//! RD4AD's scores: where student and teacher point in different directions (docs/methods/rd4ad.md, Scores).

use std::sync::Arc;

use burn::tensor::Device;
use serde::Serialize;

use super::params::{self, Params};
use crate::data::decode::Pixels;
use crate::error::Result;
use crate::maps::{enlarged_sum, gaussian};
use crate::methods::Parameters as _;
use crate::methods::distillation::{Bottleneck, Design, Student, Teacher, cosine_maps, stack};
use crate::plan::{Job, NetworkInput, Pictures, Shape};
use crate::spec::Settings;
use crate::train::{BatchNormMode, Judge, Judged, Kept, Parameters, Sentence, download};

/// From images to scores: the sum over levels of one minus the cosine at each place. An image's score is the largest one at the
/// size of the network's input, smoothed.
#[derive(Serialize)]
pub struct Score<'a> {
    pub settings: Settings<params::Score>,
    pub network: NetworkInput<'a>,
    #[serde(skip)]
    pub design: Design,
    #[serde(skip)]
    pub shape: Shape,
}

impl Judge for Score<'_> {
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn work(&self) -> (f64, usize) {
        let (network, taps, side) = (self.network.architecture(), self.network.taps(), self.shape.side);
        let (operations, values) = self.design.cost();
        let bytes = network.memory_bytes(taps, side).max(4 * values) + Teacher::image_bytes(&self.design.levels);
        (network.operations(taps, side) + operations, bytes + 24 * side.pow(2))
    }

    fn parameters(&self, device: &Device) -> Parameters {
        self.design.parameters(None, device)
    }

    fn open<'a>(&'a self, _job: &'a Job, kept: Kept<'a>, device: &'a Device) -> Result<Sentence<'a>> {
        let teacher = Teacher::new(self.network.frozen(device)?, Vec::new(), &self.design.levels, 0);
        let (bottleneck, student) = (Bottleneck::new(&self.design), Student::new(&self.design));
        let (grid, side) = (self.shape.grid, (self.shape.side, self.shape.side));
        let &params::Score { align_corners, sigma } = &*self.settings;
        // Each image passes alone, so that its score depends on nothing else.
        let distances = move |image: &Pixels| -> Result<Vec<(usize, Vec<f32>)>> {
            let mut parameters = kept.parameters.clone();
            let maps = stack(&[Arc::new(teacher.look(image)?)], &self.design.levels, device);
            let code = bottleneck.forward(&mut parameters, &maps, BatchNormMode::Evaluate);
            let rebuilt = student.forward(&mut parameters, code, BatchNormMode::Evaluate);
            let pairs = self.design.levels.iter().zip(maps.into_iter().zip(rebuilt));
            Ok(pairs.map(|(level, (t, s))| (level.side, download(cosine_maps(t, s)))).collect())
        };
        Ok(Box::new(move |pictures: &Pictures, images: &[usize]| {
            let judge = |&image: &usize| {
                let distances = distances(&pictures.load(image)?)?;
                let map = gaussian(&enlarged_sum(&distances, side, align_corners), side, sigma);
                let image = map.into_iter().fold(f32::NEG_INFINITY, f32::max);
                Ok(Judged { image, patches: enlarged_sum(&distances, grid, align_corners), others: Vec::new() })
            };
            images.iter().map(judge).collect()
        }))
    }
}
