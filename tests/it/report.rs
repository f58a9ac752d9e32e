//! `dmad report` by the real program: what is doubtful is refused, what is missing is said.

use std::path::PathBuf;

use dmad::metrics::deviation;
use dmad::record::MetricRecord;
use dmad::report::frame::{Point, distinct, groups};

use crate::program::Sandbox;

/// The folders of the recorded runs, sorted.
fn runs(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sandbox.path("results/experiment/runs")).expect("recorded runs");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths
}

/// A recorded study of two seeds, without training.
pub fn recorded() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "experiment.toml",
        "title = \"parts\"\ndataset = \"parts\"\nseeds = [0, 1]\nimage.size = 64\nevaluation.size = 64\n\
         metrics = [\"image_auroc\", \"pixel_auroc\"]\n\
         backbone = { name = \"efficientnet_lite0\", weights = \"imagenet\" }\nfeatures.aggregation = \"concat\"\n\
         method.name = \"patchcore\"\n[[variant]]\nname = \"few\"\nprotocol.train_per_class = 2\n",
    );
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    sandbox
}

#[test]
fn doubtful_records_are_refused_with_words_and_never_averaged() {
    let sandbox = recorded();
    let report = |words: &[&str]| {
        let out = sandbox.dmad(&["report", "experiment.toml"]);
        out.says(2, words);
        assert!(out.stdout.is_empty(), "something was shown: {}", out.stdout);
    };
    let (first, second) = (runs(&sandbox)[0].clone(), runs(&sandbox)[1].clone());
    let name = first.file_name().expect("a name").to_string_lossy().into_owned();
    let keep = |file: &str| std::fs::read(first.join(file)).expect("a recorded file");
    let with = |file: &str, change: &dyn Fn(), words: &[&str]| {
        let bytes = keep(file);
        change();
        report(words);
        std::fs::write(first.join(file), bytes).expect("restored");
    };
    let toml = String::from_utf8(keep("run.toml")).expect("text");
    let version = format!("record = {}", dmad::record::VERSION);
    assert!(toml.contains(&version));
    with(
        "run.toml",
        &|| std::fs::write(first.join("run.toml"), toml.replace(&version, "record = 1")).expect("written"),
        &[&name, "the record has format 1", "not mixed", "run again"],
    );
    let unreadable = || std::fs::write(first.join("run.toml"), b"\xff").expect("written");
    with("run.toml", &unreadable, &["cannot read", &name, "run.toml"]);
    for file in ["metrics.parquet", "images.parquet", "scores.safetensors"] {
        let gone = || std::fs::remove_file(first.join(file)).expect("removed");
        with(file, &gone, &[&name, file, "is missing"]);
    }
    let cut = |file: &'static str| {
        let (first, bytes) = (first.clone(), keep(file));
        move || std::fs::write(first.join(file), &bytes[..bytes.len() / 2]).expect("cut")
    };
    with("metrics.parquet", &cut("metrics.parquet"), &[&name, "metrics.parquet", "not readable as Parquet"]);
    with("images.parquet", &cut("images.parquet"), &[&name, "images.parquet", "not readable as Parquet"]);
    let other = std::fs::read(second.join("metrics.parquet")).expect("a table");
    let foreign = || std::fs::write(first.join("metrics.parquet"), &other).expect("written");
    with("metrics.parquet", &foreign, &[&name, "holds a row of run"]);
    let copy = first.with_file_name("copy");
    std::fs::create_dir(&copy).expect("a folder");
    std::fs::write(copy.join("run.toml"), &toml).expect("written");
    report(&["copy", &format!("holds run {name}"), "there twice"]);
    std::fs::remove_dir_all(&copy).expect("removed");
    assert_eq!(sandbox.dmad(&["report", "experiment.toml"]).code, 0, "everything was put back");
    std::fs::remove_dir_all(sandbox.path("results/experiment/runs")).expect("removed");
    report(&["none of the 4 runs of the experiment is recorded", "run the experiment first"]);
    std::fs::create_dir(sandbox.path("empty")).expect("a folder");
    sandbox.dmad(&["report", "empty"]).says(2, &["empty: holds no recorded experiment"]);
}

#[test]
fn seeds_give_a_deviation_and_samplings_a_range() {
    let row = |seed: u64, value: f64| MetricRecord { seed, value: Some(value), ..MetricRecord::default() };
    let rows = [row(0, 0.90), row(1, 0.92), row(0, 0.94), row(1, 0.96)];
    let rows: Vec<(u64, &MetricRecord)> = rows.iter().enumerate().map(|(n, row)| (n as u64 / 2, row)).collect();
    let found = Point::of(&rows).expect("a point");
    assert!((found.mean - 93.0).abs() < 1e-9, "{found:?}");
    assert!((found.deviation.expect("two seeds") - 2f64.sqrt()).abs() < 1e-9, "{found:?}");
    let (low, high) = found.range.expect("two samplings");
    assert!((low - 91.0).abs() < 1e-9 && (high - 95.0).abs() < 1e-9, "{found:?}");
    assert_eq!(Point::of(&[]), None);
    assert_eq!((deviation(&[1.0]), deviation(&[1.0, 3.0])), (None, Some(2f64.sqrt())));
}

#[test]
fn groups_keep_the_order_in_which_keys_come() {
    assert_eq!(groups([("b", 1), ("a", 2), ("b", 3)]), [("b", vec![1, 3]), ("a", vec![2])]);
    assert_eq!(distinct(["b", "a", "b"]), ["b", "a"]);
}
