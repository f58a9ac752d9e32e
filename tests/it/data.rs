//! Datasets, from the catalog to the split, on real images.

mod catalog;
mod command;
mod digest;
mod layouts;
mod listed;
mod listing;
mod pixels;
mod protocol;

use dmad::data::catalog::{Catalog, DatasetEntry};
use dmad::data::index::{self, Index};
use dmad::error::Error;
use std::path::{Path, PathBuf};

/// A catalog made of `text`.
fn catalog(text: &str) -> Result<Catalog, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("datasets.toml");
    std::fs::write(&path, text).unwrap();
    Catalog::load(Some(&path))
}

/// A built-in entry.
fn entry(name: &str) -> DatasetEntry {
    Catalog::load(None).unwrap().get(name).unwrap().clone()
}

/// A built-in dataset, indexed.
fn real(name: &str, data: &Path) -> Index {
    index::index(&entry(name), data, None).unwrap()
}

/// A writable copy of the folder `name` of the real data; the result is a data folder.
fn copy_of(name: &str, data: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&data.join(name), &folder.path().join(name));
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(item.file_name());
        if item.path().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::write(target, std::fs::read(item.path()).unwrap()).unwrap();
        }
    }
}

/// Message, help and path of a data error.
fn data_error(error: Error) -> (PathBuf, String, String) {
    match error {
        Error::Data { path, what, help } => (path, what, help),
        other => panic!("another kind of error: {other:?}"),
    }
}

/// Message and help of a usage error.
fn usage_error(error: Error) -> (String, String) {
    match error {
        Error::Usage { what, help } => (what, help),
        other => panic!("another kind of error: {other:?}"),
    }
}
