//! The stages of one run and their keys.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::compute::{Compute, Computed, Handle, Job, STAGE_MARK, StageId, Work};
use crate::error::Result;
use crate::spec::{SPEC_VERSION, digest, to_json};

/// What a stage does when it is executed.
pub type Computation<'a> = dyn Fn(&Job) -> Result<Computed> + Send + Sync + 'a;

/// A stage of a graph, whatever it computes.
pub struct Stage<'a> {
    /// What it makes; also the artifact's folder.
    pub kind: &'static str,
    /// The method whose own it is; "" for shared stages.
    pub method: &'static str,
    /// Version of its code.
    pub version: u32,
    /// Digest of everything that may change its artifact.
    pub key: Arc<str>,
    /// Stages it reads.
    pub inputs: Vec<StageId>,
    /// What progress lines call it.
    pub label: String,
    /// What it is expected to cost.
    pub work: Work,
    /// The computation.
    pub compute: Box<Computation<'a>>,
}

/// A kind of stage, as records name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageKind {
    /// What it makes.
    pub kind: &'static str,
    /// The method whose own it is; "" for shared stages.
    pub method: &'static str,
    /// Version of its code.
    pub version: u32,
}

impl StageKind {
    /// The kind of these computations.
    pub const fn of<C: Compute>() -> Self {
        StageKind { kind: C::KIND, method: C::METHOD, version: C::VERSION }
    }
}

/// The stages of one run; equal stages are one stage.
#[derive(Default)]
pub struct Graph<'a> {
    stages: Vec<Stage<'a>>,
    by_key: BTreeMap<Arc<str>, StageId>,
}

impl<'a> Graph<'a> {
    /// Adds a stage, or finds the equal one.
    pub fn add<C: Compute + 'a>(&mut self, computation: C) -> Handle<C::Output> {
        let own = to_json(&computation);
        let identity = json!({
            "spec": SPEC_VERSION, "kind": C::KIND, "method": C::METHOD, "version": C::VERSION, "stage": own,
        });
        let key: Arc<str> = digest(&identity, 32).into();
        if let Some(&id) = self.by_key.get(&key) {
            return Handle { id, key, work: self.stages[id.0].work, content: PhantomData };
        }
        let (id, work) = (StageId(self.stages.len()), computation.work());
        self.by_key.insert(key.clone(), id);
        self.stages.push(Stage {
            kind: C::KIND,
            method: C::METHOD,
            version: C::VERSION,
            key: key.clone(),
            inputs: self.inputs(&own),
            label: computation.label(),
            work,
            compute: Box::new(move |job| computation.compute(job)),
        });
        Handle { id, key, work, content: PhantomData }
    }

    /// The stages named in a stage's own value, each once, in the order of its fields.
    fn inputs(&self, own: &Json) -> Vec<StageId> {
        fn collect<'j>(json: &'j Json, keys: &mut Vec<&'j str>) {
            match json {
                Json::Object(map) => match map.get(STAGE_MARK).and_then(Json::as_str) {
                    Some(key) if keys.contains(&key) => {}
                    Some(key) => keys.push(key),
                    None => map.values().for_each(|value| collect(value, keys)),
                },
                Json::Array(items) => items.iter().for_each(|item| collect(item, keys)),
                _ => {}
            }
        }
        let mut keys = Vec::new();
        collect(own, &mut keys);
        let known = |key: &str| *self.by_key.get(key).unwrap_or_else(|| unreachable!("a handle of another graph"));
        keys.into_iter().map(known).collect()
    }

    /// The stage itself.
    pub fn stage(&self, id: StageId) -> &Stage<'a> {
        &self.stages[id.0]
    }

    /// All stages, inputs before their users.
    pub fn ids(&self) -> impl Iterator<Item = StageId> + use<> {
        (0..self.stages.len()).map(StageId)
    }
}
