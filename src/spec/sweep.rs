//! What a `[sweep]` expands into, and what its points are called.

use serde_json::Value as Json;

use super::check::suggestion;
use super::experiment::RUN_KEYS;
use super::tree::{Entry, Node, Value};
use crate::error::Result;

/// The sweep keys that tables have a dimension for.
const DIMENSIONS: [&str; 2] = ["protocol.seen.count", "dataset"];

/// One point of a sweep: the dotted keys, their entries (for places) and the values they take.
pub type SweepPoint = Vec<(String, Entry, Node)>;

/// The cross product in the order of the sorted keys, the last key running fastest.
pub fn sweep_points(sweep: Option<&Entry>) -> Result<Vec<SweepPoint>> {
    let mut points = vec![Vec::new()];
    for (key, entry) in sweep.and_then(|sweep| sweep.node.table()).into_iter().flatten() {
        if !RUN_KEYS.contains(&key.split('.').next().unwrap_or_default()) {
            let help = suggestion(key, RUN_KEYS.iter().copied());
            return Err(entry.key.fault(format!("`{key}` cannot be swept"), Some(help)));
        }
        let Value::Array(values) = &entry.node.value else {
            return Err(entry.node.place.fault(format!("`sweep.\"{key}\"` must be an array of values"), None));
        };
        if values.is_empty() {
            return Err(entry.node.place.fault(format!("`sweep.\"{key}\"` has no value, so nothing would run"), None));
        }
        points = points
            .iter()
            .flat_map(|point: &SweepPoint| {
                values.iter().map(|value| {
                    let mut point = point.clone();
                    point.push((key.clone(), entry.clone(), value.clone()));
                    point
                })
            })
            .collect();
    }
    Ok(points)
}

/// What a point of a sweep is called: by whatever is swept besides what every table tells apart by itself. Otherwise tables and figures would take different things for further seeds of one.
pub fn swept_name(variant: &str, point: &SweepPoint, points: &[SweepPoint]) -> String {
    let last = |key: &str| key.trim_end_matches(".name").rsplit('.').next().unwrap_or_default().to_string();
    let varies = |number: usize| points.iter().any(|other| other[number].2.to_json() != points[0][number].2.to_json());
    let told =
        point.iter().enumerate().filter(|(number, (key, ..))| !DIMENSIONS.contains(&key.as_str()) && varies(*number));
    let told = told.map(|(_, (key, _, value))| {
        let shared = point.iter().any(|(other, ..)| other != key && last(other) == last(key));
        let name = if shared { key.clone() } else { last(key) };
        match value.to_json() {
            Json::String(text) => format!("{name}={text}"),
            value => format!("{name}={value}"),
        }
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { variant.into() } else { format!("{variant}[{}]", told.join(", ")) }
}

/// Whether a name in a table or figure means a variant: its own name, or without what was swept.
pub fn names_variant(name: &str, variant: &str) -> bool {
    variant.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

/// Whether a list of variants has one; an empty list has all.
pub fn lists_variant(list: &[String], variant: &str) -> bool {
    list.is_empty() || list.iter().any(|name| names_variant(name, variant))
}
