//! From maps to patch features on a GPU: the sums of `aggregate`, in the same order.
//!
//! Owns: the kernels and what they read. Does not own: what features are made of (`aggregate`).

use burn::backend::Cube;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use cubecl::prelude::*;

use super::aggregate::{LayerTable, Recipe};
use super::{CHUNK_IMAGES, decode, finite, read_back};
use crate::backbone::Backbone;
use crate::device::kernels::{cubes, raw, raw_ints, whole};
use crate::device::{upload, upload_ints};
use crate::error::Result;
use crate::matrix::Matrix;

/// Features of `count` images, handed to `sink` image by image in order, as `features::extract` does it. The device works on one
/// chunk while the host decodes the next.
///
/// # Errors
/// Those of `image` and `sink`, a device that fails, and features that are not finite.
pub fn extract(
    backbone: &Backbone,
    recipe: &Recipe,
    side: usize,
    count: usize,
    image: impl Fn(usize) -> Result<Vec<u8>> + Sync,
    mut sink: impl FnMut(Matrix) -> Result<()>,
) -> Result<()> {
    let sides = backbone.architecture.map_sides(&backbone.taps, side)?;
    let aggregator = Aggregator::new(recipe, &sides, &backbone.device);
    let patches = aggregator.side * aggregator.side;
    let mut finish = |(first, rows): (usize, Tensor<2>)| -> Result<()> {
        let rows = Matrix::new(read_back(rows)?, aggregator.dim);
        for number in 0..rows.len() / patches {
            let own = rows.view().slice(number * patches..(number + 1) * patches);
            finite(own, first + number)?;
            sink(Matrix::new(own.data().to_vec(), own.cols()))?;
        }
        Ok(())
    };
    let mut running = None;
    for first in (0..count).step_by(CHUNK_IMAGES) {
        let decoded = decode(first..count.min(first + CHUNK_IMAGES), &image)?;
        let batch: Vec<&[u8]> = decoded.iter().map(Vec::as_slice).collect();
        let rows = aggregator.apply(&backbone.forward(&batch, side)?);
        if let Some(before) = running.replace((first, rows)) {
            finish(before)?;
        }
    }
    running.map_or(Ok(()), finish)
}

/// A recipe whose tables are on a device.
pub struct Aggregator {
    layers: Vec<Layer>,
    /// Side of the grid of features.
    side: usize,
    dim: usize,
    patch: usize,
}

struct Layer {
    firsts: Tensor<1, Int>,
    entries: Tensor<1, Int>,
    counts: Tensor<1, Int>,
    weights: Tensor<1>,
    lower: Tensor<1, Int>,
    upper: Tensor<1, Int>,
    shares: Tensor<1>,
}

impl Aggregator {
    /// The recipe for maps of these sides.
    pub fn new(recipe: &Recipe, sides: &[usize], device: &Device) -> Aggregator {
        let side = recipe.side(sides);
        let tables = recipe.tables(sides.len());
        let layer = |(table, &from): (LayerTable, &usize)| {
            let places = recipe.places(from, side);
            let numbers = |of: fn(&(usize, usize, f32)) -> usize| {
                upload_ints(&places.iter().map(|place| of(place) as u32).collect::<Vec<_>>(), device)
            };
            // A layer that no feature is made of still needs something to point at.
            let padded = |mut values: Vec<u32>| {
                values.push(0);
                upload_ints(&values, device)
            };
            let (stretches, mut weights) = (table.weights.len(), table.weights);
            weights.push(0.0);
            Layer {
                firsts: upload_ints(&table.firsts, device),
                entries: padded(table.entries),
                counts: padded(table.counts),
                weights: upload(weights, [stretches + 1], device),
                lower: numbers(|place| place.0),
                upper: numbers(|place| place.1),
                shares: upload(places.iter().map(|place| place.2).collect(), [side], device),
            }
        };
        let layers = tables.into_iter().zip(sides).map(layer).collect();
        Aggregator { layers, side, dim: recipe.dim(), patch: recipe.patch() }
    }

    /// Features of the images of some maps: images · positions × features.
    pub fn apply(&self, maps: &[Tensor<4>]) -> Tensor<2> {
        let images = maps[0].dims()[0];
        let positions = self.side * self.side;
        let mut total: Option<Tensor<2>> = None;
        for (layer, map) in self.layers.iter().zip(maps) {
            let own = layer.features(map, self.patch, self.dim, self.side);
            total = Some(total.map_or(own.clone(), |sum| sum + own));
        }
        total.unwrap_or_else(|| Tensor::zeros([images * positions, self.dim], &maps[0].device()))
    }
}

impl Layer {
    /// What the features take from this layer, brought to a grid of `side`.
    fn features(&self, map: &Tensor<4>, patch: usize, dim: usize, side: usize) -> Tensor<2> {
        let [images, channels, from, _] = map.dims();
        let map = into_contiguous(raw(map.clone()));
        let (client, device) = (map.client.clone(), map.device.clone());
        let empty =
            |shape: [usize; 2]| empty_device_contiguous_dtype(client.clone(), device.clone(), shape.into(), DType::F32);
        let sums = empty([images * dim, from * from]);
        let (cube_count, cube_dim) = cubes(images * dim * from * from);
        // SAFETY: the kernel writes images × dim × from² values, the size of `sums`; stretches name channels that are there.
        unsafe {
            sums_kernel::launch_unchecked(
                &client,
                cube_count,
                cube_dim,
                whole(&map),
                whole(&raw_ints(self.firsts.clone())),
                whole(&raw_ints(self.entries.clone())),
                whole(&raw_ints(self.counts.clone())),
                whole(&raw(self.weights.clone())),
                whole(&sums),
                (images * dim * from * from) as u32,
                channels as u32,
                dim as u32,
                from as u32,
                patch as u32,
            );
        }
        let out = empty([images * side * side, dim]);
        let (cube_count, cube_dim) = cubes(images * side * side * dim);
        // SAFETY: the kernel writes images × side² × dim values, the size of `out`; neighbours are numbers below `from`.
        unsafe {
            rows_kernel::launch_unchecked(
                &client,
                cube_count,
                cube_dim,
                whole(&sums),
                whole(&raw_ints(self.lower.clone())),
                whole(&raw_ints(self.upper.clone())),
                whole(&raw(self.shares.clone())),
                whole(&out),
                (images * side * side * dim) as u32,
                dim as u32,
                from as u32,
                side as u32,
            );
        }
        Tensor::from_primitive::<Cube>(out)
    }
}

/// One feature at one position of its layer for each thread.
#[cube(launch_unchecked)]
fn sums_kernel(
    map: &[f32],
    firsts: &[i32],
    entries: &[i32],
    counts: &[i32],
    weights: &[f32],
    sums: &mut [f32],
    count: u32,
    channels: u32,
    dim: u32,
    side: u32,
    #[comptime] patch: u32,
) {
    let number = ABSOLUTE_POS as u32;
    if number < count {
        let area = side * side;
        let position = number % area;
        let feature = (number / area) % dim;
        let image = number / (area * dim);
        let (row, column) = (position / side, position % side);
        let mut sum = 0.0f32;
        for stretch in firsts[feature as usize]..firsts[(feature + 1u32) as usize] {
            let weight = weights[stretch as usize];
            let first = entries[stretch as usize];
            for entry in first..first + counts[stretch as usize] {
                let entry = entry as u32;
                let channel = entry / comptime!(patch * patch);
                // Outside the map these wrap round to something large.
                let y = row + (entry / patch) % patch - comptime!(patch / 2);
                let x = column + entry % patch - comptime!(patch / 2);
                if y < side && x < side {
                    sum += weight * map[(((image * channels + channel) * side + y) * side + x) as usize];
                }
            }
        }
        sums[number as usize] = sum;
    }
}

/// One feature of one patch for each thread.
#[cube(launch_unchecked)]
fn rows_kernel(
    sums: &[f32],
    lower: &[i32],
    upper: &[i32],
    shares: &[f32],
    out: &mut [f32],
    count: u32,
    dim: u32,
    from: u32,
    side: u32,
) {
    let number = ABSOLUTE_POS as u32;
    if number < count {
        let feature = number % dim;
        let position = (number / dim) % (side * side);
        let image = number / (dim * side * side);
        let (row, column) = ((position / side) as usize, (position % side) as usize);
        let plane = (image * dim + feature) * from * from;
        let above = plane + lower[row] as u32 * from;
        let below = plane + upper[row] as u32 * from;
        let (left, right) = (lower[column] as u32, upper[column] as u32);
        let along = shares[column];
        let first = sums[(above + left) as usize];
        let first = first + along * (sums[(above + right) as usize] - first);
        let second = sums[(below + left) as usize];
        let second = second + along * (sums[(below + right) as usize] - second);
        out[number as usize] = first + shares[row] * (second - first);
    }
}
