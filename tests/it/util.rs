//! Where the tests find real data, weights and oracles, and how they compare numbers.

use std::path::PathBuf;

/// Folder named by the environment variable `name`, or `None` after saying loudly that the calling test did not run.
/// Under `CI=true` a missing folder is a failure, so nothing is skipped silently there.
pub fn folder(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_dir());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{name} must name a folder in CI");
        eprintln!("NOT RUN: {} needs {name} to name a folder", std::thread::current().name().unwrap_or("this test"));
    }
    found
}

/// Numeric references (`DMAD_ORACLES`).
pub fn oracles() -> Option<PathBuf> {
    folder("DMAD_ORACLES")
}

/// Real images (`DMAD_DATA`).
pub fn data() -> Option<PathBuf> {
    folder("DMAD_DATA")
}

/// Real weights (`DMAD_WEIGHTS`).
pub fn weights() -> Option<PathBuf> {
    folder("DMAD_WEIGHTS")
}

/// A JSON oracle.
pub fn json(path: PathBuf) -> serde_json::Value {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Numbers of a JSON array.
pub fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

/// Holds `values` against a tensor description (`indices`, `values`, `l2`, `shape`) of the oracles: every sample within
/// `tolerance` of the root mean square, and the norm within the same share of itself.
pub fn check_description(what: &str, values: &[f32], description: &serde_json::Value, tolerance: f64) {
    let count: f64 = numbers(&description["shape"]).iter().product();
    assert_eq!(values.len() as f64, count, "{what}: number of values");
    let norm = values.iter().map(|&v| (v as f64).powi(2)).sum::<f64>().sqrt();
    let expected = description["l2"].as_f64().expect("l2");
    assert!((norm - expected).abs() <= tolerance * expected, "{what}: norm {norm}, expected {expected}");
    let scale = (expected * expected / count).sqrt();
    let (indices, samples) = (numbers(&description["indices"]), numbers(&description["values"]));
    for (index, sample) in indices.iter().zip(&samples) {
        let got = values[*index as usize] as f64;
        assert!(
            (got - sample).abs() <= tolerance * scale.max(sample.abs()),
            "{what}[{index}]: {got}, expected {sample}"
        );
    }
}
