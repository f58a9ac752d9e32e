//! What an experiment file may contain: the wire types behind the parser and `dmad schema`, and the check of `[open]`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::suggestion;
use super::claim::Claim;
use super::display::DisplayNames;
use super::run::{RunSpec, leaves};
use super::settings::to_json;
use super::table::Table;
use super::tree::Node;
use super::types::{Backbone, Evaluation, Features, Geometry, Protocol};
use crate::error::Result;
use crate::metrics::MetricName;

/// An experiment: one TOML file that expands into runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExperimentFile {
    /// A base file, or several of which later ones win, relative to this one: tables merge, arrays and values here win.
    pub include: Option<Names>,
    /// Name of the results folder; default: the file's stem.
    pub name: Option<String>,
    /// One line for tables and reports.
    pub title: String,
    /// What it reproduces, expected time and score, choices made.
    pub description: String,
    /// Rows of paper/published.csv with this `table`.
    pub reproduces: String,
    /// One run per seed; default [0].
    #[schemars(length(min = 1))]
    pub seeds: Vec<u64>,
    /// Dataset(s), as `dmad data list` names them.
    pub dataset: Names,
    /// Only these classes; [] = all.
    pub classes: Vec<String>,
    /// What tables show, in this order; every metric is recorded in any case.
    pub metrics: Vec<MetricName>,
    /// Which images train, which test.
    pub protocol: Protocol,
    /// Geometry of the images.
    pub image: Geometry,
    /// The frozen network.
    pub backbone: Backbone,
    /// Patch features.
    pub features: Features,
    /// The method and its parameters; defaults are those of its page in docs/methods.
    pub method: BTreeMap<String, serde_json::Value>,
    /// How scores meet the truth.
    pub evaluation: Evaluation,
    /// Named rows that differ from the base in the keys they set.
    pub variant: Vec<VariantFile>,
    /// Dotted keys, each with the values it takes; all combinations run.
    pub sweep: BTreeMap<String, Vec<serde_json::Value>>,
    /// Tables to print; default: one table of all metrics by class.
    pub table: Vec<Table>,
    /// Statements to check; each is supported, not supported or undecided.
    pub claim: Vec<Claim>,
    /// How far our numbers may be from published ones.
    pub tolerance: Tolerances,
    /// Dotted keys that the paper leaves open, with the readings that count as its setting beside the one of this file.
    pub open: BTreeMap<String, Readings>,
    /// Figures to draw.
    pub figure: Vec<serde_json::Value>,
    /// What variants, methods, datasets and classes are called in tables and figures, by their names in files, such as
    /// `nearest_normal = "Nearest normal patch"`. No key of it changes a number.
    pub names: DisplayNames,
    /// Other programs that are told of runs as they are recorded. No key of it changes a number, or fails a run.
    pub tracking: Tracking,
}

/// Other programs that are told of runs as they are recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tracking {
    /// Folder for tables, written when the experiment is over; "" = none. Relative to where `dmad` runs.
    pub csv: String,
    /// Folder for TensorBoard's event files; "" = none. Relative to where `dmad` runs.
    pub tensorboard: String,
    /// Address of an MLflow tracking server, such as "http://127.0.0.1:5000"; "" = none. While it is away, runs wait for it.
    pub mlflow: String,
}

/// A named row of an experiment: what differs from the base.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VariantFile {
    /// Name of the row ("full" is the base).
    pub name: String,
    /// Another dataset than the base's.
    pub dataset: Names,
    /// Other classes than the base's.
    pub classes: Vec<String>,
    /// Which images train, which test.
    pub protocol: Protocol,
    /// Geometry of the images.
    pub image: Geometry,
    /// The frozen network.
    pub backbone: Backbone,
    /// Patch features.
    pub features: Features,
    /// Keys of the method; another `method.name` starts from that method's defaults.
    pub method: BTreeMap<String, serde_json::Value>,
    /// How scores meet the truth.
    pub evaluation: Evaluation,
    /// Replaces the base's sweep.
    pub sweep: BTreeMap<String, Vec<serde_json::Value>>,
}

/// One name or a list of names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Names::Many(Vec::new())
    }
}

impl Names {
    /// The names as a list.
    pub fn list(&self) -> Vec<String> {
        match self {
            Names::One(name) => vec![name.clone()],
            Names::Many(names) => names.clone(),
        }
    }
}

/// Readings of a key that a paper leaves open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Readings {
    /// These values.
    Values(Vec<serde_json::Value>),
    /// All numbers between two, both included.
    Range {
        /// The least.
        from: f64,
        /// The greatest.
        to: f64,
    },
}

impl Readings {
    /// Whether a value is one of them.
    pub fn has(&self, value: &serde_json::Value) -> bool {
        match self {
            Readings::Values(values) => values.contains(value),
            Readings::Range { from, to } => value.as_f64().is_some_and(|number| (*from..=*to).contains(&number)),
        }
    }
}

/// Finds open keys that no run has.
pub(super) fn check_open<R: AsRef<RunSpec>>(base: &Node, open: &BTreeMap<String, Readings>, runs: &[R]) -> Result<()> {
    let settings: Vec<serde_json::Value> =
        if open.is_empty() { Vec::new() } else { runs.iter().map(|r| to_json(r.as_ref())).collect() };
    // Of a method that is not the paper's own the key stands behind its name.
    let of_method = |own: &serde_json::Value| {
        let name = own["method"]["name"].as_str().unwrap_or_default().to_string();
        leaves(own).into_keys().flat_map(move |key| [format!("{name}.{key}"), key]).collect::<Vec<_>>()
    };
    let known: BTreeSet<String> = settings.iter().flat_map(of_method).collect();
    match open.keys().find(|key| !known.contains(*key)) {
        None => Ok(()),
        Some(key) => {
            let place = base.find(&["open", key]).map_or(&base.place, |entry| &entry.key);
            let help = suggestion(key, known.iter().map(String::as_str));
            Err(place.fault(format!("`open`: no run has a key \"{key}\""), Some(help)))
        }
    }
}

/// How far (percent) our mean may be from a published value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerances {
    /// AUROC, mean over classes.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub auroc_mean: f64,
    /// AUROC of one class.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub auroc_class: f64,
    /// AP, F1max and PRO, mean over classes.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub other_mean: f64,
    /// AP, F1max and PRO of one class.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub other_class: f64,
}

impl Default for Tolerances {
    fn default() -> Self {
        Tolerances { auroc_mean: 1.0, auroc_class: 4.0, other_mean: 3.0, other_class: 8.0 }
    }
}
