//! How long the program takes to look at many recorded runs, and what more of them cost.
//!
//! `cargo bench --bench records` (some minutes; `-- 100 1000` for other numbers of runs). Records are made through the
//! program's own types, with made-up scores of one class of ten images; each run has four artifacts in the store. Making
//! them takes longer than looking: `-- --in FOLDER` makes them below a folder, keeps them, and takes those that are there.

#[allow(dead_code)]
#[path = "../tests/it/fixture.rs"]
mod fixture;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use dmad::store::{Spent, Store, TensorDecl};

/// Numbers of runs where none are named.
const COUNTS: [usize; 3] = [100, 1_000, 10_000];
/// What a person waits for without doing something else.
const LIMIT_SECONDS: f64 = 2.0;
const ARTIFACTS_PER_RUN: usize = 4;

fn study(runs: usize) -> String {
    let seeds: Vec<String> = (0..runs).map(|seed| seed.to_string()).collect();
    format!(
        "title = \"Many runs\"\ndataset = \"synthetic\"\nclasses = [\"wood\"]\nseeds = [{}]\nmetrics = [\"image_auroc\"]\n\
         image.size = 64\nbackbone = {{ name = \"efficientnet_lite0\", layers = [\"stride8\"], weights = \"imagenet\" }}\n\
         features.aggregation = \"concat\"\nmethod = {{ name = \"patchcore\", bank.normal = {{ ratio = 0.01, projection = 0 }} }}\n",
        seeds.join(", ")
    )
}

fn artifacts(store: &Path, runs: usize) {
    let store = Store::open(store).expect("a store");
    for number in 0..runs * ARTIFACTS_PER_RUN {
        let key = blake3::hash(&number.to_le_bytes()).to_hex()[..32].to_string();
        let mut writer = store.create("scores", &key, vec![TensorDecl::f32("scores", &[1])]).expect("a writer");
        writer.f32(&[0.5]).expect("written");
        writer.finish(serde_json::Value::Null, &Spent::default()).expect("written");
    }
}

fn seconds(folder: &Path, arguments: &[&str]) -> f64 {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmad"));
    let status = command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let code = status.expect("the program starts").code();
    assert!(matches!(code, Some(0 | 1)), "{arguments:?}: {code:?}");
    began.elapsed().as_secs_f64()
}

/// Makes records and artifacts of so many runs in `folder`, unless they are there.
fn make(folder: &Path, runs: usize) {
    let whole = folder.join("whole");
    if whole.is_file() {
        return;
    }
    std::fs::create_dir_all(folder).expect("a folder");
    let file = folder.join("study.toml");
    std::fs::write(&file, study(runs)).expect("written");
    fixture::make_of(&folder.join("results"), &file, &[("wood", 6, 4, 0.9, 0.9)]);
    artifacts(&folder.join(".dmad-store"), runs);
    std::fs::write(whole, "").expect("written");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let named: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let kept = arguments.iter().position(|argument| argument == "--in").map(|at| PathBuf::from(&arguments[at + 1]));
    let counts = if named.is_empty() { COUNTS.to_vec() } else { named };
    let commands: [(&str, &[&str]); 6] = [
        ("status", &["status", "study.toml"]),
        ("runs list", &["runs", "list"]),
        ("plan", &["plan", "study.toml"]),
        ("report", &["report", "study.toml"]),
        ("store size", &["store", "size"]),
        ("store gc", &["store", "gc"]),
    ];
    println!("| runs | {} |", commands.map(|(name, _)| format!("{name}, s")).join(" | "));
    println!("|---|{}", "---|".repeat(commands.len()));
    let mut slow = false;
    for runs in counts {
        let own = tempfile::tempdir().expect("a folder");
        let folder = kept.as_deref().unwrap_or(own.path()).join(runs.to_string());
        make(&folder, runs);
        let took = commands.map(|(_, arguments)| seconds(&folder, arguments));
        slow |= took.iter().any(|seconds| *seconds > LIMIT_SECONDS);
        println!("| {runs} | {} |", took.map(|seconds| format!("{seconds:.2}")).join(" | "));
    }
    if slow { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
