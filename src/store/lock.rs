//! Advisory locks between processes (and threads): who computes what.
//!
//! Owns: lock files. Does not own: correctness, which comes from atomic renames of identical content: a lock only saves
//! work, so a file system without locks is no fault. The system releases the locks of a process that dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::disk::admit;
use crate::error::{Error, Result};

/// A held lock; released when dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// `None` where the file system knows no locks.
    file: Option<File>,
}

impl Lock {
    /// Takes the lock `path`; `None` when someone else holds it.
    pub(super) fn attempt(path: &Path) -> Result<Option<Lock>> {
        loop {
            let mut file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(fault)) if unsupported(&fault) => {
                    return Ok(Some(Lock { path: path.into(), file: None }));
                }
                Err(TryLockError::Error(fault)) => return Err(Error::io("lock", path)(fault)),
            }
            // Its last holder removed the file while we were waiting: this lock no longer has a name, take the new one.
            if names(path, &file) {
                // Who holds it is for people to read; a full disk does not matter here.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
                return Ok(Some(Lock { path: path.into(), file: Some(file) }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Removed while still held, so that nobody can hold a lock of this name that another does not see.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    admit().map_err(Error::io("write", path))?;
    OpenOptions::new().create(true).write(true).truncate(false).open(path).map_err(Error::io("open the lock", path))
}

fn names(path: &Path, file: &File) -> bool {
    let (Ok(named), Ok(held)) = (std::fs::metadata(path), file.metadata()) else { return false };
    (named.dev(), named.ino()) == (held.dev(), held.ino())
}

fn unsupported(fault: &std::io::Error) -> bool {
    fault.kind() == ErrorKind::Unsupported
}

/// A lock that many may share, held as long as the store is open; who cleans up needs it alone.
#[derive(Debug)]
pub(super) struct Usage(#[expect(dead_code, reason = "held, not read")] Option<File>);

impl Usage {
    /// Joins the users of the store.
    pub(super) fn shared(root: &Path) -> Result<Usage> {
        let path = root.join("in-use");
        let file = open(&path)?;
        match file.lock_shared() {
            Ok(()) => Ok(Usage(Some(file))),
            Err(fault) if unsupported(&fault) => Ok(Usage(None)),
            Err(fault) => Err(Error::io("lock", &path)(fault)),
        }
    }

    /// Becomes the only user.
    pub(super) fn alone(root: &Path) -> Result<Usage> {
        let path = root.join("in-use");
        let file = open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Usage(Some(file))),
            Err(TryLockError::WouldBlock) => {
                Err(Error::store(root, "the store is in use by another process", "wait until its run has ended"))
            }
            Err(TryLockError::Error(fault)) if unsupported(&fault) => Ok(Usage(None)),
            Err(TryLockError::Error(fault)) => Err(Error::io("lock", &path)(fault)),
        }
    }
}
