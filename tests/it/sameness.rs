//! The same study leaves the same bytes, whatever the number of threads, the state of the store, or how often it ran.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use dmad::methods::METHODS;

use crate::lab::{study as small, trial, variant, with};
use crate::program::{events, finished};

/// 32 training images, so that one step of 32 × 64 patches with as many pseudo-anomalies has 4,096 rows; with 1,100 columns
/// these are 4.5 million values, above the 4 Mi from which tensor libraries split work differently.
const DATASETS: &str = r#"
[dataset.tiny]
layout = "synthetic"
classes = ["tile", "wood"]
seed = 0
side = 64
train = 16
test_good = 2
test_per_defect = 1

[dataset.textures]
layout = "synthetic"
classes = ["banded", "marbled"]
seed = 0
side = 64
textures = 2
"#;

/// DMAD with and without seen anomalies, and every other method beside it, each with steps large enough to be split.
fn study() -> String {
    let mut study = with(&small("dmad"), trial("dmad").large);
    study.push_str("\n[[variant]]\nname = \"seen\"\nprotocol.seen.count = 2\n");
    for entry in METHODS.iter().filter(|entry| entry.kind.name != "dmad") {
        study.push_str(&variant(entry.kind.name, &with(entry.trial.study, entry.trial.large)));
    }
    let per_class = [("method.bank.normal.scope", "\"per_class\""), ("method.score.reweight", "3")];
    study + &variant("patchcore_per_class", &with(trial("patchcore").study, &per_class))
}

/// How many runs that makes.
const RUNS: usize = METHODS.len() + 2;

pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("study.toml"), study()).expect("written");
        std::fs::write(folder.path().join("datasets.toml"), DATASETS).expect("written");
        Place { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the study with the real program; returns how many runs it did, and how many were up to date.
    fn run(&self, results: &str, store: &str, threads: usize) -> (usize, usize) {
        self.run_with(results, store, threads, &[])
    }

    /// The same with more options.
    pub fn run_with(&self, results: &str, store: &str, threads: usize, more: &[&str]) -> (usize, usize) {
        let heard = tempfile::NamedTempFile::new().expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_dmad"))
            .current_dir(self.folder.path())
            .args(["run", "study.toml", "--threads", &threads.to_string(), "--results", results, "--store", store])
            .args(more)
            .arg("--events")
            .arg(heard.path())
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        finished(&events(heard.path()))
    }

    /// Everything recorded that is no measurement of time: path below the results folder and content.
    fn recorded(&self, results: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.path(results).join("study");
        let mut found = BTreeMap::new();
        for name in ["metrics.csv", "metrics.parquet", "images.parquet"] {
            found.insert(name.into(), std::fs::read(root.join(name)).expect("a view"));
        }
        for run in entries(&root.join("runs")) {
            for file in entries(&run).into_iter().filter(|file| file.extension().is_some_and(|e| e == "safetensors")) {
                let name = file.strip_prefix(&root).expect("below").to_path_buf();
                found.insert(name, std::fs::read(file).expect("tensors"));
            }
        }
        found
    }
}

pub fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

/// Names what differs instead of printing megabytes.
fn assert_same(first: &BTreeMap<PathBuf, Vec<u8>>, second: &BTreeMap<PathBuf, Vec<u8>>, what: &str) {
    assert!(first.keys().eq(second.keys()), "{what}: {:?} and {:?}", first.keys(), second.keys());
    let different: Vec<&PathBuf> =
        first.iter().filter(|(name, bytes)| second[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(different.is_empty(), "{what}: {different:?} differ");
}

#[test]
fn one_two_and_five_threads_leave_the_same_bytes() {
    let place = Place::new();
    place.run("one", "store_one", 1);
    let expected = place.recorded("one");
    let count = |name: &str| expected.keys().filter(|path| path.ends_with(name)).count();
    assert_eq!(count("scores.safetensors"), RUNS, "{:?}", expected.keys());
    // Two of DMAD, one of each other trained method.
    assert!(count("model.safetensors") >= 4, "{:?}", expected.keys());
    for (threads, name) in [(2, "two"), (5, "five")] {
        place.run(name, &format!("store_{name}"), threads);
        assert_same(&expected, &place.recorded(name), name);
    }
}

#[test]
fn a_second_run_is_up_to_date_and_one_after_losing_store_and_records_leaves_the_same_bytes() {
    let place = Place::new();
    assert_eq!(place.run("results", "store", 2), (RUNS, 0));
    let expected = place.recorded("results");
    assert_eq!(place.run("results", "store", 2), (0, RUNS));
    assert_same(&expected, &place.recorded("results"), "a second run");
    std::fs::remove_dir_all(place.path("store")).expect("removed");
    assert_eq!(place.run("results", "store", 2), (0, RUNS), "records do not need the store");
    assert_same(&expected, &place.recorded("results"), "a run without the store");
    std::fs::remove_dir_all(place.path("results/study/runs")).expect("removed");
    assert_eq!(place.run("results", "store", 2), (RUNS, 0));
    assert_same(&expected, &place.recorded("results"), "a run from nothing");
}
