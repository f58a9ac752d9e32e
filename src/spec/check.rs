//! Holds a TOML tree against a JSON Schema, so that every fault is found before any work and points at its line.
//!
//! Only the part of JSON Schema that our own types use is understood; anything else in a schema is a bug.

use serde_json::Value as Json;

use super::tree::{Node, Table, Value};
pub use crate::error::suggestion;
use crate::error::{Error, Result};

/// Checks `node` against `schema`. `path` names the node in messages (empty for the whole file).
pub fn check(node: &Node, schema: &Json, path: &str) -> Result<()> {
    for key in ["oneOf", "anyOf"] {
        if let Some(options) = schema[key].as_array() {
            return check_options(node, options, path);
        }
    }
    if let Some(allowed) = schema["enum"].as_array() {
        return check_word(node, &allowed.iter().filter_map(Json::as_str).collect::<Vec<_>>(), path);
    }
    match (schema_type(schema), &node.value) {
        (None, _) => Ok(()), // an unrestricted value (sweep values are checked after they are laid over the base)
        (Some(expected), _) if !fits(node, expected) => Err(wrong_type(node, expected, path)),
        (_, Value::Table(table)) => check_table(node, table, schema, path),
        (_, Value::Array(items)) => check_array(node, items, schema, path),
        (_, Value::Integer(_) | Value::Float(_)) => check_number(node, schema, path),
        _ => Ok(()), // a fixed word has been looked at by `check_tagged`
    }
}

/// The type a schema asks for; optional values list `null` beside it, which TOML cannot write.
fn schema_type(schema: &Json) -> Option<&str> {
    schema["type"]
        .as_str()
        .or_else(|| schema["type"].as_array()?.iter().filter_map(Json::as_str).find(|t| *t != "null"))
}

/// Whether a node is of a type, as far as messages tell types apart: a fraction passes for an integer here.
fn fits(node: &Node, expected: &str) -> bool {
    match node.value {
        Value::Table(_) => expected == "object",
        Value::Array(_) => expected == "array",
        Value::Integer(_) | Value::Float(_) => matches!(expected, "integer" | "number"),
        Value::Boolean(_) => expected == "boolean",
        Value::String(_) => expected == "string",
        Value::Datetime => false,
    }
}

fn wrong_type(node: &Node, expected: &str, path: &str) -> Error {
    let expected = if expected == "object" { "table" } else { expected };
    let message = format!("`{path}` must be {}, not {}", with_article(expected), with_article(node.kind()));
    let is_one = expected == "array" && !["table", "date"].contains(&node.kind());
    node.place.fault(message, is_one.then(|| format!("write [{}]", node.to_json())))
}

fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {word}")
}

fn check_word(node: &Node, allowed: &[&str], path: &str) -> Result<()> {
    match node.text() {
        None => Err(wrong_type(node, "string", path)),
        Some(word) if allowed.contains(&word) => Ok(()),
        Some(word) => {
            let message = format!("`{path}` cannot be \"{word}\"");
            Err(node.place.fault(message, Some(suggestion(word, allowed.iter().copied()))))
        }
    }
}

/// A choice: documented words arrive as `const`s, mixed types as alternatives of which the one of the node's own type
/// gives the message.
fn check_options(node: &Node, options: &[Json], path: &str) -> Result<()> {
    let options = flattened(options);
    if let Some(tag) = common_tag(&options) {
        return check_tagged(node, &options, tag, path);
    }
    let words: Vec<&str> = options
        .iter()
        .flat_map(|o| {
            o["const"].as_str().into_iter().chain(o["enum"].as_array().into_iter().flatten().filter_map(Json::as_str))
        })
        .collect();
    let others: Vec<&Json> = options.into_iter().filter(|o| o["const"].is_null() && o["enum"].is_null()).collect();
    let mut own = Ok(());
    for option in &others {
        match check(node, option, path) {
            Ok(()) => return Ok(()),
            fault if own.is_ok() && schema_type(option).is_some_and(|expected| fits(node, expected)) => own = fault,
            _ => {}
        }
    }
    own?;
    if words.is_empty() || (node.text().is_none() && !others.is_empty()) {
        let kinds: Vec<&str> = others.iter().filter_map(|o| o["type"].as_str()).collect();
        let mut kinds = kinds.join(" or ");
        if !words.is_empty() {
            kinds = format!("{kinds} or one of: {}", words.join(", "));
        }
        let message = format!("`{path}` cannot be {}", with_article(node.kind()));
        return Err(node.place.fault(message, Some(format!("expected {kinds}"))));
    }
    check_word(node, &words, path)
}

/// The key that holds a fixed word in every alternative, where there is one.
fn common_tag<'a>(options: &[&'a Json]) -> Option<&'a str> {
    let fixed = |option: &Json, key: &str| option["properties"][key]["const"].is_string();
    let keys = options.first()?["properties"].as_object()?.keys();
    keys.map(String::as_str).find(|key| options.iter().all(|option| fixed(option, key)))
}

/// A table whose `tag` says which alternative it is held against.
fn check_tagged(node: &Node, options: &[&Json], tag: &str, path: &str) -> Result<()> {
    let words: Vec<&str> = options.iter().filter_map(|option| option["properties"][tag]["const"].as_str()).collect();
    let Some(table) = node.table() else { return Err(wrong_type(node, "object", path)) };
    let Some(entry) = table.get(tag) else {
        let help = format!("one of: {}", words.join(", "));
        return Err(node.place.fault(format!("`{path}` lacks `{tag}`"), Some(help)));
    };
    check_word(&entry.node, &words, &format!("{path}.{tag}"))?;
    let Some(position) = words.iter().position(|word| entry.node.text() == Some(word)) else {
        unreachable!("the word is one of them")
    };
    let has = |option: &Json, key: &str| option["properties"].get(key).is_some();
    for (key, entry) in table.iter().filter(|(key, _)| !has(options[position], key)) {
        // A key that others know is hardly a slip of the pen.
        let others: Vec<&str> = words.iter().zip(options).filter(|(_, o)| has(o, key)).map(|(word, _)| *word).collect();
        if !others.is_empty() {
            let help = format!("it is a key of `{tag}` {}", others.join(", "));
            return Err(entry.key.fault(format!("unknown key `{path}.{key}`"), Some(help)));
        }
    }
    check(node, options[position], path)
}

/// Alternatives of alternatives as one list: documented words below "a number or a word".
fn flattened(options: &[Json]) -> Vec<&Json> {
    let mut flat = Vec::new();
    for option in options {
        match option["oneOf"].as_array().or_else(|| option["anyOf"].as_array()) {
            Some(below) => flat.extend(flattened(below)),
            None => flat.push(option),
        }
    }
    flat
}

fn check_table(node: &Node, table: &Table, schema: &Json, path: &str) -> Result<()> {
    let empty = serde_json::Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    for (key, entry) in table {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match properties.get(key) {
            Some(property) => check(&entry.node, property, &below)?,
            None if schema["additionalProperties"] == Json::Bool(false) => {
                // A key without its section, such as `train` for `method.train`.
                let section = properties.iter().find(|(_, section)| {
                    let alternatives = flattened(std::slice::from_ref(section));
                    alternatives.iter().any(|option| option["properties"].get(key).is_some())
                });
                let help = match section.filter(|_| path.is_empty()) {
                    Some((section, _)) => format!("did you mean `{section}.{key}`?"),
                    None => suggestion(key, properties.keys().map(String::as_str)),
                };
                return Err(entry.key.fault(format!("unknown key `{below}`"), Some(help)));
            }
            None => check(&entry.node, &schema["additionalProperties"], &below)?,
        }
    }
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        if !table.contains_key(required) {
            let message = if path.is_empty() {
                format!("`{required}` is missing")
            } else {
                format!("`{path}` lacks `{required}`")
            };
            return Err(node.place.fault(message, None));
        }
    }
    Ok(())
}

fn check_array(node: &Node, items: &[Node], schema: &Json, path: &str) -> Result<()> {
    if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
        return Err(node.place.fault(format!("`{path}` must not be empty"), None));
    }
    items.iter().enumerate().try_for_each(|(i, item)| check(item, &schema["items"], &format!("{path}[{i}]")))
}

fn check_number(node: &Node, schema: &Json, path: &str) -> Result<()> {
    let number = match node.value {
        Value::Integer(number) => number as f64,
        Value::Float(number) if schema_type(schema) == Some("number") => number,
        _ => return Err(wrong_type(node, schema_type(schema).unwrap_or("number"), path)),
    };
    type Bound = (&'static str, &'static str, fn(&f64, &f64) -> bool);
    let holds: [Bound; 4] = [
        ("minimum", "at least", f64::ge),
        ("maximum", "at most", f64::le),
        ("exclusiveMinimum", "greater than", f64::gt),
        ("exclusiveMaximum", "less than", f64::lt),
    ];
    for (key, relation, holds) in holds {
        if let Some(limit) = schema[key].as_f64().filter(|limit| !holds(&number, limit)) {
            let message = format!("`{path}` = {number} is out of range: it must be {relation} {limit}");
            return Err(node.place.fault(message, None));
        }
    }
    Ok(())
}
