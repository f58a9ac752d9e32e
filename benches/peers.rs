//! Serves this program's kernels to `benches/peers/compare.py`, which runs them in turns with those of other programs.
//!
//! `python3 benches/peers/compare.py` starts it. A line of input is a request in JSON: a kernel, its inputs (files, `.npy`
//! where they are arrays), its settings, and a folder for what it answers. The line that comes back has processor and wall
//! seconds of the kernel alone: start, reading and writing are not counted. Inputs stay loaded for as long as requests name
//! the same ones.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value as Json, json};

#[path = "peers/drawn.rs"]
mod drawn;
#[path = "../tests/it/generated_maps.rs"]
mod generated_maps;
#[path = "../tests/it/generator.rs"]
mod generator;
#[path = "peers/kernels.rs"]
mod kernels;
#[path = "peers/npy.rs"]
mod npy;

use npy::Array;

/// What a kernel is asked for.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Request {
    kernel: String,
    #[serde(default)]
    inputs: BTreeMap<String, PathBuf>,
    #[serde(default)]
    settings: Json,
    #[serde(default)]
    out: PathBuf,
}

impl Request {
    fn array(&self, name: &str) -> Array {
        Array::read(&self.inputs[name])
    }

    fn number(&self, name: &str) -> usize {
        self.settings[name].as_u64().unwrap_or_else(|| panic!("{} wants the number {name}", self.kernel)) as usize
    }

    fn word(&self, name: &str) -> &str {
        self.settings[name].as_str().unwrap_or_else(|| panic!("{} wants the word {name}", self.kernel))
    }
}

/// A kernel with its inputs loaded: each call does the work again.
pub type Kernel = Box<dyn FnMut() -> Vec<(&'static str, Array)>>;

/// User and system seconds of this process so far, all threads together.
fn processor_seconds() -> f64 {
    // SAFETY: getrusage fills the structure that it is given, for which all zeros are a value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// A line of this process's status, in MB; 0 where there is no such file.
fn status_mb(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|own| own.strip_prefix(line)?.strip_prefix(':'));
    let kib = found.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}

/// Runs a kernel and says what that took.
fn timed(kernel: &mut Kernel, out: &Path) -> Json {
    let _ = std::fs::write("/proc/self/clear_refs", "5"); // the peak starts anew
    let before = status_mb("VmRSS");
    let (clock, processor) = (Instant::now(), processor_seconds());
    let answers = kernel();
    let (wall, cpu) = (clock.elapsed().as_secs_f64(), processor_seconds() - processor);
    let peak = status_mb("VmHWM");
    let mut files = BTreeMap::new();
    if out != Path::new("") {
        std::fs::create_dir_all(out).expect("a folder for the answers");
        for (name, array) in answers {
            let path = out.join(format!("{name}.npy"));
            array.write(&path);
            files.insert(name, path);
        }
    }
    json!({ "cpu": cpu, "wall": wall, "peak_mb": peak, "before_mb": before, "out": files })
}

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS; // `cargo test --benches` only builds it
    }
    dmad::memory::keep_freed(); // as the program does
    let mut loaded: Option<(Request, Kernel)> = None;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let mut request: Request = serde_json::from_str(&line).unwrap_or_else(|fault| panic!("{fault}: {line}"));
        let answer = match request.kernel.as_str() {
            "hello" => json!({ "version": env!("CARGO_PKG_VERSION"), "program": env!("CARGO_BIN_EXE_dmad") }),
            name if name.starts_with("draw_") => drawn::draw(&request),
            _ => {
                let out = std::mem::take(&mut request.out);
                if loaded.as_ref().is_none_or(|(known, _)| *known != request) {
                    drop(loaded.take()); // before others are loaded
                    let kernel = kernels::prepare(&request);
                    loaded = Some((request, kernel));
                }
                timed(&mut loaded.as_mut().expect("just loaded").1, &out)
            }
        };
        println!("{answer}");
        std::io::stdout().flush().expect("somebody listens");
    }
    ExitCode::SUCCESS
}
