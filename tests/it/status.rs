//! `dmad status`: what is said of processes at work, killed and ended, and of runs.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::resume::Place;

/// Exit code and output of `dmad status` in a place whose study was run as `attempt`.
fn status(place: &Place, attempt: &str, more: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmad"));
    command.current_dir(place.path()).args(["status", "study.toml", "--results", &format!("{attempt}/results")]);
    let output = command.args(more).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().expect("it ends"), said)
}

#[test]
fn status_tells_who_is_at_what_who_was_lost_and_what_is_left() {
    // Long enough for several words of a process, one every two seconds, to fall into its training.
    let place = Place::long(2_000);
    assert_eq!(status(&place, "one", &[]), (1, "study: 0 of 1 runs recorded, 1 left; nobody is at work\n".into()));
    let process = place.start("one", &[]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let at_work = loop {
        let (code, said) = status(&place, "one", &[]);
        assert!(code == 1 && Instant::now() < deadline, "{said}");
        if said.contains("training (") {
            break said;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let own = format!(" {}: at work since ", process.id());
    for words in [own.as_str(), "0 of 1 runs recorded, 1 left; about ", "/2000)"] {
        assert!(at_work.contains(words), "no {words:?} in\n{at_work}");
    }
    process.kill();
    let (code, lost) = status(&place, "one", &["--watch"]);
    assert!(
        code == 1 && lost.contains(": lost: its last word was at ") && lost.contains("nobody is at work"),
        "{lost}"
    );

    place.finish("one", &[]);
    let (code, ended) = status(&place, "one", &[]);
    assert!(code == 0 && ended.contains("study: 1 of 1 runs recorded") && ended.contains(": ended at "), "{ended}");
    let (_, json) = status(&place, "one", &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[0]["recorded"], &json[0]["left"]), (&1.into(), &0.into()), "{json}");
    assert_eq!(json[0]["processes"][0]["state"], "finished");
}

#[test]
fn status_tells_which_runs_failed() {
    let place = Place::failing();
    assert_eq!(place.start("one", &[]).end().0, Some(1));
    let (code, said) = status(&place, "one", &[]);
    assert!(
        code == 1 && said.contains("0 of 1 runs recorded, 1 failed; nobody") && said.contains(" failed: "),
        "{said}"
    );
}

/// A folder that was copied holds a run that is there already.
#[test]
fn a_copied_run_counts_once() {
    let place = Place::new();
    place.finish("one", &[]);
    let runs = place.path().join("one/results/study/runs");
    let own = std::fs::read_dir(&runs).expect("runs").next().expect("a run").expect("readable").path();
    std::fs::create_dir(runs.join("copy")).expect("a folder");
    std::fs::copy(own.join("run.toml"), runs.join("copy/run.toml")).expect("copied");
    let (code, said) = status(&place, "one", &[]);
    assert!(code == 0 && said.starts_with("study: 8 of 8 runs recorded; nobody is at work"), "{said}");
}
