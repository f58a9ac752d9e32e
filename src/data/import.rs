//! From an archive to a dataset where the catalog expects it.
//!
//! Owns: finding the dataset in what an archive holds, and putting it in place in one step. Does not own: unpacking (`fetch`),
//! whether the dataset is whole (`index`).

use std::path::{Path, PathBuf};

use super::catalog::DatasetEntry;
use super::layouts::LAYOUTS;
use crate::error::{Error, Result};
use crate::fetch::unpack;

/// How deep in an archive a dataset may lie: most have one folder around it, ELPV lies in a package of Python's.
const DEPTH: usize = 4;

/// The folder where a dataset of the catalog has to be.
///
/// # Errors
/// A dataset that is drawn.
pub fn place(entry: &DatasetEntry, data: &Path) -> Result<PathBuf> {
    let help = "it is there wherever the program is";
    let drawn = || Error::usage(format!("`{}` is drawn by the program and in no file", entry.name), help);
    let [root, _] = entry.layout.folders().ok_or_else(drawn)?;
    Ok(data.join(root))
}

/// Unpacks `archive` and puts the dataset in it where `entry` expects it; returns the number of files in the archive.
///
/// # Errors
/// A dataset that is there already, an archive that cannot be unpacked (see [`unpack`]) or that lacks the dataset's classes.
pub fn import(entry: &DatasetEntry, archive: &Path, data: &Path) -> Result<usize> {
    let target = place(entry, data)?;
    if std::fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some()) {
        let help = "`dmad data verify` says whether it is whole; remove it to import it again";
        return Err(Error::data(&target, format!("dataset `{}` is there already", entry.name), help));
    }
    let around = target.parent().unwrap_or(data);
    std::fs::create_dir_all(around).map_err(Error::io("create", around))?;
    // On the same disk, so that it can be renamed; gone with everything in it where something fails.
    let staging = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(around);
    let staging = staging.map_err(Error::io("write into", around))?;
    let files = unpack(archive, staging.path())?;
    let found = find(entry, staging.path())?.ok_or_else(|| absent(entry, archive))?;
    // Nothing is in it, or it is not there.
    drop(std::fs::remove_dir(&target));
    open_to_readers(&found);
    std::fs::rename(&found, &target).map_err(Error::io("rename to", &target))?;
    if found == staging.path() {
        drop(staging.keep());
    }
    Ok(files)
}

/// Temporary folders are their maker's alone; a dataset is there to be read.
fn open_to_readers(folder: &Path) {
    #[cfg(unix)]
    drop(std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)));
    #[cfg(not(unix))]
    let _ = folder;
}

/// The folder in `staging` that is the dataset, the outermost first.
fn find(entry: &DatasetEntry, staging: &Path) -> Result<Option<PathBuf>> {
    let mut level = vec![staging.to_path_buf()];
    for _ in 0..=DEPTH {
        if let Some(found) = level.iter().find(|folder| fits(entry, folder)) {
            return Ok(Some(found.clone()));
        }
        let mut below = Vec::new();
        for folder in &level {
            let entries = std::fs::read_dir(folder).map_err(Error::io("list", folder))?;
            below.extend(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()));
        }
        below.sort();
        level = below;
    }
    Ok(None)
}

/// Whether a folder has the dataset's classes, or, where the catalog names none or they are no folders, its layout.
fn fits(entry: &DatasetEntry, folder: &Path) -> bool {
    let [_, images] = entry.layout.folders().unwrap_or_default();
    let (classes, inside) = (&entry.declared.classes, folder.join(images));
    if !classes.is_empty() && entry.layout.has_class_folders() {
        return classes.iter().all(|class| inside.join(class).is_dir());
    }
    let row = LAYOUTS.iter().find(|row| row.name == entry.declared.layout);
    let found = row.and_then(|row| (row.recognise)(&inside).ok()?);
    found.is_some_and(|found| found.root == inside)
}

fn absent(entry: &DatasetEntry, archive: &Path) -> Error {
    let what = format!("holds no folder with all classes of `{}`", entry.name);
    let classes = entry.declared.classes.join(", ");
    Error::data(archive, what, format!("wanted: {} with {classes}", entry.files()))
}
