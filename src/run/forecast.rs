//! What an experiment would do: every stage once, whether the store has it, who shares it, what it is expected to cost.
//!
//! Owns: the forecast. Does not own: the cost model (`rates`), showing it (`cli::plan`). Nothing is computed but digests,
//! and a product of matrices that tells how fast the processor is.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{self, Built};
use super::gallery;
use super::given::Datas;
use super::prepare;
use super::progress::Expected;
use super::session::Session;
use crate::error::{Error, Result};
use crate::methods::Outputs;
use crate::plan::{Graph, Stage, StageId, Work};
use crate::record::{RunFolder, Standing};
use crate::spec::{Experiment, Run, RunSpec};
use crate::store::CHECKPOINTS;
use crate::threads::side_by_side;
use crate::train::epochs_done;

/// A stage of an experiment.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct StageForecast {
    pub kind: &'static str,
    pub key: String,
    pub label: String,
    pub cached: bool,
    /// Whether it will be computed: it is not cached, and something needs it.
    pub to_do: bool,
    /// How many runs use it.
    pub runs: usize,
    pub work: Work,
    /// Epochs that a checkpoint holds, and of how many.
    pub epochs_done: Option<(usize, usize)>,
    /// What is left of it is expected to add to the time of all.
    pub seconds: f64,
}

/// A run of an experiment.
#[derive(Debug)]
pub struct RunForecast {
    /// The run.
    pub spec: RunSpec,
    /// How its record stands.
    pub standing: Standing,
    /// Keys of its stages.
    pub stages: Vec<String>,
    /// Stages that it needs and the store has not.
    pub to_do: usize,
    /// Why it cannot be run: its settings, or something that is missing.
    pub fault: Option<Error>,
}

/// An experiment.
#[derive(Debug, Default)]
pub struct Forecast {
    /// Its runs, in order.
    pub runs: Vec<RunForecast>,
    /// Its distinct stages, in the order in which runs need them.
    pub stages: Vec<StageForecast>,
    /// Where each of them is in the list, by key.
    places: BTreeMap<String, usize>,
    /// The newest checkpoint of every stage that has one.
    checkpoints: BTreeMap<String, String>,
}

impl Forecast {
    /// Seconds of all that is to do.
    pub fn seconds(&self) -> f64 {
        self.to_do().map(|stage| stage.seconds).sum()
    }

    /// Bytes that will be added to the store.
    pub fn bytes(&self) -> u64 {
        self.to_do().map(|stage| stage.work.bytes).sum()
    }

    /// The most ordinary memory that any stage to do is expected to take.
    pub fn memory_bytes(&self) -> u64 {
        self.to_do().map(|stage| stage.work.memory_bytes).max().unwrap_or(0)
    }

    /// The most that any stage to do is expected to take of a GPU, and the most that stays there on top where there is room.
    pub fn device_bytes(&self) -> (u64, u64) {
        let most = |of: fn(&Work) -> u64| self.to_do().map(|stage| of(&stage.work)).max().unwrap_or(0);
        (most(|work| work.device_bytes), most(|work| work.resident_bytes))
    }

    /// Counts the stages of a run; their keys.
    fn add(&mut self, session: &Session, used: Vec<Used>) -> Vec<String> {
        let mut keys = Vec::with_capacity(used.len());
        for Used { kind, key, label, work, wanted } in used {
            let place = *self.places.entry(key.clone()).or_insert_with(|| {
                let checkpoint = self.checkpoints.get(&key).and_then(|own| session.store.manifest(CHECKPOINTS, own));
                let epochs_done = checkpoint.and_then(|manifest| epochs_done(&manifest.note));
                let left = epochs_done.map_or(1.0, |(done, all)| 1.0 - done as f64 / all.max(1) as f64);
                self.stages.push(StageForecast {
                    kind,
                    key: key.clone(),
                    label,
                    cached: session.store.contains(kind, &key),
                    to_do: false,
                    runs: 0,
                    work,
                    epochs_done,
                    seconds: left * session.rates.seconds_beside(kind, work.operations, session.resources.jobs),
                });
                self.stages.len() - 1
            });
            self.stages[place].runs += 1;
            self.stages[place].to_do |= wanted;
            keys.push(key);
        }
        keys
    }

    /// Expected seconds of every stage to do.
    ///
    /// # Errors
    /// Whatever keeps a run from being run.
    pub(super) fn expected(self) -> Result<Expected> {
        let expected = self.to_do().map(|stage| (stage.key.clone(), (stage.kind, stage.seconds))).collect();
        Error::all(self.runs.into_iter().filter_map(|run| run.fault).collect())?;
        Ok(expected)
    }

    /// Stages to do.
    pub fn to_do(&self) -> impl Iterator<Item = &StageForecast> {
        self.stages.iter().filter(|stage| stage.to_do)
    }
}

/// Stages that a run with this standing computes: what its metrics, its record and figures need and the store has not.
fn to_do(session: &Session, built: &Built, standing: Standing, figures: &[StageId]) -> BTreeSet<StageId> {
    let mut wanted = BTreeSet::new();
    let mut open = figures.to_vec();
    if standing != Standing::Current {
        open.extend(built.needed().into_iter().flatten());
        open.push(built.metrics.id);
    }
    while let Some(id) = open.pop() {
        let stage = built.graph.stage(id);
        if !session.store.contains(stage.kind, &stage.key) && wanted.insert(id) {
            open.extend(&stage.inputs);
        }
    }
    wanted
}

/// A stage that a run uses.
struct Used {
    kind: &'static str,
    key: String,
    label: String,
    work: Work,
    /// Whether the run needs it and the store has it not.
    wanted: bool,
}

/// Plans `runs` of `experiment`. A run that something is wrong with says so and has no stages.
pub fn forecast(session: &Session, experiment: &Experiment, runs: &[Run]) -> Forecast {
    let folder = session.resources.results.join(&experiment.name);
    let datas = Datas::default();
    // One look at the files is enough for all runs.
    session.digests().hold(true);
    let planned = side_by_side(runs, |run| {
        let data = prepare::check(session, run, &datas)?;
        let record = RunFolder::new(&folder, &run.spec.id);
        let more = |graph: &mut Graph, outputs: &[Outputs]| gallery::lacking(graph, outputs, experiment, run, &record);
        let prepared = prepare::with_data(session, run, data)?;
        build::with_prepared(session, run, prepared, more, |built, figures| {
            let standing = built.standing(&record);
            let wanted = to_do(session, built, standing, &figures);
            let used = built.graph.ids().map(|id| {
                let Stage { kind, key, label, work, .. } = built.graph.stage(id);
                let (key, label) = (key.to_string(), label.clone());
                Used { kind, key, label, work: *work, wanted: wanted.contains(&id) }
            });
            Ok((standing, wanted.len(), used.collect()))
        })
    });
    session.digests().hold(false);
    let mut forecast = Forecast { checkpoints: session.store.newest_checkpoints(), ..Forecast::default() };
    for (run, planned) in runs.iter().zip(planned) {
        let spec = run.spec.clone();
        let own = match planned {
            Ok((standing, to_do, used)) => {
                RunForecast { spec, standing, stages: forecast.add(session, used), to_do, fault: None }
            }
            Err(fault) => {
                RunForecast { spec, standing: Standing::Absent, stages: Vec::new(), to_do: 0, fault: Some(fault) }
            }
        };
        forecast.runs.push(own);
    }
    forecast
}
