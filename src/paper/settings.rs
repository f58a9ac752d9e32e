//! The settings behind printed values, as experiment files declare them, and how a recorded run differs from them.
//!
//! Owns: the experiments of DMAD's paper as they are built into the program, which declared run a printed value is of, and
//! the comparison key by key. Does not own: what the files may say (`spec`), or data, weights and definitions (`verdict`).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;

use super::PrintedKey;
use crate::error::Result;
use crate::spec::{BASE_VARIANT, Experiment, Kinds, Readings, RunSpec, leaves, load_built_in, names_variant, to_json};

/// The files, named as in `experiments/`.
const BUILT_IN: &[(&str, &str)] = &[
    ("paper_base.toml", include_str!("../../experiments/paper_base.toml")),
    ("paper/table1.toml", include_str!("../../experiments/paper/table1.toml")),
    ("paper/table2.toml", include_str!("../../experiments/paper/table2.toml")),
    ("paper/table3.toml", include_str!("../../experiments/paper/table3.toml")),
    ("paper/table4.toml", include_str!("../../experiments/paper/table4.toml")),
    ("paper/table5.toml", include_str!("../../experiments/paper/table5.toml")),
];

/// Sections of a run's settings that are compared. What else there is in a run names it, or is compared otherwise: data by
/// their images, metrics by their definitions.
const COMPARED: &[&str] = &["classes", "protocol", "image", "backbone", "features", "method"];

/// Which weights a run has is a reason of its own.
const WEIGHTS: &[&str] = &["backbone.name", "backbone.weights"];

/// Experiments that declare the settings behind printed values.
pub struct PaperSettings {
    experiments: Vec<Experiment>,
}

/// The settings behind a printed value.
#[derive(Clone, Copy)]
pub struct Declared<'a> {
    /// The run that it is of.
    pub spec: &'a RunSpec,
    open: &'a BTreeMap<String, Readings>,
    is_own_method: bool,
}

impl Declared<'_> {
    /// Whether both values are readings of what the paper leaves open: of its own method, or of another that is named in front of the key.
    fn is_open(&self, key: &str, values: [&Json; 2]) -> bool {
        let of_method = || self.open.get(&format!("{}.{key}", self.spec.method_name()));
        let own = self.open.get(key).filter(|_| self.is_own_method || !key.starts_with("method."));
        let readings = own.or_else(of_method);
        readings.is_some_and(|readings| values.iter().all(|value| readings.has(value)))
    }

    /// Who says what the settings are: the paper of its own method, of others the file, for the paper hardly says how it ran them.
    fn whose(&self) -> &'static str {
        if self.is_own_method { "the paper" } else { "declared" }
    }
}

/// How a recorded run stands to the declared one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Settings that no reading of the paper allows: "key ours, the paper its".
    pub differences: Vec<String>,
    /// Settings that are another reading of what the paper leaves open: "key ours".
    pub readings: Vec<String>,
}

impl PaperSettings {
    /// The settings of DMAD's paper.
    ///
    /// # Errors
    /// None but for faults of the program.
    pub fn built_in(kinds: &Kinds) -> Result<Self> {
        let tables = BUILT_IN.iter().filter(|(name, _)| name.starts_with("paper/"));
        let experiments = tables.map(|(name, _)| load_built_in(Path::new(name), BUILT_IN, kinds));
        Ok(PaperSettings { experiments: experiments.collect::<Result<_>>()? })
    }

    /// The settings of a paper that these experiments stand for.
    pub fn of(experiments: Vec<Experiment>) -> Self {
        PaperSettings { experiments }
    }

    /// The settings behind a printed value.
    pub fn behind(&self, key: &PrintedKey) -> Option<Declared<'_>> {
        let (seen, mut all) = (key.anomalies_per_class as usize, self.experiments.iter());
        all.find_map(|experiment| {
            let is_of = |spec: &&RunSpec| {
                spec.dataset == key.dataset && spec.method_name() == key.method && spec.protocol.seen.count == seen
            };
            let runs: Vec<&RunSpec> = experiment.runs.iter().map(|run| &run.spec).filter(is_of).collect();
            let names: Vec<&str> = runs.iter().map(|spec| spec.variant.as_str()).collect();
            let meant = meant(key, &names);
            let spec = runs.into_iter().find(|spec| meant.contains(&spec.variant.as_str()))?;
            let mut base = experiment.runs.iter().filter(|run| run.spec.variant == BASE_VARIANT);
            let is_own_method = base.any(|run| run.spec.method_name() == key.method);
            (experiment.reproduces == key.table).then_some(Declared { spec, open: &experiment.open, is_own_method })
        })
    }
}

/// The variants of `names`, all of the printed value's method, that it may be of: those that its name means; and for "full",
/// which is also what a paper calls every compared method, the one that is called as the method, or all of them.
pub fn meant<'a>(key: &PrintedKey, names: &[&'a str]) -> Vec<&'a str> {
    // Table 5 calls one variant by its supervision, and has another "others" for each class.
    let of_class = format!("{}-{}", key.variant, key.class);
    let is_base = ["unsupervised", "supervised"].contains(&key.variant.as_str());
    let by_method = (key.variant == BASE_VARIANT).then_some(key.method.as_str());
    let base = is_base.then_some(BASE_VARIANT);
    let mut candidates = [key.variant.as_str(), &of_class].into_iter().chain(base).chain(by_method);
    match candidates.find(|name| names.iter().any(|variant| names_variant(name, variant))) {
        Some(name) => names.iter().copied().filter(|variant| names_variant(name, variant)).collect(),
        None if key.variant == BASE_VARIANT => names.to_vec(),
        None => Vec::new(),
    }
}

/// Compares a recorded run with the declared one, key by key, both with what `resolved` makes of them. A key that the record
/// does not have yet had its default.
pub fn compare(ours: &RunSpec, declared: &Declared, resolved: impl Fn(&RunSpec) -> RunSpec) -> Comparison {
    let [ours, settings] = [ours, declared.spec].map(|spec| compared(&resolved(spec)));
    let (ours, mut comparison) = (leaves(&ours), Comparison::default());
    for (key, papers) in leaves(&settings) {
        let Some(own) = ours.get(&key).filter(|own| !same(own, papers) && !WEIGHTS.contains(&key.as_str())) else {
            continue;
        };
        let short = key.strip_prefix("method.").unwrap_or(&key);
        match declared.is_open(&key, [own, papers]) {
            true => comparison.readings.push(format!("{short} {}", word(own))),
            false => {
                let (own, whose, papers) = (word(own), declared.whose(), word(papers));
                comparison.differences.push(format!("{short} {own}, {whose} {papers}"));
            }
        }
    }
    // A table where the paper's file has a word.
    let settings = leaves(&settings);
    for (key, own) in ours.iter().filter(|(key, _)| !settings.contains_key(*key)) {
        let short = key.strip_prefix("method.").unwrap_or(key);
        comparison.differences.push(format!("{short} {}, the paper has no such key", word(own)));
    }
    comparison
}

fn compared(spec: &RunSpec) -> Json {
    let mut settings = to_json(spec);
    if let Some(sections) = settings.as_object_mut() {
        sections.retain(|key, _| COMPARED.contains(&key.as_str()));
    }
    settings
}

/// The same value, a whole number or not.
fn same(a: &Json, b: &Json) -> bool {
    a == b || a.as_f64().is_some_and(|number| b.as_f64() == Some(number))
}

/// A value without the quotes of a word.
fn word(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
