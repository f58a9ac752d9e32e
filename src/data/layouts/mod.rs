//! How the files of a dataset are arranged: one file and one row of `LAYOUTS` each.
//!
//! Owns: what a layout must offer, the registry, and the sorted, checked folder listing that layouts share. Does not own:
//! the keys that every dataset has (`catalog`), the checks common to all layouts (`index`).

pub mod btad;
pub mod elpv;
pub mod folder;
pub mod generated;
pub mod mvtec;
pub mod mvtec2;
pub mod real_iad;
pub mod synthetic;
pub mod visa;

use crate::data::catalog::DatasetEntry;
use crate::data::index::{ClassIndex, Findings, GOOD, Image, Labelled, Source};
use crate::error::{Error, Result};
use crate::spec::{MethodFault, read_table, schema_of};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::fmt::Debug;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// One row of the registry.
pub struct Row {
    /// Value of `layout`.
    pub name: &'static str,
    /// The files it wants, for messages.
    pub files: &'static str,
    /// JSON Schema of its own keys.
    pub schema: fn() -> Json,
    /// Reads them.
    pub parse: fn(Json) -> Result<Arc<dyn Layout>, MethodFault>,
    /// Whether a folder is arranged so, and what its entry would say.
    pub recognise: fn(&Path) -> Result<Option<Found>>,
}

/// What a folder was recognised as.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The folder of the classes: the one that was looked at, or the one that it is a class of.
    pub root: PathBuf,
    /// The classes, sorted.
    pub classes: Vec<String>,
    /// What gave it away, for people.
    pub why: String,
    /// Further keys of its entry.
    pub keys: Vec<(&'static str, String)>,
}

/// All layouts. A folder is recognised as the first that fits.
pub const LAYOUTS: &[Row] = &[
    // Before `mvtec`, since its classes have train/good as well.
    Row::of::<mvtec2::Mvtec2>(
        "mvtec2",
        "CLASS/train/good, CLASS/validation/good, CLASS/test_public/{good,bad,ground_truth/bad}, CLASS/test_private, \
         CLASS/test_private_mixed",
        mvtec2::recognise,
    ),
    Row::of::<mvtec::Mvtec>(
        "mvtec",
        "CLASS/train/good, CLASS/test/DEFECT, CLASS/ground_truth/DEFECT/NNN_mask.png",
        mvtec::recognise,
    ),
    Row::of::<visa::Visa>("visa", "CLASS/Data/Images, CLASS/Data/Masks, split_csv/SPLIT.csv", visa::recognise),
    Row::of::<btad::Btad>("btad", "CLASS/train/ok, CLASS/test/{ok,ko}, CLASS/ground_truth/ko", btad::recognise),
    Row::of::<real_iad::RealIad>("real_iad", "realiad_1024/CLASS, realiad_jsons/CLASS.json", real_iad::recognise),
    Row::of::<elpv::Elpv>("elpv", "labels.csv, images/*.png", elpv::recognise),
    Row::of::<folder::Folder>("folder", "CATEGORY/*.jpg", folder::recognise),
    Row::of::<generated::Synthetic>("synthetic", "none, its images are drawn by this program", |_| Ok(None)),
];

impl Row {
    const fn of<L: Layout + DeserializeOwned + JsonSchema + 'static>(
        name: &'static str,
        files: &'static str,
        recognise: fn(&Path) -> Result<Option<Found>>,
    ) -> Self {
        Row { name, files, schema: schema_of::<L>, parse: |json| Ok(Arc::new(read_table::<L>(json)?)), recognise }
    }
}

/// The layout that `folder` (an absolute path) is in.
///
/// # Errors
/// A folder that cannot be listed, or that is in no layout, with what is amiss where it is nearly in one.
pub fn recognise(folder: &Path) -> Result<(&'static Row, Found)> {
    for row in LAYOUTS {
        if let Some(found) = (row.recognise)(folder)? {
            return Ok((row, found));
        }
    }
    let rows = LAYOUTS.iter().filter(|row| row.name != "synthetic");
    let known: Vec<String> = rows.map(|row| format!("{} ({})", row.name, row.files)).collect();
    let help = format!("arrange the images as one of: {}", known.join("; "));
    let mut what = "is in no layout that this program knows".to_string();
    if !may_hold_images(folder) {
        what += &format!(", for it holds no image ({})", IMAGE_ENDINGS.join(", "));
    }
    Err(Error::data(folder, what, help))
}

/// Whether there is an image in a folder or below it; where there are many folders, perhaps. Links lead in circles.
fn may_hold_images(folder: &Path) -> bool {
    const LOOKED_AT: usize = 1000;
    let (mut open, mut seen) = (vec![folder.to_path_buf()], 0);
    while let Some(folder) = open.pop() {
        seen += 1;
        if holds_images(&folder) || seen == LOOKED_AT {
            return true;
        }
        let below = list(&folder, &mut Findings::default()).map(|listing| listing.folders).unwrap_or_default();
        open.extend(below.iter().map(|name| folder.join(name)).filter(|path| !path.is_symlink()));
    }
    false
}

/// The folders below `folder` that are classes by `is_class`, with the folder itself; or the folder alone, below its parent,
/// where it is one. Hidden folders are none.
pub(crate) fn classes_by(folder: &Path, is_class: impl Fn(&Path) -> bool) -> Result<Option<(PathBuf, Vec<String>)>> {
    let mut classes = list(folder, &mut Findings::default())?.folders;
    classes.retain(|name| is_class(&folder.join(name)));
    let own = || Some((folder.parent()?.to_path_buf(), vec![folder.file_name()?.to_str()?.to_string()]));
    Ok(match classes.is_empty() {
        false => Some((folder.into(), classes)),
        true if is_class(folder) => own(),
        true => None,
    })
}

/// Whether a folder holds an image file.
pub(crate) fn holds_images(folder: &Path) -> bool {
    list(folder, &mut Findings::default()).is_ok_and(|listing| listing.files.iter().any(|name| is_image(name)))
}

/// A dataset in a layout. The type holds the keys that the layout alone has in `datasets.toml`.
pub trait Layout: Debug + Send + Sync {
    /// The dataset's folder, relative to the data folder, and the folder that image paths start from, relative to that
    /// (empty = the same); `None` where nothing has to be on disk.
    fn folders(&self) -> Option<[&str; 2]>;

    /// Says what is wrong with the values of its keys.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// What labels numbers on its images; empty = nothing.
    fn label(&self) -> &'static str {
        ""
    }

    /// Whether it has training images alone, as textures for methods that want a foreign dataset.
    fn only_trains(&self) -> bool {
        false
    }

    /// Which of several official splits it reads; empty = there is one, or it is none of them.
    fn split(&self) -> &'static str {
        ""
    }

    /// Whether each class is a folder below that of the images.
    fn has_class_folders(&self) -> bool {
        true
    }

    /// The images of a class whose truth a server keeps; `None` where the dataset has no such thing.
    fn judged(&self, data: &Path, class: &str, findings: &mut Findings) -> Option<Judged> {
        let _ = (data, class, findings);
        None
    }

    /// Reads the wanted classes. Faults go to `findings`, and what is left is read on; an error when that is nothing.
    fn read(&self, data: &Path, wanted: &Wanted, findings: &mut Findings) -> Result<Vec<ClassIndex>>;
}

/// What a server judges of a class, whatever is measured here.
pub struct Judged {
    /// Names of the sets and their images, sorted; no labels.
    pub sets: Vec<(&'static str, Vec<Image>)>,
    /// Normal images that no model has seen, to set a threshold by; `None` where they are trained on.
    pub normals: Option<Vec<Image>>,
}

impl dyn Layout {
    /// The folder that image paths start from, below the data folder.
    pub fn images_path(&self, data: &Path) -> PathBuf {
        let [root, images] = self.folders().unwrap_or_default();
        below(&data.join(root), images)
    }
}

/// A folder, or one in it where a name is given.
fn below(folder: &Path, name: &str) -> PathBuf {
    if name.is_empty() { folder.into() } else { folder.join(name) }
}

/// Which classes of a dataset are read.
pub struct Wanted<'a> {
    /// The dataset.
    pub entry: &'a DatasetEntry,
    /// Only these; `None` = all.
    pub only: Option<&'a [String]>,
}

impl Wanted<'_> {
    /// Class names in order: declared or `found`, then narrowed to names of which each must be among them.
    pub fn of(&self, found: impl FnOnce() -> Result<Vec<String>>) -> Result<Vec<String>> {
        let declared = &self.entry.declared.classes;
        let all = if declared.is_empty() { found()? } else { declared.clone() };
        let Some(only) = self.only else { return Ok(all) };
        if let Some(name) = only.iter().find(|name| !all.contains(name)) {
            let kind = format!("class of dataset `{}` called", self.entry.name);
            return Err(Error::unknown(&kind, name, all.iter().map(String::as_str)));
        }
        Ok(all.into_iter().filter(|name| only.contains(name)).collect())
    }
}

/// Endings of image files, in lower case.
pub(crate) const IMAGE_ENDINGS: &[&str] = &["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp"];

/// Names in a folder, sorted.
pub(crate) struct Listing {
    pub folders: Vec<String>,
    pub files: Vec<String>,
}

/// Lists `folder` in byte order of the names; hidden entries are passed over and noted.
pub(crate) fn list(folder: &Path, findings: &mut Findings) -> Result<Listing> {
    let mut listing = Listing { folders: Vec::new(), files: Vec::new() };
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Error::data(entry.path(), "the name is not valid UTF-8", "rename it"));
        };
        if name.starts_with('.') {
            findings.skipped.push(entry.path());
            continue;
        }
        let kind = entry.file_type().map_err(Error::io("read", entry.path()))?;
        let is_folder = if kind.is_symlink() { entry.path().is_dir() } else { kind.is_dir() };
        if is_folder { listing.folders.push(name) } else { listing.files.push(name) }
    }
    listing.folders.sort_unstable();
    listing.files.sort_unstable();
    Ok(listing)
}

/// All folders of `folder`, sorted; files there are foreign.
pub(crate) fn folders(folder: &Path, findings: &mut Findings) -> Result<Vec<String>> {
    let listing = list(folder, findings)?;
    findings.skipped.extend(listing.files.iter().map(|name| folder.join(name)));
    Ok(listing.folders)
}

/// Names of the image files in `folder`, sorted; everything else is passed over and noted. A folder that cannot be
/// listed, or holds no image, is a fault.
pub(crate) fn image_names(folder: &Path, findings: &mut Findings) -> Vec<String> {
    if !folder.is_dir() {
        findings.fault(folder, "no such folder", "restore it, or drop its class from datasets.toml");
        return Vec::new();
    }
    let listing = match list(folder, findings) {
        Ok(listing) => listing,
        Err(error) => {
            findings.faults.push(error);
            return Vec::new();
        }
    };
    let (names, foreign): (Vec<_>, Vec<_>) = listing.files.into_iter().partition(|name| is_image(name));
    findings.skipped.extend(foreign.iter().chain(&listing.folders).map(|name| folder.join(name)));
    if names.is_empty() {
        let help = format!("put images there ({}), or remove the folder", IMAGE_ENDINGS.join(", "));
        findings.fault(folder, "no image in this folder", help);
    }
    names
}

/// The images of a folder below `root`; a folder without any is a fault.
pub(crate) fn images(root: &Path, folder: &str, findings: &mut Findings) -> Vec<Image> {
    let names = image_names(&root.join(folder), findings);
    names.into_iter().map(|name| file(root, format!("{folder}/{name}"))).collect()
}

/// The normal test images of a folder.
pub(crate) fn normals(root: &Path, folder: &str, findings: &mut Findings) -> Vec<Labelled> {
    let normal = |image| Labelled { image, defect: GOOD.into(), anomalous: false, mask: None };
    images(root, folder, findings).into_iter().map(normal).collect()
}

/// The folder of a class, or `None` with a fault when it is missing.
pub(crate) fn class_folder(root: &Path, class: &str, findings: &mut Findings) -> Option<PathBuf> {
    let folder = root.join(class);
    if folder.is_dir() {
        return Some(folder);
    }
    findings.fault(folder, format!("class `{class}` is missing"), "restore it, or narrow `classes`");
    None
}

/// An image file below `root`.
pub(crate) fn file(root: &Path, path: String) -> Image {
    let source = Source::File(root.join(&path));
    Image { path, source }
}

/// Whether a path that a dataset's own file names stays below the dataset: neither absolute nor climbing.
pub(crate) fn is_below(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) && !path.contains('\\')
}

fn is_image(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| IMAGE_ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}
