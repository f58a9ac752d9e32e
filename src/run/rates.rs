//! How fast this machine is at each kind of stage, learned from the artifacts it has made.
//!
//! Owns: the cost model. Does not own: what a stage's operations are (the stage says).

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

use crate::clock;
use crate::device::multiply::{Strided, multiply_alone};
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

/// Operations a second of one thread where nothing was measured yet, on a processor that multiplies matrices at [`REFERENCE`]:
/// what studies took that benches/README.md names, to a factor of two. Neighbours are found by eight-bit products.
const GUESSES: &[(&str, f64)] = &[
    ("features", 8e10),
    ("normal_bank", 2.5e11),
    ("outlier_bank", 5e10),
    ("neighbours", 8e11),
    ("training", 8e10),
    ("scores", 2e11),
    ("metrics", 5e8),
];

/// Of kinds that are not among them.
const UNKNOWN: f64 = 4e10;

/// Operations a second of one thread in the product that [`speed`] times, on the machine of the guesses.
const REFERENCE: f64 = 2.5e11;

/// How fast this processor multiplies, as a share of the one that the guesses were made on. Takes some milliseconds, once.
fn speed() -> f64 {
    static SPEED: OnceLock<f64> = OnceLock::new();
    const SIDE: usize = 384;
    *SPEED.get_or_init(|| {
        let values = vec![0.5f32; SIDE * SIDE];
        let factor = Strided { values: &values, row: SIDE, column: 1 };
        let mut out = vec![0.0f32; SIDE * SIDE];
        let mut pass = || {
            let start = Instant::now();
            multiply_alone(&mut out, SIDE, [SIDE; 3], factor, &factor, false);
            start.elapsed().as_secs_f64()
        };
        let best = (0..5).map(|_| pass()).fold(f64::INFINITY, f64::min);
        2.0 * (SIDE * SIDE * SIDE) as f64 / best.max(1e-9) / REFERENCE
    })
}

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
                let guess = GUESSES.iter().find(|(known, _)| *known == kind).map_or(UNKNOWN, |(_, rate)| *rate);
                operations / (guess * speed() * threads)
            }
        }
    }

    /// True when this machine has made such stages before.
    pub fn is_measured(&self, kind: &str) -> bool {
        self.measured.contains_key(kind)
    }
}
