//! MVTec AD's arrangement: `CLASS/train/good`, `CLASS/test/{good,DEFECT}`, `CLASS/ground_truth/DEFECT/NNN_mask.png`. A mask may be
//! called as its image as well, and there may be none at all, where an entry says so.

use super::{Found, Layout, Wanted, class_folder, classes_by, holds_images, image_names, images, list, normals};
use crate::data::index::{ClassIndex, Findings, GOOD, Image, Labelled, Source};
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// A dataset in this layout.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Mvtec {
    /// Folder, relative to the data folder.
    root: String,
    /// Where the masks of anomalies are. Without masks, pixel metrics are undefined.
    masks: Masks,
}

/// Where the masks of anomalies are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Masks {
    /// In `ground_truth`, one for each.
    #[default]
    GroundTruth,
    /// There are none.
    None,
}

impl Layout for Mvtec {
    fn folders(&self) -> Option<[&str; 2]> {
        Some([&self.root, ""])
    }

    fn read(&self, data: &Path, wanted: &Wanted, findings: &mut Findings) -> Result<Vec<ClassIndex>> {
        let root = data.join(&self.root);
        let names = wanted.of(|| classes(&root, findings))?;
        Ok(names.iter().filter_map(|name| read(&root, name, self.masks, findings)).collect())
    }
}

/// Recognised by `train/good`. A folder `train` without it, or without BTAD's `ok`, is called what it is.
pub(super) fn recognise(folder: &Path) -> Result<Option<Found>> {
    if let Some((root, classes)) = classes_by(folder, |class| class.join("train").join(GOOD).is_dir())? {
        let (mut why, mut keys) = ("its classes have train/good".to_string(), Vec::new());
        let has_defects = |class: &Path| {
            list(&class.join("test"), &mut Findings::default())
                .is_ok_and(|own| own.folders.iter().any(|name| name != GOOD))
        };
        let mut folders = classes.iter().map(|class| root.join(class));
        if folders.clone().any(|class| has_defects(&class)) && !folders.any(|class| class.join("ground_truth").is_dir())
        {
            why += " and defects without a folder ground_truth, so without masks";
            keys.push(("masks", "none".to_string()));
        }
        return Ok(Some(Found { root, classes, why, keys }));
    }
    let train = |class: &Path| class.join("train").is_dir() && !class.join("train/ok").is_dir();
    let Some((root, classes)) = classes_by(folder, train)? else { return Ok(None) };
    let place = root.join(&classes[0]).join("train");
    let what = match holds_images(&place) {
        true => "holds images, where layout mvtec wants them in a folder `good` of it",
        false => "has no folder `good`, which layout mvtec wants (btad calls it `ok`)",
    };
    let help = "arrange each class as train/good, test/good, test/DEFECT, ground_truth/DEFECT/NNN_mask.png";
    Err(Error::data(place, what, help))
}

/// Folders of `root` that look like a class; the others are foreign.
fn classes(root: &Path, findings: &mut Findings) -> Result<Vec<String>> {
    let listing = list(root, findings)?;
    let is_class = |name: &String| root.join(name).join("train").is_dir() || root.join(name).join("test").is_dir();
    let (classes, foreign): (Vec<_>, Vec<_>) = listing.folders.into_iter().partition(is_class);
    findings.skipped.extend(foreign.iter().chain(&listing.files).map(|name| root.join(name)));
    Ok(classes)
}

/// One class, or `None` with a fault when its folder is missing.
fn read(root: &Path, class: &str, masks: Masks, findings: &mut Findings) -> Option<ClassIndex> {
    class_folder(root, class, findings)?;
    let train = images(root, &format!("{class}/train/{GOOD}"), findings);
    let mut test = test_images(root, class, masks, findings);
    test.sort_by_cached_key(Labelled::sort_key);
    Some(ClassIndex { name: class.into(), train, train_anomalies: Vec::new(), test })
}

fn test_images(root: &Path, class: &str, masks: Masks, findings: &mut Findings) -> Vec<Labelled> {
    let truth = root.join(class).join("ground_truth");
    let defects = folders(&root.join(class).join("test"), findings, true);
    let mut test = Vec::new();
    for defect in &defects {
        let folder = format!("{class}/test/{defect}");
        match defect.as_str() {
            GOOD => test.extend(normals(root, &folder, findings)),
            defect if masks == Masks::None => {
                let unmasked = |image| Labelled { image, defect: defect.into(), anomalous: true, mask: None };
                test.extend(images(root, &folder, findings).into_iter().map(unmasked));
            }
            defect => test.extend(anomalies(root, &folder, &truth.join(defect), defect, findings)),
        }
    }
    if masks == Masks::None {
        findings.skipped.extend(truth.is_dir().then_some(truth));
        return test;
    }
    for defect in folders(&truth, findings, false).iter().filter(|defect| !defects.contains(defect)) {
        let help = "restore the test folder of the same name";
        findings.fault(truth.join(defect), "these masks have no images", help);
    }
    test
}

/// The anomalies of a folder with their masks in the folder `truth`. One without the other is a fault.
pub(super) fn anomalies(
    root: &Path,
    folder: &str,
    truth: &Path,
    defect: &str,
    findings: &mut Findings,
) -> Vec<Labelled> {
    let mut masks = BTreeSet::new();
    if truth.is_dir() {
        masks.extend(image_names(truth, findings));
    }
    let (mut found, mut unmasked) = (Vec::new(), Vec::new());
    for image in images(root, folder, findings) {
        let mask = take_mask(truth, &image, &mut masks, findings);
        unmasked.extend(mask.is_none().then(|| image.clone()));
        found.push(Labelled { image, defect: defect.into(), anomalous: true, mask: mask.flatten() });
    }
    if let Some(fault) = misnamed(truth, &unmasked, &masks) {
        findings.faults.push(fault);
        return found;
    }
    for image in unmasked {
        let help = "restore it, or remove the image; where no anomaly has a mask, set masks = \"none\" in the entry of datasets.toml";
        let [path, _] = mask_names(&image).map(|name| truth.join(name));
        findings.fault(path, format!("the mask of {} is missing", image.path), help);
    }
    for name in masks {
        let help = "restore its test image, or remove the mask";
        findings.fault(truth.join(name), "this mask has no image", help);
    }
    found
}

/// The one fault of a folder that has a mask for every image that lacks one, and other names for them.
fn misnamed(truth: &Path, unmasked: &[Image], masks: &BTreeSet<String>) -> Option<Error> {
    let first = unmasked.first().filter(|_| unmasked.len() == masks.len())?;
    let [name, alike] = mask_names(first);
    let own = masks.iter().find(|mask| mask.contains(stem(first)))?;
    let what = format!("{} masks have other names than their images want, such as {own}", masks.len());
    let help = format!("rename {own} to {name} (or {alike}), and the others alike");
    Some(Error::data(truth, what, help))
}

/// Folders below `folder`; files there are foreign. A missing folder is a fault when it is `required`.
fn folders(folder: &Path, findings: &mut Findings, required: bool) -> Vec<String> {
    if !folder.is_dir() {
        if required {
            findings.fault(folder, "no such folder", "layout mvtec wants test/good and test/DEFECT in each class");
        }
        return Vec::new();
    }
    super::folders(folder, findings).unwrap_or_else(|error| {
        findings.faults.push(error);
        Vec::new()
    })
}

/// The name of an image without its ending.
fn stem(image: &Image) -> &str {
    let name = image.file_name();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// What the mask of an image may be called.
fn mask_names(image: &Image) -> [String; 2] {
    ["_mask.png", ".png"].map(|ending| format!("{}{ending}", stem(image)))
}

/// The mask of `image` in `folder`, taken out of `masks`; `None` when there is none. Where it is that of another image as well,
/// which is a fault, the image has none: `Some(None)`.
fn take_mask(
    folder: &Path,
    image: &Image,
    masks: &mut BTreeSet<String>,
    findings: &mut Findings,
) -> Option<Option<Source>> {
    let names = mask_names(image);
    if let Some(own) = names.iter().find(|name| masks.remove(*name)) {
        return Some(Some(Source::File(folder.join(own))));
    }
    if !folder.join(&names[0]).is_file() {
        return None;
    }
    let mask = &names[0];
    let what = format!("has the name of another image but for its ending, and both would have the mask {mask}");
    findings.fault(image.place(), what, "rename one of them and its mask, or remove one");
    Some(None)
}
