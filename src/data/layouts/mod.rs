//! One file per arrangement of a dataset's files, and the sorted, checked folder listing they share.

pub mod folder;
pub mod generated;
pub mod mvtec;
pub mod synthetic;
pub mod visa;

use crate::data::index::{Findings, Image, Source};
use crate::error::{Error, Result};
use std::path::Path;

/// Endings of image files, in lower case.
const IMAGE_ENDINGS: &[&str] = &["png", "jpg", "jpeg", "bmp", "tif", "tiff"];

/// Names in a folder, sorted.
pub(crate) struct Listing {
    pub folders: Vec<String>,
    pub files: Vec<String>,
}

/// Lists `folder` in byte order of the names; hidden entries are passed over and noted.
pub(crate) fn list(folder: &Path, findings: &mut Findings) -> Result<Listing> {
    let mut listing = Listing { folders: Vec::new(), files: Vec::new() };
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Error::data(entry.path(), "the name is not valid UTF-8", "rename it"));
        };
        if name.starts_with('.') {
            findings.skipped.push(entry.path());
            continue;
        }
        let kind = entry.file_type().map_err(Error::io("read", entry.path()))?;
        let is_folder = if kind.is_symlink() { entry.path().is_dir() } else { kind.is_dir() };
        if is_folder { listing.folders.push(name) } else { listing.files.push(name) }
    }
    listing.folders.sort_unstable();
    listing.files.sort_unstable();
    Ok(listing)
}

/// Names of the image files in `folder`, sorted; everything else is passed over and noted. A folder that cannot be
/// listed, or holds no image, is a fault.
pub(crate) fn image_names(folder: &Path, findings: &mut Findings) -> Vec<String> {
    if !folder.is_dir() {
        findings.fault(folder, "no such folder", "restore it, or drop its class from datasets.toml");
        return Vec::new();
    }
    let listing = match list(folder, findings) {
        Ok(listing) => listing,
        Err(error) => {
            findings.faults.push(error);
            return Vec::new();
        }
    };
    let (names, foreign): (Vec<_>, Vec<_>) = listing.files.into_iter().partition(|name| is_image(name));
    findings.skipped.extend(foreign.iter().chain(&listing.folders).map(|name| folder.join(name)));
    if names.is_empty() {
        let help = format!("put images there ({}), or remove the folder", IMAGE_ENDINGS.join(", "));
        findings.fault(folder, "no image in this folder", help);
    }
    names
}

/// An image file below `root`.
pub(crate) fn file(root: &Path, path: String) -> Image {
    let source = Source::File(root.join(&path));
    Image { path, source }
}

fn is_image(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| IMAGE_ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}
