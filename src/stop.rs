//! Whether this process was asked to end, by Ctrl-C, by a scheduler (SIGTERM), or by the process that has started it.
//!
//! Owns: hearing it, once, and what is no reason to end. What is being computed goes on to its next safe place (the end of an epoch or of a stage) and ends
//! there with [`Error::Stopped`]; asked once more, the process ends at once, which loses no more than a power cut does: nothing
//! that is finished.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::console::say;
use crate::error::{Error, Result};

static ASKED: AtomicBool = AtomicBool::new(false);

/// The same, but for what a parent has passed on.
static ASKED_ITSELF: AtomicBool = AtomicBool::new(false);

/// Exit code of a process that was asked twice, as shells have it for Ctrl-C.
pub const AT_ONCE: i32 = 130;

/// What a process passes on with that it was asked. A terminal and some schedulers ask all processes of a group themselves: one
/// that is told by its parent besides was still asked once.
#[cfg(unix)]
const PASSED_ON: i32 = libc::SIGUSR1;

/// From now on hears signals, on a thread of its own. A system that has none to hear ends the process as ever.
pub fn listen() {
    #[cfg(unix)]
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([libc::SIGINT, libc::SIGTERM, PASSED_ON]) {
        std::thread::spawn(move || signals.forever().for_each(|signal| hear(signal != PASSED_ON)));
    }
}

#[cfg_attr(not(unix), expect(dead_code, reason = "nobody calls there"))]
fn hear(itself: bool) {
    if itself && ASKED_ITSELF.swap(true, Ordering::SeqCst) {
        std::process::exit(AT_ONCE);
    }
    if ASKED.swap(true, Ordering::SeqCst) {
        return;
    }
    say!("stopping: what is under way goes to the end of its epoch or stage (once more: at once)");
}

/// Passes on to a process that this one has started, and not yet waited for, that it was asked.
#[cfg(unix)]
pub fn pass_on(process: &std::process::Child) {
    // SAFETY: a signal to a process that is our own and was not waited for.
    unsafe {
        libc::kill(process.id() as libc::pid_t, PASSED_ON);
    }
}

/// From now on a file that grows beyond what the process may write (`ulimit -f`) is a fault of writing; the system would end it
/// without a word.
pub fn outlive_limits() {
    #[cfg(unix)]
    // SAFETY: nothing is called when the signal comes.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
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
