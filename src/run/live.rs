//! While an experiment runs: its `status.json` is kept true, and its page is made anew when runs have been recorded.
//!
//! Owns: when that is done. Does not own: what the file says (`record::status`), how far the experiment is (`progress`), or the
//! page, which the caller makes. Nothing here can fail an experiment: what cannot be written is said once.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::event::Event;
use super::progress::Snapshot;
use super::session::Session;
use crate::clock;
use crate::error::{Error, Result};
use crate::record::{self, ProcessState, ProcessStatus, RunCounts};
use crate::spec::Experiment;
use crate::store::Lock;
use crate::threads::lock;

/// How often a word is given.
const BEAT: Duration = Duration::from_secs(2);

/// How long a process waits to give its last word, while others give theirs.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Between two pages lies at least this, and so many times what the last one took: pages take no more than a small share of
/// the time.
const PAUSE: Duration = Duration::from_secs(4);
const PAUSE_SHARE: u32 = 20;

/// An experiment that runs.
pub struct Live<'a> {
    session: &'a Session,
    experiment: &'a Experiment,
    folder: PathBuf,
    /// How many runs were asked for.
    runs: usize,
    own: ProcessStatus,
    /// When this process last made a page, in milliseconds since 1970.
    page: AtomicU64,
    /// Whether a fault was said.
    said: Mutex<bool>,
    over: Mutex<bool>,
    bell: Condvar,
}

impl<'a> Live<'a> {
    /// The experiment begins.
    pub fn begin(session: &'a Session, experiment: &'a Experiment, runs: usize) -> Self {
        session.progress.reset();
        let folder = session.resources.results.join(&experiment.name);
        let (page, said, over, bell) = Default::default();
        Live { session, experiment, folder, runs, own: ProcessStatus::own(), page, said, over, bell }
    }

    /// Does `work`; beside it `status.json` is kept, and `renew` makes the page.
    pub fn during<T>(&self, renew: impl Fn() -> Result<()> + Sync, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            // A thread that the system refuses leaves an experiment without a status.
            let named = |name: &str| std::thread::Builder::new().name(name.into());
            let _status = named("status").spawn_scoped(scope, || self.keep_status());
            let _page = named("page").stack_size(8 << 20).spawn_scoped(scope, || self.keep_page(&renew));
            let _over = Over(self);
            work()
        })
    }

    /// The experiment has ended: every run has, or it was `stopped` before.
    pub fn finish(self, stopped: bool) {
        self.beat(if stopped { ProcessState::Stopped } else { ProcessState::Finished });
    }

    fn keep_status(&self) {
        loop {
            self.beat(ProcessState::Running);
            if self.waited(BEAT) {
                return;
            }
        }
    }

    /// Writes what this process says of itself now beside what others have said of themselves.
    fn beat(&self, state: ProcessState) {
        let written = || {
            let ended = state != ProcessState::Running;
            // Without it one of two who write at once would be unheard: until it speaks again, or for ever where that was its last word.
            let lock = self.lock(if ended { LAST_WORD } else { Duration::ZERO })?;
            if lock.is_none() && !ended {
                return Ok(());
            }
            let Snapshot { runs, seconds_left, stages, failures, .. } = self.session.progress.snapshot(self.runs);
            let own = ProcessStatus {
                heartbeat: clock::date(),
                state,
                runs,
                seconds_left: seconds_left.filter(|_| !ended),
                stages: if ended { Vec::new() } else { stages },
                failures,
                ..self.own.clone()
            };
            let mut status = record::read_status(&self.folder).unwrap_or_default();
            status.experiment.clone_from(&self.experiment.name);
            status.page = status.page.max(self.page.load(Ordering::SeqCst));
            status.update(&own);
            record::write_status(&self.folder, &status)
        };
        self.say_once("how far it is", written());
    }

    /// The right to write, where it can be had within `patience`.
    fn lock(&self, patience: Duration) -> Result<Option<Lock>> {
        let (name, until) = (format!("status-{}", self.experiment.name), Instant::now() + patience);
        loop {
            match self.session.store.lock(&name)? {
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                lock => return Ok(lock),
            }
        }
    }

    fn keep_page(&self, renew: &(impl Fn() -> Result<()> + Sync)) {
        // A page that is there can wait: where everything is recorded the study ends at once, and with it comes the last page.
        let wait = if self.folder.join("report.html").is_file() { BEAT } else { Duration::ZERO };
        let (mut shown, mut due) = (None, Instant::now() + wait);
        loop {
            let here = self.session.progress.snapshot(self.runs);
            let ended = self.others_too(here.runs);
            if here.begun && shown.as_ref() != Some(&ended) && Instant::now() >= due {
                let (began, at) = (Instant::now(), clock::milliseconds());
                // A page that cannot be made, whatever the reason, is no reason to end a study.
                let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(renew));
                let made = made.unwrap_or_else(|_| Err(Error::method("the program panicked", "please report it")));
                if made.is_ok() {
                    self.page.store(at, Ordering::SeqCst);
                }
                self.say_once("the page", made);
                shown = Some(ended);
                due = Instant::now() + PAUSE.max(began.elapsed() * PAUSE_SHARE);
            }
            if self.waited(BEAT / 4) {
                return;
            }
        }
    }

    /// How many runs have ended, here and in every other process that works.
    fn others_too(&self, here: RunCounts) -> Vec<usize> {
        let status = record::read_status(&self.folder).unwrap_or_default();
        let others = status.processes.iter().filter(|process| !process.is(&self.own));
        let ended = |runs: RunCounts| runs.done + runs.current + runs.failed;
        std::iter::once(ended(here)).chain(others.map(|process| ended(process.runs))).collect()
    }

    fn say_once(&self, what: &str, result: Result<()>) {
        let Err(fault) = result else { return };
        let mut said = lock(&self.said);
        if !std::mem::replace(&mut *said, true) {
            let text = format!("{what} cannot be shown while the experiment runs: {fault}");
            self.session.progress.tell(Event::Note { text });
        }
    }

    /// Waits; true when it is over.
    fn waited(&self, time: Duration) -> bool {
        let over = lock(&self.over);
        *self.bell.wait_timeout_while(over, time, |over| !*over).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Ends the threads beside the work, also where it panics.
struct Over<'a, 'b>(&'a Live<'b>);

impl Drop for Over<'_, '_> {
    fn drop(&mut self) {
        *lock(&self.0.over) = true;
        self.0.bell.notify_all();
    }
}
