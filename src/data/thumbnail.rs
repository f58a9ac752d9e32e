//! PNG files of our own making: pictures beside a record, and figures.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// A PNG of `width` × `height` pixels with one (grey) or three (RGB) values each. The same pixels give the same bytes.
///
/// # Panics
/// When `pixels` does not hold one or three values per pixel.
pub fn png(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let colour = match pixels.len() {
        grey if grey == width * height => ExtendedColorType::L8,
        rgb if rgb == 3 * width * height => ExtendedColorType::Rgb8,
        values => panic!("{values} values are no image of {width} × {height}"),
    };
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive);
    let written = encoder.write_image(pixels, width as u32, height as u32, colour);
    written.unwrap_or_else(|fault| unreachable!("a vector takes every image of a fitting size: {fault}"));
    bytes
}
