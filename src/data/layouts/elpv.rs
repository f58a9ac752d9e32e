//! ELPV's arrangement: `labels.csv` has a line `PATH PROBABILITY TYPE` for each image of a solar cell: how probable a defect is
//! (0, 1/3, 2/3 or 1), and whether the cell is mono- or polycrystalline.
//!
//! There are labels and no masks, so pixel metrics have no value. There is no official split either: one is drawn.

use super::{Found, Layout, Wanted, file, is_below};
use crate::data::index::{ClassIndex, Findings, GOOD, Labelled};
use crate::error::{Error, Result};
use crate::random::{Purpose, name_index, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// The file of labels.
const LABELS: &str = "labels.csv";
/// The types of cells, which are the classes.
const TYPES: [&str; 2] = ["mono", "poly"];

/// What becomes of images that are neither surely normal nor probable enough to be anomalous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Between {
    /// They are left out.
    #[default]
    Dropped,
    /// They count as normal.
    Normal,
}

/// A dataset in this layout.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Elpv {
    /// Folder of `labels.csv`, relative to the data folder.
    root: String,
    /// Share of each class's normal images that train; the others are tested.
    train_share: f64,
    /// Seed of the draw that splits them.
    split_seed: u64,
    /// Images are anomalous from this probability of a defect on.
    anomalous_from: f64,
    /// What becomes of images with a lower probability above 0.
    between: Between,
}

impl Default for Elpv {
    fn default() -> Self {
        Elpv {
            root: String::new(),
            train_share: 0.8,
            split_seed: 0,
            anomalous_from: 0.3333,
            between: Between::default(),
        }
    }
}

impl Layout for Elpv {
    fn folders(&self) -> Option<[&str; 2]> {
        Some([&self.root, ""])
    }

    fn check(&self) -> Result<(), String> {
        if !(0.0 < self.train_share && self.train_share < 1.0) {
            return Err(format!("train_share = {} is no share between 0 and 1", self.train_share));
        }
        if !(0.0 < self.anomalous_from && self.anomalous_from <= 1.0) {
            return Err(format!("anomalous_from = {} is no probability above 0", self.anomalous_from));
        }
        Ok(())
    }

    fn has_class_folders(&self) -> bool {
        false
    }

    fn read(&self, data: &Path, wanted: &Wanted, findings: &mut Findings) -> Result<Vec<ClassIndex>> {
        let root = data.join(&self.root);
        let labels = root.join(LABELS);
        let rows = read_labels(&labels)?;
        for row in &rows {
            if !root.join(&row.image).is_file() {
                let what = format!("no such file, but {} names it", labels.display());
                findings.fault(root.join(&row.image), what, "complete the dataset");
            }
        }
        let names = wanted.of(|| Ok(TYPES.map(String::from).into()))?;
        Ok(names.iter().filter_map(|name| self.class(&root, &rows, name, findings)).collect())
    }
}

impl Elpv {
    /// One class, or `None` with a fault when it has too few normal images for both sides of a split.
    fn class(&self, root: &Path, rows: &[Row], class: &str, findings: &mut Findings) -> Option<ClassIndex> {
        let mut normal: Vec<&Row> = Vec::new();
        let mut index = ClassIndex { name: class.into(), ..ClassIndex::default() };
        for row in rows.iter().filter(|row| row.class == class) {
            if row.probability >= self.anomalous_from {
                // The kinds that the labels know are how sure people were.
                let defect = format!("p{:.2}", row.probability);
                index.test.push(Labelled { image: file(root, row.image.clone()), defect, anomalous: true, mask: None });
            } else if row.probability == 0.0 || self.between == Between::Normal {
                normal.push(row);
            }
        }
        if normal.len() < 2 {
            let what = format!("class `{class}` has {} normal images, of which some train and some test", normal.len());
            findings.fault(root.join(LABELS), what, "complete the dataset, or narrow `classes`");
            return None;
        }
        // By path, so that the draw does not depend on the order of the lines.
        normal.sort_by(|a, b| a.image.cmp(&b.image));
        let train = ((normal.len() as f64 * self.train_share).round() as usize).clamp(1, normal.len() - 1);
        let order = stream(self.split_seed, Purpose::DatasetSplit, name_index(class)).permutation(normal.len());
        for (place, &number) in order.iter().enumerate() {
            let image = file(root, normal[number].image.clone());
            match place < train {
                true => index.train.push(image),
                false => index.test.push(Labelled { image, defect: GOOD.into(), anomalous: false, mask: None }),
            }
        }
        index.train.sort_by(|a, b| a.path.cmp(&b.path));
        index.test.sort_by_cached_key(Labelled::sort_key);
        Some(index)
    }
}

/// Recognised by a `labels.csv` whose first line is such a line.
pub(super) fn recognise(folder: &Path) -> Result<Option<Found>> {
    let labels = folder.join(LABELS);
    let text = if labels.is_file() { std::fs::read_to_string(&labels).unwrap_or_default() } else { String::new() };
    if text.lines().next().is_none_or(|line| parse_row(line).is_err()) {
        return Ok(None);
    }
    let rows = read_labels(&labels)?;
    let classes = TYPES.into_iter().filter(|class| rows.iter().any(|row| row.class == *class)).map(String::from);
    let why = format!("it has {LABELS} with paths, probabilities and types of cells");
    Ok(Some(Found { root: folder.into(), classes: classes.collect(), why, keys: Vec::new() }))
}

/// One line of the labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Path of the image below the folder of the labels.
    pub image: String,
    /// How probable a defect is.
    pub probability: f64,
    /// Type of the cell.
    pub class: String,
}

/// Reads the labels.
///
/// # Errors
/// A missing or unreadable file, a line of other fields, no probability, an unknown type, an absolute path or one that climbs, or
/// an image named twice: the message names file and line.
pub fn read_labels(path: &Path) -> Result<Vec<Row>> {
    const HELP: &str = "take labels.csv of the repository zae-bayern/elpv-dataset";
    if !path.is_file() {
        return Err(Error::data(path, "the file of labels is missing", HELP));
    }
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let wrong = |line: usize, what: String| Error::data(path, format!("line {line}: {what}"), HELP);
    let (mut rows, mut named) = (Vec::new(), BTreeSet::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row = parse_row(line).map_err(|what| wrong(number + 1, what))?;
        if !named.insert(row.image.clone()) {
            return Err(wrong(number + 1, format!("{} is named twice", row.image)));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn parse_row(line: &str) -> Result<Row, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [image, probability, class] = fields[..] else {
        return Err(format!("expected path, probability and type, found {} fields", fields.len()));
    };
    if !is_below(image) {
        return Err(format!("`{image}` is not a path below the dataset"));
    }
    let known = probability.parse().ok().filter(|probability| (0.0..=1.0).contains(probability));
    let probability = known.ok_or_else(|| format!("`{probability}` is no probability"))?;
    if !TYPES.contains(&class) {
        return Err(format!("type is `{class}`, neither {}", TYPES.join(" nor ")));
    }
    Ok(Row { image: image.into(), probability, class: class.into() })
}
