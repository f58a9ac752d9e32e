//! MVTec AD 2's arrangement: as MVTec AD's, but with normal images for validation, one public test set
//! (`test_public/{good,bad}`, `test_public/ground_truth/bad/NAME_mask.png`) and two private ones without labels, which the
//! publisher's server judges.

use super::{Found, Judged, Layout, Wanted, class_folder, classes_by, folders, images, mvtec, normals};
use crate::data::index::{ClassIndex, Findings, GOOD, Labelled};
use crate::error::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// The folder of the test set that has labels.
const PUBLIC: &str = "test_public";
/// The folders of those that have none.
const PRIVATE: [&str; 2] = ["test_private", "test_private_mixed"];
/// The folder of anomalies, which is also the one kind of defect.
const ANOMALY: &str = "bad";

/// What becomes of the normal images in `validation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Validation {
    /// No model sees them, so that they can set a threshold.
    #[default]
    Unused,
    /// They are training images as those in `train`.
    Train,
}

/// A dataset in this layout.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Mvtec2 {
    /// Folder, relative to the data folder.
    root: String,
    /// What becomes of the normal images in `validation`.
    validation: Validation,
}

impl Layout for Mvtec2 {
    fn folders(&self) -> Option<[&str; 2]> {
        Some([&self.root, ""])
    }

    fn read(&self, data: &Path, wanted: &Wanted, findings: &mut Findings) -> Result<Vec<ClassIndex>> {
        let root = data.join(&self.root);
        let names = wanted.of(|| folders(&root, findings))?;
        Ok(names.iter().filter_map(|name| read(&root, name, self.validation, findings)).collect())
    }

    fn judged(&self, data: &Path, class: &str, findings: &mut Findings) -> Option<Judged> {
        let root = data.join(&self.root);
        let mut images = |folder: &str| images(&root, &format!("{class}/{folder}"), findings);
        let sets = PRIVATE.map(|set| (set, images(set))).into();
        let normals = (self.validation == Validation::Unused).then(|| images("validation/good"));
        Some(Judged { sets, normals })
    }
}

/// Recognised by `test_public`.
pub(super) fn recognise(folder: &Path) -> Result<Option<Found>> {
    let found = classes_by(folder, |class| class.join(PUBLIC).is_dir())?;
    let why = format!("its classes have {PUBLIC}");
    Ok(found.map(|(root, classes)| Found { root, classes, why, keys: Vec::new() }))
}

/// One class, or `None` with a fault when its folder is missing. Its private images are no part of the index: nothing can be
/// measured on them here.
fn read(root: &Path, class: &str, validation: Validation, findings: &mut Findings) -> Option<ClassIndex> {
    let folder = class_folder(root, class, findings)?;
    let mut train = images(root, &format!("{class}/train/{GOOD}"), findings);
    if validation == Validation::Train {
        train.extend(images(root, &format!("{class}/validation/{GOOD}"), findings));
    }
    let public = format!("{class}/{PUBLIC}");
    let truth = folder.join(PUBLIC).join("ground_truth").join(ANOMALY);
    let mut test = normals(root, &format!("{public}/{GOOD}"), findings);
    test.extend(mvtec::anomalies(root, &format!("{public}/{ANOMALY}"), &truth, ANOMALY, findings));
    test.sort_by_cached_key(Labelled::sort_key);
    Some(ClassIndex { name: class.into(), train, train_anomalies: Vec::new(), test })
}
