//! The stages of one run and their keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::error::Result;
use crate::spec::canonical_json;
use crate::store::{Artifact, CHECKPOINTS, Lookup, Scratch, Spent, Store, TensorDecl, Writer, checkpoint_key};

/// A stage of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StageId(usize);

/// What a stage's computation hands back: the filled writer, and what the manifest should tell.
pub struct Computed {
    /// All declared tensors written.
    pub writer: Writer,
    /// Counts, losses, costs; no part of any key.
    pub note: Json,
    /// What processes that were killed on the way had spent.
    pub earlier: Spent,
}

impl Computed {
    /// Made by this process alone.
    pub fn new(writer: Writer, note: Json) -> Self {
        Computed { writer, note, earlier: Spent::default() }
    }
}

/// What a stage says while it is computed, besides how far it is.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Training goes on after this many of its epochs.
    Resumed {
        /// Epochs that were done before.
        epoch: usize,
        /// All its epochs.
        epochs: usize,
    },
    /// Something worth a line.
    Remark(String),
}

/// What a stage's computation is given.
pub struct Job<'a> {
    /// Artifacts of the input stages, in their declared order.
    pub inputs: Vec<Arc<Artifact>>,
    /// Tells the user how far the stage is: done, total.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
    /// Tells the user something worth a line.
    pub notice: &'a (dyn Fn(Notice) + Sync),
    /// Bytes of ordinary memory a stage may fill with what grows with the data.
    pub memory_bytes: u64,
    pub(crate) store: &'a Store,
    pub(crate) kind: &'static str,
    pub(crate) key: &'a str,
}

impl Job<'_> {
    /// Starts the artifact of this stage.
    pub fn create(&self, tensors: Vec<TensorDecl>) -> Result<Writer> {
        self.store.create(self.kind, self.key, tensors)
    }

    /// Room for a matrix that is needed only while the stage works: in memory where it is small, in a file of the store
    /// where it would take more than a quarter of the stage's memory. Values are zero.
    pub fn scratch(&self, rows: usize, cols: usize) -> Result<Scratch> {
        let scratch = self.store.scratch(rows, cols, self.memory_bytes / 4)?;
        if scratch.is_in_a_file() {
            let text = format!("{rows} × {cols} values would not fit into memory and are kept in a file");
            (self.notice)(Notice::Remark(text));
        }
        Ok(scratch)
    }

    /// The whole and undamaged checkpoint of an epoch (0-based) of this stage, if there is one.
    pub fn checkpoint(&self, epoch: usize) -> Option<Arc<Artifact>> {
        match self.store.lookup(CHECKPOINTS, &checkpoint_key(self.key, epoch)) {
            Lookup::Found(artifact) => Some(artifact),
            Lookup::Absent => None,
            Lookup::Damaged(reason) => {
                let text = format!("a checkpoint is damaged and will not be used: {reason}");
                (self.notice)(Notice::Remark(text));
                None
            }
        }
    }

    /// Starts the checkpoint of an epoch.
    pub fn create_checkpoint(&self, epoch: usize, tensors: Vec<TensorDecl>) -> Result<Writer> {
        self.store.create(CHECKPOINTS, &checkpoint_key(self.key, epoch), tensors)
    }

    /// Removes the checkpoint of an epoch.
    ///
    /// # Errors
    /// The operating system's; a checkpoint that is not there is none.
    pub fn remove_checkpoint(&self, epoch: usize) -> Result<()> {
        self.store.remove(CHECKPOINTS, &checkpoint_key(self.key, epoch))
    }
}

/// What a stage is expected to do and to leave, as far as that is known beforehand; no part of any key.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Rows of the main tensor it leaves.
    pub rows: usize,
    /// Values per row.
    pub cols: usize,
    /// Floating-point operations, roughly: what its time is in proportion to.
    pub operations: f64,
    /// Bytes of its artifact.
    pub bytes: u64,
    /// Bytes of ordinary memory while it works; mapped files do not count.
    pub memory_bytes: u64,
}

impl Work {
    /// The work of a stage that leaves an f32 matrix.
    pub fn matrix(rows: usize, cols: usize, operations: f64) -> Self {
        Work { rows, cols, operations, bytes: (rows * cols * 4) as u64, memory_bytes: 0 }
    }

    /// The same, with this much ordinary memory.
    pub fn with_memory(self, bytes: usize) -> Self {
        Work { memory_bytes: bytes as u64, ..self }
    }
}

/// A stage's computation. It reads nothing but its job and what its key already stands for.
type Compute<'a> = Box<dyn Fn(&Job) -> Result<Computed> + Send + Sync + 'a>;

/// One cached computation.
pub struct Stage<'a> {
    /// What it makes; also the artifact's folder.
    pub kind: &'static str,
    /// Version of its code: raised with every change that may change its output.
    pub version: u32,
    /// Its own parameters, and the seed if it draws.
    pub params: Json,
    /// Stages it reads.
    pub inputs: Vec<StageId>,
    /// Digest of the ordered list of images (and masks) it reads; empty = none.
    pub images: String,
    /// Digest of the weights it uses; empty = none.
    pub weights: String,
    /// What progress lines call it.
    pub label: String,
    /// What it is expected to cost.
    pub work: Work,
    /// The computation.
    pub compute: Compute<'a>,
}

/// The stages of one run; equal stages are one stage.
pub struct Graph<'a> {
    numeric_class: String,
    stages: Vec<(String, Stage<'a>)>,
    by_key: BTreeMap<String, StageId>,
}

impl<'a> Graph<'a> {
    /// An empty graph whose numbers are of this class (device kind, backend version, precision).
    pub fn new(numeric_class: &str) -> Self {
        Graph { numeric_class: numeric_class.into(), stages: Vec::new(), by_key: BTreeMap::new() }
    }

    /// Adds a stage, or finds the equal one.
    pub fn add(&mut self, stage: Stage<'a>) -> StageId {
        let inputs: Vec<&str> = stage.inputs.iter().map(|&id| self.key(id)).collect();
        let identity = json!({
            "kind": stage.kind, "version": stage.version, "params": stage.params, "inputs": inputs,
            "images": stage.images, "weights": stage.weights, "numeric_class": self.numeric_class,
        });
        let key = blake3::hash(canonical_json(&identity).as_bytes()).to_hex()[..32].to_string();
        if let Some(&id) = self.by_key.get(&key) {
            return id;
        }
        let id = StageId(self.stages.len());
        self.by_key.insert(key.clone(), id);
        self.stages.push((key, stage));
        id
    }

    /// Key of a stage.
    pub fn key(&self, id: StageId) -> &str {
        &self.stages[id.0].0
    }

    /// The stage itself.
    pub fn stage(&self, id: StageId) -> &Stage<'a> {
        &self.stages[id.0].1
    }

    /// All stages, inputs before their users.
    pub fn ids(&self) -> impl Iterator<Item = StageId> + use<> {
        (0..self.stages.len()).map(StageId)
    }
}
