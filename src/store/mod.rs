//! Content-keyed artifacts on disk: safetensors plus a manifest with a checksum, written atomically, read by mapping.
//!
//! Owns: file layout, integrity, atomicity. Does not own: what a key is made of (`plan`) or what artifacts mean.
//!
//! Layout: `ROOT/KIND/KEY.safetensors` and `ROOT/KIND/KEY.json`. The manifest is written last, so an artifact without a
//! manifest does not exist. Two processes that write one key write identical content; the last rename wins.

mod artifact;
mod writer;

pub use artifact::{Artifact, DType, Manifest, TensorInfo};
pub use writer::{TensorDecl, Writer, write_atomically};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};

/// Version of the artifact format; another version is never read.
pub const FORMAT: u32 = 1;

/// A folder of artifacts.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
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
        Ok(Store { root: root.into() })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True when an artifact of this key seems to be there; its content is not looked at.
    pub fn contains(&self, kind: &str, key: &str) -> bool {
        self.manifest_path(kind, key).is_file()
    }

    /// Maps the artifact after checking it against its manifest.
    pub fn lookup(&self, kind: &str, key: &str) -> Lookup {
        if !self.contains(kind, key) {
            return Lookup::Absent;
        }
        match Artifact::open(&self.data_path(kind, key), &self.manifest_path(kind, key), key) {
            Ok(artifact) => Lookup::Found(Arc::new(artifact)),
            Err(fault) => Lookup::Damaged(fault.to_string()),
        }
    }

    /// What is known of an artifact besides its tensors, without opening it.
    pub fn manifest(&self, kind: &str, key: &str) -> Option<Manifest> {
        serde_json::from_str(&std::fs::read_to_string(self.manifest_path(kind, key)).ok()?).ok()
    }

    /// Starts writing an artifact whose tensors have these names, types and shapes.
    pub fn create(&self, kind: &str, key: &str, tensors: Vec<TensorDecl>) -> Result<Writer> {
        Writer::create(self.data_path(kind, key), self.manifest_path(kind, key), kind, key, tensors)
    }

    fn data_path(&self, kind: &str, key: &str) -> PathBuf {
        self.root.join(kind).join(format!("{key}.safetensors"))
    }

    fn manifest_path(&self, kind: &str, key: &str) -> PathBuf {
        self.root.join(kind).join(format!("{key}.json"))
    }
}
