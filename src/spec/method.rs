//! The seam between experiment files and methods: what the parser must know of a method, and no more.

use serde_json::Value as Json;

use super::figure::FigureKind;

/// What experiment files may name, from the registries that come after the parser (`report::kinds` has all of it).
#[derive(Clone, Debug)]
pub struct Kinds {
    /// Methods.
    pub methods: Vec<&'static MethodKind>,
    /// Kinds of figures.
    pub figures: Vec<&'static FigureKind>,
}

/// One method as experiment files see it. The registry is a const slice of these (`methods::METHODS`).
#[derive(Debug)]
pub struct MethodKind {
    /// Value of `method.name`.
    pub name: &'static str,
    /// One sentence with the source.
    pub about: &'static str,
    /// JSON Schema of the parameters (an object without `name`).
    pub schema: fn() -> Json,
    /// The method's own defaults of `image`, `backbone`, `features` where they differ from the general ones.
    pub sections: fn() -> Json,
    /// Fills in the defaults; `auto` values stay.
    pub fill: fn(Json) -> Result<Json, MethodFault>,
    /// Replaces `auto` values and checks what one key alone cannot tell.
    pub resolve: fn(Json, &MethodContext) -> Result<Json, MethodFault>,
}

/// What `auto` values may depend on.
pub struct MethodContext {
    /// Seen anomalies per class.
    pub seen_count: usize,
}

/// A fault in a method's parameters.
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
}

/// JSON Schema of a parameter type, references inlined.
pub fn schema_of<T: schemars::JsonSchema>() -> Json {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Moves the keys that a schema declares out of an object into another.
pub fn take_keys(from: &mut Json, schema: &Json) -> Json {
    let keys = schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key);
    keys.filter_map(|key| from.as_object_mut()?.remove_entry(key)).collect()
}

/// Reads parameters into their type, defaults filled in; the schema has been checked before.
pub fn read_params<T: serde::de::DeserializeOwned>(params: Json) -> Result<T, MethodFault> {
    serde_path_to_error::deserialize(params)
        .map_err(|fault| MethodFault::new(&fault.path().to_string(), fault.inner().to_string()))
}

/// Parameters back as JSON.
pub fn write_params<T: serde::Serialize>(params: &T) -> Json {
    serde_json::to_value(params).unwrap_or_else(|fault| unreachable!("parameters are plain data: {fault}"))
}
