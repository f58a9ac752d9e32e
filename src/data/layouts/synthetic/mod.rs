//! The synthetic dataset: seeded images of three textures and three objects with exactly known defects, and outlier
//! textures. It needs no download, and its bits are the same on every machine (see `paint`).
//!
//! Owns: names, splits, and how an image is put together. Does not own: which indices a dataset has (the data index),
//! nor files (`data synthesize`).
//!
//! An image is a pure function of (seed, class, split, defect, index); its draws come first for the sound product, then
//! for the defect, so that an image and its [`twin`] differ by the defect alone.

mod defects;
mod objects;
mod outliers;
mod paint;
mod textures;

use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::error::{Error, Result};
use crate::random::{Purpose, name_index, stream};
use defects::{Flaw, Product, Surface};
use objects::{Board, Capsule, Washer};
use outliers::{CATEGORIES, Outlier};
use paint::{Camera, Draws, Pose, at};
use textures::{Fabric, Tile, Wood};

/// Part of every cache key that depends on these images; raised whenever any pixel changes.
pub const VERSION: u32 = 2;

/// Which synthetic dataset: all images follow from the seed; `side` is their width and height in pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticSpec {
    pub seed: u64,
    pub side: u32,
}

/// An image and, if it has a defect, where: 255 on the defect's support, 0 elsewhere.
pub struct Rendered {
    pub rgb: RgbImage,
    pub mask: Option<GrayImage>,
}

/// Classes and their kinds of defect.
const CLASSES: [(&str, &[&str]); 6] = [
    ("board", &["misprint", "missing_part", "scratch", "solder"]),
    ("capsule", &["crack", "misprint", "poke", "squeeze"]),
    ("fabric", &["hole", "missing_thread", "pulled", "stain"]),
    ("tile", &["bare", "crack", "grey_stroke", "oil"]),
    ("washer", &["bent", "rust", "scratch", "undrilled"]),
    ("wood", &["crack", "hole", "liquid", "scratch"]),
];

/// Smallest and largest `side` the painting is made for.
pub const SIDES: std::ops::RangeInclusive<u32> = 64..=2048;

/// The classes, in alphabetical order.
pub fn classes() -> Vec<&'static str> {
    CLASSES.iter().map(|(class, _)| *class).collect()
}

/// The kinds of defect of a class, in alphabetical order.
pub fn defects(class: &str) -> Option<&'static [&'static str]> {
    CLASSES.iter().find(|(name, _)| *name == class).map(|(_, kinds)| *kinds)
}

/// The categories of outlier textures, in alphabetical order; none looks like a class.
pub fn categories() -> Vec<&'static str> {
    CATEGORIES.to_vec()
}

/// Image `index` of `class/split/defect`. `split` is `train` (only `good`), `test` (`good` or a defect of the class) or
/// `texture` (then `class` is one of [`categories`] and `defect` is `good`).
///
/// # Errors
/// `Error::Usage` on a name that does not exist or a side outside 64–2048 pixels.
pub fn render(spec: &SyntheticSpec, class: &str, split: &str, defect: &str, index: usize) -> Result<Rendered> {
    let scene = scene(spec, class, split, defect, index)?;
    Ok(scene.photograph(spec.side, true))
}

/// The same image as [`render`] gives for these arguments (with the same errors), before the defect happened: equal
/// outside the mask. For tests, which hold the masks to it.
pub fn twin(spec: &SyntheticSpec, class: &str, split: &str, defect: &str, index: usize) -> Result<RgbImage> {
    let scene = scene(spec, class, split, defect, index)?;
    Ok(scene.photograph(spec.side, false).rgb)
}

/// Everything drawn for one image.
struct Scene {
    surface: Box<dyn Surface>,
    flaw: Option<Flaw>,
    pose: Pose,
    camera: Camera,
}

impl Scene {
    fn photograph(&self, side: u32, with_flaw: bool) -> Rendered {
        let flaw = self.flaw.as_ref().filter(|_| with_flaw);
        let mut rgb = RgbImage::new(side, side);
        let mut mask = flaw.map(|_| GrayImage::new(side, side));
        let pixel = 1.0 / side as f32;
        for (column, row, out) in rgb.enumerate_pixels_mut() {
            let place = at((column as f32 + 0.5) * pixel, (row as f32 + 0.5) * pixel);
            let local = self.pose.local(place);
            let mut colour = self.surface.colour(local, pixel);
            if let (Some(flaw), Some(mask)) = (flaw, &mut mask)
                && let Some(changed) = flaw.colour(self.surface.as_ref(), local, pixel, colour)
            {
                colour = changed;
                mask.put_pixel(column, row, Luma([255]));
            }
            *out = Rgb(self.camera.expose(colour, place, column, row));
        }
        Rendered { rgb, mask }
    }
}

fn scene(spec: &SyntheticSpec, class: &str, split: &str, defect: &str, index: usize) -> Result<Scene> {
    if !SIDES.contains(&spec.side) {
        let what = format!("synthetic images of {} pixels a side cannot be made", spec.side);
        return Err(Error::usage(what, format!("choose a side from {} to {}", SIDES.start(), SIDES.end())));
    }
    let name = format!("{class}/{split}/{defect}/{index}");
    let mut draws = Draws(stream(spec.seed, Purpose::Synthetic, name_index(&name)));
    if split == "texture" {
        return texture(class, defect, &mut draws);
    }
    let kinds = defects(class).ok_or_else(|| Error::unknown("synthetic class", class, classes()))?;
    match split {
        "train" if defect != "good" => return Err(Error::unknown("training defect", defect, ["good"])),
        "train" | "test" => {}
        _ => return Err(Error::unknown("split", split, ["train", "test", "texture"])),
    }
    if defect != "good" && !kinds.contains(&defect) {
        return Err(Error::unknown(&format!("defect of {class}"), defect, kinds.iter().copied()));
    }
    Ok(known_product(class, defect, &mut draws))
}

/// A scene of an outlier category.
fn texture(category: &str, defect: &str, draws: &mut Draws) -> Result<Scene> {
    let known = CATEGORIES.iter().find(|known| **known == category);
    let known = known.ok_or_else(|| Error::unknown("texture category", category, CATEGORIES))?;
    if defect != "good" {
        return Err(Error::unknown("defect of a texture", defect, ["good"]));
    }
    let (pose, camera) = (Pose::draw(draws, 0.5, 0.0, 0.0), Camera::draw(draws, 0.15));
    Ok(Scene { surface: Box::new(Outlier::draw(known, draws)), flaw: None, pose, camera })
}

/// A scene of a class; `class` and `defect` are known names.
fn known_product(class: &str, defect: &str, draws: &mut Draws) -> Scene {
    let camera = Camera::draw(draws, 0.045);
    match class {
        "board" => product_scene::<Board>(Pose::draw(draws, 0.008, 0.02, 0.02), camera, defect, draws),
        "capsule" => product_scene::<Capsule>(Pose::draw(draws, 0.02, 0.02, 0.03), camera, defect, draws),
        "fabric" => product_scene::<Fabric>(Pose::draw(draws, 0.012, 0.0, 0.0), camera, defect, draws),
        "tile" => product_scene::<Tile>(Pose::draw(draws, 0.5, 0.0, 0.0), camera, defect, draws),
        "washer" => product_scene::<Washer>(Pose::draw(draws, 0.5, 0.025, 0.03), camera, defect, draws),
        "wood" => product_scene::<Wood>(Pose::draw(draws, 0.012, 0.0, 0.0), camera, defect, draws),
        _ => unreachable!("{class} is listed in CLASSES"),
    }
}

/// A product of class `P`, then its defect unless it is `good`.
fn product_scene<P: Product>(pose: Pose, camera: Camera, defect: &str, draws: &mut Draws) -> Scene {
    let surface = P::draw(draws);
    let flaw = (defect != "good").then(|| surface.flaw(defect, draws));
    Scene { surface: Box::new(surface), flaw, pose, camera }
}
