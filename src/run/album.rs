//! Small pictures of all test images and each run's maps of them, for the page's gallery. Made when the runs are done, and only
//! what is missing.
//!
//! Owns: making them. Does not own: their names and lists (`record::album`), or showing them (`report`). Like the pictures for
//! figures they enter no run's id and no record's key.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::evaluate::truth_of;
use super::event::Event;
use super::given::{Datas, mask_image};
use super::session::Session;
use crate::data::{Labelled, evaluation_mask, hex, load_rgb, thumbnail};
use crate::error::{Error, Result};
use crate::maps::{heat, reduced, shown_range, shown_share};
use crate::record::{self, Album, AlbumImage, ImageRow, RecordedRun, Sheet};
use crate::spec::{Experiment, RunSpec, canonical_json, to_json};
use crate::stop;
use crate::store::write_atomically;

/// Pixels of a picture's side, and of a map's: maps are smooth.
const SIDE: usize = 128;
const MAP_SIDE: usize = 64;

/// What surrounds a map on its sheet, so that a browser which enlarges it mixes in nothing of its neighbour.
const RIM: usize = 1;

/// What JPEG makes of a picture, in percent.
const QUALITY: u8 = 80;

/// Makes what the recorded runs of an experiment lack. What cannot be made is said and left out: no number depends on it.
///
/// # Errors
/// Results that cannot be read or written, and [`Error::Stopped`].
pub fn complete(session: &Session, experiment: &Experiment) -> Result<()> {
    let _lock = session.lock_results(experiment, "gallery")?;
    let folder = session.resources.results.join(&experiment.name);
    let recorded = record::read_so_far(&folder, &experiment.kinds)?;
    let datas = Datas::default();
    for run in recorded.runs.iter().filter(|run| run.failure.is_none()) {
        let known = record::read_album(&folder, run);
        if known.is_some_and(|album| album.files().all(|name| folder.join(name).is_file())) {
            continue;
        }
        stop::here()?;
        let making = Making { session, experiment, folder: &folder, run, datas: &datas };
        if let Err(fault) = making.album().and_then(|album| record::write_album(&folder, run, album)) {
            let text = format!("the gallery lacks pictures of {}: {fault}", run.id);
            session.progress.tell(Event::Note { text });
            if fault.is_of_the_disk() {
                break;
            }
        }
    }
    record::tidy_album(&folder)
}

/// A run whose pictures are made.
struct Making<'a> {
    session: &'a Session,
    experiment: &'a Experiment,
    folder: &'a std::path::Path,
    run: &'a RecordedRun,
    datas: &'a Datas,
}

impl Making<'_> {
    fn album(&self) -> Result<Album> {
        let spec = &self.run.spec;
        let declared = self.experiment.runs.iter().find(|run| run.spec == *spec);
        let declared = declared.ok_or_else(|| Error::usage("the experiment declares no such run", "run it again"))?;
        let data = self.datas.of(self.session, &declared.spec)?;
        let rows = self.run.images()?;
        let of = |row: &ImageRow| {
            let what = || Error::data(&row.path, "is no test image any more", "run again: the dataset has changed");
            truth_of(&data.split, &row.class, &row.path).ok_or_else(what)
        };
        let images: Vec<&Labelled> = rows.iter().map(of).collect::<Result<_>>()?;
        let names = self.names(&images)?;
        let made = AtomicUsize::new(0);
        let one = |(labelled, name): (&&Labelled, &AlbumImage)| {
            self.picture(labelled, name)?;
            let made = made.fetch_add(1, Ordering::Relaxed) + 1;
            if made.is_multiple_of(100) {
                self.session.progress.stage("", "pictures for the gallery", made, images.len());
            }
            Ok(())
        };
        images.par_iter().zip(&names).map(one).collect::<Result<()>>()?;
        let maps = self.sheets(rows)?;
        Ok(Album::new(names, maps))
    }

    /// Names of the files: of what is in them, so that runs share them and an image that has changed has another.
    fn names(&self, images: &[&Labelled]) -> Result<Vec<AlbumImage>> {
        let masks: Vec<_> = images.iter().filter_map(|labelled| labelled.mask.as_ref().map(mask_image)).collect();
        let mut digests = self.session.digests();
        let pictures = digests.of(images.iter().map(|labelled| &labelled.image))?;
        let mut truths = digests.of(&masks)?.into_iter();
        drop(digests);
        let geometry = canonical_json(&to_json(&self.run.spec.image));
        let name = |(labelled, picture): (&&Labelled, [u8; 32])| {
            let truth = labelled.mask.as_ref().and_then(|_| truths.next());
            let whole = format!("{}\n{:?}\n{geometry}\n{SIDE}", hex(&picture), truth.as_ref().map(hex));
            let digest = blake3::hash(whole.as_bytes()).to_hex().to_string();
            // A label without a mask says nothing of where: no outline rather than an empty one.
            let outline = if labelled.anomalous && labelled.mask.is_some() {
                RecordedRun::album_truth(&digest)
            } else {
                String::new()
            };
            AlbumImage { image: RecordedRun::album_image(&digest), truth: outline }
        };
        Ok(images.iter().zip(pictures).map(name).collect())
    }

    /// Writes an image and the outline of its truth, where they are not there.
    fn picture(&self, labelled: &Labelled, name: &AlbumImage) -> Result<()> {
        let RunSpec { image: geometry, evaluation, .. } = &self.run.spec;
        let [image, truth] = [&name.image, &name.truth].map(|name| self.folder.join(name));
        if !image.is_file() {
            let pixels = thumbnail::reduced(load_rgb(&labelled.image, geometry)?, SIDE);
            write_atomically(&image, &thumbnail::jpeg(&pixels.data, (pixels.width, pixels.height), QUALITY))?;
        }
        if !name.truth.is_empty() && !truth.is_file() {
            let mask = evaluation_mask(labelled, geometry, geometry.size, evaluation.mask_resize)?;
            let side = SIDE.min(geometry.size);
            let outline = outline(&mask.data, geometry.size, side);
            write_atomically(&truth, &thumbnail::png_of_colours(&outline, (side, side), &OUTLINE))?;
        }
        Ok(())
    }

    /// Writes the maps of every class and says where they are.
    fn sheets(&self, rows: &[ImageRow]) -> Result<BTreeMap<String, Sheet>> {
        let scoring = self.run.scoring()?;
        let mut sheets = BTreeMap::new();
        if scoring.mapless {
            return Ok(sheets);
        }
        let mut classes: Vec<&str> = rows.iter().map(|row| row.class.as_str()).collect();
        classes.dedup();
        let side = self.run.spec.map_side();
        for (number, class) in classes.into_iter().enumerate() {
            let ([count, height, width], scores) = self.run.patch_scores(class)?;
            if count != rows.iter().filter(|row| row.class == class).count() {
                return Err(Error::data(&self.run.id, "has scores of other images than it lists", "run again"));
            }
            let (low, high) = shown_range(&scores);
            let target = MAP_SIDE.min(side);
            let map = |patches: &[f32]| {
                let map = scoring.map(patches, (height, width), (side, side));
                let colour = |score: f32| (255.0 * shown_share(score, (low, high))).round() as u8;
                reduced(&map, side, target).into_iter().map(colour).collect::<Vec<u8>>()
            };
            let maps: Vec<Vec<u8>> = scores.par_chunks_exact(height * width).map(map).collect();
            let columns = (1..).find(|columns| columns * columns >= count).unwrap_or(1);
            let file = self.run.album_maps(number);
            let (pixels, size) = sheet(&maps, target, columns);
            write_atomically(&self.folder.join(&file), &thumbnail::png_of_colours(&pixels, size, &colours()))?;
            sheets.insert(class.to_string(), Sheet { file, columns, side: target, rim: RIM, low, high });
        }
        Ok(sheets)
    }
}

/// The colours of maps: what is low is not seen.
fn colours() -> [[u8; 4]; 256] {
    std::array::from_fn(|number| {
        let share = number as f64 / 255.0;
        let [red, green, blue] = heat(share);
        [red, green, blue, (255.0 * (1.6 * share).min(1.0)).round() as u8]
    })
}

/// Maps on one picture, each with its rim.
fn sheet(maps: &[Vec<u8>], side: usize, columns: usize) -> (Vec<u8>, (usize, usize)) {
    let tile = side + 2 * RIM;
    let (width, height) = (columns * tile, maps.len().div_ceil(columns) * tile);
    let mut pixels = vec![0; width * height];
    for (number, map) in maps.iter().enumerate() {
        let (left, top) = (number % columns * tile, number / columns * tile);
        let inside = |place: usize| place.saturating_sub(RIM).min(side - 1);
        for y in 0..tile {
            for x in 0..tile {
                pixels[(top + y) * width + left + x] = map[inside(y) * side + inside(x)];
            }
        }
    }
    (pixels, (width, height))
}

/// Nothing, the line, its dark rim: to be seen on any ground.
const OUTLINE: [[u8; 4]; 3] = [[0; 4], [240, 228, 66, 255], [0, 0, 0, 160]];

/// The outline of a `from` × `from` mask at `side` × `side`, as numbers of [`OUTLINE`]. A place of which a part is defect is
/// defect, so that nothing vanishes; the line runs around it.
fn outline(mask: &[bool], from: usize, side: usize) -> Vec<u8> {
    let mut inside = vec![false; side * side];
    for (place, _) in mask.iter().enumerate().filter(|(_, defect)| **defect) {
        inside[place / from * side / from * side + place % from * side / from] = true;
    }
    let near = |x: usize, y: usize, reach: usize| {
        let span = |place: usize| place.saturating_sub(reach)..(place + reach + 1).min(side);
        span(y).any(|y| span(x).any(|x| inside[y * side + x]))
    };
    let number = |place: usize| match (place % side, place / side) {
        _ if inside[place] => 0,
        (x, y) if near(x, y, 1) => 1,
        (x, y) if near(x, y, 2) => 2,
        _ => 0,
    };
    (0..side * side).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_repeats_the_edges_of_its_maps_and_an_outline_runs_around_the_defect() {
        let (pixels, size) = sheet(&[vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 9, 9, 9]], 2, 2);
        assert_eq!(size, (8, 8));
        assert_eq!(pixels[..8], [1, 1, 2, 2, 5, 5, 6, 6]);
        assert_eq!(pixels[24..32], [3, 3, 4, 4, 7, 7, 8, 8]);
        assert_eq!(pixels[32..40], [9, 9, 9, 9, 0, 0, 0, 0]);
        let mut mask = vec![false; 100];
        mask[55] = true;
        let line = outline(&mask, 10, 5);
        let expected = [[2; 5], [2, 1, 1, 1, 2], [2, 1, 0, 1, 2], [2, 1, 1, 1, 2], [2; 5]];
        assert_eq!(line, expected.as_flattened());
    }
}
