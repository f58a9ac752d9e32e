//! Real-IAD's arrangement: one JSON file for each class says which files train and which test; the images lie in a folder for
//! each size (`realiad_1024/CLASS`), the JSON files in a folder for each official split.
//!
//! Every part is photographed from five sides. Here each photograph is an image of its own, with a label of its own: of a
//! defective part those that do not show the defect have no mask and count as normal, as in the official loader.

use super::{Found, Layout, Wanted, class_folder, file, is_below, list};
use crate::data::index::{ClassIndex, Findings, GOOD, Image, Labelled, Source};
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the JSON files may lie one folder deeper: some unpack them so.
const JSONS: &str = "realiad_jsons";
/// Names of the folders of images begin so; the side in pixels, or `raw`, follows.
const IMAGES: &str = "realiad_";
const HELP: &str = "unpack realiad_jsons.zip of the official download";

/// The official splits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
enum OfficialSplit {
    /// All five views, normal training images only.
    #[default]
    #[serde(rename = "multi_view")]
    MultiView,
    /// The view from above alone.
    #[serde(rename = "single_view")]
    SingleView,
    /// Fully unsupervised, without anomalies among the training images.
    #[serde(rename = "fuiad_0.0")]
    Noise0,
    /// A tenth of the training images shows anomalies, which no label tells.
    #[serde(rename = "fuiad_0.1")]
    Noise1,
    /// A fifth of the training images does.
    #[serde(rename = "fuiad_0.2")]
    Noise2,
    /// Two fifths of the training images do.
    #[serde(rename = "fuiad_0.4")]
    Noise4,
}

use OfficialSplit::{MultiView, Noise0, Noise1, Noise2, Noise4, SingleView};

impl OfficialSplit {
    const ALL: [OfficialSplit; 6] = [MultiView, SingleView, Noise0, Noise1, Noise2, Noise4];

    /// Its name here, and the official folder of its JSON files.
    fn names(self) -> [&'static str; 2] {
        match self {
            MultiView => ["multi_view", JSONS],
            SingleView => ["single_view", "realiad_jsons_sv"],
            Noise0 => ["fuiad_0.0", "realiad_jsons_fuiad_0.0"],
            Noise1 => ["fuiad_0.1", "realiad_jsons_fuiad_0.1"],
            Noise2 => ["fuiad_0.2", "realiad_jsons_fuiad_0.2"],
            Noise4 => ["fuiad_0.4", "realiad_jsons_fuiad_0.4"],
        }
    }

    /// The folder of its JSON files below `root`, beside the images or in a folder of their own.
    fn folder(self, root: &Path) -> PathBuf {
        let [_, name] = self.names();
        let deeper = root.join(JSONS).join(name);
        if deeper.is_dir() { deeper } else { root.join(name) }
    }
}

/// A dataset in this layout.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RealIad {
    /// Folder, relative to the data folder.
    root: String,
    /// Folder of the images, relative to the root: realiad_1024, realiad_512, realiad_256 or realiad_raw; empty = the root.
    images: String,
    /// Which split.
    split: OfficialSplit,
}

impl Layout for RealIad {
    fn folders(&self) -> Option<[&str; 2]> {
        Some([&self.root, &self.images])
    }

    fn split(&self) -> &'static str {
        self.split.names()[0]
    }

    fn read(&self, data: &Path, wanted: &Wanted, findings: &mut Findings) -> Result<Vec<ClassIndex>> {
        let (root, jsons) = ((self as &dyn Layout).images_path(data), self.split.folder(&data.join(&self.root)));
        let names = wanted.of(|| stems(&jsons))?;
        names.iter().filter_map(|name| read(&root, &jsons, name, findings).transpose()).collect()
    }
}

/// Recognised by the folder of JSON files of a split, all views before one.
pub(super) fn recognise(folder: &Path) -> Result<Option<Found>> {
    let has_jsons = |split: &OfficialSplit| {
        let jsons = split.folder(folder);
        jsons.is_dir() && stems(&jsons).is_ok_and(|stems| !stems.is_empty())
    };
    let Some(split) = OfficialSplit::ALL.into_iter().find(has_jsons) else { return Ok(None) };
    let inside = list(folder, &mut Findings::default())?.folders;
    let images = |name: &&String| name.starts_with(IMAGES) && !name.starts_with(JSONS);
    // The largest: they differ in size alone.
    let side = |name: &&String| name[IMAGES.len()..].parse::<u32>().unwrap_or(0);
    let Some(images) = inside.iter().filter(images).max_by_key(side) else {
        let help = "unpack the classes' archives into the folder realiad_1024 (or _512, _256) beside the JSON files";
        return Err(Error::data(folder, "layout real_iad wants a folder of images, such as realiad_1024", help));
    };
    let ([name, jsons], classes) = (split.names(), stems(&split.folder(folder))?);
    let keys = vec![("images", images.clone()), ("split", name.into())];
    Ok(Some(Found { root: folder.into(), classes, why: format!("it has {jsons}"), keys }))
}

/// Names of the classes that a folder has JSON files of, sorted.
fn stems(jsons: &Path) -> Result<Vec<String>> {
    if !jsons.is_dir() {
        return Err(Error::data(jsons, "the folder of this split's JSON files is missing", HELP));
    }
    let files = list(jsons, &mut Findings::default())?.files;
    Ok(files.iter().filter_map(|name| Some(name.strip_suffix(".json")?.to_string())).collect())
}

/// One JSON file. Strings are borrowed where they have no escapes, so that their line can be told.
#[derive(Debug, Deserialize)]
struct SplitFile<'a> {
    meta: Meta,
    #[serde(borrow)]
    train: Vec<Entry<'a>>,
    #[serde(borrow)]
    test: Vec<Entry<'a>>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    /// What `anomaly_class` is of normal images.
    normal_class: String,
    /// What paths start from, below the folder of the images.
    prefix: String,
}

#[derive(Debug, Deserialize)]
struct Entry<'a> {
    anomaly_class: String,
    #[serde(borrow)]
    image_path: Cow<'a, str>,
    mask_path: Option<String>,
}

/// One line of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Training split (otherwise test).
    pub training: bool,
    /// `None` for normal images, and for those of defective parts that do not show the defect.
    pub defect: Option<String>,
    /// Path of the image below the folder of images.
    pub image: String,
    /// Path of the mask, for anomalies that are tested.
    pub mask: Option<String>,
}

/// Reads the split file of a class.
///
/// # Errors
/// A missing or unreadable file, broken JSON or other keys, an absolute path or one that climbs, or an image named twice: the
/// message names file and line.
pub fn read_json(path: &Path) -> Result<Vec<Row>> {
    if !path.is_file() {
        return Err(Error::data(path, "the class's JSON file is missing", HELP));
    }
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let wrong =
        |line: usize, what: &str| Error::data(path, format!("line {line}: {what}"), "take the official JSON files");
    let parsed = serde_json::from_str::<SplitFile>(&text);
    let split = parsed.map_err(|fault| {
        let said = fault.to_string();
        wrong(fault.line(), said.split(" at line ").next().unwrap_or(&said))
    })?;
    let line = |entry: &Entry| match &entry.image_path {
        Cow::Borrowed(found) => text[..found.as_ptr() as usize - text.as_ptr() as usize].matches('\n').count() + 1,
        Cow::Owned(found) => text.lines().position(|line| line.contains(found.as_str())).map_or(1, |line| line + 1),
    };
    let (mut rows, mut named) = (Vec::new(), BTreeSet::new());
    let entries = split.train.iter().map(|entry| (true, entry)).chain(split.test.iter().map(|entry| (false, entry)));
    for (training, entry) in entries {
        let row = row(&split.meta, training, entry).map_err(|what| wrong(line(entry), &what))?;
        if !named.insert(row.image.clone()) {
            return Err(wrong(line(entry), &format!("{} is named twice", row.image)));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn row(meta: &Meta, training: bool, entry: &Entry) -> Result<Row, String> {
    let path = |own: &str| {
        let path = format!("{}/{own}", meta.prefix.trim_end_matches('/'));
        let path = if meta.prefix.is_empty() { own } else { &path };
        let empty = own.is_empty() || own.ends_with('/');
        if empty || !is_below(path) {
            Err(format!("`{path}` is not a path below the dataset"))
        } else {
            Ok(path.into())
        }
    };
    let image = path(&entry.image_path)?;
    // No mask, no anomaly; and the official loader takes all images of `train` for normal ones.
    let mask = entry.mask_path.as_deref().filter(|_| !training && entry.anomaly_class != meta.normal_class);
    let mask = mask.map(path).transpose()?;
    let defect = mask.is_some().then(|| entry.anomaly_class.clone());
    Ok(Row { training, defect, image, mask })
}

/// One class, or `None` with a fault when its folder or file is missing.
fn read(root: &Path, jsons: &Path, class: &str, findings: &mut Findings) -> Result<Option<ClassIndex>> {
    if class_folder(root, class, findings).is_none() {
        return Ok(None);
    }
    let json = jsons.join(format!("{class}.json"));
    let rows = match read_json(&json) {
        Ok(rows) => rows,
        // One broken file of thirty is one fault, and the others are read on.
        Err(fault @ Error::Data { .. }) => {
            findings.faults.push(fault);
            return Ok(None);
        }
        Err(fault) => return Err(fault),
    };
    let mut index = ClassIndex { name: class.into(), ..ClassIndex::default() };
    for row in rows {
        for path in std::iter::once(&row.image).chain(&row.mask) {
            if !root.join(path).is_file() {
                let what = format!("no such file, but {} names it", json.display());
                findings.fault(root.join(path), what, "complete the dataset");
            }
        }
        let image: Image = file(root, row.image);
        if row.training {
            index.train.push(image);
            continue;
        }
        let (anomalous, mask) = (row.defect.is_some(), row.mask.map(|path| Source::File(root.join(path))));
        index.test.push(Labelled { image, defect: row.defect.unwrap_or_else(|| GOOD.into()), anomalous, mask });
    }
    if index.train.is_empty() {
        findings.fault(&json, format!("class `{class}` has no training image in this split"), HELP);
        return Ok(None);
    }
    index.train.sort_by(|a, b| a.path.cmp(&b.path));
    index.test.sort_by_cached_key(Labelled::sort_key);
    Ok(Some(index))
}
