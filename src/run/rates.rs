//! How fast this machine is at each kind of stage, learned from the artifacts it has made.
//!
//! Owns: the cost model. Does not own: what a stage's operations are (the stage says).

use std::collections::BTreeMap;

use crate::clock;
use crate::store::Store;

/// What stages of each kind have taken.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    measured: BTreeMap<String, Measured>,
}

/// Sums over the artifacts of a kind.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    operations: f64,
    wall_seconds: f64,
    cpu_seconds: f64,
}

/// Where nothing was measured yet: orders of magnitude, per thread.
const GUESSES: &[(&str, f64)] = &[
    ("features", 2e10),
    ("normal_bank", 1e11),
    ("outlier_bank", 1e11),
    ("neighbours", 5e10),
    ("training", 1e10),
    ("scores", 2e10),
    ("metrics", 5e8),
];

/// Enough artifacts of a kind to know how fast it is.
const SAMPLES: usize = 64;

impl Rates {
    /// Learns from manifests in `store` that this machine has made.
    pub fn learn(store: &Store) -> Self {
        let mut measured = BTreeMap::<_, Measured>::new();
        for (kind, keys) in store.some_keys(SAMPLES) {
            for manifest in keys.iter().filter_map(|key| store.manifest(&kind, key)) {
                if manifest.operations > 0.0 && manifest.wall_seconds > 0.0 && manifest.machine == clock::machine() {
                    let known = measured.entry(kind.clone()).or_default();
                    known.operations += manifest.operations;
                    known.wall_seconds += manifest.wall_seconds;
                    known.cpu_seconds += manifest.cpu_seconds;
                }
            }
        }
        Rates { measured }
    }

    /// Expected seconds of a stage.
    pub fn seconds(&self, kind: &str, operations: f64) -> f64 {
        self.seconds_beside(kind, operations, 1)
    }

    /// What a stage is expected to add to the time of all where `jobs` are computed side by side: its part of the wall, or
    /// its part of the processors where those are the limit.
    pub fn seconds_beside(&self, kind: &str, operations: f64, jobs: usize) -> f64 {
        let threads = rayon::current_num_threads() as f64;
        match self.measured.get(kind) {
            Some(known) => {
                let share = operations / known.operations;
                share * (known.wall_seconds / jobs as f64).max((known.cpu_seconds / threads).min(known.wall_seconds))
            }
            None => {
                let guess = GUESSES.iter().find(|(known, _)| *known == kind).map_or(1e10, |(_, rate)| *rate);
                operations / (guess * threads)
            }
        }
    }

    /// True when this machine has made such stages before.
    pub fn is_measured(&self, kind: &str) -> bool {
        self.measured.contains_key(kind)
    }
}
