//! What a dataset holds: sorted lists of images with their labels and masks, checked against what the catalog declares.
//!
//! Owns: the types of images and the checks common to all layouts. Does not own: how a layout arranges its files
//! (`layouts`), pixels (`image`, `mask`), which images train or test (`protocol`).

use crate::data::catalog::{Counts, DatasetEntry};
use crate::data::digest::Digest;
use crate::data::layouts::Wanted;
use crate::data::layouts::synthetic::SyntheticSpec;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Name of the folder and label of images without a defect.
pub const GOOD: &str = "good";

/// What tables call the mean over all classes. No class is called so: its rows could not be told from those of the mean.
pub const MEAN: &str = "mean";

/// Endings of image files that are not read, in lower case.
const UNREAD_ENDINGS: [&str; 11] = ["gif", "avif", "heic", "jp2", "jxl", "ppm", "pgm", "pnm", "tga", "exr", "jfif"];

/// One image of the generator; equal drawings give equal pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Parameters of the whole set.
    pub spec: SyntheticSpec,
    /// Class, or category of outlier textures.
    pub class: String,
    /// `train`, `test` or `texture`.
    pub split: &'static str,
    /// `good` or the kind of defect.
    pub defect: &'static str,
    /// Number within (class, split, defect).
    pub index: usize,
}

/// Where the pixels of an image or of its truth mask come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// An image file.
    File(PathBuf),
    /// Drawn when asked for, image and mask together.
    Synthetic(Drawing),
    /// Nowhere: an exported model knows its images by their content's digest alone.
    Absent(Digest),
}

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Path relative to the dataset, with forward slashes: the identity that users see and records keep.
    pub path: String,
    /// Where the pixels come from.
    pub source: Source,
}

impl Image {
    /// An image file outside of any dataset.
    pub fn at(path: &Path) -> Image {
        Image { path: path.display().to_string(), source: Source::File(path.into()) }
    }

    /// The path to name in a message.
    pub fn place(&self) -> &Path {
        match &self.source {
            Source::File(path) => path,
            Source::Synthetic(_) | Source::Absent(_) => Path::new(&self.path),
        }
    }

    /// The file that it is in; what is drawn or absent is in none.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::Synthetic(_) | Source::Absent(_) => None,
        }
    }

    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// An image with its truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The image.
    pub image: Image,
    /// `good` or the kind of defect.
    pub defect: String,
    /// Image label.
    pub anomalous: bool,
    /// Pixel truth; `None` for normal images.
    pub mask: Option<Source>,
}

impl Labelled {
    /// "type/file": the order of seen anomalies and of pools.
    pub fn sort_key(&self) -> String {
        format!("{}/{}", self.defect, self.image.file_name())
    }
}

/// One class: lists sorted by file name (`train`) and by "type/file" (the others).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassIndex {
    /// Class name.
    pub name: String,
    /// Normal training images.
    pub train: Vec<Image>,
    /// Anomalous training images (VisA's two-class splits; otherwise empty).
    pub train_anomalies: Vec<Labelled>,
    /// Test images.
    pub test: Vec<Labelled>,
}

impl ClassIndex {
    /// How many images of each kind there are.
    pub fn counts(&self) -> Counts {
        let test_bad = self.test.iter().filter(|l| l.anomalous).count();
        Counts {
            train: self.train.len(),
            train_bad: self.train_anomalies.len(),
            test_good: self.test.len() - test_bad,
            test_bad,
        }
    }
}

/// A dataset as found.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Name in the catalog.
    pub dataset: String,
    /// Folder the image paths start from.
    pub root: PathBuf,
    /// Classes, in the catalog's order. For outlier images: the categories.
    pub classes: Vec<ClassIndex>,
    /// Hidden and foreign files and folders that were passed over, sorted.
    pub skipped: Vec<PathBuf>,
}

impl Index {
    /// How many images of each kind all classes have.
    pub fn counts(&self) -> Counts {
        self.classes.iter().map(ClassIndex::counts).fold(Counts::default(), |sum, class| Counts {
            train: sum.train + class.train,
            train_bad: sum.train_bad + class.train_bad,
            test_good: sum.test_good + class.test_good,
            test_bad: sum.test_bad + class.test_bad,
        })
    }

    /// What is to be said of images that are passed over because their format is not read.
    pub fn unread(&self) -> Option<String> {
        let ending = |path: &&PathBuf| path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let unread: Vec<&PathBuf> =
            self.skipped.iter().filter(|path| UNREAD_ENDINGS.contains(&ending(path).as_str())).collect();
        let first = unread.first()?.display();
        let count = unread.len();
        Some(format!(
            "{}: {count} images are passed over, since their format is not read, such as {first}",
            self.dataset
        ))
    }

    /// The class called `name`.
    pub fn class(&self, name: &str) -> Option<&ClassIndex> {
        self.classes.iter().find(|class| class.name == name)
    }
}

/// An index and everything found wrong on the way.
#[derive(Debug)]
pub struct Survey {
    /// What could be read.
    pub index: Index,
    /// All faults, in the order of the classes.
    pub faults: Vec<Error>,
}

/// What the layouts fill in.
#[derive(Debug, Default)]
pub struct Findings {
    /// Faults.
    pub faults: Vec<Error>,
    /// Hidden and foreign files and folders that were passed over.
    pub skipped: Vec<PathBuf>,
}

impl Findings {
    /// Adds a fault.
    pub fn fault(&mut self, path: impl AsRef<Path>, what: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Error::data(path, what, help));
    }
}

/// Reads the dataset `entry` below `data_root`, restricted to `only_classes`; the first fault of [`survey`] is an error.
pub fn index(entry: &DatasetEntry, data_root: &Path, only_classes: Option<&[String]>) -> Result<Index> {
    let Survey { index, faults } = survey(entry, data_root, only_classes)?;
    first_fault(&entry.name, faults).map_or(Ok(index), Err)
}

/// The first fault of a dataset; its help says how many more there are.
pub fn first_fault(dataset: &str, faults: Vec<Error>) -> Option<Error> {
    let more = faults.len().saturating_sub(1);
    match faults.into_iter().next()? {
        Error::Data { path, what, help } if more > 0 => {
            let all = format!("{more} more faults: `dmad data verify {dataset}` lists them");
            Some(Error::Data { path, what, help: if help.is_empty() { all } else { format!("{help} ({all})") } })
        }
        fault => Some(fault),
    }
}

/// Like [`index`], but goes on after a fault and collects them all.
///
/// # Errors
/// Only when nothing can be read: the root or the split file is missing, or `only_classes` names an unknown class.
pub fn survey(entry: &DatasetEntry, data_root: &Path, only_classes: Option<&[String]>) -> Result<Survey> {
    let root = entry.layout.images_path(data_root);
    if let Some([folder, _]) = entry.layout.folders()
        && !root.is_dir()
    {
        return Err(missing_root(entry, folder, &root));
    }
    let mut findings = Findings::default();
    let classes = entry.layout.read(data_root, &Wanted { entry, only: only_classes }, &mut findings)?;
    let mut index = Index { dataset: entry.name.clone(), root, classes, skipped: findings.skipped };
    index.skipped.sort_unstable();
    let mut faults = findings.faults;
    let unnameable = index.classes.iter().filter(|class| class.name == MEAN);
    faults.extend(unnameable.map(|class| named_mean(&index.root.join(&class.name))));
    let untaught = index.classes.iter().filter(|class| class.train.is_empty());
    faults.extend(untaught.map(|class| {
        let what = format!("class `{}` of `{}` has no normal training image", class.name, entry.name);
        Error::data(&index.root, what, "complete the dataset, or correct its entry in datasets.toml")
    }));
    faults.extend(wrong_counts(entry, &index));
    if index.classes.is_empty() && faults.is_empty() {
        faults.push(Error::data(&index.root, "no class found in it", entry.files()));
    }
    Ok(Survey { index, faults })
}

/// The fault of a class folder called as the mean is.
pub fn named_mean(folder: &Path) -> Error {
    let what = format!("a class cannot be called `{MEAN}`: tables have the mean over all classes by that name");
    Error::data(folder, what, "rename the folder")
}

fn wrong_counts(entry: &DatasetEntry, index: &Index) -> Option<Error> {
    let difference = |class: &ClassIndex| {
        let (expected, found) = (entry.declared.counts.get(&class.name)?, class.counts());
        (*expected != found).then(|| format!("\n  {}: expected {expected}; found {found}", class.name))
    };
    let wrong: String = index.classes.iter().filter_map(difference).collect();
    let what = format!("`{}` has other images than declared{wrong}", entry.name);
    let help = "complete or clean the dataset, or correct `counts` in datasets.toml";
    (!wrong.is_empty()).then(|| Error::data(&index.root, what, help))
}

fn missing_root(entry: &DatasetEntry, folder: &str, root: &Path) -> Error {
    let name = &entry.name;
    let source = match (entry.declared.url.as_str(), entry.declared.licence.as_str()) {
        ("", _) => String::new(),
        (url, "") => format!("get it from {url} (`dmad data fetch {name}`) and "),
        (url, licence) => format!("get it from {url} (licence: {licence}; `dmad data fetch {name}`) and "),
    };
    let help = format!("{source}put it there, or name the folder that holds `{folder}` with --data DIR (or DMAD_DATA)");
    Error::data(root, format!("no such folder; dataset `{}` is expected there", entry.name), help)
}
