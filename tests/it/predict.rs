//! `dmad predict` by the real program: the run's own numbers for its own images, and words for what cannot be.

use std::collections::BTreeMap;

use crate::program::Sandbox;

/// The only run's id and its image scores by path.
fn recorded(sandbox: &Sandbox) -> Vec<(String, BTreeMap<String, f64>)> {
    let folder = sandbox.path("results/experiment");
    let recorded = dmad::record::read_experiment(&folder, &dmad::report::kinds()).unwrap_or_else(|e| panic!("{e}"));
    let scores = |run: &dmad::record::RecordedRun| {
        run.images().expect("images").iter().map(|row| (row.path.clone(), row.score)).collect()
    };
    recorded.runs.iter().map(|run| (run.id.clone(), scores(run))).collect()
}

/// Predicts and returns score by image path as named.
fn predict(sandbox: &Sandbox, arguments: &[&str]) -> BTreeMap<String, f64> {
    let out = sandbox.dmad(&[&["predict", "--data", "data", "--out", "out"], arguments].concat());
    assert_eq!(out.code, 0, "{}", out.stderr);
    let csv = std::fs::read_to_string(sandbox.path("out/scores.csv")).expect("scores");
    assert_eq!(csv.trim_end(), out.stdout.trim_end());
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert!(sandbox.path("out").join(cells[2].trim_matches('"')).is_file(), "{line} has no map");
        (cells[0].trim_matches('"').to_string(), cells[1].parse().expect("a number"))
    };
    csv.lines().skip(1).map(row).collect()
}

#[test]
fn a_runs_own_test_images_get_the_runs_own_scores_and_faults_are_said() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml", "--data", "data"]).code, 0);
    let (id, scores) = recorded(&sandbox).remove(0);
    // In another order, from both classes, one alone: an image's score does not depend on its company.
    let paths: Vec<String> = scores.keys().rev().map(|path| found(&sandbox, path)).collect();
    let arguments: Vec<&str> = ["--run", &id].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let predicted = predict(&sandbox, &arguments);
    assert_eq!(predicted.len(), scores.len());
    for (path, score) in &scores {
        assert_eq!(predicted[&found(&sandbox, path)].to_bits(), score.to_bits(), "{path}");
    }
    let alone = predict(&sandbox, &["--run", &id[..6], &paths[1]]);
    assert_eq!(alone[&paths[1]].to_bits(), predicted[&paths[1]].to_bits());
    let folder = predict(&sandbox, &["--run", &id, "data/parts/disc/test/good"]);
    assert_eq!(folder.len(), 2);
    // The store is a cache: without it everything is made again.
    std::fs::remove_dir_all(sandbox.path(".dmad-store")).expect("removed");
    assert_eq!(predict(&sandbox, &["--run", &id, &paths[1]]), alone);
    let refused = |arguments: &[&str], words: &[&str]| {
        sandbox.dmad(&[&["predict", "--data", "data", "--out", "out"], arguments].concat()).says(2, words);
    };
    refused(&["--run", "0000zz", &paths[0]], &["no run `0000zz` is recorded", "dmad runs list"]);
    refused(&["--run", &id, "experiment.toml"], &["experiment.toml"]);
    refused(&["--run", &id, "nothing.png"], &["nothing.png"]);
    refused(&["--run", &id, "results"], &["results: holds no image"]);
    refused(&["--run", &id, "--class", "cup", &paths[0]], &["the run has no class `cup`", "disc, plate"]);
    // Other training images would give another bank, and so other scores than the recorded ones.
    let train = |number: usize| sandbox.path(&format!("data/parts/disc/train/good/{number:03}.png"));
    std::fs::copy(train(1), train(0)).expect("copied");
    refused(&["--run", &id, &paths[0]], &[&format!("the record of run {id} is stale"), "dmad run"]);
}

/// Where a recorded image is: recorded paths are relative to the dataset's root.
fn found(sandbox: &Sandbox, path: &str) -> String {
    let place = format!("data/parts/{path}");
    assert!(sandbox.path(&place).is_file(), "{place} is not there");
    place
}

#[test]
fn where_every_class_has_a_model_the_class_says_which() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[("seen.count = 1", "setting = \"per_class\"\nseen.count = 1")]);
    assert_eq!(sandbox.dmad(&["run", "experiment.toml", "--data", "data"]).code, 0);
    let (id, scores) = recorded(&sandbox).remove(0);
    let plate = |path: &&String| path.starts_with("plate/");
    let paths: Vec<String> = scores.keys().filter(plate).map(|path| found(&sandbox, path)).collect();
    let named: Vec<&str> = paths.iter().map(String::as_str).collect();
    let predicted = predict(&sandbox, &[&["--run", &id, "--class", "plate"], &named[..]].concat());
    for (path, score) in scores.iter().filter(|(path, _)| plate(path)) {
        assert_eq!(predicted[&found(&sandbox, path)].to_bits(), score.to_bits(), "{path}");
    }
    let other = predict(&sandbox, &[&["--run", &id, "--class", "disc"], &named[..]].concat());
    assert_ne!(other, predicted, "the other class has another model");
    let out = sandbox.dmad(&["predict", "--data", "data", "--out", "out", "--run", &id, named[0]]);
    out.says(2, &["nothing says which of them is meant", "--class: disc, plate"]);
}
