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
    sandbox.write("notes/today.txt", "no image");
    refused(&["--run", &id, "notes"], &["notes: holds no image"]);
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

/// The rows of `scores.csv` by image, cell by cell as the head names them.
fn rows(sandbox: &Sandbox) -> BTreeMap<String, BTreeMap<String, String>> {
    let csv = std::fs::read_to_string(sandbox.path("found/scores.csv")).expect("scores");
    let cells = |line: &str| line.split(',').map(|cell| cell.trim_matches('"').to_string()).collect::<Vec<_>>();
    let head = cells(csv.lines().next().expect("a head"));
    let row = |line: &str| head.iter().cloned().zip(cells(line)).collect::<BTreeMap<_, _>>();
    csv.lines().skip(1).map(row).map(|row| (row["image"].clone(), row)).collect()
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_an_image_that_cannot_be_read_and_both_ways_to_a_model_are_named() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let (id, _) = recorded(&sandbox).remove(0);
    sandbox.write("photos/whole.png", std::fs::read(sandbox.path("data/parts/disc/test/good/000.png")).expect("one"));
    std::os::unix::fs::symlink("nowhere.png", sandbox.path("photos/lost.png")).expect("a link");
    let out = sandbox.dmad(&["predict", "--run", &id, "photos", "--out", "found"]);
    out.says(1, &["photos/lost.png"]);
    assert!(!out.stderr.contains("no images by their names"), "{}", out.stderr);
    let found = rows(&sandbox);
    assert!(
        !found["photos/lost.png"]["error"].is_empty() && found["photos/whole.png"]["error"].is_empty(),
        "{found:?}"
    );
    sandbox.dmad(&["predict", "photos", "--out", "other"]).says(2, &["--run <ID>", "--model <FOLDER>"]);
    let both = ["predict", "--run", &id, "--model", "model", "photos", "--out", "other"];
    sandbox.dmad(&both).says(2, &["cannot be used with"]);
}

/// All files below a folder.
fn files(folder: &std::path::Path) -> std::collections::BTreeSet<std::path::PathBuf> {
    let inside = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    inside.flat_map(|path| if path.is_dir() { files(&path) } else { [path].into() }).collect()
}

#[test]
fn a_folder_of_photographs_is_judged_though_one_is_damaged_and_leaves_nothing_in_the_store() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let (id, scores) = recorded(&sandbox).remove(0);
    let photo = |name: &str| std::fs::read(sandbox.path(&format!("data/parts/{name}"))).expect("an image");
    let damaged = photo("disc/test/cut/000.png");
    sandbox.write("photos/day/good.png", photo("disc/test/good/000.png"));
    sandbox.write("photos/day/cut.png", photo("disc/test/cut/000.png"));
    sandbox.write("photos/broken.png", &damaged[..damaged.len() / 2]);
    sandbox.write("photos/._good.png", "what some systems leave");
    sandbox.write("photos/list.txt", "no image");
    // Digests of images are remembered once the images are old enough.
    let kept = || {
        let mut kept = files(&sandbox.path(".dmad-store"));
        kept.retain(|path| !path.ends_with("digests.txt"));
        kept
    };
    let before = kept();
    let predict =
        |more: &[&str]| sandbox.dmad(&[&["predict", "--run", &id, "--out", "found", "photos"], more].concat());
    let out = predict(&["--overlay"]);
    out.says(1, &["broken.png: the file is cut off", "1 files are no images by their names", "photos/list.txt"]);
    out.says(1, &["over its 2 classes; --class NAME takes one's"]);
    assert_eq!(kept(), before, "nobody asks for those features again");
    for more in [&["--class", "disc"][..], &["--threshold", "1"]] {
        let one = predict(&[&["--overlay"], more].concat());
        assert!(one.code == 1 && !one.stderr.contains("classes"), "{more:?}: {}", one.stderr);
    }
    predict(&["--overlay"]).says(1, &[]);
    let found = rows(&sandbox);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found["photos/broken.png"]["error"].contains("cut off") && found["photos/broken.png"]["score"].is_empty());
    let good = &found["photos/day/good.png"];
    assert_eq!(good["score"].parse::<f64>().expect("a number").to_bits(), scores["disc/test/good/000.png"].to_bits());
    // The highest of the normal test images is one of them, so nothing normal is above it.
    let normals: Vec<f64> = scores.iter().filter(|(path, _)| path.contains("/good/")).map(|own| *own.1).collect();
    let highest = normals.iter().copied().fold(f64::MIN, f64::max);
    assert_eq!(good["threshold"].parse::<f64>().expect("a number").to_bits(), highest.to_bits());
    assert_eq!(good["anomalous"], "false");
    let below = normals.iter().filter(|score| **score < scores["disc/test/good/000.png"]).count();
    assert_eq!(good["percent_of_normals_below"], (100.0 * below as f64 / normals.len() as f64).to_string());
    for kind in ["map", "overlay"] {
        let picture = image::open(sandbox.path("found").join(&good[kind])).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert!(picture.width() >= 64, "{kind}");
    }

    // Everything is anomalous above the lowest score, and nothing above the highest.
    for (threshold, anomalous) in [("-1", "true"), ("1e9", "false")] {
        predict(&["--threshold", threshold]).says(1, &[]);
        assert_eq!(rows(&sandbox)["photos/day/cut.png"]["anomalous"], anomalous, "above {threshold}");
    }
    for wrong in ["nan", "inf", "1e999"] {
        predict(&["--threshold", wrong]).says(2, &["a finite number is wanted"]);
    }
    let overlays = sandbox.path("found/overlays");
    assert!(files(&overlays).is_empty(), "those of an earlier call are gone: {:?}", files(&overlays));
    predict(&["--overlay"]).says(1, &[]);
    predict(&["--false-alarms", "100"]).says(1, &["2 pictures of an earlier call are removed"]);
    let lowest = normals.iter().copied().fold(f64::MAX, f64::min);
    assert_eq!(rows(&sandbox)["photos/day/cut.png"]["threshold"], lowest.to_string());

    // A picture of a call is the picture of another: colours are those of the run.
    let map = |name: &str| std::fs::read(sandbox.path("found/maps").join(name)).expect("a map");
    let together = map("cut.png");
    sandbox.dmad(&["predict", "--run", &id, "--out", "found", "photos/day/cut.png"]).says(0, &[]);
    assert_eq!(map("cut.png"), together);
    assert!(!sandbox.path("found/maps/good.png").exists(), "of an image that this call has not");
    sandbox.dmad(&["predict", "--run", &id, "--out", "found", "photos/broken.png"]).says(2, &["cut off"]);
}
