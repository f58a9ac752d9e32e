//! Writing records: every file in one step, `run.toml` last, because it is what makes a record exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::{DataFrame, PolarsError};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value as Json, json};

use super::frames::{MetricRecord, image_frame, metric_frame, parquet_bytes};
use super::provenance::{Provenance, machine};
use super::read::{RecordedRun, value};
use super::seal::{checksum, seal};
use super::{MetricRow, Results, VERSION};
use crate::error::{Error, Result};
use crate::methods::Scoring;
use crate::metrics::MetricName;
use crate::spec::{Experiment, Run, RunSpec, Setting};
use crate::store::{Artifact, remove_if_there, write_atomically};

pub use crate::data::index::MEAN;

/// What the record of a finished run consists of besides its `run.toml`.
pub(super) const FILES: [&str; 4] = ["metrics.parquet", "images.parquet", "scores.safetensors", "log.jsonl"];

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

/// Everything that goes into a run's folder.
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Record<'a> {
    pub experiment: &'a Experiment,
    pub run: &'a Run,
    /// What the record stands for; another key means stale.
    pub key: &'a str,
    pub results: &'a Results,
    /// Patch scores of each class: epochs × images × patches.
    pub scores: &'a [Arc<Artifact>],
    /// Patches: rows, columns.
    pub grid: (usize, usize),
    /// How patch scores became image scores and maps.
    pub scoring: Scoring,
    /// Trained models, one per group of classes.
    pub models: &'a [Arc<Artifact>],
    pub provenance: &'a Provenance,
}

impl RunFolder {
    /// The folder of run `id` of the experiment in `experiment`.
    pub fn new(experiment: &Path, id: &str) -> Self {
        RunFolder(experiment.join("runs").join(id))
    }

    /// The one that is itself at `path`.
    pub(super) fn at(path: &Path) -> Self {
        RunFolder(path.into())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What `run.toml` says before its first table, whether or not the rest of it is whole: a glance where there are
    /// thousands.
    pub(super) fn head(&self) -> Option<toml::Table> {
        let text = std::fs::read_to_string(self.file("run.toml")).ok()?;
        text.split("\n[").next()?.parse().ok()
    }

    /// The message of a run that failed.
    pub fn failure(&self) -> Option<String> {
        Some(self.head()?.get("error")?.as_str()?.into())
    }

    /// How the record in it stands to what a run would do today: a record is current when it was made from the same
    /// stages, and all its files are there as they were written.
    pub fn standing(&self, key: &str, dataset_digest: &str, weights_digest: &str) -> Standing {
        let table = match self.table() {
            Ok(Some(table)) => table,
            Ok(None) => return Standing::Absent,
            Err(_) => return Standing::Stale("its run.toml is damaged or of another format"),
        };
        let text = |path: &[&str]| value(&table, path)?.as_str();
        let gone = || FILES.iter().any(|file| !self.file(file).is_file());
        match text(&["status"]) {
            Some("error") => Standing::Failed,
            _ if text(&["key"]) == Some(key) && gone() => Standing::Stale("some of its files are gone"),
            _ if text(&["key"]) == Some(key) && self.check(&table, &FILES, &[]).is_err() => {
                Standing::Stale("some of its files are damaged")
            }
            _ if text(&["key"]) == Some(key) => Standing::Current,
            _ if text(&["provenance", "dataset_digest"]) != Some(dataset_digest) => {
                Standing::Stale("its images have changed")
            }
            _ if text(&["provenance", "weights_digest"]) != Some(weights_digest) => {
                Standing::Stale("the backbone's weights have changed")
            }
            _ => Standing::Stale("the program, its truth or its device have changed"),
        }
    }
}

/// How a record stands to what a run would do today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Absent,
    /// It says that the run failed.
    Failed,
    /// It is what a run would give today.
    Current,
    /// It was made from something else, which the text names.
    Stale(&'static str),
}

/// Writes a finished run.
pub fn write(folder: &RunFolder, record: &Record) -> Result<()> {
    let results = record.results;
    // Without it there is no record: new files never stand beside the labels of an earlier attempt.
    remove_if_there(&folder.file("run.toml"))?;
    let base = base_row(&record.experiment.name, &record.run.spec);
    let mut rows = Vec::new();
    for class in &results.classes {
        rows.extend(class.metrics.iter().map(|metric| metric_record(&base, &class.name, metric)));
    }
    rows.extend(results.means.iter().map(|metric| metric_record(&base, MEAN, metric)));
    let mut files = Files::new(folder);
    files.frame("metrics.parquet", metric_frame(&rows))?;
    let images: Vec<_> = results.classes.iter().flat_map(|class| &class.images).collect();
    files.frame("images.parquet", image_frame(&base.run, &images))?;
    write_scores(&mut files, record)?;
    write_models(&mut files, record.models, results.epoch)?;
    write_log(&mut files, record.provenance)?;
    // TOML has no null, and JSON no NaN: an epoch without value is a word.
    let curve = results.curve.iter().map(|value| value.map_or(json!("undefined"), Json::from));
    let class = results.classes.iter().map(|class| {
        let (images, regions, empty_masks) = (class.images.len(), class.regions, class.empty_masks);
        json!({ "name": class.name, "images": images, "regions": regions, "empty_masks": empty_masks })
    });
    let rest = json!({
        "status": "ok", "epoch": results.epoch, "scoring": record.scoring, "curve": curve.collect::<Vec<_>>(),
        "provenance": record.provenance, "class": class.collect::<Vec<_>>(), "files": files.sums,
    });
    write_run_toml(folder, record.experiment, record.run, record.key, rest)
}

/// Writes a run that failed: a row, never a gap. A record of numbers has made way before ([`RunFolder::make_way`]).
pub fn write_failure(
    folder: &RunFolder,
    experiment: &Experiment,
    run: &Run,
    message: &str,
    help: Option<&str>,
) -> Result<()> {
    // What an attempt has left that was killed while it wrote.
    for name in ["run.toml", "images.parquet", "scores.safetensors", "model.safetensors", "log.jsonl"] {
        remove_if_there(&folder.file(name))?;
    }
    let row = |metric: MetricName| MetricRecord {
        class: MEAN.into(),
        metric: metric.as_str().into(),
        status: "error".into(),
        error: message.into(),
        ..base_row(&experiment.name, &run.spec)
    };
    let rows = MetricName::ALL.map(row);
    let mut files = Files::new(folder);
    files.frame("metrics.parquet", metric_frame(&rows))?;
    let help = help.unwrap_or_default();
    let rest = json!({ "status": "error", "error": message, "help": help, "files": files.sums });
    write_run_toml(folder, experiment, run, "", rest)
}

fn base_row(experiment: &str, spec: &RunSpec) -> MetricRecord {
    MetricRecord {
        experiment: experiment.into(),
        run: spec.id.clone(),
        variant: spec.variant.clone(),
        method: spec.method_name().into(),
        dataset: spec.dataset.clone(),
        setting: match spec.protocol.setting {
            Setting::Unified => "unified".into(),
            Setting::PerClass => "per_class".into(),
        },
        seen_anomalies: spec.protocol.seen.count as u32,
        seed: spec.seed,
        status: "ok".into(),
        ..MetricRecord::default()
    }
}

fn metric_record(base: &MetricRecord, class: &str, row: &MetricRow) -> MetricRecord {
    MetricRecord {
        class: class.into(),
        metric: row.metric.clone(),
        value: row.value,
        n_pos: row.positives,
        n_neg: row.negatives,
        error: row.reason.clone(),
        ..base.clone()
    }
}

/// A file whose bytes cannot be made.
pub(super) fn unmade<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Error {
    move |fault| Error::store(path, format!("cannot be made ({fault})"), "report this as a fault of the program")
}

/// The files of a record as they are written, with their checksums.
struct Files<'a> {
    folder: &'a RunFolder,
    sums: BTreeMap<&'static str, String>,
}

impl<'a> Files<'a> {
    fn new(folder: &'a RunFolder) -> Self {
        Files { folder, sums: BTreeMap::new() }
    }

    fn write(&mut self, name: &'static str, bytes: &[u8]) -> Result<()> {
        self.sums.insert(name, checksum(bytes));
        write_atomically(&self.folder.file(name), bytes)
    }

    fn frame(&mut self, name: &'static str, frame: Result<DataFrame, PolarsError>) -> Result<()> {
        let bytes = frame.and_then(|mut frame| parquet_bytes(&mut frame));
        self.write(name, &bytes.map_err(unmade(&self.folder.file(name)))?)
    }

    fn tensors(&mut self, name: &'static str, tensors: BTreeMap<String, (Vec<usize>, &[f32])>) -> Result<()> {
        let path = self.folder.file(name);
        let mut views = Vec::new();
        for (name, (shape, values)) in tensors {
            let view = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(values)).map_err(unmade(&path))?;
            views.push((name, view));
        }
        self.write(name, &safetensors::serialize(views, None).map_err(unmade(&path))?)
    }
}

/// Raw patch scores of the epoch that counts, one tensor per class: images × rows × columns.
fn write_scores(files: &mut Files, record: &Record) -> Result<()> {
    let (height, width) = record.grid;
    let mut tensors = BTreeMap::new();
    for (class, artifact) in record.results.classes.iter().zip(record.scores) {
        let values = class.images.len() * height * width;
        let epoch = &artifact.f32("scores")?[record.results.epoch * values..][..values];
        tensors.insert(class.name.clone(), (vec![class.images.len(), height, width], epoch));
    }
    files.tensors("scores.safetensors", tensors)
}

/// The trained model of the evaluated epoch. Names start with the model's number (one per class in `per_class`).
fn write_models(files: &mut Files, models: &[Arc<Artifact>], epoch: usize) -> Result<()> {
    if models.is_empty() {
        return Ok(());
    }
    let mut tensors = BTreeMap::new();
    let prefix = format!("{epoch:05}/");
    for (number, model) in models.iter().enumerate() {
        for name in model.tensors().keys() {
            if let Some(own) = name.strip_prefix(&prefix) {
                tensors.insert(format!("{number}/{own}"), (model.shape(name)?.to_vec(), model.f32(name)?));
            }
        }
    }
    files.tensors("model.safetensors", tensors)
}

/// One JSON line per stage.
fn write_log(files: &mut Files, provenance: &Provenance) -> Result<()> {
    let lines: Vec<String> = provenance.stages.iter().filter_map(|stage| serde_json::to_string(stage).ok()).collect();
    files.write("log.jsonl", (lines.join("\n") + "\n").as_bytes())
}

fn write_run_toml(folder: &RunFolder, experiment: &Experiment, run: &Run, key: &str, rest: Json) -> Result<()> {
    let mut json = json!({
        "record": VERSION, "run": run.spec.id, "experiment": experiment.name, "title": experiment.title, "key": key,
        "identity": run.identity, "spec": run.spec, "environment": machine(),
    });
    if let (Some(json), Json::Object(rest)) = (json.as_object_mut(), rest) {
        json.extend(rest);
    }
    if let Some(stages) = json.pointer_mut("/provenance/stages").and_then(Json::as_array_mut) {
        for stage in stages {
            // Notes hold whole loss curves; they are in log.jsonl.
            stage.as_object_mut().map(|stage| stage.remove("note"));
        }
    }
    let text = toml::to_string(&json).unwrap_or_else(|fault| unreachable!("a record is plain data: {fault}"));
    write_atomically(&folder.file("run.toml"), seal(&text).as_bytes())
}

/// Leaves what an experiment declares: `experiment.toml` with all defaults filled in, and `runs.jsonl` with its runs, from
/// which readers know what should be there without knowing any method.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_experiment(folder: &Path, experiment: &Experiment) -> Result<()> {
    let line = |run: &Run| json!({ "run": run.spec.id, "spec": run.spec }).to_string() + "\n";
    let runs: String = experiment.runs.iter().map(line).collect();
    write_atomically(&folder.join(DECLARED), runs.as_bytes())?;
    let text = format!("{ORIGIN}{}\n{}", experiment.path.display(), experiment.resolved);
    write_atomically(&folder.join("experiment.toml"), text.as_bytes())
}

/// In front of the path of the file that a folder's experiment was declared in.
const ORIGIN: &str = "# All defaults filled in. From ";

/// The file whose experiment a folder holds, where it is there and another one than `path`.
pub fn other_origin(folder: &Path, path: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(folder.join("experiment.toml")).ok()?;
    let known = PathBuf::from(text.lines().next()?.strip_prefix(ORIGIN)?);
    (!same_file::is_same_file(&known, path).ok()?).then_some(known)
}

/// The file of declared runs: one JSON object per line.
pub(super) const DECLARED: &str = "runs.jsonl";

/// Copies what is recorded of a run of the experiment in `folder` into the results folder `results`, without its pictures;
/// returns the bytes.
///
/// # Errors
/// A file that is gone, a folder that cannot be written.
pub fn copy_run(folder: &Path, run: &RecordedRun, results: &Path) -> Result<u64> {
    let target = results.join(folder.file_name().unwrap_or_default());
    let to = RunFolder::new(&target, &run.id);
    std::fs::create_dir_all(&to.0).map_err(Error::io("create", &to.0))?;
    let listed = run.value(&["files"]).and_then(toml::Value::as_table).into_iter().flat_map(|files| files.keys());
    let own = listed.map(String::as_str).chain(["run.toml"]).map(|file| (run.file(file), to.file(file)));
    let shared = ["experiment.toml", DECLARED].map(|file| (folder.join(file), target.join(file)));
    own.chain(shared).map(|(from, to)| std::fs::copy(&from, &to).map_err(Error::io("copy", &from))).sum()
}
