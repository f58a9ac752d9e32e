//! Strict reading of an experiment's records.

use std::path::{Path, PathBuf};

use super::frames::{MetricRecord, metric_rows, read_parquet};
use super::write::RunFolder;
use super::{StageLog, VERSION};
use crate::error::{Error, Result};
use crate::spec::{Experiment, MethodKind, load};

/// An experiment as recorded.
#[derive(Debug)]
pub struct Recorded {
    /// Its folder.
    pub folder: PathBuf,
    /// The experiment, read back from the resolved copy in the folder.
    pub experiment: Experiment,
    /// Rows of all recorded runs, in the experiment's order.
    pub metrics: Vec<MetricRecord>,
    /// What labels each run's numbers, sorted, without repeats.
    pub labels: Vec<(String, Vec<String>)>,
    /// Runs that are declared but not recorded.
    pub missing: Vec<String>,
    /// Cost of each recorded run: variant, seen anomalies, seed, table of numbers.
    pub costs: Vec<RunCost>,
    /// Stages behind the recorded runs, run after run.
    pub stages: Vec<StageLog>,
}

/// What one run cost.
#[derive(Clone, Debug)]
pub struct RunCost {
    /// Row of the experiment.
    pub variant: String,
    /// Seen anomalies per class.
    pub seen_anomalies: u32,
    /// Numbers in backbone and model.
    pub parameters: u64,
    /// Bytes of all banks.
    pub bank_bytes: u64,
    /// Wall milliseconds per image.
    pub milliseconds_per_image: f64,
}

/// The stages of a run, from its log; a failed run has none.
fn stages(path: &Path) -> Result<Vec<StageLog>> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(Vec::new()) };
    let read = |line: &str| {
        serde_json::from_str(line).map_err(|fault| {
            Error::store(path, format!("not a log of stages ({fault})"), "remove the run's folder and run again")
        })
    };
    text.lines().map(read).collect()
}

/// Reads the records in `folder` (`results/<experiment>`). Another version of the record format is refused.
pub fn read_experiment(folder: &Path, methods: &[&MethodKind]) -> Result<Recorded> {
    let copy = folder.join("experiment.toml");
    if !copy.is_file() {
        return Err(Error::store(
            folder,
            "holds no recorded experiment (no experiment.toml)",
            "name a folder below results/, or run the experiment first",
        ));
    }
    let experiment = load(&copy, methods, &[])?;
    let mut recorded = Recorded {
        folder: folder.into(),
        experiment,
        metrics: Vec::new(),
        labels: Vec::new(),
        missing: Vec::new(),
        costs: Vec::new(),
        stages: Vec::new(),
    };
    for run in &recorded.experiment.runs {
        let id = run.spec.id();
        let own = RunFolder::new(folder, &id);
        let path = own.file("run.toml");
        let Ok(text) = std::fs::read_to_string(&path) else {
            recorded.missing.push(id);
            continue;
        };
        let damaged = |what: String| Error::store(&path, what, "remove the run's folder and run again");
        let table: toml::Table = text.parse().map_err(|fault| damaged(format!("not a run record ({fault})")))?;
        if table.get("record").and_then(|v| v.as_integer()) != Some(i64::from(VERSION)) {
            return Err(damaged(format!("record format {:?} is not this program's {VERSION}", table.get("record"))));
        }
        let metrics = own.file("metrics.parquet");
        recorded.metrics.extend(metric_rows(&read_parquet(&metrics)?, &metrics)?);
        recorded.stages.extend(stages(&own.file("log.jsonl"))?);
        let provenance = table.get("provenance").and_then(|v| v.as_table());
        // A failed run has no numbers, so nothing labels them.
        if let Some(labels) = provenance.and_then(|p| p.get("labels")).and_then(|v| v.as_array()) {
            recorded.labels.push((
                run.spec.variant.clone(),
                labels.iter().filter_map(|v| v.as_str().map(str::to_string)).collect(),
            ));
        }
        if let Some(cost) = provenance.and_then(|p| p.get("cost")).and_then(|v| v.as_table()) {
            let whole = |name: &str| cost.get(name).and_then(|v| v.as_integer()).unwrap_or_default() as u64;
            recorded.costs.push(RunCost {
                variant: run.spec.variant.clone(),
                seen_anomalies: run.spec.protocol.seen.count as u32,
                parameters: whole("parameters"),
                bank_bytes: whole("bank_bytes"),
                milliseconds_per_image: cost
                    .get("milliseconds_per_image")
                    .and_then(|v| v.as_float())
                    .unwrap_or_default(),
            });
        }
    }
    Ok(recorded)
}
