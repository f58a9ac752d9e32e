//! Recorded runs for other programs: CSV, TensorBoard, MLflow; and anomaly maps for a server that judges them.
//!
//! Owns: what is told of a run ([`Told`]), and one file for each of those who are told. Does not own: the records (`record`).
//! Every target is given the same of every run: settings, tags, values by epoch, final metrics, figures, and whether it
//! failed. Values that are undefined are left out: none of the targets knows such a thing.

pub mod csv;
pub mod live;
pub mod mlflow;
pub mod mvtec_ad_2;
pub mod tensorboard;
mod tfrecord;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::{Error, Result};
use crate::metrics::mean;
use crate::record::{MEAN, Recorded, RecordedRun};
use crate::spec::{in_words, leaves, to_json};

/// What is told of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Name of its experiment.
    pub experiment: String,
    /// Its id.
    pub run: String,
    /// What people call it.
    pub name: String,
    /// When it was recorded, in seconds since 1970.
    pub ended: i64,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// All settings by their dotted keys.
    pub parameters: BTreeMap<String, String>,
    /// What it can be found by, its id and the program's revision among it.
    pub tags: BTreeMap<String, String>,
    /// Values by epoch, from 1 on: losses, and image AUROC where every epoch was scored.
    pub epochs: Vec<(String, Vec<(u64, f64)>)>,
    /// Final metrics: class ("mean" is one), metric, value in [0, 1].
    pub metrics: Vec<(String, String, f64)>,
    /// Figures of its experiment (PNG).
    pub figures: Vec<PathBuf>,
}

impl Told {
    /// The epochs that a final metric is that of.
    pub fn last_epoch(&self) -> u64 {
        self.epochs.iter().flat_map(|(_, values)| values).map(|(epoch, _)| *epoch).max().unwrap_or(0)
    }
}

/// What is told of the recorded runs of an experiment, in its order.
///
/// # Errors
/// A folder of figures that cannot be listed.
pub fn tell(recorded: &Recorded) -> Result<Vec<Told>> {
    let figures = figures(recorded)?;
    Ok(recorded.runs.iter().map(|run| told(recorded, run, &figures)).collect())
}

fn told(recorded: &Recorded, run: &RecordedRun, figures: &[PathBuf]) -> Told {
    let spec = &run.spec;
    let settings = to_json(spec);
    let written = leaves(&settings).into_iter().map(|(key, value)| (key, in_words(value)));
    let text = |path: &[&str]| run.value(path).and_then(toml::Value::as_str).unwrap_or_default().to_string();
    let seconds = run.value(&["provenance", "wall_seconds"]).and_then(toml::Value::as_float).unwrap_or_default();
    let rows = recorded.rows(&run.id).iter();
    let seen = spec.protocol.seen.count;
    let mut tags: BTreeMap<String, String> = [
        ("dmad.run", run.id.clone()),
        ("dmad.key", text(&["key"])),
        ("dmad.experiment", recorded.experiment.name.clone()),
        ("dmad.variant", spec.variant.clone()),
        ("dmad.method", spec.method_name().to_string()),
        ("dmad.dataset", spec.dataset.clone()),
        ("dmad.seed", spec.seed.to_string()),
        ("dmad.seen_anomalies", seen.to_string()),
        ("dmad.status", if run.failure.is_some() { "failed" } else { "ok" }.to_string()),
        ("dmad.revision", text(&["environment", "git_revision"])),
        ("dmad.device", text(&["provenance", "device"])),
        ("dmad.labels", run.labels.join("; ")),
        ("dmad.error", run.failure.clone().unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into();
    tags.retain(|_, value| !value.is_empty());
    Told {
        experiment: recorded.experiment.name.clone(),
        run: run.id.clone(),
        name: format!("{} · {} · {seen} seen · seed {}", spec.variant, spec.dataset, spec.seed),
        ended: clock::seconds_of(&text(&["environment", "date"])).unwrap_or_default(),
        seconds,
        failure: run.failure.clone(),
        parameters: written.collect(),
        tags,
        epochs: epochs(run),
        metrics: rows.filter_map(|row| Some((row.class.clone(), row.metric.clone(), row.value?))).collect(),
        figures: figures.to_vec(),
    }
}

/// Losses of each training by epoch, and the image AUROC of each epoch. Where a run has a training for every class, a loss
/// is the mean over them beside each one's own.
fn epochs(run: &RecordedRun) -> Vec<(String, Vec<(u64, f64)>)> {
    let trained: Vec<_> = run.stages.iter().filter(|stage| stage.note["epochs"].is_array()).collect();
    let mut all: BTreeMap<String, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
    let mut own: BTreeMap<String, Vec<(u64, f64)>> = BTreeMap::new();
    for stage in &trained {
        for (number, epoch) in stage.note["epochs"].as_array().into_iter().flatten().enumerate() {
            let epoch_number = number as u64 + 1;
            for (term, value) in epoch.as_object().into_iter().flatten().filter(|(term, _)| *term != "epoch") {
                let Some(value) = value.as_f64() else { continue };
                let name = if term == "loss" { "loss".to_string() } else { format!("loss/{term}") };
                if trained.len() > 1 {
                    own.entry(format!("{name} of {}", stage.label)).or_default().push((epoch_number, value));
                }
                all.entry(name).or_default().entry(epoch_number).or_default().push(value);
            }
        }
    }
    let means = |values: BTreeMap<u64, Vec<f64>>| values.into_iter().map(|(epoch, all)| (epoch, mean(&all))).collect();
    let mut told: Vec<(String, Vec<(u64, f64)>)> =
        all.into_iter().map(|(name, values)| (name, means(values))).collect();
    told.extend(own);
    let curve = run.curve().into_iter().enumerate().map(|(number, value)| (number as u64 + 1, value));
    let curve: Vec<(u64, f64)> = curve.filter(|(_, value)| value.is_finite()).collect();
    if !curve.is_empty() {
        told.push(("image_auroc by epoch".into(), curve));
    }
    told
}

/// The pictures of an experiment's figures, sorted.
fn figures(recorded: &Recorded) -> Result<Vec<PathBuf>> {
    let folder = recorded.folder.join("figures");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(&folder).map_err(Error::io("list", &folder))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "png"));
    paths.sort();
    // Where what is told waits to be sent, it is read from another folder.
    Ok(paths.into_iter().map(|path| path.canonicalize().unwrap_or(path)).collect())
}

/// What a metric of a class is called: the mean over classes by the metric's name alone.
fn metric_name(class: &str, metric: &str) -> String {
    if class == MEAN { metric.into() } else { format!("{metric}/{class}") }
}
