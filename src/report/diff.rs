//! Two runs side by side: which settings differ, and by how much the numbers do.
//!
//! Owns: the comparison. Does not own: its printed form (`cli::runs`). Differences are second minus first, in percent.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::evidence::{other_definition, paired, values};
use super::frame::distinct;
use crate::error::Result;
use crate::metrics::MetricName;
use crate::metrics::bootstrap::{ClassValue, Interval};
use crate::paper::claims::Evidence;
use crate::record::{MEAN, Recorded, RecordedRun};
use crate::spec::{leaves, to_json};

/// Something with another value in the second run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Change {
    pub key: String,
    /// In the first run; empty = not there.
    pub first: String,
    pub second: String,
}

/// One metric of one class, or of the mean over the classes that both have.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct MetricDifference {
    /// Class, or "mean".
    pub class: String,
    pub metric: MetricName,
    /// Value of the first run in percent.
    pub first: Option<f64>,
    pub second: Option<f64>,
    /// Second minus first on the images (or classes) that both have, with its paired interval; `None` = not to be had.
    pub interval: Option<Interval>,
    /// Test images that only one of the two has.
    pub left_out: usize,
    /// Why there is no comparison.
    pub remark: String,
}

/// Settings that differ.
pub fn settings(first: &RecordedRun, second: &RecordedRun) -> Vec<Change> {
    changes([first, second].map(|run| {
        let settings = to_json(&run.spec);
        leaves(&settings).into_iter().map(|(key, value)| (key, value.to_string())).collect()
    }))
}

/// Program, machine, data and weights, where they differ.
pub fn origins(first: &RecordedRun, second: &RecordedRun) -> Vec<Change> {
    let environment =
        ["crate_version", "git_revision", "git_dirty", "cargo_lock", "cpu"].map(|key| ("environment", key));
    let provenance = ["device", "dataset_digest", "weights_digest", "labels"].map(|key| ("provenance", key));
    let told = |run: &RecordedRun, (table, key): (&str, &str)| {
        let value = run.value(&[table, key])?;
        Some((format!("{table}.{key}"), value.as_str().map_or_else(|| value.to_string(), str::to_string)))
    };
    let all = || environment.into_iter().chain(provenance);
    changes([first, second].map(|run| all().filter_map(|place| told(run, place)).collect()))
}

fn changes([first, second]: [BTreeMap<String, String>; 2]) -> Vec<Change> {
    let keys: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let value = |map: &BTreeMap<String, String>, key: &String| map.get(key).cloned().unwrap_or_default();
    let change = |key: &String| Change { key: key.clone(), first: value(&first, key), second: value(&second, key) };
    keys.into_iter().filter(|key| first.get(*key) != second.get(*key)).map(change).collect()
}

/// A run and the records it is in.
type InRecords<'a> = (&'a Recorded, &'a RecordedRun);

/// The numbers of two runs, each from its own records: for every metric the mean, then every class.
///
/// # Errors
/// A damaged table of images, or test images with another label in the other run.
pub fn metrics(first: InRecords, second: InRecords) -> Result<Vec<MetricDifference>> {
    let differences = MetricName::ALL.into_iter().map(|metric| metric_differences(first, second, metric));
    Ok(differences.collect::<Result<Vec<_>>>()?.concat())
}

fn metric_differences(first: InRecords, second: InRecords, metric: MetricName) -> Result<Vec<MetricDifference>> {
    // Seeds may differ: it is one run against one run.
    let (left, right) = (values(first.0, &[first.1], metric), values(second.0, &[second.1], metric));
    let classes = distinct(left.iter().chain(&right).map(|own| own.class));
    let there = |own: &[ClassValue], class: &str| own.iter().any(|value| value.class == class);
    let common: Vec<&str> = classes.iter().copied().filter(|c| there(&left, c) && there(&right, c)).collect();
    let remark = match other_definition(&[first.1], &[second.1], metric) {
        Some(what) => format!("missing: {what}"),
        None if common.is_empty() => "no class in common".into(),
        None => String::new(),
    };
    let mut out = Vec::new();
    for class in std::iter::once(MEAN).chain(classes) {
        let wanted: Vec<&str> = if class == MEAN { common.clone() } else { vec![class] };
        let mean_of = |own: &[ClassValue]| {
            let find = |class: &&str| own.iter().find(|value| value.class == *class).map(|own| own.value);
            let values: Vec<f64> = wanted.iter().filter_map(find).collect();
            (!values.is_empty()).then(|| 100.0 * values.iter().sum::<f64>() / values.len() as f64)
        };
        let comparable = remark.is_empty() && (class == MEAN || common.contains(&class));
        let evidence = match comparable {
            true => paired(&wanted, [(second.0, &[second.1]), (first.0, &[first.1])], metric, |_| 0)?,
            false => Evidence::default(),
        };
        out.push(MetricDifference {
            class: class.into(),
            metric,
            first: mean_of(&left),
            second: mean_of(&right),
            interval: evidence.interval,
            left_out: evidence.left_out,
            remark: if remark.is_empty() { evidence.missing.join("; ") } else { remark.clone() },
        });
    }
    Ok(out)
}
