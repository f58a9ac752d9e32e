//! Experiment files that are there to be included: named by a pattern of files beside those that include them.

use std::path::{Path, PathBuf};

use super::Common;
use crate::error::Error;

/// Whether `file` is a base: another of `files` includes it, and it was never run by itself.
pub(super) fn is_base(file: &Path, name: &str, files: &[PathBuf], common: &Common) -> bool {
    let own = file.canonicalize().ok();
    let included = files.iter().flat_map(|other| includes(other)).any(|other| Some(other) == own);
    included && !common.results.join(name).exists()
}

/// What is said of a base that cannot be run, which is passed over.
pub(super) fn passed_over(file: &Path, fault: &Error) -> String {
    format!(
        "{}: passed over, since it is included by other files and cannot be run by itself ({fault})",
        file.display()
    )
}

/// The files that a file includes.
fn includes(file: &Path) -> Vec<PathBuf> {
    let table: Option<toml::Table> = std::fs::read_to_string(file).ok().and_then(|text| text.parse().ok());
    let names = match table.as_ref().and_then(|table| table.get("include")) {
        Some(toml::Value::Array(names)) => names.as_slice(),
        Some(name) => std::slice::from_ref(name),
        None => &[],
    };
    let path = |name: &toml::Value| file.parent()?.join(name.as_str()?).canonicalize().ok();
    names.iter().filter_map(path).collect()
}
