//! What it costs to hand work out: tiny stages by one process and by sixty-four on one store.
//!
//! `cargo bench --bench tasks`. The overhead of a stage is what is left of a study's time, or of all processes' processor
//! time, when the work inside of the stages and the processes' own start and end are taken out: the latter are those of the
//! same command once everything is up to date.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

const TASKS: usize = 64;
const RUNS: usize = 24;
/// What a stage may cost more than its work.
const LIMIT_MILLISECONDS: f64 = 20.0;

const DATASETS: &str = "[dataset.tiny]\nlayout = \"synthetic\"\nclasses = [\"tile\", \"wood\"]\nseed = 0\nside = 64\n\
                        train = 4\ntest_good = 2\ntest_per_defect = 2\n";

fn study() -> String {
    let seeds: Vec<String> = (0..RUNS).map(|seed| seed.to_string()).collect();
    format!(
        "title = \"Tiny stages\"\ndataset = \"tiny\"\nseeds = [{}]\nimage.size = 64\nevaluation.size = 64\n\
         backbone = {{ name = \"efficientnet_lite0\", layers = [], weights = \"imagenet\" }}\n\
         features = {{ aggregation = \"patchcore\", dim = 24 }}\n\
         method = {{ name = \"patchcore\", bank.normal = {{ ratio = 0.1, projection = 0 }} }}\n",
        seeds.join(", ")
    )
}

/// Processor seconds of all children that have ended.
fn processor_seconds() -> f64 {
    // SAFETY: getrusage fills the structure that it is given, for which all zeros are a value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + 1e-6 * time.tv_usec as f64;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Wall and processor seconds of so many processes that do the study in `folder` together.
fn run(folder: &Path, tasks: usize) -> [f64; 2] {
    let (began, before) = (Instant::now(), processor_seconds());
    let start = |task: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmad"));
        command.args(["run", "study.toml", "--jobs", "1", "--no-gallery", "-q", "--profile"]);
        command.arg(format!("trace{task}")).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program starts")
    };
    let processes: Vec<_> = (0..tasks).map(start).collect();
    for mut process in processes {
        assert!(process.wait().expect("it ends").success());
    }
    [began.elapsed().as_secs_f64(), processor_seconds() - before]
}

/// Stages in the trace of the only process, and the seconds inside of them.
fn stages(folder: &Path) -> (usize, f64) {
    let text = std::fs::read_to_string(folder.join("trace0")).expect("a trace");
    let whole = format!("{}]", text.trim_end().trim_end_matches(']').trim_end().trim_end_matches(','));
    let events: Vec<serde_json::Value> = serde_json::from_str(&whole).expect("a trace");
    // A stage says its key, a step of one and a run do not.
    let spans = events.iter().filter(|event| !event["args"]["key"].is_null());
    let seconds: Vec<f64> = spans.filter_map(|event| event["dur"].as_f64()).map(|micros| 1e-6 * micros).collect();
    (seconds.len(), seconds.iter().sum())
}

fn main() -> ExitCode {
    let made = |tasks: usize| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("study.toml"), study()).expect("written");
        std::fs::write(folder.path().join("datasets.toml"), DATASETS).expect("written");
        let [first, again] = [(); 2].map(|()| {
            let took = run(folder.path(), tasks);
            (took, stages(folder.path()))
        });
        (first, again.0)
    };
    let ((first, (count, inside)), again) = made(1);
    let (many, many_again) = made(TASKS);
    let own = 1000.0 * (first[0] - again[0] - inside) / count as f64;
    let work = first[1] - again[1];
    let shared = 1000.0 * (many.0[1] - many_again[1] - work) / count as f64;
    println!("{count} stages of {RUNS} runs, {:.2} ms of work in each", 1000.0 * inside / count as f64);
    println!(
        "| processes | wall s | processor s | the same once up to date, wall s | processor s | overhead per stage, ms |"
    );
    println!("|---|---|---|---|---|---|");
    for (tasks, [wall, cpu], [wall_again, cpu_again], overhead) in
        [(1, first, again, own), (TASKS, many.0, many_again, shared)]
    {
        println!("| {tasks} | {wall:.2} | {cpu:.2} | {wall_again:.2} | {cpu_again:.2} | {overhead:.1} |");
    }
    if own.max(shared) > LIMIT_MILLISECONDS { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
