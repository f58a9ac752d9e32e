//! `dmad status`: how far the processes at experiments are, on whatever machines.
//!
//! Owns: what is said. Does not own: what processes say of themselves (`record::status`).

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::Common;
use super::choice::Overrides;
use crate::console::duration;
use crate::error::Result;
use crate::record::{self, Life, ProcessStatus, RunFolder, Status};
use crate::{report, spec};

/// Show what is being computed by whom, since when and how far, what failed, what is left, and when it will end.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad status                                   all experiments below results/
  dmad status experiments/real/mini.toml
  dmad status experiments/paper/*.toml --watch
Processes give a word every few seconds; one that was silent for a minute, or is gone from this machine, counts as lost.")]
pub struct Args {
    /// Experiment files [default: everything below --results]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Look again every two seconds, until nobody is at work
    #[arg(long)]
    watch: bool,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// Failures that are shown of an experiment.
const SHOWN: usize = 5;

/// An experiment as it stands.
struct Standing {
    name: String,
    runs: usize,
    recorded: usize,
    /// Run and message.
    failed: Vec<(String, String)>,
    status: Status,
}

/// True when every run is recorded and none failed.
pub fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let files = match args.files.is_empty() {
        // What an experiment leaves in its folder declares its runs as well.
        true => record::experiments(&common.results)?.iter().map(|folder| folder.join("experiment.toml")).collect(),
        false => args.files.clone(),
    };
    loop {
        let standings =
            files.iter().map(|file| standing(file, &args.overrides, common)).collect::<Result<Vec<Standing>>>()?;
        if args.watch && !json && terminal_size::terminal_size().is_some() {
            // From the top of an empty screen. Nothing that comes from a file is a part of this.
            print!("\u{1b}[2J\u{1b}[H");
        }
        super::print(&if json {
            serde_json::Value::from(standings.iter().map(Standing::json).collect::<Vec<_>>()).to_string()
        } else {
            standings.iter().map(Standing::text).collect::<Vec<_>>().join("\n")
        })?;
        if !args.watch || !standings.iter().any(|standing| standing.status.is_live()) {
            return Ok(standings.iter().all(|standing| standing.failed.is_empty() && standing.left() == 0));
        }
        std::thread::sleep(PAUSE);
    }
}

fn standing(file: &Path, overrides: &Overrides, common: &Common) -> Result<Standing> {
    let experiment = spec::load_with(file, &report::kinds(), &[], &overrides.set)?;
    let folder = common.results.join(&experiment.name);
    let declared: HashSet<&str> = experiment.runs.iter().map(|run| run.spec.id.as_str()).collect();
    let there: Vec<String> = record::run_ids(&folder).into_iter().filter(|id| declared.contains(id.as_str())).collect();
    let failure = |id: &String| Some((id.clone(), RunFolder::new(&folder, id).failure()?));
    let failed: Vec<(String, String)> = there.iter().filter_map(failure).collect();
    let status = record::read_status(&folder).unwrap_or_default();
    let recorded = there.len() - failed.len();
    Ok(Standing { name: experiment.name, runs: declared.len(), recorded, failed, status })
}

impl Standing {
    fn left(&self) -> usize {
        self.runs - self.recorded - self.failed.len()
    }

    /// Those at work.
    fn alive(&self) -> Vec<&ProcessStatus> {
        self.status.processes.iter().filter(|process| process.life() == Life::Alive).collect()
    }

    /// What is left, shared out among those at work: each expects to do it all.
    fn seconds_left(&self) -> Option<f64> {
        let alive = self.alive();
        let most = alive
            .iter()
            .filter_map(|process| process.seconds_left)
            .fold(None, |most: Option<f64>, seconds| Some(most.map_or(seconds, |most| most.max(seconds))));
        most.map(|seconds| seconds / alive.len() as f64)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "experiment": self.name,
            "runs": self.runs,
            "recorded": self.recorded,
            "failed": self.failed.iter().map(|(run, message)| json!({ "run": run, "message": message })).collect::<Vec<_>>(),
            "left": self.left(),
            "seconds_left": self.seconds_left(),
            "processes": self.status.processes,
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {} of {} runs recorded", self.name, self.recorded, self.runs);
        if !self.failed.is_empty() {
            text += &format!(", {} failed", self.failed.len());
        }
        if self.left() > 0 {
            text += &format!(", {} left", self.left());
        }
        text += &match (self.alive().len(), self.seconds_left()) {
            (0, _) => String::from("; nobody is at work\n"),
            (_, Some(seconds)) => format!("; about {} left\n", duration(seconds)),
            _ => String::from("\n"),
        };
        self.status.processes.iter().for_each(|process| text += &line(process));
        for (run, message) in self.failed.iter().take(SHOWN) {
            text += &format!("  {run} failed: {message}\n");
        }
        if let Some(more @ 1..) = self.failed.len().checked_sub(SHOWN) {
            text += &format!("  and {more} more\n");
        }
        text.trim_end().into()
    }
}

/// A process, and below it what its workers are at.
fn line(process: &ProcessStatus) -> String {
    let ProcessStatus { host, pid, started, heartbeat, runs, .. } = process;
    let said = match process.life() {
        Life::Alive => format!("at work since {started}, {} runs done", runs.done),
        Life::Over => format!("ended at {heartbeat}, {} runs done", runs.done),
        Life::Lost => format!("lost: its last word was at {heartbeat}; another takes up what it left"),
    };
    let at = |stage: &record::StageStatus| {
        let far = if stage.total > 0 { format!(" ({}/{})", stage.done, stage.total) } else { String::new() };
        format!("    {} · {}{far}\n", stage.run, stage.stage)
    };
    let stages: String =
        if process.life() == Life::Alive { process.stages.iter().map(at).collect() } else { String::new() };
    format!("  {host} {pid}: {said}\n{stages}")
}
