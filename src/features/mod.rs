//! Patch features: images through a frozen backbone into rows, in order and in bounded memory.
//!
//! Owns: the streaming pass and the shape of its output. Does not own: where images come from (`data`) or where rows
//! go (the caller's sink).

pub mod aggregate;
#[cfg(feature = "gpu")]
mod on_device;

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use crate::backbone::{Architecture, Backbone, plan::Tap};
use crate::device::check::{self, Family};
#[cfg(feature = "gpu")]
use crate::device::is_cpu;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, Rows};
use crate::spec;
use aggregate::{FeatureMap, Recipe};

/// Version of what this module computes; raised when its output changes, because it is part of stage keys.
pub const CODE_VERSION: u32 = 1;

/// What a device must get right before it makes patch features.
pub const CHECKS: &[Family] = &[Family { name: "patch features", run: checked, tolerance: 1e-5 }];

/// Binned features of drawn maps of two layers.
fn checked(device: &Device) -> Vec<f32> {
    let features = spec::Features { dim: 11, pretrain_dim: 13, ..Default::default() };
    let (recipe, sides) = (Recipe::new(&features, &[4, 6]), [8, 4]);
    let maps = [check::drawn(0, [1, 4, 8, 8], 1.0, device), check::drawn(1, [1, 6, 4, 4], 1.0, device)];
    #[cfg(feature = "gpu")]
    if !is_cpu(device) {
        return check::values(on_device::Aggregator::new(&recipe, &sides, device).apply(&maps));
    }
    let values = maps.map(check::values);
    let maps: Vec<FeatureMap> = values.iter().zip(sides).map(|(values, side)| FeatureMap { values, side }).collect();
    recipe.apply(&maps).into_data()
}

/// Images per forward pass on a GPU. A constant of the stage: threads, memory and device never change it. On the CPU each
/// image runs alone, which was faster for Lite0 and no different for WideResNet50-2.
pub const CHUNK_IMAGES: usize = 8;

/// Shape of the features of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of patches.
    pub height: usize,
    /// Patches per row.
    pub width: usize,
    /// Values per patch.
    pub dim: usize,
}

impl Shape {
    /// Patches per image.
    pub fn patches(&self) -> usize {
        self.height * self.width
    }
}

/// Shape of the features that `backbone` and `features` give for square images of `side` pixels, without running or
/// loading anything.
pub fn feature_shape(backbone: &spec::Backbone, features: &spec::Features, side: usize) -> Result<Shape> {
    check(features)?;
    let architecture = Architecture::find(&backbone.name)?;
    Ok(recipe(features, architecture, &architecture.taps(&backbone.layers)?, side)?.1)
}

/// How features are made of the maps of `taps`, and the shape that they get.
fn recipe(features: &spec::Features, network: &Architecture, taps: &[Tap], side: usize) -> Result<(Recipe, Shape)> {
    let channels: Vec<usize> = taps.iter().map(|tap| tap.channels).collect();
    let recipe = Recipe::new(features, &channels);
    let map = recipe.side(&network.map_sides(taps, side)?);
    let shape = Shape { height: map, width: map, dim: recipe.dim() };
    Ok((recipe, shape))
}

fn check(features: &spec::Features) -> Result<()> {
    if features.patch.is_multiple_of(2) {
        let what = format!("features.patch = {} has no centre", features.patch);
        return Err(Error::usage(what, "use an odd number, 3 in the papers"));
    }
    let concat = match features.aggregation {
        spec::Aggregation::Patchcore => None,
        spec::Aggregation::Concat => Some("concat"),
        spec::Aggregation::ConcatDeepest => Some("concat_deepest"),
    };
    if let Some(word) = concat
        && (features.dim, features.pretrain_dim) != (0, 0)
    {
        let what =
            format!("features.dim and features.pretrain_dim mean nothing with features.aggregation = \"{word}\"");
        return Err(Error::usage(what, format!("leave them out: {word} keeps all channels")));
    }
    Ok(())
}

/// Features of `count` images, handed to `sink` chunk by chunk in order: image-major, then positions row-major.
///
/// `image(i)` gives image `i` as `side` × `side` RGB bytes; it is called from several threads. Memory is bounded by the
/// images in flight (see [`images_in_flight`]), on a GPU by one chunk. The rows are the same bytes for any number of
/// threads and of images in flight.
///
/// Errors: those of `image` and `sink`, and features that are not finite (the image is named by its number).
pub fn extract(
    backbone: &Backbone,
    features: &spec::Features,
    side: usize,
    count: usize,
    in_flight: usize,
    image: impl Fn(usize) -> Result<Vec<u8>> + Sync,
    mut sink: impl FnMut(Matrix) -> Result<()>,
) -> Result<Shape> {
    check(features)?;
    let (recipe, shape) = recipe(features, backbone.architecture, &backbone.taps, side)?;
    #[cfg(feature = "gpu")]
    if !is_cpu(&backbone.device) {
        on_device::extract(backbone, &recipe, side, count, image, sink)?;
        return Ok(shape);
    }
    let in_flight = in_flight.max(1);
    for start in (0..count).step_by(in_flight) {
        let images = start..(start + in_flight).min(count);
        chunk_rows(backbone, &recipe, side, images, &image)?.into_iter().try_for_each(&mut sink)?;
    }
    Ok(shape)
}

/// How many images are worked on at once on a CPU when `memory_bytes` may be used and one takes `image_bytes`: up to four
/// for each thread, in a quarter of the memory.
pub fn images_in_flight(memory_bytes: u64, image_bytes: usize) -> usize {
    let fitting = memory_bytes / 4 / image_bytes.max(1) as u64;
    (fitting as usize).clamp(1, 4 * rayon::current_num_threads())
}

/// Features of some images, worked on together.
fn chunk_rows(
    backbone: &Backbone,
    recipe: &Recipe,
    side: usize,
    images: std::ops::Range<usize>,
    image: &(impl Fn(usize) -> Result<Vec<u8>> + Sync),
) -> Result<Vec<Matrix>> {
    let decoded = decode(images.clone(), image)?;
    let passes: Vec<Result<Matrix>> =
        decoded.par_iter().map(|image| image_rows(backbone, recipe, side, image)).collect();
    let rows = passes.into_iter().collect::<Result<Vec<_>>>()?;
    rows.iter().enumerate().try_for_each(|(index, rows)| finite(rows.view(), images.start + index))?;
    Ok(rows)
}

/// Some images, decoded on all cores.
fn decode(images: std::ops::Range<usize>, image: &(impl Fn(usize) -> Result<Vec<u8>> + Sync)) -> Result<Vec<Vec<u8>>> {
    let decoded: Vec<Result<Vec<u8>>> = images.into_par_iter().map(image).collect();
    decoded.into_iter().collect()
}

fn finite(rows: Rows, image: usize) -> Result<()> {
    match rows.data().iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(Error::method(
            format!("the features of image {image} are not finite"),
            "look at that image and at the backbone's weights; on a GPU, see whether --device cpu agrees",
        )),
    }
}

/// Features of one image.
fn image_rows(backbone: &Backbone, recipe: &Recipe, side: usize, image: &[u8]) -> Result<Matrix> {
    let mut layers = Vec::new();
    for tensor in backbone.forward(&[image], side)? {
        layers.push((tensor.dims()[3], read_back(tensor)?));
    }
    let maps = layers.iter().map(|(side, values)| FeatureMap { values, side: *side });
    Ok(recipe.apply(&maps.collect::<Vec<FeatureMap>>()))
}

/// Values of a tensor on the host, row-major.
fn read_back<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let failed = |error: String| Error::device(format!("cannot read maps back: {error}"), "try --device cpu");
    let data = tensor.try_into_data().map_err(|error| failed(error.to_string()))?;
    data.try_into_vec::<f32>().map_err(|error| failed(error.to_string()))
}
