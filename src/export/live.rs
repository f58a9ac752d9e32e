//! Telling other programs of runs while they are recorded: `[tracking]` of an experiment.
//!
//! A thread of its own reads records and tells, so that no run waits for a server, and no fault of one is a run's.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::mlflow::{Server, deliver};
use super::{Told, csv, tell, tensorboard};
use crate::console::say;
use crate::error::Result;
use crate::run::Event;
use crate::spec::Tracking;
use crate::threads::lock;
use crate::{record, report};

/// What the thread is asked to tell.
enum Wanted {
    /// A run that was just recorded.
    Run(String),
    /// All runs of the experiment, with its figures: it is over.
    All,
}

/// What hears of recorded runs and passes them on: to the thread of the experiment that is being run, if there is one.
#[derive(Clone, Default)]
pub struct Ear(Arc<Mutex<Option<Sender<Wanted>>>>);

impl Ear {
    /// Something happened.
    pub fn hear(&self, event: &Event) {
        if let (Event::Done { run, .. }, Some(sender)) = (event, &*self.sender()) {
            drop(sender.send(Wanted::Run(run.clone())));
        }
    }

    fn sender(&self) -> MutexGuard<'_, Option<Sender<Wanted>>> {
        lock(&self.0)
    }
}

/// The thread, and the way to it.
pub struct Live {
    ear: Ear,
    thread: JoinHandle<()>,
}

impl Live {
    /// Begins for the experiment in `folder`, if it wants anybody told. Runs for an MLflow server that is away wait in `spool`.
    pub fn start(tracking: &Tracking, folder: &Path, spool: &Path, ear: &Ear) -> Option<Live> {
        if *tracking == Tracking::default() {
            return None;
        }
        let (sender, receiver) = channel();
        *ear.sender() = Some(sender);
        let worker = Worker { tracking: tracking.clone(), folder: folder.into(), spool: spool.into() };
        Some(Live { ear: ear.clone(), thread: std::thread::spawn(move || worker.work(receiver)) })
    }

    /// Tells of everything once more, and waits until it is told.
    pub fn finish(self) {
        if let Some(sender) = self.ear.sender().take() {
            drop(sender.send(Wanted::All));
        }
        if self.thread.join().is_err() {
            say!("note: tracking ended early; `dmad export` hands the recorded runs on");
        }
    }
}

struct Worker {
    tracking: Tracking,
    folder: PathBuf,
    spool: PathBuf,
}

impl Worker {
    fn work(&self, receiver: Receiver<Wanted>) {
        for wanted in receiver {
            if let Err(fault) = self.tell(wanted) {
                say!("note: tracking: {fault}; the runs are recorded, and `dmad export` hands them on");
            }
        }
    }

    fn tell(&self, wanted: Wanted) -> Result<()> {
        let kinds = report::kinds();
        let Tracking { csv: tables, tensorboard: logs, mlflow } = &self.tracking;
        let (told, is_all) = match wanted {
            Wanted::All => (tell(&record::read_experiment(&self.folder, &kinds)?)?, true),
            Wanted::Run(id) => {
                let mut told = tell(&record::read_run_of(&self.folder, &id, &kinds)?)?;
                // Those that are there are of an earlier time.
                told.iter_mut().for_each(|told| told.figures.clear());
                (told, false)
            }
        };
        if !logs.is_empty() {
            tensorboard::write(&told, Path::new(logs))?;
        }
        if is_all && !tables.is_empty() {
            csv::write(&told, Path::new(tables))?;
        }
        if mlflow.is_empty() {
            return Ok(());
        }
        let runs: Vec<(Option<PathBuf>, Told)> = told.into_iter().map(|told| (None, told)).collect();
        deliver(&Server::new(mlflow), &self.spool, &runs, |note| say!("note: tracking: {note}")).map(drop)
    }
}
