//! The catalog of datasets: `datasets.toml`, strictly read.
//!
//! Owns: the file's keys, their checks and the words of the messages. Does not own: what is on disk (`index`).

use crate::error::{Error, Result, suggestion};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

const BUILT_IN: &str = include_str!("../../datasets.toml");
const FILE_NAME: &str = "datasets.toml";
/// Keys of every entry, then of layouts on disk, then of the synthetic layout.
const COMMON_KEYS: &[&str] = &["layout", "classes", "counts", "url", "sha256", "licence", "cite", "note"];
const DISK_KEYS: &[&str] = &["root", "images"];
const VISA_KEYS: &[&str] = &["split", "split_csv"];
const SYNTHETIC_KEYS: &[&str] = &["seed", "side", "train", "test_good", "test_per_defect", "textures"];
const COUNT_KEYS: &[&str] = &["train", "train_bad", "test_good", "test_bad"];

/// How the files of a dataset are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `CLASS/train/good`, `CLASS/test/DEFECT`, `CLASS/ground_truth/DEFECT/NNN_mask.png`.
    Mvtec,
    /// `CLASS/Data/Images/…`, split by an official CSV.
    Visa,
    /// `CATEGORY/*.jpg`: images without labels, for outliers.
    Folder,
    /// Drawn by this program.
    Synthetic,
}

impl Layout {
    /// The word used in `datasets.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Mvtec => "mvtec",
            Layout::Visa => "visa",
            Layout::Folder => "folder",
            Layout::Synthetic => "synthetic",
        }
    }
}

/// The official splits of VisA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum VisaSplit {
    /// Normal training images only.
    #[serde(rename = "1cls")]
    OneClass,
    /// 20 training anomalies per class.
    #[default]
    #[serde(rename = "2cls_fewshot")]
    FewShot,
    /// 60 training anomalies per class.
    #[serde(rename = "2cls_highshot")]
    HighShot,
}

impl VisaSplit {
    /// The word used in `datasets.toml` and the stem of the official CSV.
    pub fn name(self) -> &'static str {
        match self {
            VisaSplit::OneClass => "1cls",
            VisaSplit::FewShot => "2cls_fewshot",
            VisaSplit::HighShot => "2cls_highshot",
        }
    }
}

/// Images of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Normal training images.
    pub train: usize,
    /// Anomalous training images (VisA's two-class splits).
    pub train_bad: usize,
    /// Normal test images.
    pub test_good: usize,
    /// Anomalous test images.
    pub test_bad: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} train", self.train)?;
        if self.train_bad > 0 {
            write!(f, " + {} anomalous", self.train_bad)?;
        }
        write!(f, ", {} test normal, {} test anomalous", self.test_good, self.test_bad)
    }
}

/// One dataset of the catalog. Empty strings and lists mean "not given".
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Entry {
    /// Name by which experiments call it.
    #[serde(skip)]
    pub name: String,
    /// Arrangement of the files.
    pub layout: Layout,
    /// Folder, relative to the data folder.
    #[serde(default)]
    pub root: String,
    /// Classes in order; empty = those found, sorted.
    #[serde(default)]
    pub classes: Vec<String>,
    /// VisA: which split.
    #[serde(default)]
    pub split: VisaSplit,
    /// VisA: the CSV, relative to the root; empty = `split_csv/SPLIT.csv`.
    #[serde(default)]
    pub split_csv: String,
    /// `visa` and `folder`: folder of the images, relative to the root; empty = the root.
    #[serde(default)]
    pub images: String,
    /// Declared counts, asserted on load.
    #[serde(default)]
    pub counts: BTreeMap<String, Counts>,
    /// Where it can be had.
    #[serde(default)]
    pub url: String,
    /// SHA-256 of the archive behind `url`.
    #[serde(default)]
    pub sha256: String,
    /// Licence in a few words.
    #[serde(default)]
    pub licence: String,
    /// Whom to cite.
    #[serde(default)]
    pub cite: String,
    /// What one should know of it.
    #[serde(default)]
    pub note: String,
    /// Synthetic: seed of the drawings.
    #[serde(default)]
    pub seed: u64,
    /// Synthetic: side in pixels.
    #[serde(default)]
    pub side: u32,
    /// Synthetic: training images per class.
    #[serde(default)]
    pub train: usize,
    /// Synthetic: normal test images per class.
    #[serde(default)]
    pub test_good: usize,
    /// Synthetic: test images per defect kind.
    #[serde(default)]
    pub test_per_defect: usize,
    /// Synthetic: when above 0, the set is outlier textures, so many per category, in place of classes.
    #[serde(default)]
    pub textures: usize,
}

impl Entry {
    /// The dataset's folder.
    pub fn root_path(&self, data_root: &Path) -> PathBuf {
        data_root.join(&self.root)
    }

    /// The folder that image paths start from.
    pub fn images_path(&self, data_root: &Path) -> PathBuf {
        let root = self.root_path(data_root);
        if self.images.is_empty() { root } else { root.join(&self.images) }
    }

    /// The VisA split file.
    pub fn split_csv_path(&self, data_root: &Path) -> PathBuf {
        let root = self.root_path(data_root);
        if self.split_csv.is_empty() {
            root.join("split_csv").join(format!("{}.csv", self.split.name()))
        } else {
            root.join(&self.split_csv)
        }
    }

    /// True when nothing has to be on disk, or it is there.
    pub fn is_present(&self, data_root: &Path) -> bool {
        self.layout == Layout::Synthetic || self.images_path(data_root).is_dir()
    }
}

/// All known datasets.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    entries: BTreeMap<String, Entry>,
}

impl Catalog {
    /// Reads the catalog at `path`, or the copy built into the program when there is no path.
    ///
    /// # Errors
    /// An unreadable file, a syntax fault, an unknown key, a key that its layout does not know, or a value out of range.
    pub fn load(path: Option<&Path>) -> Result<Catalog> {
        match path {
            None => Catalog::parse(BUILT_IN, Path::new(FILE_NAME)),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
                Catalog::parse(&text, path)
            }
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Catalog> {
        let source = Source { text, path };
        let document = DeTable::parse(text).map_err(|e| source.toml_error(&e))?;
        source.check_keys(document.get_ref())?;
        #[derive(Deserialize)]
        struct Document {
            #[serde(default)]
            dataset: BTreeMap<String, Entry>,
        }
        let mut entries = toml::from_str::<Document>(text).map_err(|e| source.toml_error(&e))?.dataset;
        for (name, entry) in &mut entries {
            entry.name.clone_from(name);
            check_values(entry).map_err(|what| {
                Error::data(path, format!("dataset `{name}`: {what}"), "correct the entry of that dataset")
            })?;
        }
        Ok(Catalog { entries })
    }

    /// The entry called `name`.
    ///
    /// # Errors
    /// A usage error that lists the known names and the nearest.
    pub fn get(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).ok_or_else(|| Error::unknown("dataset", name, self.names()))
    }

    /// All entries, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

/// The text being read, for positions in messages.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn at(&self, offset: usize, what: &str, help: impl Into<String>) -> Error {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        Error::data(self.path, format!("line {line}, column {column}: {what}"), help)
    }

    fn toml_error(&self, error: &toml::de::Error) -> Error {
        self.at(error.span().map_or(0, |span| span.start), error.message(), "correct the file there")
    }

    fn check_keys(&self, document: &DeTable) -> Result<()> {
        self.check_table(document, &["dataset"], "the top level")?;
        let Some(datasets) = document.get("dataset").and_then(|v| v.get_ref().as_table()) else { return Ok(()) };
        for (name, value) in datasets.iter() {
            let Some(table) = value.get_ref().as_table() else { continue };
            let layout = match table.get("layout").map(|v| v.get_ref()) {
                Some(DeValue::String(layout)) => layout.as_ref(),
                _ => "",
            };
            let mut keys = COMMON_KEYS.to_vec();
            keys.extend(match layout {
                "synthetic" => SYNTHETIC_KEYS.to_vec(),
                "visa" => [DISK_KEYS, VISA_KEYS].concat(),
                "mvtec" => vec!["root"],
                "folder" => DISK_KEYS.to_vec(),
                _ => [DISK_KEYS, VISA_KEYS, SYNTHETIC_KEYS].concat(),
            });
            let place = format!("[dataset.{}] (layout {layout})", name.get_ref());
            self.check_table(table, &keys, &place)?;
            let Some(counts) = table.get("counts").and_then(|v| v.get_ref().as_table()) else { continue };
            for (class, count) in counts.iter() {
                let Some(count) = count.get_ref().as_table() else { continue };
                self.check_table(count, COUNT_KEYS, &format!("the counts of `{}`", class.get_ref()))?;
            }
        }
        Ok(())
    }

    fn check_table(&self, table: &DeTable, known: &[&str], place: &str) -> Result<()> {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let help = suggestion(name, known.iter().copied());
                return Err(self.at(key.span().start, &format!("unknown key `{name}` in {place}"), help));
            }
        }
        Ok(())
    }
}

fn check_values(entry: &Entry) -> Result<(), String> {
    let mut sorted: Vec<&String> = entry.classes.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("class `{}` is listed twice", pair[0]));
    }
    if let Some(class) = entry.classes.iter().find(|c| c.is_empty() || c.contains(['/', '\\']) || *c == "..") {
        return Err(format!("`{class}` cannot be the name of a class folder"));
    }
    if let Some(class) = entry.counts.keys().find(|c| !entry.classes.is_empty() && !entry.classes.contains(c)) {
        return Err(format!("counts are declared for `{class}`, which is not among its classes"));
    }
    if entry.layout == Layout::Synthetic {
        if !(32..=4096).contains(&entry.side) {
            return Err(format!("side = {} is outside 32 to 4096 pixels", entry.side));
        }
        if entry.textures == 0 && (entry.train == 0 || entry.test_good == 0 || entry.test_per_defect == 0) {
            return Err("train, test_good and test_per_defect must be above 0 (or textures, for outliers)".into());
        }
    } else if entry.root.is_empty() {
        return Err("`root` is missing".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalog_declares_the_published_totals() {
        let catalog = Catalog::load(None).unwrap();
        for (name, classes, total) in [
            ("mvtec_ad", 15, [3629, 0, 467, 1258]),
            ("visa", 12, [1924, 240, 7697, 960]),
            ("visa_1cls", 12, [8659, 0, 962, 1200]),
            ("visa_2cls_highshot", 12, [5773, 720, 3848, 480]),
            ("dtd", 47, [5640, 0, 0, 0]),
        ] {
            let entry = catalog.get(name).unwrap();
            let sum = |f: fn(&Counts) -> usize| entry.counts.values().map(f).sum::<usize>();
            assert_eq!((entry.classes.len(), entry.counts.len()), (classes, classes), "{name}");
            let sums = [sum(|c| c.train), sum(|c| c.train_bad), sum(|c| c.test_good), sum(|c| c.test_bad)];
            assert_eq!(sums, total, "{name}");
        }
    }
}
