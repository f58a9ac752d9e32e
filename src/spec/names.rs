//! Names in an experiment file that only its datasets can tell to be right: classes of tables, figures and claims.
//!
//! Owns: which they are, where they stand, and the fault. Does not own: which classes there are (`data`), or asking
//! (`run::names`).

use std::collections::BTreeSet;

use super::check::suggestion;
use super::diagnostic::Place;
use super::run::RunSpec;
use super::tree::{Node, Value};
use crate::error::Error;

/// What stands for all classes of a dataset together.
const MEAN: &str = "mean";

/// A class that a table, a figure or a claim names.
#[derive(Clone, Debug)]
pub struct NamedClass {
    /// The class.
    pub name: String,
    /// Datasets of which one has to have it.
    pub datasets: BTreeSet<String>,
    /// The key that names it, such as `table[0].classes`.
    key: String,
    /// Where its name stands.
    place: Place,
}

impl NamedClass {
    /// The fault that its datasets have the classes `known`, and not this one.
    pub fn fault<'a>(&self, known: impl IntoIterator<Item = &'a str>) -> Error {
        let datasets: Vec<String> = self.datasets.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("`{}`: there is no class \"{}\" in {}", self.key, self.name, datasets.join(", "));
        self.place.fault(message, Some(suggestion(&self.name, known)))
    }
}

/// The classes that the tables, figures and claims of a checked file name, in the file's order.
pub(super) fn named_classes<R: AsRef<RunSpec>>(base: &Node, runs: &[R]) -> Vec<NamedClass> {
    let all: BTreeSet<String> = runs.iter().map(|run| run.as_ref().dataset.clone()).collect();
    let mut named = Vec::new();
    for section in ["table", "figure", "claim"] {
        for (number, item) in base.items(section).iter().enumerate() {
            let own: Vec<&Node> = ["datasets", "dataset"].iter().flat_map(|key| texts(item, key)).collect();
            let own: BTreeSet<String> = own.into_iter().filter_map(Node::text).map(str::to_string).collect();
            let datasets = if own.is_empty() { &all } else { &own };
            for key in ["classes", "class"] {
                let takes_mean = section == "table" || key == "class";
                let is_class = |node: &&Node| !(takes_mean && node.text() == Some(MEAN));
                named.extend(texts(item, key).iter().filter(is_class).map(|node| NamedClass {
                    name: node.text().unwrap_or_default().into(),
                    datasets: datasets.clone(),
                    key: format!("{section}[{number}].{key}"),
                    place: node.place.clone(),
                }));
            }
        }
    }
    named
}

/// The texts that a key holds: one, or a list of them.
fn texts<'a>(item: &'a Node, key: &str) -> &'a [Node] {
    match item.find(&[key]).map(|entry| &entry.node) {
        Some(Node { value: Value::Array(items), .. }) => items,
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
}
