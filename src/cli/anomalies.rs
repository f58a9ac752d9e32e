//! `dmad data anomalies`: a sheet of synthetic anomalies, as methods that make them would see them.
//!
//! Owns: this command's arguments and the arrangement of the sheet. Does not own: how anomalies are made (`augment`).

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use crate::augment::{Blend, Recipe, Synthesis};
use crate::data::catalog::Catalog;
use crate::data::decode::Pixels;
use crate::data::{Image, index, load_rgb, thumbnail};
use crate::error::{Error, Result};
use crate::random::{Purpose, Stream, stream};
use crate::spec::Geometry;
use crate::store::write_atomically;

/// What a sheet shows.
#[derive(Debug, Args)]
pub struct Anomalies {
    /// PNG file to write.
    out: PathBuf,
    /// Dataset whose normal training images are changed.
    #[arg(long, default_value = "synthetic")]
    dataset: String,
    /// Only this class of it; none = all in turn.
    #[arg(long)]
    class: Option<String>,
    /// Dataset of textures that are mixed in.
    #[arg(long, default_value = "synthetic_textures")]
    textures: String,
    /// Images, one row each.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=100))]
    images: u64,
    /// Side of an image in pixels.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(32..=1024))]
    size: u64,
    /// Seed of all draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How image and anomaly are blended.
    #[arg(long, default_value = "dmgrd", value_parser = PossibleValuesParser::new(["dmgrd", "draem"]))]
    blend: String,
}

/// White pixels between the pictures.
const GAP: usize = 4;

/// Writes the sheet: in each row the image, the texture, the mask, the mixed image, and what is learned from.
///
/// # Errors
/// An unknown or absent dataset, a file that cannot be read or written.
pub fn run(wanted: &Anomalies, catalog: &Catalog, data: &Path, as_json: bool) -> Result<()> {
    let only = wanted.class.clone().map(|class| vec![class]);
    let lists = images(catalog, data, &wanted.dataset, only.as_deref())?;
    let textures = images(catalog, data, &wanted.textures, None)?;
    let blend = if wanted.blend == "draem" { Blend::Draem } else { Blend::Dmgrd };
    let synthesis = Synthesis { blend, mix: blend == Blend::Dmgrd, ..Synthesis::default() };
    let geometry = Geometry { size: wanted.size as usize, ..Geometry::default() };
    let mut rows = Vec::new();
    for number in 0..wanted.images {
        let mut draws = stream(wanted.seed, Purpose::Augmentation, number);
        let list = &lists[number as usize % lists.len()];
        let image = load_rgb(choose(list, &mut draws), &geometry)?;
        let texture = load_rgb(choose(&textures[draws.below(textures.len())], &mut draws), &geometry)?;
        rows.push(row(&synthesis, &image, &texture, &synthesis.draw(&mut draws)));
    }
    let (sheet, size) = arranged(&rows, geometry.size);
    write_atomically(&wanted.out, &thumbnail::png(&sheet, size, None))?;
    let out = wanted.out.display().to_string();
    match as_json {
        true => super::print(&json!({ "file": out, "images": wanted.images }).to_string()),
        false => super::print(&format!("{out}: {} rows of image, texture, mask, mixed, anomaly", wanted.images)),
    }
}

/// Normal training images of a dataset, class by class.
fn images(catalog: &Catalog, data: &Path, dataset: &str, only: Option<&[String]>) -> Result<Vec<Vec<Image>>> {
    let index = index::index(catalog.get(dataset)?, data, only)?;
    let lists: Vec<_> = index.classes.into_iter().map(|class| class.train).filter(|list| !list.is_empty()).collect();
    if lists.is_empty() {
        return Err(Error::usage(format!("dataset `{dataset}` has no normal training image"), "name another one"));
    }
    Ok(lists)
}

fn choose<'a>(list: &'a [Image], draws: &mut Stream) -> &'a Image {
    &list[draws.below(list.len())]
}

/// The pictures of one anomaly, RGB bytes each.
fn row(synthesis: &Synthesis, image: &Pixels, texture: &Pixels, recipe: &Recipe) -> Vec<Vec<u8>> {
    let made = synthesis.make(image, texture, recipe);
    let mask = made.mask.iter().flat_map(|&inside| [if inside { u8::MAX } else { 0 }; 3]).collect();
    vec![image.data.clone(), texture.data.clone(), mask, bytes(&made.mixed), bytes(&made.image)]
}

/// Planes as RGB bytes; what leaves the range of images is cut.
fn bytes(planes: &[f32]) -> Vec<u8> {
    let pixels = planes.len() / 3;
    let value = |place: usize| (255.0 * planes[place % 3 * pixels + place / 3]).round().clamp(0.0, 255.0) as u8;
    (0..planes.len()).map(value).collect()
}

/// One picture beside and below the other, RGB bytes with width and height.
fn arranged(rows: &[Vec<Vec<u8>>], side: usize) -> (Vec<u8>, (usize, usize)) {
    let step = side + GAP;
    let (width, height) = (rows.first().map_or(0, Vec::len) * step - GAP, rows.len() * step - GAP);
    let mut sheet = vec![u8::MAX; 3 * width * height];
    for (down, row) in rows.iter().enumerate() {
        for (across, picture) in row.iter().enumerate() {
            for (line, values) in picture.chunks_exact(3 * side).enumerate() {
                let start = 3 * ((down * step + line) * width + across * step);
                sheet[start..start + values.len()].copy_from_slice(values);
            }
        }
    }
    (sheet, (width, height))
}
