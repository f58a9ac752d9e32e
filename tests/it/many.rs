//! Many recorded runs: read side by side, and their views made again only where something has changed.

use std::path::Path;
use std::time::SystemTime;

use dmad::data::{Digests, Image, Source};

use crate::fixture::make_of;
use crate::program::Sandbox;

const STUDY: &str = "\
title = \"Many runs\"
dataset = \"synthetic\"
classes = [\"wood\"]
metrics = [\"image_auroc\"]
image.size = 64
backbone = { name = \"efficientnet_lite0\", layers = [\"stride8\"], weights = \"imagenet\" }
features.aggregation = \"concat\"
method = { name = \"patchcore\", bank.normal = { ratio = 0.01, projection = 0 } }
";

/// A sandbox with a study of so many seeds, recorded.
fn recorded(seeds: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    let list: Vec<String> = (0..seeds).map(|seed| seed.to_string()).collect();
    sandbox.write("study.toml", format!("seeds = [{}]\n{STUDY}", list.join(", ")));
    make_of(&sandbox.path("results"), &sandbox.path("study.toml"), &[("wood", 6, 4, 0.9, 0.9)]);
    sandbox
}

#[test]
fn a_thousand_runs_are_listed_reported_and_planned() {
    // More than a worker's stack holds, where each waits inside of the one before.
    let sandbox = recorded(1000);
    let listed = sandbox.dmad(&["runs", "list", "--format", "json"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(rows.len(), 1000);
    assert!(rows.iter().all(|row| row["state"] == "ok" && row["image_auroc"].is_f64()));
    sandbox.dmad(&["report", "study.toml"]).says(0, &["report.html"]);
    let page = std::fs::read_to_string(sandbox.path("results/study/report.html")).expect("a page");
    assert!(page.contains("Of 1000 runs the first 500 by seed are here"), "a gallery of few");
    let status = sandbox.dmad(&["status", "study.toml"]);
    assert!(status.code == 0 && status.stdout.contains("1000 of 1000 runs recorded"), "{}", status.stdout);
    let planned = sandbox.dmad(&["plan", "study.toml", "--format", "json"]);
    let planned: serde_json::Value = serde_json::from_str(&planned.stdout).expect("JSON");
    assert_eq!(planned["runs"].as_array().map(Vec::len), Some(1000));
    // Half of them belong to an earlier form of the study.
    let half: Vec<String> = (0..500).map(|seed| seed.to_string()).collect();
    sandbox.write("study.toml", format!("seeds = [{}]\n{STUDY}", half.join(", ")));
    let experiment = dmad::spec::load(&sandbox.path("study.toml"), &dmad::report::kinds(), &[]).expect("a study");
    dmad::record::write_experiment(&sandbox.path("results/study"), &experiment).expect("written");
    let listed = sandbox.dmad(&["runs", "list", "--where", "state=earlier", "--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(rows.len(), 500, "{}", listed.stderr);
    assert!(rows.iter().all(|row| row["seed"].as_u64() >= Some(500) && row["image_auroc"].is_f64()));
}

fn written(path: &Path) -> SystemTime {
    std::fs::metadata(path).and_then(|about| about.modified()).expect("a file")
}

#[test]
fn views_are_made_again_only_where_something_has_changed() {
    let sandbox = recorded(3);
    let folder = sandbox.path("results/study");
    let view = |name: &str| std::fs::read(folder.join(name)).expect("a view");
    let report = || drop(sandbox.dmad(&["report", "study.toml"]));
    report();
    let names = ["metrics.parquet", "metrics.csv", "images.parquet"];
    let (whole, times) = (names.map(view), names.map(|name| written(&folder.join(name))));
    report();
    assert_eq!(names.map(|name| written(&folder.join(name))), times, "nothing has changed");
    for name in names {
        std::fs::write(folder.join(name), "no view").expect("written");
        report();
        assert!(names.map(view) == whole, "{name} was damaged");
        std::fs::remove_file(folder.join(name)).expect("removed");
        report();
        assert!(names.map(view) == whole, "{name} was gone");
    }
    let runs = || std::fs::read_dir(folder.join("runs")).expect("runs").map(|entry| entry.expect("a run").path());
    let first = runs().min().expect("a run");
    // A record whose files are damaged is not shown, and is not in the views.
    let images = first.join("images.parquet");
    let kept = std::fs::read(&images).expect("a file");
    std::fs::write(&images, "no images").expect("written");
    report();
    assert!(view("metrics.csv").len() < whole[1].len(), "the damaged run is gone");
    std::fs::write(&images, kept).expect("written");
    report();
    assert!(names.map(view) == whole, "it is back");
    std::fs::remove_dir_all(first).expect("removed");
    report();
    assert!(view("metrics.csv").len() < whole[1].len(), "a run is gone");
}

#[test]
fn digests_that_hold_look_at_a_file_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("image.png");
    let image = Image { path: "image.png".into(), source: Source::File(path.clone()) };
    let mut digests = Digests::open(None);
    let digest = |digests: &mut Digests, content: &str| {
        std::fs::write(&path, content).expect("written");
        digests.of([&image]).expect("a digest")[0]
    };
    let one = digest(&mut digests, "one");
    assert_ne!(digest(&mut digests, "two, as it is now"), one, "a file that has changed is another");
    digests.hold(true);
    let held = digest(&mut digests, "three");
    assert_eq!(digest(&mut digests, "four, later"), held, "it is not looked at again");
    digests.hold(false);
    assert_ne!(digest(&mut digests, "four, later"), held);
}
