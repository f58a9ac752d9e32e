//! Images without labels: `CATEGORY/*.jpg`. Each category becomes a class with training images only.

use super::{Layout, Wanted, file, folders, image_names};
use crate::data::index::{ClassIndex, Findings};
use crate::error::Result;
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

/// One category, or `None` with a fault when its folder is missing or empty.
fn read(root: &Path, category: &str, findings: &mut Findings) -> Option<ClassIndex> {
    let names = image_names(&root.join(category), findings);
    let train: Vec<_> = names.into_iter().map(|name| file(root, format!("{category}/{name}"))).collect();
    (!train.is_empty()).then(|| ClassIndex { name: category.into(), train, ..ClassIndex::default() })
}
