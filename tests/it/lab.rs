//! A place where tests run whole studies in seconds: tiny generated datasets, its own results and store.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dmad::data::{Catalog, Split, split};
use dmad::device::DeviceName;
use dmad::error::Result;
use dmad::methods::METHODS;
use dmad::methods::trial::Trial;
use dmad::record::{Recorded, read_experiment};
use dmad::run::{self, Event, Options, Progress, Resources, Session, Summary};
use dmad::spec::{Experiment, load};

/// Two classes of ten test images each, another drawing of the same, and two sets of textures.
pub const DATASETS: &str = r#"
[dataset.tiny]
layout = "synthetic"
classes = ["tile", "wood"]
seed = 0
side = 64
train = 4
test_good = 2
test_per_defect = 2

[dataset.tiny_again]
layout = "synthetic"
classes = ["tile", "wood"]
seed = 1
side = 64
train = 4
test_good = 2
test_per_defect = 2

[dataset.textures]
layout = "synthetic"
classes = ["banded", "marbled"]
seed = 0
side = 64
textures = 2

[dataset.textures_again]
layout = "synthetic"
classes = ["banded", "marbled"]
seed = 1
side = 64
textures = 2
"#;

/// What every tiny study starts from; a `[method]` goes below it.
pub const BASE: &str = r#"
dataset = "tiny"
image.size = 64
backbone = { name = "efficientnet_lite0", layers = [], weights = "imagenet" }
features = { aggregation = "patchcore", dim = 24 }
evaluation.size = 64
"#;

/// What a method of the registry declares for tests.
pub fn trial(method: &str) -> &'static Trial {
    METHODS.iter().find(|entry| entry.kind.name == method).unwrap_or_else(|| panic!("no method {method}")).trial
}

/// The small study of a method: without seen anomalies, and it trains in milliseconds.
pub fn study(method: &str) -> String {
    format!("{BASE}{}", trial(method).study)
}

/// The default of a method's key below `train`; `None` where it has no such key.
pub fn train_default(method: &str, key: &str) -> Option<serde_json::Value> {
    let entry = METHODS.iter().find(|entry| entry.kind.name == method).expect("a method");
    (entry.kind.defaults)().get("train")?.get(key).cloned()
}

/// A row of an experiment with another method: `method` is a `[method]` table, with other tables that the method has of its own.
pub fn variant(name: &str, method: &str) -> String {
    let line = |line: &str| match line.strip_prefix('[') {
        Some(table) => format!("[variant.{table}\n"),
        None => format!("{line}\n"),
    };
    format!("\n[[variant]]\nname = \"{name}\"\n{}", method.lines().map(line).collect::<String>())
}

/// Sets dotted keys of a TOML document to TOML values.
pub fn with(document: &str, settings: &[(&str, &str)]) -> String {
    let mut table: toml::Table = document.parse().expect("a TOML document");
    for (key, literal) in settings {
        let mut value: toml::Table = format!("value = {literal}").parse().unwrap_or_else(|e| panic!("{key}: {e}"));
        let value = value.remove("value").expect("just written");
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().expect("a key");
        let mut place = &mut table;
        for part in parts {
            let below = place.entry(part).or_insert_with(|| toml::Table::new().into());
            place = below.as_table_mut().unwrap_or_else(|| panic!("{key}: {part} is no table"));
        }
        place.insert(last.into(), value);
    }
    table.to_string()
}

/// Runs studies in this process.
pub struct Lab {
    folder: Arc<tempfile::TempDir>,
    session: Session,
    heard: Arc<Mutex<Vec<Event>>>,
}

impl Lab {
    /// An empty one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("datasets.toml"), DATASETS).expect("written");
        Lab::within(folder.into(), (DeviceName::default(), None))
    }

    /// An empty one that computes on a device.
    #[cfg(feature = "gpu")]
    pub fn on(device: &str) -> Self {
        Lab::within_memory(device, None)
    }

    /// One that computes on a device and may use so many bytes of it.
    #[cfg(feature = "gpu")]
    pub fn within_memory(device: &str, bytes: Option<u64>) -> Self {
        Lab::within(Lab::new().folder, (device.parse().expect("a device"), bytes))
    }

    /// Another session in the same folder, as a process started later would be: it has nothing open yet.
    pub fn again(&self) -> Self {
        Lab::within(self.folder.clone(), (self.session.resources.device, self.session.resources.device_memory_bytes))
    }

    fn within(folder: Arc<tempfile::TempDir>, (device, device_memory_bytes): (DeviceName, Option<u64>)) -> Self {
        let below = |name: &str| folder.path().join(name);
        let resources = Resources {
            data: below("data"),
            weights: below("weights"),
            results: below("results"),
            store: below("store"),
            device,
            precision: dmad::device::Precision::F32,
            device_memory_bytes,
            memory_bytes: 1 << 30,
            jobs: 1,
        };
        let catalog = Catalog::load(Some(&below("datasets.toml"))).expect("a catalog");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&heard);
        let progress = Progress::silent().heard_by(move |event| to.lock().expect("whole").push(event.clone()));
        let session = Session::open(resources, catalog, progress).unwrap_or_else(|e| panic!("{e}"));
        Lab { folder, session, heard }
    }

    /// What has happened in this session.
    pub fn heard(&self) -> Vec<Event> {
        self.heard.lock().expect("whole").clone()
    }

    /// The folder of artifacts.
    pub fn store(&self) -> &Path {
        &self.session.resources.store
    }

    /// The results of a study.
    pub fn results(&self, experiment: &Experiment) -> PathBuf {
        self.session.resources.results.join(&experiment.name)
    }

    /// The images of a study's first run with their truth.
    pub fn split(&self, experiment: &Experiment) -> Split {
        let run = &experiment.runs[0].spec;
        let index = self.session.index(&run.dataset, &run.classes).unwrap_or_else(|e| panic!("{e}"));
        split(&index, &run.protocol, run.seed, &mut self.session.digests()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs the study `text` as the program would.
    pub fn run(&self, name: &str, text: &str) -> (Experiment, Summary) {
        self.try_run(name, text).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    /// The same; a fault that ends the study is returned.
    pub fn try_run(&self, name: &str, text: &str) -> Result<(Experiment, Summary)> {
        let path = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, text).expect("written");
        let experiment = load(&path, &dmad::report::kinds(), &[])?;
        let needs = run::check(&self.session, &experiment, &experiment.runs)?;
        let summary =
            run::experiment(&self.session, &experiment, &experiment.runs, needs.expected, &Options::default())?;
        Ok((experiment, summary))
    }

    /// The records of a study.
    pub fn recorded(&self, experiment: &Experiment) -> Recorded {
        read_experiment(&self.results(experiment), &dmad::report::kinds()).unwrap_or_else(|e| panic!("{e}"))
    }
}
