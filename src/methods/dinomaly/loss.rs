//! How far decoder and encoder are apart, and which places learn fully (docs/methods/dinomaly.md, Computation).

use burn::tensor::Tensor;

use super::params::Loss;
use crate::methods::distillation::{cosine_maps, flat_distance};
use crate::train::largest;

/// One minus the cosine at each place, from rows (places × width): places × 1, from 0 to 2.
pub fn place_distances(encoder: Tensor<2>, decoder: Tensor<2>) -> Tensor<2> {
    let [places, width] = encoder.dims();
    let [encoder, decoder] = [encoder, decoder].map(|rows| rows.reshape([places, width, 1, 1]));
    cosine_maps(encoder, decoder).reshape([places, 1])
}

/// One minus the cosine between all values of an image, mean over images: 1 × 1. Rows as in [`place_distances`], images one
/// below the other.
pub fn group_distance(encoder: Tensor<2>, decoder: Tensor<2>, images: usize) -> Tensor<2> {
    let [rows, width] = encoder.dims();
    // All values are one vector: their order only says which of them are summed first.
    let [encoder, decoder] = [encoder, decoder].map(|all| all.reshape([images, rows / images, 1, width]));
    flat_distance(encoder, decoder)
}

/// The distance that a place must have to learn fully, with a share of places that do not: 1 × 1.
pub fn threshold(distances: &Tensor<2>, share: f64) -> Tensor<2> {
    let places = distances.dims()[0];
    // Rounding may lead a little beyond the bounds.
    largest(distances.clone().reshape([1, places]), Loss::kept(places, share) - 1, (-0.01, 2.01))
}

/// The decoder's rows as they are, whose gradient is multiplied by `factor` where the distance lies below that of the share.
pub fn mined(encoder: &Tensor<2>, decoder: Tensor<2>, share: f64, factor: f64) -> Tensor<2> {
    let still = decoder.clone().detach();
    let distances = place_distances(encoder.clone(), still.clone());
    let below = distances.clone().lower(threshold(&distances, share).expand(distances.dims()));
    let scale = distances.ones_like().mask_fill(below, factor);
    still.clone() + (decoder - still) * scale
}
