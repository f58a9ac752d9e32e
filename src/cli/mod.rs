//! The command line: one file per command.
//!
//! Owns: options, exit codes, what is printed where (results to stdout, messages to stderr). Does not own: any work.
//!
//! Exit codes: 0 done; 1 some runs failed, a report could not be made or a check found something; 2 nothing could start;
//! 3 asked to end, and did at a safe place.

pub mod anomalies;
pub mod audit;
mod bases;
mod choice;
mod completions;
pub mod data;
mod devices;
mod export;
mod faults;
mod fetch;
mod init;
mod man;
pub mod metrics;
mod plan;
mod predict;
mod report;
mod run;
mod runs;
mod schema;
mod status;
mod store;
mod submission;
mod submit;
mod terminal;
pub mod verdict;
pub mod weights;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytesize::ByteSize;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::console::{self, insist, plain};
use crate::data::{Catalog, Image};
use crate::device::{DeviceKind, DeviceName, Precision};
use crate::error::{Error, Result};
use crate::run::{Progress, Resources, STOPPED};

/// Experiment tracking and benchmarks for industrial image anomaly detection.
#[derive(Parser, Debug)]
#[command(
    name = "dmad",
    version,
    propagate_version = true,
    after_help = "\
Examples:
  dmad run experiments/quickstart.toml          needs no download; a table in one to two minutes
  dmad run experiments/real/mini.toml --data /data --weights /weights
  dmad plan experiments/real/mini.toml          what that would do, and how long it would take
  dmad init photos/shelf                        an experiment for images of your own
  dmad report experiments/quickstart.toml       the tables again, from the records alone
  dmad data list                                which datasets are known, and which are here"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run experiments: train, evaluate, record, and print the tables.
    Run(run::Args),
    /// Write an experiment for a folder of images of your own, and its entry of datasets.toml.
    Init(init::Args),
    /// Show what a run would do: stages cached and to do, time, disk, memory, what is missing.
    Plan(plan::Args),
    /// Print tables and claims of recorded experiments, and write them with a page; no model is run.
    Report(report::Args),
    /// Hand experiments to a scheduler.
    #[command(subcommand)]
    Submit(submit::SubmitCommand),
    /// Show how far the processes at experiments are, on whatever machines.
    Status(status::Args),
    /// Find, inspect and compare recorded runs.
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// Hand recorded runs to other programs (CSV, TensorBoard, MLflow), or a run's model to another machine.
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Apply a recorded run to new images: scores and heat maps.
    Predict(predict::Args),
    /// Write the anomaly maps of a recorded run for the server that keeps a dataset's truth (MVTec AD 2).
    Submission(submission::Args),
    /// List, fetch, verify or synthesize datasets.
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Size, check or clean the store of cached artifacts.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// List, fetch or import backbone weights.
    #[command(subcommand)]
    Weights(weights::WeightsCommand),
    /// Metrics of any framework's score maps and masks (.npy).
    Metrics(metrics::Args),
    /// What recorded numbers say of the published ones.
    Verdict(verdict::Args),
    /// Whether a paper's printed numbers agree with each other.
    Audit(audit::Args),
    /// List the devices that can compute here.
    Devices,
    /// Print the keys of experiment files: as a JSON Schema for editors, or as a list.
    Schema(schema::Args),
    /// Print completions for a shell: bash, elvish, fish, powershell, zsh.
    Completions(completions::Args),
    /// Print or write the manual pages.
    Man(man::Args),
}

/// Where results and artifacts go when nothing else is said.
const RESULTS: &str = "results";
const STORE: &str = ".dmad-store";

/// Options of all commands.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of all commands")]
struct Common {
    /// Folder of the datasets [default: $DMAD_DATA, else ./data]
    #[arg(long, global = true, hide_short_help = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of the weights [default: $DMAD_WEIGHTS, else ./weights]
    #[arg(long, global = true, hide_short_help = true, value_name = "DIR")]
    weights: Option<PathBuf>,
    /// Folder of the results
    #[arg(long, global = true, hide_short_help = true, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// Folder of cached artifacts: features, banks, neighbours, models
    #[arg(long, global = true, hide_short_help = true, value_name = "DIR", default_value = STORE)]
    store: PathBuf,
    /// Catalog of datasets, beside those that are built in [default: ./datasets.toml, where it is there]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    datasets: Option<PathBuf>,
    /// What computes: cpu, cuda, wgpu, or cuda:1 for the second of several (`dmad devices` lists them)
    #[arg(long, global = true, hide_short_help = true, value_name = "DEVICE", default_value_t)]
    device: DeviceName,
    /// How exactly a GPU multiplies: tf32 is faster on NVIDIA's and leaves other numbers, which are kept apart
    #[arg(long, global = true, hide_short_help = true, value_enum, default_value_t)]
    precision: Precision,
    /// Memory of a GPU that may be used, such as 20GB; results do not depend on it [default: four fifths of what it has]
    #[arg(long, global = true, hide_short_help = true, value_name = "SIZE", value_parser = bytes)]
    device_memory: Option<u64>,
    /// Threads; results do not depend on it [default: all processors]
    #[arg(long, global = true, hide_short_help = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Memory for what grows with the data (features in flight, projections), such as 2GB; results do not depend on it
    /// [default: half of the machine's]
    #[arg(long, global = true, hide_short_help = true, value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,
    /// Compute everything by the plain twins of the fast kernels, on the CPU: slow; what is exact stays the same, what rounds
    /// differs by rounding, and is kept apart
    #[arg(long, global = true, hide_short_help = true)]
    naive: bool,
    /// Do not ask the file system for locks, where asking hangs or fails; processes may then compute the same stage twice
    #[arg(long, global = true, hide_short_help = true)]
    no_locks: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true, hide_short_help = true)]
    quiet: bool,
    /// How results are printed
    #[arg(long, global = true, hide_short_help = true, value_enum, default_value_t)]
    format: Format,
    /// Append what happens to this file, one JSON object a line
    #[arg(long, global = true, hide_short_help = true, hide = true, value_name = "FILE")]
    events: Option<PathBuf>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Common {
    fn resources(&self) -> Resources {
        Resources {
            data: self.data_root(),
            weights: self.weights_dir(),
            results: self.results.clone(),
            store: self.store.clone(),
            device: self.device,
            precision: self.precision,
            device_memory_bytes: self.device_memory,
            memory_bytes: self.memory.unwrap_or_else(crate::clock::default_memory_bytes),
            jobs: 1,
        }
    }

    /// Progress on standard error, and in the file of `--events`. A line that cannot be written is not worth a run.
    fn progress(&self) -> Result<Progress> {
        let progress = if self.quiet { Progress::silent() } else { Progress::default() };
        let Some(path) = &self.events else { return Ok(progress) };
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let file = opened.map_err(Error::io("write to", path))?;
        Ok(progress.heard_by(move |event| {
            let line = serde_json::to_string(event).unwrap_or_default() + "\n";
            drop((&file).write_all(line.as_bytes()));
        }))
    }

    /// The options that say where things are and what computes, as they were given and as a shell takes them.
    fn given(&self) -> String {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let other =
            |path: &PathBuf, default: &str| (path.as_os_str() != default).then(|| path.to_string_lossy().into());
        let device = (self.device != DeviceName::default()).then(|| self.device.to_string());
        let options = [
            ("data", self.data.as_ref().map(path)),
            ("weights", self.weights.as_ref().map(path)),
            ("results", other(&self.results, RESULTS)),
            ("store", other(&self.store, STORE)),
            ("datasets", self.datasets.as_ref().map(path)),
            ("device", device),
            ("precision", (self.precision != Precision::default()).then(|| self.precision.name().to_string())),
            ("device-memory", self.device_memory.map(|bytes| format!("{bytes}B"))),
            ("threads", self.threads.map(|threads| threads.to_string())),
            ("memory", self.memory.map(|bytes| format!("{bytes}B"))),
        ];
        let given = options.into_iter().filter_map(|(name, value)| Some(format!(" --{name} {}", quoted(&value?))));
        let flags = [("naive", self.naive), ("no-locks", self.no_locks)];
        given.chain(flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| format!(" --{name}"))).collect()
    }

    fn data_root(&self) -> PathBuf {
        folder(&self.data, "DMAD_DATA", "data")
    }

    fn weights_dir(&self) -> PathBuf {
        folder(&self.weights, "DMAD_WEIGHTS", "weights")
    }

    fn catalog(&self) -> Result<Catalog> {
        let local = PathBuf::from("datasets.toml");
        match &self.datasets {
            Some(path) => Catalog::load(Some(path)),
            None if local.is_file() => Catalog::load(Some(&local)),
            None => Catalog::load(None),
        }
    }
}

/// A size such as 512MB, 2GB or 1.5GiB; B, KB, MB, GB, TB are powers of 1000, KiB and so on of 1024.
fn bytes(text: &str) -> std::result::Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size >= ByteSize::mb(1) => Ok(size.as_u64()),
        Ok(_) => Err("at least 1MB is needed".into()),
        Err(_) => Err("a size is a number and a unit, such as 512MB or 2GB".into()),
    }
}

fn folder(given: &Option<PathBuf>, variable: &str, default: &str) -> PathBuf {
    given.clone().or_else(|| std::env::var_os(variable).map(PathBuf::from)).unwrap_or_else(|| default.into())
}

/// Refuses to write into a folder that holds something.
fn is_new(folder: &Path) -> Result<()> {
    match folder.exists() && std::fs::read_dir(folder).map_err(Error::io("list", folder))?.next().is_some() {
        true => Err(Error::usage(format!("{} is not empty", folder.display()), "name a new folder")),
        false => Ok(()),
    }
}

/// Reads a share in percent.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "a number from 0 to 100 is wanted".into())
}

/// Reads a score: "not a number" and infinity are parsed as numbers, and nothing is above them or everything.
fn score(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "a finite number is wanted".into())
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// A note on images that are used as they are stored, though they say that they are shown otherwise.
fn turned(images: &[&Image]) -> Option<String> {
    let first = images.first()?;
    let what = "say by their EXIF that they are shown turned, and are used as they are stored, as published codes do";
    Some(format!("{} images, such as {}, {what}; turn the files where that matters", images.len(), first.path))
}

/// Writes a result to standard output. A reader that has seen enough (`dmad schema | head`) is no fault.
fn print(text: &str) -> Result<()> {
    // What programs read stays as it is.
    let shown = if text.starts_with(['{', '[']) { console::printable(text) } else { plain(text) };
    match writeln!(std::io::stdout().lock(), "{shown}") {
        Err(fault) if fault.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("write to", "standard output")),
    }
}

/// What the command line takes, as data.
fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    crate::memory::keep_freed();
    crate::stop::outlive_limits();
    let cli = Cli::parse();
    if cli.common.quiet {
        console::hush();
    }
    if let Some(threads) = cli.common.threads
        && let Err(fault) = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()
    {
        insist!("error: cannot start {threads} threads: {fault}");
        return ExitCode::from(2);
    }
    if cli.common.precision != Precision::default() && cli.common.device.kind == DeviceKind::Cpu {
        insist!("error: --precision tf32 is for a GPU; the processor computes in f32\n  help: name one with --device");
        return ExitCode::from(2);
    }
    if cli.common.no_locks {
        crate::store::do_without_locks();
    }
    if cli.common.naive {
        if cli.common.device.kind != DeviceKind::Cpu {
            insist!("error: --naive is of the CPU, whose fast kernels have plain twins\n  help: leave --device out");
            return ExitCode::from(2);
        }
        crate::naive::choose();
    }
    match dispatch(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(fault) => {
            print_error(&fault);
            ExitCode::from(if matches!(fault, Error::Stopped) { STOPPED as u8 } else { 2 })
        }
    }
}

/// True when everything went well, false when something was found or failed on the way.
fn dispatch(cli: &Cli) -> Result<bool> {
    let (common, json) = (&cli.common, cli.common.format == Format::Json);
    match &cli.command {
        Command::Run(args) => run::run(args, common, json),
        Command::Init(args) => init::run(args, common, json).map(|()| true),
        Command::Plan(args) => plan::run(args, common, json),
        Command::Status(args) => status::run(args, common, json),
        Command::Submit(command) => submit::run(command, common).map(|()| true),
        Command::Store(command) => store::run(command, common, json),
        Command::Report(args) => report::run(args, common, json),
        Command::Runs(command) => runs::run(command, common, json),
        Command::Export(command) => export::run(command, common, json),
        Command::Predict(args) => predict::run(args, common, json),
        Command::Submission(args) => submission::run(args, common, json),
        Command::Data(command) => data::run(command, &common.catalog()?, &common.data_root(), json),
        Command::Weights(command) => weights::run(command, &common.weights_dir(), json).map(|()| true),
        Command::Metrics(args) => metrics::run(args, json).map(|()| true),
        Command::Verdict(args) => verdict::run(args, common, json),
        Command::Audit(args) => audit::run(args, json),
        Command::Devices => devices::run(json).map(|()| true),
        Command::Schema(args) => schema::run(args).map(|()| true),
        Command::Completions(args) => completions::run(args).map(|()| true),
        Command::Man(args) => man::run(args).map(|()| true),
    }
}

/// Error and help on stderr; faults of TOML files with the line they are on.
fn print_error(fault: &Error) {
    let told = |part: &Error| match part {
        Error::Spec(diagnostic) => diagnostic.render(),
        other => match other.help() {
            Some(help) => format!("{other}\n  help: {help}"),
            None => other.to_string(),
        },
    };
    for text in faults::once(fault.parts().iter().map(told)) {
        console::error(format_args!("error: {text}"));
    }
}
