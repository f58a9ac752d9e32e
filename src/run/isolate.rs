//! A process for every run, so that one that dies (out of memory, a crash in a library) takes no other with it.
//!
//! Owns: starting such a process and saying how it ended. Does not own: what a run is.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::build;
use super::crew::Outcome;
use super::session::Session;
use crate::error::{Error, Result};
use crate::record::{RunFolder, Standing};
use crate::spec::Run;
use crate::stop;

/// As little memory as the program takes for an answer.
const LEAST_BYTES: u64 = 1_000_000;

/// Between looks whether a process has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Exit code of a process that was asked to end, and has.
pub const STOPPED: i32 = 3;

/// How this program is called for one run.
#[derive(Clone, Debug)]
pub struct Isolate {
    /// The program.
    pub program: PathBuf,
    /// Its arguments but for the choice of the run.
    pub arguments: Vec<std::ffi::OsString>,
    /// Those that are no options whatever they look like: `--` and what comes after it.
    pub files: Vec<std::ffi::OsString>,
}

impl Isolate {
    /// Runs `run` in a process of its own, unless it is recorded already.
    ///
    /// # Errors
    /// A process that could not be started, or that ended without saying why. A failure that it has recorded itself is
    /// passed on with the recorded message.
    pub(super) fn attempt(&self, session: &Session, run: &Run, folder: &RunFolder) -> Result<Outcome> {
        let before = build::with(session, run, |built| Ok(built.standing(folder)))?;
        if before == Standing::Current {
            return Ok(Outcome::Current);
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("--child").args(["--only", &run.spec.id, "--jobs", "1"]);
        let share = session.resources.memory_bytes / session.resources.jobs as u64;
        command.args(["--memory", &format!("{}B", share.max(LEAST_BYTES))]);
        command
            .args(["--seeds", &run.spec.seed.to_string()])
            .args(&self.files)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let status = self.end_of(command.spawn().map_err(Error::io("start", &self.program))?)?;
        match status.code() {
            Some(0) => Ok(Outcome::Done),
            Some(1) => Err(Error::method(folder.failure().unwrap_or_else(|| "it did not say why".into()), "")),
            Some(2) => Err(Error::method("its process could not start the run (see the message above)", "")),
            Some(STOPPED) => Err(Error::Stopped),
            // Asked twice, or before it could listen: no fault of the run.
            None | Some(stop::AT_ONCE) if stop::is_asked() => Err(Error::Stopped),
            _ => {
                let what = format!("its process died ({status})");
                Err(Error::method(what, "if memory ran out, lower --memory, or make batch or bank smaller"))
            }
        }
    }

    /// Waits for its end; tells it when this process was asked to end, for a scheduler tells its first process alone.
    fn end_of(&self, mut process: Child) -> Result<ExitStatus> {
        let mut told = false;
        loop {
            if let Some(status) = process.try_wait().map_err(Error::io("wait for", &self.program))? {
                return Ok(status);
            }
            if stop::is_asked() && !told {
                told = true;
                #[cfg(unix)]
                stop::pass_on(&process);
            }
            std::thread::sleep(LOOK);
        }
    }
}
