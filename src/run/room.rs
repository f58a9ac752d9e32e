//! Memory that stages which are computed side by side fill together.
//!
//! Owns: who may begin. Does not own: what a stage needs (the stage foretells it).

use crate::threads::lock;
use std::sync::{Condvar, Mutex, MutexGuard};

/// So many bytes, and who is using them.
pub struct Room {
    bytes: u64,
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Default)]
struct Taken {
    bytes: u64,
    stages: usize,
}

/// A place in the room, free again when dropped.
pub struct Place<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    /// An empty one.
    pub fn new(bytes: u64) -> Self {
        Room { bytes, taken: Mutex::default(), freed: Condvar::new() }
    }

    /// Waits until there is room for `bytes` more. A stage that is alone may begin whatever it needs: there is no better
    /// moment.
    pub fn enter(&self, bytes: u64) -> Place<'_> {
        let full = |taken: &mut Taken| taken.stages > 0 && taken.bytes.saturating_add(bytes) > self.bytes;
        let mut taken = self.freed.wait_while(self.taken(), full).unwrap_or_else(|poisoned| poisoned.into_inner());
        taken.bytes += bytes;
        taken.stages += 1;
        Place { room: self, bytes }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.bytes -= self.bytes;
        taken.stages -= 1;
        drop(taken);
        self.room.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn stages_begin_only_where_they_fit_beside_those_at_work() {
        let room = Room::new(10);
        let (at_work, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let stage = |bytes: usize| {
            let _place = room.enter(bytes as u64);
            let now = at_work.fetch_add(bytes, Ordering::SeqCst) + bytes;
            most.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(2));
            at_work.fetch_sub(bytes, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for bytes in [4, 6, 3, 5, 9, 2, 10, 1] {
                scope.spawn(move || stage(bytes));
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 10, "{most:?}");
        assert!(most.load(Ordering::SeqCst) > 4, "they shared the room: {most:?}");
        drop(room.enter(99));
    }
}
