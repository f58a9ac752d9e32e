//! What a stage is: a computation whose own value is what its key is made of.
//!
//! Owns: the contract between computations, the artifacts they read and leave, and whoever executes them.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use burn::tensor::Device;
use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use super::contents::{Content, HasRows};
use crate::device::Chosen;
use crate::error::Result;
use crate::matrix::Rows;
use crate::store::{Artifact, CHECKPOINTS, Lookup, Scratch, Spent, Store, TensorDecl, Writer, checkpoint_key};

/// A cached computation. Its key is made of kind, method, version and of the value itself as it serialises: parameters,
/// digests of what it reads from disk, the stages it reads ([`Handle`]s), and the device it computes on
/// (`device::Chosen`). A field that serialises to nothing must follow from those that do.
pub trait Compute: Serialize + Send + Sync {
    /// What its artifact holds.
    type Output: Content;

    /// What it makes; also the folder of its artifacts.
    const KIND: &'static str;

    /// The method whose own it is; "" for stages that methods share.
    const METHOD: &'static str = "";

    /// Version of its code: raised with every change that may change its output.
    const VERSION: u32;

    /// What progress lines call it.
    fn label(&self) -> String {
        Self::KIND.replace('_', " ")
    }

    /// What it is expected to cost.
    fn work(&self) -> Work;

    /// The computation. It reads nothing but itself, its job and the artifacts of its handles.
    fn compute(&self, job: &Job) -> Result<Computed>;
}

/// A stage of a graph by what its artifact holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Handle<C> {
    /// The stage.
    pub id: StageId,
    /// Its key.
    pub key: Arc<str>,
    /// What it is expected to leave.
    pub work: Work,
    pub(super) content: PhantomData<fn() -> C>,
}

/// What marks a stage among the settings of another.
pub(super) const STAGE_MARK: &str = "$stage";

impl<C> Serialize for Handle<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({ STAGE_MARK: &*self.key }).serialize(serializer)
    }
}

/// The rows of some artifact, whatever else it holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowsOf {
    /// The stage that leaves them.
    pub stage: Handle<()>,
    tensor: &'static str,
}

impl<C: HasRows> From<&Handle<C>> for RowsOf {
    fn from(handle: &Handle<C>) -> Self {
        let Handle { id, key, work, .. } = handle.clone();
        RowsOf { stage: Handle { id, key, work, content: PhantomData }, tensor: C::ROWS }
    }
}

/// A stage of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StageId(pub(super) usize);

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
    Resumed { epoch: usize, epochs: usize },
    /// Something worth a line.
    Remark(String),
}

/// What a stage's computation is given.
pub struct Job<'a> {
    /// Artifacts of the input stages.
    pub(crate) inputs: BTreeMap<StageId, Arc<Artifact>>,
    /// Tells the user how far the stage is: done, total.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
    /// Tells the user something worth a line.
    pub notice: &'a (dyn Fn(Notice) + Sync),
    /// Bytes of ordinary memory a stage may fill with what grows with the data.
    pub memory_bytes: u64,
    pub(crate) store: &'a Store,
    pub(crate) device: &'a Chosen,
    pub(crate) kind: &'static str,
    pub(crate) key: &'a str,
}

impl Job<'_> {
    /// What the stage behind a handle has left.
    ///
    /// # Errors
    /// An artifact that lacks what it should hold.
    pub fn open<C: Content>(&self, handle: &Handle<C>) -> Result<C::View<'_>> {
        C::open(self.artifact(handle.id))
    }

    /// The rows that a stage has left.
    ///
    /// # Errors
    /// An artifact without them.
    pub fn rows(&self, of: &RowsOf) -> Result<Rows<'_>> {
        self.artifact(of.stage.id).rows(of.tensor)
    }

    /// The images that rows came from.
    ///
    /// # Errors
    /// An artifact that does not tell.
    pub fn images(&self, of: &RowsOf) -> Result<&[u32]> {
        self.artifact(of.stage.id).u32("image")
    }

    /// The device to compute on what does not depend on it; a stage whose output does holds a `device::Chosen` of its own.
    ///
    /// # Errors
    /// One that is not there, or that disagrees with the CPU.
    pub fn device(&self) -> Result<Device> {
        self.device.get()
    }

    /// The artifact of an input.
    pub(crate) fn artifact(&self, stage: StageId) -> &Artifact {
        self.inputs.get(&stage).unwrap_or_else(|| unreachable!("a handle that is part of no key was opened"))
    }

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
        match self.store.lookup(CHECKPOINTS, &checkpoint_key(self.kind, self.key, epoch)) {
            Lookup::Found(artifact) => Some(artifact),
            Lookup::Absent => None,
            Lookup::Damaged(reason) => {
                (self.notice)(Notice::Remark(format!("a checkpoint is damaged and will not be used: {reason}")));
                None
            }
        }
    }

    /// Starts the checkpoint of an epoch.
    pub fn create_checkpoint(&self, epoch: usize, tensors: Vec<TensorDecl>) -> Result<Writer> {
        self.store.create(CHECKPOINTS, &checkpoint_key(self.kind, self.key, epoch), tensors)
    }

    /// Removes the checkpoint of an epoch.
    ///
    /// # Errors
    /// The operating system's; a checkpoint that is not there is none.
    pub fn remove_checkpoint(&self, epoch: usize) -> Result<()> {
        self.store.remove(CHECKPOINTS, &checkpoint_key(self.kind, self.key, epoch))
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
    /// Bytes that it needs on a GPU while it works there.
    pub device_bytes: u64,
    /// Bytes that stay there on top of that, where there is room.
    pub resident_bytes: u64,
}

impl Work {
    /// The work of a stage that leaves an f32 matrix.
    pub fn matrix(rows: usize, cols: usize, operations: f64) -> Self {
        Work { rows, cols, operations, bytes: (rows * cols * 4) as u64, ..Work::default() }
    }

    /// The same, with this much ordinary memory.
    pub fn with_memory(self, bytes: usize) -> Self {
        Work { memory_bytes: bytes as u64, ..self }
    }

    /// The same, with this many bytes on a GPU, and so many more where there is room.
    pub fn on_device(self, bytes: usize, resident: usize) -> Self {
        Work { device_bytes: bytes as u64, resident_bytes: resident as u64, ..self }
    }
}
