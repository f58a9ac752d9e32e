//! Which images are meant, what the files that are made of them are called, and what an earlier call left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::layouts::IMAGE_ENDINGS;
use crate::error::{Error, Result};

/// What was found where images are.
#[derive(Debug, Default)]
pub struct Found {
    /// Images.
    pub images: Vec<PathBuf>,
    /// Files in folders that are no images by their names.
    pub passed_over: Vec<PathBuf>,
}

/// Files as they are named; a folder stands for the images in it and in its folders, sorted. Hidden files are no images: some
/// systems leave one beside every photograph.
pub fn find(named: &[PathBuf]) -> Result<Found> {
    let mut found = Found::default();
    for path in named {
        if !path.is_dir() {
            found.images.push(path.clone());
            continue;
        }
        let before = found.images.len();
        look_into(path, &mut found)?;
        if found.images.len() == before {
            return Err(Error::data(path, "holds no image", format!("images end in {}", IMAGE_ENDINGS.join(", "))));
        }
    }
    Ok(found)
}

fn look_into(folder: &Path, found: &mut Found) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut inside: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    inside.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
    inside.sort();
    for path in inside {
        // A link to a folder may lead in circles.
        let is_link = path.is_symlink();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_dir() && !is_link {
            look_into(&path, found)?;
        // A link to nothing is an image by its name: that it cannot be read is said of it.
        } else if (path.is_file() || !path.exists()) && IMAGE_ENDINGS.contains(&ending.as_str()) {
            found.images.push(path);
        } else {
            found.passed_over.push(path);
        }
    }
    Ok(())
}

/// What the picture of each image is called: as the image, with its number where several have the same name. No two
/// are called the same.
pub fn names(paths: &[PathBuf]) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    paths.iter().for_each(|path| *counts.entry(stem(path)).or_default() += 1);
    let name = |(number, path): (usize, &PathBuf)| match stem(path) {
        own if counts[&own] == 1 => format!("{own}.png"),
        own => {
            let mut numbered = format!("{number:04}_{own}");
            // Another image may be called so.
            while counts.contains_key(&numbered) {
                numbered = format!("{number:04}_{numbered}");
            }
            format!("{numbered}.png")
        }
    };
    paths.iter().enumerate().map(name).collect()
}

/// Removes the pictures that the `scores.csv` in `out` names and this call does not write again; returns how many.
pub fn remove_others(out: &Path, written: &[String]) -> usize {
    let before = std::fs::read_to_string(out.join("scores.csv")).unwrap_or_default();
    let mut removed = 0;
    for folder in ["maps", "overlays"] {
        let named =
            before.split('"').filter(|cell| cell.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
        // Only what lies in the folder itself: the list is a file that anybody may have written.
        let own = named.filter(|name| {
            name.matches('/').count() == 1 && name.ends_with(".png") && !written.contains(&name.to_string())
        });
        removed += own.filter(|name| std::fs::remove_file(out.join(name)).is_ok()).count();
    }
    removed
}
