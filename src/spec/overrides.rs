//! Keys of an experiment's base that the command line sets: `--set image.size=320`.
//!
//! Owns: reading them, laying them over the base, and refusing those that would count nowhere. What is set so is a setting
//! like any other: the same numbers, ids and records as if the file said it.

use std::sync::Arc;

use super::diagnostic::{Place, Source};
use super::experiment::RUN_KEYS;
use super::sweep::in_words;
use super::tree::{self, Node, Value};
use crate::error::Result;

/// What stands where a file's name would in messages about an override.
const OPTION: &str = "--set";

/// One key and its value.
#[derive(Clone, Debug)]
pub struct Override {
    /// As it was given.
    given: String,
    /// The parts of the key.
    key: Vec<String>,
    /// A tree that holds the value below its key, and nothing else.
    tree: Node,
}

impl Override {
    /// Reads `KEY=VALUE`: the value is TOML, and a bare word is a string.
    ///
    /// # Errors
    /// Text that is neither, for people.
    pub fn parse(text: &str) -> Result<Override, String> {
        let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as image.size=320")?;
        let (key, value) = (key.trim(), value.trim());
        if text.contains(['\n', '\r']) {
            return Err("one KEY=VALUE is wanted, on one line".into());
        }
        let read = |value: &str| {
            let source = Source { path: OPTION.into(), text: format!("{key} = {value}") };
            tree::parse_text(Arc::new(source))
        };
        // What looks like TOML, and is none, is a slip of the pen.
        let is_word = !value.is_empty() && !value.contains(['"', '\'', '[', ']', '{', '}', '#', '=', '\\']);
        let tree = match read(value) {
            Err(_) if is_word => read(&format!("\"{value}\"")),
            read => read,
        };
        let tree = tree.map_err(|fault| {
            format!("{fault}; a value is TOML, such as 320, true, [1, 2] or a word; a shell wants '…' around brackets and quotes")
        })?;
        let mut parts = Vec::new();
        let mut below = &tree;
        while let Some((part, entry)) = below.table().and_then(|table| table.first_key_value()) {
            parts.push(part.clone());
            below = &entry.node;
        }
        match parts.first().map(String::as_str) {
            Some("include") => Err("`include` is read before anything is set; name another file instead".into()),
            Some(_) => Ok(Override { given: text.into(), key: parts, tree }),
            None => Err("write KEY=VALUE, such as image.size=320".into()),
        }
    }

    /// As it was given: `KEY=VALUE`.
    pub fn given(&self) -> &str {
        &self.given
    }

    fn node(&self) -> &Node {
        let path: Vec<&str> = self.key.iter().map(String::as_str).collect();
        self.tree.find(&path).map_or(&self.tree, |entry| &entry.node)
    }

    /// The key and its value, as titles show them.
    fn in_words(&self) -> String {
        let dotted: Vec<String> =
            self.key.iter().map(|part| if part.contains('.') { format!("\"{part}\"") } else { part.clone() }).collect();
        format!("{} = {}", dotted.join("."), in_words(&self.node().to_json()))
    }

    fn is_own(&self, place: &Place) -> bool {
        Arc::ptr_eq(&place.source, &self.tree.place.source)
    }
}

/// Lays overrides over a base, later ones over earlier, and names them in its title: tables, figures and pages show it.
pub(super) fn lay(base: &mut Node, overrides: &[Override], name: &str) {
    for Override { tree, .. } in overrides {
        drop_other_method(base, tree);
        base.merge(tree);
    }
    let told = overrides.iter().filter(|own| !["name", "title", "description"].contains(&own.key[0].as_str()));
    let told: Vec<String> = told.map(Override::in_words).collect();
    let (false, Some(first)) = (told.is_empty(), overrides.first()) else { return };
    let title = base.find(&["title"]).and_then(|entry| entry.node.text()).filter(|title| !title.is_empty());
    let title = format!("{} ({})", title.unwrap_or(name), told.join(", "));
    let place = first.tree.place.clone();
    base.merge(&Node::nested("title", &place, Node { value: Value::String(title), place: place.clone() }));
}

/// Finds an override of a setting that no row would feel, because each sweeps the key or another override replaces it.
pub(super) fn check_felt(overrides: &[Override], rows: &[(String, Node)]) -> Result<()> {
    for own in overrides.iter().filter(|own| RUN_KEYS.contains(&own.key[0].as_str())) {
        let path: Vec<&str> = own.key.iter().map(String::as_str).collect();
        let dotted = own.key.join(".");
        let swept = |tree: &Node| tree.find(&["sweep", dotted.as_str()]).is_some();
        let set = |tree: &Node| tree.find(&path).is_some_and(|entry| own.is_own(&entry.node.place));
        let is_replaced = overrides.iter().filter(|other| other.key == own.key).count() > 1;
        if own.node().table().is_some() || rows.iter().any(|(_, tree)| set(tree) && !swept(tree)) {
            continue;
        }
        let is_swept = rows.iter().any(|(_, tree)| swept(tree));
        if is_replaced && !is_swept {
            continue;
        }
        let (why, help) = match is_swept {
            true => {
                let value = own.node().to_json();
                ("every row sweeps it", format!("set what is swept: --set 'sweep.\"{dotted}\"=[{value}]'"))
            }
            false => ("another --set takes its place", "leave one of them out".into()),
        };
        return Err(own.node().place.fault(format!("`{dotted}` would count nowhere: {why}"), Some(help)));
    }
    Ok(())
}

/// Removes the base's method table when `over` names another method.
pub(super) fn drop_other_method(base: &mut Node, over: &Node) {
    let name = |tree: &Node| tree.find(&["method", "name"]).and_then(|entry| entry.node.text().map(str::to_string));
    if name(over).is_some_and(|new| name(base) != Some(new)) {
        base.remove("method");
    }
}
