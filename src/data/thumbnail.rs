//! PNG files of our own making: pictures beside a record, and figures.

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
