//! The catalog of datasets: `datasets.toml`, strictly read.
//!
//! Owns: the keys that every dataset may have, and their checks. Does not own: the keys of a layout (`layouts`), what is on
//! disk (`index`), finding faults in a file (`spec::check`).

use crate::data::index::MEAN;
use crate::data::layouts::{LAYOUTS, Layout};
use crate::error::{Error, Result};
use crate::spec::check::check;
use crate::spec::{MethodFault, Source, read_table, schema_of, take_keys, tree};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BUILT_IN: &str = include_str!("../../datasets.toml");
const FILE_NAME: &str = "datasets.toml";

/// Images of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
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

impl Counts {
    /// Images of all kinds.
    pub fn total(&self) -> usize {
        self.train + self.train_bad + self.test_good + self.test_bad
    }
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
    /// Where it can be had: the archive itself, or a page about it.
    pub url: String,
    /// The archive, where `url` is a page and the archive can be had without asking.
    pub archive: String,
    /// SHA-256 of the archive.
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
pub struct DatasetEntry {
    /// Name by which experiments call it.
    pub name: String,
    /// What it says whatever its layout.
    pub declared: Declared,
    /// What it says of its layout.
    pub layout: Arc<dyn Layout>,
}

impl DatasetEntry {
    /// Whether both declare the same classes, counts and split of the same layout, wherever they lie.
    fn has_the_images_of(&self, other: &DatasetEntry) -> bool {
        let said = |entry: &DatasetEntry| {
            let Declared { layout, classes, counts, .. } = entry.declared.clone();
            (layout, BTreeSet::from_iter(classes), counts, entry.layout.split().to_string())
        };
        said(self) == said(other)
    }

    /// True when nothing has to be on disk, or it is there.
    pub fn is_present(&self, data_root: &Path) -> bool {
        self.layout.folders().is_none() || self.layout.images_path(data_root).is_dir()
    }

    /// True when it says of itself that it has no test images: textures for methods that want a foreign dataset.
    pub fn only_trains(&self) -> bool {
        self.layout.only_trains()
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
    entries: BTreeMap<String, DatasetEntry>,
    /// Names of the program's own catalog that a file has for other classes, counts or splits.
    redeclared: BTreeSet<String>,
    /// Names that it lacks, and the files beside experiments that declare them.
    elsewhere: BTreeMap<String, PathBuf>,
}

impl Catalog {
    /// The catalog built into the program, with the entries of the file at `path`, where there is one, added to it or in place
    /// of its own of the same name.
    ///
    /// # Errors
    /// An unreadable file, a syntax fault, an unknown key, a key that its layout does not know, or a value out of range.
    pub fn load(path: Option<&Path>) -> Result<Catalog> {
        let mut catalog = Catalog::parse(BUILT_IN.into(), Path::new(FILE_NAME))?;
        if let Some(path) = path {
            let own = Catalog::parse(std::fs::read_to_string(path).map_err(Error::io("read", path))?, path)?;
            let is_other = |entry: &&DatasetEntry| {
                catalog.entries.get(&entry.name).is_some_and(|known| !known.has_the_images_of(entry))
            };
            catalog.redeclared = own.entries.values().filter(is_other).map(|entry| entry.name.clone()).collect();
            catalog.entries.extend(own.entries);
        }
        Ok(catalog)
    }

    /// The catalog that `text` would be as the file `path`.
    ///
    /// # Errors
    /// As of [`Catalog::load`].
    pub fn parse(text: String, path: &Path) -> Result<Catalog> {
        let tree = tree::parse_text(Arc::new(Source { path: path.into(), text }))?;
        check(&tree, &schema(), "")?;
        let datasets = tree.find(&["dataset"]).and_then(|entry| entry.node.table());
        let read = |(name, entry): (&String, &tree::Entry)| {
            let fault = |MethodFault { key, message, help }: MethodFault| match entry.node.find(&[&key]) {
                Some(own) => own.node.place.fault(format!("dataset `{name}`: `{key}`: {message}"), help),
                None => entry.key.fault(format!("dataset `{name}`: {message}"), help),
            };
            Ok((name.clone(), entry_of(name, entry.node.to_json()).map_err(fault)?))
        };
        let entries = datasets.into_iter().flatten().map(read).collect::<Result<_>>()?;
        Ok(Catalog { entries, redeclared: BTreeSet::new(), elsewhere: BTreeMap::new() })
    }

    /// The same, which can say of a name that it lacks where a catalog beside one of these experiment files declares it.
    pub fn beside(mut self, experiments: &[PathBuf]) -> Catalog {
        // What is wrong with a file that nobody has named is nobody's fault.
        let read = |path: &Path| Catalog::parse(std::fs::read_to_string(path).ok()?, path).ok();
        for path in experiments.iter().map(|file| file.with_file_name(FILE_NAME)) {
            let Some(own) = read(&path) else { continue };
            for name in own.entries.into_keys().filter(|name| !self.entries.contains_key(name)) {
                self.elsewhere.entry(name).or_insert_with(|| path.clone());
            }
        }
        self
    }

    /// The same with the program's own entries wherever there is one of the name.
    ///
    /// # Errors
    /// None but for faults of the program.
    pub fn with_published(mut self) -> Result<Catalog> {
        self.entries.extend(Catalog::load(None)?.entries);
        Ok(self)
    }

    /// Whether a dataset has a name of the program's own catalog and other classes, counts or splits than there: nothing then says
    /// that its images are the published ones.
    pub fn is_redeclared(&self, name: &str) -> bool {
        self.redeclared.contains(name)
    }

    /// The entry called `name`, or a usage error that lists the known names and the nearest.
    pub fn get(&self, name: &str) -> Result<&DatasetEntry> {
        self.entries.get(name).ok_or_else(|| match self.elsewhere.get(name).map(|path| path.display()) {
            Some(path) => {
                let help = format!("`{path}` declares it: add `--datasets {path}`");
                Error::usage(format!("there is no dataset `{name}`"), help)
            }
            None => Error::unknown("dataset", name, self.names()),
        })
    }

    /// All entries, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = &DatasetEntry> {
        self.entries.values()
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

/// JSON Schema of the file: an entry has the keys that every entry may have, and those of its layout.
fn schema() -> Json {
    let options = LAYOUTS.iter().map(|row| {
        let mut properties = schema_of::<Declared>()["properties"].take();
        for (key, property) in (row.schema)()["properties"].as_object().into_iter().flatten() {
            properties[key] = property.clone();
        }
        properties["layout"] = json!({ "const": row.name });
        json!({ "type": "object", "properties": properties, "additionalProperties": false })
    });
    let entry = json!({ "oneOf": options.collect::<Json>() });
    let datasets = json!({ "type": "object", "additionalProperties": entry });
    json!({ "type": "object", "properties": { "dataset": datasets }, "additionalProperties": false })
}

/// One entry that fits the schema.
fn entry_of(name: &str, mut json: Json) -> Result<DatasetEntry, MethodFault> {
    let Some(row) = LAYOUTS.iter().find(|row| json["layout"] == row.name) else {
        unreachable!("the layout has been held against the schema")
    };
    let layout = (row.parse)(take_keys(&mut json, &(row.schema)()))?;
    let entry = DatasetEntry { name: name.into(), declared: read_table(json)?, layout };
    check_values(&entry).map_err(|what| MethodFault::new("", what))?;
    Ok(entry)
}

fn check_values(DatasetEntry { declared, layout, .. }: &DatasetEntry) -> Result<(), String> {
    let mut sorted: Vec<&String> = declared.classes.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("class `{}` is listed twice", pair[0]));
    }
    if let Some(class) = declared.classes.iter().find(|c| c.is_empty() || c.contains(['/', '\\']) || *c == "..") {
        return Err(format!("`{class}` cannot be the name of a class folder"));
    }
    if declared.classes.iter().any(|class| class == MEAN) {
        let why = "tables have the mean over all classes by that name";
        return Err(format!("a class cannot be called `{MEAN}`: {why}; rename its folder, and here as well"));
    }
    if let Some(class) = declared.counts.keys().find(|c| !declared.classes.is_empty() && !declared.classes.contains(c))
    {
        return Err(format!("counts are declared for `{class}`, which is not among its classes"));
    }
    if layout.folders().is_some_and(|[root, _]| root.is_empty()) {
        return Err("`root` is missing".into());
    }
    layout.check()
}
