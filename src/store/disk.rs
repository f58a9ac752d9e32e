//! Every write of artifacts and records passes here, so that tests can make the disk full at any one of them.
//!
//! Owns: the gate. Does not own: files.

use std::cell::Cell;
use std::io::{Error, ErrorKind, Result, Write};

use tempfile::NamedTempFile;

/// Writes that still succeed, and whether one has failed.
type Room = (usize, bool);

thread_local! {
    static ROOM: Cell<Option<Room>> = const { Cell::new(None) };
}

/// While this lives, the disk is as full as it was asked for, for the thread that asked.
pub struct Full(());

/// From now on `writes` writes of this thread succeed, and all later ones fail as on a full disk.
pub fn full_after(writes: usize) -> Full {
    ROOM.set(Some((writes, false)));
    Full(())
}

impl Full {
    /// True when a write has failed.
    pub fn was_hit(&self) -> bool {
        ROOM.get().is_some_and(|(_, hit)| hit)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        ROOM.set(None);
    }
}

/// Asked before every write.
pub(super) fn admit() -> Result<()> {
    match ROOM.get() {
        None => Ok(()),
        Some((0, _)) => {
            ROOM.set(Some((0, true)));
            Err(Error::new(ErrorKind::StorageFull, "no space left on device"))
        }
        Some((left, hit)) => {
            ROOM.set(Some((left - 1, hit)));
            Ok(())
        }
    }
}

/// A temporary file whose writes are admitted one by one.
pub(super) struct Gated(pub(super) NamedTempFile);

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        admit()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}
