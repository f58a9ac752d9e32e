//! Which images are meant, what the files that are made of them are called, and what an earlier call left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::rows::Row;
use crate::data::layouts::IMAGE_ENDINGS;
use crate::error::{Error, Result};
use crate::record::csv_texts;

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
    let named = csv_texts(&out.join("scores.csv"), &["map", "overlay"]);
    let mut removed = 0;
    // Only what lies in the folders themselves: the list is a file that anybody may have written.
    for folder in ["maps", "overlays"] {
        for entry in std::fs::read_dir(out.join(folder)).into_iter().flatten().flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            let is_other = named.contains(&Row::on_one_line(&name)) && !written.contains(&name);
            removed += usize::from(is_other && name.ends_with(".png") && std::fs::remove_file(entry.path()).is_ok());
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pictures_are_called_the_same() {
        let paths = ["a/b.png", "c/b.jpg", "0001_b.png", "d/x.png"].map(PathBuf::from);
        assert_eq!(names(&paths), ["0000_b.png", "0001_0001_b.png", "0001_b.png", "x.png"]);
    }

    #[test]
    fn pictures_of_an_earlier_call_go_whatever_they_are_called_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["maps/x,\"y.png", "maps/two\nlines.png", "overlays/x.png", "maps/kept.png"];
        let others = ["maps/mine.png", "maps/x.txt", "photo.png"];
        for name in names.iter().chain(&others) {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, "").expect("written");
        }
        let row = |map: &str, overlay: &str| Row { map: map.into(), overlay: overlay.into(), ..Row::default() };
        let rows =
            [row(names[0], names[2]), row(names[1], ""), row(names[3], ""), row("maps/x.txt", "maps/../photo.png")];
        let rows = rows.map(|row| Row { image: "maps/mine.png".into(), ..row }.csv()).concat();
        std::fs::write(folder.path().join("scores.csv"), format!("{}{rows}", Row::HEAD)).expect("written");
        assert_eq!(remove_others(folder.path(), &["maps/kept.png".into()]), 3);
        let left = |name: &&&str| folder.path().join(name).exists();
        assert_eq!(names.iter().chain(&others).filter(left).count(), 4);
    }
}
