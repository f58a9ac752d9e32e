//! Decoding, geometry and masks.

use super::{copy_of, data_error, real};
use crate::{generator, util};
use dmad::data::decode::{self, Pixels};
use dmad::data::index::{Image, Labelled, Source};
use dmad::data::{image as images, mask};
use dmad::spec::{self, MaskResize};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba};
use std::fs;
use std::path::{Path, PathBuf};

/// 8 × 8, palette of 2 bits with a transparent colour: colour (200, 100, 50) in rows 2–3, columns 3–5, colour
/// (10, 20, 30) in row 6, column 7, black elsewhere. Written by Pillow.
const PALETTE_PNG: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 8, 0, 0, 0, 8, 2, 3, 0, 0, 0, 185, 97, 86,
    24, 0, 0, 0, 12, 80, 76, 84, 69, 0, 0, 0, 200, 100, 50, 10, 20, 30, 0, 0, 0, 217, 150, 190, 116, 0, 0, 0, 1, 116,
    82, 78, 83, 0, 64, 230, 216, 102, 0, 0, 0, 24, 73, 68, 65, 84, 120, 156, 99, 96, 96, 96, 96, 96, 96, 100, 244, 103,
    98, 128, 3, 38, 6, 6, 6, 0, 5, 81, 0, 86, 94, 215, 248, 88, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];
/// The same places in 1-bit grey.
const ONE_BIT_PNG: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 8, 0, 0, 0, 8, 1, 0, 0, 0, 0, 236, 116, 131,
    38, 0, 0, 0, 23, 73, 68, 65, 84, 120, 156, 5, 193, 1, 1, 0, 0, 0, 1, 160, 216, 225, 255, 78, 5, 86, 32, 28, 1, 91,
    0, 32, 211, 10, 69, 220, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];
const WHOLE: spec::Geometry = spec::Geometry { size: 64, resize: 0, keep_aspect: true, filter: spec::Filter::Bilinear };

fn image_at(path: &Path) -> Image {
    Image { path: "class/test/cut/000.png".into(), source: Source::File(path.into()) }
}

fn written(folder: &Path, name: &str, image: impl Into<DynamicImage>) -> PathBuf {
    let path = folder.join(name);
    image.into().save(&path).unwrap();
    path
}

/// The anomaly `image` with `mask`, both written to `folder`.
fn anomaly(folder: &Path, image: impl Into<DynamicImage>, mask: impl Into<DynamicImage>) -> Labelled {
    let image = image_at(&written(folder, "image.png", image));
    let mask = Some(Source::File(written(folder, "mask.png", mask)));
    Labelled { image, defect: "cut".into(), anomalous: true, mask }
}

fn rgb_of(side: u32) -> RgbImage {
    RgbImage::from_raw(side, side, generator::image(3, 0, side as usize)).unwrap()
}

fn block_mask(side: u32, start: u32, end: u32) -> GrayImage {
    let inside = start..end;
    GrayImage::from_fn(side, side, |x, y| Luma([if inside.contains(&x) && inside.contains(&y) { 255 } else { 0 }]))
}

#[test]
fn every_lossless_format_and_depth_gives_the_same_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let rgb = rgb_of(40);
    let grey: GrayImage = ImageBuffer::from_fn(40, 40, |x, y| Luma([rgb.get_pixel(x, y).0[0]]));
    let low = |v: u8| u16::from(v) * 256 + 131;
    let colour: Vec<DynamicImage> = vec![
        rgb.clone().into(),
        ImageBuffer::from_fn(40, 40, |x, y| Rgb(rgb.get_pixel(x, y).0.map(low))).into(),
        ImageBuffer::from_fn(40, 40, |x, y| {
            let [r, g, b] = rgb.get_pixel(x, y).0;
            Rgba([r, g, b, x as u8])
        })
        .into(),
    ];
    let greys: Vec<DynamicImage> = vec![
        grey.clone().into(),
        ImageBuffer::from_fn(40, 40, |x, y| Luma(grey.get_pixel(x, y).0.map(low))).into(),
        ImageBuffer::from_fn(40, 40, |x, y| LumaA([grey.get_pixel(x, y).0[0], y as u8])).into(),
    ];
    let grey_expected = Pixels { width: 40, height: 40, channels: 1, data: grey.into_raw() }.into_rgb();
    for (kind, (expected, list)) in [(rgb.into_raw(), colour), (grey_expected.data, greys)].into_iter().enumerate() {
        for (depth, image) in list.into_iter().enumerate() {
            let png = written(folder.path(), "image.png", image.clone());
            assert_eq!(decode::decode(&png).unwrap().into_rgb().data, expected, "png, kind {kind}, depth {depth}");
            assert_eq!(decode::size(&png).unwrap(), (40, 40));
            // TIFF and BMP writers do not know every depth.
            for name in ["image.tiff", "image.bmp"] {
                let path = folder.path().join(name);
                if image.save(&path).is_ok() {
                    assert_eq!(decode::decode(&path).unwrap().into_rgb().data, expected, "{name}, {kind}, {depth}");
                }
            }
        }
    }
    let path = folder.path().join("palette.png");
    fs::write(&path, PALETTE_PNG).unwrap();
    let palette = decode::decode(&path).unwrap();
    let at = |row: usize, column: usize| &palette.data[(row * 8 + column) * 3..][..3];
    assert_eq!((at(2, 3), at(6, 7), at(0, 0)), (&[200, 100, 50][..], &[10, 20, 30][..], &[0, 0, 0][..]));
    fs::write(&path, ONE_BIT_PNG).unwrap();
    let bits = decode::decode(&path).unwrap();
    assert_eq!((bits.channels, bits.data[2 * 8 + 3], bits.data[0]), (1, 255, 0));
}

#[test]
fn the_ending_of_a_name_does_not_matter_and_jpeg_stays_near_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let rgb = RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8 * 2 + 40, y as u8 * 2 + 40, 128]));
    let jpeg = written(folder.path(), "image.jpg", rgb.clone());
    let renamed = folder.path().join("image.png");
    fs::rename(jpeg, &renamed).unwrap();
    let pixels = decode::decode(&renamed).unwrap();
    let far = pixels.data.iter().zip(rgb.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(far <= Some(12), "{far:?}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn a_cut_off_file_is_refused_at_every_length() {
    let data = util::data();
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "mini/paper_zpb01_rl/test/impurity/000.png",
        "mini/magnetic_tile/test/crack/000.png",
        "dtd/images/banded/banded_0002.jpg",
    ] {
        let bytes = fs::read(data.join(name)).unwrap();
        let path = folder.path().join("cut.png");
        let lengths = (0..40).map(|i| i * bytes.len() / 40).chain([bytes.len() - 1, bytes.len() - 5, bytes.len() - 13]);
        for length in lengths {
            fs::write(&path, &bytes[..length]).unwrap();
            let (found, what, help) = data_error(decode::decode(&path).unwrap_err());
            assert!(found == path && !what.is_empty() && !help.is_empty(), "{name}, {length} bytes");
        }
        fs::write(&path, &bytes).unwrap();
        assert!(decode::decode(&path).is_ok());
    }
    let rgb = rgb_of(40);
    for name in ["image.bmp", "image.tiff"] {
        let path = written(folder.path(), name, rgb.clone());
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
        assert!(decode::decode(&path).is_err(), "{name}");
    }
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn a_flipped_byte_in_a_png_is_refused() {
    let data = util::data();
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(data.join("mini/magnetic_tile/test/crack/000.png")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let path = folder.path().join("flipped.png");
    fs::write(&path, bytes).unwrap();
    assert!(data_error(decode::decode(&path).unwrap_err()).1.contains("cannot be decoded"));
}

#[test]
fn empty_foreign_tiny_absurd_and_floating_point_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.png");
    let mut absurd = [0; 54];
    absurd[..2].copy_from_slice(b"BM");
    for (at, value) in [(10, 54_u32), (14, 40), (18, 60_000), (22, 60_000), (26, 1 | 24 << 16)] {
        absurd[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let bytes = |image: DynamicImage, format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let float = ImageBuffer::from_pixel(20, 20, Rgb([0.5_f32; 3]));
    for (content, expected) in [
        (Vec::new(), "is empty"),
        (b"this is no image at all".to_vec(), "not an image"),
        (bytes(RgbImage::new(1, 1).into(), image::ImageFormat::Png), "1 × 1 pixels is too small"),
        (bytes(RgbImage::new(100, 7).into(), image::ImageFormat::Png), "100 × 7 pixels is too small"),
        (absurd.to_vec(), "60000 × 60000"),
        (b"GIF89a\x10\0\x10\0\0\0\0;".to_vec(), "cannot be decoded"),
        (bytes(float.into(), image::ImageFormat::Tiff), "floating-point"),
    ] {
        fs::write(&path, content).unwrap();
        let (found, what, _) = data_error(decode::decode(&path).unwrap_err());
        assert!(found == path && what.contains(expected), "{expected}: {what}");
        if expected != "floating-point" {
            assert!(data_error(decode::size(&path).unwrap_err()).1.contains(expected), "{expected}");
        }
    }
    assert!(decode::decode(&folder.path().join("nowhere.png")).unwrap_err().to_string().contains("nowhere.png"));
}

#[test]
fn masks_of_any_depth_and_colour_are_binary_where_they_are_not_zero() {
    let folder = tempfile::tempdir().unwrap();
    let block = block_mask(40, 10, 20);
    let set = |x, y| block.get_pixel(x, y).0[0] > 0;
    let masks: Vec<DynamicImage> = vec![
        ImageBuffer::from_fn(40, 40, |x, y| Luma([u8::from(set(x, y)) * 3])).into(),
        ImageBuffer::from_fn(40, 40, |x, y| Luma([u16::from(set(x, y))])).into(),
        ImageBuffer::from_fn(40, 40, |x, y| LumaA([u8::from(set(x, y)), 255])).into(),
        ImageBuffer::from_fn(40, 40, |x, y| Rgb([0, 0, u8::from(set(x, y))])).into(),
        ImageBuffer::from_fn(40, 40, |x, y| Rgba([0, u8::from(set(x, y)), 0, 255])).into(),
        ImageBuffer::from_fn(40, 40, |x, y| Rgba([0, u16::from(set(x, y)), 0, 65535])).into(),
    ];
    for mask in masks {
        let labelled = anomaly(folder.path(), rgb_of(40), mask);
        let original = mask::evaluation_mask(&labelled, &WHOLE, 0, MaskResize::Bilinear05).unwrap();
        let expected: Vec<bool> = block.pixels().map(|p| p.0[0] > 0).collect();
        assert_eq!((original.width, original.height, original.data), (40, 40, expected));
    }
    for content in [PALETTE_PNG, ONE_BIT_PNG] {
        let labelled = anomaly(folder.path(), rgb_of(8), block_mask(8, 1, 2));
        fs::write(folder.path().join("mask.png"), content).unwrap();
        let mask = mask::evaluation_mask(&labelled, &WHOLE, 0, MaskResize::Nearest).unwrap();
        let set: Vec<usize> = (0..64).filter(|&i| mask.data[i]).collect();
        assert_eq!(set, [19, 20, 21, 27, 28, 29, 55]);
    }
}

#[test]
fn masks_that_are_empty_of_another_size_or_missing_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let fault = |labelled: &Labelled| {
        let error = mask::evaluation_mask(labelled, &WHOLE, 64, MaskResize::Bilinear05).unwrap_err();
        let source = labelled.mask.as_ref().unwrap();
        assert_eq!(
            error.to_string(),
            mask::training_mask(&labelled.image, source, None, &WHOLE).unwrap_err().to_string()
        );
        error.to_string()
    };
    let empty = fault(&anomaly(folder.path(), rgb_of(40), GrayImage::new(40, 40)));
    assert!(empty.contains("mask.png") && empty.contains("is empty") && empty.contains("class/test/cut/000.png"));
    let other = fault(&anomaly(folder.path(), rgb_of(40), block_mask(41, 10, 20)));
    assert!(other.contains("mask.png") && other.contains("41 × 41") && other.contains("40 × 40"), "{other}");
    let labelled = anomaly(folder.path(), rgb_of(40), block_mask(40, 10, 20));
    fs::remove_file(folder.path().join("mask.png")).unwrap();
    assert!(fault(&labelled).contains("mask.png"));
}

#[test]
fn the_ways_to_resize_a_mask_differ_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    // Columns 3 to 8 of 16 become columns 0 to 3 of 4: the second is covered whole, the first by a quarter and the
    // third by a quarter.
    let labelled = anomaly(folder.path(), rgb_of(16), block_mask(16, 3, 9));
    let row = |how| -> Vec<bool> { mask::evaluation_mask(&labelled, &WHOLE, 4, how).unwrap().data[4..8].to_vec() };
    assert_eq!(row(MaskResize::Nearest), [false, true, false, false]);
    assert_eq!(row(MaskResize::Area05), [false, true, false, false]);
    assert_eq!(row(MaskResize::Bilinear05), [false, true, false, false]);
    assert_eq!(row(MaskResize::IntTrunc), [false; 4]);
    assert_eq!(row(MaskResize::Bilinear0), [true, true, true, false]);
    // Exactly half an area is not more than half; one more column is.
    let count = |start, end, how| {
        let labelled = anomaly(folder.path(), rgb_of(16), block_mask(16, start, end));
        mask::evaluation_mask(&labelled, &WHOLE, 2, how).unwrap().data.iter().filter(|v| **v).count()
    };
    assert_eq!(count(0, 8, MaskResize::Area05), 1);
    assert_eq!(count(0, 12, MaskResize::Area05), 1);
    assert_eq!(count(0, 13, MaskResize::Area05), 3);
    // A pixel of 1024 is lost by all but luck; the mask then is all normal and the image keeps its label.
    assert_eq!(count(5, 6, MaskResize::Bilinear05), 0);
}

#[test]
fn area_shares_are_right_when_the_sizes_do_not_divide() {
    let folder = tempfile::tempdir().unwrap();
    let labelled = anomaly(folder.path(), rgb_of(37), block_mask(37, 4, 23));
    let got = mask::evaluation_mask(&labelled, &WHOLE, 10, MaskResize::Area05).unwrap();
    // In tenths of a source pixel: target i covers 37·i to 37·(i + 1), the block 40 to 230.
    let share = |i: i64| ((37 * (i + 1)).min(230) - (37 * i).max(40)).max(0);
    for (i, value) in got.data.iter().enumerate() {
        let (row, column) = (i as i64 / 10, i as i64 % 10);
        assert_eq!(*value, 2 * share(row) * share(column) > 37 * 37, "{row}, {column}");
    }
}

#[test]
fn a_crop_cuts_image_and_mask_alike() {
    let folder = tempfile::tempdir().unwrap();
    let block = GrayImage::from_fn(90, 60, |x, y| Luma([if (40..50).contains(&x) && y < 20 { 255 } else { 0 }]));
    let grey: GrayImage = ImageBuffer::from_fn(90, 60, |x, y| Luma([block.get_pixel(x, y).0[0]]));
    let labelled = anomaly(folder.path(), grey, block);
    for geometry in [
        spec::Geometry { size: 40, resize: 60, ..spec::Geometry::default() },
        spec::Geometry { size: 48, resize: 60, ..spec::Geometry::default() },
        WHOLE,
    ] {
        let rgb = images::load_rgb(&labelled.image, &geometry).unwrap();
        let red: Vec<u8> = rgb.data.iter().copied().step_by(3).collect();
        let source = labelled.mask.as_ref().unwrap();
        assert_eq!(red, mask::training_mask(&labelled.image, source, None, &geometry).unwrap());
        let evaluated = mask::evaluation_mask(&labelled, &geometry, geometry.size, MaskResize::Bilinear05).unwrap();
        assert_eq!(evaluated.data, red.iter().map(|&v| v > 127).collect::<Vec<_>>());
    }
    // At the original size: the middle 40 of 90 columns and of 60 rows.
    let geometry = spec::Geometry { size: 40, resize: 60, ..spec::Geometry::default() };
    let original = mask::evaluation_mask(&labelled, &geometry, 0, MaskResize::Nearest).unwrap();
    assert_eq!((original.width, original.height), (40, 40));
    assert_eq!(original.data.iter().filter(|v| **v).count(), 10 * 10);
    let error =
        images::load_rgb(&labelled.image, &spec::Geometry { size: 64, resize: 60, ..spec::Geometry::default() })
            .unwrap_err()
            .to_string();
    assert!(error.contains("image.resize = 60"), "{error}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn real_images_and_masks_load_and_normal_images_have_all_false_masks() {
    let data = util::data();
    for name in ["smoke", "visa_layout"] {
        let index = real(name, &data);
        for labelled in &index.classes[0].test {
            assert_eq!(images::load_rgb(&labelled.image, &WHOLE).unwrap().data.len(), 64 * 64 * 3);
            let mask = mask::evaluation_mask(labelled, &WHOLE, 0, MaskResize::Bilinear05).unwrap();
            assert_eq!((mask.width, mask.height), images::size(&labelled.image).unwrap());
            assert_eq!(mask.data.iter().any(|&v| v), labelled.anomalous, "{}", labelled.image.path);
            let mask = mask::evaluation_mask(labelled, &WHOLE, 32, MaskResize::Bilinear05).unwrap();
            assert_eq!((mask.width, mask.height, mask.data.len()), (32, 32, 1024));
        }
    }
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn an_anomaly_whose_mask_was_emptied_is_found_in_a_real_tree() {
    let data = util::data();
    let folder = copy_of("smoke", &data);
    let index = real("smoke", folder.path());
    let labelled = index.classes[0].test.iter().find(|l| l.anomalous).unwrap();
    let Some(Source::File(path)) = &labelled.mask else { panic!("no mask file") };
    let (width, height) = decode::size(path).unwrap();
    GrayImage::new(width as u32, height as u32).save(path).unwrap();
    let (found, what, _) = data_error(mask::load(&labelled.image, labelled.mask.as_ref().unwrap()).unwrap_err());
    assert!(found == *path && what.contains("empty"), "{what}");
}
