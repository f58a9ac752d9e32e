//! A reader that has gone ends no command.

use std::process::Stdio;

use crate::program::{Sandbox, command};

/// The exit code of the program when nobody reads what it says.
fn unheard(sandbox: &Sandbox, arguments: &[&str]) -> Option<i32> {
    let mut command = command(&sandbox.path("."), arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop((child.stdout.take(), child.stderr.take()));
    child.wait().expect("the program ends").code()
}

#[test]
fn a_study_that_nobody_listens_to_is_run_and_recorded_whole() {
    let (sandbox, heard) = (Sandbox::new(), Sandbox::new());
    assert_eq!(unheard(&sandbox, &["run", "experiment.toml"]), Some(0));
    heard.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    let csv = |sandbox: &Sandbox| std::fs::read(sandbox.path("results/experiment/metrics.csv")).expect("a table");
    assert_eq!(csv(&sandbox), csv(&heard));
    assert_eq!(unheard(&sandbox, &["report", "experiment.toml"]), Some(0));
    assert_eq!(unheard(&sandbox, &["report", "nowhere.toml"]), Some(2));
    let runs = std::fs::read_dir(sandbox.path("results/experiment/runs")).expect("runs").flatten().next();
    let id = runs.expect("a run").file_name().to_string_lossy().into_owned();
    let images = "data/parts/disc/test/good";
    assert_eq!(unheard(&sandbox, &["predict", "--run", &id, images, "--out", "maps"]), Some(0));
    assert!(sandbox.path("maps/scores.csv").is_file());
}
