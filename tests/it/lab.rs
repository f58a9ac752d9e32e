//! A place where tests run whole studies in seconds: tiny generated datasets, its own results and store.

use std::path::{Path, PathBuf};

use dmad::data::{Catalog, Split, split};
use dmad::device::DeviceKind;
use dmad::error::Result;
use dmad::methods::METHODS;
use dmad::record::{Recorded, read_experiment};
use dmad::run::{self, Options, Progress, Session, Settings, Summary};
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
backbone = { name = "efficientnet_lite0", weights = "imagenet" }
features = { aggregation = "patchcore", dim = 24 }
evaluation.size = 64
"#;

/// DMAD without seen anomalies, small enough to train in milliseconds.
pub const DMAD: &str = r#"
[method]
name = "dmad"
bank.normal = { ratio = 0.1, projection = 8, starts = 2 }
bank.outlier = { dataset = "textures", ratio = 0.2 }
noise.std = 0.1
mlp = { blocks = 2, hidden = 8 }
train = { epochs = 2, batch = 4, anomaly_batch = 4, lr_mlp = 0.01, lr_projection = 0.01 }
score.sigma = 1.0
"#;

/// PatchCore on the same features.
pub const PATCHCORE: &str = r#"
[method]
name = "patchcore"
bank.normal = { ratio = 0.1, projection = 8, starts = 2 }
score.sigma = 1.0
"#;

/// SimpleNet, as small.
pub const SIMPLENET: &str = r#"
[method]
name = "simplenet"
discriminator.hidden = 8
noise.std = 0.1
train = { epochs = 2, batch = 4, lr_adaptor = 0.01, lr_discriminator = 0.01 }
score.sigma = 1.0
"#;

/// UniAD on the same features.
pub const UNIAD: &str = r#"
[method]
name = "uniad"
network = { hidden = 16, heads = 2, feed_forward = 16, encoder_layers = 1, decoder_layers = 1 }
mask.size = 3
train = { epochs = 2, batch = 4, lr = 0.01 }
score.pool = 4
"#;

/// The small study of every method of the registry, in its order: what must hold of all methods is tested with these.
pub const STUDIES: &[(&str, &str)] =
    &[("dmad", DMAD), ("patchcore", PATCHCORE), ("simplenet", SIMPLENET), ("uniad", UNIAD)];

/// The default of a method's key below `train`; `None` where it has no such key.
pub fn train_default(method: &str, key: &str) -> Option<serde_json::Value> {
    let entry = METHODS.iter().find(|entry| entry.kind.name == method).expect("a method");
    (entry.kind.defaults)().get("train")?.get(key).cloned()
}

/// A row of an experiment with another method: `method` is a `[method]` table.
pub fn variant(name: &str, method: &str) -> String {
    format!("\n[[variant]]\nname = \"{name}\"\n{}", method.replace("[method", "[variant.method"))
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
    folder: std::sync::Arc<tempfile::TempDir>,
    session: Session,
}

impl Lab {
    /// An empty one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("datasets.toml"), DATASETS).expect("written");
        Lab::within(folder.into())
    }

    /// Another session in the same folder, as a process started later would be: it has nothing open yet.
    pub fn again(&self) -> Self {
        Lab::within(self.folder.clone())
    }

    fn within(folder: std::sync::Arc<tempfile::TempDir>) -> Self {
        let below = |name: &str| folder.path().join(name);
        let settings = Settings {
            data: below("data"),
            weights: below("weights"),
            results: below("results"),
            store: below("store"),
            device: DeviceKind::Cpu,
            memory_bytes: 1 << 30,
        };
        let catalog = Catalog::load(Some(&below("datasets.toml"))).expect("a catalog");
        let session = Session::open(settings, catalog, Progress::silent()).unwrap_or_else(|e| panic!("{e}"));
        Lab { folder, session }
    }

    /// The folder of artifacts.
    pub fn store(&self) -> &Path {
        &self.session.settings.store
    }

    /// The results of a study.
    pub fn results(&self, experiment: &Experiment) -> PathBuf {
        self.session.settings.results.join(&experiment.name)
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
        run::check(&self.session, &experiment, &experiment.runs)?;
        let summary = run::experiment(&self.session, &experiment, &experiment.runs, &Options::default())?;
        Ok((experiment, summary))
    }

    /// The records of a study.
    pub fn recorded(&self, experiment: &Experiment) -> Recorded {
        read_experiment(&self.results(experiment), &dmad::report::kinds()).unwrap_or_else(|e| panic!("{e}"))
    }
}
