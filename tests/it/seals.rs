//! Records are sealed: whatever bit of one changes, it is refused by name and made again, and nothing panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use dmad::random::{Purpose, stream};
use dmad::record::{RunFolder, Standing, read_experiment};

use crate::fixture;
use crate::program::Sandbox;

/// All numbers of the only run below `folder`, or why there are none.
fn numbers(folder: &Path) -> Result<String, String> {
    let recorded = read_experiment(folder, &dmad::report::kinds()).map_err(|fault| fault.to_string())?;
    let run = &recorded.runs[0];
    let images = run.images().map_err(|fault| fault.to_string())?;
    let scores = run.patch_scores(&images[0].class).map_err(|fault| fault.to_string())?;
    Ok(format!("{:?}{images:?}{scores:?}{:?}{}", recorded.metrics, run.stages, run.toml))
}

#[test]
fn of_hundreds_of_flipped_bits_none_changes_a_record_silently_and_none_panics() {
    let results = tempfile::tempdir().expect("a folder");
    fixture::copy_to(results.path());
    let folder = results.path().join("judged");
    let mut runs: Vec<_> = std::fs::read_dir(folder.join("runs")).expect("runs").flatten().collect();
    runs.sort_by_key(std::fs::DirEntry::file_name);
    runs[1..].iter().for_each(|run| std::fs::remove_dir_all(run.path()).expect("removed"));
    let (own, id) = (runs[0].path(), runs[0].file_name().to_string_lossy().into_owned());
    let standing = || {
        let text = std::fs::read_to_string(own.join("run.toml")).unwrap_or_default();
        let digest =
            |name: &str| text.lines().find_map(|l| Some(l.strip_prefix(name)?.trim_matches(&['"', ' ', '='][..])));
        let [dataset, weights] = ["dataset_digest", "weights_digest"].map(|name| digest(name).unwrap_or_default());
        RunFolder::new(&folder, &id).standing(&id, dataset, weights)
    };
    numbers(&folder).expect("whole");
    assert_eq!(standing(), Standing::Current);
    let mut draws = stream(0, Purpose::Bootstrap, 2);
    for name in ["run.toml", "metrics.parquet", "images.parquet", "scores.safetensors", "log.jsonl"] {
        let path = own.join(name);
        let whole = std::fs::read(&path).expect("a file");
        for _ in 0..250 {
            let (byte, bit) = (draws.below(whole.len()), draws.below(8));
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << bit;
            std::fs::write(&path, bytes).expect("written");
            let read = catch_unwind(AssertUnwindSafe(|| numbers(&folder)));
            let said = read.unwrap_or_else(|_| panic!("{name}: bit {bit} of byte {byte} panics"));
            let said = said.expect_err(&format!("{name}: bit {bit} of byte {byte} was not seen"));
            assert!(said.contains(name), "{name}: bit {bit} of byte {byte}: {said}");
            assert!(matches!(standing(), Standing::Stale(_)), "{name}: bit {bit} of byte {byte}: {:?}", standing());
        }
        std::fs::write(&path, whole).expect("restored");
    }
    assert_eq!(standing(), Standing::Current);
}

#[test]
fn a_record_with_a_flipped_bit_is_named_by_report_and_made_again_by_run() {
    let sandbox = Sandbox::new();
    let run = || sandbox.dmad(&["run", "experiment.toml"]);
    run().says(0, &["1 runs done"]);
    let folder = std::fs::read_dir(sandbox.path("results/experiment/runs")).expect("runs").flatten().next();
    let folder = folder.expect("a run").path();
    for name in
        ["run.toml", "log.jsonl", "images.parquet", "scores.safetensors", "metrics.parquet", "model.safetensors"]
    {
        let mut bytes = std::fs::read(folder.join(name)).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(folder.join(name), bytes).expect("written");
        sandbox.dmad(&["report", "experiment.toml"]).says(2, &[name, "it was damaged or edited", "run again"]);
        run().says(0, &["1 runs done, 0 were up to date", "damaged"]);
        run().says(0, &["0 runs done, 1 were up to date"]);
    }
}
