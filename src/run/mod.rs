//! Running an experiment: for each run its stages, then its record.
//!
//! Owns: the order of work, sharing it with other processes, and the one place where scores meet the truth (`evaluate`).
//! A run that fails is recorded and the others go on.

mod album;
mod build;
mod crew;
mod evaluate;
mod event;
mod execute;
mod extract;
mod forecast;
mod gallery;
mod given;
mod isolate;
mod live;
mod model;
mod names;
mod predict;
mod prepare;
mod progress;
mod rates;
mod room;
mod session;
mod trace;

pub use crate::console::duration;
pub use event::Event;
pub use forecast::{Forecast, RunForecast, StageForecast, forecast};
pub use isolate::{Isolate, STOPPED};
pub use live::Live;
pub use model::{Model, check as check_model, export as export_model};
pub use names::check_names;
pub use predict::{Prediction, Request, predict, readable};
pub use progress::{Expected, Progress};
pub use session::{CHECKS, CUT_CHECKS, Resources, Session};
pub use trace::Trace;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::device;
use crate::error::{Error, Result};
use crate::methods;
use crate::plan::StageKind;
use crate::record::{self, Provenance, Record, RunFolder, Standing};
use crate::spec::{Experiment, Run};
use crate::stop;
use crate::store::{Artifact, remove_abandoned};
use crate::threads::lock;
use build::Built;
use crew::{Crew, Outcome, Rules, Task};
use execute::{Executor, Made, Patience};

/// What became of the runs of an experiment.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs that were computed now.
    pub done: usize,
    /// Runs whose record was already there and up to date, or was made by another process meanwhile.
    pub current: usize,
    /// Runs whose record was stale and is redone: id, variant, what had changed.
    pub stale: Vec<(String, String, String)>,
    /// Runs that failed: id, variant, seed, message.
    pub failed: Vec<Failure>,
    /// Runs that were not begun, because `--fail-fast` ended the experiment.
    pub skipped: usize,
    /// Why what is made of the records is not there; the records are.
    pub unreported: Option<Error>,
}

/// A run that failed.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Failure {
    pub run: String,
    pub variant: String,
    pub seed: u64,
    pub message: String,
}

/// How an experiment is run.
#[derive(Debug, Default)]
pub struct Options {
    /// End the experiment at the first failure.
    pub fail_fast: bool,
    /// Give every run a process of its own.
    pub isolate: Option<Isolate>,
    /// This process is such a process: it leaves the experiment's views to its parent.
    pub is_child: bool,
    /// Leave small pictures of all test images and their maps for the page's gallery.
    pub album: bool,
}

/// Checks everything that `plan` can find wrong, before any work: names, settings and methods, datasets and weights, splits,
/// the stages of every run. Returns what the stages to do are expected to take.
///
/// # Errors
/// The first fault, pointing at the experiment file; a device that is not there, or a results folder that cannot be
/// written.
pub fn check(session: &Session, experiment: &Experiment, runs: &[Run]) -> Result<Needs> {
    check_names(session, experiment)?;
    let forecast = forecast(session, experiment, runs);
    let (seconds, memory_bytes) = (forecast.seconds(), forecast.memory_bytes());
    let expected = forecast.expected()?;
    session.device.get()?;
    session::writable(&session.resources.results.join(&experiment.name), "results", "--results")?;
    Ok(Needs { expected, seconds, memory_bytes })
}

/// What is to do of an experiment.
#[derive(Debug)]
pub struct Needs {
    /// By stage.
    pub expected: Expected,
    /// Seconds of all stages.
    pub seconds: f64,
    /// The most memory that a stage is expected to take.
    pub memory_bytes: u64,
}

/// Whether the code of a kind of stage has another version than this one; of kinds that are no more, nobody can say.
pub fn is_outdated(kind: &str, method: &str, version: u32) -> bool {
    let own = [StageKind::of::<extract::Extract>(), StageKind::of::<evaluate::Evaluate>()];
    let shared = own.iter().chain(methods::SHARED_STAGES);
    let mut known = shared.chain(methods::METHODS.iter().flat_map(|entry| entry.stages));
    known.any(|stage| stage.kind == kind && stage.method == method && stage.version != version)
}

/// Runs `runs` of an experiment and leaves their records and the experiment's views in the results folder. `expected` is
/// what [`check`] has returned for them.
///
/// Other processes may be at the same experiment: whatever one of them is computing is left to it, and the rest goes on.
pub fn experiment(
    session: &Session,
    experiment: &Experiment,
    runs: &[Run],
    mut expected: Expected,
    options: &Options,
) -> Result<Summary> {
    let folder = session.resources.results.join(&experiment.name);
    if !options.is_child {
        let _lock = session.lock_results(experiment, "views")?;
        record::write_experiment(&folder, experiment)?;
        // Experiments before this one, and other processes, may have made some of its stages since.
        expected.retain(|key, (kind, _)| !session.store.contains(kind, key));
        session.progress.experiment(expected);
    }
    let isolate = options.isolate.as_ref();
    let (stale, made, failed) = Default::default();
    let attempts = Attempts { session, experiment, isolate, stale, made, failed };
    let rules = Rules {
        workers: session.resources.jobs.min(4 * runs.len()).max(1),
        helping: options.isolate.is_none(),
        fail_fast: options.fail_fast,
    };
    let ended = Crew::new(runs.len(), rules, &session.news).work(|task| {
        let run = &runs[task.number];
        session.progress.run(&task, runs.len(), run);
        attempts.attempt(run, task).inspect(|outcome| session.progress.ended(run, outcome))
    })?;
    if ended.len() < runs.len() {
        stop::here()?;
    }
    let mut summary = Summary { skipped: runs.len() - ended.len(), ..Summary::default() };
    for (number, outcome) in ended {
        let Run { spec, .. } = &runs[number];
        match outcome {
            Outcome::Done => summary.done += 1,
            Outcome::Current => summary.current += 1,
            Outcome::Failed(message) => {
                let (run, variant) = (spec.id.clone(), spec.variant.clone());
                summary.failed.push(Failure { run, variant, seed: spec.seed, message });
            }
            Outcome::Busy => {}
        }
        let why = lock(&attempts.stale).get(&spec.id).copied();
        summary.stale.extend(why.map(|why| (spec.id.clone(), spec.variant.clone(), why.to_string())));
    }
    session.progress.finish(&summary);
    match if options.is_child { Ok(()) } else { views(session, experiment, options, !runs.is_empty()) } {
        // Its runs are recorded, or said to have failed: only what is made of them is missing.
        Err(fault) if !fault.ends_everything() => summary.unreported = Some(fault),
        made => made?,
    }
    Ok(summary)
}

/// Leaves what an experiment's records are together: its tables of rows, and what its figures show beyond numbers.
fn views(session: &Session, experiment: &Experiment, options: &Options, pictures: bool) -> Result<()> {
    let lock = session.lock_results(experiment, "views")?;
    let folder = session.resources.results.join(&experiment.name);
    record::refresh_views(&folder, experiment)?;
    remove_abandoned(&folder);
    drop(lock);
    if !pictures {
        return Ok(());
    }
    gallery::complete(session, experiment)?;
    if options.album { album::complete(session, experiment) } else { Ok(()) }
}

/// Attempts at the runs of an experiment.
struct Attempts<'a> {
    session: &'a Session,
    experiment: &'a Experiment,
    isolate: Option<&'a Isolate>,
    /// Runs whose record was stale, and why.
    stale: Mutex<BTreeMap<String, &'static str>>,
    /// What was computed for each run.
    made: Mutex<BTreeMap<String, Arc<Made>>>,
    /// Runs that have failed, and what was said of them.
    failed: Mutex<BTreeMap<String, String>>,
}

impl Attempts<'_> {
    /// Tries a run. A full or broken disk is nobody's failed run: it ends the experiment.
    fn attempt(&self, run: &Run, task: Task) -> Result<Outcome> {
        let (session, id) = (self.session, &run.spec.id);
        let folder = RunFolder::new(&session.resources.results.join(&self.experiment.name), id);
        let result = match self.isolate {
            Some(isolate) => isolate.attempt(session, run, &folder),
            None => isolated(|| self.one(run, &folder, task.patience)),
        };
        let fault = match result {
            Ok(outcome) => return Ok(outcome),
            Err(fault) if fault.ends_everything() => return Err(fault),
            Err(fault) => fault,
        };
        let mut message = fault.to_string();
        let _lock = session.lock_results(self.experiment, id)?;
        // Several workers may have been at it: what keeps one from going on keeps all.
        let told = lock(&self.failed).get(id).cloned();
        if let Some(told) = told {
            return Ok(Outcome::Failed(told));
        }
        // Another process may have done meanwhile what this one could not, and a run's own process has said itself what is wrong.
        let done = build::with(session, run, |built| Ok(built.standing(&folder) == Standing::Current));
        let is_told = self.isolate.is_some() && folder.failure().is_some_and(|told| told == message);
        if !done.unwrap_or(false) && !is_told {
            if let Some(kept) = folder.make_way()? {
                message += &format!("; what was recorded before is kept in {}", kept.display());
            }
            record::write_failure(&folder, self.experiment, run, &message, fault.help())?;
        }
        session.progress.tell(Event::Failed { run: id.clone(), message: message.clone() });
        lock(&self.failed).insert(id.clone(), message.clone());
        Ok(Outcome::Failed(message))
    }

    /// What all attempts at a run have made for it.
    fn made(&self, run: &Run) -> Arc<Made> {
        let mut made = lock(&self.made);
        Arc::clone(made.entry(run.spec.id.clone()).or_default())
    }

    /// One run, as far as other processes let it.
    fn one(&self, run: &Run, folder: &RunFolder, patience: Patience) -> Result<Outcome> {
        let session = self.session;
        build::with(session, run, |built| {
            let outcome = self.go_on(run, folder, patience, built)?;
            if outcome != Outcome::Busy {
                // Perhaps others have made what this process expected to make for it.
                let stages = built.graph.ids().map(|id| built.graph.stage(id));
                session.progress.over(stages.map(|stage| &*stage.key), |kind, key| session.store.contains(kind, key));
            }
            Ok(outcome)
        })
    }

    /// The same, of a run whose graph is built.
    fn go_on(&self, run: &Run, folder: &RunFolder, patience: Patience, built: &Built) -> Result<Outcome> {
        let (session, id) = (self.session, &run.spec.id);
        match built.standing(folder) {
            Standing::Current => return Ok(Outcome::Current),
            Standing::Stale(why) if lock(&self.stale).insert(id.clone(), why).is_none() => {
                session.progress.tell(Event::Stale { run: id.clone(), why: why.into() });
            }
            _ => {}
        }
        let mut executor = Executor::new(session, built.graph, patience).after(self.made(run));
        if !executor.has(built.metrics.id) {
            evaluate::check_truth(&built.prepared.data.split)?;
        }
        let Some(metrics) = executor.ensure(built.metrics.id)? else { return Ok(Outcome::Busy) };
        let [scores, models, banks] = built.needed();
        let Some(scores) = executor.each(scores)? else { return Ok(Outcome::Busy) };
        let Some(models) = executor.each(models)? else { return Ok(Outcome::Busy) };
        let Some(banks) = executor.each(banks)? else { return Ok(Outcome::Busy) };
        let _lock = session.lock_results(self.experiment, id)?;
        if built.standing(folder) == Standing::Current {
            return Ok(Outcome::Current);
        }
        let results = evaluate::read(&metrics)?;
        let provenance = provenance(session, built, &executor, [&models, &banks])?;
        record::write(
            folder,
            &Record {
                experiment: self.experiment,
                run,
                key: &built.record_key(),
                results: &results,
                scores: &scores,
                grid: (built.prepared.shape.height, built.prepared.shape.width),
                scoring: methods::scoring(run),
                models: &models,
                provenance: &provenance,
            },
        )?;
        session.progress.done(run, &results, provenance.wall_seconds);
        Ok(Outcome::Done)
    }
}

/// Where a run's numbers come from and what they cost.
fn provenance(
    session: &Session,
    built: &Built,
    executor: &Executor,
    [models, banks]: [&[Arc<Artifact>]; 2],
) -> Result<Provenance> {
    let (prepared, stages) = (built.prepared, executor.log());
    let own = || stages.iter().filter(|stage| stage.computed);
    Ok(Provenance {
        labels: prepared.labels(session, built.run),
        dataset_digest: prepared.data.dataset_digest.clone(),
        whole_dataset_digest: prepared.data.whole_digest.clone(),
        weights_digest: prepared.weights_digest.clone(),
        device: session.resources.device.kind.name().into(),
        device_name: session.device.get().map(|device| device::describe(&device)).unwrap_or_default(),
        precision: if session.device.is_gpu() { session.resources.precision.name().into() } else { String::new() },
        threads: rayon::current_num_threads(),
        jobs: session.resources.jobs,
        wall_seconds: own().map(|stage| stage.wall_seconds).sum(),
        cpu_seconds: own().map(|stage| stage.cpu_seconds).sum(),
        peak_memory_bytes: crate::clock::peak_memory_bytes(),
        duplicates: prepared.data.split.duplicates,
        skipped_files: prepared.data.skipped,
        cost: executor.cost(built, models, banks)?,
        stages,
    })
}

/// What the tensor library says of memory that a GPU does not have.
const NO_ROOM: [&str; 5] =
    ["out of device memory", "out of memory", "can't allocate buffer", "OutOfMemory", "BufferTooBig"];

/// Turns a panic (a bug, or a tensor library that gives up) into a failed run, so that the others go on.
fn isolated<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text =
            payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(|t| t.to_string()));
        let text = text.unwrap_or_else(|| "without a message".into());
        // The tensor library gives up where a GPU has no room.
        if NO_ROOM.iter().any(|word| text.contains(word)) {
            let help = "say with --device-memory how much of the GPU's memory may be used, or use --device cpu";
            return Err(Error::device(format!("the device has no room: {text}"), help));
        }
        let what = format!("the program panicked: {text}");
        Err(Error::method(what, "this is a fault of the program; please report it with the run's run.toml"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failed_run_and_says_what_to_do() {
        let told = |text: &str| {
            let fault = isolated(|| -> Result<()> { panic!("{text}") }).expect_err("it panicked");
            (fault.to_string(), fault.help().unwrap_or_default().to_string())
        };
        let (what, help) = told("IoError: BufferTooBig { size: 17 }");
        assert!(what.contains("no room") && help.contains("--device-memory"), "{what}: {help}");
        let (what, help) = told("index out of bounds");
        assert!(
            what.contains("the program panicked: index out of bounds") && help.contains("report"),
            "{what}: {help}"
        );
    }

    /// What the words above are worth: a GPU is asked for more than there is.
    #[cfg(feature = "wgpu")]
    #[test]
    fn a_gpu_without_room_is_told_from_a_bug() {
        let device = device::found(device::DeviceKind::Wgpu).into_iter().next().expect("a Vulkan driver");
        let fault = isolated(|| {
            let vast = burn::tensor::Tensor::<1>::zeros([1usize << 34], &device);
            Ok(device::download(vast.narrow(0, 0, 1)))
        });
        let fault = fault.expect_err("there is no such memory");
        assert!(fault.help().is_some_and(|help| help.contains("--device-memory")), "{fault}");
    }
}
