//! What an experiment would do: every stage once, whether the store has it, who shares it, what it is expected to cost.
//!
//! Owns: the forecast. Does not own: the cost model (`rates`), showing it (`cli::plan`). Nothing is computed but digests.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{self, Built};
use super::gallery;
use super::progress::Expected;
use super::session::Session;
use crate::error::{Error, Result};
use crate::methods::Outputs;
use crate::plan::{Graph, StageId, Work};
use crate::record::{RunFolder, Standing};
use crate::spec::{Experiment, Run, RunSpec};

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
    /// What it is expected to add to the time of all.
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

    /// Counts the stages of a run, of which it needs those that are `wanted`; their keys.
    fn add(&mut self, session: &Session, built: &Built, wanted: &BTreeSet<StageId>) -> Vec<String> {
        let mut keys = Vec::new();
        for id in built.graph.ids() {
            let stage = built.graph.stage(id);
            let key = stage.key.to_string();
            let place = *self.places.entry(key.clone()).or_insert_with(|| {
                self.stages.push(StageForecast {
                    kind: stage.kind,
                    key: key.clone(),
                    label: stage.label.clone(),
                    cached: session.store.contains(stage.kind, &key),
                    to_do: false,
                    runs: 0,
                    work: stage.work,
                    seconds: session.rates.seconds_beside(stage.kind, stage.work.operations, session.resources.jobs),
                });
                self.stages.len() - 1
            });
            self.stages[place].runs += 1;
            self.stages[place].to_do |= wanted.contains(&id);
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

/// Plans `runs` of `experiment`. A run that something is wrong with says so and has no stages.
pub fn forecast(session: &Session, experiment: &Experiment, runs: &[Run]) -> Forecast {
    let folder = session.resources.results.join(&experiment.name);
    let mut forecast = Forecast::default();
    for run in runs {
        let mut planned = RunForecast {
            spec: run.spec.clone(),
            standing: Standing::Absent,
            stages: Vec::new(),
            to_do: 0,
            fault: None,
        };
        let checked = super::prepare::check(session, run).and_then(|()| {
            let record = RunFolder::new(&folder, &run.spec.id);
            let more =
                |graph: &mut Graph, outputs: &[Outputs]| gallery::lacking(graph, outputs, experiment, run, &record);
            build::with_more(session, run, more, |built, figures| {
                planned.standing = built.standing(&record);
                let wanted = to_do(session, built, planned.standing, &figures);
                planned.to_do = wanted.len();
                planned.stages = forecast.add(session, built, &wanted);
                Ok(())
            })
        });
        planned.fault = checked.err();
        forecast.runs.push(planned);
    }
    forecast
}
