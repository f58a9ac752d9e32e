//! The seam between experiment files and methods: what the parser must know of a method, and no more.

use std::any::Any;
use std::sync::Arc;

use serde_json::Value as Json;

use super::figure::FigureKind;
use super::settings::{difference, merge, to_json};

/// What experiment files may name, from the registries that come after the parser (`report::kinds` has all of it).
#[derive(Clone, Debug)]
pub struct Kinds {
    /// Methods.
    pub methods: Vec<&'static MethodKind>,
    /// Kinds of figures.
    pub figures: Vec<&'static FigureKind>,
}

/// One method as experiment files see it. The registry is a const slice of rows that hold these (`methods::METHODS`).
#[derive(Debug)]
pub struct MethodKind {
    /// Value of `method.name`.
    pub name: &'static str,
    /// One sentence with the source.
    pub about: &'static str,
    /// JSON Schema of the parameters (an object without `name`), with this method's defaults.
    pub schema: fn() -> Json,
    /// All parameters with their defaults, `auto` where they depend on the run.
    pub defaults: fn() -> Json,
    /// The method's own defaults of `image`, `backbone`, `features` where they differ from the general ones.
    pub sections: fn() -> Json,
    /// Reads parameters (defaults laid below them), replaces `auto`, and refuses what one key alone cannot tell.
    pub parse: fn(&Json, &MethodContext) -> Result<Configured, MethodFault>,
}

/// What `auto` values may depend on.
pub struct MethodContext {
    /// Seen anomalies per class.
    pub seen_count: usize,
}

/// A method with its parameters in their own type. Which type, `methods` knows.
#[derive(Clone, Debug)]
pub struct Configured {
    /// All parameters, `auto` replaced: what a record shows.
    pub parameters: Json,
    /// What of them differs from the defaults: what a run's id is made of.
    pub difference: Json,
    /// The method.
    pub method: Arc<dyn Any + Send + Sync>,
}

/// A fault in a method's parameters.
#[derive(Debug)]
pub struct MethodFault {
    /// Dotted key below `method`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl MethodFault {
    /// A fault at `key`.
    pub fn new(key: &str, message: impl Into<String>) -> Self {
        MethodFault { key: key.into(), message: message.into(), help: None }
    }

    /// The same with what to write instead.
    pub fn help(self, help: impl Into<String>) -> Self {
        MethodFault { help: Some(help.into()), ..self }
    }
}

/// JSON Schema of a type, references inlined.
pub fn schema_of<T: schemars::JsonSchema>() -> Json {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// JSON Schema of a method's parameters, every key with the default that it has in this place.
pub fn params_schema<T: schemars::JsonSchema + serde::Serialize + Default>() -> Json {
    let mut schema = schema_of::<T>();
    state_defaults(&mut schema, &to_json(&T::default()));
    schema
}

/// Types that several tables share have other defaults in each of them.
fn state_defaults(schema: &mut Json, defaults: &Json) {
    let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) else { return };
    for (key, property) in properties {
        if let (Some(default), Some(_)) = (defaults.get(key), property.get("default")) {
            property["default"] = default.clone();
            state_defaults(property, default);
        }
    }
}

/// Moves the keys that a schema declares out of an object into another.
pub fn take_keys(from: &mut Json, schema: &Json) -> Json {
    let keys = schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key);
    keys.filter_map(|key| from.as_object_mut()?.remove_entry(key)).collect()
}

/// Reads a table of settings; the schema has been checked before.
pub fn read_table<T: serde::de::DeserializeOwned>(table: Json) -> Result<T, MethodFault> {
    serde_path_to_error::deserialize(table)
        .map_err(|fault| MethodFault::new(&fault.path().to_string(), fault.inner().to_string()))
}

/// Reads a method's parameters laid over the defaults of their type; the schema has been checked before.
pub fn read_params<T>(params: &Json) -> Result<T, MethodFault>
where
    T: serde::de::DeserializeOwned + serde::Serialize + Default,
{
    let mut all = to_json(&T::default());
    merge(&mut all, params);
    read_table(all)
}

/// What of parameters differs from the defaults of the same context.
pub fn params_difference<T: serde::Serialize>(own: &T, default: &T) -> Json {
    difference(&to_json(own), &to_json(default))
}
