//! Whether this process was asked to end, by Ctrl-C or by a scheduler (SIGTERM).
//!
//! Owns: hearing it, once. What is being computed goes on to its next safe place (the end of an epoch or of a stage) and ends
//! there with [`Error::Stopped`]; asked once more, the process ends at once, which loses no more than a power cut does: nothing
//! that is finished.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::console::say;
use crate::error::{Error, Result};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Exit code of a process that was asked twice, as shells have it for Ctrl-C.
const AT_ONCE: i32 = 130;

/// From now on hears signals, on a thread of its own. A system that has none to hear ends the process as ever.
pub fn listen() {
    #[cfg(unix)]
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([libc::SIGINT, libc::SIGTERM]) {
        std::thread::spawn(move || signals.forever().for_each(|_| hear()));
    }
}

#[cfg_attr(not(unix), expect(dead_code, reason = "nobody calls there"))]
fn hear() {
    if ASKED.swap(true, Ordering::SeqCst) {
        std::process::exit(AT_ONCE);
    }
    say!("stopping: what is under way goes to the end of its epoch or stage (once more: at once)");
}

/// Whether it was asked to end.
pub fn is_asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// A safe place to end.
///
/// # Errors
/// [`Error::Stopped`] once the process was asked to.
pub fn here() -> Result<()> {
    if is_asked() { Err(Error::Stopped) } else { Ok(()) }
}
