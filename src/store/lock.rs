//! Advisory locks between processes (and threads): who computes what.
//!
//! Owns: lock files. Does not own: correctness, which comes from atomic renames of identical content: a lock only saves
//! work, so a file system without locks is no fault. The system releases the locks of a process that dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use same_file::Handle;

use super::disk::admit;
use crate::error::{Error, Result};

/// A held lock; released when dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// `None` where the file system knows no locks.
    file: Option<File>,
}

static UNASKED: AtomicBool = AtomicBool::new(false);

/// From now on every lock is granted without asking the file system. What that costs is work done twice.
pub fn do_without_locks() {
    UNASKED.store(true, Ordering::Relaxed);
}

/// How often a lock is taken that has no name any more. Beyond that the file system gives a file another number each time it is looked
/// at, and its locks are worth no more than none.
const TRIES: usize = 100;

/// What came of asking for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Granted,
    /// Someone else holds it.
    Refused,
    /// The file system knows no locks.
    NoLocks,
}

/// Reads the system's answer. Network file systems without a lock service say "no locks available" (ENOLCK).
fn answer(path: &Path, asked: Result<(), TryLockError>) -> Result<Answer> {
    match asked {
        Ok(()) => Ok(Answer::Granted),
        Err(TryLockError::WouldBlock) => Ok(Answer::Refused),
        Err(TryLockError::Error(fault))
            if fault.kind() == ErrorKind::Unsupported || cfg!(unix) && fault.raw_os_error() == Some(libc::ENOLCK) =>
        {
            Ok(Answer::NoLocks)
        }
        Err(TryLockError::Error(fault)) => Err(Error::io("lock", path)(fault)),
    }
}

impl Lock {
    /// Takes the lock `path`; `None` when someone else holds it.
    pub(super) fn attempt(path: &Path) -> Result<Option<Lock>> {
        if UNASKED.load(Ordering::Relaxed) {
            return Ok(Some(Lock { path: path.into(), file: None }));
        }
        Lock::attempt_by(path, File::try_lock, names)
    }

    fn attempt_by(
        path: &Path,
        ask: fn(&File) -> Result<(), TryLockError>,
        names: fn(&Path, &File) -> std::io::Result<bool>,
    ) -> Result<Option<Lock>> {
        for _ in 0..TRIES {
            let mut file = open(path)?;
            match answer(path, ask(&file))? {
                Answer::Granted => {}
                Answer::Refused => return Ok(None),
                Answer::NoLocks => return Ok(Some(Lock { path: path.into(), file: None })),
            }
            // Its last holder removed the file while we were waiting: this lock no longer has a name, take the new one.
            if names(path, &file).map_err(Error::io("look at the lock", path))? {
                // Who holds it is for people to read; a full disk does not matter here.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
                return Ok(Some(Lock { path: path.into(), file: Some(file) }));
            }
        }
        Ok(Some(Lock { path: path.into(), file: None }))
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

/// Whether `path` still is the name of `file`.
fn names(path: &Path, file: &File) -> std::io::Result<bool> {
    let held = Handle::from_file(file.try_clone()?)?;
    match Handle::from_path(path) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(false),
        named => Ok(named? == held),
    }
}

/// A lock that many may share, held as long as the store is open; who cleans up needs it alone.
#[derive(Debug)]
pub(super) struct Usage(#[expect(dead_code, reason = "held, not read")] Option<File>);

impl Usage {
    /// Joins the users of the store.
    pub(super) fn shared(root: &Path) -> Result<Usage> {
        Usage::by(root, |file| file.lock_shared().map_err(TryLockError::Error))
    }

    /// Becomes the only user.
    pub(super) fn alone(root: &Path) -> Result<Usage> {
        Usage::by(root, File::try_lock)
    }

    fn by(root: &Path, ask: fn(&File) -> Result<(), TryLockError>) -> Result<Usage> {
        if UNASKED.load(Ordering::Relaxed) {
            return Ok(Usage(None));
        }
        let path = root.join("in-use");
        let file = open(&path)?;
        match answer(&path, ask(&file))? {
            Answer::Granted => Ok(Usage(Some(file))),
            Answer::NoLocks => Ok(Usage(None)),
            Answer::Refused => {
                Err(Error::store(root, "the store is in use by another process", "wait until its run has ended"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fault: std::io::Error) -> Result<(), TryLockError> {
        Err(TryLockError::Error(fault))
    }

    #[test]
    fn a_file_system_without_locks_holds_nobody_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("locks/one");
        type Ask = fn(&File) -> Result<(), TryLockError>;
        let without: [Ask; 2] =
            [|_| told(ErrorKind::Unsupported.into()), |_| told(std::io::Error::from_raw_os_error(libc::ENOLCK))];
        for ask in without.into_iter().take(if cfg!(unix) { 2 } else { 1 }) {
            for _ in 0..2 {
                let lock = Lock::attempt_by(&path, ask, names).expect("no fault").expect("nobody holds it");
                assert!(lock.file.is_none());
                std::mem::forget(lock);
            }
            assert!(Usage::by(folder.path(), ask).is_ok());
        }
        let broken = |_: &File| told(ErrorKind::StorageFull.into());
        assert!(Lock::attempt_by(&path, broken, names).is_err() && Usage::by(folder.path(), broken).is_err());
    }

    #[test]
    fn a_lock_that_cannot_be_looked_at_or_is_another_file_at_each_look_ends_the_asking() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one");
        let unstable = Lock::attempt_by(&path, File::try_lock, |_, _| Ok(false)).expect("no fault");
        assert!(unstable.expect("granted").file.is_none());
        let refused = Lock::attempt_by(&path, File::try_lock, |_, _| Err(std::io::Error::other("too many open files")));
        assert!(refused.is_err_and(|fault| fault.to_string().contains("too many open files")));
    }

    #[test]
    fn a_lock_is_held_by_one_until_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one");
        let held = Lock::attempt(&path).expect("no fault").expect("free");
        assert!(Lock::attempt(&path).expect("no fault").is_none());
        drop(held);
        assert!(!path.exists() && Lock::attempt(&path).expect("no fault").is_some());
    }
}
