//! `status.json`: how far the processes are that are at an experiment, for whoever looks on.
//!
//! Owns: the form of the file, reading and writing it, and telling a process that was killed from one that works. Does not
//! own: keeping it true (`run::live`). It is no part of any record: it may be missing, old or of another format, and then
//! nothing is known.
//!
//! Beside it lies `live.js`, the same as a call that a page can load from a folder, where scripts may read no other file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::Result;
use crate::store::{remove_if_there, write_atomically};

/// Version of the file; another one is not read.
pub const STATUS_FORMAT: u32 = 1;

/// After so many seconds without a word a process counts as lost. It gives one every few seconds.
pub const LOST_SECONDS: f64 = 60.0;

const FILE: &str = "status.json";
const SCRIPT: &str = "live.js";

/// Everything in the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`STATUS_FORMAT`].
    pub format: u32,
    /// Name of the experiment.
    pub experiment: String,
    /// When `report.html` was last made by one of the processes, in milliseconds since 1970; 0 = not yet.
    pub page: u64,
    /// The processes that are at the experiment, or were last at it, in the order in which they began.
    pub processes: Vec<ProcessStatus>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its number on its machine.
    pub pid: u32,
    /// Name of the machine.
    pub host: String,
    /// The arguments it was called with.
    pub command: String,
    /// When it began, as in 2026-03-01T09:30:00Z.
    pub started: String,
    /// When it last gave a word, in the same form.
    pub heartbeat: String,
    /// What it says of itself.
    pub state: ProcessState,
    /// What has become of the runs it was asked for.
    pub runs: RunCounts,
    /// Seconds it expects to need still; null where nothing is expected.
    pub seconds_left: Option<f64>,
    /// What its workers are at.
    pub stages: Vec<StageStatus>,
    /// Runs that failed.
    pub failures: Vec<FailureStatus>,
}

/// What a process says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It works; where the heartbeat is old it was killed.
    #[default]
    Running,
    /// Every run has ended, some of them perhaps with a failure.
    Finished,
    /// It ended before every run had: a first failure with `--fail-fast`, a full disk.
    Stopped,
}

/// What has become of runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// All that were asked for.
    pub total: usize,
    /// Recorded by this process.
    pub done: usize,
    /// Recorded before, or by another process.
    pub current: usize,
    /// Recorded as failed.
    pub failed: usize,
    /// Not ended yet.
    pub left: usize,
}

/// What a worker is at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// What its run is called.
    pub run: String,
    /// What the stage is called.
    pub stage: String,
    /// Steps done, of how many; 0 of 0 where a stage does not say.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

/// A run that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailureStatus {
    /// Its id.
    pub run: String,
    /// Why.
    pub message: String,
}

/// How a process stands, seen from here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It works.
    Alive,
    /// It has ended and says so.
    Over,
    /// It says that it works, and has not been heard of or is no more: it was killed.
    Lost,
}

impl ProcessStatus {
    /// This process, beginning now.
    pub fn own() -> Self {
        let now = clock::date();
        ProcessStatus {
            pid: std::process::id(),
            host: clock::host(),
            command: clock::command(),
            started: now.clone(),
            heartbeat: now,
            ..ProcessStatus::default()
        }
    }

    /// Whether it lives.
    pub fn life(&self) -> Life {
        let silent = clock::seconds_since(&self.heartbeat).unwrap_or(f64::INFINITY);
        match self.state {
            ProcessState::Finished | ProcessState::Stopped => Life::Over,
            ProcessState::Running if silent > LOST_SECONDS => Life::Lost,
            ProcessState::Running if self.host == clock::host() && !clock::is_running(self.pid) => Life::Lost,
            ProcessState::Running => Life::Alive,
        }
    }

    /// Whether `other` is the same process.
    pub fn is(&self, other: &ProcessStatus) -> bool {
        (self.pid, &self.host, &self.started) == (other.pid, &other.host, &other.started)
    }
}

impl Status {
    /// Whether somebody is at work.
    pub fn is_live(&self) -> bool {
        self.processes.iter().any(|process| process.life() == Life::Alive)
    }

    /// Puts in what a process says of itself now. Others that work stay; those that are over or lost make room.
    pub fn update(&mut self, own: &ProcessStatus) {
        match self.processes.iter_mut().find(|process| process.is(own)) {
            Some(known) => *known = own.clone(),
            None => self.processes.push(own.clone()),
        }
        self.processes.retain(|process| process.is(own) || process.life() == Life::Alive);
    }
}

/// What the file in an experiment's folder says; `None` where there is none that can be read.
pub fn read_status(folder: &Path) -> Option<Status> {
    let text = std::fs::read_to_string(folder.join(FILE)).ok()?;
    serde_json::from_str(&text).ok().filter(|status: &Status| status.format == STATUS_FORMAT)
}

/// Replaces the file in one step, and the one for pages while somebody is at work.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_status(folder: &Path, status: &Status) -> Result<()> {
    let own = Status { format: STATUS_FORMAT, ..status.clone() };
    let json = serde_json::to_string_pretty(&own).unwrap_or_else(|fault| unreachable!("plain data: {fault}"));
    write_atomically(&folder.join(FILE), format!("{json}\n").as_bytes())?;
    if own.is_live() || script(folder).is_file() {
        write_atomically(&script(folder), format!("dmadLive({json});\n").as_bytes())?;
    }
    Ok(())
}

/// Removes the file for pages: nobody is at work any more, and the page says everything.
///
/// # Errors
/// One that cannot be removed.
pub fn end_live(folder: &Path) -> Result<()> {
    remove_if_there(&script(folder))
}

fn script(folder: &Path) -> PathBuf {
    folder.join(SCRIPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_killed_is_told_from_one_that_works_and_one_that_has_ended() {
        let own = ProcessStatus::own();
        assert_eq!(own.life(), Life::Alive);
        // As many as a machine can have.
        let gone = ProcessStatus { pid: 0x7fff_fff0, ..own.clone() };
        assert_eq!(gone.life(), Life::Lost);
        let elsewhere = ProcessStatus { host: "elsewhere".into(), ..gone.clone() };
        assert_eq!(elsewhere.life(), Life::Alive, "nobody knows the processes of another machine");
        let silent = ProcessStatus { heartbeat: "2026-01-01T00:00:00Z".into(), ..elsewhere.clone() };
        assert_eq!(silent.life(), Life::Lost);
        let ended = ProcessStatus { state: ProcessState::Finished, ..silent.clone() };
        assert_eq!(ended.life(), Life::Over);
        let unclear = ProcessStatus { heartbeat: "yesterday".into(), ..elsewhere.clone() };
        assert_eq!(unclear.life(), Life::Lost);
        let mut status = Status { processes: vec![gone, elsewhere.clone(), silent, ended], ..Status::default() };
        status.update(&own);
        status.update(&own);
        assert_eq!(status.processes, [elsewhere, own]);
    }

    #[test]
    fn a_status_is_read_as_it_was_written_and_what_is_none_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read_status(folder.path()), None);
        let mut status = Status { format: STATUS_FORMAT, experiment: "one".into(), page: 7, ..Status::default() };
        status.update(&ProcessStatus { seconds_left: Some(1.5), ..ProcessStatus::own() });
        write_status(folder.path(), &status).expect("written");
        assert_eq!(read_status(folder.path()).as_ref(), Some(&status));
        let script = std::fs::read_to_string(script(folder.path())).expect("a script");
        assert!(script.starts_with("dmadLive({") && script.ends_with("});\n"), "{script}");
        end_live(folder.path()).expect("removed");
        end_live(folder.path()).expect("nothing to remove");
        std::fs::write(folder.path().join(FILE), "{\"format\": 99}").expect("written");
        assert_eq!(read_status(folder.path()), None);
    }
}
