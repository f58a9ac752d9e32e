//! What a process did when, as a file that a trace viewer opens (Perfetto, chrome://tracing): one row for each worker with its
//! stages and the steps in them, one for each run.
//!
//! Owns: the file, in the "JSON array format" of Chrome's trace events, whose end may be missing; so it can be read while the
//! process works, and after it was killed. Does not own: what happens (`progress`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::thread::ThreadId;
use std::time::Instant;

use serde_json::{Value, json};

use super::event::Event;
use crate::error::{Error, Result};
use crate::threads::lock;

/// Rows of workers and rows of runs are two processes for the viewer.
const WORKERS: u32 = 1;
const RUNS: u32 = 2;

/// Writes spans.
pub struct Trace(Mutex<State>);

struct State {
    file: File,
    started: Instant,
    rows: BTreeMap<(u32, String), usize>,
    /// Where stages are computed, and when their last steps ended, by key.
    stages: BTreeMap<String, Steps>,
    /// Names of runs.
    runs: BTreeMap<String, String>,
}

struct Steps {
    row: usize,
    began: f64,
    done: usize,
    since: f64,
}

impl Trace {
    /// Begins a file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn create(path: &Path) -> Result<Trace> {
        let mut file = File::create(path).map_err(Error::io("write to", path))?;
        file.write_all(b"[\n").map_err(Error::io("write to", path))?;
        let (rows, stages, runs) = Default::default();
        let mut state = State { file, started: Instant::now(), rows, stages, runs };
        for (process, name) in [(WORKERS, "stages"), (RUNS, "runs")] {
            state.write(json!({ "ph": "M", "pid": process, "name": "process_name", "args": { "name": name } }));
        }
        Ok(Trace(Mutex::new(state)))
    }

    /// Something happens now. A line that cannot be written is not worth a run.
    pub fn hear(&self, event: &Event) {
        lock(&self.0).hear(event);
    }
}

impl State {
    fn hear(&mut self, event: &Event) {
        let now = self.started.elapsed().as_secs_f64();
        match event {
            Event::Run { run, name, dataset, .. } => {
                self.runs.insert(run.clone(), format!("{name} ({dataset})"));
            }
            Event::Stage { key, label, done, total } if !key.is_empty() => self.step(now, key, label, [*done, *total]),
            Event::Computed { kind, key, label, seconds, share } => {
                let known = self.stages.remove(key).map(|steps| (steps.row, steps.began));
                let (row, began) = known.unwrap_or_else(|| (self.worker(), now - seconds));
                let about = json!({ "key": key, "seconds shared out": share });
                self.span(WORKERS, row, (kind, label), [began, now], about);
            }
            Event::Waiting { label, .. } => {
                let row = self.worker();
                self.span(WORKERS, row, ("waiting", label), [now, now], json!({}));
            }
            Event::Done { run, seconds, metrics } => {
                let name = self.runs.get(run).cloned().unwrap_or_default();
                let row = self.row(RUNS, name.clone());
                self.span(RUNS, row, ("run", &name), [now - seconds, now], json!({ "run": run, "metrics": metrics }));
            }
            Event::Failed { run, message } => {
                let name = self.runs.get(run).cloned().unwrap_or_default();
                let row = self.row(RUNS, name);
                self.span(RUNS, row, ("failed", message), [now, now], json!({ "run": run }));
            }
            _ => {}
        }
    }

    /// A stage is so far: a span for what it has done since it last was heard of.
    fn step(&mut self, now: f64, key: &str, label: &str, [done, total]: [usize; 2]) {
        let known = self.stages.get(key).map(|steps| (steps.row, steps.began));
        let (row, began) = known.unwrap_or_else(|| (self.worker(), now));
        let earlier = self.stages.insert(key.into(), Steps { row, began, done, since: now });
        let Some(Steps { done: before, since, .. }) = earlier.filter(|steps| done > steps.done) else { return };
        let name = if done == before + 1 {
            format!("{label}: {done} of {total}")
        } else {
            format!("{label}: {} to {done} of {total}", before + 1)
        };
        self.span(WORKERS, row, ("step", &name), [since, now], json!({}));
    }

    /// The row of the worker who speaks.
    fn worker(&mut self) -> usize {
        let own: ThreadId = std::thread::current().id();
        self.row(WORKERS, format!("{own:?}"))
    }

    fn row(&mut self, process: u32, name: String) -> usize {
        let count = self.rows.keys().filter(|(of, _)| *of == process).count();
        let key = (process, name);
        if let Some(&row) = self.rows.get(&key) {
            return row;
        }
        let shown = if process == WORKERS { format!("worker {}", count + 1) } else { key.1.clone() };
        self.write(
            json!({ "ph": "M", "pid": process, "tid": count, "name": "thread_name", "args": { "name": shown } }),
        );
        self.rows.insert(key, count);
        count
    }

    /// Something that took from one second to another.
    fn span(&mut self, process: u32, row: usize, (kind, name): (&str, &str), [from, to]: [f64; 2], about: Value) {
        let micros = |seconds: f64| (seconds.max(0.0) * 1e6).round();
        self.write(json!({
            "ph": "X", "pid": process, "tid": row, "cat": kind, "name": name,
            "ts": micros(from), "dur": micros(to) - micros(from), "args": about,
        }));
    }

    fn write(&mut self, line: Value) {
        drop(self.file.write_all(format!("{line},\n").as_bytes()));
    }
}
