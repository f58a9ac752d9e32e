//! Image files to pixels: PNG, JPEG, BMP, TIFF and WebP, told apart by content.
//!
//! Owns: which files are refused, and how depths and colours become 8-bit grey or RGB. Does not own: resizing (`image`)
//! and truth masks (`mask`).
//!
//! The rules are Pillow's `convert("RGB")`: alpha is dropped, palettes are looked up, one and the same grey in three
//! channels. 16-bit values keep their high byte, also for grey, where Pillow would clip everything above 255. JPEG
//! decoders differ among themselves by a level or two.

use crate::data::digest::Digest;
use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits};
use std::io::Cursor;
use std::path::Path;

/// Images with a shorter side carry no texture: at 8 pixels a stride-8 map has one position.
pub const MIN_SIDE: usize = 8;
/// Larger images are taken for damaged headers (134 million pixels).
const MAX_PIXELS: u64 = 1 << 27;
/// The largest image at 16 bits in four channels, and as much again for the decoder.
const MAX_ALLOCATION_BYTES: u64 = 2 * 8 * MAX_PIXELS;
const DAMAGED: &str = "replace the file: it is damaged or was not copied whole";

/// 8-bit pixels, rows of `width` × `channels` values; one channel stands for three equal ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `height` × `width` × `channels` values.
    pub data: Vec<u8>,
}

impl Pixels {
    /// The same image with three channels.
    pub fn into_rgb(self) -> Pixels {
        if self.channels == 3 {
            return self;
        }
        let data = self.data.iter().flat_map(|&grey| [grey; 3]).collect();
        Pixels { channels: 3, data, ..self }
    }
}

/// Decodes the image file at `path`.
///
/// # Errors
/// A file that is unreadable, empty, cut off, damaged, no image, of an unsupported kind, smaller than [`MIN_SIDE`], or
/// of absurd size.
pub fn decode(path: &Path) -> Result<Pixels> {
    decode_known(path, None)
}

/// The same of a file that is to have this content.
pub(super) fn decode_known(path: &Path, content: Option<&Digest>) -> Result<Pixels> {
    to_pixels(path, decode_raw(path, content)?)
}

/// Width and height from the header alone, with the errors of [`decode`] that it shows.
pub fn size(path: &Path) -> Result<(usize, usize)> {
    refuse_pipe(path)?;
    // Not `ImageReader::open`, which would believe the ending of the name.
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    let reader =
        ImageReader::new(std::io::BufReader::new(file)).with_guessed_format().map_err(Error::io("read", path))?;
    if reader.format().is_none() {
        let length = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
        return Err(not_an_image(path, length == 0));
    }
    let (width, height) = reader.into_dimensions().map_err(|e| undecodable(path, &e))?;
    check_size(path, width, height)
}

/// Whether the file says that whoever shows it turns or mirrors it first (EXIF). That is not done here, as the codes that
/// numbers were published with do not do it either.
pub fn is_turned(path: &Path) -> bool {
    if refuse_pipe(path).is_err() {
        return false;
    }
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).ok();
    let decoder = reader.and_then(|reader| reader.into_decoder().ok());
    let orientation = decoder.and_then(|mut decoder| decoder.orientation().ok());
    orientation.is_some_and(|orientation| orientation != Orientation::NoTransforms)
}

/// Decodes without changing depth or colour. The bytes that are decoded are those that are held against `content`.
pub(super) fn decode_raw(path: &Path, content: Option<&Digest>) -> Result<DynamicImage> {
    refuse_pipe(path)?;
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    if content.is_some_and(|content| blake3::hash(&bytes) != *content) {
        let what = "changed while the run was under way: it is not the file any more that the run began with";
        let help = "run again, once nothing changes the dataset; said once more, it means that digests.txt of the store is wrong: \
                    remove that file";
        return Err(Error::data(path, what, help));
    }
    let Ok(format) = image::guess_format(&bytes) else {
        return Err(not_an_image(path, bytes.is_empty()));
    };
    let reader = || ImageReader::with_format(Cursor::new(&bytes), format);
    let (width, height) = reader().into_dimensions().map_err(|e| undecodable(path, &e))?;
    check_size(path, width, height)?;
    let whole = match format {
        ImageFormat::Png => png_is_whole(&bytes),
        ImageFormat::Jpeg => jpeg_is_whole(&bytes),
        ImageFormat::WebP => webp_is_whole(&bytes),
        _ => true,
    };
    if !whole {
        return Err(Error::data(path, "the file is cut off", DAMAGED));
    }
    let mut reader = reader();
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION_BYTES);
    reader.limits(limits);
    reader.decode().map_err(|e| undecodable(path, &e))
}

/// Whoever opens a pipe or a device may wait without end.
fn refuse_pipe(path: &Path) -> Result<()> {
    let kind = std::fs::metadata(path).map_err(Error::io("open", path))?.file_type();
    let what = "neither a file nor a link to one, but a pipe, a device or a folder";
    if kind.is_file() { Ok(()) } else { Err(Error::data(path, what, "put an image there, or remove it")) }
}

fn not_an_image(path: &Path, is_empty: bool) -> Error {
    let what = if is_empty { "the file is empty" } else { "not an image" };
    Error::data(path, what, "supported: PNG, JPEG, BMP, TIFF, WebP; replace or remove the file")
}

fn undecodable(path: &Path, error: &ImageError) -> Error {
    let help = match error {
        ImageError::Unsupported(_) => "supported: PNG, JPEG, BMP, TIFF, WebP with 8 or 16 bits; convert the file",
        _ => DAMAGED,
    };
    Error::data(path, format!("cannot be decoded: {error}"), help)
}

fn check_size(path: &Path, width: u32, height: u32) -> Result<(usize, usize)> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let what = format!("the header claims {width} × {height} pixels, above the limit of {MAX_PIXELS}");
        return Err(Error::data(path, what, "the header is damaged, or the image has to be made smaller"));
    }
    if (width.min(height) as usize) < MIN_SIDE {
        let what = format!("{width} × {height} pixels is too small: each side needs at least {MIN_SIDE}");
        return Err(Error::data(path, what, "remove the file; so small an image shows nothing"));
    }
    Ok((width as usize, height as usize))
}

/// True when the chunks of a PNG reach its end mark.
fn png_is_whole(bytes: &[u8]) -> bool {
    const SIGNATURE_BYTES: usize = 8;
    let mut at = SIGNATURE_BYTES;
    while let Some(&[a, b, c, d, ref kind @ ..]) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        // Length, kind, content and checksum.
        at += 12 + length;
        if kind == b"IEND" {
            return at <= bytes.len();
        }
    }
    false
}

/// True when a WebP is as long as it says.
fn webp_is_whole(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.get(4..8) else { return false };
    bytes.len() >= 8 + u32::from_le_bytes([a, b, c, d]) as usize
}

/// True when the segments of a JPEG reach its end mark; the decoder itself fills missing rows with grey.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const END: u8 = 0xD9;
    const SCAN: u8 = 0xDA;
    let mut at = 2;
    let mut in_scan = false;
    while at + 1 < bytes.len() {
        let marker = bytes[at + 1];
        // Inside a scan, FF 00 is data and FF D0 to FF D7 restarts it; FF FF is filling anywhere.
        if bytes[at] != 0xFF || marker == 0xFF || (in_scan && matches!(marker, 0 | 0xD0..=0xD7)) {
            let from = at + 1;
            let Some(step) = bytes[from..].iter().position(|&b| b == 0xFF) else { return false };
            at = from + step;
            continue;
        }
        if marker == END {
            return true;
        }
        let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        in_scan = marker == SCAN;
    }
    false
}

fn to_pixels(path: &Path, image: DynamicImage) -> Result<Pixels> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let high = |value: u16| (value >> 8) as u8;
    let (channels, data) = match image {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => (1, image.pixels().map(|p| p.0[0]).collect()),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageRgba8(image) => (3, image.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]).collect()),
        DynamicImage::ImageLuma16(image) => (1, image.into_raw().into_iter().map(high).collect()),
        DynamicImage::ImageLumaA16(image) => (1, image.pixels().map(|p| high(p.0[0])).collect()),
        DynamicImage::ImageRgb16(image) => (3, image.into_raw().into_iter().map(high).collect()),
        DynamicImage::ImageRgba16(image) => {
            (3, image.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]].map(high)).collect())
        }
        _ => {
            let what = "its pixels are floating-point numbers";
            return Err(Error::data(path, what, "convert the file to 8 or 16 bits per channel"));
        }
    };
    assert_eq!(data.len(), width * height * channels, "{}: decoded size", path.display());
    Ok(Pixels { width, height, channels, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jpeg_with_stuffed_bytes_restarts_and_filling_is_whole_only_with_its_end_mark() {
        let start = [0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 0xFF, 0xD9, 0xFF, 0xDA, 0, 3, 0];
        let scan = [1, 0xFF, 0, 2, 0xFF, 0xD0, 3, 0xFF, 0xFF];
        let whole = [&start[..], &scan, &[0xD9]].concat();
        assert!(jpeg_is_whole(&whole));
        // The end mark inside the application segment does not count.
        assert!((0..whole.len()).all(|length| !jpeg_is_whole(&whole[..length])));
    }
}
