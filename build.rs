//! Records what the program is built from, and whether the reference data for its tests is at hand.
//!
//! Sets `DMAD_GIT_REVISION` ("unknown" without git, or outside a checkout of this package) and `DMAD_GIT_DIRTY`, and the
//! cfgs `dmad_references`, `dmad_latex` and `dmad_browser`, without which tests against datasets, published weights and oracles,
//! of the paper's document, and of what a click on the page does, are ignored.

use std::process::Command;

/// What the program is made of. Results and notes dirty a tree by themselves, and an experiment, which every record quotes
/// in full, should not have to wait for the compiler.
const SOURCES: [&str; 9] = [
    "build.rs",
    "src",
    "assets",
    "paper/published.csv",
    "paper/second_sources.csv",
    "paper/statements.toml",
    "datasets.toml",
    "Cargo.toml",
    "Cargo.lock",
];
/// Folders of the datasets, the weights and the oracles.
const REFERENCES: [&str; 3] = ["DMAD_DATA", "DMAD_WEIGHTS", "DMAD_ORACLES"];

fn main() {
    SOURCES.iter().for_each(|path| rerun_if_changed(path));
    let (revision, dirty) = revision().unwrap_or_else(|| ("unknown".into(), true));
    println!("cargo::rustc-env=DMAD_GIT_REVISION={revision}");
    println!("cargo::rustc-env=DMAD_GIT_DIRTY={dirty}");
    references();
}

/// The checked-out commit, and whether the sources differ from it.
fn revision() -> Option<(String, bool)> {
    // In a folder of some other repository its commits say nothing about this package.
    git(&["rev-parse", "--show-prefix"]).filter(String::is_empty)?;
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let files = ["HEAD", "index", "packed-refs", "logs/HEAD"];
    for file in files.into_iter().chain(branch.as_deref()) {
        rerun_if_changed(&git(&["rev-parse", "--git-path", file])?);
    }
    // Without optional locks `status` does not rewrite the index, which would start this script again.
    let status = git(&[&["--no-optional-locks", "status", "--porcelain", "--"], &SOURCES[..]].concat());
    Some((git(&["rev-parse", "HEAD"])?, status.is_none_or(|changes| !changes.is_empty())))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// A path that is not there would start this script at every build.
fn rerun_if_changed(path: &str) {
    if std::path::Path::new(path).exists() {
        println!("cargo::rerun-if-changed={path}");
    }
}

/// On CI a missing reference is a failure, elsewhere an ignored test.
fn references() {
    for variable in REFERENCES.iter().chain(&["CI"]) {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let set = |variable: &&str| std::env::var_os(variable).is_some();
    let demanded = std::env::var("CI").is_ok_and(|value| value == "true");
    println!("cargo::rustc-check-cfg=cfg(dmad_references, dmad_latex, dmad_browser)");
    if demanded || REFERENCES.iter().all(set) {
        println!("cargo::rustc-cfg=dmad_references");
    }
    let starts = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
    for (program, name) in [("pdflatex", "dmad_latex"), ("chromium", "dmad_browser")] {
        if demanded || starts(program) {
            println!("cargo::rustc-cfg={name}");
        }
    }
}
