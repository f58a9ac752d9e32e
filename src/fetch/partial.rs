//! A download that is not whole yet: `NAME.part`, and beside it what it was begun from.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::store::write_atomically;

/// What a partial file was begun from: only the same may be added to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Begun {
    pub url: String,
    /// What the server calls this content (a strong ETag, else the time of its last change); empty = it did not say.
    pub validator: String,
}

/// SHA-256 of a file, in hex.
///
/// # Errors
/// A file that cannot be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    digest(&mut File::open(path).map_err(Error::io("open", path))?, path)
}

fn digest(file: &mut File, path: &Path) -> Result<String> {
    let fault = || Error::io("read", path);
    file.seek(SeekFrom::Start(0)).map_err(fault())?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(fault())? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// An open partial file; no other process has it open so.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    /// Bytes that it holds.
    pub length: u64,
    pub begun: Begun,
}

impl Partial {
    /// Opens what an earlier download to `target` has left, or begins.
    pub fn open(target: &Path) -> Result<Partial> {
        let path = beside(target, ".part");
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(Error::io("write", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Error::data(&path, "another process is downloading it", "wait for it, or end it"));
            }
            // A file system without locks: whoever downloads twice at once is told by the digest.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        let text = std::fs::read_to_string(beside(target, ".part.from")).unwrap_or_default();
        let mut lines = text.lines().map(String::from);
        let begun = Begun { url: lines.next().unwrap_or_default(), validator: lines.next().unwrap_or_default() };
        Ok(Partial { path, file, length, begun })
    }

    /// Drops what is there and begins again from `begun`.
    pub fn restart(&mut self, target: &Path, begun: Begun) -> Result<()> {
        self.file.set_len(0).map_err(Error::io("write", &self.path))?;
        self.length = 0;
        let text = format!("{}\n{}\n", begun.url, begun.validator);
        write_atomically(&beside(target, ".part.from"), text.as_bytes())?;
        self.begun = begun;
        Ok(())
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(bytes));
        written.map_err(Error::io("write", &self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// SHA-256 of what is there, in hex.
    pub fn sha256(&mut self) -> Result<String> {
        digest(&mut self.file, &self.path)
    }

    /// Makes it the file that was wanted.
    pub fn finish(self, target: &Path) -> Result<()> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))?;
        std::fs::rename(&self.path, target).map_err(Error::io("rename to", target))?;
        drop(std::fs::remove_file(beside(target, ".part.from")));
        Ok(())
    }

    /// Removes it: nothing good can come of going on with it.
    pub fn discard(self, target: &Path) {
        drop(std::fs::remove_file(&self.path));
        drop(std::fs::remove_file(beside(target, ".part.from")));
    }
}

/// The file beside `target` whose name has this ending more.
fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    target.with_file_name(name)
}
