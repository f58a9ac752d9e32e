//! SimpleNet in whole studies: what must not matter to it, and what it refuses.

use std::path::Path;

use crate::lab::{Lab, study, with};

fn files(folder: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
}

/// Everything a study's only run leaves that is no measurement of time.
fn recorded(threads: usize, text: &str) -> Vec<Vec<u8>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| {
        let lab = Lab::new();
        let (experiment, summary) = lab.run("study", text);
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        let run = lab.results(&experiment).join("runs").join(&experiment.runs[0].spec.id);
        let read = |name: &str| std::fs::read(run.join(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        ["scores.safetensors", "model.safetensors", "images.parquet", "metrics.parquet"].map(read).to_vec()
    })
}

#[test]
fn simplenet_leaves_the_same_bytes_whatever_the_number_of_threads() {
    // 512 real and as many fake rows of 4,200 columns: above the 4 Mi from which tensor libraries split work differently.
    let settings = [("method.discriminator.hidden", "4200"), ("method.train.batch", "8"), ("method.noise.mix", "3")];
    let text = with(&study("simplenet"), &settings);
    let expected = recorded(1, &text);
    for threads in [2, 5] {
        assert!(recorded(threads, &text) == expected, "{threads} threads");
    }
}

#[test]
fn watching_every_epoch_of_simplenet_leaves_the_last_ones_numbers() {
    let numbers = |curve: &str| {
        let lab = Lab::new();
        let (experiment, summary) = lab.run("study", &with(&study("simplenet"), &[("method.train.curve", curve)]));
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        let metrics = lab.recorded(&experiment).metrics;
        metrics.into_iter().map(|row| (row.class, row.metric, row.value)).collect::<Vec<_>>()
    };
    assert_eq!(numbers("true"), numbers("false"));
}

#[test]
fn simplenet_learns_nothing_from_seen_anomalies() {
    let lab = Lab::new();
    for (name, count) in [("unseen", "0"), ("seen", "2")] {
        let (_, summary) = lab.run(name, &with(&study("simplenet"), &[("protocol.seen.count", count)]));
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    }
    let models = files(&lab.store().join("training"));
    let models = models.iter().filter(|name| name.to_string_lossy().ends_with(".safetensors"));
    assert_eq!(models.count(), 1, "both runs share one model");
}

#[test]
fn a_study_whose_last_batch_is_its_only_one_and_is_dropped_is_told_so() {
    let settings = [("method.train.batch", "9"), ("method.train.drop_last", "true")];
    let fault =
        Lab::new().try_run("study", &with(&study("simplenet"), &settings)).expect_err("refused before any work");
    let message = fault.to_string();
    assert!(message.contains("8 training images make no step of 9"), "{message}");
}
