//! Small pictures of all test images, their truth, and each run's maps of them: what the page's gallery shows. They lie in
//! `gallery/` of an experiment's folder, one list for each run and files that runs share.
//!
//! Owns: the files' names and lists. Does not own: making pictures (`run::album`). Like everything that is more than numbers
//! they are no part of a record: they may be missing, and each list says of which record it is. They are pictures of the
//! datasets' images and stay where these are: no export has them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::read::{RecordedRun, run_ids};
use crate::error::Result;
use crate::store::{remove_if_there, write_atomically};

/// Version of the lists; another one is made again.
const FORMAT: u32 = 1;

/// The folder in that of an experiment.
const FOLDER: &str = "gallery";

/// The pictures of a run's test images. Names of files are relative to the experiment's folder, with forward slashes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Album {
    format: u32,
    /// What the record stands for that they belong to.
    key: String,
    /// The test images, in the order of the record.
    pub images: Vec<AlbumImage>,
    /// The maps by class; none where a method leaves none.
    pub maps: BTreeMap<String, Sheet>,
}

/// The pictures of a test image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlbumImage {
    /// As the network sees it, as JPEG.
    pub image: String,
    /// The outline of its truth on nothing, as PNG; empty for a normal image.
    pub truth: String,
}

/// The maps of a class on one PNG, row after row in the order of the record, each with a rim that repeats its edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// The file.
    pub file: String,
    /// Maps in a row of the sheet.
    pub columns: usize,
    /// Pixels of a map's side without its rim.
    pub side: usize,
    /// Pixels of the rim on each side.
    pub rim: usize,
    /// Score of the first colour.
    pub low: f64,
    /// Score of the last colour.
    pub high: f64,
}

impl RecordedRun {
    /// What the record stands for.
    fn key(&self) -> &str {
        self.value(&["key"]).and_then(|key| key.as_str()).unwrap_or_default()
    }

    /// Name of the file with the small picture of an image that has this digest.
    pub fn album_image(digest: &str) -> String {
        format!("{FOLDER}/images/{}.jpg", &digest[..digest.len().min(16)])
    }

    /// Name of the file with the outline of the truth of an image that has this digest.
    pub fn album_truth(digest: &str) -> String {
        format!("{FOLDER}/images/{}-truth.png", &digest[..digest.len().min(16)])
    }

    /// Name of the file with the maps of the class of this number. It differs from record to record, so that no browser shows
    /// an old one.
    pub fn album_maps(&self, class: usize) -> String {
        let key = self.key();
        format!("{FOLDER}/maps/{}-{}-{class}.png", self.id, &key[..key.len().min(8)])
    }
}

impl Album {
    /// Pictures of images in the order of the record, and maps by class.
    pub fn new(images: Vec<AlbumImage>, maps: BTreeMap<String, Sheet>) -> Self {
        Album { images, maps, ..Album::default() }
    }

    /// All files that it names.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let pictures = self.images.iter().flat_map(|own| [own.image.as_str(), own.truth.as_str()]);
        pictures.chain(self.maps.values().map(|sheet| sheet.file.as_str())).filter(|name| !name.is_empty())
    }
}

fn list(folder: &Path, run: &str) -> PathBuf {
    folder.join(FOLDER).join(format!("{run}.json"))
}

/// The pictures of a run in an experiment's folder; `None` where there are none, or of another record of the run.
pub fn read_album(folder: &Path, run: &RecordedRun) -> Option<Album> {
    let album = parsed(&list(folder, &run.id))?;
    let images = run.images().ok()?.len();
    (album.key == run.key() && album.images.len() == images).then_some(album)
}

fn parsed(path: &Path) -> Option<Album> {
    let text = std::fs::read_to_string(path).ok()?;
    serde_json::from_str(&text).ok().filter(|album: &Album| album.format == FORMAT)
}

/// Writes the list of a run's pictures; the files are there before.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_album(folder: &Path, run: &RecordedRun, album: Album) -> Result<()> {
    let album = Album { format: FORMAT, key: run.key().into(), ..album };
    let text = serde_json::to_string(&album).unwrap_or_else(|fault| unreachable!("plain data: {fault}"));
    write_atomically(&list(folder, &run.id), text.as_bytes())
}

/// Removes lists of runs that are no longer recorded, and pictures that no list names.
///
/// # Errors
/// A file that cannot be removed.
pub fn tidy_album(folder: &Path) -> Result<()> {
    let recorded: BTreeSet<String> = run_ids(folder).into_iter().collect();
    let mut named: BTreeSet<PathBuf> = BTreeSet::new();
    for path in files(&folder.join(FOLDER)).filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let own = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        match parsed(&path).filter(|_| recorded.contains(&own)) {
            None => remove_if_there(&path)?,
            Some(album) => named.extend(album.files().map(|name| folder.join(name))),
        }
    }
    let pictures = ["images", "maps"].map(|part| folder.join(FOLDER).join(part));
    for path in pictures.iter().flat_map(|folder| files(folder)).filter(|path| !named.contains(path)) {
        remove_if_there(&path)?;
    }
    Ok(())
}

/// The files of a folder, those aside that somebody is writing.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let own = |path: &PathBuf| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    entries.filter(move |path| own(path) && path.is_file())
}
