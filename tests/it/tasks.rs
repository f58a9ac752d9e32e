//! Sixty-four processes on one store, as a job array starts them: nothing is computed twice, nothing is lost.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Instant;

use crate::lab::{DATASETS, study as small, with};
use crate::program::{Sandbox, command, computed, events};

const TASKS: usize = 64;
const RUNS: usize = 24;

#[test]
fn sixty_four_tasks_compute_every_stage_once_and_leave_the_bytes_of_one() {
    let sandbox = Sandbox::new();
    let seeds = (0..RUNS).map(|seed| seed.to_string()).collect::<Vec<_>>().join(", ");
    sandbox.write("study.toml", with(&small("patchcore"), &[("seeds", &format!("[{seeds}]"))]));
    sandbox.write("datasets.toml", DATASETS);
    let alone = ["--results", "alone/results", "--store", "alone/store", "--jobs", "1", "--no-gallery"];
    let began = Instant::now();
    let one = sandbox.dmad(&[&["run", "study.toml"], &alone[..]].concat());
    let alone_seconds = began.elapsed().as_secs_f64();
    assert_eq!(one.code, 0, "{}", one.stderr);

    let began = Instant::now();
    let start = |task: usize| {
        let mut command = command(&sandbox.path("."), &["run", "study.toml", "--jobs", "1", "--no-gallery", "-q"]);
        command.arg("--events").arg(sandbox.path(&format!("events{task}"))).stdout(Stdio::null());
        command.stderr(std::fs::File::create(sandbox.path(&format!("said{task}"))).expect("a file"));
        command.spawn().expect("the program starts")
    };
    let tasks: Vec<_> = (0..TASKS).map(start).collect();
    for (task, mut process) in tasks.into_iter().enumerate() {
        let status = process.wait().expect("it ends");
        let said = std::fs::read_to_string(sandbox.path(&format!("said{task}"))).expect("a file");
        assert!(status.success(), "task {task}: {status}: {said}");
    }
    let seconds = began.elapsed().as_secs_f64();

    let heard: Vec<_> = (0..TASKS).map(|task| events(&sandbox.path(&format!("events{task}")))).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    heard.iter().flat_map(|own| computed(own)).for_each(|key| *counts.entry(key).or_default() += 1);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "computed more than once: {twice:?}");
    let stages = computed(&one.events).len();
    assert_eq!(counts.len(), stages, "lost, or more than one process needs");
    let read = |folder: &str| std::fs::read(sandbox.path(folder).join("study/metrics.parquet")).expect("a view");
    assert!(read("results") == read("alone/results"), "the same bytes");
    println!(
        "{stages} stages of {RUNS} runs: one process {alone_seconds:.1} s, {TASKS} tasks {seconds:.1} s, {:.1} ms more per stage",
        1000.0 * (seconds - alone_seconds) / stages as f64
    );
}
