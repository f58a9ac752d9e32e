//! The settings of the runs: what differs between variants side by side, and what they share.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexSet;
use maud::{Markup, html};
use serde_json::json;

use crate::record::Recorded;
use crate::report::frame::distinct;
use crate::spec::{RunSpec, in_words, leaves, to_json};

/// The values that the runs of a variant have of each key.
type Values = BTreeMap<String, IndexSet<String>>;

/// Where a variant has no such key.
const NONE: &str = "–";

pub fn settings(recorded: &Recorded) -> Markup {
    let runs = &recorded.experiment.runs;
    let variants = distinct(runs.iter().map(|run| run.variant.as_str()));
    let of: Vec<Values> = variants.iter().map(|name| values(runs.iter().filter(|run| run.variant == *name))).collect();
    let keys: BTreeSet<&String> = of.iter().flat_map(Values::keys).collect();
    let shown: Vec<_> = variants.iter().map(|name| recorded.experiment.names.of(name)).collect();
    let cell = |own: &Values, key: &String| {
        own.get(key).map_or(NONE.into(), |values| values.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    let row = |key: &String| -> Vec<String> { of.iter().map(|own| cell(own, key)).collect() };
    let (shared, different): (Vec<_>, Vec<_>) =
        keys.into_iter().map(|key| (key, row(key))).partition(|(_, cells)| cells.iter().all(|cell| *cell == cells[0]));
    // What takes several values within a variant is what the study is about, also where all variants have them.
    let (several, shared): (Vec<_>, Vec<_>) =
        shared.into_iter().partition(|(key, _)| of[0].get(*key).is_some_and(|values| values.len() > 1));
    // What only some methods have and is the same wherever it is tells of the methods, not of the study.
    let (partial, different): (Vec<_>, Vec<_>) =
        different.into_iter().partition(|(_, cells)| distinct(cells.iter().filter(|cell| *cell != NONE)).len() == 1);
    html! {
        @if !several.is_empty() {
            p { "Every variant with " (several.iter().map(|(key, cells)| format!("{key} = {}", cells[0])).collect::<Vec<_>>().join("; ")) "." }
        }
        @if !different.is_empty() {
            h3 { "What differs between variants" } "\n"
            (beside(&shown, &different))
        }
        @if !partial.is_empty() {
            details {
                summary { "The " (partial.len()) " settings that only some methods have, equal wherever they are" }
                (beside(&shown, &partial))
            }
        }
        details {
            summary { "The " (shared.len()) " settings that all runs share" }
            dl { @for (key, cells) in &shared { div { dt { (key) } dd { (cells[0]) } } } }
        }
    }
}

/// Settings by variant.
fn beside(variants: &[Cow<str>], rows: &[(&String, Vec<String>)]) -> Markup {
    html! {
        div.scroll { table.settings {
            thead { tr { th scope="col" { "setting" } @for name in variants { th scope="col" { (name) } } } }
            tbody { @for (key, cells) in rows { tr {
                th scope="row" { (key) }
                @for cell in cells { td class=[(cell == NONE).then_some("none")] { (cell) } }
            } "\n" } }
        } }
    }
}

fn values<'a>(runs: impl Iterator<Item = &'a RunSpec>) -> Values {
    let (mut found, mut last) = (Values::new(), None);
    for run in runs {
        // Thousands of seeds of one variant differ in nothing else.
        let is_another_seed = last.replace(run).is_some_and(|last: &RunSpec| last.is_but_for_its_seed(run));
        let own = if is_another_seed { json!({ "seed": run.seed }) } else { to_json(run) };
        for (key, value) in leaves(&own).into_iter().filter(|(key, _)| key != "variant") {
            found.entry(key).or_default().insert(in_words(value));
        }
    }
    found
}
