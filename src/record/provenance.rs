//! Where a number came from, and what the model behind it costs.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// Everything about a run that is not its spec and not its numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Provenance {
    /// What keeps the numbers from being those of a full run: random weights, subsampled images, oracle epoch.
    pub labels: Vec<String>,
    pub dataset_digest: String,
    /// Of the whole dataset, or of those of its classes that the run is about, as `data verify` prints it.
    pub whole_dataset_digest: String,
    pub weights_digest: String,
    pub device: String,
    /// What it calls itself.
    #[serde(default)]
    pub device_name: String,
    /// Of products on a GPU.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub precision: String,
    pub threads: usize,
    /// How many stages may have been computed side by side: each then takes longer than alone.
    #[serde(default = "alone")]
    pub jobs: usize,
    /// Seconds on the clock of the stages that were computed for this run, its evaluation among them: a training that was
    /// resumed counts with what was done before, a stage found in the store, or left to another process, not at all.
    pub wall_seconds: f64,
    /// Processor seconds of the same stages.
    pub cpu_seconds: f64,
    /// The most memory the process has held by the end of this run.
    pub peak_memory_bytes: u64,
    /// Test images that left the test set because their content equals a seen anomaly's.
    pub duplicates: usize,
    /// Hidden and foreign files passed over in the dataset's folder.
    pub skipped_files: usize,
    pub cost: Cost,
    pub stages: Vec<StageLog>,
}

/// Records of earlier programs, which computed one stage at a time.
fn alone() -> usize {
    1
}

/// What the model costs in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cost {
    /// Numbers in backbone and model.
    pub parameters: u64,
    /// Bytes of all banks.
    pub bank_bytes: u64,
    /// Wall milliseconds per test image: features, neighbours, scores.
    pub milliseconds_per_image: f64,
}

/// One stage behind a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct StageLog {
    pub kind: String,
    /// What progress lines call it.
    pub label: String,
    pub key: String,
    /// The method whose own it is; empty for shared stages.
    pub method: String,
    pub version: u32,
    /// Crate version that made the artifact.
    pub maker: String,
    /// Made for this run by the process that recorded it (false: found in the store).
    pub computed: bool,
    /// Seconds it was expected to take on this machine before the run.
    pub estimated_seconds: f64,
    /// Seconds it took when it was made.
    pub wall_seconds: f64,
    /// Processor seconds it took when it was made.
    pub cpu_seconds: f64,
    /// What the stage told: counts, losses.
    pub note: Json,
}

/// The program as it was built, and the machine it runs on.
pub(super) fn machine() -> Json {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let known = ["avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "amx_tile", "neon"];
    json!({
        "date": crate::clock::date(),
        "host": crate::clock::host(),
        "command": crate::clock::command(),
        "crate_version": env!("CARGO_PKG_VERSION"),
        // The build script's: the source tree may have moved on since.
        "git_revision": env!("DMAD_GIT_REVISION"),
        "git_dirty": env!("DMAD_GIT_DIRTY") == "true",
        "cargo_lock": &blake3::hash(include_bytes!("../../Cargo.lock")).to_hex()[..16],
        "cpu": crate::clock::processor(),
        "cpu_features": known.iter().filter(|name| flags.contains(name)).collect::<Vec<_>>(),
    })
}
