//! Memory for many values.
//!
//! Owns: clearing it with all threads, and not at all where everything in it is written anyway. One thread that clears memory
//! while the others wait is a tenth of a training step.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Values that one thread clears at a time; fewer are not worth a second thread.
const PART: usize = 1 << 17;

thread_local! {
    static SPARE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// So many zeros.
pub fn zeros(count: usize) -> Vec<f32> {
    // SAFETY: all parts together are the whole.
    unsafe { written(count, |room| room.par_chunks_mut(PART).for_each(|part| part.fill(MaybeUninit::new(0.0)))) }
}

/// So many values as `write` writes them, without clearing them first.
///
/// # Safety
/// `write` writes every one of them.
pub unsafe fn written(count: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(count);
    write(&mut values.spare_capacity_mut()[..count]);
    // SAFETY: as the caller promises.
    unsafe { values.set_len(count) };
    values
}

/// Room for at least so many values, with whatever was there before. Whoever takes it writes what it reads.
pub fn used(count: usize) -> Vec<f32> {
    let mut room = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    room.resize(room.len().max(count), 0.0);
    room
}

/// Keeps room for the next on this thread.
pub fn keep(room: Vec<f32>) {
    SPARE.with_borrow_mut(|spare| spare.push(room));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_clear_or_as_it_was_left() {
        for count in [0, 1, PART, 3 * PART + 5] {
            assert!(zeros(count).len() == count && zeros(count).iter().all(|value| *value == 0.0));
        }
        keep(vec![1.0; 7]);
        let room = used(5);
        assert_eq!(room, [1.0; 7]);
        keep(room);
        assert_eq!(used(9), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }
}
