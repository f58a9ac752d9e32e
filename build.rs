//! Records what the program is built from, and whether the reference data for its tests is at hand.
//!
//! Sets `DMAD_GIT_REVISION` ("unknown" without git, or outside a checkout of this package) and `DMAD_GIT_DIRTY`, and the
//! cfgs `dmad_references`, `dmad_latex`, `dmad_browser`, `dmad_slurm`, `dmad_trackers` and `dmad_libdevice`, without which tests against
//! datasets, published weights and oracles, of the paper's document, of what a click on the page does, of Slurm, of the wheel and against
//! the real TensorBoard and MLflow, and of CUDA without a card, are ignored.

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
    println!(
        "cargo::rustc-check-cfg=cfg(dmad_references, dmad_latex, dmad_browser, dmad_slurm, dmad_trackers, dmad_libdevice)"
    );
    if demanded || REFERENCES.iter().all(set) {
        println!("cargo::rustc-cfg=dmad_references");
    }
    let programs = [
        ("pdflatex", "--version", "dmad_latex"),
        ("chromium", "--version", "dmad_browser"),
        ("slurmctld", "-V", "dmad_slurm"),
    ];
    for (program, version, name) in programs {
        if demanded || Command::new(program).arg(version).output().is_ok_and(|out| out.status.success()) {
            println!("cargo::rustc-cfg={name}");
        }
    }
    const TRACKERS: &str = "'tensorboard', 'mlflow', 'maturin', 'polars', 'pandas'";
    for (modules, name) in [(TRACKERS, "dmad_trackers"), ("'nvidia.cuda_nvcc',", "dmad_libdevice")] {
        if demanded || has_modules(modules) {
            println!("cargo::rustc-cfg={name}");
        }
    }
}

/// Whether the Python that tests would use has these: that of `DMAD_PYTHON`, else of the README's folder, else the system's.
fn has_modules(modules: &str) -> bool {
    const OWN: &str = "target/trackers/bin/python";
    println!("cargo::rerun-if-env-changed=DMAD_PYTHON");
    rerun_if_changed(OWN);
    let other = if std::path::Path::new(OWN).is_file() { OWN } else { "python3" };
    let python = std::env::var("DMAD_PYTHON").unwrap_or_else(|_| other.into());
    let find = format!("import importlib.util as i, sys; sys.exit(not all(map(i.find_spec, ({modules}))))");
    Command::new(python).args(["-c", &find]).output().is_ok_and(|out| out.status.success())
}
