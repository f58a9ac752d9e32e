//! Peak memory of a study with a million training patches, bounded by `--memory` and not, and whether the numbers agree.
//!
//! `cargo bench --bench memory` (some minutes). Ordinary memory is what counts (RssAnon); pages of mapped files can be
//! dropped by the system whenever it needs room. Fails above 256 MB, or when the bound changes a byte.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// 977 images of 32 × 32 patches are 1,000,448.
const DATASETS: &str = r#"
[dataset.million]
layout = "synthetic"
classes = ["wood"]
seed = 0
side = 256
train = 977
test_good = 4
test_per_defect = 1
"#;

/// 2,048 of 1,000,448 rows of 152 values, selected in 128 projected columns; then the nearest of them for every row.
const STUDY: &str = r#"
title = "A million patches"
dataset = "million"
seeds = [0]
metrics = ["image_auroc"]
image.size = 256
backbone = { name = "efficientnet_lite0", layers = ["stride8", "stride16"] }
features.aggregation = "concat"

[method]
name = "dmad"
bank.normal = { ratio = 0.002048, projection = 128 }
bank.outlier.enabled = false
mlp = { hidden = 64, blocks = 2 }
train = { epochs = 1, patches_per_image = 8 }
"#;

const LIMIT_MB: f64 = 256.0;

/// The most ordinary memory the program held at any look, in MB, and its seconds.
fn peak(folder: &Path, name: &str, memory: &str) -> (f64, f64) {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmad"));
    command.current_dir(folder).args(["run", "million.toml", "--memory", memory]);
    command.args(["--results", &format!("{name}/results"), "--store", &format!("{name}/store")]);
    let mut child = command.stdout(Stdio::null()).spawn().expect("the program starts");
    let mut most = 0.0f64;
    while child.try_wait().expect("a state").is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).unwrap_or(0.0);
        most = most.max(kib * 1024.0 / 1e6);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().expect("an end").success(), "the run failed");
    (most, began.elapsed().as_secs_f64())
}

/// Names and digests of all artifacts' data.
fn artifacts(store: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for kind in std::fs::read_dir(store).expect("a store").flatten().filter(|entry| entry.path().is_dir()) {
        for file in std::fs::read_dir(kind.path()).expect("a kind").flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                let mut hasher = blake3::Hasher::new();
                hasher.update_mmap_rayon(&path).expect("a file");
                found.push((
                    path.file_name().expect("a name").to_string_lossy().into_owned(),
                    hasher.finalize().to_string(),
                ));
            }
        }
    }
    found.sort();
    found
}

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS; // `cargo test --benches` only builds it
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("datasets.toml"), DATASETS).expect("written");
    std::fs::write(folder.path().join("million.toml"), STUDY).expect("written");
    let (bounded, bounded_seconds) = peak(folder.path(), "bounded", "64MB");
    let (free, free_seconds) = peak(folder.path(), "free", "64GB");
    println!("1,000,448 patches of 152 values, 2,048 picks in 128 projected columns, neighbours of all:");
    println!("  --memory 64MB: at most {bounded:.0} MB of ordinary memory, {bounded_seconds:.0} s");
    println!("  --memory 64GB: at most {free:.0} MB of ordinary memory, {free_seconds:.0} s");
    let same = artifacts(&folder.path().join("bounded/store")) == artifacts(&folder.path().join("free/store"));
    println!("  all artifacts the same bytes: {same}");
    if bounded < LIMIT_MB && same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
