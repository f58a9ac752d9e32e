//! Names in an experiment file that stand for something of the experiment: classes of tables, figures and claims, which only
//! its datasets can tell to be right, and what `[names]` has other names for.
//!
//! Owns: which they are, where they stand, and the faults. Does not own: which classes there are (`data`), or asking
//! (`run::names`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::check::suggestion;
use super::diagnostic::Place;
use super::display::DisplayNames;
use super::run::{RunSpec, leaves};
use super::settings::to_json;
use super::sweep::in_words;
use super::table::Table;
use super::tree::{Node, Value};
use crate::error::{Error, Result};

/// What stands for all classes of a dataset together.
const MEAN: &str = "mean";

/// A name that is right where a dataset has a class that is called so.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name.
    pub name: String,
    /// Datasets of which one has to have the class.
    pub datasets: BTreeSet<String>,
    /// What else it may have been meant to be.
    others: BTreeSet<String>,
    /// What is wrong where none has.
    message: String,
    /// Where it stands.
    place: Place,
}

impl Named {
    /// The fault that its datasets have the classes `known`, and not this one.
    pub fn fault<'a>(&'a self, known: impl IntoIterator<Item = &'a str>) -> Error {
        let mut known: Vec<&str> = self.others.iter().map(String::as_str).chain(known).collect();
        let mut told = BTreeSet::new();
        known.retain(|name| told.insert(*name));
        self.place.fault(self.message.clone(), Some(suggestion(&self.name, known)))
    }
}

fn datasets<R: AsRef<RunSpec>>(runs: &[R]) -> BTreeSet<String> {
    runs.iter().map(|run| run.as_ref().dataset.clone()).collect()
}

/// The classes that the tables, figures and claims of a checked file name, in the file's order.
pub(super) fn named_classes<R: AsRef<RunSpec>>(base: &Node, runs: &[R]) -> Vec<Named> {
    let all = datasets(runs);
    let mut named = Vec::new();
    for section in ["table", "figure", "claim"] {
        for (number, item) in base.items(section).iter().enumerate() {
            let own = ["datasets", "dataset"].iter().flat_map(|key| texts(item, key)).filter_map(Node::text);
            let own: BTreeSet<String> = own.map(str::to_string).collect();
            let datasets = if own.is_empty() { &all } else { &own };
            let shown: Vec<String> = datasets.iter().map(|name| format!("`{name}`")).collect();
            for key in ["classes", "class"] {
                let takes_mean = section == "table" || key == "class";
                for node in texts(item, key) {
                    let name = node.text().unwrap_or_default();
                    if takes_mean && name == MEAN {
                        continue;
                    }
                    let path = format!("{section}[{number}].{key}");
                    named.push(Named {
                        name: name.into(),
                        datasets: datasets.clone(),
                        others: BTreeSet::new(),
                        message: format!("`{path}`: there is no class \"{name}\" in {}", shown.join(", ")),
                        place: node.place.clone(),
                    });
                }
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

/// The keys of `[names]` that are none of the experiment's own words, and hence must be classes. A file that is included may
/// name what other experiments have.
pub(super) fn displayed_classes<R: AsRef<RunSpec>>(base: &Node, runs: &[R], tables: &[Table]) -> Vec<Named> {
    let Some(entries) = base.find(&["names"]).and_then(|entry| entry.node.table()) else { return Vec::new() };
    let words = words_of(runs, tables);
    let is_own = |place: &Place| Arc::ptr_eq(&place.source, &base.place.source);
    let unknown = entries.iter().filter(|(name, entry)| is_own(&entry.key) && !words.contains(*name));
    let own = |run: &RunSpec| [run.variant.clone(), run.method_name().into(), run.dataset.clone()];
    let others: BTreeSet<String> = runs.iter().flat_map(|run| own(run.as_ref())).collect();
    let named = unknown.map(|(name, entry)| Named {
        name: name.clone(),
        datasets: datasets(runs),
        others: others.clone(),
        message: format!("`names`: \"{name}\" is no variant, method, dataset, class or value of the experiment"),
        place: entry.key.clone(),
    });
    named.collect()
}

/// Whatever runs and tables have a name for that is no class: variants, with and without what was swept, methods, datasets,
/// the values of settings, what nobody has built, and the mean.
pub fn words_of<R: AsRef<RunSpec>>(runs: &[R], tables: &[Table]) -> BTreeSet<String> {
    let also = tables.iter().flat_map(|table| &table.also).map(|also| also.name().to_string());
    let mut words: BTreeSet<String> = also.chain([MEAN.to_string()]).collect();
    let mut last: Option<&RunSpec> = None;
    for run in runs.iter().map(AsRef::as_ref) {
        // Thousands of seeds of one variant differ in nothing else.
        if last.replace(run).is_some_and(|last| last.is_but_for_its_seed(run)) {
            words.insert(run.seed.to_string());
            continue;
        }
        words.extend(leaves(&to_json(run)).into_values().map(in_words));
        words.extend(run.variant.split_once('[').map(|(name, _)| name.to_string()));
    }
    words
}

/// Refuses two variants that readers could not tell apart.
///
/// # Errors
/// The name that both have, at its place.
pub(super) fn check_display<R: AsRef<RunSpec>>(base: &Node, names: &DisplayNames, runs: &[R]) -> Result<()> {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for variant in runs.iter().map(|run| run.as_ref().variant.as_str()) {
        // Of a swept variant with another name the sweep stands apart.
        let shown: Cow<str> = names.of(variant);
        let shown = shown.replace(" [", "[");
        let Some(other) = known.insert(shown.clone(), variant).filter(|other| *other != variant) else { continue };
        let keys = [variant, other].into_iter().flat_map(|name| [Some(name), name.split_once('[').map(|own| own.0)]);
        let entry = keys.flatten().find_map(|key| base.find(&["names", key]));
        let place = entry.map_or_else(|| base.place_of("names"), |entry| &entry.node.place);
        let what = format!("`names`: the variants \"{other}\" and \"{variant}\" are both shown as \"{shown}\"");
        return Err(place.fault(what, Some("give each a name of its own".into())));
    }
    Ok(())
}
