//! The schema of experiment files, from their types and the registries.
//!
//! Owns: putting it together. Does not own: holding a file to it (`check`).

use serde_json::{Value as Json, json};

use super::figure;
use super::file::ExperimentFile;
use super::method::{Kinds, MethodKind, schema_of};

/// JSON Schema of experiment files, methods included.
pub fn schema(kinds: &Kinds) -> Json {
    let mut schema = schema_of::<ExperimentFile>();
    let method = method_schema(&kinds.methods);
    schema["title"] = "dmad experiment".into();
    schema["properties"]["method"] = method.clone();
    schema["properties"]["figure"]["items"] = figure::schema(&kinds.figures);
    schema["properties"]["variant"]["items"]["properties"]["method"] = method;
    schema["properties"]["variant"]["items"]["required"] = json!(["name"]);
    let table = &mut schema["properties"]["table"]["items"];
    table["required"] = json!(["rows"]);
    table["properties"]["rows"].as_object_mut().map(|rows| rows.remove("default"));
    schema
}

/// A method's table is checked against its own method's schema, once variants and sweeps are laid over it.
pub(super) fn schema_without_methods(kinds: &Kinds) -> Json {
    let mut schema = schema(kinds);
    // Which keys there are at all, so that one without its section is recognised.
    let methods = kinds.methods.iter().map(|kind| (kind.schema)());
    let keys =
        methods.filter_map(|own| Some(own["properties"].as_object()?.keys().cloned().collect::<Vec<_>>())).flatten();
    let keys: serde_json::Map<String, Json> = keys.map(|key| (key, json!({}))).collect();
    schema["properties"]["method"] = json!({ "type": "object", "properties": keys });
    schema["properties"]["variant"]["items"]["properties"]["method"] = json!({ "type": "object" });
    schema
}

fn method_schema(methods: &[&MethodKind]) -> Json {
    let option = |kind: &&MethodKind| {
        let mut schema = (kind.schema)();
        schema["title"] = kind.name.into();
        schema["description"] = kind.about.into();
        schema["properties"]["name"] = json!({ "const": kind.name });
        schema
    };
    json!({ "anyOf": methods.iter().map(option).collect::<Json>() })
}
