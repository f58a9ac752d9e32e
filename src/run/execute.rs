//! Computing the stages of one run, each once, from the store where it has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::build::Built;
use super::event::Event;
use super::extract::Extract;
use super::session::Session;
use crate::clock::{self, Clock};
use crate::error::{Error, Result};
use crate::plan::{Compute as _, Graph, Job, Stage, StageId};
use crate::record::{Cost, StageLog};
use crate::stop;
use crate::store::{Artifact, Lock, Lookup, Manifest, Spent};
use crate::threads::lock;

/// What to do about a stage that another process is computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Do something else.
    Leave,
    /// Wait for it.
    Wait,
}

/// Keys of the stages that this process has computed for a run: it may take several attempts, and several workers.
#[derive(Default)]
pub struct Made(Mutex<BTreeSet<String>>);

impl Made {
    fn keys(&self) -> MutexGuard<'_, BTreeSet<String>> {
        lock(&self.0)
    }
}

/// Executes one graph.
pub struct Executor<'s, 'g> {
    session: &'s Session,
    graph: &'g Graph<'g>,
    patience: Patience,
    made: Arc<Made>,
}

impl<'s, 'g> Executor<'s, 'g> {
    /// An executor that has done nothing yet.
    pub fn new(session: &'s Session, graph: &'g Graph<'g>, patience: Patience) -> Self {
        Executor { session, graph, patience, made: Arc::default() }
    }

    /// The same, which goes on with what other attempts have made.
    pub fn after(self, made: Arc<Made>) -> Self {
        Executor { made, ..self }
    }

    /// True when the store seems to have the artifact of a stage.
    pub fn has(&self, id: StageId) -> bool {
        let stage = self.graph.stage(id);
        self.session.store.contains(stage.kind, &stage.key)
    }

    /// The artifact of a stage: opened, found in the store, or computed now (with whatever it needs). `None` when another
    /// process is at it, or at something that it needs; all else that it needs has been computed then.
    pub fn ensure(&mut self, id: StageId) -> Result<Option<Arc<Artifact>>> {
        let stage = self.graph.stage(id);
        let key = &*stage.key;
        if let Some(artifact) = self.session.opened(key) {
            return Ok(Some(artifact));
        }
        if let Some(artifact) = self.stored(stage) {
            return Ok(Some(artifact));
        }
        let Some(inputs) = self.each(stage.inputs.clone())? else { return Ok(None) };
        let Some(_lock) = self.lock(id)? else { return Ok(None) };
        // Someone may have finished it between the look and the lock.
        if let Some(artifact) = self.stored(stage) {
            return Ok(Some(artifact));
        }
        if let Err(fault) = self.compute(id, stage.inputs.iter().copied().zip(inputs).collect()) {
            // Without locks another process may have finished it meanwhile, and taken the checkpoints away.
            let made = if fault.ends_everything() { None } else { self.stored(stage) };
            return made.map(Some).ok_or(fault);
        }
        let what = || format!("the artifact of `{}` cannot be read back", stage.label);
        let lost = || Error::store(self.session.store.root(), what(), "check the disk");
        self.find(stage.kind, key).ok_or_else(lost).map(Some)
    }

    /// The artifacts of stages; `None` when one of them is being computed elsewhere.
    pub fn each(&mut self, stages: Vec<StageId>) -> Result<Option<Vec<Arc<Artifact>>>> {
        let mut found = Some(Vec::with_capacity(stages.len()));
        for id in stages {
            match (self.ensure(id)?, &mut found) {
                (Some(artifact), Some(found)) => found.push(artifact),
                _ => found = None,
            }
        }
        Ok(found)
    }

    /// The lock on making a stage's artifact.
    fn lock(&self, id: StageId) -> Result<Option<Lock>> {
        let Stage { kind, key, label, .. } = self.graph.stage(id);
        let name = format!("{kind}-{key}");
        let lock = self.session.store.lock(&name)?;
        if lock.is_some() || self.patience == Patience::Leave {
            return Ok(lock);
        }
        self.session.progress.tell(Event::Waiting { key: key.to_string(), label: label.clone() });
        self.session.wait_for(&name).map(Some)
    }

    fn compute(&mut self, id: StageId, inputs: BTreeMap<StageId, Arc<Artifact>>) -> Result<()> {
        let (session, stage) = (self.session, self.graph.stage(id));
        let key = &*stage.key;
        stop::here()?;
        let _place = session.room.enter(stage.work.memory_bytes);
        let _turn = clock::Turn::begin();
        let clock = Clock::start();
        let progress = |done: usize, total: usize| session.progress.stage(key, &stage.label, done, total);
        let notice = |notice| session.progress.notice(notice);
        progress(0, 0);
        let job = Job {
            inputs,
            progress: &progress,
            notice: &notice,
            memory_bytes: session.resources.memory_bytes / session.resources.jobs as u64,
            store: &session.store,
            device: &session.device,
            kind: stage.kind,
            key,
        };
        let computed = (stage.compute)(&job);
        let device_memory_bytes = session.device.give_back();
        let computed = computed?;
        let spent = Spent {
            wall_seconds: computed.earlier.wall_seconds + clock.wall_seconds(),
            cpu_seconds: computed.earlier.cpu_seconds + clock.cpu_seconds(),
            operations: stage.work.operations,
            device_memory_bytes,
        };
        // Before it can be found: whoever finds it may record the run.
        self.made.keys().insert(key.into());
        computed.writer.finish(computed.note, &spent)?;
        session.store.remove_checkpoints(stage.kind, key)?;
        let (kind, label, seconds) = (stage.kind.into(), stage.label.clone(), clock.wall_seconds());
        let share = clock.share_seconds();
        session.progress.tell(Event::Computed { kind, key: key.into(), label, seconds, share });
        session.news.ring();
        Ok(())
    }

    /// The artifact of a stage, where the store has it.
    fn stored(&self, stage: &Stage) -> Option<Arc<Artifact>> {
        let found = self.find(stage.kind, &stage.key)?;
        self.session.progress.tell(Event::Found { kind: stage.kind.into(), key: stage.key.to_string() });
        Some(found)
    }

    fn find(&self, kind: &str, key: &str) -> Option<Arc<Artifact>> {
        match self.session.store.lookup(kind, key) {
            Lookup::Found(artifact) => {
                // Left when a process was killed between a training and the end of its checkpoints; only room is at stake.
                let _ = self.session.store.remove_checkpoints(kind, key);
                self.session.remember(key, Arc::clone(&artifact));
                Some(artifact)
            }
            Lookup::Absent => None,
            Lookup::Damaged(reason) => {
                self.session.progress.tell(Event::Damaged { reason });
                None
            }
        }
    }

    /// What every stage of the graph was and cost, for the record.
    pub fn log(&self) -> Vec<StageLog> {
        let line = |id: StageId| {
            let (stage, manifest) = (self.graph.stage(id), self.manifest(id)?);
            Some(StageLog {
                kind: stage.kind.into(),
                label: stage.label.clone(),
                key: stage.key.to_string(),
                method: stage.method.into(),
                version: stage.version,
                maker: manifest.maker,
                computed: self.made.keys().contains(&*stage.key),
                estimated_seconds: self.session.rates.seconds(stage.kind, stage.work.operations),
                wall_seconds: manifest.wall_seconds,
                cpu_seconds: manifest.cpu_seconds,
                note: manifest.note,
            })
        };
        self.graph.ids().filter_map(line).collect()
    }

    /// What the model costs in use. Milliseconds per image are those of every stage that a new image would pass:
    /// features, neighbours, scores, as they were measured when the artifacts were made.
    pub fn cost(&self, built: &Built, models: &[Arc<Artifact>], banks: &[Arc<Artifact>]) -> Result<Cost> {
        let learned: u64 = models.iter().filter_map(|model| model.manifest().note["parameters"].as_u64()).sum();
        let bank_bytes = banks.iter().map(|bank| Ok(bank.f32("rows")?.len() as u64 * 4)).sum::<Result<_>>()?;
        let (mut seconds, mut images) = (0.0, 0usize);
        let [scores, ..] = built.needed();
        for (class, stage) in built.prepared.data.split.classes.iter().zip(scores) {
            images += class.test.len();
            seconds += self.wall_seconds(stage);
            let Some(pool) = self.pool_of(stage) else { continue };
            let share = class.test.len() as f64 / class.pool.len().max(1) as f64;
            let on_path = |id: StageId| id == pool || self.graph.stage(id).inputs.contains(&pool);
            for id in self.graph.stage(stage).inputs.iter().copied().filter(|&id| on_path(id)) {
                seconds += share * self.wall_seconds(id);
            }
        }
        // A model that holds the backbone as it has learned is used without the one that it started from.
        let included = models.iter().any(|model| model.manifest().note["network_included"] == true);
        let frozen = if included { 0 } else { built.prepared.backbone_parameters as u64 };
        Ok(Cost {
            parameters: frozen + learned,
            bank_bytes,
            milliseconds_per_image: if images > 0 { 1000.0 * seconds / images as f64 } else { 0.0 },
        })
    }

    /// The feature stage that a scores stage starts from; one that looks at images itself starts from none.
    fn pool_of(&self, scores: StageId) -> Option<StageId> {
        let is_pool = |stage: &Stage| stage.inputs.is_empty() && stage.kind == Extract::KIND;
        self.graph.stage(scores).inputs.iter().copied().find(|&id| is_pool(self.graph.stage(id)))
    }

    fn wall_seconds(&self, id: StageId) -> f64 {
        self.manifest(id).map_or(0.0, |manifest| manifest.wall_seconds)
    }

    /// The manifest of a stage's artifact; a stage found in the store has not opened the stages it was made from.
    fn manifest(&self, id: StageId) -> Option<Manifest> {
        let stage = self.graph.stage(id);
        self.session.store.manifest(stage.kind, &stage.key)
    }
}
