//! What all runs of a process share: folders, catalog, device, digests, opened artifacts, loaded backbones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::crew::News;
use super::event::Event;
use super::progress::Progress;
use super::rates::Rates;
use super::room::Room;
use crate::backbone::{self, Backbone};
use crate::bank::neighbours;
use crate::data::{Catalog, Digests, Index, first_fault, index, survey, verify};
use crate::device::check::Family;
use crate::device::{Chosen, DeviceName, Memory, Precision};
use crate::error::{Error, Result};
use crate::features;
use crate::spec::{self, Experiment, Positions};
use crate::stop;
use crate::store::{Artifact, Lock, Store};
use crate::threads::lock;

/// What a GPU must get right before its first use, besides what `device` asks of it.
pub const CHECKS: &[&[Family]] = &[backbone::CHECKS, features::CHECKS, neighbours::CHECKS];

/// The same where factors are cut.
pub const CUT_CHECKS: &[&[Family]] = &[backbone::CHECKS, features::CHECKS, neighbours::CHECKS, neighbours::CUT_CHECKS];

/// What a device must pass before it computes in this precision.
fn checks(precision: Precision) -> &'static [&'static [Family]] {
    match precision {
        Precision::F32 => CHECKS,
        Precision::Tf32 => CUT_CHECKS,
    }
}

/// Where things are and what computes.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Resources {
    pub data: PathBuf,
    pub weights: PathBuf,
    pub results: PathBuf,
    pub store: PathBuf,
    pub device: DeviceName,
    pub precision: Precision,
    /// Bytes of a GPU's memory that may be used; none = most of it.
    pub device_memory_bytes: Option<u64>,
    /// Bytes of ordinary memory that stages may fill with what grows with the data.
    pub memory_bytes: u64,
    /// Stages that may be computed side by side.
    pub jobs: usize,
}

/// Shared state of a process.
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Session {
    pub resources: Resources,
    pub catalog: Catalog,
    pub store: Store,
    pub device: Chosen,
    pub rates: Rates,
    pub progress: Progress,
    /// Rung whenever a stage was computed.
    pub news: News,
    /// What stages side by side share.
    pub room: Room,
    digests: Mutex<Digests>,
    indexes: Mutex<BTreeMap<String, Arc<Index>>>,
    backbones: Mutex<BTreeMap<BackboneKey, Arc<Backbone>>>,
    weights_digests: Mutex<BTreeMap<BackboneKey, String>>,
    artifacts: Mutex<BTreeMap<String, Arc<Artifact>>>,
}

/// What a cache holds under a key, made where it holds nothing yet.
pub(super) fn cached<K: Ord, V: Clone>(
    cache: &Mutex<BTreeMap<K, V>>,
    key: K,
    make: impl FnOnce() -> Result<V>,
) -> Result<V> {
    // Held meanwhile: who else needs it would only make it a second time.
    let mut cache = lock(cache);
    if let Some(known) = cache.get(&key) {
        return Ok(known.clone());
    }
    let made = make()?;
    cache.insert(key, made.clone());
    Ok(made)
}

impl Session {
    /// Opens the store; the device is opened when something is computed.
    pub fn open(resources: Resources, catalog: Catalog, progress: Progress) -> Result<Self> {
        writable(&resources.store, "store", "--store")?;
        let store = Store::open(&resources.store)?;
        store.mark()?;
        Ok(Session {
            device: Chosen::new(
                resources.device,
                resources.precision,
                Memory { host: resources.memory_bytes, device: resources.device_memory_bytes },
                checks(resources.precision),
            ),
            digests: Mutex::new(Digests::open(Some(&resources.store.join("digests.txt")))),
            news: News::default(),
            room: Room::new(resources.memory_bytes),
            resources,
            catalog,
            rates: Rates::learn(&store),
            store,
            progress,
            indexes: Mutex::default(),
            backbones: Mutex::default(),
            weights_digests: Mutex::default(),
            artifacts: Mutex::default(),
        })
    }

    /// Opens a store over the artifacts in `base`; of datasets these indexes are known, by the names that
    /// [`Session::indexes`] gives them.
    pub fn of_model(
        resources: Resources,
        base: &Path,
        indexes: BTreeMap<String, Arc<Index>>,
        progress: Progress,
    ) -> Result<Self> {
        let mut session = Session::open(resources, Catalog::load(None)?, progress)?;
        session.store = session.store.over(base);
        session.indexes = Mutex::new(indexes);
        Ok(session)
    }

    /// The datasets that were read, by what was asked for: dataset and classes.
    pub fn indexes(&self) -> BTreeMap<String, Arc<Index>> {
        lock(&self.indexes).clone()
    }

    /// A dataset of this name is in the catalog, or known without it.
    pub fn knows(&self, dataset: &str) -> Result<()> {
        let is_known = lock(&self.indexes).values().any(|index| index.dataset == dataset);
        if is_known { Ok(()) } else { self.catalog.get(dataset).map(drop) }
    }

    /// The image digests, for as long as the guard lives.
    pub fn digests(&self) -> MutexGuard<'_, Digests> {
        lock(&self.digests)
    }

    /// The index of a dataset, narrowed to `classes` when there are any. Its files have been looked at as far as headers
    /// go, so that a broken one stops an experiment before it starts.
    pub fn index(&self, dataset: &str, classes: &[String]) -> Result<Arc<Index>> {
        cached(&self.indexes, format!("{dataset}\n{}", classes.join("\n")), || {
            let entry = self.catalog.get(dataset)?;
            let found = index(entry, &self.resources.data, (!classes.is_empty()).then_some(classes))?;
            if let Some(text) = found.unread() {
                self.progress.tell(Event::Note { text });
            }
            first_fault(dataset, verify::headers(&found)).map_or(Ok(Arc::new(found)), Err)
        })
    }

    /// The classes of a dataset, whatever of them an experiment takes; `None` where neither its entry nor its files tell.
    pub fn classes(&self, dataset: &str) -> Option<Vec<String>> {
        let entry = self.catalog.get(dataset).ok()?;
        if !entry.declared.classes.is_empty() {
            return Some(entry.declared.classes.clone());
        }
        let found = survey(entry, &self.resources.data, None).ok()?.index;
        let classes: Vec<String> = found.classes.into_iter().map(|class| class.name).collect();
        (!classes.is_empty()).then_some(classes)
    }

    /// Digest of the weights that a backbone uses, without building it.
    pub fn weights_digest(&self, backbone: &spec::Backbone, seed: u64) -> Result<String> {
        cached(&self.weights_digests, backbone_key(backbone, seed), || {
            crate::backbone::weights::weights_digest(backbone, &self.resources.weights, seed)
        })
    }

    /// A backbone, built once. It lives on the plain device, never on an autodiff one.
    pub fn backbone(&self, backbone: &spec::Backbone, seed: u64) -> Result<Arc<Backbone>> {
        cached(&self.backbones, backbone_key(backbone, seed), || {
            Backbone::load(backbone, &self.resources.weights, seed, &self.device.get()?).map(Arc::new)
        })
    }

    /// An artifact this process has already opened and checked.
    pub fn opened(&self, key: &str) -> Option<Arc<Artifact>> {
        lock(&self.artifacts).get(key).cloned()
    }

    /// Remembers an opened artifact.
    pub fn remember(&self, key: &str, artifact: Arc<Artifact>) {
        lock(&self.artifacts).insert(key.into(), artifact);
    }

    /// Waits for the lock on a part of an experiment's results.
    pub fn lock_results(&self, experiment: &Experiment, part: &str) -> Result<Lock> {
        let folder = self.resources.results.join(&experiment.name);
        let folder = folder.canonicalize().unwrap_or(folder);
        let digest = blake3::hash(folder.as_os_str().as_encoded_bytes()).to_hex();
        self.wait_for(&format!("results-{}-{part}", &digest[..16]))
    }

    /// Waits for a lock of the store.
    pub fn wait_for(&self, name: &str) -> Result<Lock> {
        loop {
            if let Some(lock) = self.store.lock(name)? {
                return Ok(lock);
            }
            stop::here()?;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Makes `folder` and a file in it, so that one that cannot be written is found before hours are spent.
pub fn writable(folder: &Path, what: &str, option: &str) -> Result<()> {
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::NamedTempFile::new_in(folder).map(drop));
    made.map_err(|fault| {
        let what = format!("the {what} cannot be written there: {fault}");
        Error::store(folder, what, format!("name a folder that can be written with {option} DIR"))
    })
}

/// What makes two backbones one: everything that is said of them, and the seed where the weights are drawn.
type BackboneKey = (String, String, Vec<String>, Positions, u64);

fn backbone_key(backbone: &spec::Backbone, seed: u64) -> BackboneKey {
    let spec::Backbone { name, layers, weights, positions } = backbone.clone();
    let seed = if weights == "random" { seed } else { 0 };
    (name, weights, layers, positions, seed)
}
