//! What an experiment file may contain: the wire types behind the parser and `dmad schema`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::claim::{Claim, Tolerances};
use super::dimension::Dimension;
use super::display::DisplayNames;
use super::types::{Backbone, Evaluation, Features, Geometry, Protocol};
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

/// Something that is compared elsewhere and that nobody has built yet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Also {
    /// Its name.
    Name(String),
    /// Its name, with the numbers of seen anomalies where it belongs.
    Where {
        /// Its name.
        name: String,
        /// Seen anomalies per class.
        seen_anomalies: Vec<usize>,
    },
}

impl Also {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Also::Name(name) | Also::Where { name, .. } => name,
        }
    }

    /// Whether it belongs beside runs with so many seen anomalies.
    pub fn belongs(&self, seen: usize) -> bool {
        match self {
            Also::Name(_) => true,
            Also::Where { seen_anomalies, .. } => seen_anomalies.contains(&seen),
        }
    }
}

/// One table of an experiment.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    /// What the rows are: a dimension, or a setting by its dotted key.
    pub rows: Dimension,
    /// What the columns are besides the metrics; [] = metrics alone.
    pub columns: Vec<Dimension>,
    /// Metrics shown; [] = the experiment's.
    pub metrics: Vec<MetricName>,
    /// Only these classes, in this order ("mean" is one); [] = all.
    pub classes: Vec<String>,
    /// Only these datasets, in this order; [] = all.
    pub datasets: Vec<String>,
    /// Only these variants, in this order; [] = all.
    pub variants: Vec<String>,
    /// Only these methods, in this order; [] = all.
    pub methods: Vec<String>,
    /// Methods or variants that nobody has built yet: shown as "not available", never left out.
    pub also: Vec<Also>,
    /// Rank the variants by each metric, with paired bootstrap intervals of the difference to the best.
    pub rank: bool,
    /// Show each variant's paired difference to this one, by each metric, with bootstrap intervals; "" = do not.
    pub against: String,
    /// Title above the table.
    pub title: String,
}
