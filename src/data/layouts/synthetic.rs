//! Draws the images of the synthetic dataset: striped sheets with spots and cuts, and foreign textures.

use crate::error::{Error, Result};
use crate::random::{Purpose, name_index, stream};
use image::{GrayImage, Luma, Rgb, RgbImage};

/// Version of the pixels: raised whenever any of them changes.
pub const VERSION: u32 = 0;

/// Parameters of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticSpec {
    /// Seed of all drawings.
    pub seed: u64,
    /// Side in pixels.
    pub side: u32,
}

/// An image and, for anomalies, its exact mask.
pub struct Rendered {
    /// Pixels.
    pub rgb: RgbImage,
    /// 255 where the defect is.
    pub mask: Option<GrayImage>,
}

/// A class: its name and the kinds of defect it can have.
pub struct ClassKind {
    /// Class name.
    pub name: &'static str,
    /// Kinds of defect.
    pub defects: &'static [&'static str],
}

/// All classes.
pub const CLASSES: &[ClassKind] =
    &[ClassKind { name: "stripes", defects: &["cut", "spot"] }, ClassKind { name: "waves", defects: &["cut", "spot"] }];

/// Names of the classes.
pub fn classes() -> Vec<&'static str> {
    CLASSES.iter().map(|class| class.name).collect()
}

/// Kinds of defect of `class`.
pub fn defects(class: &str) -> &'static [&'static str] {
    CLASSES.iter().find(|kind| kind.name == class).map_or(&[], |kind| kind.defects)
}

/// Names of the outlier textures.
pub fn categories() -> Vec<&'static str> {
    vec!["checks", "rings"]
}

/// Draws one image: `split` is `train`, `test` or `texture`; `defect` is `good` or a kind.
pub fn render(spec: &SyntheticSpec, class: &str, split: &str, defect: &str, index: usize) -> Result<Rendered> {
    let known = if split == "texture" { categories() } else { classes() };
    if !known.contains(&class) {
        return Err(Error::usage(
            format!("the generator draws no `{class}`"),
            format!("it draws: {}", known.join(", ")),
        ));
    }
    let name = format!("{class}/{split}/{defect}/{index}");
    let mut random = stream(spec.seed, Purpose::Synthetic, name_index(&name));
    let (period, phase) = (5.0 + name_index(class) as f64 % 7.0, random.uniform() * 6.0);
    let rgb = RgbImage::from_fn(spec.side, spec.side, |x, y| {
        let wave = ((f64::from(x) + 0.3 * f64::from(y)) / period + phase).sin();
        let grey = (128.0 + 70.0 * wave + 20.0 * random.uniform()) as u8;
        Rgb([grey, grey / 2 + 60, 200 - grey / 2])
    });
    if defect == "good" {
        return Ok(Rendered { rgb, mask: None });
    }
    let (size, room) = (spec.side / 6, (spec.side - spec.side / 6) as usize);
    let (left, top) = (random.below(room) as u32, random.below(room) as u32);
    let mut mask = GrayImage::new(spec.side, spec.side);
    let mut rgb = rgb;
    let height = if defect == "cut" { (size / 4).max(1) } else { size };
    for (y, x) in (top..top + height).flat_map(|y| (left..left + size).map(move |x| (y, x))) {
        mask.put_pixel(x, y, Luma([255]));
        rgb.put_pixel(x, y, Rgb([30, 20, 20]));
    }
    Ok(Rendered { rgb, mask: Some(mask) })
}
