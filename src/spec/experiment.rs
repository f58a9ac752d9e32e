//! From a TOML tree to runs: variants, sweeps, defaults, `auto` values.
//!
//! Order of precedence, weakest first: the general defaults, the method's own defaults, the file (with what it
//! includes), the variant, the sweep. A variant with another `method.name` drops the base's `[method]` table, whose keys
//! belong to another method; dataset, protocol and seeds stay, and so does every section that the file sets itself.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::check::{check, suggestion};
use super::claim::{Claim, Tolerances, check_claims, check_tables};
use super::diagnostic::Place;
use super::figure::{Figure, check_names};
use super::file::{ExperimentFile, Names, Table as TableSpec};
use super::method::{MethodContext, MethodFault, MethodKind, schema_of};
use super::sweep::{sweep_points, swept_name};
use super::tree::{self, Node, Table, Value};
use super::types::{Backbone, Evaluation, Features, Image, Protocol};
use crate::error::{Error, Result};
use crate::metrics::MetricName;

/// Name of the base among the variants.
pub const BASE_VARIANT: &str = "full";

/// Sections for which a method may have defaults of its own.
const METHOD_SECTIONS: &[&str] = &["image", "backbone", "features"];

/// Sections that a variant or a sweep may change.
pub(super) const RUN_KEYS: &[&str] =
    &["dataset", "classes", "protocol", "image", "backbone", "features", "method", "evaluation"];

/// A typed, fully resolved experiment.
#[derive(Debug)]
pub struct Experiment {
    /// The file it came from.
    pub path: PathBuf,
    /// Name of the results folder.
    pub name: String,
    /// One line for tables; the name where the file gives none.
    pub title: String,
    /// Which published table it reproduces; empty = none.
    pub reproduces: String,
    /// Metrics that tables show.
    pub metrics: Vec<MetricName>,
    /// Declared tables.
    pub tables: Vec<TableSpec>,
    /// Statements to check.
    pub claims: Vec<Claim>,
    /// How far its numbers may be from published ones.
    pub tolerances: Tolerances,
    /// Declared figures.
    pub figures: Vec<Figure>,
    /// The runs in canonical order: variant, sweep, dataset, seed.
    pub runs: Vec<Run>,
    /// The resolved experiment as TOML: reading it again gives the same runs.
    pub resolved: String,
}

/// One run with the tree it came from, so that later faults can point at the file.
#[derive(Clone, Debug)]
pub struct Run {
    /// Everything that decides its numbers.
    pub spec: RunSpec,
    tree: Node,
}

/// Everything that decides the numbers of a run, all defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Row of the experiment ("full" = the base).
    pub variant: String,
    /// Dataset name.
    pub dataset: String,
    /// Only these classes; empty = all.
    pub classes: Vec<String>,
    /// The run's seed.
    pub seed: u64,
    /// Which images train, which test.
    pub protocol: Protocol,
    /// Geometry of the images.
    pub image: Image,
    /// The frozen network.
    pub backbone: Backbone,
    /// Patch features.
    pub features: Features,
    /// Method name and parameters.
    pub method: Json,
    /// How scores meet the truth.
    pub evaluation: Evaluation,
}

impl RunSpec {
    /// Name of the method.
    pub fn method_name(&self) -> &str {
        self.method["name"].as_str().unwrap_or_default()
    }

    /// Canonical JSON: keys sorted, so that equal specs have equal text.
    pub fn canonical(&self) -> String {
        let json = serde_json::to_value(self).unwrap_or_else(|fault| unreachable!("a run is plain data: {fault}"));
        canonical_json(&json)
    }

    /// The first 12 hex digits of the hash of the canonical form.
    pub fn id(&self) -> String {
        blake3::hash(self.canonical().as_bytes()).to_hex()[..12].to_string()
    }
}

/// JSON text with sorted keys.
pub fn canonical_json(json: &Json) -> String {
    match json {
        Json::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let items: Vec<String> =
                keys.iter().map(|k| format!("{}:{}", Json::from(k.as_str()), canonical_json(&map[*k]))).collect();
            format!("{{{}}}", items.join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(canonical_json).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

impl Run {
    /// A fault at the dotted `key` of the experiment file: at the key itself, or at the deepest table above it that the
    /// file writes down. The variant is named, because a key that several share may be wrong for one of them alone.
    pub fn fault(&self, key: &str, message: impl Into<String>, help: Option<String>) -> Error {
        let mut message = message.into();
        if self.spec.variant != BASE_VARIANT {
            message = format!("{message} (variant \"{}\")", self.spec.variant);
        }
        locate(&self.tree, key).fault(message, help.filter(|help| !help.is_empty()))
    }
}

fn locate<'a>(tree: &'a Node, key: &str) -> &'a Place {
    let parts: Vec<&str> = key.split('.').collect();
    (1..=parts.len())
        .rev()
        .find_map(|depth| tree.find(&parts[..depth]))
        .map_or(&tree.place, |entry| if entry.node.table().is_some() { &entry.key } else { &entry.node.place })
}

/// JSON Schema of experiment files, methods included.
pub fn schema(methods: &[&MethodKind]) -> Json {
    let mut schema = schema_of::<ExperimentFile>();
    let method = method_schema(methods);
    schema["title"] = "dmad experiment".into();
    schema["properties"]["method"] = method.clone();
    schema["properties"]["variant"]["items"]["properties"]["method"] = method;
    schema["properties"]["variant"]["items"]["required"] = serde_json::json!(["name"]);
    schema
}

fn method_schema(methods: &[&MethodKind]) -> Json {
    let options: Vec<Json> = methods
        .iter()
        .map(|kind| {
            let mut schema = (kind.schema)();
            schema["title"] = kind.name.into();
            schema["description"] = kind.about.into();
            schema["properties"]["name"] = serde_json::json!({ "const": kind.name });
            schema
        })
        .collect();
    serde_json::json!({ "anyOf": options })
}

/// Reads, checks and resolves an experiment file. `more_seeds` run beside the file's own.
pub fn load(path: &Path, methods: &[&MethodKind], more_seeds: &[u64]) -> Result<Experiment> {
    let tree = tree::read(path)?;
    resolve(path, tree, methods, more_seeds)
}

fn resolve(path: &Path, base: Node, methods: &[&MethodKind], more_seeds: &[u64]) -> Result<Experiment> {
    let mut schema = schema(methods);
    // The method table is checked against its own method's schema, once variants and sweeps are laid over it.
    schema["properties"]["method"] = serde_json::json!({ "type": "object" });
    schema["properties"]["variant"]["items"]["properties"]["method"] = serde_json::json!({ "type": "object" });
    check(&base, &schema, "")?;
    let file: ExperimentFile = serde_path_to_error::deserialize(base.to_json())
        .map_err(|fault| base.place.fault(format!("`{}`: {}", fault.path(), fault.inner()), None))?;
    let name = match &file.name {
        Some(name) => name.clone(),
        None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    check_name(&base, &name)?;
    let mut seeds = if file.seeds.is_empty() { vec![0] } else { file.seeds.clone() };
    for &seed in more_seeds {
        if !seeds.contains(&seed) {
            seeds.push(seed);
        }
    }
    let trees = variant_trees(&base)?;
    // Where a sweep changes the method, its own defaults change with it; writing out those of one method would pin them.
    let keep_written = trees.iter().any(|(_, tree)| sweeps_method(tree));
    let mut resolver = Resolver { methods, schema: &schema, seeds: &seeds, keep_written, runs: Vec::new() };
    let mut rows = Vec::new();
    for (variant, tree) in trees {
        rows.push((variant.clone(), resolver.expand(&variant, tree)?));
    }
    check_claims(&base, &file.claim, &resolver.runs)?;
    check_tables(&base, &file.table, &resolver.runs)?;
    check_names(&base, &file.figure, &resolver.runs)?;
    Ok(Experiment {
        path: path.into(),
        title: if file.title.is_empty() { name.clone() } else { file.title.clone() },
        reproduces: file.reproduces.clone(),
        metrics: if file.metrics.is_empty() { MetricName::ALL.to_vec() } else { file.metrics.clone() },
        tables: file.table.clone(),
        claims: file.claim.clone(),
        tolerances: file.tolerance,
        figures: file.figure.clone(),
        resolved: resolved_toml(&base, &name, &seeds, rows),
        runs: resolver.runs,
        name,
    })
}

fn check_name(base: &Node, name: &str) -> Result<()> {
    let fine =
        !name.is_empty() && !name.starts_with('.') && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if fine {
        return Ok(());
    }
    let place = base.find(&["name"]).map_or(&base.place, |entry| &entry.node.place);
    Err(place.fault(format!("\"{name}\" cannot name a folder"), Some("use letters, digits, - and _".into())))
}

/// The base, then every variant laid over it, each with the sweep that holds for it.
fn variant_trees(base: &Node) -> Result<Vec<(String, Node)>> {
    let mut plain = base.clone();
    let Value::Table(table) = &mut plain.value else { unreachable!("a document is a table") };
    let variants = table.remove("variant");
    let mut out = vec![(BASE_VARIANT.to_string(), plain.clone())];
    let items = match variants.map(|entry| entry.node.value) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    for item in items {
        let Value::Table(mut over) = item.value.clone() else { unreachable!("checked against the schema") };
        let Some(name) = over.remove("name") else { unreachable!("checked against the schema") };
        let label = name.node.text().unwrap_or_default().to_string();
        if label.is_empty() || out.iter().any(|(known, _)| *known == label) {
            let message = format!("variant name \"{label}\" is {}", if label.is_empty() { "empty" } else { "taken" });
            return Err(name.node.place.fault(
                message,
                Some(format!("\"{BASE_VARIANT}\" is the base; every variant needs a name of its own")),
            ));
        }
        let mut tree = plain.clone();
        if let Value::Table(table) = &mut tree.value {
            if over.contains_key("sweep") {
                table.remove("sweep");
            }
            drop_other_method(table, &over);
        }
        tree.merge(&Node { value: Value::Table(over), place: item.place });
        out.push((label, tree));
    }
    Ok(out)
}

/// Removes the base's method table when `over` names another method.
fn drop_other_method(base: &mut Table, over: &Table) {
    let name = |table: &Table| {
        table.get("method").and_then(|e| e.node.find(&["name"])).and_then(|e| e.node.text()).map(str::to_string)
    };
    if let Some(new) = name(over)
        && name(base).as_deref() != Some(&new)
    {
        base.remove("method");
    }
}

struct Resolver<'a> {
    methods: &'a [&'a MethodKind],
    schema: &'a Json,
    seeds: &'a [u64],
    /// Sections whose defaults belong to the method are recorded as written.
    keep_written: bool,
    runs: Vec<Run>,
}

impl Resolver<'_> {
    /// Adds the runs of one variant; returns the variant's own resolved sections (before its sweep) for the record.
    fn expand(&mut self, variant: &str, mut tree: Node) -> Result<Json> {
        let sweep = match &mut tree.value {
            Value::Table(table) => table.remove("sweep"),
            _ => None,
        };
        let (mut own, _) = self.sections(&tree, false)?;
        if self.keep_written {
            keep_written(&mut own, &tree);
        }
        let points = sweep_points(sweep.as_ref())?;
        for mut point in points.clone() {
            let name = swept_name(variant, &point, &points);
            // The method first: a change of method drops the keys of the other one, which the sweep may set as well.
            point.sort_by_key(|(key, ..)| !names_method(key));
            let mut swept = tree.clone();
            for (key, entry, value) in &point {
                let over = Node::nested(key, &entry.key, value.clone());
                if let (Value::Table(table), Some(over_table)) = (&mut swept.value, over.table()) {
                    drop_other_method(table, over_table);
                }
                swept.merge(&over);
            }
            self.add_runs(&name, swept)?;
        }
        Ok(own)
    }

    fn add_runs(&mut self, variant: &str, tree: Node) -> Result<()> {
        check(&tree, self.schema, "")?;
        let (sections, resolved) = self.sections(&tree, true)?;
        let datasets =
            serde_json::from_value::<Names>(sections["dataset"].clone()).map(|n| n.list()).unwrap_or_default();
        if datasets.is_empty() {
            let place = tree.find(&["dataset"]).map_or(&tree.place, |entry| &entry.key);
            return Err(place.fault("`dataset` is missing", Some("name one that `dmad data list` shows".into())));
        }
        for dataset in datasets {
            for &seed in self.seeds {
                let spec = RunSpec {
                    variant: variant.into(),
                    dataset: dataset.clone(),
                    classes: resolved.classes.clone(),
                    seed,
                    protocol: resolved.protocol.clone(),
                    image: resolved.image.clone(),
                    backbone: resolved.backbone.clone(),
                    features: resolved.features.clone(),
                    method: sections["method"].clone(),
                    evaluation: resolved.evaluation.clone(),
                };
                if let Some(twin) = self.runs.iter().find(|run| run.spec == spec) {
                    let message =
                        format!("variant \"{}\" declares one run twice ({dataset}, seed {seed})", twin.spec.variant);
                    return Err(tree
                        .place
                        .fault(message, Some("remove the repeated seed, dataset or sweep value".into())));
                }
                self.runs.push(Run { spec, tree: tree.clone() });
            }
        }
        Ok(())
    }

    /// All run sections with defaults; `auto` values resolved only when `auto` is set.
    fn sections(&self, tree: &Node, auto: bool) -> Result<(Json, ExperimentFile)> {
        let kind = self.method_kind(tree)?;
        let mut method_schema = (kind.schema)();
        method_schema["properties"]["name"] = serde_json::json!({ "type": "string" });
        if let Some(entry) = tree.find(&["method"]) {
            check(&entry.node, &method_schema, "method")?;
        }
        let mut json = (kind.sections)();
        if tree.find(&["features", "aggregation"]).is_some() {
            // A method's default sizes belong to its own aggregation; the file has chosen one itself.
            json.as_object_mut().map(|sections| sections.remove("features"));
        }
        merge_json(&mut json, &tree.to_json());
        keep_run_keys(&mut json);
        let typed: ExperimentFile = serde_path_to_error::deserialize(json)
            .map_err(|fault| tree.place.fault(format!("`{}`: {}", fault.path(), fault.inner()), None))?;
        let mut params = serde_json::to_value(&typed.method).unwrap_or_default();
        params.as_object_mut().map(|map| map.remove("name"));
        let fault = |fault: MethodFault| {
            locate(tree, &format!("method.{}", fault.key))
                .fault(format!("`method.{}`: {}", fault.key, fault.message), fault.help)
        };
        let mut method = (kind.fill)(params).map_err(fault)?;
        if auto {
            method = (kind.resolve)(method, &MethodContext { seen_count: typed.protocol.seen.count }).map_err(fault)?;
        }
        method["name"] = kind.name.into();
        let mut sections = serde_json::to_value(&typed).unwrap_or_default();
        keep_run_keys(&mut sections);
        sections["method"] = method;
        Ok((sections, typed))
    }

    fn method_kind(&self, tree: &Node) -> Result<&MethodKind> {
        let Some(entry) = tree.find(&["method", "name"]) else {
            let place = tree.find(&["method"]).map_or(&tree.place, |entry| &entry.key);
            let names: Vec<&str> = self.methods.iter().map(|kind| kind.name).collect();
            return Err(place.fault("`method.name` is missing", Some(format!("one of: {}", names.join(", ")))));
        };
        let Some(name) = entry.node.text() else {
            return Err(entry.node.place.fault("`method.name` must be a string", None));
        };
        self.methods.iter().find(|kind| kind.name == name).copied().ok_or_else(|| {
            let help = suggestion(name, self.methods.iter().map(|kind| kind.name));
            entry.node.place.fault(format!("there is no method \"{name}\""), Some(help))
        })
    }
}

/// Lays `over` onto `base`: objects merge, anything else is replaced.
fn merge_json(base: &mut Json, over: &Json) {
    match (base, over) {
        (Json::Object(base), Json::Object(over)) => {
            for (key, value) in over {
                merge_json(base.entry(key.clone()).or_insert(Json::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn keep_run_keys(json: &mut Json) {
    if let Some(map) = json.as_object_mut() {
        map.retain(|key, _| RUN_KEYS.contains(&key.as_str()));
    }
}

/// True for a dotted key that may change `method.name`.
fn names_method(key: &str) -> bool {
    key == "method" || key == "method.name"
}

fn sweeps_method(tree: &Node) -> bool {
    tree.find(&["sweep"])
        .and_then(|sweep| sweep.node.table())
        .is_some_and(|sweep| sweep.keys().any(|key| names_method(key)))
}

/// Takes the defaults of the method out of resolved sections again.
fn keep_written(sections: &mut Json, tree: &Node) {
    for &key in METHOD_SECTIONS {
        match tree.find(&[key]) {
            Some(entry) => sections[key] = entry.node.to_json(),
            None => {
                sections.as_object_mut().map(|map| map.remove(key));
            }
        }
    }
}

/// The experiment with every default written out. Reading it again gives the same runs.
fn resolved_toml(base: &Node, name: &str, seeds: &[u64], rows: Vec<(String, Json)>) -> String {
    let mut json = base.to_json();
    json["name"] = name.into();
    json["seeds"] = seeds.into();
    let written = json["variant"].as_array().cloned().unwrap_or_default();
    let mut variants = Vec::new();
    for (variant, sections) in rows {
        if variant == BASE_VARIANT {
            merge_json(&mut json, &sections);
            continue;
        }
        let mut row = sections;
        row["name"] = variant.as_str().into();
        if let Some(sweep) = written.iter().find(|w| w["name"] == variant.as_str()).and_then(|w| w.get("sweep")) {
            row["sweep"] = sweep.clone();
        }
        variants.push(row);
    }
    if !variants.is_empty() {
        json["variant"] = variants.into();
    }
    // Through a table, whose keys are sorted: how the file orders its keys leaves no trace.
    let sorted = toml::Table::try_from(&json).and_then(|table| toml::to_string(&table));
    sorted.unwrap_or_else(|fault| unreachable!("a resolved experiment is plain data: {fault}"))
}
