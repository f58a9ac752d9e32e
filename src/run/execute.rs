//! Computing the stages of one run, each once, from the store where it has them.

use std::sync::Arc;

use super::session::Session;
use crate::clock::Clock;
use crate::data::Split;
use crate::error::{Error, Result};
use crate::methods::Outputs;
use crate::plan::{Graph, Job, StageId};
use crate::record::{Cost, StageLog};
use crate::store::{Artifact, Lookup, Manifest, Spent};

/// Executes one graph.
pub struct Executor<'s, 'g> {
    session: &'s Session,
    graph: &'g Graph<'g>,
    computed: Vec<StageId>,
}

impl<'s, 'g> Executor<'s, 'g> {
    /// An executor that has done nothing yet.
    pub fn new(session: &'s Session, graph: &'g Graph<'g>) -> Self {
        Executor { session, graph, computed: Vec::new() }
    }

    /// The artifact of a stage: opened, found in the store, or computed now (with whatever it needs).
    pub fn ensure(&mut self, id: StageId) -> Result<Arc<Artifact>> {
        let key = self.graph.key(id);
        if let Some(artifact) = self.session.opened(key) {
            return Ok(artifact);
        }
        let stage = self.graph.stage(id);
        if let Some(artifact) = self.find(stage.kind, key) {
            return Ok(artifact);
        }
        let inputs = stage.inputs.iter().map(|&input| self.ensure(input)).collect::<Result<Vec<_>>>()?;
        let clock = Clock::start();
        let progress = |done: usize, total: usize| self.session.progress.stage(&stage.label, done, total);
        progress(0, 0);
        let notice = |text: &str| self.session.progress.note(text);
        let job = Job {
            inputs,
            progress: &progress,
            notice: &notice,
            memory_bytes: self.session.settings.memory_bytes,
            store: &self.session.store,
            kind: stage.kind,
            key,
        };
        let computed = (stage.compute)(&job)?;
        let spent = Spent {
            wall_seconds: computed.earlier.wall_seconds + clock.wall_seconds(),
            cpu_seconds: computed.earlier.cpu_seconds + clock.cpu_seconds(),
            operations: stage.work.operations,
        };
        computed.writer.finish(computed.note, &spent)?;
        self.session.store.remove_checkpoints(key)?;
        self.session.progress.stage_done(&stage.label, clock.wall_seconds());
        self.computed.push(id);
        self.find(stage.kind, key).ok_or_else(|| {
            Error::store(
                self.session.store.root(),
                format!("the artifact of `{}` cannot be read back", stage.label),
                "check the disk",
            )
        })
    }

    fn find(&self, kind: &str, key: &str) -> Option<Arc<Artifact>> {
        match self.session.store.lookup(kind, key) {
            Lookup::Found(artifact) => {
                self.session.remember(key, Arc::clone(&artifact));
                Some(artifact)
            }
            Lookup::Absent => None,
            Lookup::Damaged(reason) => {
                self.session.progress.note(&format!("a stored artifact is damaged and will be made again: {reason}"));
                None
            }
        }
    }

    /// What every stage of the graph was and cost, for the record.
    pub fn log(&self) -> Vec<StageLog> {
        self.graph
            .ids()
            .filter_map(|id| {
                let stage = self.graph.stage(id);
                let manifest = self.manifest(id)?;
                Some(StageLog {
                    kind: stage.kind.into(),
                    label: stage.label.clone(),
                    key: self.graph.key(id).into(),
                    maker: manifest.maker,
                    computed: self.computed.contains(&id),
                    wall_seconds: manifest.wall_seconds,
                    cpu_seconds: manifest.cpu_seconds,
                    note: manifest.note,
                })
            })
            .collect()
    }

    /// What the model costs in use. Milliseconds per image are those of every stage that a new image would pass:
    /// features, neighbours, scores, as they were measured when the artifacts were made.
    pub fn cost(
        &self,
        outputs: &[Outputs],
        models: &[Arc<Artifact>],
        banks: &[Arc<Artifact>],
        backbone: usize,
        split: &Split,
    ) -> Result<Cost> {
        let learned: u64 = models.iter().filter_map(|model| model.manifest().note["parameters"].as_u64()).sum();
        let mut bank_bytes = 0;
        for bank in banks {
            bank_bytes += bank.f32("rows")?.len() as u64 * 4;
        }
        let (mut seconds, mut images) = (0.0, 0usize);
        let scores = outputs.iter().flat_map(|output| &output.scores);
        for (class, &stage) in split.classes.iter().zip(scores) {
            images += class.test.len();
            let Some(pool) = self.pool_of(stage) else { continue };
            let share = class.test.len() as f64 / class.pool.len().max(1) as f64;
            let on_path = |id: StageId| id == pool || self.graph.stage(id).inputs.first() == Some(&pool);
            for id in self.graph.stage(stage).inputs.iter().copied().filter(|&id| on_path(id)) {
                seconds += share * self.wall_seconds(id);
            }
            seconds += self.wall_seconds(stage);
        }
        Ok(Cost {
            parameters: backbone as u64 + learned,
            bank_bytes,
            milliseconds_per_image: if images > 0 { 1000.0 * seconds / images as f64 } else { 0.0 },
        })
    }

    /// The feature stage that a scores stage starts from.
    fn pool_of(&self, scores: StageId) -> Option<StageId> {
        self.graph.stage(scores).inputs.iter().copied().find(|&id| self.graph.stage(id).kind == "features")
    }

    fn wall_seconds(&self, id: StageId) -> f64 {
        self.manifest(id).map_or(0.0, |manifest| manifest.wall_seconds)
    }

    /// The manifest of a stage's artifact; a stage found in the store has not opened the stages it was made from.
    fn manifest(&self, id: StageId) -> Option<Manifest> {
        self.session.store.manifest(self.graph.stage(id).kind, self.graph.key(id))
    }
}
