//! Names that the store gives, and the file by which a folder is known for a store.
//!
//! Owns: what may be a file of a store at all. Does not own: whether anybody needs it (`keep`).

use std::path::Path;

use super::{CHECKPOINTS, LOCKS, stage_of};

/// Says that a folder is a store.
pub(super) const MARKER: &str = "dmad-store.txt";

/// What it says, for people.
pub(super) const MARKER_TEXT: &str = "\
What `dmad` has computed, by the keys of its stages. It can be removed as a whole: what is needed is computed again.
`dmad store gc` removes what nobody needs, in folders that have this file.
";

/// Letters and digits that temporary files have behind `.tmp`.
const DRAWN_LETTERS: usize = 6;

/// Digits of a stage's key.
const KEY_DIGITS: usize = 32;

/// Digits of the digest of a results folder in the name of its locks.
const FOLDER_DIGITS: usize = 16;

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

/// A kind of stage, of this version or an earlier one.
pub(super) fn is_kind(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// Kind and key of an artifact.
pub(super) fn is_artifact(kind: &str, key: &str) -> bool {
    match (kind, stage_of(key)) {
        (CHECKPOINTS, Some((kind, key))) => is_kind(kind) && is_hex(key, KEY_DIGITS),
        (CHECKPOINTS, None) | (LOCKS, _) => false,
        _ => is_kind(kind) && is_hex(key, KEY_DIGITS),
    }
}

/// A file that is being written.
pub(super) fn is_temporary(name: &str) -> bool {
    let drawn = name.strip_prefix(".tmp").unwrap_or_default();
    drawn.len() == DRAWN_LETTERS && drawn.chars().all(|c| c.is_ascii_alphanumeric())
}

/// A lock: of a stage, of a part of a results folder, of a study's status.
pub(super) fn is_lock(name: &str) -> bool {
    match name.split_once('-') {
        Some(("results", rest)) => rest.split_once('-').is_some_and(|(folder, _)| is_hex(folder, FOLDER_DIGITS)),
        Some(("status", _)) => true,
        Some((kind, key)) => is_kind(kind) && is_hex(key, KEY_DIGITS),
        None => false,
    }
}

/// True when `root` is a store: it says so, or, made before stores said it, holds digests of images or an artifact with a manifest.
pub(super) fn is_store(root: &Path) -> bool {
    let begins = |path: &Path, text: &str| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(text.as_bytes()));
    let list = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_manifest = |path: &Path| {
        let (Some((kind, key)), Some("json")) =
            (super::keep::artifact_of(path), path.extension().and_then(|e| e.to_str()))
        else {
            return false;
        };
        let json: Option<serde_json::Value> =
            std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        json.is_some_and(|json| json["kind"] == kind && json["key"] == key && json["checksum"].is_string())
    };
    root.join(MARKER).is_file()
        || begins(&root.join("digests.txt"), "dmad image digests ")
        || list(root).any(|folder| folder.is_dir() && list(&folder).any(|path| is_manifest(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_store_gives_are_its_own() {
        let key = "0123456789abcdef0123456789abcdef";
        assert!(is_artifact("features", key) && is_artifact(CHECKPOINTS, &format!("training-{key}.00011")));
        for (kind, key) in [("features", "data"), ("Features", key), (LOCKS, key), (CHECKPOINTS, key)] {
            assert!(!is_artifact(kind, key), "{kind}/{key}");
        }
        assert!(is_temporary(".tmpAb3dEf") && !is_temporary(".tmp") && !is_temporary(".tmp-notes"));
        for name in [&format!("seen_bank-{key}"), "results-0123456789abcdef-views", "status-my study"] {
            assert!(is_lock(name), "{name}");
        }
        for name in ["yarn.lock", "yarn-lock", "results-of-mine"] {
            assert!(!is_lock(name), "{name}");
        }
    }
}
