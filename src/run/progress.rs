//! What happens while an experiment runs, and how the user sees it: one line with an ETA in a terminal, plain timestamped lines
//! elsewhere.
//!
//! Owns: the wording of events, and the time that is left (from what stages were expected to take and have taken). Does
//! not own: those expectations (`rates`).

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Summary;
use super::crew::{Outcome, Task};
use super::event::Event;
use crate::clock;
use crate::console::{above_a_bar, duration, plain, say};
use crate::plan::Notice;
use crate::record::{FailureStatus, Results, RunCounts, StageStatus};
use crate::spec::Run;
use crate::threads::lock;

/// Hears every event before it is shown.
type Listener = dyn Fn(&Event) + Send + Sync;

/// Progress on stderr.
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    /// Hear every event before it is shown.
    listeners: Vec<Box<Listener>>,
    started: Instant,
    state: Mutex<State>,
}

/// Where the experiment is.
#[derive(Default)]
struct State {
    expected: Expected,
    /// Expected and actual seconds of the stages done, by kind.
    done: BTreeMap<&'static str, (f64, f64)>,
    /// What each worker is at.
    workers: Vec<(ThreadId, At)>,
    /// Whether the experiment has begun: what it declares is written.
    begun: bool,
    /// What has become of runs, by id.
    ended: BTreeMap<String, Outcome>,
    /// When the last line was written, where there is no bar.
    spoke: Option<Instant>,
    /// The run that began last: what follows is of it, as far as lines do not say otherwise.
    announced: String,
}

/// What a worker is at.
#[derive(Default)]
struct At {
    /// What its run is called.
    run: String,
    /// Key of the stage that it computes, and which share of it is done.
    key: String,
    share: f64,
    /// The share that was done when it went on from a checkpoint: what it was expected to take is the rest.
    before: Option<f64>,
    /// What people call that, and what they call it without its steps.
    stage: String,
    label: String,
    /// Steps done, of how many.
    steps: [usize; 2],
}

impl At {
    /// The share that is left of what the stage was expected to take.
    fn ahead(&self) -> f64 {
        let left = 1.0 - self.before.unwrap_or(0.0);
        if left > 0.0 { (1.0 - self.share) / left } else { 0.0 }
    }
}

/// How far an experiment is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub begun: bool,
    pub runs: RunCounts,
    pub seconds_left: Option<f64>,
    pub stages: Vec<StageStatus>,
    pub failures: Vec<FailureStatus>,
}

/// After so many silent seconds a long stage says how far it is, where there is no bar.
const PATIENCE_SECONDS: f64 = 30.0;

/// Kinds of stages still to do and the seconds that each is expected to take, by key.
pub type Expected = BTreeMap<String, (&'static str, f64)>;

impl State {
    /// Seconds left, when something was expected; corrected by how well expectations of each kind have held so far.
    fn seconds_left(&self) -> Option<f64> {
        let correction = |kind: &str| match self.done.get(kind) {
            Some(&(expected, actual)) if expected > 0.0 => (actual / expected).clamp(0.05, 20.0),
            _ => 1.0,
        };
        let at = |key: &String| self.workers.iter().find(|(_, at)| at.key == *key);
        let ahead = |key: &String| at(key).map_or(1.0, |(_, at)| at.ahead());
        let left: f64 = self.expected.iter().map(|(key, (kind, s))| s * correction(kind) * ahead(key)).sum();
        (left > 0.0).then_some(left)
    }

    /// What the worker is at who computes the stage, or who is asking.
    fn at(&mut self, key: &str) -> &mut At {
        let own = std::thread::current().id();
        let computing = self.workers.iter().position(|(_, at)| !key.is_empty() && at.key == key);
        let place = computing.or_else(|| self.workers.iter().position(|(worker, _)| *worker == own));
        let place = place.unwrap_or_else(|| {
            self.workers.push((own, At::default()));
            self.workers.len() - 1
        });
        &mut self.workers[place].1
    }

    /// What comes in front of a line about a run, where the lines before do not say which it is.
    fn of_run(&self, run: &str) -> String {
        let is_known = run.is_empty() || (self.workers.len() <= 1 && run == self.announced);
        if is_known { String::new() } else { format!("{run} · ") }
    }

    /// What the workers are at, for people, each with its run: what changes comes first, for a line may be too long.
    fn stages(&self) -> String {
        let busy = self.workers.iter().filter(|(_, at)| !at.stage.is_empty());
        busy.map(|(_, at)| format!("{} · {}", at.stage, at.run)).collect::<Vec<_>>().join(" | ")
    }
}

impl Default for Progress {
    /// A bar where stderr is a terminal, lines where it is not.
    fn default() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{bar:12} {pos}/{len} runs, {elapsed} · {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Progress { bar, quiet: false, listeners: Vec::new(), started: Instant::now(), state: Mutex::default() }
    }
}

impl Progress {
    /// Says nothing (tests, machine-readable output).
    pub fn silent() -> Self {
        Progress { bar: None, quiet: true, listeners: Vec::new(), started: Instant::now(), state: Mutex::default() }
    }

    /// The same, with somebody more who hears every event.
    pub fn heard_by(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listeners.push(Box::new(listener));
        self
    }

    /// Another experiment is to begin.
    pub fn reset(&self) {
        *self.state() = State::default();
    }

    /// An experiment begins whose stages to do are expected to take so long.
    pub fn experiment(&self, expected: Expected) {
        let seconds: f64 = expected.values().map(|(_, seconds)| seconds).sum();
        let stages = expected.len();
        *self.state() = State { expected, begun: true, ..State::default() };
        self.tell(Event::Experiment { stages, seconds });
    }

    /// A worker turns to a run of `total`.
    pub fn run(&self, task: &Task, total: usize, run: &Run) {
        let spec = &run.spec;
        let name = format!("{} · {} seen · seed {}", spec.variant, spec.protocol.seen.count, spec.seed);
        let (run, dataset, number) = (spec.id.clone(), spec.dataset.clone(), task.number);
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(task.ended as u64);
        }
        if task.first {
            self.state().announced = name.clone();
            self.tell(Event::Run { run, name: name.clone(), dataset, number, total });
        }
        *self.state().at("") = At { run: name, ..At::default() };
    }

    /// How far a stage is; `key` is empty for what no forecast knows.
    pub fn stage(&self, key: &str, label: &str, done: usize, total: usize) {
        self.tell(Event::Stage { key: key.into(), label: label.into(), done, total });
    }

    /// A stage has something to say.
    pub fn notice(&self, notice: Notice) {
        self.tell(match notice {
            Notice::Resumed { epoch, epochs } => Event::Resumed { epoch, epochs },
            Notice::Remark(text) => Event::Note { text },
        });
    }

    /// A run has ended. Of several workers who were at it, the one who recorded it is right.
    pub fn ended(&self, run: &Run, outcome: &Outcome) {
        let mut state = self.state();
        let known = state.ended.get(&run.spec.id);
        if *outcome != Outcome::Busy && known != Some(&Outcome::Done) {
            let new = state.ended.insert(run.spec.id.clone(), outcome.clone()).is_none();
            drop(state);
            if new && *outcome == Outcome::Current && self.bar.is_none() {
                self.line(&format!("  {} is up to date", run.spec.id));
            }
        }
    }

    /// A run of these stages is over: those that are there by now have not to be computed any more.
    pub fn over<'k>(&self, keys: impl Iterator<Item = &'k str>, is_there: impl Fn(&str, &str) -> bool) {
        let mut state = self.state();
        for key in keys {
            if state.expected.get(key).is_some_and(|(kind, _)| is_there(kind, key)) {
                state.expected.remove(key);
            }
        }
    }

    /// How far an experiment of so many runs is.
    pub fn snapshot(&self, total: usize) -> Snapshot {
        let state = self.state();
        let count = |outcome: Outcome| state.ended.values().filter(|own| **own == outcome).count();
        let failed = state.ended.iter().filter_map(|(run, outcome)| match outcome {
            Outcome::Failed(message) => Some(FailureStatus { run: run.clone(), message: message.clone() }),
            _ => None,
        });
        let failures: Vec<FailureStatus> = failed.collect();
        let (done, current, failed) = (count(Outcome::Done), count(Outcome::Current), failures.len());
        let left = total.saturating_sub(done + current + failed);
        let busy = state.workers.iter().map(|(_, at)| at).filter(|at| !at.stage.is_empty());
        let stages = busy.map(|at| {
            let (run, stage, [done, total]) = (at.run.clone(), at.label.clone(), at.steps);
            StageStatus { run, stage, done, total }
        });
        let (stages, seconds_left) = (stages.collect(), state.seconds_left());
        let runs = RunCounts { total, done, current, failed, left };
        Snapshot { begun: state.begun, runs, seconds_left, stages, failures }
    }

    /// A run is recorded.
    pub fn done(&self, run: &Run, results: &Results, seconds: f64) {
        let means = results.means.iter().filter_map(|row| Some((row.metric.clone(), row.value?)));
        self.tell(Event::Done { run: run.spec.id.clone(), seconds, metrics: means.collect() });
    }

    /// The experiment is over.
    pub fn finish(&self, summary: &Summary) {
        let Summary { done, current, skipped, .. } = *summary;
        self.tell(Event::Finished { done, current, failed: summary.failed.len(), skipped });
    }

    /// Shows an event, once the listeners have heard it.
    pub fn tell(&self, event: Event) {
        self.listeners.iter().for_each(|listener| listener(&event));
        match event {
            Event::Experiment { stages, seconds } if stages > 0 && self.bar.is_none() => {
                self.line(&format!("{stages} stages to compute, expected to take {}", duration(seconds)));
            }
            Event::Experiment { .. } | Event::Found { .. } => {}
            Event::Run { run, name, dataset, number, total } if self.bar.is_none() => {
                self.line(&format!("run {}/{total} {run} {name} ({dataset})", number + 1));
            }
            Event::Run { .. } => {}
            Event::Stage { key, label, done, total } => self.show_stage(key, &label, done, total),
            Event::Waiting { key, label } => {
                self.show_stage(key, &format!("waiting for another process: {label}"), 0, 0)
            }
            Event::Computed { kind, key, label, seconds, share } => {
                self.show_computed(&kind, &key, &label, (seconds, share));
            }
            Event::Damaged { reason } => {
                self.line(&format!("note: a stored artifact is damaged and will be made again: {reason}"));
            }
            Event::Resumed { epoch, epochs } => {
                self.line(&format!("note: training goes on after epoch {epoch} of {epochs}"));
            }
            Event::Stale { run, why } => self.line(&format!("note: {run} is stale and is done again: {why}")),
            Event::Note { text } => self.line(&format!("note: {text}")),
            Event::Done { run, seconds, metrics } => {
                let value = |name: &&str| metrics.get(*name).map(|value| format!("{name} {:.1}", value * 100.0));
                let shown: Vec<String> = ["image_auroc", "pixel_auroc", "pixel_pro"].iter().filter_map(value).collect();
                self.line(&format!("  {run} done in {seconds:.1} s: {}", shown.join(", ")));
            }
            Event::Failed { run, message } => self.line(&format!("  {run} FAILED: {message}")),
            Event::Finished { .. } => {
                self.bar.as_ref().inspect(|bar| bar.finish_and_clear());
            }
        }
    }

    fn show_stage(&self, key: String, label: &str, done: usize, total: usize) {
        let mut state = self.state();
        let count = if total > 0 { format!(" {done}/{total}") } else { String::new() };
        let at = state.at(&key);
        at.before = at.before.filter(|_| at.key == key);
        (at.key, at.share, at.stage) = (key, done as f64 / total.max(1) as f64, format!("{label}{count}"));
        (at.label, at.steps) = (label.into(), [done, total]);
        at.before = at.before.or((total > 0).then_some(at.share));
        let run = at.run.clone();
        let left = state.seconds_left().map(|left| format!("about {} left", duration(left)));
        match &self.bar {
            Some(bar) => {
                let left = left.map(|left| format!("{left} · ")).unwrap_or_default();
                bar.set_message(plain(&format!("{left}{}", state.stages())));
            }
            None if done > 0 && state.spoke.is_some_and(|at| at.elapsed().as_secs_f64() > PATIENCE_SECONDS) => {
                let run = state.of_run(&run);
                drop(state);
                self.line(&format!(
                    "  {run}{label}:{count}{}",
                    left.map(|left| format!(", {left}")).unwrap_or_default()
                ));
            }
            None => {}
        }
    }

    fn show_computed(&self, kind: &str, key: &str, label: &str, (seconds, share): (f64, f64)) {
        let mut state = self.state();
        if let Some((kind, expected)) = state.expected.remove(key) {
            let done = state.done.entry(kind).or_default();
            done.0 += expected;
            done.1 += share;
        }
        let run = std::mem::take(state.at(key)).run;
        state.at("").run = run.clone();
        let left = state.seconds_left().map(|left| format!(", about {} left", duration(left)));
        let run = state.of_run(&run);
        drop(state);
        if self.bar.is_none() {
            self.line(&format!("  {run}{label}: {seconds:.1} s ({kind} {}){}", &key[..8], left.unwrap_or_default()));
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(above_a_bar(text)),
            None => {
                self.state().spoke = Some(Instant::now());
                say!("[{} {:>7.1}s] {text}", &clock::date()[11..], self.started.elapsed().as_secs_f64());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_counts_the_done_share_of_the_current_stage_and_how_expectations_held() {
        let progress = Progress::silent();
        let expected = [("a", 10.0), ("b", 10.0), ("c", 40.0)].map(|(key, s)| (key.to_string(), ("training", s)));
        progress.experiment(expected.into());
        assert_eq!(progress.state().seconds_left(), Some(60.0));
        let [kind, key, label] = ["training", "a-long-key", "not foreseen"].map(String::from);
        progress.tell(Event::Computed { kind, key, label, seconds: 5.0, share: 5.0 });
        assert_eq!(progress.state().seconds_left(), Some(60.0));
        progress.state().expected.remove("a");
        progress.state().done.insert("training", (10.0, 20.0));
        assert_eq!(progress.state().seconds_left(), Some(100.0));
        progress.stage("c", "training", 0, 4);
        progress.stage("c", "training", 3, 4);
        assert_eq!(progress.state().seconds_left(), Some(40.0));
        // What goes on from a checkpoint is expected to take what its other epochs take.
        progress.stage("b", "training", 2, 4);
        assert_eq!(progress.state().seconds_left(), Some(100.0));
        progress.stage("b", "training", 3, 4);
        assert_eq!(progress.state().seconds_left(), Some(90.0));
        // Another process has made it.
        progress.over(["b", "c", "unknown"].into_iter(), |_, key| key == "b");
        assert_eq!(progress.state().seconds_left(), Some(80.0));
    }

    #[test]
    fn a_line_names_its_run_where_the_lines_before_do_not() {
        let mut state = State { announced: "full · 0 seen".into(), ..State::default() };
        state.at("");
        assert_eq!((state.of_run("full · 0 seen"), state.of_run("")), (String::new(), String::new()));
        assert_eq!(state.of_run("wide · 0 seen"), "wide · 0 seen · ");
        state.workers.push((std::thread::spawn(|| {}).thread().id(), At::default()));
        assert_eq!(state.of_run("full · 0 seen"), "full · 0 seen · ");
    }
}
