//! Whether this process computes by the plain twins of its fast kernels (`--naive`).
//!
//! Owns: the choice, made once before anything is computed. Every fast kernel asks it and has its twin beside it: searches and
//! coresets ask every row (`bank::plain`), metrics look every pixel up, networks run on the tensor library's own operations. What
//! is exact stays the same to the bit; what rounds differs by rounding, so the choice is a part of the numeric class in stage keys.

use std::sync::atomic::{AtomicBool, Ordering};

static CHOSEN: AtomicBool = AtomicBool::new(false);

/// From now on plain twins compute.
pub fn choose() {
    CHOSEN.store(true, Ordering::Relaxed);
}

/// Whether they do.
pub fn is_chosen() -> bool {
    CHOSEN.load(Ordering::Relaxed)
}
