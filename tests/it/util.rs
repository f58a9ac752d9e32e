//! Where the tests find real data, weights and references, and how they compare numbers.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dmad::bank::distance::squared_distance;
use dmad::matrix::{Matrix, Rows};
use dmad::train::{Parameters, download};

/// Folder named by the environment variable `name`. Tests that ask for one are ignored where the build did not see it.
fn folder(name: &str) -> PathBuf {
    let found = std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_dir());
    found.unwrap_or_else(|| panic!("{name} must name a folder"))
}

/// Numeric references that are made of datasets' images (`DMAD_ORACLES`).
pub fn oracles() -> PathBuf {
    folder("DMAD_ORACLES")
}

/// Real images (`DMAD_DATA`).
pub fn data() -> PathBuf {
    folder("DMAD_DATA")
}

/// Real weights (`DMAD_WEIGHTS`).
pub fn weights() -> PathBuf {
    folder("DMAD_WEIGHTS")
}

/// A file of `tests/references`, whose README says how each was made.
pub fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/references").join(name)
}

/// A JSON file.
pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The values of a .npy file in the order of storage.
pub fn array<T: npyz::Deserialize>(path: &Path) -> Vec<T> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let values = npyz::NpyFile::new(&bytes[..]).and_then(|npy| npy.into_vec());
    values.unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Numbers of a JSON array.
pub fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

/// Holds `values` against a tensor description (`indices`, `values`, `l2`, `shape`) of the references: every sample within
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

/// Copies the rows named by `indices` into a matrix, in that order.
pub fn gather(rows: Rows, indices: &[usize]) -> Matrix {
    let picked: Vec<&[f32]> = indices.iter().map(|&index| rows.row(index)).collect();
    Matrix::new(picked.concat(), rows.cols())
}

/// The largest distance of a row of the `parts` to its nearest picked row; picks are numbered through the parts.
pub fn covering_radius(parts: &[Rows], picks: &[usize]) -> f64 {
    let all: Vec<&[f32]> = parts.iter().flat_map(|part| (0..part.len()).map(|index| part.row(index))).collect();
    let nearest =
        |row: &&[f32]| picks.iter().map(|&pick| squared_distance(row, all[pick])).fold(f64::INFINITY, f64::min).sqrt();
    all.iter().map(nearest).fold(0.0, f64::max)
}

/// A copy of parameters that were trained, on a plain processor, which scores.
pub fn plain(trained: &Parameters) -> Parameters {
    let (device, mut copy) = (Device::flex(), Parameters::default());
    for (name, tensor) in trained.all() {
        let insert = if trained.learns(name) { Parameters::insert } else { Parameters::insert_buffer };
        insert(&mut copy, name, download(tensor.clone()), tensor.dims(), &device);
    }
    copy
}

/// What `step` gives; it may not read anything from the device.
pub fn without_waiting<T>(step: impl FnOnce() -> T) -> T {
    let before = dmad::device::traffic().waits;
    let done = step();
    assert_eq!(dmad::device::traffic().waits, before, "a training step waits for the device");
    done
}
