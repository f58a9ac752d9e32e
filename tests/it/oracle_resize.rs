//! Decoding and Pillow's antialiased bilinear resize.

use crate::{generator, util};
use dmad::data::index::{Image, Source};
use dmad::data::{decode, image};
use dmad::spec;
use sha2::{Digest, Sha256};
use std::path::Path;

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn load(path: &Path) -> Vec<u8> {
    load_as(path, &spec::Geometry { size: 256, ..spec::Geometry::default() })
}

fn load_as(path: &Path, geometry: &spec::Geometry) -> Vec<u8> {
    let image = Image { path: "image.png".into(), source: Source::File(path.into()) };
    let loaded = image::load_rgb(&image, geometry).unwrap();
    assert_eq!((loaded.width, loaded.height), (geometry.size, geometry.size));
    loaded.data
}

/// Holds the resized `pixels` against the reference: equal where that went horizontally first too. Pillow 13, which made
/// it, goes vertically first on some images that are not square; Pillow 11 never does. The other order rounds some bytes
/// to their neighbour.
fn check(name: &str, pixels: &[u8], reference: &Path) {
    let expected: Vec<u8> = util::array(reference);
    assert_eq!(pixels.len(), expected.len());
    let tolerance = if ["1024x1024", "paper_rgb"].contains(&name) { 0 } else { 1 };
    let largest = pixels.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(largest <= Some(tolerance), "{name}: {largest:?}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn real_images_decode_exactly_and_resize_as_pillow_does() {
    let (oracles, data) = (util::oracles(), util::data());
    let reference = util::json(&oracles.join("a1_resize.json"));
    for name in ["tile_grey", "paper_rgb"] {
        let entry = &reference[name];
        let path = data.join(entry["source"]["path"].as_str().unwrap());
        let decoded = decode::decode(&path).unwrap().into_rgb();
        assert_eq!((decoded.width as u64, decoded.height as u64), {
            (entry["width"].as_u64().unwrap(), entry["height"].as_u64().unwrap())
        });
        assert_eq!(sha(&decoded.data), entry["decoded_rgb_sha256"].as_str().unwrap(), "{name}");
        check(name, &load(&path), &oracles.join(format!("a1_{name}_256.npy")));
    }
}

#[test]
fn generated_images_resize_as_pillow_does() {
    let folder = tempfile::tempdir().unwrap();
    let whole = generator::image(3, 0, 1024);
    let cut: Vec<u8> =
        generator::image(3, 1, 1024).chunks(1024 * 3).take(700).flat_map(|row| row[..410 * 3].to_vec()).collect();
    for (name, width, height, pixels) in [("1024x1024", 1024, 1024, whole), ("410x700", 410, 700, cut)] {
        let path = folder.path().join("image.png");
        ::image::save_buffer(&path, &pixels, width, height, ::image::ExtendedColorType::Rgb8).unwrap();
        check(name, &load(&path), &util::reference(&format!("resize_{name}.npy")));
    }
}

#[test]
fn a_cubic_filter_and_a_square_before_the_crop_are_as_pillow_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.png");
    let cut: Vec<u8> =
        generator::image(3, 1, 1024).chunks(1024 * 3).take(700).flat_map(|row| row[..410 * 3].to_vec()).collect();
    let size = spec::Geometry { size: 112, ..spec::Geometry::default() };
    let cubic = spec::Geometry { filter: spec::Filter::Bicubic, ..size.clone() };
    let crop = spec::Geometry { resize: 128, keep_aspect: false, ..size };
    // Weights of the cubic filter are rounded otherwise, and the cropped reference is cropped after resizing: a level.
    for (name, [width, height], pixels, geometry) in
        [("bicubic", [1024, 1024], generator::image(3, 0, 1024), cubic), ("crop", [410, 700], cut, crop)]
    {
        ::image::save_buffer(&path, &pixels, width, height, ::image::ExtendedColorType::Rgb8).unwrap();
        let (own, expected) =
            (load_as(&path, &geometry), util::array::<u8>(&util::reference(&format!("resize_{name}.npy"))));
        let largest = own.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(own.len() == expected.len() && largest <= Some(1), "{name}: {largest:?}");
    }
}

#[test]
fn a_megapixel_png_loads_in_tens_of_milliseconds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.png");
    let pixels = generator::image(3, 0, 1024);
    ::image::save_buffer(&path, &pixels, 1024, 1024, ::image::ExtendedColorType::Rgb8).unwrap();
    let millis = (0..10).map(|_| {
        let start = std::time::Instant::now();
        load(&path);
        start.elapsed().as_secs_f64() * 1e3
    });
    let fastest = millis.fold(f64::INFINITY, f64::min);
    eprintln!("1024 × 1024 RGB PNG to 256 × 256: {fastest:.1} ms");
    // Ten times what it takes on an idle machine: this catches a lost fast path, not a busy neighbour.
    assert!(fastest < 150.0, "{fastest} ms");
}
