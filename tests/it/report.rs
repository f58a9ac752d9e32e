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
fn doubtful_records_are_refused_with_words_and_never_averaged_and_the_others_are_shown() {
    let sandbox = recorded();
    let report = |words: &[&str]| {
        let out = sandbox.dmad(&["report", "experiment.toml"]);
        out.says(1, words);
        assert!(out.stdout.contains("image_auroc"), "the others are not shown: {}", out.stdout);
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
    with("run.toml", &unreadable, &["not readable, so not shown", &name, "run.toml", "its seal is broken"]);
    for file in ["metrics.parquet", "images.parquet", "scores.safetensors"] {
        let gone = || std::fs::remove_file(first.join(file)).expect("removed");
        with(file, &gone, &[&name, file, "is missing"]);
    }
    let cut = |file: &'static str| {
        let (first, bytes) = (first.clone(), keep(file));
        move || std::fs::write(first.join(file), &bytes[..bytes.len() / 2]).expect("cut")
    };
    with("metrics.parquet", &cut("metrics.parquet"), &[&name, "metrics.parquet", "checksum"]);
    with("images.parquet", &cut("images.parquet"), &[&name, "images.parquet", "checksum"]);
    let other = std::fs::read(second.join("metrics.parquet")).expect("a table");
    let foreign = || std::fs::write(first.join("metrics.parquet"), &other).expect("written");
    with("metrics.parquet", &foreign, &[&name, "metrics.parquet", "checksum"]);
    let copy = first.with_file_name("copy");
    std::fs::create_dir(&copy).expect("a folder");
    std::fs::write(copy.join("run.toml"), &toml).expect("written");
    report(&["copy", &format!("holds run {name}"), "there twice"]);
    std::fs::remove_dir_all(&copy).expect("removed");
    assert_eq!(sandbox.dmad(&["report", "experiment.toml"]).code, 0, "everything was put back");
    std::fs::remove_dir_all(sandbox.path("results/experiment/runs")).expect("removed");
    let words = ["none of the 4 runs of the experiment is recorded", "run the experiment first"];
    sandbox.dmad(&["report", "experiment.toml"]).says(2, &words);
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

#[test]
fn a_record_of_an_old_format_keeps_nobody_from_the_others_and_is_made_again_by_run() {
    let sandbox = recorded();
    let of = |variant: &str| {
        let own = |run: &PathBuf| {
            let text = std::fs::read_to_string(run.join("run.toml")).expect("a record");
            text.contains(&format!("variant = \"{variant}\""))
        };
        runs(&sandbox).into_iter().find(own).unwrap_or_else(|| panic!("no run of {variant}"))
    };
    let record = of("few").join("run.toml");
    let text = std::fs::read_to_string(&record).expect("a record");
    let version = format!("record = {}", dmad::record::VERSION);
    let old = text[..text.rfind("# ").expect("a seal")].replace(&version, "record = 1");
    std::fs::write(&record, old).expect("written");
    let plan = sandbox.dmad(&["plan", "experiment.toml"]);
    assert!(plan.stdout.contains("stale: its run.toml is damaged or of another format"), "{}", plan.stdout);
    let words = ["not readable, so not shown", "the record has format 1", "run again"];
    let part = sandbox.dmad(&["run", "experiment.toml", "--only", "full"]);
    part.says(0, &words);
    assert!(part.stdout.contains("image_auroc"), "{}", part.stdout);
    let listed = sandbox.dmad(&["runs", "list"]);
    listed.says(1, &words);
    assert_eq!(listed.stdout.matches("experiment").count(), 4, "the head and three runs: {}", listed.stdout);
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done, 3 were up to date"]);
    sandbox.dmad(&["report", "experiment.toml"]).says(0, &[]);
}

#[test]
fn records_that_nothing_can_be_written_beside_are_printed_all_the_same() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    let whole = sandbox.dmad(&["report", "experiment.toml"]);
    whole.says(0, &["wrote "]);
    let tables = sandbox.path("results/experiment/tables");
    std::fs::remove_dir_all(&tables).expect("removed");
    std::fs::write(&tables, "no folder").expect("written");
    for more in [&[][..], &["--format", "json"]] {
        let printed = sandbox.dmad(&[&["report", "experiment.toml"], more].concat());
        printed.says(1, &["error: ", "results/experiment/tables", "what is printed is whole"]);
        assert!(printed.stdout.contains("image_auroc"), "{}", printed.stdout);
        assert!(!more.is_empty() || printed.stdout == whole.stdout, "{}", printed.stdout);
    }
}
