//! `dmad runs`: finding, inspecting and comparing by the real program.

use std::sync::{Arc, Mutex};

use dmad::plan::Notice;
use dmad::run::{Event, Progress};
use serde_json::Value as Json;

use crate::fixture;
use crate::program::{self, Sandbox};

fn judged() -> (Sandbox, Vec<Json>) {
    let sandbox = Sandbox::new();
    fixture::copy_to(&sandbox.path("results"));
    let out = sandbox.dmad(&["runs", "list", "--format", "json"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    let rows: Json = serde_json::from_str(&out.stdout).expect("JSON");
    let rows = rows.as_array().expect("rows").clone();
    (sandbox, rows)
}

fn id<'a>(rows: &'a [Json], variant: &str, seen: u64, seed: u64) -> &'a str {
    let own = |row: &&Json| row["variant"] == variant && row["seen_anomalies"] == seen && row["seed"] == seed;
    rows.iter().find(own).and_then(|row| row["run"].as_str()).unwrap_or_else(|| panic!("no run of {variant}"))
}

#[test]
fn runs_are_listed_found_by_the_beginning_of_their_id_and_shown() {
    let (sandbox, rows) = judged();
    assert_eq!(rows.len(), 14);
    let run = id(&rows, "rival", 10, 1);
    let listed = sandbox.dmad(&["runs", "list", "results/judged"]).stdout;
    assert!(listed.contains(run) && listed.contains("rival"), "{listed}");
    let shown = sandbox.dmad(&["runs", "show", &run[..8]]);
    for words in
        [&format!("judged/{run}: rival, mvtec_ad, 10 seen, seed 1"), "toothbrush", "weights_digest", "image_f1max"]
    {
        assert!(shown.stdout.contains(words), "{words} is not in:\n{}", shown.stdout);
    }
    let json = sandbox.dmad(&["runs", "show", &format!("judged/{run}"), "--format", "json"]).stdout;
    let json: Json = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["record"]["spec"]["method"]["name"], "patchcore");
    sandbox.dmad(&["runs", "show", "zzz"]).says(2, &["no run `zzz` is recorded below results", "dmad runs list"]);
    sandbox.dmad(&["runs", "show", "judged/"]).says(2, &["no run `judged/`"]);
    sandbox.dmad(&["runs", "list", "--results", "nowhere"]).says(2, &["nowhere"]);
    std::fs::create_dir(sandbox.path("results/broken")).expect("a folder");
    sandbox.write("results/broken/experiment.toml", "dataset = 3");
    let out = sandbox.dmad(&["runs", "list"]);
    assert!(out.code == 1 && out.stdout.contains(run) && out.stderr.contains("results/broken"), "{}", out.stderr);
}

#[test]
fn a_diff_names_changed_keys_and_gives_paired_intervals_and_every_class() {
    let (sandbox, rows) = judged();
    let (plain, seen) = (id(&rows, "full", 0, 0), id(&rows, "full", 10, 1));
    let out = sandbox.dmad(&["runs", "diff", plain, seen, "--format", "json"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    let json: Json = serde_json::from_str(&out.stdout).expect("JSON");
    let changed: Vec<&str> =
        json["settings"].as_array().expect("settings").iter().filter_map(|own| own["key"].as_str()).collect();
    assert!(changed.contains(&"protocol.seen.count") && changed.contains(&"seed"), "{changed:?}");
    assert!(!changed.contains(&"dataset") && !changed.contains(&"image.size"), "{changed:?}");
    let find = |class: &str, metric: &str| {
        let own = |row: &&Json| row["class"] == class && row["metric"] == metric;
        json["metrics"].as_array().expect("metrics").iter().find(own).cloned().expect("a row")
    };
    let number = |row: &Json, key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"));
    let mean = find("mean", "image_auroc");
    assert!(number(&mean, "low") > 0.0 && number(&mean, "difference") > 2.0, "{mean}");
    assert_eq!(mean["images_left_out"], 30, "the seen anomalies of three classes");
    let (bottle, carpet) = (find("bottle", "image_auroc"), find("carpet", "image_auroc"));
    assert!(number(&bottle, "difference") > 5.0 && number(&carpet, "difference").abs() < 2.0, "{bottle} {carpet}");
    let pixel = find("mean", "pixel_auroc");
    assert!(number(&pixel, "low") <= number(&pixel, "difference"), "{pixel}");
    let text = sandbox.dmad(&["runs", "diff", plain, seen]).stdout;
    for words in ["protocol.seen.count", "Mean over the classes of both", "By class", "30 images of only one left out"]
    {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
    let same = sandbox.dmad(&["runs", "diff", plain, plain]).stdout;
    assert!(same.contains("Settings: the same") && same.contains("+0.0 [+0.0, +0.0]"), "{same}");
    let part = id(&rows, "part", 10, 0);
    let text = sandbox.dmad(&["runs", "diff", part, seen]).stdout;
    assert!(text.contains("bottle"), "{text}");
}

#[test]
fn a_record_carries_the_revision_that_the_program_was_built_from() {
    let sandbox = Sandbox::new();
    // Neither git nor the source tree is asked when the program runs.
    let run = program::command(&sandbox.path("."), &["run", "experiment.toml"]).env("PATH", "").output();
    assert!(run.as_ref().is_ok_and(|run| run.status.success()), "{run:?}");
    let run =
        std::fs::read_dir(sandbox.path("results/experiment/runs")).expect("runs").flatten().next().expect("a run");
    let record: toml::Table =
        std::fs::read_to_string(run.path().join("run.toml")).expect("a record").parse().expect("TOML");
    assert_eq!(record["environment"]["git_revision"].as_str(), Some(env!("DMAD_GIT_REVISION")));
    assert_eq!(record["environment"]["git_dirty"].as_bool(), Some(env!("DMAD_GIT_DIRTY") == "true"));
}

#[test]
fn a_record_that_lacks_any_of_its_files_is_made_again() {
    let sandbox = Sandbox::new();
    let run = || sandbox.dmad(&["run", "experiment.toml"]);
    run().says(0, &["1 runs done"]);
    let folder = std::fs::read_dir(sandbox.path("results/experiment/runs")).expect("runs").flatten().next();
    let folder = folder.expect("a run").path();
    for file in ["log.jsonl", "images.parquet", "scores.safetensors", "metrics.parquet"] {
        std::fs::remove_file(folder.join(file)).expect("removed");
        sandbox.dmad(&["report", "experiment.toml"]).says(2, &[file, "is missing"]);
        run().says(0, &["1 runs done, 0 were up to date", "some of its files are gone"]);
        run().says(0, &["0 runs done, 1 were up to date"]);
    }
}

#[test]
fn events_are_heard_and_survive_as_lines_of_json() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let heard = heard.clone();
        move |event: &Event| heard.lock().expect("whole").push(event.clone())
    };
    let progress = Progress::silent().heard_by(listener);
    progress.tell(Event::Note { text: "something".into() });
    progress.notice(Notice::Resumed { epoch: 3, epochs: 6 });
    let heard = heard.lock().expect("whole");
    assert_eq!(heard[..], [Event::Note { text: "something".into() }, Event::Resumed { epoch: 3, epochs: 6 }]);
    for event in heard.iter() {
        let line = serde_json::to_string(event).expect("plain data");
        assert_eq!(serde_json::from_str::<Event>(&line).expect("an event"), *event, "{line}");
    }
}

#[test]
fn a_failed_run_is_called_that_in_the_list_and_on_the_page() {
    let sandbox = Sandbox::new();
    let path = "data/parts/disc/test/cut/000.png";
    let bytes = std::fs::read(sandbox.path(path)).expect("a picture");
    sandbox.write(path, &bytes[..bytes.len() / 2]);
    sandbox.dmad(&["run", "experiment.toml"]).says(1, &["1 failed"]);
    let listed = sandbox.dmad(&["runs", "list"]).stdout;
    assert_eq!(listed.matches("failed").count(), 3, "state and both numbers: {listed}");
    let page = std::fs::read_to_string(sandbox.path("results/experiment/report.html")).expect("a page");
    assert!(page.contains("failed: data/parts/disc/test/cut/000.png"), "{page}");
    let table = std::fs::read_to_string(sandbox.path("results/experiment/tables/table1.md")).expect("a table");
    assert!(table.contains("| failed") && !table.contains("undefined"), "{table}");
}
