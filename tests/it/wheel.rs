//! The wheel: built, installed into an environment of its own, and used; and what docs/python.md shows of records.

use std::path::Path;
use std::process::Command;

use crate::export::interpreter;
use crate::program::Sandbox;

fn output(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|fault| panic!("{command:?}: {fault}"));
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{command:?}: {told}");
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// The program that a wheel of this checkout installs below `folder`, and the Python beside it.
fn installed(folder: &Path) -> [std::path::PathBuf; 2] {
    let mut build = interpreter();
    build.args(["-m", "maturin", "build", "--release", "--out"]).arg(folder.join("dist"));
    // As the tests are built, so that nothing is compiled twice.
    let features: Vec<&str> = [("cuda", cfg!(feature = "cuda")), ("wgpu", cfg!(feature = "wgpu"))]
        .into_iter()
        .filter_map(|(name, on)| on.then_some(name))
        .collect();
    if !features.is_empty() {
        build.args(["--features", &features.join(",")]);
    }
    // What cargo tells a test of itself would start build scripts again that listen to it.
    let told = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_") && !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&&*name)
    });
    for name in told {
        build.env_remove(name);
    }
    output(build.current_dir(env!("CARGO_MANIFEST_DIR")));
    let wheel =
        std::fs::read_dir(folder.join("dist")).expect("a folder").next().expect("a wheel").expect("readable").path();
    let own = folder.join("venv");
    output(interpreter().args(["-m", "venv"]).arg(&own));
    let [program, python] = ["dmad", "python"].map(|name| own.join("bin").join(name));
    output(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-index"]).arg(wheel));
    [program, python]
}

/// The Python of docs/python.md.
fn shown() -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/python.md")).expect("a page");
    page.split("```python\n").skip(1).map(|rest| rest.split("```").next().expect("an end").to_string()).collect()
}

#[test]
#[cfg_attr(
    not(dmad_trackers),
    ignore = "needs Python with maturin, polars and pandas in target/trackers, or DMAD_PYTHON"
)]
fn seeds_that_python_counts_are_those_that_have_a_value() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    let image = "data/parts/disc/train/good/000.png";
    let bytes = std::fs::read(sandbox.path(image)).expect("a picture");
    sandbox.write(image, &bytes[..bytes.len() / 2]);
    sandbox.dmad(&["run", "experiment.toml", "--seeds", "1"]).says(1, &["1 failed"]);
    let told = output(interpreter().args(["-c", &shown()[0]]).current_dir(sandbox.path(".")));
    let row = told.lines().find(|line| line.contains("full")).unwrap_or_else(|| panic!("{told}"));
    assert_eq!(row.split('┆').nth(3).map(str::trim), Some("1"), "{told}");
}

#[test]
#[cfg_attr(
    not(dmad_trackers),
    ignore = "needs Python with maturin, polars and pandas in target/trackers, or DMAD_PYTHON"
)]
fn a_wheel_installs_the_program_which_runs_a_study_that_python_reads() {
    let sandbox = Sandbox::new();
    let [program, python] = installed(&sandbox.path("wheel"));
    let version = output(Command::new(env!("CARGO_BIN_EXE_dmad")).arg("--version"));
    assert_eq!(output(Command::new(&program).arg("--version")), version);
    assert_eq!(output(Command::new(&python).args(["-m", "dmad", "--version"])), version);
    // The exit code is the program's as well.
    let refused = Command::new(&python).args(["-m", "dmad", "plan", "absent.toml"]).output().expect("Python starts");
    assert_eq!(refused.status.code(), Some(2));
    let run = output(
        Command::new(&program).args(["run", "experiment.toml", "--data", "data"]).current_dir(sandbox.path(".")),
    );
    assert!(run.contains("image_auroc"), "{run}");

    let blocks = shown();
    assert_eq!(blocks.len(), 2);
    for (block, words) in blocks.into_iter().zip([["full", "seeds"], ["wrong", "disc"]]) {
        let shown = output(interpreter().args(["-c", &block]).current_dir(sandbox.path(".")));
        assert!(words.iter().all(|word| shown.contains(word)), "{block}\n{shown}");
    }
}
