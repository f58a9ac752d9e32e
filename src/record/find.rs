//! Finding recorded runs below a results folder.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::read::{Recorded, read_run_of};
use crate::error::{Error, Result};
use crate::spec::Kinds;

/// The folders of recorded experiments below `results`, sorted.
///
/// # Errors
/// A results folder that is not there or cannot be read.
pub fn experiments(results: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(results).map_err(Error::io("read the results folder", results))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|folder| folder.join("experiment.toml").is_file());
    folders.sort();
    Ok(folders)
}

fn name_of(folder: &Path) -> Cow<'_, str> {
    folder.file_name().unwrap_or_default().to_string_lossy()
}

/// The recorded run that `name` means: its id, the beginning of it, or either behind the experiment's name and a slash.
/// What is returned holds that run alone.
///
/// # Errors
/// No such run, several, or one whose record is refused.
pub fn find_run(results: &Path, name: &str, kinds: &Kinds) -> Result<Recorded> {
    let (experiment, id) = match name.rsplit_once('/') {
        Some((experiment, id)) => (Some(experiment), id),
        None => (None, name),
    };
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    for folder in experiments(results)? {
        let wanted = experiment.is_none_or(|experiment| experiment == name_of(&folder));
        let entries = std::fs::read_dir(folder.join("runs")).into_iter().flatten().flatten();
        let ids = entries.filter(|entry| wanted && entry.path().join("run.toml").is_file());
        let mut ids: Vec<String> = ids.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        ids.sort();
        ids.retain(|own| !id.is_empty() && own.starts_with(id));
        found.extend(ids.into_iter().map(|id| (folder.clone(), id)));
    }
    // A whole id wins over ids that only begin with it.
    if found.iter().any(|(_, own)| own == id) {
        found.retain(|(_, own)| own == id);
    }
    match &found[..] {
        // An id is the digest of all settings: several experiments may share a run, and any of its records will do.
        [(folder, id), others @ ..] if others.iter().all(|(_, other)| other == id) => read_run_of(folder, id, kinds),
        [] => Err(Error::usage(
            format!("no run `{name}` is recorded below {}", results.display()),
            "`dmad runs list` shows all of them",
        )),
        several => {
            let place = |(folder, id): &(PathBuf, String)| format!("{}/{id}", name_of(folder));
            let places: Vec<String> = several.iter().map(place).collect();
            let what = format!("`{name}` could be any of {} runs: {}", several.len(), places.join(", "));
            Err(Error::usage(what, "write more of the id, or EXPERIMENT/ID"))
        }
    }
}
