//! Seals of records: what shows that a bit of one has changed since it was written, before anything parses it.
//!
//! A `run.toml` lists the checksums of the record's other files, and its last line is the checksum of all above it.

use std::path::Path;

use super::VERSION;
use super::read::{damaged, value};
use super::write::RunFolder;
use crate::error::{Error, Result};

/// How the last line of a `run.toml` begins.
const SEAL: &str = "# sealed: ";

/// The checksum of bytes, in hex.
pub(super) fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The text of a `run.toml` with its seal below it.
pub fn seal(text: &str) -> String {
    format!("{text}{SEAL}{}\n", checksum(text.as_bytes()))
}

/// The text above a seal that holds.
fn unseal(text: &str) -> Option<&str> {
    let (above, sum) = text.strip_suffix('\n')?.rsplit_once(SEAL)?;
    (checksum(above.as_bytes()) == sum).then_some(above)
}

/// The version of the format that a `run.toml` names.
fn version(table: &toml::Table) -> Option<i64> {
    table.get("record").and_then(toml::Value::as_integer)
}

impl RunFolder {
    /// The content of the `run.toml`, once its seal has been checked; `None` where there is none.
    ///
    /// # Errors
    /// One that is damaged, was edited, or is of another format.
    pub(super) fn table(&self) -> Result<Option<toml::Table>> {
        let path = self.file("run.toml");
        let bytes = match std::fs::read(&path) {
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(Error::io("read", &path))?,
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let parsed = |text: &str| text.parse::<toml::Table>().ok();
        let other = match unseal(text).and_then(parsed) {
            Some(table) if version(&table) == Some(i64::from(VERSION)) => return Ok(Some(table)),
            Some(table) => Some(table),
            None => parsed(text).filter(|table| version(table).is_some_and(|found| found != i64::from(VERSION))),
        };
        let Some(other) = other else { return Err(damaged(&path, "its seal is broken: it was damaged or edited")) };
        let found = version(&other).map_or("unknown".into(), |version| version.to_string());
        let what = format!("the record has format {found}, this program's is {VERSION}; the two are not mixed");
        Err(damaged(&path, what))
    }

    /// The lines of its `run.toml` with the checksums of these files, at a glance: nothing is held against a seal.
    pub(super) fn sums(&self, names: &[&str]) -> String {
        let text = std::fs::read_to_string(self.file("run.toml")).unwrap_or_default();
        let is_wanted = |line: &&str| line.split('"').nth(1).is_some_and(|name| names.contains(&name));
        let files = text.rsplit_once("\n[files]\n").map_or("", |(_, files)| files);
        files.lines().filter(is_wanted).collect::<Vec<_>>().join("\n")
    }

    /// Compares the files that `table`, the record's `run.toml`, lists with their checksums, but for those that are `read` anyway
    /// ([`Self::bytes`]). `needed` are there in any case.
    ///
    /// # Errors
    /// A file that is missing, or another than was written.
    pub(super) fn check(&self, table: &toml::Table, needed: &[&str], read: &[&str]) -> Result<()> {
        let listed =
            value(table, &["files"]).and_then(toml::Value::as_table).into_iter().flat_map(|files| files.keys());
        let names = needed.iter().copied().chain(listed.map(String::as_str).filter(|name| !needed.contains(name)));
        for name in names {
            let path = self.file(name);
            if !path.is_file() {
                return Err(damaged(&path, "is missing, so the run's record is not whole"));
            }
            if read.contains(&name) {
                continue;
            }
            let mut hasher = blake3::Hasher::new();
            hasher.update_mmap_rayon(&path).map_err(Error::io("read", &path))?;
            compare(&path, table, name, hasher.finalize().to_hex().as_str())?;
        }
        Ok(())
    }

    /// The bytes of a file that `table` lists, once their checksum has been compared.
    pub(super) fn bytes(&self, table: &toml::Table, name: &str) -> Result<Vec<u8>> {
        let path = self.file(name);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        compare(&path, table, name, &checksum(&bytes))?;
        Ok(bytes)
    }
}

fn compare(path: &Path, table: &toml::Table, name: &str, sum: &str) -> Result<()> {
    match value(table, &["files", name]).and_then(toml::Value::as_str) {
        Some(written) if written == sum => Ok(()),
        _ => Err(damaged(path, "does not have the checksum that its run.toml lists: it was damaged or edited")),
    }
}
