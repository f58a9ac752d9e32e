//! Feature vectors of images, layer by layer: the frozen backbone as BGAD's stages use it, and masks at its layers.

use burn::tensor::Device;

use super::flow::Flow;
use super::params::{FlowParams, LevelMask};
use crate::backbone::Backbone;
use crate::data::decode::Pixels;
use crate::error::Result;
use crate::plan::NetworkInput;
use crate::train::{Parameters, download};

/// Feature vectors of an image: for each layer, places (row by row) × channels.
pub type Levels = Vec<Vec<f32>>;

/// The flows of all layers of a network.
pub fn flows(params: &FlowParams, network: &NetworkInput) -> Vec<Flow> {
    let taps = network.taps().iter().enumerate();
    taps.map(|(level, tap)| Flow::new(params, level, tap.channels)).collect()
}

/// Names and shapes of their parameters.
pub fn declared(flows: &[Flow], device: &Device) -> Parameters {
    let mut parameters = Parameters::default();
    flows.iter().for_each(|flow| flow.declare(&mut parameters, device));
    parameters
}

/// Vectors of an image. Each image passes alone, so that they depend on nothing else.
///
/// # Errors
/// An image that is too small for the network.
pub fn vectors(backbone: &Backbone, image: &Pixels) -> Result<Levels> {
    let maps = backbone.forward(&[&image.data], image.width)?.into_iter();
    let rows = maps.map(|map| {
        let [_, channels, height, width] = map.dims();
        download(map.reshape([channels, height * width]).transpose())
    });
    Ok(rows.collect())
}

/// A mask of `side` × `side` pixels at the places of a layer with maps of `level` × `level`.
pub fn level_mask(mask: &[bool], side: usize, level: usize, how: LevelMask) -> Vec<bool> {
    let first = |place: usize| place * side / level;
    let place = |place: usize| {
        let (row, column) = (place / level, place % level);
        match how {
            LevelMask::Nearest => mask[first(row) * side + first(column)],
            LevelMask::MaxPool => (first(row)..first(row + 1).max(first(row) + 1))
                .any(|y| (first(column)..first(column + 1).max(first(column) + 1)).any(|x| mask[y * side + x])),
        }
    };
    (0..level * level).map(place).collect()
}
