//! What variants, methods, datasets and classes are called where people read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names for tables and figures, by the names in files; whatever has none is called as it is in files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DisplayNames(BTreeMap<String, String>);

impl DisplayNames {
    /// The names in files that have another for people.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What `name` is called. A point of a sweep is called as its variant, with what was swept.
    pub fn of<'a>(&'a self, name: &'a str) -> Cow<'a, str> {
        if let Some(own) = self.0.get(name) {
            return own.into();
        }
        let Some((variant, swept)) = name.split_once('[') else { return name.into() };
        self.0.get(variant).map_or(name.into(), |own| format!("{own} [{swept}").into())
    }
}
