//! How fast this machine is at each kind of stage, learned from the artifacts it has made.
//!
//! Owns: the cost model. Does not own: what a stage's operations are (the stage says).

use std::collections::BTreeMap;

use crate::clock;
use crate::store::Store;

/// Operations per second of wall time, by kind of stage.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Operations and seconds, summed over the artifacts of a kind.
    measured: BTreeMap<String, (f64, f64)>,
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
    /// Learns from the newest format's manifests in `store` that this machine has made.
    pub fn learn(store: &Store) -> Self {
        let mut measured = BTreeMap::<_, (f64, f64)>::new();
        for (kind, keys) in store.keys() {
            for manifest in keys.iter().take(SAMPLES).filter_map(|key| store.manifest(&kind, key)) {
                if manifest.operations > 0.0 && manifest.wall_seconds > 0.0 && manifest.machine == clock::machine() {
                    let (operations, seconds) = measured.entry(kind.clone()).or_default();
                    *operations += manifest.operations;
                    *seconds += manifest.wall_seconds;
                }
            }
        }
        Rates { measured }
    }

    /// Expected seconds of a stage.
    pub fn seconds(&self, kind: &str, operations: f64) -> f64 {
        let rate = match self.measured.get(kind) {
            Some((operations, seconds)) => operations / seconds,
            None => {
                let guess = GUESSES.iter().find(|(known, _)| *known == kind).map_or(1e10, |(_, rate)| *rate);
                guess * rayon::current_num_threads() as f64
            }
        };
        operations / rate
    }

    /// True when this machine has made such stages before.
    pub fn is_measured(&self, kind: &str) -> bool {
        self.measured.contains_key(kind)
    }
}
