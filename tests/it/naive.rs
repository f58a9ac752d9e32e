//! `--naive`: the plain twins of the fast kernels give the same tables.

use std::collections::BTreeMap;
use std::path::Path;

use dmad::methods::METHODS;
use safetensors::SafeTensors;

use crate::program::Sandbox;
use crate::sameness::{Place, entries};

/// By row of the study: all scores of patches and images, tensor after tensor.
fn scores(results: &Path) -> BTreeMap<String, Vec<f32>> {
    let of_run = |folder: &Path| {
        let bytes = std::fs::read(folder.join("scores.safetensors")).expect("scores");
        let tensors = SafeTensors::deserialize(&bytes).expect("tensors");
        let mut names = tensors.names();
        names.sort();
        let values = |name: &str| {
            let tensor = tensors.tensor(name).expect("named");
            let of_type = tensor.dtype() == safetensors::Dtype::F32;
            let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            if of_type { values.collect() } else { Vec::new() }
        };
        names.into_iter().flat_map(values).collect::<Vec<f32>>()
    };
    entries(&results.join("runs"))
        .iter()
        .map(|run| (run.file_name().unwrap().to_string_lossy().into(), of_run(run)))
        .collect()
}

/// By row and metric: values in per cent.
fn metrics(results: &Path) -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(results.join("metrics.csv")).expect("a table");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let place = |name: &str| header.iter().position(|column| *column == name).unwrap_or_else(|| panic!("{header:?}"));
    let (value, keys) = (place("value"), ["variant", "class", "metric", "seen_anomalies"].map(place));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (keys.map(|key| cells[key]).join(" "), cells[value].parse().unwrap_or(f64::NAN))
    };
    lines.map(row).collect()
}

#[test]
fn plain_twins_give_the_same_tables() {
    let place = Place::new();
    let run = |name: &str, more: &[&str]| place.run_with(name, &format!("store_{name}"), 2, more);
    assert_eq!((run("fast", &[]).1, run("plain", &["--naive"]).1), (0, 0));
    let of = |name: &str| place.path(name).join("study");
    let (fast, plain) = (scores(&of("fast")), scores(&of("plain")));
    assert!(fast.len() > METHODS.len() && fast.keys().eq(plain.keys()), "{:?}", plain.keys());
    for (run, fast) in &fast {
        let plain = &plain[run];
        assert_eq!(fast.len(), plain.len(), "{run}");
        let scale = fast.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let apart = fast.iter().zip(plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart > 0.0, "{run}: rounded alike, so its twins did not compute");
        // Training makes much of a rounding; a search that errs, or a wrong layer, is off by the scores themselves.
        assert!(apart <= 0.05 * scale, "{run}: {apart} of {scale}");
    }
    let (fast, plain) = (metrics(&of("fast")), metrics(&of("plain")));
    assert!(!fast.is_empty() && fast.keys().eq(plain.keys()));
    let different = fast.iter().filter(|(cell, value)| (*value - plain[*cell]).abs() > 1e-3).count();
    assert!(different * 50 <= fast.len(), "{different} of {} cells differ by more than a tenth of a point", fast.len());
}

#[test]
fn plain_twins_are_of_the_processor() {
    let refused = Sandbox::new().dmad(&["devices", "--naive", "--device", "wgpu"]);
    assert!(refused.code == 2 && refused.stderr.contains("--naive is of the CPU"), "{}", refused.stderr);
}
