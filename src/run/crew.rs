//! Runs side by side: the workers of a process, each at a run of its own, or helping where all are taken.
//!
//! Owns: which worker takes which run, and what has become of each. Does not own: doing a run (`mod`), or memory (`room`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::execute::Patience;
use crate::error::Result;
use crate::stop;
use crate::threads::lock;

/// What came of an attempt at a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Someone else is computing what it needs.
    Busy,
    /// Failed, with this message, and recorded as such.
    Failed(String),
    /// Recorded before, or by another process.
    Current,
    /// Recorded now.
    Done,
}

/// Tells waiting workers that something was computed or has ended.
#[derive(Default)]
pub struct News {
    count: AtomicU64,
    bell: Condvar,
}

impl News {
    /// Something has happened.
    pub fn ring(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.bell.notify_all();
    }
}

/// A run that a worker is to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its place among the runs.
    pub number: usize,
    /// Whether nobody has tried it before.
    pub first: bool,
    /// How many runs have ended.
    pub ended: usize,
    /// What to do about what others are computing.
    pub patience: Patience,
}

/// How a crew works.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Workers.
    pub workers: usize,
    /// Whether several may be at one run, each at another stage of it.
    pub helping: bool,
    /// Whether the first failure ends it all.
    pub fail_fast: bool,
}

/// The workers at the runs of an experiment.
pub struct Crew<'a> {
    rules: Rules,
    news: &'a News,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Runs that have not ended, and how many workers are at each.
    pending: BTreeMap<usize, usize>,
    /// Runs that somebody has tried.
    begun: BTreeSet<usize>,
    ended: BTreeMap<usize, Outcome>,
    /// Nothing more is to be begun.
    closed: bool,
}

/// What a worker knows of runs that it could not go on with.
#[derive(Default)]
struct Passed {
    runs: BTreeSet<usize>,
    /// How much had happened by then.
    news: u64,
    /// Tries since it has waited: looking at every run of a large experiment is work too.
    tries: usize,
}

const TRIES: usize = 4;
/// Other processes ring no bell.
const WAIT: Duration = Duration::from_millis(200);
/// As much as a main thread has: a network's graph is dropped node within node.
const STACK_BYTES: usize = 8 << 20;

impl<'a> Crew<'a> {
    /// A crew for so many runs.
    pub fn new(runs: usize, rules: Rules, news: &'a News) -> Self {
        let pending = (0..runs).map(|number| (number, 0)).collect();
        Crew { rules, news, state: Mutex::new(State { pending, ..State::default() }) }
    }

    /// Works until every run has ended; what became of each, in their order. Runs that were not begun are not in it.
    ///
    /// # Errors
    /// The first error of `attempt`; runs that are under way are brought to their end before.
    pub fn work(self, attempt: impl Fn(Task) -> Result<Outcome> + Sync) -> Result<BTreeMap<usize, Outcome>> {
        let worker = || self.worker(&attempt);
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let builder = |number| std::thread::Builder::new().name(format!("worker {number}")).stack_size(STACK_BYTES);
            // A thread that the system refuses is one worker less.
            let others: Vec<_> =
                (1..self.rules.workers).filter_map(|n| builder(n).spawn_scoped(scope, worker).ok()).collect();
            let own = worker();
            let join = |other: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            std::iter::once(own).chain(others.into_iter().map(join)).collect()
        });
        results.into_iter().collect::<Result<()>>()?;
        Ok(self.state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).ended)
    }

    fn worker(&self, attempt: &impl Fn(Task) -> Result<Outcome>) -> Result<()> {
        let mut passed = Passed::default();
        while let Some(task) = self.take(&mut passed) {
            match attempt(task) {
                Ok(Outcome::Busy) => {
                    passed.runs.insert(task.number);
                    self.leave(task.number);
                }
                Ok(outcome) => self.end(task.number, outcome),
                Err(fault) => {
                    self.state().closed = true;
                    self.news.ring();
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// The next run for a worker: one that nobody is at, else one where it may help; `None` when there is none to come.
    fn take(&self, passed: &mut Passed) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.closed || state.pending.is_empty() || stop::is_asked() {
                return None;
            }
            let news = self.news.count.load(Ordering::SeqCst);
            if std::mem::replace(&mut passed.news, news) != news {
                passed.runs.clear();
            }
            let open = |number: &usize, at: usize| !passed.runs.contains(number) && (self.rules.helping || at == 0);
            let free = state.pending.iter().filter(|&(number, &at)| open(number, at)).min_by_key(|&(_, &at)| at);
            let free = free.map(|(&number, _)| number);
            let idle = state.pending.values().all(|&at| at == 0);
            match (free, state.pending.keys().next()) {
                (Some(number), _) if passed.tries < TRIES => {
                    return Some(self.begin(&mut state, number, Patience::Leave, passed));
                }
                // Whatever is left is being computed by other processes: there is nothing to do but wait for it.
                (None, Some(&number)) if idle => return Some(self.begin(&mut state, number, Patience::Wait, passed)),
                _ => {}
            }
            passed.tries = 0;
            let waited = self.news.bell.wait_timeout(state, WAIT);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    fn begin(&self, state: &mut State, number: usize, patience: Patience, passed: &mut Passed) -> Task {
        passed.tries += 1;
        *state.pending.entry(number).or_default() += 1;
        Task { number, first: state.begun.insert(number), ended: state.ended.len(), patience }
    }

    fn leave(&self, number: usize) {
        if let Some(at) = self.state().pending.get_mut(&number) {
            *at -= 1;
        }
    }

    /// A run has ended. Of several who were at it, the one who recorded it is right.
    fn end(&self, number: usize, outcome: Outcome) {
        let mut state = self.state();
        state.pending.remove(&number);
        state.closed |= self.rules.fail_fast && matches!(outcome, Outcome::Failed(_));
        match state.ended.get(&number) {
            Some(Outcome::Done) => {}
            Some(Outcome::Current) if outcome != Outcome::Done => {}
            _ => drop(state.ended.insert(number, outcome)),
        }
        drop(state);
        self.news.ring();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Rules = Rules { workers: 2, helping: true, fail_fast: false };

    #[test]
    fn every_run_ends_once_and_those_that_are_busy_are_tried_again() {
        let news = News::default();
        let tries = Mutex::new(BTreeMap::<usize, usize>::new());
        let ended = Crew::new(5, TWO, &news).work(|task| {
            let mut tries = tries.lock().expect("whole");
            let count = tries.entry(task.number).or_default();
            *count += 1;
            assert_eq!(task.first, *count == 1);
            // Whoever is told to wait has the run to himself.
            Ok(if *count < 3 && task.patience == Patience::Leave { Outcome::Busy } else { Outcome::Done })
        });
        assert_eq!(ended.expect("no fault"), (0..5).map(|number| (number, Outcome::Done)).collect());
    }

    #[test]
    fn who_recorded_a_run_is_right_about_it() {
        let news = News::default();
        let failed = || Outcome::Failed("it diverged".into());
        for (outcomes, expected) in [
            ([Outcome::Done, Outcome::Current], Outcome::Done),
            ([Outcome::Current, Outcome::Done], Outcome::Done),
            ([failed(), Outcome::Current], Outcome::Current),
            ([Outcome::Current, failed()], Outcome::Current),
            ([failed(), failed()], failed()),
        ] {
            let crew = Crew::new(1, TWO, &news);
            outcomes.into_iter().for_each(|outcome| crew.end(0, outcome));
            assert_eq!(crew.state().ended[&0], expected);
        }
    }

    #[test]
    fn the_first_fault_ends_it_and_a_failure_where_it_is_to() {
        let news = News::default();
        let fault = Crew::new(9, TWO, &news).work(|task| match task.number {
            2 => Err(crate::error::Error::method("the disk is full", "")),
            _ => Ok(Outcome::Done),
        });
        assert!(fault.expect_err("it is passed on").to_string().contains("the disk is full"));
        let rules = Rules { workers: 1, fail_fast: true, ..TWO };
        let ended = Crew::new(9, rules, &news)
            .work(|task| Ok(if task.number == 2 { Outcome::Failed(String::new()) } else { Outcome::Done }));
        assert_eq!(ended.expect("no fault").len(), 3);
    }

    #[test]
    fn a_worker_helps_only_where_it_may() {
        let news = News::default();
        for helping in [true, false] {
            let crew = Crew::new(1, Rules { helping, ..TWO }, &news);
            let mut passed = [Passed::default(), Passed::default()];
            let task = crew.take(&mut passed[0]).expect("the run");
            assert_eq!((task.number, task.first, task.patience), (0, true, Patience::Leave));
            if helping {
                assert!(crew.take(&mut passed[1]).is_some_and(|task| !task.first));
            } else {
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| crew.take(&mut passed[1]));
                    std::thread::sleep(Duration::from_millis(20));
                    crew.end(0, Outcome::Done);
                    assert_eq!(other.join().expect("no panic"), None);
                });
            }
        }
    }
}
