//! The catalog of datasets: `datasets.toml`, strictly read.
//!
//! Owns: the file's keys, their checks and the words of the messages. Does not own: what is on disk (`index`).

use crate::data::layouts::{LAYOUTS, Layout, Row, keys_of};
use crate::error::{Error, Result, suggestion};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

const BUILT_IN: &str = include_str!("../../datasets.toml");
const FILE_NAME: &str = "datasets.toml";

/// Images of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Normal training images.
    pub train: usize,
    /// Anomalous training images (VisA's two-class splits).
    pub train_bad: usize,
    /// Normal test images.
    pub test_good: usize,
    /// Anomalous test images.
    pub test_bad: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} train", self.train)?;
        if self.train_bad > 0 {
            write!(f, " + {} anomalous", self.train_bad)?;
        }
        write!(f, ", {} test normal, {} test anomalous", self.test_good, self.test_bad)
    }
}

/// What an entry may say whatever its layout. Empty strings and lists mean "not given".
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Declared {
    /// Arrangement of the files.
    pub layout: String,
    /// Classes in order; empty = those found, sorted.
    pub classes: Vec<String>,
    /// Declared counts, asserted on load.
    pub counts: BTreeMap<String, Counts>,
    /// Where it can be had.
    pub url: String,
    /// SHA-256 of the archive behind `url`.
    pub sha256: String,
    /// Licence in a few words.
    pub licence: String,
    /// Whom to cite.
    pub cite: String,
    /// What one should know of it.
    pub note: String,
}

/// One dataset of the catalog.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name by which experiments call it.
    pub name: String,
    /// What it says whatever its layout.
    pub declared: Declared,
    /// What it says of its layout.
    pub layout: Arc<dyn Layout>,
}

impl Entry {
    /// True when nothing has to be on disk, or it is there.
    pub fn is_present(&self, data_root: &Path) -> bool {
        self.layout.root().is_none() || self.layout.images_path(data_root).is_dir()
    }

    /// The files that its layout wants, for messages.
    pub fn files(&self) -> String {
        let row = LAYOUTS.iter().find(|row| row.name == self.declared.layout);
        row.map(|row| format!("layout {}: {}", row.name, row.files)).unwrap_or_default()
    }
}

/// All known datasets.
#[derive(Clone, Debug)]
pub struct Catalog {
    entries: BTreeMap<String, Entry>,
}

impl Catalog {
    /// Reads the catalog at `path`, or the copy built into the program when there is no path.
    ///
    /// # Errors
    /// An unreadable file, a syntax fault, an unknown key, a key that its layout does not know, or a value out of range.
    pub fn load(path: Option<&Path>) -> Result<Catalog> {
        match path {
            None => Catalog::parse(BUILT_IN, Path::new(FILE_NAME)),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
                Catalog::parse(&text, path)
            }
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Catalog> {
        let source = Source { text, path };
        let document = DeTable::parse(text).map_err(|e| source.toml_error(&e))?;
        source.check_keys(document.get_ref(), &["dataset".into()], "the top level", &[])?;
        let mut entries = BTreeMap::new();
        if let Some(datasets) = document.get_ref().get("dataset") {
            for (name, value) in source.table(datasets, "`dataset`")? {
                entries.insert(name.get_ref().to_string(), source.entry(name, value)?);
            }
        }
        Ok(Catalog { entries })
    }

    /// The entry called `name`.
    ///
    /// # Errors
    /// A usage error that lists the known names and the nearest.
    pub fn get(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).ok_or_else(|| Error::unknown("dataset", name, self.names()))
    }

    /// All entries, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

/// The text being read, for positions in messages.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn at(&self, offset: usize, what: &str, help: impl Into<String>) -> Error {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        Error::data(self.path, format!("line {line}, column {column}: {what}"), help)
    }

    fn toml_error(&self, error: &toml::de::Error) -> Error {
        self.at(error.span().map_or(0, |span| span.start), error.message(), "correct the file there")
    }

    fn table<'t, 'i>(&self, value: &'t Spanned<DeValue<'i>>, what: &str) -> Result<&'t DeTable<'i>> {
        let fault = || self.at(value.span().start, &format!("{what} must be a table"), "correct the file there");
        value.get_ref().as_table().ok_or_else(fault)
    }

    /// One entry: its keys are its layout's, or those that every entry may have.
    fn entry(&self, name: &Spanned<Cow<str>>, value: &Spanned<DeValue>) -> Result<Entry> {
        let table = self.table(value, &format!("`dataset.{}`", name.get_ref()))?;
        let layout = self.layout(name, table)?;
        let own = (layout.keys)();
        let mut known = keys_of::<Declared>();
        known.extend(own.iter().cloned());
        let place = format!("[dataset.{}] (layout {})", name.get_ref(), layout.name);
        self.check_keys(table, &known, &place, LAYOUTS)?;
        if let Some(counts) = table.get("counts").and_then(|counts| counts.get_ref().as_table()) {
            for (class, count) in counts {
                let Some(count) = count.get_ref().as_table() else { continue };
                let place = format!("the counts of `{}`", class.get_ref());
                self.check_keys(count, &keys_of::<Counts>(), &place, &[])?;
            }
        }
        let is_own = |(key, _): &(Spanned<Cow<str>>, Spanned<DeValue>)| own.iter().any(|own| own == key.get_ref());
        let (own, common): (DeTable, DeTable) = table.clone().into_iter().partition(is_own);
        let spanned = |table| Spanned::new(value.span(), table);
        let declared = Declared::deserialize(Deserializer::from(spanned(common))).map_err(|e| self.toml_error(&e))?;
        let layout = (layout.parse)(spanned(own)).map_err(|e| self.toml_error(&e))?;
        let entry = Entry { name: name.get_ref().to_string(), declared, layout };
        check_values(&entry).map_err(|what| {
            let what = format!("dataset `{}`: {what}", entry.name);
            Error::data(self.path, what, "correct the entry of that dataset")
        })?;
        Ok(entry)
    }

    /// The layout that an entry names.
    fn layout(&self, name: &Spanned<Cow<str>>, table: &DeTable) -> Result<&'static Row> {
        let names = || LAYOUTS.iter().map(|row| row.name);
        let Some(value) = table.get("layout") else {
            let what = format!("[dataset.{}] lacks `layout`", name.get_ref());
            return Err(self.at(name.span().start, &what, suggestion("", names())));
        };
        let word = value.get_ref().as_str().unwrap_or_default();
        LAYOUTS.iter().find(|row| row.name == word).ok_or_else(|| {
            self.at(value.span().start, &format!("there is no layout `{word}`"), suggestion(word, names()))
        })
    }

    /// Refuses keys of a table that are not `known`, and says which of the `others` they are of.
    fn check_keys(&self, table: &DeTable, known: &[String], place: &str, others: &[Row]) -> Result<()> {
        let Some(key) = table.keys().find(|key| !known.iter().any(|known| known == key.get_ref())) else {
            return Ok(());
        };
        let name: &str = key.get_ref();
        let of = others.iter().filter(|row| (row.keys)().iter().any(|key| key == name)).map(|row| row.name);
        let of = of.collect::<Vec<_>>().join(", ");
        let of = if of.is_empty() { of } else { format!("`{name}` is a key of layout {of}; ") };
        let help = of + &suggestion(name, known.iter().map(String::as_str));
        Err(self.at(key.span().start, &format!("unknown key `{name}` in {place}"), help))
    }
}

fn check_values(Entry { declared, layout, .. }: &Entry) -> Result<(), String> {
    let mut sorted: Vec<&String> = declared.classes.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("class `{}` is listed twice", pair[0]));
    }
    if let Some(class) = declared.classes.iter().find(|c| c.is_empty() || c.contains(['/', '\\']) || *c == "..") {
        return Err(format!("`{class}` cannot be the name of a class folder"));
    }
    if let Some(class) = declared.counts.keys().find(|c| !declared.classes.is_empty() && !declared.classes.contains(c))
    {
        return Err(format!("counts are declared for `{class}`, which is not among its classes"));
    }
    if layout.root() == Some("") {
        return Err("`root` is missing".into());
    }
    layout.check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalog_names_every_layout() {
        let known = LAYOUTS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        assert!(BUILT_IN.contains(&format!("a known layout ({known})")), "{known}");
    }

    #[test]
    fn the_built_in_catalog_declares_the_published_totals() {
        let catalog = Catalog::load(None).unwrap();
        for (name, classes, total) in [
            ("mvtec_ad", 15, [3629, 0, 467, 1258]),
            ("visa", 12, [1924, 240, 7697, 960]),
            ("visa_1cls", 12, [8659, 0, 962, 1200]),
            ("visa_2cls_highshot", 12, [5773, 720, 3848, 480]),
            ("dtd", 47, [5640, 0, 0, 0]),
        ] {
            let entry = catalog.get(name).unwrap();
            let sum = |f: fn(&Counts) -> usize| entry.declared.counts.values().map(f).sum::<usize>();
            assert_eq!((entry.declared.classes.len(), entry.declared.counts.len()), (classes, classes), "{name}");
            let sums = [sum(|c| c.train), sum(|c| c.train_bad), sum(|c| c.test_good), sum(|c| c.test_bad)];
            assert_eq!(sums, total, "{name}");
        }
    }
}
