//! What labels the numbers of runs: labels that all carry, and letters for those of some.

use std::collections::BTreeSet;

use super::frame::distinct;
use crate::error::suggestion;
use crate::record::{Recorded, RecordedRun};
use crate::spec::{Dimension, Experiment, names_variant, words_of};

/// Labels that every recorded run with numbers carries.
pub fn common(recorded: &Recorded) -> Vec<String> {
    common_of(recorded.runs.iter())
}

/// Labels that each of these runs with numbers carries.
pub(super) fn common_of<'a>(runs: impl Iterator<Item = &'a RecordedRun> + Clone) -> Vec<String> {
    let mut with_numbers = runs.filter(|run| run.failure.is_none());
    let rest = with_numbers.clone();
    let Some(first) = with_numbers.next() else { return Vec::new() };
    first.labels.iter().filter(|label| rest.clone().all(|run| run.labels.contains(label))).cloned().collect()
}

/// Names that `[names]` has for nothing that is recorded or shown, each with what may be meant. Classes are known once every
/// run is recorded.
pub fn unused_names(recorded: &Recorded) -> Vec<(&str, String)> {
    let Experiment { runs, tables, names, .. } = &recorded.experiment;
    if !recorded.missing.is_empty() || names.known().next().is_none() {
        return Vec::new();
    }
    let words = words_of(runs, tables);
    let is_used = |name: &str| words.contains(name) || recorded.metrics.iter().any(|row| row.class == name);
    let of_runs = runs.iter().flat_map(|run| [run.variant.as_str(), run.method_name(), &run.dataset]);
    let there = distinct(of_runs.chain(recorded.metrics.iter().map(|row| row.class.as_str())));
    let unused = names.known().filter(|name| !is_used(name));
    unused.map(|name| (name, suggestion(name, there.iter().copied()))).collect()
}

/// Letters for the labels that not all runs carry, in the order in which a table meets them.
pub(super) struct Tags<'a> {
    recorded: &'a Recorded,
    common: Vec<String>,
    /// Those that have a letter, in the order of the letters.
    pub labels: Vec<String>,
}

impl<'a> Tags<'a> {
    pub fn new(recorded: &'a Recorded) -> Self {
        Tags { recorded, common: common(recorded), labels: Vec::new() }
    }

    /// A variant or method with the letters of whatever labels its numbers and not everyone's.
    pub fn tagged(&mut self, dimension: Dimension, value: &str) -> String {
        let is_own = |run: &&RecordedRun| match dimension {
            Dimension::Variant => names_variant(value, &run.spec.variant),
            Dimension::Method => run.spec.method_name() == value,
            _ => false,
        };
        let labels = self.recorded.runs.iter().filter(is_own).flat_map(|run| &run.labels);
        let own: BTreeSet<&String> = labels.filter(|label| !self.common.contains(label)).collect();
        let letter_of = |label: &String| {
            let known = self.labels.iter().position(|known| known == label);
            letter(known.unwrap_or_else(|| {
                self.labels.push(label.clone());
                self.labels.len() - 1
            }))
        };
        let letters: Vec<String> = own.into_iter().map(letter_of).collect();
        let shown = self.recorded.experiment.names.of(value);
        if letters.is_empty() { shown.into() } else { format!("{shown} [{}]", letters.join(",")) }
    }
}

/// a to z, then a1 and so on.
pub fn letter(place: usize) -> String {
    let letter = char::from(b'a' + (place % 26) as u8);
    if place < 26 { letter.into() } else { format!("{letter}{}", place / 26) }
}
