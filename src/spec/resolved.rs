//! An experiment with every default written out: the copy beside its records. Reading it again gives the same runs.

use serde_json::Value as Json;

use super::experiment::RUN_KEYS;
use super::run::BASE_VARIANT;
use super::settings::merge;
use super::tree::Node;

/// Sections for which a method may have defaults of its own.
const METHOD_SECTIONS: &[&str] = &["image", "backbone", "features"];

/// Drops what does not belong to a run.
pub(super) fn keep_run_keys(json: &mut Json) {
    if let Some(map) = json.as_object_mut() {
        map.retain(|key, _| RUN_KEYS.contains(&key.as_str()));
    }
}

/// Takes the defaults of the method out of resolved sections again.
pub(super) fn keep_written(sections: &mut Json, tree: &Node) {
    for &key in METHOD_SECTIONS {
        match tree.find(&[key]) {
            Some(entry) => sections[key] = entry.node.to_json(),
            None => {
                sections.as_object_mut().map(|map| map.remove(key));
            }
        }
    }
}

/// The experiment with every default written out. Reading it again gives the same runs.
pub(super) fn resolved_toml(base: &Node, name: &str, seeds: &[u64], rows: Vec<(String, Json)>) -> String {
    let mut json = base.to_json();
    json["name"] = name.into();
    json["seeds"] = seeds.into();
    let written = json["variant"].as_array().cloned().unwrap_or_default();
    let mut variants = Vec::new();
    for (variant, sections) in rows {
        if variant == BASE_VARIANT {
            merge(&mut json, &sections);
            continue;
        }
        let mut row = sections;
        row["name"] = variant.as_str().into();
        if let Some(sweep) = written.iter().find(|w| w["name"] == variant.as_str()).and_then(|w| w.get("sweep")) {
            row["sweep"] = sweep.clone();
        }
        variants.push(row);
    }
    if !variants.is_empty() {
        json["variant"] = variants.into();
    }
    // Through a table, whose keys are sorted: how the file orders its keys leaves no trace.
    let sorted = toml::Table::try_from(&json).and_then(|table| toml::to_string(&table));
    sorted.unwrap_or_else(|fault| unreachable!("a resolved experiment is plain data: {fault}"))
}
