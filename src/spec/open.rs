//! What a paper leaves open of its settings.
//!
//! Owns: the readings of a key that count, and the check of keys. Does not own: what a verdict makes of them (`paper::settings`).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::suggestion;
use super::method::Kinds;
use super::run::{RunSpec, leaves};
use super::settings::to_json;
use super::tree::Node;
use crate::error::Result;

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

/// Finds open keys that no run has. A key behind a method's name is one of the runs of this method, of which there may be none.
pub(super) fn check_open<R: AsRef<RunSpec>>(
    base: &Node,
    open: &BTreeMap<String, Readings>,
    runs: &[R],
    kinds: &Kinds,
) -> Result<()> {
    if open.is_empty() {
        return Ok(());
    }
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for run in runs {
        let run = run.as_ref();
        known.entry(run.method_name().into()).or_default().extend(leaves(&to_json(run)).into_keys());
    }
    let all: BTreeSet<String> = known.values().flatten().cloned().collect();
    let none = BTreeSet::new();
    for key in open.keys() {
        let method = key.split_once('.').filter(|(name, _)| kinds.methods.iter().any(|kind| kind.name == *name));
        let (own, of_method) = match method {
            Some((name, own)) => (own, known.get(name).unwrap_or(&none)),
            None => (key.as_str(), &all),
        };
        if of_method.contains(own) || method.is_some() && of_method.is_empty() {
            continue;
        }
        let place = base.find(&["open", key]).map_or(&base.place, |entry| &entry.key);
        let help = suggestion(own, of_method.iter().map(String::as_str));
        return Err(place.fault(format!("`open`: no run has a key \"{key}\""), Some(help)));
    }
    Ok(())
}
