//! Files and names that only a hostile or sloppy hand makes.

use std::process::Command;

use crate::program::{EXPERIMENT, Sandbox};

#[test]
fn a_pipe_that_is_named_like_an_image_keeps_nobody_waiting() {
    let sandbox = Sandbox::new();
    let pipe = sandbox.path("data/parts/disc/train/good/000.png");
    std::fs::remove_file(&pipe).expect("removed");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let words = ["disc/train/good/000.png", "a pipe, a device or a folder"];
    let out = sandbox.dmad(&["data", "verify", "parts"]);
    assert!(out.code == 1 && words.iter().all(|word| out.stdout.contains(word)), "{}", out.stdout);
    sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &words);
}

#[test]
fn two_images_that_differ_in_their_endings_alone_are_told_that_they_share_a_mask() {
    let sandbox = Sandbox::new();
    let picture = std::fs::read(sandbox.path("data/parts/disc/test/cut/000.png")).expect("a picture");
    sandbox.write("data/parts/disc/test/cut/000.bmp", picture);
    let words = ["disc/test/cut/000.png", "the name of another image but for its ending", "000_mask.png"];
    sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &words);
}

#[test]
fn an_include_shows_no_line_of_a_file_that_is_no_experiment() {
    let sandbox = Sandbox::new();
    sandbox.write("secret", "root:x:0:0\n");
    sandbox.write("experiment.toml", format!("include = \"secret\"\n{EXPERIMENT}"));
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    out.refuses(&sandbox, &["experiment.toml:1", "included file `secret` does not end in .toml"]);
    assert!(!out.stderr.contains("root"), "{}", out.stderr);
}

#[test]
fn a_line_of_megabytes_and_what_a_terminal_would_obey_are_not_echoed() {
    let sandbox = Sandbox::new();
    sandbox.write("experiment.toml", format!("x = \"{}\"\n{EXPERIMENT}", "y".repeat(10_000_000)));
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    out.refuses(&sandbox, &["experiment.toml:1"]);
    assert!(out.stderr.len() < 100_000, "{} bytes were echoed", out.stderr.len());
    sandbox.edit(&[("title = \"parts\"", "title = \"a\\u001b[31mb\"")]);
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    out.says(0, &[]);
    assert!(out.stdout.contains("a\u{fffd}[31mb") && !out.stdout.contains('\u{1b}'), "{}", out.stdout);
}

#[test]
fn a_class_that_is_there_twice_and_a_name_that_is_too_long_are_refused_by_plan_and_run() {
    let sandbox = Sandbox::new();
    let class = |out: &str| out.contains("class `disc` is there twice");
    sandbox.edit(&[("seeds = [0]", "seeds = [0]\nclasses = [\"disc\", \"disc\"]")]);
    let out = sandbox.dmad(&["plan", "experiment.toml"]);
    assert!(out.code == 1 && class(&out.stdout), "{}", out.stdout);
    sandbox.dmad(&["run", "experiment.toml"]).refuses(&sandbox, &["experiment.toml:5", "class `disc` is there twice"]);
    sandbox.edit(&[("title = \"parts\"", &format!("title = \"parts\"\nname = \"{}\"", "n".repeat(300)))]);
    for command in ["plan", "run"] {
        sandbox
            .dmad(&[command, "experiment.toml"])
            .refuses(&sandbox, &["experiment.toml has 300 bytes", "a shorter `name`"]);
    }
}

#[test]
fn a_file_that_others_include_and_that_cannot_be_run_is_passed_over_and_a_run_one_is_not() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[("weights = \"imagenet\"", "weights = \"/absent.safetensors\"")]);
    std::fs::rename(sandbox.path("experiment.toml"), sandbox.path("base.toml")).expect("renamed");
    sandbox.write("study.toml", "include = \"base.toml\"\nbackbone.weights = \"imagenet\"\n");
    let words = "base.toml: passed over, since it is included by other files";
    sandbox.dmad(&["run", "base.toml", "study.toml"]).says(0, &[words, "study: 1 runs done"]);
    sandbox.dmad(&["store", "gc", "base.toml", "study.toml"]).says(0, &[words]);
    sandbox.dmad(&["store", "gc", "base.toml"]).says(2, &["base.toml cannot be planned"]);
    sandbox.write("other.toml", std::fs::read(sandbox.path("base.toml")).expect("a file"));
    sandbox.dmad(&["run", "other.toml", "study.toml"]).says(2, &["other.toml cannot be run:", "absent.safetensors"]);
}
