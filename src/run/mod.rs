//! Running a study: for each run its stages, then its evaluation, then its record.
//!
//! Owns: the order of work, and the one place where scores meet the truth (`evaluate`). A run that fails is recorded and
//! the others go on.

mod evaluate;
mod execute;
mod prepare;
mod progress;
mod session;

pub use evaluate::EVALUATION_VERSION;
pub use progress::Progress;
pub use session::{Session, Settings};

use std::sync::Arc;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::methods::Outputs;
use crate::methods::{self, Method};
use crate::plan::{Graph, Inputs};
use crate::record::{self, Provenance, Record, RunFolder};
use crate::spec::{Experiment, Run};

/// What became of the runs of an experiment.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs that were computed now.
    pub done: usize,
    /// Runs whose record was already there and up to date.
    pub current: usize,
    /// Runs that failed: id, variant, message.
    pub failed: Vec<(String, String, String)>,
}

/// Checks everything that can be checked before any work: methods build, datasets and weights are there, splits are
/// possible. The first fault is returned, pointing at the experiment file.
pub fn check(session: &Session, experiment: &Experiment, runs: &[Run]) -> Result<()> {
    for run in runs {
        prepare::check(session, run)?;
    }
    session.results_writable(&experiment.name)
}

/// Runs `runs` of an experiment and leaves their records and the experiment's views in the results folder.
pub fn experiment(session: &Session, experiment: &Experiment, runs: &[Run]) -> Result<Summary> {
    let folder = session.settings.results.join(&experiment.name);
    let mut summary = Summary::default();
    crate::store::write_atomically(&folder.join("experiment.toml"), experiment.resolved.as_bytes())?;
    for (number, run) in runs.iter().enumerate() {
        session.progress.run(number, runs.len(), run);
        let run_folder = RunFolder::new(&folder, &run.spec.id());
        match isolated(|| one(session, experiment, run, &run_folder)) {
            Ok(true) => summary.done += 1,
            Ok(false) => summary.current += 1,
            Err(fault) => {
                let message = fault.to_string();
                session.progress.failed(run, &message);
                record::write_failure(&run_folder, experiment, &run.spec, &message, fault.help())?;
                summary.failed.push((run.spec.id(), run.spec.variant.clone(), message));
            }
        }
    }
    session.progress.finish();
    record::rebuild_views(&folder, experiment)?;
    Ok(summary)
}

/// Turns a panic (a bug, or a tensor library that gives up) into a failed run, so that the others go on.
fn isolated<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text =
            payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(|t| t.to_string()));
        let what = format!("the program panicked: {}", text.unwrap_or_else(|| "without a message".into()));
        Err(Error::method(what, "this is a fault of the program; please report it with the run's run.toml"))
    })
}

/// One run; false when its record was up to date.
fn one(session: &Session, experiment: &Experiment, run: &Run, folder: &RunFolder) -> Result<bool> {
    let clock = Clock::start();
    let prepared = prepare::prepare(session, run)?;
    let method = methods::build(&run.spec.method, run.spec.seed)?;
    let method: &dyn Method = method.as_ref();
    let groups = prepared.groups(run);
    let environment = prepared.environment(session);
    let inputs: Vec<Inputs>; // declared before the graph, whose stages borrow them
    let mut graph = Graph::new(&session.settings.device.numeric_class());
    inputs =
        groups.iter().map(|group| prepared.inputs(session, &mut graph, &environment, group)).collect::<Result<_>>()?;
    let outputs = inputs.iter().map(|input| method.stages(&mut graph, input)).collect::<Result<Vec<_>>>()?;
    let key = record_key(&graph, &outputs, &prepared.truth_digest, &run.spec);
    if folder.is_current(&key) {
        return Ok(false);
    }
    evaluate::check_truth(&prepared.split)?;
    let mut executor = execute::Executor::new(session, &graph);
    let mut evaluation = evaluate::Evaluation::new(session, run, method.scoring(), prepared.shape);
    for (group, output) in groups.iter().zip(&outputs) {
        for (&class, &stage) in group.iter().zip(&output.scores) {
            let artifact = executor.ensure(stage)?;
            evaluation.add(&prepared.split.classes[class], Arc::clone(&artifact))?;
        }
    }
    let results = evaluation.finish()?;
    let models = outputs
        .iter()
        .filter_map(|output| output.model)
        .map(|stage| executor.ensure(stage))
        .collect::<Result<Vec<_>>>()?;
    let banks = outputs
        .iter()
        .flat_map(|output| &output.banks)
        .map(|&stage| executor.ensure(stage))
        .collect::<Result<Vec<_>>>()?;
    let labels = prepared.labels(session, &run.spec, method.labels());
    let provenance = Provenance {
        labels,
        dataset_digest: prepared.dataset_digest.clone(),
        weights_digest: prepared.weights_digest.clone(),
        device: session.settings.device.name().into(),
        threads: rayon::current_num_threads(),
        wall_seconds: clock.wall_seconds(),
        cpu_seconds: clock.cpu_seconds(),
        peak_memory_bytes: crate::clock::peak_memory_bytes(),
        duplicates: prepared.split.duplicates,
        skipped_files: prepared.skipped,
        cost: executor.cost(&outputs, &models, &banks, prepared.backbone_parameters, &prepared.split)?,
        stages: executor.log(),
    };
    record::write(
        folder,
        &Record { experiment, spec: &run.spec, key: &key, results: &results, models: &models, provenance: &provenance },
    )?;
    session.progress.done(run, &results, clock.wall_seconds());
    Ok(true)
}

/// What a record stands for: the stages behind its scores, the truth and the evaluation.
fn record_key(graph: &Graph, outputs: &[Outputs], truth: &str, spec: &crate::spec::RunSpec) -> String {
    let scores: Vec<&str> = outputs.iter().flat_map(|output| &output.scores).map(|&stage| graph.key(stage)).collect();
    let identity = serde_json::json!({
        "scores": scores, "truth": truth, "evaluation": spec.evaluation, "score": spec.method["score"],
        "image": spec.image, "version": EVALUATION_VERSION, "record": record::VERSION,
    });
    blake3::hash(crate::spec::canonical_json(&identity).as_bytes()).to_hex()[..32].to_string()
}

/// The error for a pattern that selects no run of any experiment.
pub fn nothing_to_run(pattern: &str, experiments: &[Experiment]) -> Error {
    let mut variants: Vec<&str> =
        experiments.iter().flat_map(|e| &e.runs).map(|run| run.spec.variant.as_str()).collect();
    variants.sort_unstable();
    variants.dedup();
    let help = format!(
        "it is matched against variant names and run ids, * stands for anything; variants: {}",
        variants.join(", ")
    );
    Error::usage(format!("no run matches --only {pattern}"), help)
}
