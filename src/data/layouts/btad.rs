//! BTAD's arrangement: `CLASS/train/ok`, `CLASS/test/{ok,ko}`, `CLASS/ground_truth/ko`, a mask being called as its image but for
//! the ending, which differs from class to class.

use super::{Found, Layout, Wanted, class_folder, classes_by, folders, image_names, images, normals};
use crate::data::index::{ClassIndex, Findings, Labelled, Source};
use crate::error::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The folder of normal images.
const NORMAL: &str = "ok";
/// The folder of anomalies and of their masks, which is also the one kind of defect.
const ANOMALY: &str = "ko";

/// A dataset in this layout.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Btad {
    /// Folder, relative to the data folder.
    root: String,
}

impl Layout for Btad {
    fn folders(&self) -> Option<[&str; 2]> {
        Some([&self.root, ""])
    }

    fn read(&self, data: &Path, wanted: &Wanted, findings: &mut Findings) -> Result<Vec<ClassIndex>> {
        let root = data.join(&self.root);
        let names = wanted.of(|| folders(&root, findings))?;
        Ok(names.iter().filter_map(|name| read(&root, name, findings)).collect())
    }
}

/// Recognised by `train/ok`.
pub(super) fn recognise(folder: &Path) -> Result<Option<Found>> {
    let found = classes_by(folder, |class| class.join("train").join(NORMAL).is_dir())?;
    let why = "its classes have train/ok".to_string();
    Ok(found.map(|(root, classes)| Found { root, classes, why, keys: Vec::new() }))
}

/// One class, or `None` with a fault when its folder is missing.
fn read(root: &Path, class: &str, findings: &mut Findings) -> Option<ClassIndex> {
    class_folder(root, class, findings)?;
    let train = images(root, &format!("{class}/train/{NORMAL}"), findings);
    let mut test = normals(root, &format!("{class}/test/{NORMAL}"), findings);
    test.extend(anomalies(root, class, findings));
    test.sort_by_cached_key(Labelled::sort_key);
    Some(ClassIndex { name: class.into(), train, train_anomalies: Vec::new(), test })
}

/// Anomalies with the masks of the same stem. An image without one, and a mask without one, is a fault.
fn anomalies(root: &Path, class: &str, findings: &mut Findings) -> Vec<Labelled> {
    let truth = root.join(class).join("ground_truth").join(ANOMALY);
    let mut masks: BTreeMap<String, String> = BTreeMap::new();
    for name in image_names(&truth, findings) {
        if let Some(other) = masks.insert(stem(&name).into(), name.clone()) {
            findings.fault(truth.join(&name), format!("{other} is a mask of the same image"), "remove one of them");
        }
    }
    let mut test = Vec::new();
    for image in images(root, &format!("{class}/test/{ANOMALY}"), findings) {
        let mask = masks.remove(stem(image.file_name())).map(|name| Source::File(truth.join(name)));
        if mask.is_none() {
            let what = format!("no mask in {} is called like this image", truth.display());
            findings.fault(image.place(), what, "restore the mask, or remove the image");
        }
        test.push(Labelled { image, defect: ANOMALY.into(), anomalous: true, mask });
    }
    for name in masks.into_values() {
        findings.fault(truth.join(name), "this mask has no image", "restore its test image, or remove the mask");
    }
    test
}

/// A file's name without its ending.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
