//! Truth masks: read at the original size, made binary, brought to the sizes that training and evaluation need.
//!
//! Owns: what counts as a defect pixel, and the ways of [`MaskResize`]. Does not own: who may see a mask (`protocol`).

use crate::data::decode::{self, Pixels};
use crate::data::digest::Digest;
use crate::data::image::{self, Window};
use crate::data::index::{Image, Labelled, Source};
use crate::error::{Error, Result};
use crate::spec::{self, MaskResize};
use ::image::{DynamicImage, Pixel};
use std::path::Path;

/// Values of a defect and of a normal pixel before resizing, as in Pillow's mode L.
const DEFECT: u8 = 255;

/// A binary mask, rows of `width`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// True where the defect is.
    pub data: Vec<bool>,
}

/// The truth of a test image at the evaluation resolution: `side` × `side`, or, for `side` 0, the original size of the
/// part that the network sees. It covers what the image covers. All false for normal images; a small defect can vanish
/// in the reduction.
///
/// # Errors
/// A mask that is unreadable, all zero, or of another size than its image.
pub fn evaluation_mask(labelled: &Labelled, geometry: &spec::Geometry, side: usize, how: MaskResize) -> Result<Mask> {
    known_evaluation_mask(labelled, None, geometry, side, how)
}

/// [`evaluation_mask`]; the mask's file is to have this content.
///
/// # Errors
/// Besides its own, a file that has another.
pub fn known_evaluation_mask(
    labelled: &Labelled,
    content: Option<&Digest>,
    geometry: &spec::Geometry,
    side: usize,
    how: MaskResize,
) -> Result<Mask> {
    let Some(source) = labelled.mask.as_ref().filter(|_| labelled.anomalous) else {
        let (width, height) = image::size(&labelled.image)?;
        let (width, height) = if side > 0 { (side, side) } else { original(width, height, geometry)?.2 };
        return Ok(Mask { width, height, data: vec![false; width * height] });
    };
    let mask = load_known(&labelled.image, source, content)?;
    if side == 0 {
        let (left, top, (width, height)) = original(mask.width, mask.height, geometry)?;
        let rows = mask.data.chunks(mask.width).skip(top).take(height);
        let data = rows.flat_map(|row| row[left..left + width].iter().map(|&v| v > 0)).collect();
        return Ok(Mask { width, height, data });
    }
    let window = Window::of(mask.width, mask.height, geometry)?;
    let bilinear =
        |threshold: u8| image::resize(&mask, window, side, side).data.into_iter().map(|v| v >= threshold).collect();
    let data = match how {
        // A byte above 127.5 of 255.
        MaskResize::Bilinear05 => bilinear(128),
        MaskResize::Bilinear0 => bilinear(1),
        MaskResize::IntTrunc => bilinear(DEFECT),
        MaskResize::Nearest => nearest(&mask, window, side),
        MaskResize::Area05 => half_area(&mask, window, side),
    };
    Ok(Mask { width: side, height: side, data })
}

/// The mask of a seen anomaly at the network's input size: `size` × `size` bytes, 0/255 resized by Pillow's bilinear
/// (the released code's way; its filter then asks for values other than 0).
///
/// # Errors
/// Those of [`load`], and a file that has another content than the given one.
pub fn training_mask(
    image: &Image,
    source: &Source,
    content: Option<&Digest>,
    geometry: &spec::Geometry,
) -> Result<Vec<u8>> {
    let mask = load_known(image, source, content)?;
    let window = Window::of(mask.width, mask.height, geometry)?;
    Ok(image::resize(&mask, window, geometry.size, geometry.size).data)
}

/// The mask of a seen anomaly at the network's input size, resized by the nearest pixel: true where the defect is.
///
/// # Errors
/// Those of [`load`], and a file that has another content than the given one.
pub fn nearest_training_mask(
    image: &Image,
    source: &Source,
    content: Option<&Digest>,
    geometry: &spec::Geometry,
) -> Result<Vec<bool>> {
    let mask = load_known(image, source, content)?;
    Ok(nearest(&mask, Window::of(mask.width, mask.height, geometry)?, geometry.size))
}

/// Loads the mask of an anomalous image: 0 or 255 at the original size. Any colour or depth; every pixel with a channel
/// other than 0 is defect (VisA's masks hold class numbers), alpha does not count.
///
/// # Errors
/// A mask that is unreadable, all zero, or of another size than `image`.
pub fn load(image: &Image, source: &Source) -> Result<Pixels> {
    load_known(image, source, None)
}

/// The same; the mask's file is to have this content.
fn load_known(image: &Image, source: &Source, content: Option<&Digest>) -> Result<Pixels> {
    let (place, mask) = match source {
        Source::File(path) => (path.as_path(), binary(&decode::decode_raw(path, content)?)),
        Source::Synthetic(drawing) => {
            let place = Path::new(&image.path);
            let drawn = image::render(drawing)?.mask;
            let mask = drawn.ok_or_else(|| Error::data(place, "the drawing has no mask", "draw an anomalous image"))?;
            (place, binary(&DynamicImage::ImageLuma8(mask)))
        }
        Source::Absent(_) => return Err(image::absent(&image.path)),
    };
    check_size(place, (mask.width, mask.height), image)?;
    if mask.data.iter().all(|&v| v == 0) {
        let what = format!("the mask is empty, but its image {} is labelled anomalous", image.path);
        return Err(Error::data(place, what, "replace the mask, or move the image to the normal ones"));
    }
    Ok(mask)
}

/// Refuses a mask of `mask_size` (width, height) at `place` that does not fit `image`.
pub(crate) fn check_size(place: &Path, mask_size: (usize, usize), image: &Image) -> Result<()> {
    let size = image::size(image)?;
    if mask_size == size {
        return Ok(());
    }
    let ((mask_width, mask_height), (width, height), path) = (mask_size, size, &image.path);
    let what = format!("the mask has {mask_width} × {mask_height} pixels, but its image {path} has {width} × {height}");
    Err(Error::data(place, what, "replace the mask, or the image"))
}

/// 255 where any colour channel, at its full depth, is not 0.
fn binary(image: &DynamicImage) -> Pixels {
    fn of<P: Pixel>(pixels: impl Iterator<Item = P>, zero: P::Subpixel) -> Vec<u8>
    where
        P::Subpixel: PartialEq,
    {
        let colours = usize::from(P::CHANNEL_COUNT) - usize::from(P::CHANNEL_COUNT.is_multiple_of(2));
        pixels.map(|p| if p.channels()[..colours].iter().any(|&v| v != zero) { DEFECT } else { 0 }).collect()
    }
    let data = match image {
        DynamicImage::ImageLuma8(image) => of(image.pixels().copied(), 0),
        DynamicImage::ImageLumaA8(image) => of(image.pixels().copied(), 0),
        DynamicImage::ImageRgb8(image) => of(image.pixels().copied(), 0),
        DynamicImage::ImageRgba8(image) => of(image.pixels().copied(), 0),
        DynamicImage::ImageLuma16(image) => of(image.pixels().copied(), 0),
        DynamicImage::ImageLumaA16(image) => of(image.pixels().copied(), 0),
        DynamicImage::ImageRgb16(image) => of(image.pixels().copied(), 0),
        DynamicImage::ImageRgba16(image) => of(image.pixels().copied(), 0),
        other => of(other.to_rgb32f().pixels().copied(), 0.0),
    };
    Pixels { width: image.width() as usize, height: image.height() as usize, channels: 1, data }
}

/// Left, top and size of what the network sees of an image, in whole pixels of the original.
///
/// # Errors
/// A crop larger than the resized image.
pub fn original(width: usize, height: usize, geometry: &spec::Geometry) -> Result<(usize, usize, (usize, usize))> {
    let window = Window::of(width, height, geometry)?;
    let (left, top) = (window.left.round() as usize, window.top.round() as usize);
    let size = |length: f64, start: usize, limit: usize| (length.round() as usize).clamp(1, limit - start);
    Ok((left, top, (size(window.width, left, width), size(window.height, top, height))))
}

/// The pixel under the centre of each target pixel.
fn nearest(mask: &Pixels, window: Window, side: usize) -> Vec<bool> {
    let places = |start: f64, length: f64, limit: usize| -> Vec<usize> {
        let step = length / side as f64;
        (0..side).map(|i| ((start + (i as f64 + 0.5) * step) as usize).min(limit - 1)).collect()
    };
    let columns = places(window.left, window.width, mask.width);
    let rows = places(window.top, window.height, mask.height);
    rows.iter().flat_map(|row| columns.iter().map(move |column| mask.data[row * mask.width + column] > 0)).collect()
}

/// True where more than half of the target pixel's area is defect; shares of pixels count as shares.
fn half_area(mask: &Pixels, window: Window, side: usize) -> Vec<bool> {
    // Sums of window fractions are exact to about 1e-13; an area of exactly one half must not pass by rounding.
    const TIE: f64 = 1e-9;
    let columns = overlaps(window.left, window.width, mask.width, side);
    let rows = overlaps(window.top, window.height, mask.height, side);
    let mut narrow = vec![0.0; mask.height * side];
    for (line, out) in mask.data.chunks(mask.width).zip(narrow.chunks_mut(side)) {
        for (sum, (start, weights)) in out.iter_mut().zip(&columns) {
            *sum = weights.iter().zip(&line[*start..]).map(|(w, &v)| if v > 0 { *w } else { 0.0 }).sum();
        }
    }
    let mut data = Vec::with_capacity(side * side);
    for (start, weights) in &rows {
        for column in 0..side {
            let share = |(i, w): (usize, &f64)| w * narrow[(start + i) * side + column];
            data.push(weights.iter().enumerate().map(share).sum::<f64>() > 0.5 + TIE);
        }
    }
    data
}

/// For each target pixel: the first source pixel it covers, and the share that each covered one has in it.
fn overlaps(start: f64, length: f64, limit: usize, side: usize) -> Vec<(usize, Vec<f64>)> {
    let step = length / side as f64;
    (0..side)
        .map(|i| {
            let (low, high) = (start + i as f64 * step, start + (i + 1) as f64 * step);
            let first = (low as usize).min(limit - 1);
            let last = (high.ceil() as usize).clamp(first + 1, limit);
            let share = |j: usize| ((high.min((j + 1) as f64) - low.max(j as f64)) / step).max(0.0);
            (first, (first..last).map(share).collect())
        })
        .collect()
}
