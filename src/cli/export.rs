//! `dmad export`: recorded runs for other programs.
//!
//! Owns: the command line and which runs are meant. Does not own: what is told of a run, and how (`export`).

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Common;
use super::choice::Overrides;
use super::predict::{Chosen, scratch_in};
use crate::console::say;
use crate::error::{Error, Result};
use crate::export::mlflow::{Delivered, Server};
use crate::export::{self, Told, csv, mlflow, tensorboard};
use crate::run::{self, Model};
use crate::{record, report};

/// Hand recorded runs to other programs.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "\
Examples:
  dmad export csv results/quickstart --out tables
  dmad export tensorboard experiments/quickstart.toml --out logs       then: tensorboard --logdir logs
  dmad export mlflow 3f2a91c0de77 --url http://localhost:5000
  dmad export mlflow --spool                                          what could not be sent before
  dmad export model 3f2a91c0de77 --out screws                         then: dmad predict --model screws PHOTOS --out found
All are told settings, tags with the run's id, losses and metrics by epoch, final metrics (in [0, 1]) and figures; a run that
failed is told as failed, a metric that is undefined is left out.")]
pub(super) enum ExportCommand {
    /// Tables: runs.csv, parameters.csv, epochs.csv, metrics.csv, and the figures.
    Csv(Files),
    /// Event files for TensorBoard: OUT/EXPERIMENT/RUN.
    Tensorboard(Files),
    /// A run's model, which scores images where neither its dataset nor its weights nor a store are.
    Model(ModelArgs),
    /// Send to an MLflow tracking server; what was sent before from the same record is not sent again.
    Mlflow(Mlflow),
}

/// Which runs.
#[derive(clap::Args, Debug)]
pub(super) struct Files {
    /// Experiment files, folders below results/, ids of runs (or their beginning, or EXPERIMENT/ID)
    #[arg(required = true, value_name = "RUNS")]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Folder to write into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Which run, and where to.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad export model 3f2a91c0de77 --out screws
  dmad predict --model screws photos --out found          on any machine that has this program

Writes banks or parameters, the backbone's weights unless they are inside the program, and the record, from which thresholds and
colours are taken; of the datasets names and digests of images, no image. Before the folder appears, the model is applied to a
test image and must give the recorded score.")]
pub(super) struct ModelArgs {
    /// Id of the run (`dmad runs list`), its beginning, or EXPERIMENT/ID
    #[arg(value_name = "RUN")]
    run: String,
    /// Folder to write; it must be new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Which runs, to which server.
#[derive(clap::Args, Debug)]
pub(super) struct Mlflow {
    /// Experiment files, folders below results/, ids of runs (or their beginning, or EXPERIMENT/ID)
    #[arg(required_unless_present = "spool", value_name = "RUNS")]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Address of the server [default: $MLFLOW_TRACKING_URI, else http://127.0.0.1:5000]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Send what waits because the server was away
    #[arg(long)]
    spool: bool,
    /// Folder where runs wait for a server that is away [default: RESULTS/mlflow-spool]
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
}

/// False when something waits for a server that is away.
pub(super) fn run(command: &ExportCommand, common: &Common, as_json: bool) -> Result<bool> {
    match command {
        ExportCommand::Csv(files) => write(files, common, as_json, csv::write).map(|()| true),
        ExportCommand::Tensorboard(files) => write(files, common, as_json, tensorboard::write).map(|()| true),
        ExportCommand::Model(args) => model(args, common, as_json).map(|()| true),
        ExportCommand::Mlflow(args) => send(args, common, as_json),
    }
}

/// Writes a model beside its folder, tries it, and puts it in its place.
fn model(args: &ModelArgs, common: &Common, as_json: bool) -> Result<()> {
    let (chosen, out) = (Chosen::find(&args.run, &common.results)?, &args.out);
    super::is_new(out)?;
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (made, scratch) = (scratch_in(parent)?, scratch_in(parent)?);
    let session = chosen.own_session(common)?;
    let request = chosen.request(None, &[]);
    let bytes = run::export_model(&session, &request, (&chosen.folder, &chosen.recorded), made.path())?;
    let checked = {
        let model = Model::open(made.path())?.session(common.resources(), scratch.path(), common.progress()?)?;
        run::check_model(&session, &model, &request, &chosen.recorded)?
    };
    if out.exists() {
        std::fs::remove_dir(out).map_err(Error::io("replace", out))?;
    }
    std::fs::rename(made.path(), out).map_err(Error::io("write", out))?;
    let (id, shown) = (&chosen.run.spec.id, out.display());
    super::print(&match as_json {
        true => json!({ "run": id, "folder": out, "bytes": bytes, "checked": checked }).to_string(),
        false => format!(
            "wrote {shown} ({:.1} MB): the model of run {id}, which {}\n\
             next: dmad predict --model {} IMAGES --out found",
            bytes as f64 / 1e6,
            match checked {
                0 => "has no test image to be tried on".into(),
                count => format!("scores {count} of its test images as recorded"),
            },
            super::quoted(&out.to_string_lossy())
        ),
    })
}

/// What is told of the runs that are meant, each once.
fn told(runs: &[PathBuf], overrides: &Overrides, common: &Common) -> Result<Vec<Told>> {
    let mut all: Vec<Told> = Vec::new();
    for target in runs {
        let recorded = match target.exists() {
            true => super::report::read(target, overrides, common)?,
            false => record::find_run(&common.results, &target.to_string_lossy(), &report::kinds())?,
        };
        for told in export::tell(&recorded)? {
            if !all.iter().any(|known| (&known.experiment, &known.run) == (&told.experiment, &told.run)) {
                all.push(told);
            }
        }
    }
    Ok(all)
}

fn write(files: &Files, common: &Common, as_json: bool, to: fn(&[Told], &Path) -> Result<Vec<PathBuf>>) -> Result<()> {
    let told = told(&files.runs, &files.overrides, common)?;
    let written: Vec<String> = to(&told, &files.out)?.iter().map(|path| path.display().to_string()).collect();
    match as_json {
        true => super::print(&json!({ "runs": told.len(), "files": written }).to_string()),
        false => super::print(&format!("{}\n{} runs", written.join("\n"), told.len())),
    }
}

fn send(args: &Mlflow, common: &Common, as_json: bool) -> Result<bool> {
    let variable = std::env::var("MLFLOW_TRACKING_URI").ok().filter(|url| url.starts_with("http"));
    let url = args.url.clone().or(variable).unwrap_or_else(|| "http://127.0.0.1:5000".into());
    if !url.starts_with("http") {
        return Err(Error::usage(format!("`{url}` is no address of a server"), "write it as http://HOST:PORT"));
    }
    let (server, spool) = (Server::new(&url), spool(args, common));
    let mut runs: Vec<(Option<PathBuf>, Told)> = Vec::new();
    if args.spool {
        runs.extend(mlflow::kept(&spool)?.into_iter().map(|(path, told)| (Some(path), told)));
    }
    runs.extend(told(&args.runs, &args.overrides, common)?.into_iter().map(|told| (None, told)));
    let Delivered { new, there, waiting } = mlflow::deliver(&server, &spool, &runs, |note| say!("{note}"))?;
    super::print(&match as_json {
        true => json!({ "url": url, "sent": new, "there": there, "waiting": waiting }).to_string(),
        false => format!("{new} runs sent to {url}, {there} were there, {waiting} wait"),
    })?;
    Ok(waiting == 0)
}

fn spool(args: &Mlflow, common: &Common) -> PathBuf {
    args.spool_dir.clone().unwrap_or_else(|| common.results.join(mlflow::SPOOL))
}
