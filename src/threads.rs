//! Many small things done side by side, and what threads share.

use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What `of` says of each item, in their order.
///
/// With threads of its own: a worker of a pool that waits inside of a library takes up the next item meanwhile, and the next
/// inside of that, until its stack ends.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let piece = items.len().div_ceil(rayon::current_num_threads()).max(1);
    let of = &of;
    std::thread::scope(|scope| {
        let work = |piece: &'_ [T]| piece.iter().map(of).collect::<Vec<R>>();
        let pieces: Vec<_> = items.chunks(piece).map(|piece| scope.spawn(move || work(piece))).collect();
        pieces.into_iter().flat_map(|piece| piece.join().unwrap_or_else(|fault| resume_unwind(fault))).collect()
    })
}

/// What a lock guards. That another thread has panicked while it held the lock breaks nothing that is guarded here: all of it is whole
/// between two statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::side_by_side;

    #[test]
    fn answers_come_in_the_order_of_the_items_however_many_there_are() {
        for count in [0, 1, 2, 3, 1000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(side_by_side(&items, |item| item + 1), (1..=count).collect::<Vec<_>>());
        }
    }
}
