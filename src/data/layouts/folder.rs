//! Images without labels: `CATEGORY/*.jpg`. Each category becomes a class with training images only.

use super::{file, image_names, list};
use crate::data::index::{ClassIndex, Findings};
use crate::error::Result;
use std::path::Path;

/// All folders of `root`; files there are foreign.
pub(crate) fn categories(root: &Path, findings: &mut Findings) -> Result<Vec<String>> {
    let listing = list(root, findings)?;
    findings.skipped.extend(listing.files.iter().map(|name| root.join(name)));
    Ok(listing.folders)
}

/// One category, or `None` with a fault when its folder is missing or empty.
pub(crate) fn read(root: &Path, category: &str, findings: &mut Findings) -> Option<ClassIndex> {
    let names = image_names(&root.join(category), findings);
    let train: Vec<_> = names.into_iter().map(|name| file(root, format!("{category}/{name}"))).collect();
    (!train.is_empty()).then(|| ClassIndex {
        name: category.into(),
        train,
        train_anomalies: Vec::new(),
        test: Vec::new(),
    })
}
