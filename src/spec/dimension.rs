//! What tables and figures can be ordered by.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Mutex;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::check::suggestion;
use super::run::{RunSpec, leaves};
use super::settings::to_json;
use super::tree::{Node, Value};
use crate::error::Result;
use crate::threads::lock;

/// A dotted key that an experiment names. (An alias, because a derive would take a reference for borrowed input.)
pub type DottedKey = &'static str;

/// What tables and figures can be ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Dimension {
    #[default]
    Class,
    Variant,
    Method,
    SeenAnomalies,
    Dataset,
    Seed,
    /// A setting of the runs by its dotted key, such as one that is swept.
    Setting(DottedKey),
}

/// Those that every run has, by the names that files and columns call them.
pub const DIMENSIONS: [(&str, &str, Dimension); 6] = [
    ("class", "class", Dimension::Class),
    ("variant", "variant", Dimension::Variant),
    ("method", "method", Dimension::Method),
    ("seen_anomalies", "seen", Dimension::SeenAnomalies),
    ("dataset", "dataset", Dimension::Dataset),
    ("seed", "seed", Dimension::Seed),
];

impl From<String> for Dimension {
    /// Whatever is no name of a dimension is a key; [`check_dimensions`] knows whether there is such a one.
    fn from(name: String) -> Self {
        static KEYS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        if let Some((.., dimension)) = DIMENSIONS.iter().find(|(own, ..)| *own == name) {
            return *dimension;
        }
        let mut keys = lock(&KEYS);
        // Keys are few and live as long as the program, so that a dimension stays a plain value.
        let key = keys.get(name.as_str()).copied().unwrap_or_else(|| name.leak());
        keys.insert(key);
        Dimension::Setting(key)
    }
}

impl From<Dimension> for String {
    fn from(dimension: Dimension) -> Self {
        let own = DIMENSIONS.iter().find(|(.., known)| *known == dimension);
        own.map_or(dimension.head(), |(name, ..)| name).into()
    }
}

impl JsonSchema for Dimension {
    fn schema_name() -> Cow<'static, str> {
        "Dimension".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "enum": DIMENSIONS.map(|(name, ..)| name) },
            { "type": "string", "description": "A setting by its dotted key, such as \"method.bank.normal.ratio\"." },
        ]})
    }
}

impl Dimension {
    /// What it is called above its column.
    pub fn head(self) -> &'static str {
        match self {
            Dimension::Setting(key) => key,
            own => DIMENSIONS[own.place().unwrap_or_default()].1,
        }
    }

    /// What it is called on an axis.
    pub fn axis(self) -> &'static str {
        if self == Dimension::SeenAnomalies { "seen anomalies per class" } else { self.head() }
    }

    /// Its place among [`DIMENSIONS`]; `None` for a setting.
    pub fn place(self) -> Option<usize> {
        DIMENSIONS.iter().position(|(.., known)| *known == self)
    }

    /// Whether these of its values lie on a scale: numbers, where numbers count something.
    pub fn is_scale<'a>(self, values: impl IntoIterator<Item = &'a String>) -> bool {
        matches!(self, Dimension::SeenAnomalies | Dimension::Seed | Dimension::Setting(_))
            && values.into_iter().all(|value| value.parse::<f64>().is_ok())
    }
}

/// The keys of tables and figures whose values are dimensions.
const KEYS: [&str; 5] = ["rows", "columns", "x", "lines", "bars"];

/// Refuses a dimension of a table or figure that is none and no setting of any run.
///
/// # Errors
/// The name, at its place.
pub(super) fn check_dimensions<R: AsRef<RunSpec>>(base: &Node, runs: &[R]) -> Result<()> {
    let named = |node: &Node| match &node.value {
        Value::Array(items) => items.clone(),
        _ => vec![node.clone()],
    };
    for section in ["table", "figure"] {
        for (number, item) in base.items(section).iter().enumerate() {
            for (key, node) in KEYS.iter().filter_map(|key| Some((key, &item.find(&[key])?.node))) {
                for own in named(node) {
                    let name = own.text().unwrap_or_default().to_string();
                    let path = format!("{section}[{number}].{key}");
                    if let Dimension::Setting(_) = Dimension::from(name.clone()) {
                        known_setting(&own, &path, &name, runs)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn known_setting<R: AsRef<RunSpec>>(node: &Node, path: &str, name: &str, runs: &[R]) -> Result<()> {
    let settings: Vec<_> = runs.iter().map(|run| to_json(run.as_ref())).collect();
    let known: BTreeSet<String> = settings.iter().flat_map(|own| leaves(own).into_keys()).collect();
    if known.contains(name) {
        return Ok(());
    }
    let own = |key: &&str| name.split_once('.').is_some_and(|(section, _)| key.starts_with(&format!("{section}.")));
    let help = match known.iter().map(String::as_str).filter(own).collect::<Vec<_>>() {
        none if none.is_empty() => {
            suggestion(name, DIMENSIONS.iter().map(|(name, ..)| *name)) + "; or a setting by its dotted key"
        }
        keys => suggestion(name, keys),
    };
    Err(node.place.fault(format!("`{path}` cannot be \"{name}\""), Some(help)))
}
