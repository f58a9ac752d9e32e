//! From a run to its graph: data, method, stages, evaluation.
//!
//! Owns: the order in which the parts of a graph are made, and what a record stands for. Does not own: computing.

use serde_json::json;

use super::evaluate::Evaluate;
use super::prepare::{self, Prepared, RunEnvironment};
use super::session::Session;
use crate::error::{Error, Result};
use crate::methods::{self, Outputs};
use crate::plan::{Graph, Handle, Inputs, Metrics, StageId};
use crate::record::{self, RunFolder, Standing};
use crate::spec::{Run, digest};

/// A run with its graph. Nothing is computed yet.
pub struct Built<'a> {
    pub run: &'a Run,
    pub prepared: &'a Prepared,
    pub graph: &'a Graph<'a>,
    /// What each of its models leaves.
    pub outputs: &'a [Outputs],
    /// The stage that holds its metrics: the last of all.
    pub metrics: Handle<Metrics>,
}

impl Built<'_> {
    /// What the run's record stands for; another key means that the record is stale.
    pub fn record_key(&self) -> String {
        digest(&json!({ "metrics": &*self.metrics.key, "record": record::VERSION }), 32)
    }

    /// How the record in `folder` stands to it.
    pub(super) fn standing(&self, folder: &RunFolder) -> Standing {
        folder.standing(&self.record_key(), &self.prepared.data.dataset_digest, &self.prepared.weights_digest)
    }

    /// Stages whose artifacts go into the record: scores, models, banks.
    pub(super) fn needed(&self) -> [Vec<StageId>; 3] {
        let models = self.outputs.iter().filter_map(|output| Some(output.model.as_ref()?.id)).collect();
        let banks = self.outputs.iter().flat_map(|output| &output.banks).map(|bank| bank.stage.id).collect();
        let scores = self.outputs.iter().flat_map(|output| &output.scores).map(|scores| scores.id).collect();
        [scores, models, banks]
    }
}

/// Builds the graph of `run` and hands it to `work`.
pub fn with<T>(session: &Session, run: &Run, work: impl FnOnce(&Built) -> Result<T>) -> Result<T> {
    with_more(session, run, |_, _| (), |built, ()| work(built))
}

/// Builds the graph of `run` with the stages that `more` adds, which nothing of the run depends on, and hands both to `work`.
pub fn with_more<T, M>(
    session: &Session,
    run: &Run,
    more: impl FnOnce(&mut Graph, &[Outputs]) -> M,
    work: impl FnOnce(&Built, M) -> Result<T>,
) -> Result<T> {
    with_prepared(session, run, prepare::prepare(session, run)?, more, work)
}

/// Builds, as [`with_more`] does, the graph of a run whose data are known.
pub fn with_prepared<T, M>(
    session: &Session,
    run: &Run,
    prepared: Prepared,
    more: impl FnOnce(&mut Graph, &[Outputs]) -> M,
    work: impl FnOnce(&Built, M) -> Result<T>,
) -> Result<T> {
    let method = methods::of(run);
    let groups = prepared.groups();
    let environment = RunEnvironment { session, prepared: &prepared };
    let inputs: Vec<Inputs>; // declared before the graph, whose stages borrow them
    let mut graph = Graph::default();
    inputs = groups.iter().map(|group| environment.inputs(&mut graph, group)).collect::<Result<_>>()?;
    let outputs = inputs.iter().map(|input| method.stages(&mut graph, input)).collect::<Result<Vec<_>>>()?;
    if inputs.iter().zip(&outputs).any(|(input, output)| output.scores.len() != input.tested.len()) {
        let what = format!("method `{}` does not score every class", run.spec.method_name());
        return Err(Error::method(what, "this is a fault of the program; please report it"));
    }
    // Groups hold the classes in the split's order: all together, or one after the other.
    let scores = outputs.iter().flat_map(|output| &output.scores).cloned().collect();
    let metrics = graph.add(Evaluate::new(&prepared, methods::scoring(run), scores));
    let more = more(&mut graph, &outputs);
    work(&Built { run, prepared: &prepared, graph: &graph, outputs: &outputs, metrics }, more)
}
