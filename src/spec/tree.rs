//! TOML as a tree that remembers where every key and value stands, through includes, variants and sweeps.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Place, Source};
use crate::error::{Error, Result, nearest};

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
}

/// A TOML value; no key takes a date or time.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

/// Keys in their canonical (sorted) order.
pub type Table = BTreeMap<String, Entry>;

/// A key with its place, and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where the key stands.
    pub key: Place,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// The table below, if this is one.
    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// What a user would call this kind of value.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) => "string",
            Value::Integer(_) => "integer",
            Value::Float(_) => "number",
            Value::Boolean(_) => "boolean",
            Value::Datetime => "date",
            Value::Array(_) => "array",
            Value::Table(_) => "table",
        }
    }

    /// The entry below `path`, as deep as it goes.
    pub fn find(&self, path: &[&str]) -> Option<&Entry> {
        let (first, rest) = path.split_first()?;
        let entry = self.table()?.get(*first)?;
        if rest.is_empty() { Some(entry) } else { entry.node.find(rest) }
    }

    /// Where the value of `key` stands; this table where it lacks the key.
    pub fn place_of(&self, key: &str) -> &Place {
        self.find(&[key]).map_or(&self.place, |entry| &entry.node.place)
    }

    /// The items of the array that `key` holds; none where there is no such array.
    pub fn items(&self, key: &str) -> &[Node] {
        match self.find(&[key]).map(|entry| &entry.node.value) {
            Some(Value::Array(items)) => items,
            _ => &[],
        }
    }

    /// Takes a key out of this table.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        match &mut self.value {
            Value::Table(table) => table.remove(key),
            _ => None,
        }
    }

    /// The value as JSON, places dropped.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::String(text) => text.clone().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Boolean(flag) => (*flag).into(),
            Value::Datetime => serde_json::Value::Null,
            Value::Array(items) => items.iter().map(Node::to_json).collect(),
            Value::Table(table) => table.iter().map(|(key, entry)| (key.clone(), entry.node.to_json())).collect(),
        }
    }

    /// Lays `over` onto this tree: tables merge key by key, anything else is replaced.
    pub fn merge(&mut self, over: &Node) {
        match (&mut self.value, &over.value) {
            (Value::Table(base), Value::Table(table)) => {
                for (key, entry) in table {
                    let replace = |old: &mut Entry| {
                        old.node.merge(&entry.node);
                        old.key = entry.key.clone();
                    };
                    base.entry(key.clone()).and_modify(replace).or_insert_with(|| entry.clone());
                }
            }
            _ => *self = over.clone(),
        }
    }

    /// A tree that holds only `node` below the dotted `path`; every key stands where `key` does.
    pub fn nested(path: &str, key: &Place, node: Node) -> Node {
        path.split('.').rev().fold(node, |below, part| Node {
            value: Value::Table(Table::from([(part.to_string(), Entry { key: key.clone(), node: below })])),
            place: key.clone(),
        })
    }
}

/// Reads a TOML file and everything it includes; the including file wins.
pub fn read(path: &Path) -> Result<Node> {
    read_chain(path, &mut Reading::default())
}

/// Files on the way of a reading.
#[derive(Default)]
struct Reading {
    /// From the file that was asked for down to the one that is being read.
    chain: Vec<PathBuf>,
    /// What was read, with what it includes, by the file and the folder that its includes start from: the number of ways to a file
    /// doubles with every file that includes two others which include the same.
    read: BTreeMap<[PathBuf; 2], Node>,
}

fn read_chain(path: &Path, reading: &mut Reading) -> Result<Node> {
    if !path.is_file() {
        return Err(Error::usage(format!("there is no experiment file {}", path.display()), no_file(path)));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let [identity, folder] = [path, folder].map(|path| path.canonicalize().map_err(Error::io("read", path)));
    let (identity, folder) = (identity?, folder?);
    let place = [identity.clone(), folder];
    // Its places name it as it was included first.
    if let Some(known) = reading.read.get(&place) {
        return Ok(known.clone());
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    reading.chain.push(identity);
    let tree = with_included(parse(path, bytes)?, &mut |name| read_included(path, name, reading))?;
    reading.chain.pop();
    reading.read.insert(place, tree.clone());
    Ok(tree)
}

/// What to do about a file that is not there: one that is called alike, or how to get one.
fn no_file(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.ends_with(".toml"));
    names.sort();
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    // As it is typed from here.
    let near = nearest(&own, names.iter().map(String::as_str)).map(|name| path.with_file_name(name));
    let near = near.map(|path| format!("did you mean `{}`? ", path.display())).unwrap_or_default();
    format!(
        "{near}`dmad init FOLDER` writes one for images of your own, `dmad init --quickstart` one that needs no download"
    )
}

/// Reads one of `files`, names with texts that are built into the program, with what it includes of them.
pub fn read_built_in(name: &Path, files: &[(&str, &str)]) -> Result<Node> {
    let Some((_, text)) = files.iter().find(|(known, _)| Path::new(known) == name) else {
        unreachable!("{} is not built in", name.display())
    };
    let tree = parse_text(Arc::new(Source { path: name.into(), text: text.to_string() }))?;
    with_included(tree, &mut |include| {
        let mut path = name.parent().unwrap_or(Path::new("")).to_path_buf();
        for part in Path::new(include.text().unwrap_or_default()).components() {
            match part {
                Component::ParentDir => drop(path.pop()),
                part => path.push(part),
            }
        }
        read_built_in(&path, files)
    })
}

/// A tree laid over what it includes, each read by `read`.
fn with_included(mut tree: Node, read: &mut dyn FnMut(&Node) -> Result<Node>) -> Result<Node> {
    let Some(include) = tree.remove("include") else { return Ok(tree) };
    let mut merged = Node { value: Value::Table(Table::new()), place: tree.place.clone() };
    for name in include_names(&include.node)? {
        let mut included = read(name)?;
        included.remove("name"); // an including file is another experiment, named by itself
        merged.merge(&included);
    }
    merged.merge(&tree);
    Ok(merged)
}

/// One name, or several of which later ones win; each as the node that holds it.
fn include_names(node: &Node) -> Result<&[Node]> {
    let names = match &node.value {
        Value::Array(names) => names,
        _ => std::slice::from_ref(node),
    };
    match names.iter().find(|name| name.text().is_none()) {
        None => Ok(names),
        Some(other) => {
            let message = format!("`include` must be a string or an array of strings, not a {}", other.kind());
            Err(other.place.fault(message, Some("name TOML files, relative to this one".into())))
        }
    }
}

fn read_included(path: &Path, name: &Node, reading: &mut Reading) -> Result<Node> {
    let text = name.text().unwrap_or_default();
    let base_path = path.parent().unwrap_or(Path::new("")).join(text);
    if base_path.canonicalize().is_ok_and(|identity| reading.chain.contains(&identity)) {
        let message = format!("include cycle: `{text}` is already being read");
        return Err(name.place.fault(message, Some("remove one of the includes".into())));
    }
    if base_path.extension().is_none_or(|ending| ending != "toml") {
        // Faults show lines of the file: not those of files that are no experiments.
        let message = format!("included file `{}` does not end in .toml", base_path.display());
        return Err(name.place.fault(message, Some("name TOML files, relative to this one".into())));
    }
    if !base_path.is_file() {
        let message = format!("included file `{}` does not exist", base_path.display());
        return Err(name.place.fault(message, Some("paths are relative to the including file".into())));
    }
    read_chain(&base_path, reading)
}

fn parse(path: &Path, bytes: Vec<u8>) -> Result<Node> {
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(fault) => {
            let valid = fault.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(fault.as_bytes()).into_owned();
            let source = Arc::new(Source { path: path.into(), text });
            let place = Place { source, range: valid..valid + 1 };
            return Err(place.fault("the file is not UTF-8 from here on", Some("save it as UTF-8 text".into())));
        }
    };
    parse_text(Arc::new(Source { path: path.into(), text }))
}

/// Parses TOML text that is already in memory.
pub fn parse_text(source: Arc<Source>) -> Result<Node> {
    let document = DeTable::parse(&source.text).map_err(|fault| {
        let range = fault.span().unwrap_or(0..0);
        Place { source: source.clone(), range }.fault(fault.message().to_string(), None)
    })?;
    let range = document.span();
    Ok(Node { value: table(document.get_ref(), &source)?, place: Place { source: source.clone(), range } })
}

fn table(table: &DeTable<'_>, source: &Arc<Source>) -> Result<Value> {
    let mut out = Table::new();
    for (key, value) in table.iter() {
        let place = Place { source: source.clone(), range: key.span() };
        out.insert(key.get_ref().to_string(), Entry { key: place, node: node(value, source)? });
    }
    Ok(Value::Table(out))
}

fn node(value: &toml::Spanned<DeValue<'_>>, source: &Arc<Source>) -> Result<Node> {
    let place = Place { source: source.clone(), range: value.span() };
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => return Err(place.fault("this whole number is too large", Some("64 bits are the limit".into()))),
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Float(number),
            _ => return Err(place.fault("this number is not finite", None)),
        },
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => Value::Array(items.iter().map(|item| node(item, source)).collect::<Result<_>>()?),
        DeValue::Table(below) => table(below, source)?,
    };
    Ok(Node { value, place })
}
