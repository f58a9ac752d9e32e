//! `--jobs`: stages side by side in one process. That they leave the same bytes is held by `sameness`, which runs with as many
//! jobs as threads.

use std::collections::BTreeMap;

use dmad::clock::{Clock, Turn};
use dmad::run::Event;

use crate::lab::{study as small, with};
use crate::program::{Outcome, Sandbox, command, finished};

/// Three trainings that share everything else, long enough to meet.
fn study() -> String {
    let settings = [("method.train.epochs", "8"), ("seeds", "[0, 1, 2]"), ("metrics", "[\"image_auroc\"]")];
    with(&small("dmad"), &settings)
}

fn ran(sandbox: &Sandbox, name: &str, more: &[&str]) -> Outcome {
    let [results, store] = ["results", "store"].map(|folder| format!("{name}/{folder}"));
    sandbox.dmad(&[&["run", "study.toml", "--results", &results, "--store", &store], more].concat())
}

/// The most stages that had begun and not ended.
fn most_at_once(events: &[Event]) -> usize {
    let (mut open, mut most) = (BTreeMap::new(), 0);
    for event in events {
        match event {
            Event::Stage { key, .. } if !key.is_empty() => drop(open.insert(key.clone(), ())),
            Event::Computed { key, .. } => drop(open.remove(key)),
            _ => {}
        }
        most = most.max(open.len());
    }
    most
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("study.toml", study());
    sandbox.write("datasets.toml", crate::lab::DATASETS);
    sandbox
}

#[test]
fn stages_are_computed_side_by_side_and_each_once() {
    let sandbox = sandbox();
    let metrics =
        |name: &str| std::fs::read(sandbox.path(&format!("{name}/results/study/metrics.parquet"))).expect("a view");
    let one = ran(&sandbox, "one", &["--jobs", "1"]).events;
    assert_eq!((most_at_once(&one), finished(&one)), (1, (3, 0)));
    let three = ran(&sandbox, "three", &["--jobs", "3"]).events;
    assert!(most_at_once(&three) > 1, "{three:?}");
    assert!(most_at_once(&three) <= 3, "{three:?}");
    assert_eq!(finished(&three), (3, 0));
    assert_eq!(metrics("one"), metrics("three"));
    let keys = |events: &[Event]| {
        let computed = events.iter().filter_map(|event| match event {
            Event::Computed { key, .. } => Some(key.clone()),
            _ => None,
        });
        let mut keys: Vec<String> = computed.collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&one), keys(&three), "none twice");
    let shares = three.iter().filter_map(|event| match event {
        Event::Computed { seconds, share, .. } => Some((*seconds, *share)),
        _ => None,
    });
    let (seconds, share) = shares.fold((0.0, 0.0), |sum, stage| (sum.0 + stage.0, sum.1 + stage.1));
    assert!(share < 0.95 * seconds, "{share} of {seconds}: what was beside each other is shared out");
}

#[test]
fn stages_wait_until_there_is_memory_for_them() {
    let sandbox = sandbox();
    let settings = [("method.train.epochs", "4"), ("seeds", "[0, 1, 2]"), ("method.mlp.hidden", "512")];
    sandbox.write("study.toml", with(&small("dmad"), &settings));
    let trainings = |memory: &str| {
        let ran = ran(&sandbox, memory, &["--jobs", "3", "--memory", memory]);
        ran.says(0, &["3 runs done"]);
        let training = |event: &&Event| match event {
            Event::Stage { label, .. } | Event::Computed { label, .. } => label == "training",
            _ => false,
        };
        most_at_once(&ran.events.iter().filter(training).cloned().collect::<Vec<_>>())
    };
    assert_eq!(trainings("1MB"), 1, "two of them do not fit into a megabyte");
    assert!(trainings("1GB") > 1);
}

#[test]
fn a_failure_counts_once_and_ends_what_it_is_told_to_end() {
    let sandbox = sandbox();
    let settings = [("method.train.epochs", "2"), ("seeds", "[0, 1, 2]"), ("method.train.lr_mlp", "1e30")];
    sandbox.write("study.toml", with(&small("dmad"), &settings));
    sandbox.dmad(&["run", "study.toml", "--jobs", "3"]).says(1, &["3 failed", "0 runs done"]);
    let failed = sandbox.dmad(&["run", "study.toml", "--jobs", "2", "--fail-fast"]);
    failed.says(1, &["were not begun after the failure (--fail-fast)"]);
    assert!(!failed.stderr.contains("3 failed"), "{}", failed.stderr);
}

#[test]
fn a_run_that_two_workers_are_at_fails_once() {
    let sandbox = Sandbox::new();
    for class in ["disc", "plate"] {
        let path = format!("data/parts/{class}/train/good/000.png");
        let bytes = std::fs::read(sandbox.path(&path)).expect("a picture");
        sandbox.write(&path, &bytes[..bytes.len() / 2]);
    }
    let ran = sandbox.dmad(&["run", "experiment.toml", "--jobs", "2"]);
    ran.says(1, &["1 failed"]);
    assert_eq!(ran.stderr.matches("FAILED: ").count(), 1, "{}", ran.stderr);
    assert_eq!(ran.events.iter().filter(|event| matches!(event, Event::Failed { .. })).count(), 1);
}

#[test]
fn every_process_of_its_own_works_beside_the_others() {
    let sandbox = sandbox();
    ran(&sandbox, "apart", &["--jobs", "2", "--isolate"]).says(0, &["3 runs done", "0 failed"]);
    // Files may be told from options by `--`.
    let arguments = ["run", "--jobs", "2", "--isolate", "--results", "told", "--", "study.toml"];
    let output = command(&sandbox.path("."), &arguments).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("3 runs done, 0 were up to date, 0 failed"), "{said}");
}

#[test]
fn a_gpu_takes_one_stage_at_a_time() {
    let sandbox = sandbox();
    for device in ["cuda", "wgpu"] {
        let refused = sandbox.dmad(&["plan", "study.toml", "--jobs", "2", "--device", device]);
        refused.says(2, &[&format!("--jobs 2 does not go with --device {device}"), "a process for each"]);
    }
}

#[test]
fn times_measured_side_by_side_say_so() {
    let sandbox = sandbox();
    let told = |name: &str, jobs: &str| ran(&sandbox, name, &["--seeds", "0", "--jobs", jobs]).stdout;
    let words = "Up to 2 stages ran side by side; with --jobs 1 each is timed alone.";
    assert!(told("one", "1").contains("ms per image") && !told("another", "1").contains("side by side"));
    assert!(told("two", "2").contains(words), "{}", told("two", "2"));
}

#[test]
fn a_run_took_what_the_stages_took_that_were_computed_for_it() {
    let sandbox = sandbox();
    let ran = ran(&sandbox, "three", &["--jobs", "3"]);
    assert_eq!(finished(&ran.events), (3, 0), "{}", ran.stderr);
    let done: BTreeMap<&str, f64> = ran
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Done { run, seconds, .. } => Some((run.as_str(), *seconds)),
            _ => None,
        })
        .collect();
    let mut all = Vec::new();
    for (run, seconds) in &done {
        let path = sandbox.path(&format!("three/results/study/runs/{run}/run.toml"));
        let record: toml::Table = std::fs::read_to_string(path).expect("a record").parse().expect("TOML");
        let provenance = &record["provenance"];
        let stages = provenance["stages"].as_array().expect("stages");
        let own: Vec<_> = stages.iter().filter(|stage| stage["computed"].as_bool() == Some(true)).collect();
        // Whoever has recorded it, and whoever has helped: the training and the evaluation are the run's own.
        for kind in ["training", "metrics"] {
            assert!(own.iter().any(|stage| stage["kind"].as_str() == Some(kind)), "{kind} of {run}: {own:?}");
        }
        for key in ["wall_seconds", "cpu_seconds"] {
            let sum: f64 = own.iter().map(|stage| stage[key].as_float().expect("a number")).sum();
            let told = provenance[key].as_float().expect("a number");
            assert!((told - sum).abs() < 1e-9, "{key} of {run}: {told} is not {sum}");
        }
        assert_eq!(provenance["wall_seconds"].as_float(), Some(*seconds));
        all.extend(own.iter().map(|stage| stage["key"].as_str().expect("a key").to_string()));
    }
    all.sort();
    let mut computed: Vec<&str> = crate::program::computed(&ran.events);
    computed.sort_unstable();
    assert_eq!(all, computed, "every stage counts for one run");
}

#[test]
fn seconds_are_shared_out_among_stages_at_work() {
    let (clock, _one, _other) = (Clock::start(), Turn::begin(), Turn::begin());
    let mut sum = 0u64;
    while clock.wall_seconds() < 0.3 {
        sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
    }
    // Other tests may be at work in this process too.
    assert!(clock.share_seconds() <= 0.5 * clock.wall_seconds() + 0.01, "{}", clock.share_seconds());
    assert!(clock.share_seconds() > 0.0 && clock.cpu_seconds() > 0.0);
}

#[test]
fn spans_say_what_was_computed_when_and_by_whom() {
    let sandbox = sandbox();
    let spans = sandbox.path("spans.json");
    let ran = ran(&sandbox, "traced", &["--jobs", "2", "--profile", &spans.to_string_lossy()]);
    assert_eq!(finished(&ran.events), (3, 0), "{}", ran.stderr);
    let text = std::fs::read_to_string(&spans).expect("a file");
    // Viewers take a file without its end.
    let whole = format!("{}]", text.trim_end().trim_end_matches(','));
    let all: Vec<serde_json::Value> = serde_json::from_str(&whole).expect("trace events");
    let of = |process: u64| {
        let spans = all.iter().filter(move |event| event["ph"] == "X" && event["pid"] == process);
        spans.map(|span| {
            let number = |name: &str| span[name].as_f64().expect("a number");
            let kind = span["cat"].as_str().expect("a kind").to_string();
            (kind, span["tid"].as_u64().expect("a row"), number("ts"), number("ts") + number("dur"))
        })
    };
    let (steps, stages): (Vec<_>, Vec<_>) =
        of(1).filter(|(kind, ..)| kind != "waiting").partition(|(kind, ..)| kind == "step");
    assert_eq!(stages.len(), crate::program::computed(&ran.events).len());
    assert!(steps.len() > stages.len() / 2, "{} steps of {} stages", steps.len(), stages.len());
    for (_, row, from, to) in &steps {
        let around = |(_, of, begin, end): &&(String, u64, f64, f64)| of == row && begin <= from && to <= end;
        assert!(stages.iter().any(|stage| around(&stage)), "a step from {from} to {to} in no stage");
    }
    for (number, (_, row, from, to)) in stages.iter().enumerate() {
        let overlaps = |(_, of, begin, end): &&(String, u64, f64, f64)| of == row && begin < to && from < end;
        assert!(!stages[number + 1..].iter().any(|stage| overlaps(&stage)), "one worker computes one stage at a time");
    }
    assert_eq!(of(2).map(|(kind, ..)| kind).collect::<Vec<_>>(), ["run"; 3]);

    let refused = sandbox.dmad(&["run", "study.toml", "--profile", "nowhere/spans.json"]);
    assert!(refused.code == 2 && refused.stderr.contains("nowhere/spans.json"), "{}", refused.stderr);
}
