//! Content-keyed artifacts on disk: safetensors plus a manifest with a checksum, written atomically, read by mapping.
//!
//! Owns: file layout, integrity, atomicity, locks, cleaning up. Does not own: what a key is made of (`plan`) or what
//! artifacts mean.
//!
//! Layout: `ROOT/KIND/KEY.safetensors` and `ROOT/KIND/KEY.json`. The manifest is written last, so an artifact without a
//! manifest does not exist. Two processes that write one key write identical content; the last rename wins.
//! `ROOT/checkpoints` holds what trainings go on from, `ROOT/locks` who is computing what.

mod artifact;
pub mod disk;
mod keep;
mod lock;
mod names;
mod narrow;
mod scratch;
mod writer;

pub use artifact::{Artifact, DType, Manifest, TensorInfo};
pub use keep::{Garbage, Stored};
pub use lock::{Lock, do_without_locks};
pub use scratch::Scratch;
pub use writer::{Spent, TensorDecl, Writer, remove_abandoned, remove_if_there, write_atomically};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use lock::Usage;

/// Version of the artifact format; another version is never read.
pub const FORMAT: u32 = 2;

/// Kind of the checkpoints of stages that go on where they were, such as trainings.
pub const CHECKPOINTS: &str = "checkpoints";

/// Folder of the locks.
const LOCKS: &str = "locks";

/// Key of the checkpoint after an epoch (0-based) of a stage: it names the stage by itself.
pub fn checkpoint_key(kind: &str, key: &str, epoch: usize) -> String {
    format!("{kind}-{key}.{epoch:05}")
}

/// Kind and key of the stage that a checkpoint is of; `None` for a name that no checkpoint has.
fn stage_of(checkpoint: &str) -> Option<(&str, &str)> {
    checkpoint.split_once('.')?.0.rsplit_once('-')
}

/// A folder of artifacts, in use as long as this lives.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// A folder of the same layout that is read where `root` has nothing, and never written.
    base: Option<PathBuf>,
    _usage: Arc<Usage>,
}

/// What looking an artifact up can find.
pub enum Lookup {
    /// It is there and whole.
    Found(Arc<Artifact>),
    /// It is not there.
    Absent,
    /// It is there, but cannot be used; the reason is for the user, the artifact is to be made again.
    Damaged(String),
}

impl Store {
    /// Opens the store at `root`, making the folder.
    pub fn open(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(Error::io("create the store folder", root))?;
        Ok(Store { root: root.into(), base: None, _usage: Arc::new(Usage::shared(root)?) })
    }

    /// Leaves the file by which the folder is known for a store, where it is not there.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn mark(&self) -> Result<()> {
        let path = self.root.join(names::MARKER);
        if path.is_file() { Ok(()) } else { write_atomically(&path, names::MARKER_TEXT.as_bytes()) }
    }

    /// Refuses a folder that no run has made a store of: what lies there is somebody else's.
    ///
    /// # Errors
    /// Such a folder.
    pub fn refuse_foreign(root: &Path) -> Result<()> {
        if names::is_store(root) {
            return Ok(());
        }
        let help = "name the folder that `dmad run` was given with --store DIR; nothing here was looked at or removed";
        Err(Error::store(root, "this is no store of dmad", help))
    }

    /// The same over the artifacts in `base`, which are read and stay as they are.
    pub fn over(self, base: &Path) -> Self {
        Store { base: Some(base.into()), ..self }
    }

    /// Opens the store at `root` to clean it up; an error when another process uses it.
    pub fn open_alone(root: &Path) -> Result<Self> {
        Ok(Store { root: root.into(), base: None, _usage: Arc::new(Usage::alone(root)?) })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True when an artifact of this key seems to be there; its content is not looked at.
    pub fn contains(&self, kind: &str, key: &str) -> bool {
        self.paths(kind, key)[1].is_file()
    }

    /// Where the artifact lies or would lie: data, manifest.
    fn paths(&self, kind: &str, key: &str) -> [PathBuf; 2] {
        let own = [self.data_path(kind, key), self.manifest_path(kind, key)];
        let Some(base) = self.base.as_ref().filter(|_| !own[1].is_file()) else { return own };
        let below = [data_path(base, kind, key), manifest_path(base, kind, key)];
        if below[1].is_file() { below } else { own }
    }

    /// Copies an artifact, whole as it is, into the store folder `to`; returns its bytes.
    ///
    /// # Errors
    /// One that is not there, a folder that cannot be written.
    pub fn copy(&self, kind: &str, key: &str, to: &Path) -> Result<u64> {
        let targets = [data_path(to, kind, key), manifest_path(to, kind, key)];
        let folder = to.join(kind);
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let copies = self.paths(kind, key).into_iter().zip(targets);
        copies.map(|(from, to)| std::fs::copy(&from, &to).map_err(Error::io("copy", &from))).sum()
    }

    /// Maps the artifact after checking it against its manifest.
    pub fn lookup(&self, kind: &str, key: &str) -> Lookup {
        if !self.contains(kind, key) {
            return Lookup::Absent;
        }
        let [data, manifest] = self.paths(kind, key);
        match Artifact::open(&data, &manifest, key) {
            Ok(artifact) => Lookup::Found(Arc::new(artifact)),
            Err(fault) => Lookup::Damaged(fault.to_string()),
        }
    }

    /// What is known of an artifact besides its tensors, without opening it; `None` for one that is not there, or of
    /// another format.
    pub fn manifest(&self, kind: &str, key: &str) -> Option<Manifest> {
        Manifest::read(&self.paths(kind, key)[1]).ok()
    }

    /// Starts writing an artifact whose tensors have these names, types and shapes.
    pub fn create(&self, kind: &str, key: &str, tensors: Vec<TensorDecl>) -> Result<Writer> {
        Writer::create(self, kind, key, tensors)
    }

    /// Removes an artifact, manifest first; one that is not there is no fault.
    pub fn remove(&self, kind: &str, key: &str) -> Result<()> {
        remove_if_there(&self.manifest_path(kind, key))?;
        remove_if_there(&self.data_path(kind, key))
    }

    /// Removes all checkpoints of a stage.
    pub fn remove_checkpoints(&self, kind: &str, key: &str) -> Result<()> {
        let Ok(entries) = std::fs::read_dir(self.root.join(CHECKPOINTS)) else { return Ok(()) };
        for (_, checkpoint) in entries.flatten().filter_map(|entry| keep::artifact_of(&entry.path())) {
            if stage_of(&checkpoint) == Some((kind, key)) {
                self.remove(CHECKPOINTS, &checkpoint)?;
            }
        }
        Ok(())
    }

    /// Takes the lock `name`; `None` when someone else holds it.
    pub fn lock(&self, name: &str) -> Result<Option<Lock>> {
        Lock::attempt(&self.root.join(LOCKS).join(name))
    }

    /// Room for a matrix: in memory up to `memory_bytes`, beyond that in an unnamed file of the store.
    pub fn scratch(&self, rows: usize, cols: usize, memory_bytes: u64) -> Result<Scratch> {
        Scratch::new(&self.root, rows, cols, memory_bytes)
    }

    fn data_path(&self, kind: &str, key: &str) -> PathBuf {
        data_path(&self.root, kind, key)
    }

    fn manifest_path(&self, kind: &str, key: &str) -> PathBuf {
        manifest_path(&self.root, kind, key)
    }
}

fn data_path(root: &Path, kind: &str, key: &str) -> PathBuf {
    root.join(kind).join(format!("{key}.safetensors"))
}

fn manifest_path(root: &Path, kind: &str, key: &str) -> PathBuf {
    root.join(kind).join(format!("{key}.json"))
}
