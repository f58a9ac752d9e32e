//! What a `[sweep]` expands into, and what its points are called.

use serde_json::Value as Json;

use super::check::suggestion;
use super::diagnostic::Place;
use super::experiment::RUN_KEYS;
use super::run::RunSpec;
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

/// True for a dotted key that may change `method.name`.
pub(super) fn names_method(key: &str) -> bool {
    key == "method" || key == "method.name"
}

/// True for an experiment, or a row of one, that sweeps such a key.
pub(super) fn sweeps_method(tree: &Node) -> bool {
    tree.find(&["sweep"])
        .and_then(|sweep| sweep.node.table())
        .is_some_and(|sweep| sweep.keys().any(|key| names_method(key)))
}

/// What a point of a sweep is called: by whatever is swept besides what every table tells apart by itself. Otherwise tables and figures would take different things for further seeds of one.
pub fn swept_name(variant: &str, point: &SweepPoint, points: &[SweepPoint]) -> String {
    let varies = |number: usize| points.iter().any(|other| other[number].2.to_json() != points[0][number].2.to_json());
    let told =
        point.iter().enumerate().filter(|(number, (key, ..))| !DIMENSIONS.contains(&key.as_str()) && varies(*number));
    let told = told.map(|(_, (key, _, value))| {
        let shared = point.iter().any(|(other, ..)| other != key && last_part(other) == last_part(key));
        let name = if shared { key } else { last_part(key) };
        format!("{name}={}", in_words(&value.to_json()))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { variant.into() } else { format!("{variant}[{}]", told.join(", ")) }
}

/// What tells a swept key apart in names, where no other ends alike.
fn last_part(key: &str) -> &str {
    key.trim_end_matches(".name").rsplit('.').next().unwrap_or_default()
}

/// A setting as names and tables write it.
pub fn in_words(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// The name of a swept variant without what one key of the sweep says in it.
pub fn without_swept(variant: &str, key: &str) -> String {
    let Some((name, swept)) = variant.split_once('[') else { return variant.into() };
    let is_own = |part: &&str| part.split_once('=').is_some_and(|(own, _)| own == key || own == last_part(key));
    let kept: Vec<&str> = swept.trim_end_matches(']').split(", ").filter(|part| !is_own(part)).collect();
    if kept.is_empty() { name.into() } else { format!("{name}[{}]", kept.join(", ")) }
}

/// Whether a name in a table or figure means a variant: its own name, or without what was swept.
pub fn names_variant(name: &str, variant: &str) -> bool {
    variant.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

/// Refuses a name, at its place, that means no variant of the runs.
pub fn known_variant<R: AsRef<RunSpec>>(name: &str, runs: &[R], place: &Place) -> Result<()> {
    let mut known: Vec<&str> = runs.iter().map(|run| run.as_ref().variant.as_str()).collect();
    known.dedup();
    if known.iter().any(|known| names_variant(name, known)) {
        return Ok(());
    }
    Err(place.fault(format!("there is no variant \"{name}\""), Some(suggestion(name, known))))
}

/// Whether a list of variants has one; an empty list has all.
pub fn lists_variant(list: &[String], variant: &str) -> bool {
    list.is_empty() || list.iter().any(|name| names_variant(name, variant))
}
