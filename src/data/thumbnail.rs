//! Picture files of our own making: pictures beside a record, and figures.

use super::decode::Pixels;
use super::image::{Window, resize};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use png::{BitDepth, ColorType, Encoder, PixelDimensions, Unit};

/// A PNG of `width` × `height` pixels with one (grey) or three (RGB) values each; `dots_per_inch` is what it says of its
/// size in print. The same pixels give the same bytes.
///
/// # Panics
/// When `pixels` does not hold one or three values per pixel.
pub fn png(pixels: &[u8], (width, height): (usize, usize), dots_per_inch: Option<f64>) -> Vec<u8> {
    let colour = match pixels.len() {
        grey if grey == width * height => ColorType::Grayscale,
        rgb if rgb == 3 * width * height => ColorType::Rgb,
        values => panic!("{values} values are no image of {width} × {height}"),
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_pixel_dims(dots_per_inch.map(|dots| {
        let per_metre = (dots / 0.0254).round() as u32;
        PixelDimensions { xppu: per_metre, yppu: per_metre, unit: Unit::Meter }
    }));
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels)?;
        writer.finish()
    });
    written.unwrap_or_else(|fault| unreachable!("a vector takes every image of a fitting size: {fault}"));
    bytes
}

/// A PNG of `width` × `height` numbers of colours; `colours` are red, green, blue and opacity, at most 256. The same numbers
/// give the same bytes.
///
/// # Panics
/// When `numbers` does not hold one number per pixel, or there are more colours.
pub fn png_of_colours(numbers: &[u8], (width, height): (usize, usize), colours: &[[u8; 4]]) -> Vec<u8> {
    assert_eq!(numbers.len(), width * height, "one number per pixel");
    assert!((1..=256).contains(&colours.len()), "{} colours", colours.len());
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(colours.iter().flat_map(|colour| colour[..3].to_vec()).collect::<Vec<u8>>());
    encoder.set_trns(colours.iter().map(|colour| colour[3]).collect::<Vec<u8>>());
    // Numbers rise with what they stand for, so neighbours tell of each other.
    encoder.set_filter(png::Filter::Adaptive);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(numbers)?;
        writer.finish()
    });
    written.unwrap_or_else(|fault| unreachable!("a vector takes every image of a fitting size: {fault}"));
    bytes
}

/// A JPEG of `width` × `height` RGB pixels; the same pixels give the same bytes.
///
/// # Panics
/// When `pixels` does not hold three values per pixel.
pub fn jpeg(pixels: &[u8], (width, height): (usize, usize), quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    let written = encoder.write_image(pixels, width as u32, height as u32, ExtendedColorType::Rgb8);
    written.unwrap_or_else(|fault| unreachable!("a vector takes every image of a fitting size: {fault}"));
    bytes
}

/// A square image made smaller, to `side` pixels; one that is no larger stays.
pub fn reduced(pixels: Pixels, side: usize) -> Pixels {
    if pixels.width <= side {
        return pixels;
    }
    let whole = Window { left: 0.0, top: 0.0, width: pixels.width as f64, height: pixels.height as f64 };
    resize(&pixels, whole, side, side)
}
