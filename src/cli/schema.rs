//! `dmad schema`: the keys of experiment files, for editors as a JSON Schema, for people as a list.

use serde_json::Value as Json;

use super::terminal;
use crate::console::folded;
use crate::error::{Error, Result, nearest};
use crate::report::frame::distinct;
use crate::{report, spec};

/// Print the keys of experiment files.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad schema > experiment.schema.json           for editors: completion, and faults as one types
  dmad schema --keys                             every key with its values, default and meaning
  dmad schema --keys figure.curve                those of one kind of figure; method.dmad, protocol.seen, table")]
pub(super) struct Args {
    /// List keys for people, those below PREFIX where one is given
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, default_missing_value = "")]
    keys: Option<String>,
}

/// Prints the schema, or the list.
///
/// # Errors
/// A prefix that no key has.
pub(super) fn run(args: &Args) -> Result<()> {
    let schema = spec::schema(&report::kinds());
    let Some(prefix) = &args.keys else { return super::print(&format!("{schema:#}")) };
    let mut keys = Vec::new();
    list(&schema, "", &mut keys);
    let is_meant = |key: &Key| {
        let rest = key.path.strip_prefix(prefix.as_str());
        rest.is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('.'))
    };
    let meant: Vec<&Key> = keys.iter().filter(|key| is_meant(key)).collect();
    if meant.is_empty() {
        return Err(Error::usage(format!("no key begins with `{prefix}`"), help(prefix, &keys)));
    }
    super::print(&meant.into_iter().map(|key| key.told()).collect::<Vec<_>>().join("\n"))
}

/// The key, or the beginning of keys, that is most like a prefix, and what the first parts of all are.
fn help(prefix: &str, keys: &[Key]) -> String {
    let paths = || keys.iter().map(|key| key.path.as_str());
    let beginnings = paths().flat_map(|path| path.match_indices('.').map(move |(end, _)| &path[..end]));
    let near = nearest(prefix, paths().chain(beginnings)).map(|near| format!("did you mean `{near}`? "));
    let first = distinct(paths().map(|path| path.split('.').next().unwrap_or_default()));
    format!("{}keys begin with {}", near.unwrap_or_default(), first.join(", "))
}

/// A key that has a value.
struct Key {
    /// Dotted; a kind of figure, or a method, stands as a part of it.
    path: String,
    /// What it may be, and what it is where nothing is said.
    value: String,
    about: String,
}

impl Key {
    fn new(schema: &Json, path: &str) -> Key {
        let default = schema.get("default").filter(|default| !default.is_null());
        let default = default.map(|default| format!(" [{default}]")).unwrap_or_default();
        let about = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        Key { path: path.into(), value: values(schema) + &default, about }
    }

    fn told(&self) -> String {
        let width = terminal::width();
        let about = folded(&self.about, width.map(|width| width.saturating_sub(4).max(20)));
        let about: String = about.lines().map(|line| format!("\n    {line}")).collect();
        format!("{}\n{about}", folded(&format!("{} = {}", self.path, self.value), width)).replace("\n\n", "\n")
    }
}

/// The alternatives of a schema, if it has any.
fn alternatives(schema: &Json) -> &[Json] {
    ["oneOf", "anyOf"].iter().find_map(|key| schema[key].as_array()).map_or(&[], Vec::as_slice)
}

/// All keys with values at and below `path`.
fn list(schema: &Json, path: &str, keys: &mut Vec<Key>) {
    let items = if schema["items"].is_object() { &schema["items"] } else { schema };
    let named = |option: &Json| {
        let tag = ["kind", "name"].iter().find_map(|tag| option["properties"][tag]["const"].as_str());
        tag.map(str::to_string)
    };
    if alternatives(items).iter().any(|option| named(option).is_some()) {
        for option in alternatives(items) {
            let below = named(option).map_or(path.to_string(), |name| format!("{path}.{name}"));
            list(option, &below, keys);
        }
        return;
    }
    match items["properties"].as_object().filter(|properties| !properties.is_empty()) {
        None => {
            keys.push(Key::new(schema, path));
            // What may be a table as well has keys too.
            let tables = alternatives(schema).iter().filter(|option| option["properties"].is_object());
            tables.for_each(|option| list(option, path, keys));
        }
        Some(properties) => {
            for (key, property) in properties.iter().filter(|(_, property)| property.get("const").is_none()) {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                list(property, &below, keys);
            }
        }
    }
}

/// What a value may be.
fn values(schema: &Json) -> String {
    if let Some(word) = schema.get("const") {
        return word.to_string();
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(Json::to_string).collect::<Vec<_>>().join(" | ");
    }
    if !alternatives(schema).is_empty() {
        // What may be left out is nothing that can be written.
        let written = alternatives(schema).iter().filter(|option| option["type"] != "null");
        return written.map(values).collect::<Vec<_>>().join(" | ");
    }
    let types = [&schema["type"]].into_iter().chain(schema["type"].as_array().into_iter().flatten());
    match types.filter_map(Json::as_str).find(|name| *name != "null") {
        Some("array") => format!("[{}, ...]", values(&schema["items"])),
        Some("object") => "table".into(),
        Some("string") => "text".into(),
        Some("boolean") => "true | false".into(),
        Some(number) => {
            let bound = |key: &str, word: &str| schema.get(key).map(|bound| format!(" {word} {bound}"));
            let bounds = [
                bound("minimum", "from"),
                bound("exclusiveMinimum", "above"),
                bound("maximum", "to"),
                bound("exclusiveMaximum", "below"),
            ];
            number.to_string() + &bounds.into_iter().flatten().collect::<String>()
        }
        None => "value".into(),
    }
}
