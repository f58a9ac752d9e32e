//! What happens while an experiment runs, as everyone hears it who listens.
//!
//! Owns: the events and their form in files. Does not own: their wording (`progress`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that happened while an experiment ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An experiment begins that has so many stages to compute, expected to take so many seconds.
    Experiment { stages: usize, seconds: f64 },
    /// A run begins, the `number`-th (from 0) of `total`.
    Run { run: String, name: String, dataset: String, number: usize, total: usize },
    /// How far a stage is; `key` is empty for what no forecast knows.
    Stage { key: String, label: String, done: usize, total: usize },
    /// Another process is computing the stage.
    Waiting { key: String, label: String },
    /// A stage was taken from the store.
    Found { kind: String, key: String },
    /// A stored artifact cannot be used and will be made again.
    Damaged { reason: String },
    /// A stage was computed. Where others were computed beside it, its `share` of the seconds that passed is smaller.
    Computed { kind: String, key: String, label: String, seconds: f64, share: f64 },
    /// Training goes on after this many of its epochs.
    Resumed { epoch: usize, epochs: usize },
    /// A record is made again because of what has changed.
    Stale { run: String, why: String },
    /// Something worth knowing.
    Note { text: String },
    /// A run is recorded; its metrics are means over the classes.
    Done { run: String, seconds: f64, metrics: BTreeMap<String, f64> },
    /// A run failed.
    Failed { run: String, message: String },
    /// The experiment is over: what became of its runs.
    Finished { done: usize, current: usize, failed: usize, skipped: usize },
}
