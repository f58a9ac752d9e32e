//! Looking after a store: what is in it, whether it is whole, what nobody needs.
//!
//! Owns: listing, checking, removing. Does not own: what is still needed (the caller knows the keys).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{CHECKPOINTS, LOCKS, Lookup, Store, names, stage_of};
use crate::error::{Error, Result};

/// An artifact in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Stage kind.
    pub kind: String,
    /// Key.
    pub key: String,
    /// Bytes of data file and manifest.
    pub bytes: u64,
}

/// What nobody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// A file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Why it can go.
    pub why: &'static str,
}

impl Store {
    /// All artifacts, by kind and key.
    pub fn entries(&self) -> Result<Vec<Stored>> {
        let names: BTreeSet<_> = self.files()?.iter().filter_map(|path| artifact_of(path)).collect();
        let entry = |(kind, key): (String, String)| {
            let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
            let bytes = size(self.data_path(&kind, &key)) + size(self.manifest_path(&kind, &key));
            Stored { kind, key, bytes }
        };
        Ok(names.into_iter().map(entry).collect())
    }

    /// The newest checkpoint of every stage that has one: key of the stage, key of the checkpoint.
    pub fn newest_checkpoints(&self) -> BTreeMap<String, String> {
        let files = std::fs::read_dir(self.root.join(CHECKPOINTS)).into_iter().flatten().flatten();
        // One that a process was killed at has no manifest.
        let whole =
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        let mut keys: Vec<String> = whole.filter_map(|path| Some(artifact_of(&path)?.1)).collect();
        // Epochs are written with all their digits, so a later one of a stage comes later.
        keys.sort();
        let stages = keys.into_iter().filter_map(|own| Some((stage_of(&own)?.1.to_string(), own)));
        stages.collect()
    }

    /// Keys of some artifacts, by kind: at most so many of each, whichever the file system names first, so that a store of
    /// millions is not listed.
    pub fn some_keys(&self, most: usize) -> BTreeMap<String, Vec<String>> {
        let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for folder in std::fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let files = std::fs::read_dir(folder.path()).into_iter().flatten().flatten().map(|entry| entry.path());
            let manifests = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
            for (kind, key) in manifests.filter_map(|path| artifact_of(&path)).take(most) {
                keys.entry(kind).or_default().push(key);
            }
        }
        keys
    }

    /// Reads every artifact and holds it against its checksum; the faults, in order.
    pub fn verify(&self) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        for entry in self.entries()? {
            match self.lookup(&entry.kind, &entry.key) {
                Lookup::Found(_) => {}
                Lookup::Absent => {
                    let path = self.data_path(&entry.kind, &entry.key);
                    faults.push(format!("{}: no manifest (its writer was killed)", path.display()));
                }
                Lookup::Damaged(reason) => faults.push(reason),
            }
        }
        Ok(faults)
    }

    /// Files that can go: artifacts that are not `needed` (all are when it is `None`), of another format, or without a
    /// manifest; checkpoints of finished trainings; what dead processes left. Files whose names the store does not give stay.
    pub fn garbage(&self, needed: Option<&BTreeSet<(String, String)>>) -> Result<Vec<Garbage>> {
        let files = self.files()?;
        let judged = files.par_iter().filter_map(|path| {
            let why = self.dispensable(path, needed)?;
            Some(Garbage { path: path.clone(), bytes: std::fs::metadata(path).map_or(0, |file| file.len()), why })
        });
        Ok(judged.collect())
    }

    fn dispensable(&self, path: &Path, needed: Option<&BTreeSet<(String, String)>>) -> Option<&'static str> {
        let Some((kind, key)) = artifact_of(path) else {
            let (name, folder) = (path.file_name()?.to_str()?, path.parent()?);
            let inside = if folder == self.root { None } else { folder.file_name()?.to_str() };
            return match inside {
                _ if names::is_temporary(name) && inside.is_none_or(names::is_kind) => {
                    Some("left by a process that was killed")
                }
                Some(LOCKS) if names::is_lock(name) => Some("lock of a process that is gone"),
                _ => None,
            };
        };
        match self.manifest(&kind, &key) {
            None if self.contains(&kind, &key) => return Some("of another format, or damaged"),
            None => return Some("without a manifest"),
            Some(_) => {}
        }
        if kind == CHECKPOINTS {
            let Some((kind, key)) = stage_of(&key) else { return Some("of another format, or damaged") };
            let wanted = needed.is_none_or(|needed| needed.contains(&(kind.into(), key.into())));
            if self.contains(kind, key) {
                return Some("checkpoint of a finished training");
            }
            return (!wanted).then_some("checkpoint of a training that no named experiment needs");
        }
        let unneeded = needed.is_some_and(|needed| !needed.contains(&(kind, key)));
        unneeded.then_some("not needed by the named experiments")
    }

    /// All files two levels down, sorted.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let list = |folder: &Path| -> Result<Vec<PathBuf>> {
            let entries = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
            Ok(entries.flatten().map(|entry| entry.path()).collect())
        };
        for path in list(&self.root)? {
            files.extend(if path.is_dir() { list(&path)? } else { vec![path] });
        }
        files.sort();
        Ok(files)
    }
}

/// Kind and key of the artifact that a file belongs to; `None` for a file whose name the store does not give.
pub(super) fn artifact_of(path: &Path) -> Option<(String, String)> {
    let name = path.file_name()?.to_str()?;
    let key = name.strip_suffix(".safetensors").or_else(|| name.strip_suffix(".json"))?;
    let kind = path.parent()?.file_name()?.to_str()?;
    names::is_artifact(kind, key).then(|| (kind.into(), key.into()))
}
