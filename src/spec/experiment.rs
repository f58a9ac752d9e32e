//! From a TOML tree to runs: variants, sweeps, defaults, `auto` values.
//!
//! Order of precedence, weakest first: the general defaults, the method's own defaults, the file (with what it
//! includes), the variant, the sweep. A variant with another `method.name` drops the base's `[method]` table, whose keys
//! belong to another method; dataset, protocol and seeds stay, and so does every section that the file sets itself.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::check::{check, suggestion};
use super::claim::{Claim, check_claims};
use super::diagnostic::Place;
use super::dimension::check_dimensions;
use super::display::DisplayNames;
use super::figure::{self, Figure};
use super::file::{ExperimentFile, Tolerances, Tracking};
use super::method::{Configured, Kinds, MethodContext, MethodFault, MethodKind};
use super::names::{Named, check_display, displayed_classes, named_classes};
use super::open::{Readings, check_open};
use super::overrides::{self, Override, drop_other_method};
use super::resolved::{keep_run_keys, keep_written, resolved_toml};
use super::run::{BASE_VARIANT, Run, RunSpec, locate};
use super::schema::schema_without_methods;
use super::settings::{merge, to_json};
use super::sweep::{names_method, sweep_points, sweeps_method, swept_name};
use super::table::{Table, check_tables};
use super::tree::{self, Node};
use super::types::Aggregation;
use crate::error::Result;
use crate::metrics::MetricName;

/// Sections that a variant or a sweep may change.
pub(super) const RUN_KEYS: &[&str] =
    &["dataset", "classes", "protocol", "image", "backbone", "features", "method", "evaluation"];

/// A typed, fully resolved experiment. Read back from its records it has the settings of its runs and no methods.
#[derive(Debug)]
pub struct Experiment<R = Run> {
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
    pub tables: Vec<Table>,
    /// Statements to check.
    pub claims: Vec<Claim>,
    /// How far its numbers may be from published ones.
    pub tolerances: Tolerances,
    /// Declared figures.
    pub figures: Vec<Figure>,
    /// What variants, methods, datasets and classes are called in tables and figures.
    pub names: DisplayNames,
    /// Names in its file that must be classes of its datasets.
    pub named: Vec<Named>,
    /// Who is told of its runs.
    pub tracking: Tracking,
    /// Keys that the paper leaves open, and the readings that count.
    pub open: BTreeMap<String, Readings>,
    /// The runs in canonical order: variant, sweep, dataset, seed.
    pub runs: Vec<R>,
    /// What its file might name: what its records are read with again.
    pub kinds: Kinds,
    /// The resolved experiment as TOML: reading it again gives the same runs.
    pub resolved: String,
}

impl<R> Experiment<R> {
    /// Shows and claims what `declared` does, the same experiment as its file has it today. Where it was read stays, with its runs.
    pub fn restate<S>(&mut self, declared: Experiment<S>) {
        let Experiment {
            path: _,
            name: _,
            runs: _,
            kinds: _,
            resolved: _,
            title,
            reproduces,
            metrics,
            tables,
            claims,
            tolerances,
            figures,
            names,
            named,
            tracking,
            open,
        } = declared;
        self.title = title;
        self.reproduces = reproduces;
        self.metrics = metrics;
        self.tables = tables;
        self.claims = claims;
        self.tolerances = tolerances;
        self.figures = figures;
        self.names = names;
        self.named = named;
        self.tracking = tracking;
        self.open = open;
    }
}

/// Reads, checks and resolves an experiment file. `more_seeds` run beside the file's own.
pub fn load(path: &Path, kinds: &Kinds, more_seeds: &[u64]) -> Result<Experiment> {
    load_with(path, kinds, more_seeds, &[])
}

/// Reads, checks and resolves an experiment file, with keys of the base set from outside.
pub fn load_with(path: &Path, kinds: &Kinds, more_seeds: &[u64], overrides: &[Override]) -> Result<Experiment> {
    let mut base = tree::read(path)?;
    let own = base.find(&["name"]).and_then(|entry| entry.node.text()).map(str::to_string);
    overrides::lay(&mut base, overrides, &own.unwrap_or_else(|| stem(path)));
    resolve(path, base, kinds, (more_seeds, overrides))
}

/// Reads, checks and resolves a file that is built into the program: one of `files`, names with texts.
pub fn load_built_in(name: &Path, files: &[(&str, &str)], kinds: &Kinds) -> Result<Experiment> {
    resolve(name, tree::read_built_in(name, files)?, kinds, (&[], &[]))
}

/// The name of an experiment that does not say one.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn resolve(
    path: &Path,
    base: Node,
    kinds: &Kinds,
    (more_seeds, overrides): (&[u64], &[Override]),
) -> Result<Experiment> {
    let schema = schema_without_methods(kinds);
    check(&base, &schema, "")?;
    let file = typed(base.to_json(), &base.place)?;
    if let Some(seed) = file.seeds.iter().enumerate().find(|(place, seed)| file.seeds[..*place].contains(seed)) {
        let message = format!("seed {} is there twice", seed.1);
        return Err(base.place_of("seeds").fault(message, Some("name every seed once".into())));
    }
    let mut seeds = if file.seeds.is_empty() { vec![0] } else { file.seeds.clone() };
    for &seed in more_seeds {
        if !seeds.contains(&seed) {
            seeds.push(seed);
        }
    }
    let trees = variant_trees(&base)?;
    overrides::check_felt(overrides, &trees)?;
    // Where a sweep changes the method, its own defaults change with it; writing out those of one method would pin them.
    let keep_written = trees.iter().any(|(_, tree)| sweeps_method(tree));
    let mut resolver = Resolver {
        methods: &kinds.methods,
        schema: &schema,
        seeds: &seeds,
        keep_written,
        runs: Vec::new(),
        known: HashMap::new(),
    };
    let rows = trees.into_iter().map(|(variant, tree)| Ok((variant.clone(), resolver.expand(&variant, tree)?)));
    let rows = rows.collect::<Result<_>>()?;
    let mut experiment = assemble(path, &base, file, resolver.runs, kinds)?;
    check_display(&base, &experiment.names, &experiment.runs)?;
    if overrides.is_empty() {
        // What is set may have taken the place of what has a name.
        experiment.named.extend(displayed_classes(&base, &experiment.runs, &experiment.tables));
    }
    experiment.resolved = resolved_toml(&base, &experiment.name, &seeds, rows);
    Ok(experiment)
}

/// Reads what an experiment shows and asks from the resolved copy beside its records; `runs` were recorded with it. It is
/// held to what holds for an experiment file.
pub fn load_recorded(path: &Path, runs: Vec<RunSpec>, kinds: &Kinds) -> Result<Experiment<RunSpec>> {
    let base = tree::read(path)?;
    check(&base, &schema_without_methods(kinds), "")?;
    let file = typed(base.to_json(), &base.place)?;
    assemble(path, &base, file, runs, kinds)
}

fn typed(json: Json, place: &Place) -> Result<ExperimentFile> {
    serde_path_to_error::deserialize(json)
        .map_err(|fault| place.fault(format!("`{}`: {}", fault.path(), fault.inner()), None))
}

/// Checks what a file names against its runs.
fn assemble<R: AsRef<RunSpec>>(
    path: &Path,
    base: &Node,
    file: ExperimentFile,
    runs: Vec<R>,
    kinds: &Kinds,
) -> Result<Experiment<R>> {
    check_claims(base, &file.claim, &runs)?;
    check_dimensions(base, &runs)?;
    check_tables(base, &file.table, &runs)?;
    check_open(base, &file.open, &runs, kinds)?;
    let figures = figure::read(base, &file.figure, &kinds.figures, &runs)?;
    let name = file.name.unwrap_or_else(|| stem(path));
    check_name(base, &name)?;
    Ok(Experiment {
        path: path.into(),
        title: if file.title.is_empty() { name.clone() } else { file.title },
        reproduces: file.reproduces,
        metrics: if file.metrics.is_empty() { MetricName::usual() } else { file.metrics },
        tables: file.table,
        claims: file.claim,
        tolerances: file.tolerance,
        open: file.open,
        figures,
        names: file.names,
        named: named_classes(base, &runs),
        tracking: file.tracking,
        runs,
        kinds: kinds.clone(),
        resolved: String::new(),
        name,
    })
}

fn check_name(base: &Node, name: &str) -> Result<()> {
    let fine =
        !name.is_empty() && !name.starts_with('.') && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if fine {
        return Ok(());
    }
    Err(base
        .place_of("name")
        .fault(format!("\"{name}\" cannot name a folder"), Some("use letters, digits, - and _".into())))
}

/// The base, then every variant laid over it, each with the sweep that holds for it.
fn variant_trees(base: &Node) -> Result<Vec<(String, Node)>> {
    let mut plain = base.clone();
    plain.remove("variant");
    let mut out = vec![(BASE_VARIANT.to_string(), plain.clone())];
    for item in base.items("variant") {
        let mut over = item.clone();
        let Some(name) = over.remove("name") else { unreachable!("checked against the schema") };
        let label = name.node.text().unwrap_or_default().to_string();
        if label.is_empty() || out.iter().any(|(known, _)| *known == label) {
            let message = format!("variant name \"{label}\" is {}", if label.is_empty() { "empty" } else { "taken" });
            let base = if label == BASE_VARIANT { "\"full\" is the base; " } else { "" };
            return Err(name.node.place.fault(message, Some(format!("{base}every variant needs a name of its own"))));
        }
        let mut tree = plain.clone();
        if over.find(&["sweep"]).is_some() {
            tree.remove("sweep");
        }
        drop_other_method(&mut tree, &over);
        tree.merge(&over);
        out.push((label, tree));
    }
    Ok(out)
}

struct Resolver<'a> {
    methods: &'a [&'a MethodKind],
    schema: &'a Json,
    seeds: &'a [u64],
    /// Sections whose defaults belong to the method are recorded as written.
    keep_written: bool,
    runs: Vec<Run>,
    /// Where runs of an id are among them.
    known: HashMap<String, Vec<usize>>,
}

impl<'a> Resolver<'a> {
    /// Adds the runs of one variant; returns the variant's own resolved sections (before its sweep) for the record.
    fn expand(&mut self, variant: &str, mut tree: Node) -> Result<Json> {
        let sweep = tree.remove("sweep");
        let (mut own, ..) = self.sections(&tree)?;
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
                drop_other_method(&mut swept, &over);
                swept.merge(&over);
            }
            self.add_runs(&name, swept)?;
        }
        Ok(own)
    }

    fn add_runs(&mut self, variant: &str, tree: Node) -> Result<()> {
        check(&tree, self.schema, "")?;
        let (sections, typed, kind) = self.sections(&tree)?;
        let method = configured(&tree, kind, &sections["method"], typed.protocol.seen.count)?;
        let datasets = typed.dataset.list();
        if datasets.is_empty() {
            let place = tree.find(&["dataset"]).map_or(&tree.place, |entry| &entry.key);
            return Err(place.fault("`dataset` is missing", Some("name one that `dmad data list` shows".into())));
        }
        let mut written = method.parameters.clone();
        written["name"] = kind.name.into();
        let tree = Arc::new(tree);
        for dataset in datasets {
            for &seed in self.seeds {
                let spec = RunSpec {
                    id: String::new(),
                    variant: variant.into(),
                    dataset: dataset.clone(),
                    classes: typed.classes.clone(),
                    seed,
                    protocol: typed.protocol.clone(),
                    image: typed.image.clone(),
                    backbone: typed.backbone.clone(),
                    features: typed.features.clone(),
                    method: written.clone(),
                    evaluation: typed.evaluation.clone(),
                };
                let run = Run::new(spec, method.clone(), &(kind.sections)(), tree.clone());
                let of_id = self.known.entry(run.spec.id.clone()).or_default();
                if of_id.iter().any(|&known| self.runs[known].spec == run.spec) {
                    let message = format!("variant \"{variant}\" declares one run twice ({dataset}, seed {seed})");
                    let help = "remove the repeated seed, dataset or sweep value";
                    return Err(tree.place.fault(message, Some(help.into())));
                }
                of_id.push(self.runs.len());
                self.runs.push(run);
            }
        }
        Ok(())
    }

    /// All run sections with defaults, `auto` values as they are; as plain data and typed.
    fn sections(&self, tree: &Node) -> Result<(Json, ExperimentFile, &'a MethodKind)> {
        let kind = self.method_kind(tree)?;
        let mut method_schema = (kind.schema)();
        method_schema["properties"]["name"] = json!({ "type": "string" });
        if let Some(entry) = tree.find(&["method"]) {
            check(&entry.node, &method_schema, "method")?;
        }
        let mut json = (kind.sections)();
        // A method's default sizes belong to its own aggregation, and go where the file has chosen another.
        let own = json["features"].get("aggregation").cloned().unwrap_or_else(|| to_json(&Aggregation::default()));
        if tree.find(&["features", "aggregation"]).is_some_and(|chosen| chosen.node.to_json() != own) {
            json.as_object_mut().map(|sections| sections.remove("features"));
        }
        json["method"] = (kind.defaults)();
        merge(&mut json, &tree.to_json());
        keep_run_keys(&mut json);
        let typed = typed(json, &tree.place)?;
        let mut sections = to_json(&typed);
        keep_run_keys(&mut sections);
        Ok((sections, typed, kind))
    }

    fn method_kind(&self, tree: &Node) -> Result<&'a MethodKind> {
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

/// The method with its parameters parsed and `auto` replaced.
fn configured(tree: &Node, kind: &MethodKind, params: &Json, seen_count: usize) -> Result<Configured> {
    let mut params = params.clone();
    params.as_object_mut().map(|map| map.remove("name"));
    (kind.parse)(&params, &MethodContext { seen_count }).map_err(|fault: MethodFault| {
        locate(tree, &format!("method.{}", fault.key))
            .fault(format!("`method.{}`: {}", fault.key, fault.message), fault.help)
    })
}
