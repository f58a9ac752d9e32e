//! Two runs side by side: which settings differ, and by how much the numbers do.
//!
//! Owns: the comparison. Does not own: its printed form (`cli::runs`). Differences are second minus first, in percent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::evidence::{other_definition, scored, values};
use crate::error::Result;
use crate::metrics::bootstrap::{
    ClassValue, ImageStatistic, Interval, Resampling, ScoredClass, paired_class_interval, paired_image_interval,
};
use crate::record::{MEAN, Recorded, RecordedRun};
use crate::spec::MetricName;

/// Something with another value in the second run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Dotted key.
    pub key: String,
    /// In the first run; empty = not there.
    pub first: String,
    /// In the second.
    pub second: String,
}

/// One metric of one class, or of the mean over the classes that both have.
#[derive(Clone, Debug)]
pub struct MetricDifference {
    /// Class, or "mean".
    pub class: String,
    /// Metric.
    pub metric: MetricName,
    /// Value of the first run in percent.
    pub first: Option<f64>,
    /// Value of the second.
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
    let flat = |run: &RecordedRun| {
        let mut out = BTreeMap::new();
        flatten("", &serde_json::to_value(&run.spec).unwrap_or_default(), &mut out);
        out
    };
    changes(flat(first), flat(second))
}

/// Program, machine, data and weights, where they differ.
pub fn origins(first: &RecordedRun, second: &RecordedRun) -> Vec<Change> {
    let flat = |run: &RecordedRun| {
        let mut out = BTreeMap::new();
        for (table, key) in [
            ("environment", "crate_version"),
            ("environment", "git_revision"),
            ("environment", "git_dirty"),
            ("environment", "cargo_lock"),
            ("environment", "cpu"),
            ("provenance", "device"),
            ("provenance", "dataset_digest"),
            ("provenance", "weights_digest"),
            ("provenance", "labels"),
        ] {
            if let Some(value) = run.value(&[table, key]) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
                out.insert(format!("{table}.{key}"), text);
            }
        }
        out
    };
    changes(flat(first), flat(second))
}

fn changes(first: BTreeMap<String, String>, second: BTreeMap<String, String>) -> Vec<Change> {
    let keys: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let value = |map: &BTreeMap<String, String>, key: &String| map.get(key).cloned().unwrap_or_default();
    keys.into_iter()
        .filter(|key| first.get(*key) != second.get(*key))
        .map(|key| Change { key: key.clone(), first: value(&first, key), second: value(&second, key) })
        .collect()
}

fn flatten(path: &str, json: &Json, out: &mut BTreeMap<String, String>) {
    match json {
        Json::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&below, value, out);
            }
        }
        other => {
            out.insert(path.into(), other.to_string());
        }
    }
}

/// The numbers of two runs, each from its own records: for every metric the mean, then every class.
///
/// # Errors
/// A damaged table of images, or test images with another label in the other run.
pub fn metrics(first: (&Recorded, &RecordedRun), second: (&Recorded, &RecordedRun)) -> Result<Vec<MetricDifference>> {
    let mut out = Vec::new();
    for metric in MetricName::ALL {
        out.extend(metric_differences(first, second, metric)?);
    }
    Ok(out)
}

fn metric_differences(
    first: (&Recorded, &RecordedRun),
    second: (&Recorded, &RecordedRun),
    metric: MetricName,
) -> Result<Vec<MetricDifference>> {
    // Seeds may differ: it is one run against one run.
    let of = |(recorded, run): (&Recorded, &RecordedRun)| -> Vec<(String, f64)> {
        values(recorded, &[run], metric).iter().map(|value| (value.class.to_string(), value.value)).collect()
    };
    let (left, right) = (of(first), of(second));
    let find = |list: &[(String, f64)], class: &str| list.iter().find(|(own, _)| own == class).map(|(_, value)| *value);
    let mut classes: Vec<&str> = left.iter().map(|(class, _)| class.as_str()).collect();
    classes.extend(right.iter().map(|(class, _)| class.as_str()).filter(|class| find(&left, class).is_none()));
    let common: Vec<&str> =
        classes.iter().copied().filter(|c| find(&left, c).is_some() && find(&right, c).is_some()).collect();
    let remark = match other_definition(&[first.1], &[second.1], metric) {
        Some(what) => format!("missing: {what}"),
        None if common.is_empty() => "no class in common".into(),
        None => String::new(),
    };
    let mut out = Vec::new();
    for class in std::iter::once(MEAN).chain(classes.iter().copied()) {
        let wanted: Vec<&str> = if class == MEAN { common.clone() } else { vec![class] };
        let mean = |list: &[(String, f64)]| {
            let own: Vec<f64> = wanted.iter().filter_map(|class| find(list, class)).collect();
            (!own.is_empty()).then(|| 100.0 * own.iter().sum::<f64>() / own.len() as f64)
        };
        let comparable = remark.is_empty() && (class == MEAN || common.contains(&class));
        let (interval, left_out) = match comparable {
            true => paired(first, second, metric, &wanted)?,
            false => (None, 0),
        };
        out.push(MetricDifference {
            class: class.into(),
            metric,
            first: mean(&left),
            second: mean(&right),
            interval: interval.map(|interval| interval.times(100.0)),
            left_out,
            remark: remark.clone(),
        });
    }
    Ok(out)
}

/// The interval of second minus first; images are resampled for image metrics, classes for pixel metrics.
fn paired(
    first: (&Recorded, &RecordedRun),
    second: (&Recorded, &RecordedRun),
    metric: MetricName,
    classes: &[&str],
) -> Result<(Option<Interval>, usize)> {
    match ImageStatistic::of(metric, first.1.spec.evaluation.ap) {
        Some(statistic) => {
            let of = |(recorded, run)| -> Result<Vec<ScoredClass>> {
                let all = scored(recorded, &[run], metric)?.into_iter();
                Ok(all.filter(|own| classes.contains(&own.class)).map(|own| ScoredClass { seed: 0, ..own }).collect())
            };
            let paired = paired_image_interval(&of(second)?, &of(first)?, statistic, Resampling::default())?;
            Ok((Some(paired.interval), paired.left_out))
        }
        None => {
            let of = |(recorded, run)| -> Vec<ClassValue> {
                let all = values(recorded, &[run], metric).into_iter();
                all.filter(|own| classes.contains(&own.class)).map(|own| ClassValue { seed: 0, ..own }).collect()
            };
            Ok((paired_class_interval(&of(second), &of(first), Resampling::default())?, 0))
        }
    }
}
