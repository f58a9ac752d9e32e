//! Images as the backbone sees them: a square of RGB bytes.
//!
//! Owns: which part of an image is looked at, and Pillow's antialiased resizes. Does not own: decoding
//! (`decode`), normalisation (the backbone).

use crate::data::decode::{self, Pixels};
use crate::data::digest::Digest;
use crate::data::index::{Drawing, Image, Source};
use crate::data::layouts::synthetic::{self, Rendered};
use crate::error::{Error, Result};
use crate::spec::{self, Filter};
use fast_image_resize::images::{Image as Target, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// The part of an image that the network sees, in pixels of the original.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Window {
    /// The whole image, or, with `resize`, what torchvision's `Resize(resize)` (with `keep_aspect`, else `Resize((resize, resize))`)
    /// and `CenterCrop(size)` leave of it: the longer side is rounded down, the margin is halved with ties to even.
    pub(crate) fn of(width: usize, height: usize, geometry: &spec::Geometry) -> Result<Window> {
        let spec::Geometry { size, resize, keep_aspect, .. } = *geometry;
        if size == 0 || (resize > 0 && resize < size) {
            let what = format!("image.size = {size}, image.resize = {resize}: the crop does not fit into the image");
            return Err(Error::usage(what, "image.resize must be 0 or at least image.size"));
        }
        if resize == 0 {
            return Ok(Window { left: 0.0, top: 0.0, width: width as f64, height: height as f64 });
        }
        let short = width.min(height);
        let span = |side: usize| {
            let resized = if keep_aspect { resize * side / short } else { resize };
            let margin = ((resized - size) as f64 / 2.0).round_ties_even();
            let scale = side as f64 / resized as f64;
            let start = margin * scale;
            let mut length = (size as f64 * scale).min(side as f64 - start);
            while start + length > side as f64 {
                length = length.next_down();
            }
            (start, length)
        };
        let ((left, width), (top, height)) = (span(width), span(height));
        Ok(Window { left, top, width, height })
    }
}

/// Refuses a crop that no image can fill: `image.resize` set, but smaller than `image.size`.
pub fn check_geometry(geometry: &spec::Geometry) -> Result<()> {
    Window::of(geometry.size, geometry.size, geometry).map(drop)
}

/// Loads `image` as the backbone sees it: a square with three channels.
///
/// # Errors
/// A file that cannot be decoded (see [`decode::decode`]), or a crop larger than the resized image.
pub fn load_rgb(image: &Image, geometry: &spec::Geometry) -> Result<Pixels> {
    square(&load(image)?, geometry)
}

/// Pixels of an image at its original size as the backbone sees them.
///
/// # Errors
/// A crop larger than the resized image.
pub fn square(pixels: &Pixels, geometry: &spec::Geometry) -> Result<Pixels> {
    let window = Window::of(pixels.width, pixels.height, geometry)?;
    Ok(resize_by(geometry.filter, pixels, window, geometry.size, geometry.size).into_rgb())
}

/// Loads `image` at its original size, with the errors of [`decode::decode`].
pub fn load(image: &Image) -> Result<Pixels> {
    load_known(image, None)
}

/// The same; a file is to have this content. What is drawn is in no file and cannot change.
pub(super) fn load_known(image: &Image, content: Option<&Digest>) -> Result<Pixels> {
    match &image.source {
        Source::File(path) => decode::decode_known(path, content),
        Source::Synthetic(drawing) => {
            let rgb = render(drawing)?.rgb;
            let (width, height) = (rgb.width() as usize, rgb.height() as usize);
            Ok(Pixels { width, height, channels: 3, data: rgb.into_raw() })
        }
        Source::Absent(_) => Err(absent(&image.path)),
    }
}

/// What is said where pixels are asked of an image whose digest alone is known.
pub(crate) fn absent(path: &str) -> Error {
    let help = "its method compares images with training images, or a file of the model is gone or damaged: \
                use `dmad predict --run` beside the dataset, or export the model again";
    Error::data(path, "an exported model does not hold this image", help)
}

/// Original width and height of `image`, without decoding it, with the errors of [`decode::size`].
pub fn size(image: &Image) -> Result<(usize, usize)> {
    match &image.source {
        Source::File(path) => decode::size(path),
        Source::Synthetic(drawing) => Ok((drawing.spec.side as usize, drawing.spec.side as usize)),
        Source::Absent(_) => Err(absent(&image.path)),
    }
}

pub(crate) fn render(drawing: &Drawing) -> Result<Rendered> {
    synthetic::render(&drawing.spec, &drawing.class, drawing.split, drawing.defect, drawing.index)
}

/// Pillow's `resize((width, height), BILINEAR, box=window)`: a triangle filter as wide as the reduction, horizontally,
/// then vertically, with bytes between. Grey stays grey: equal channels stay equal.
pub(crate) fn resize(pixels: &Pixels, window: Window, width: usize, height: usize) -> Pixels {
    resize_by(Filter::Bilinear, pixels, window, width, height)
}

/// The same with any of the filters.
fn resize_by(filter: Filter, pixels: &Pixels, window: Window, width: usize, height: usize) -> Pixels {
    // Two calls, because one would go vertically first and round to other bytes. Pillow 11 always goes this way; 13 does so for most shapes.
    let columns = Window { top: 0.0, height: pixels.height as f64, ..window };
    let narrow = one_way(filter, pixels, columns, width, pixels.height);
    let rows = Window { left: 0.0, width: width as f64, ..window };
    one_way(filter, &narrow, rows, width, height)
}

fn one_way(filter: Filter, pixels: &Pixels, window: Window, width: usize, height: usize) -> Pixels {
    let Pixels { channels, .. } = *pixels;
    let kind = if channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let source = ImageRef::new(pixels.width as u32, pixels.height as u32, &pixels.data, kind);
    let source = source.expect("the buffer has the size of its pixels");
    let mut target = Target::new(width as u32, height as u32, kind);
    let kernel = match filter {
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Bicubic => FilterType::CatmullRom,
        Filter::Lanczos => FilterType::Lanczos3,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(kernel));
    let options = options.crop(window.left, window.top, window.width, window.height);
    Resizer::new().resize(&source, &mut target, &options).expect("the window lies within the image");
    Pixels { width, height, channels, data: target.into_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: usize, height: usize) -> Vec<u8> {
        let mut stream = crate::random::stream(0, crate::random::Purpose::Synthetic, 0);
        (0..width * height).map(|_| stream.bits() as u8).collect()
    }

    #[test]
    fn a_window_is_what_resizing_the_shorter_side_and_cropping_the_centre_leave() {
        let geometry = spec::Geometry { size: 224, resize: 256, ..spec::Geometry::default() };
        let window = Window::of(1024, 700, &geometry).unwrap();
        // Resized 374 × 256, margins 75 and 16.
        let scale = 1024.0 / 374.0;
        assert!((window.left - 75.0 * scale).abs() < 1e-9 && (window.width - 224.0 * scale).abs() < 1e-9);
        assert!((window.top - 16.0 * 700.0 / 256.0).abs() < 1e-9);
        // Without the aspect both sides are 256 wide: margins of 16.
        let window = Window::of(1024, 700, &spec::Geometry { keep_aspect: false, ..geometry }).unwrap();
        assert_eq!((window.left, window.width), (64.0, 896.0));
        assert!((window.top - 43.75).abs() < 1e-9 && (window.height - 612.5).abs() < 1e-9);
        assert!(Window::of(100, 100, &spec::Geometry { size: 256, resize: 224, ..spec::Geometry::default() }).is_err());
    }

    #[test]
    fn resizing_a_window_equals_resizing_all_and_cropping_within_a_level() {
        let pixels = Pixels { width: 300, height: 200, channels: 1, data: noise(300, 200) };
        let geometry = spec::Geometry { size: 64, resize: 80, ..spec::Geometry::default() };
        let direct = resize(&pixels, Window::of(300, 200, &geometry).unwrap(), 64, 64);
        let all = resize(&pixels, Window { left: 0.0, top: 0.0, width: 300.0, height: 200.0 }, 120, 80);
        for (row, line) in direct.data.chunks(64).enumerate() {
            let start = (row + 8) * 120 + 28;
            assert!(line.iter().zip(&all.data[start..start + 64]).all(|(a, b)| a.abs_diff(*b) <= 1), "row {row}");
        }
    }

    /// What Pillow 13.0 makes of an image of 11 × 7 with `Image.LANCZOS`.
    #[test]
    fn three_lobes_are_pillows() {
        let pixel = |number: usize| {
            let (row, column) = (number / 11, number % 11);
            ((37 * column * column + 101 * row * column + 53 * row) % 256) as u8
        };
        let pixels = Pixels { width: 11, height: 7, channels: 1, data: (0..77).map(pixel).collect() };
        let whole = Window { left: 0.0, top: 0.0, width: 11.0, height: 7.0 };
        let resized = resize_by(Filter::Lanczos, &pixels, whole, 5, 3).data;
        assert_eq!(resized, [89, 118, 140, 76, 145, 161, 141, 143, 170, 167, 106, 121, 99, 166, 79]);
    }

    #[test]
    fn grey_resized_alone_equals_grey_resized_as_three_channels() {
        for (width, height) in [(301, 199), (37, 90)] {
            let grey = Pixels { width, height, channels: 1, data: noise(width, height) };
            let window = Window::of(width, height, &spec::Geometry { size: 64, ..spec::Geometry::default() }).unwrap();
            let alone = resize(&grey, window, 64, 64).into_rgb();
            assert_eq!(alone, resize(&grey.into_rgb(), window, 64, 64));
        }
    }
}
