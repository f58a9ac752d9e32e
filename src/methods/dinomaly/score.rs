//! Dinomaly's scores: where decoder and encoder point in different directions (docs/methods/dinomaly.md, Scores).

use std::sync::Arc;

use burn::tensor::Device;
use serde::Serialize;

use super::encoder::{Design, Encoder, stack};
use super::loss::place_distances;
use super::network::{Network, mean};
use super::params::{self, EncoderParams, NetworkParams, Params};
use crate::data::decode::Pixels;
use crate::error::Result;
use crate::maps::{enlarged_sum, upsample, upsample_corners, windowed};
use crate::methods::{Parameters as _, top_mean};
use crate::plan::{Job, NetworkInput, Pictures, Shape};
use crate::spec::Settings;
use crate::train::{Dropout, Judge, Judged, Kept, Parameters, Sentence, download};

/// From images to scores: at each place the mean over groups of one minus the cosine. An image's score is the mean of the
/// largest pixels of the smoothed map.
#[derive(Serialize)]
pub struct Score<'a> {
    pub encoder: Settings<EncoderParams>,
    pub settings: Settings<NetworkParams>,
    pub score: Settings<params::Score>,
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
        let (encoder, taps, side) = (self.network.architecture(), self.network.taps(), self.shape.side);
        let network = Network::new(&self.settings, &self.design);
        // What passes forward holds little of what training keeps.
        let values = 4 * (network.activations() / self.settings.blocks + 2 * self.design.values());
        let map = 32 * self.score.side(side).max(side).pow(2);
        (encoder.operations(taps, side) + network.operations(), encoder.memory_bytes(taps, side).max(values) + map)
    }

    fn parameters(&self, device: &Device) -> Parameters {
        Network::new(&self.settings, &self.design).parameters(None, device)
    }

    fn open<'a>(&'a self, _job: &'a Job, kept: Kept<'a>, device: &'a Device) -> Result<Sentence<'a>> {
        let Score { design, shape, .. } = self;
        let encoder = Encoder::new(&self.network, (&self.encoder, design), Vec::new(), 0, (shape.side, device))?;
        let network = Network::new(&self.settings, design);
        network.prepare(device);
        // Each image passes alone, so that its score depends on nothing else.
        let distances = move |image: &Pixels| -> Result<Vec<f32>> {
            let encoder = stack(&[Arc::new(encoder.look(image)?)], design, device);
            let decoder = network.forward(kept.parameters, &encoder, &mut Dropout::none());
            let pairs = encoder.into_iter().zip(decoder);
            let groups: Vec<_> = pairs.map(|(e, d)| place_distances(network.patches(e), d)).collect();
            Ok(download(mean(&groups)))
        };
        Ok(Box::new(move |pictures: &Pictures, images: &[usize]| {
            let judge = |&image: &usize| {
                let distances = distances(&pictures.load(image)?)?;
                let map = image_map(&distances, design.side, shape.side, &self.score);
                let image = top_mean(map, self.score.top_fraction) as f32;
                let patches = enlarged_sum(&[(design.side, distances)], shape.grid, self.score.align_corners);
                Ok(Judged { image, patches, others: Vec::new() })
            };
            images.iter().map(judge).collect()
        }))
    }
}

/// The map that an image's score is taken from: distances of a square grid brought to the size of the network's input, from
/// there to that of the score, and smoothed.
pub fn image_map(distances: &[f32], grid: usize, input: usize, score: &params::Score) -> Vec<f32> {
    let (input, side) = ((input, input), score.side(input));
    let enlarge = if score.align_corners { upsample_corners } else { upsample };
    let map = upsample(&enlarge(distances, (grid, grid), input), input, (side, side));
    windowed(&map, (side, side), score.sigma, score.kernel, score.border)
}
