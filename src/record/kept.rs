//! Records of runs that fail when they are done again: numbers make way for a failure, and are not lost.
//!
//! Owns: where such a record lies. Does not own: what a record is (`write`, `read`); no reader looks for one there.

use std::path::{Path, PathBuf};

use super::write::{FILES, RunFolder};
use crate::error::{Error, Result};

/// The folder in that of an experiment.
const FOLDER: &str = "replaced";

/// As much of a record's key as tells it from other records of its run.
const KEY_DIGITS: usize = 12;

impl RunFolder {
    /// Makes way for a failure: a record of numbers moves, whole and in one step, to `replaced/ID-KEY` beside `runs`. Returns
    /// where the last such record of the run lies, moved now or before; `None` where there was none.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn make_way(&self) -> Result<Option<PathBuf>> {
        let own = self.path();
        let (Some(id), Some(experiment)) = (own.file_name(), own.ancestors().nth(2)) else { return Ok(None) };
        let (id, folder) = (id.to_string_lossy(), experiment.join(FOLDER));
        let head = self.head().unwrap_or_default();
        let text = |name: &str| head.get(name).and_then(toml::Value::as_str);
        if text("status") != Some("ok") {
            return Ok(last(&folder, &id));
        }
        let key: String = text("key").unwrap_or_default().chars().take(KEY_DIGITS).collect();
        let place = folder.join(format!("{id}-{key}"));
        if place.exists() {
            // The same numbers were there before: the record that is whole stays.
            if !self.is_whole() {
                return Ok(Some(place));
            }
            std::fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
        }
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        std::fs::rename(own, &place).map_err(Error::io("move", own))?;
        Ok(Some(place))
    }

    fn is_whole(&self) -> bool {
        matches!(self.table(), Ok(Some(table)) if self.check(&table, &FILES, &[]).is_ok())
    }
}

/// The record of a run that was made last of those that lie in `folder`.
fn last(folder: &Path, id: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{id}-")));
    let made = |path: &PathBuf| std::fs::metadata(path.join("run.toml")).and_then(|file| file.modified()).ok();
    own.map(|entry| entry.path()).max_by_key(|path| (made(path), path.clone()))
}
