//! Images without labels: `CATEGORY/*.jpg`. Each category becomes a class with training images only.

use super::{Found, Layout, Wanted, classes_by, folders, holds_images, images};
use crate::data::index::{ClassIndex, Findings};
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// A dataset in this layout.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Folder {
    /// Folder, relative to the data folder.
    root: String,
    /// Folder of the images, relative to the root; empty = the root.
    images: String,
}

impl Layout for Folder {
    fn folders(&self) -> Option<[&str; 2]> {
        Some([&self.root, &self.images])
    }

    fn read(&self, data: &Path, wanted: &Wanted, findings: &mut Findings) -> Result<Vec<ClassIndex>> {
        let root = (self as &dyn Layout).images_path(data);
        let names = wanted.of(|| folders(&root, findings))?;
        Ok(names.iter().filter_map(|name| read(&root, name, findings)).collect())
    }
}

/// Names that people give to folders of normal images beside folders of others.
const NORMAL: [&str; 6] = ["good", "ok", "normal", "nominal", "train", "test"];

/// Recognised by images in folders, or in the folder itself. Folders that tell normal images from others are no categories:
/// all of them would be trained on.
pub(super) fn recognise(folder: &Path) -> Result<Option<Found>> {
    let Some((root, classes)) = classes_by(folder, holds_images)? else { return Ok(None) };
    let telling = classes.iter().find(|name| NORMAL.contains(&name.to_lowercase().as_str()));
    if let (Some(name), 2..) = (telling, classes.len()) {
        let others: Vec<&str> = classes.iter().filter(|other| *other != name).map(String::as_str).collect();
        let what = format!("has folders of images called {name} and {}, which is no layout", others.join(", "));
        let help = "arrange them as NAME/train/good, NAME/test/good, NAME/test/DEFECT, with masks in \
                    NAME/ground_truth/DEFECT/NNN_mask.png; or name the folder of normal images alone, for maps without numbers";
        return Err(Error::data(&root, what, help));
    }
    let why = match root == folder {
        true => "it has folders of images, without a test set",
        false => "it holds images, without a test set",
    };
    Ok(Some(Found { root, classes, why: why.into(), keys: Vec::new() }))
}

/// One category, or `None` with a fault when its folder is missing or empty.
fn read(root: &Path, category: &str, findings: &mut Findings) -> Option<ClassIndex> {
    let train = images(root, category, findings);
    (!train.is_empty()).then(|| ClassIndex { name: category.into(), train, ..ClassIndex::default() })
}
