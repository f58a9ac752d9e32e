//! Faults of datasets, images and masks name the file on disk.

use std::fs;

use crate::program::{Outcome, Sandbox};

fn run(sandbox: &Sandbox) -> Outcome {
    sandbox.dmad(&["run", "experiment.toml"])
}

/// Changes the untouched dataset; the program must refuse it with `words` before any work.
fn refused(change: impl FnOnce(&Sandbox), words: &[&str]) {
    let sandbox = Sandbox::new();
    change(&sandbox);
    run(&sandbox).refuses(&sandbox, words);
}

/// Changes the untouched dataset in a way that only decoding shows: the run fails, is recorded with the reason, and the
/// report says so.
fn fails(change: impl FnOnce(&Sandbox), words: &[&str]) {
    let sandbox = Sandbox::new();
    change(&sandbox);
    let outcome = run(&sandbox);
    outcome.says(1, words);
    outcome.says(1, &["1 failed", "--only"]);
    let rows = fs::read_to_string(sandbox.path("results/experiment/metrics.csv")).expect("the rows");
    assert!(rows.lines().skip(1).all(|row| row.contains(",error,")) && rows.lines().count() > 1, "{rows}");
    assert!(words.iter().all(|word| rows.contains(word)), "{rows}");
    let report = sandbox.dmad(&["report", "experiment.toml"]);
    assert_eq!(report.code, 1, "{}", report.stderr);
    assert!(words.iter().all(|word| report.stdout.contains(word)), "{}", report.stdout);
}

#[test]
fn the_untouched_sandbox_runs_and_a_second_time_there_is_nothing_to_do() {
    let sandbox = Sandbox::new();
    let outcome = run(&sandbox);
    outcome.says(0, &["1 runs done"]);
    assert!(outcome.stdout.contains("disc") && outcome.stdout.contains("mean"), "{}", outcome.stdout);
    run(&sandbox).says(0, &["1 were up to date"]);
    sandbox.dmad(&["data", "verify", "parts", "cloth", "--deep"]).says(0, &[]);
    sandbox
        .dmad(&["report", "results/experiment"])
        .says(0, &["files below results/experiment; the page is results/experiment/report.html"]);
}

#[test]
fn a_missing_dataset_is_told_with_the_folder_and_the_option() {
    let gone = |s: &Sandbox| fs::remove_dir_all(s.path("data/parts")).expect("removed");
    refused(gone, &["data/parts: no such folder", "dataset `parts` is expected there", "--data DIR"]);
}

#[test]
fn a_missing_class_is_told_with_its_folder() {
    let gone = |s: &Sandbox| fs::remove_dir_all(s.path("data/parts/plate")).expect("removed");
    refused(gone, &["data/parts/plate: class `plate` is missing"]);
}

#[test]
fn other_counts_than_declared_are_told_class_by_class() {
    let gone = |s: &Sandbox| fs::remove_file(s.path("data/parts/disc/train/good/001.png")).expect("removed");
    refused(gone, &["data/parts", "disc: expected 4 train", "found 3 train", "datasets.toml"]);
}

#[test]
fn a_class_without_normal_images_is_refused() {
    let gone = |s: &Sandbox| {
        fs::remove_dir_all(s.path("data/parts/disc/train/good")).expect("removed");
        fs::create_dir(s.path("data/parts/disc/train/good")).expect("made");
    };
    refused(gone, &["data/parts/disc/train/good", "no image in this folder"]);
}

#[test]
fn a_missing_mask_is_told_with_its_path() {
    let gone = |s: &Sandbox| fs::remove_file(s.path("data/parts/disc/ground_truth/cut/001_mask.png")).expect("removed");
    refused(gone, &["data/parts/disc/ground_truth/cut/001_mask.png", "the mask of disc/test/cut/001.png is missing"]);
}

#[test]
fn a_mask_of_another_size_is_told_with_both_sizes() {
    let change = |s: &Sandbox| s.mask("data/parts/disc/ground_truth/cut/001_mask.png", 80, true);
    refused(
        change,
        &["ground_truth/cut/001_mask.png", "the mask has 80 × 80 pixels", "disc/test/cut/001.png has 64 × 64"],
    );
}

#[test]
fn a_mask_that_is_all_zero_fails_the_run_before_it_computes_anything() {
    let change = |s: &Sandbox| {
        s.mask("data/parts/plate/ground_truth/cut/002_mask.png", 64, false);
    };
    let words = ["data/parts/plate/ground_truth/cut/002_mask.png", "the mask is empty", "plate/test/cut/002.png"];
    fails(change, &words);
    let sandbox = Sandbox::new();
    change(&sandbox);
    run(&sandbox).says(1, &words);
    assert!(!sandbox.path(".dmad-store/features").exists(), "features were computed first");
    sandbox.dmad(&["data", "verify", "parts", "--deep"]);
}

#[test]
fn an_image_that_is_cut_off_fails_the_run_and_is_named() {
    let cut = |s: &Sandbox| {
        let name = "data/parts/disc/test/good/001.png";
        let bytes = fs::read(s.path(name)).expect("an image");
        s.write(name, &bytes[..bytes.len() / 2]);
    };
    fails(cut, &["data/parts/disc/test/good/001.png", "the file is cut off"]);
}

#[test]
fn an_empty_file_is_refused() {
    refused(|s| s.write("data/parts/disc/train/good/002.png", b""), &["disc/train/good/002.png: the file is empty"]);
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    let change = |s: &Sandbox| s.write("data/parts/disc/train/good/002.png", b"<html>404</html>");
    refused(change, &["disc/train/good/002.png: not an image", "PNG, JPEG, BMP, TIFF, WebP"]);
}

#[test]
fn an_image_of_one_pixel_is_refused() {
    let change = |s: &Sandbox| s.mask("data/parts/disc/train/good/002.png", 1, false);
    refused(change, &["disc/train/good/002.png: 1 × 1 pixels is too small"]);
}

#[test]
fn a_folder_of_outliers_that_is_empty_or_missing_is_told_with_the_key_that_wants_it() {
    let clear = |s: &Sandbox| fs::remove_dir_all(s.path("data/cloth")).expect("removed");
    refused(clear, &["data/cloth: no such folder", "`method.bank.outlier.dataset`"]);
    let empty = |s: &Sandbox| {
        clear(s);
        fs::create_dir(s.path("data/cloth")).expect("made");
    };
    refused(empty, &["data/cloth: no class found in it", "`method.bank.outlier.enabled = false`"]);
    let bare = |s: &Sandbox| {
        empty(s);
        fs::create_dir(s.path("data/cloth/linen")).expect("made");
    };
    refused(bare, &["data/cloth/linen: no image in this folder", "`method.bank.outlier.dataset`"]);
}

#[test]
fn a_faulty_catalog_is_told_at_its_line() {
    refused(
        |s| s.write("datasets.toml", "[dataset.parts]\nlayout = \"mvtec\"\nrot = \"parts\"\n"),
        &["datasets.toml:3:1", "unknown key `dataset.parts.rot`", "did you mean `root`?"],
    );
    let sandbox = Sandbox::new();
    let outcome = sandbox.dmad(&["run", "experiment.toml", "--datasets", "none.toml"]);
    outcome.refuses(&sandbox, &["none.toml", "No such file"]);
}

#[test]
fn one_bad_run_does_not_keep_the_others_from_their_results() {
    let sandbox = Sandbox::new();
    let two = "seeds = [0]\nclasses = [\"disc\"]";
    let variant = "[[variant]]\nname = \"other\"\nclasses = [\"plate\"]\n\n[image]";
    sandbox.edit(&[("seeds = [0]", two), ("[image]", variant)]);
    sandbox.mask("data/parts/disc/ground_truth/cut/000_mask.png", 64, false);
    let outcome = run(&sandbox);
    outcome.says(1, &["1 runs done", "1 failed", "disc/ground_truth/cut/000_mask.png"]);
    sandbox.mask("data/parts/disc/ground_truth/cut/000_mask.png", 64, true);
    run(&sandbox).says(0, &["1 runs done, 1 were up to date, 0 failed"]);
}
