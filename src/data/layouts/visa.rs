//! VisA's arrangement: a CSV (`object,split,label,image,mask`) says which files train and which test; the paths in it
//! start from the images folder, as in the official archive.

use super::{Found, Layout, Wanted, below, class_folder, classes_by, file, is_below, list};
use crate::data::index::{ClassIndex, Findings, GOOD, Labelled, Source};
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Columns of the official files.
const COLUMNS: [&str; 5] = ["object", "split", "label", "image", "mask"];
/// The one kind of defect that the CSV knows.
const ANOMALY: &str = "anomaly";

/// The official splits.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
enum OfficialSplit {
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

impl OfficialSplit {
    fn name(self) -> &'static str {
        match self {
            OfficialSplit::OneClass => "1cls",
            OfficialSplit::FewShot => "2cls_fewshot",
            OfficialSplit::HighShot => "2cls_highshot",
        }
    }
}

/// A dataset in this layout.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Visa {
    /// Folder, relative to the data folder.
    root: String,
    /// Folder of the images, relative to the root; empty = the root.
    images: String,
    /// Which split.
    split: OfficialSplit,
    /// The CSV, relative to the root; empty = `split_csv/SPLIT.csv`.
    split_csv: String,
}

impl Visa {
    fn csv(&self, data: &Path) -> PathBuf {
        let official = format!("split_csv/{}.csv", self.split.name());
        below(&data.join(&self.root), if self.split_csv.is_empty() { &official } else { &self.split_csv })
    }
}

impl Layout for Visa {
    fn folders(&self) -> Option<[&str; 2]> {
        Some([&self.root, &self.images])
    }

    fn split(&self) -> &'static str {
        if self.split_csv.is_empty() { self.split.name() } else { "" }
    }

    fn read(&self, data: &Path, wanted: &Wanted, findings: &mut Findings) -> Result<Vec<ClassIndex>> {
        let (root, csv) = ((self as &dyn Layout).images_path(data), self.csv(data));
        let rows = read_csv(&csv)?;
        let names = wanted.of(|| Ok(classes(&rows)))?;
        Ok(names.iter().filter_map(|name| read(&root, &csv, &rows, name, findings)).collect())
    }
}

/// Recognised by a split file: the official one of one class before those of two, else any other.
pub(super) fn recognise(folder: &Path) -> Result<Option<Found>> {
    let names = match folder.join("split_csv") {
        csvs if csvs.is_dir() => list(&csvs, &mut Findings::default())?.files,
        _ => Vec::new(),
    };
    let official = [OfficialSplit::OneClass, OfficialSplit::FewShot, OfficialSplit::HighShot];
    let known = official.into_iter().find(|split| names.contains(&format!("{}.csv", split.name())));
    let (csv, key) = match (known, names.iter().find(|name| name.ends_with(".csv"))) {
        (Some(split), _) => (format!("split_csv/{}.csv", split.name()), ("split", split.name().to_string())),
        (None, Some(name)) => (format!("split_csv/{name}"), ("split_csv", format!("split_csv/{name}"))),
        (None, None) => {
            let Some((root, _)) = classes_by(folder, |class| class.join("Data/Images").is_dir())? else {
                return Ok(None);
            };
            let help = "put VisA's split files there: they are in the repository amazon-science/spot-diff";
            return Err(Error::data(root.join("split_csv"), "layout visa wants a split file in this folder", help));
        }
    };
    let rows = read_csv(&folder.join(&csv))?;
    let mut keys = vec![key];
    // Some unpack the images beside the split files, others into a folder of their own.
    if let Some(first) = rows.first().filter(|row| !folder.join(&row.image).is_file()) {
        let inside = list(folder, &mut Findings::default())?.folders;
        let images = inside.into_iter().find(|name| folder.join(name).join(&first.image).is_file());
        keys.extend(images.map(|images| ("images", images)));
    }
    Ok(Some(Found { root: folder.into(), classes: classes(&rows), why: format!("it has {csv}"), keys }))
}

/// One line of a split file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Class.
    pub object: String,
    /// Training split (otherwise test).
    pub training: bool,
    /// Label.
    pub anomalous: bool,
    /// Path of the image.
    pub image: String,
    /// Path of the mask, for anomalies.
    pub mask: Option<String>,
}

/// Reads a split file.
///
/// # Errors
/// An unreadable file, other columns, an unknown word, an absolute path or one that climbs, an anomaly without mask, a
/// normal image with one, or an image named twice: the message names file and line.
pub fn read_csv(path: &Path) -> Result<Vec<Row>> {
    if !path.is_file() {
        let help = "VisA's split files are in the repository amazon-science/spot-diff, folder split_csv";
        return Err(Error::data(path, "the split file is missing", help));
    }
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let wrong =
        |line: usize, what: String| Error::data(path, format!("line {line}: {what}"), "take the official split file");
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim_end()));
    let header = lines.next().map_or("", |(_, line)| line);
    if header.split(',').ne(COLUMNS) {
        return Err(wrong(1, format!("expected the columns {}, found `{header}`", COLUMNS.join(","))));
    }
    let mut rows = Vec::new();
    let mut named = BTreeSet::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let row = parse_row(line).map_err(|what| wrong(number, what))?;
        if !named.insert(row.image.clone()) {
            return Err(wrong(number, format!("{} is named twice", row.image)));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn parse_row(line: &str) -> Result<Row, String> {
    let fields: Vec<&str> = line.split(',').collect();
    let [object, split, label, image, mask] = fields[..] else {
        return Err(format!("expected {} fields, found {}", COLUMNS.len(), fields.len()));
    };
    let training = match split {
        "train" => true,
        "test" => false,
        other => return Err(format!("split is `{other}`, neither train nor test")),
    };
    let anomalous = match label {
        "normal" => false,
        ANOMALY => true,
        other => return Err(format!("label is `{other}`, neither normal nor anomaly")),
    };
    for path in [image, mask] {
        if !is_below(path) {
            return Err(format!("`{path}` is not a path below the dataset"));
        }
    }
    if object.is_empty() || image.is_empty() {
        return Err("object or image is empty".into());
    }
    match (anomalous, mask.is_empty()) {
        (true, true) => Err(format!("{image} is an anomaly without mask")),
        (false, false) => Err(format!("{image} is normal, but has the mask {mask}")),
        _ => {
            let mask = (!mask.is_empty()).then(|| mask.into());
            Ok(Row { object: object.into(), training, anomalous, image: image.into(), mask })
        }
    }
}

/// Classes named in the rows, sorted.
pub fn classes(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| &row.object).collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// One class, or `None` with a fault when the split file does not know it.
fn read(root: &Path, csv: &Path, rows: &[Row], class: &str, findings: &mut Findings) -> Option<ClassIndex> {
    if rows.iter().any(|row| row.object == class) {
        class_folder(root, class, findings)?;
    }
    let mut index = ClassIndex { name: class.into(), ..ClassIndex::default() };
    for row in rows.iter().filter(|row| row.object == class) {
        for path in std::iter::once(&row.image).chain(&row.mask) {
            if !root.join(path).is_file() {
                let what = format!("no such file, but {} names it", csv.display());
                findings.fault(root.join(path), what, "complete the dataset");
            }
        }
        let image = file(root, row.image.clone());
        if row.training && !row.anomalous {
            index.train.push(image);
            continue;
        }
        let defect = if row.anomalous { ANOMALY } else { GOOD };
        let mask = row.mask.as_ref().map(|path| Source::File(root.join(path)));
        let labelled = Labelled { image, defect: defect.into(), anomalous: row.anomalous, mask };
        if row.training { index.train_anomalies.push(labelled) } else { index.test.push(labelled) }
    }
    if index.train.is_empty() {
        let what = format!("class `{class}` has no normal training image in this split");
        findings.fault(csv, what, "take the official split file, or narrow `classes`");
        return None;
    }
    index.train.sort_by(|a, b| a.path.cmp(&b.path));
    index.train_anomalies.sort_by_cached_key(Labelled::sort_key);
    index.test.sort_by_cached_key(Labelled::sort_key);
    Some(index)
}
