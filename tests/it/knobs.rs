//! No dead knobs: every key that a study may set changes both the run's id and its recorded numbers, in a context in
//! which it has to matter. The keys come from the schemas, so a new one fails here until it has a row of its own.

mod tables;

use std::collections::BTreeMap;

use dmad::methods::METHODS;
use dmad::spec::{ExperimentFile, schema_of};
use polars::prelude::{ParquetReader, SerReader};
use serde_json::Value as Json;

use crate::lab::{BASE, DMAD, Lab, PATCHCORE, SIMPLENET, STUDIES, UNIAD, with};

use Differs::{Curve, Images, Metrics, Patches};
use tables::{Differs, Knob, METHOD_KNOBS, SEEN};

const SEEDS: Knob = ("seeds", &[], &["[0]", "[1]"], Patches);

/// Everything outside `[method]`, with the method that shows it.
const STUDY_KNOBS: &[(&str, Knob)] = &[
    (DMAD, SEEDS),
    (PATCHCORE, SEEDS),
    (SIMPLENET, SEEDS),
    (UNIAD, SEEDS),
    (PATCHCORE, ("dataset", &[], &["\"tiny\"", "\"tiny_again\""], Patches)),
    (PATCHCORE, ("classes", &[], &["[]", "[\"wood\"]"], Patches)),
    (PATCHCORE, ("protocol.setting", &[], &["\"unified\"", "\"per_class\""], Patches)),
    (DMAD, ("protocol.seen.count", &[], &["0", "1", "2"], Patches)),
    (DMAD, ("protocol.seen.sampler", &[SEEN], &["\"chacha\"", "\"python\""], Patches)),
    (DMAD, ("protocol.seen.seed", &[SEEN, ("protocol.seen.sampler", "\"python\"")], &["0", "1"], Patches)),
    (DMAD, ("protocol.seen.exclude_classes", &[SEEN], &["[]", "[\"tile\"]"], Patches)),
    (PATCHCORE, ("protocol.train_per_class", &[], &["0", "2"], Patches)),
    (PATCHCORE, ("protocol.test_good_per_class", &[], &["0", "1"], Patches)),
    (PATCHCORE, ("protocol.test_per_defect", &[], &["0", "1"], Patches)),
    (PATCHCORE, ("protocol.test_defects_min", &[("protocol.test_per_defect", "1")], &["0", "8"], Patches)),
    (PATCHCORE, ("image.size", &[], &["64", "96"], Patches)),
    (PATCHCORE, ("image.resize", &[], &["0", "80"], Patches)),
    (
        PATCHCORE,
        ("backbone.name", &[("backbone.weights", "\"random\"")], &["\"efficientnet_lite0\"", "\"resnet18\""], Patches),
    ),
    (PATCHCORE, ("backbone.layers", &[], &["[]", "[\"stride16\"]"], Patches)),
    (PATCHCORE, ("backbone.weights", &[], &["\"imagenet\"", "\"random\""], Patches)),
    (
        PATCHCORE,
        (
            "features.aggregation",
            &[("features.dim", "0")],
            &["\"patchcore\"", "\"concat\"", "\"concat_deepest\""],
            Patches,
        ),
    ),
    (PATCHCORE, ("features.dim", &[], &["24", "32"], Patches)),
    (PATCHCORE, ("features.pretrain_dim", &[], &["0", "50"], Patches)),
    (PATCHCORE, ("features.patch", &[], &["3", "1", "5"], Patches)),
    (PATCHCORE, ("evaluation.size", &[], &["64", "0", "48"], Metrics)),
    (
        PATCHCORE,
        (
            "evaluation.mask_resize",
            &[("evaluation.size", "24")],
            &["\"bilinear05\"", "\"nearest\"", "\"area05\"", "\"int_trunc\""],
            Metrics,
        ),
    ),
    (PATCHCORE, ("evaluation.pro", &[], &["\"exact\"", "\"simplenet\"", "\"ader\""], Metrics)),
    (PATCHCORE, ("evaluation.ap", &[], &["\"step\"", "\"trapezoid\""], Metrics)),
];

/// Keys of a study file that say what to call, show or combine, not what to compute; `method` has its own tables.
const NOT_COMPUTED: &[&str] = &[
    "include",
    "name",
    "title",
    "description",
    "reproduces",
    "metrics",
    "table",
    "claim",
    "tolerance",
    "figure",
    "variant",
    "sweep",
    "method",
];

/// The two knob values that must give the same numbers: 64 is the images' own size.
const SAME: &[(&str, &str, &str)] = &[("evaluation.size", "64", "0")];

/// What a run left.
#[derive(Clone)]
struct Outcome {
    id: String,
    patches: Vec<u8>,
    images: String,
    metrics: String,
    curve: String,
}

impl Outcome {
    fn differs(&self, other: &Outcome, what: Differs) -> bool {
        match what {
            Patches => self.patches != other.patches,
            Images => self.images != other.images,
            Metrics => self.metrics != other.metrics,
            Curve => self.curve != other.curve,
        }
    }
}

/// Runs each study once.
struct Bench {
    lab: Lab,
    known: BTreeMap<String, Outcome>,
}

impl Bench {
    fn new() -> Self {
        Bench { lab: Lab::new(), known: BTreeMap::new() }
    }

    fn outcome(&mut self, text: &str, may_fail: bool) -> Outcome {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let (experiment, summary) = self.lab.run(&format!("study{}", self.known.len()), text);
        assert_eq!(experiment.runs.len(), 1, "{text}");
        let id = experiment.runs[0].spec.id();
        let outcome = match summary.failed.first() {
            Some(dmad::run::Failure { message, .. }) => {
                assert!(may_fail, "{message}\n{text}");
                Outcome {
                    id,
                    patches: message.clone().into_bytes(),
                    images: message.clone(),
                    metrics: message.clone(),
                    curve: message.clone(),
                }
            }
            None => {
                let folder = self.lab.results(&experiment).join("runs").join(&id);
                let metrics = self.lab.recorded(&experiment).metrics;
                let metrics: Vec<_> =
                    metrics.iter().map(|m| (&m.class, &m.metric, m.value, m.n_pos, m.n_neg)).collect();
                Outcome {
                    patches: std::fs::read(folder.join("scores.safetensors")).expect("scores"),
                    images: image_scores(&folder.join("images.parquet")),
                    metrics: format!("{metrics:?}"),
                    curve: curve(&folder.join("run.toml")),
                    id,
                }
            }
        };
        self.known.insert(text.into(), outcome.clone());
        outcome
    }

    /// Faults of one knob.
    fn check(&mut self, study: &str, key: &str, knob: &Knob) -> Vec<String> {
        let (_, context, values, what) = knob;
        let surroundings = with(study, context);
        let outcomes: Vec<Outcome> = values
            .iter()
            .map(|value| self.outcome(&with(&surroundings, &[(key, value)]), *value == "\"error\""))
            .collect();
        let mut faults = Vec::new();
        for (i, first) in outcomes.iter().enumerate() {
            for (j, second) in outcomes.iter().enumerate().skip(i + 1) {
                let pair = format!("{key}: {} and {}", values[i], values[j]);
                if first.id == second.id {
                    faults.push(format!("{pair} give the same run id"));
                }
                let same = SAME.contains(&(key, values[i], values[j]));
                if first.differs(second, *what) == same {
                    faults.push(format!(
                        "{pair} give {} numbers ({what:?})",
                        if same { "different" } else { "the same" }
                    ));
                }
            }
        }
        faults
    }
}

fn image_scores(path: &std::path::Path) -> String {
    let file = std::fs::File::open(path).expect("image scores");
    let frame = ParquetReader::new(file).finish().expect("Parquet");
    let scores: Vec<Option<f64>> = frame.column("score").and_then(|c| c.f64()).expect("scores").iter().collect();
    format!("{scores:?}")
}

/// The image AUROC of every epoch that was kept.
fn curve(path: &std::path::Path) -> String {
    let text = std::fs::read_to_string(path).expect("a record");
    let table: toml::Table = text.parse().expect("TOML");
    format!("{:?}", table.get("curve"))
}

/// Dotted keys of all leaves of a schema, each with its own schema.
fn leaves<'a>(schema: &'a Json, prefix: &str, out: &mut Vec<(String, &'a Json)>) {
    match schema["properties"].as_object() {
        None => out.push((prefix.into(), schema)),
        Some(properties) => {
            for (name, below) in properties {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                leaves(below, &key, out);
            }
        }
    }
}

/// The words that an option knows; `auto` always stands for one of the others.
fn words(schema: &Json) -> Vec<&str> {
    let options = ["oneOf", "anyOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
    let nested = options.flat_map(words);
    let own = schema["const"].as_str().into_iter();
    let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Json::as_str);
    own.chain(listed).chain(nested).filter(|word| *word != "auto").collect()
}

/// Leaves without a knob, knobs without a leaf, words that no knob takes.
fn check_listed(leaves: &[(String, &Json)], knobs: &[&Knob]) {
    let mut faults = Vec::new();
    for (key, schema) in leaves {
        match knobs.iter().find(|(known, ..)| *known == key.as_str()) {
            None => faults.push(format!("{key} has no row: say in which context which values must change the numbers")),
            Some((_, _, values, _)) => {
                let missing =
                    words(schema).into_iter().filter(|word| !values.contains(&format!("\"{word}\"").as_str()));
                faults.extend(missing.map(|word| format!("{key}: \"{word}\" is not among the values")));
            }
        }
    }
    let unknown = knobs.iter().filter(|(key, ..)| !leaves.iter().any(|(known, _)| known.as_str() == *key));
    faults.extend(unknown.map(|(key, ..)| format!("{key} is not in the schema any more")));
    faults.extend(
        knobs.iter().filter(|(_, _, values, _)| values.len() < 2).map(|(key, ..)| format!("{key} has one value")),
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn method_schema(name: &str) -> Json {
    let entry = METHODS.iter().find(|entry| entry.kind.name == name).expect("a method");
    (entry.kind.schema)()
}

#[test]
fn every_key_of_every_method_and_section_is_listed() {
    let methods: Vec<&str> = METHODS.iter().map(|entry| entry.kind.name).collect();
    let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>();
    assert_eq!(names(&mut METHOD_KNOBS.iter().map(|row| row.0)), methods, "each method needs a table of knobs");
    assert_eq!(names(&mut STUDIES.iter().map(|row| row.0)), methods, "each method needs a small study in lab.rs");
    for (method, knobs) in METHOD_KNOBS {
        let schema = method_schema(method);
        let mut found = Vec::new();
        leaves(&schema, "", &mut found);
        check_listed(&found, &knobs.iter().collect::<Vec<_>>());
    }
    let schema = schema_of::<ExperimentFile>();
    let mut found = Vec::new();
    leaves(&schema, "", &mut found);
    found.retain(|(key, _)| !NOT_COMPUTED.contains(&key.split('.').next().unwrap_or_default()));
    check_listed(&found, &STUDY_KNOBS.iter().map(|(_, knob)| knob).collect::<Vec<_>>());
}

/// Turns the knobs of a method whose keys are `wanted`.
fn turn(method: &str, wanted: impl Fn(&str) -> bool) {
    let of = |name: &str| name == method;
    let (_, study) = STUDIES.iter().find(|row| of(row.0)).expect("a study");
    let (_, knobs) = METHOD_KNOBS.iter().find(|row| of(row.0)).expect("a table");
    let (mut bench, study) = (Bench::new(), format!("{BASE}{study}"));
    let wanted = knobs.iter().filter(|knob| wanted(knob.0));
    let faults: Vec<String> =
        wanted.flat_map(|knob| bench.check(&study, &format!("method.{}", knob.0), knob)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn of_dmads_memory(key: &str) -> bool {
    ["bank.", "filter.", "neighbours."].iter().any(|prefix| key.starts_with(prefix))
}

#[test]
fn every_key_of_dmads_memory_changes_run_and_numbers() {
    turn("dmad", of_dmads_memory);
}

#[test]
fn every_key_of_dmads_network_and_training_changes_run_and_numbers() {
    turn("dmad", |key| !of_dmads_memory(key));
}

#[test]
fn every_key_of_patchcore_changes_run_and_numbers() {
    turn("patchcore", |_| true);
}

#[test]
fn every_key_of_simplenet_changes_run_and_numbers() {
    turn("simplenet", |_| true);
}

#[test]
fn every_key_of_uniad_changes_run_and_numbers() {
    turn("uniad", |_| true);
}

#[test]
fn every_key_outside_the_method_changes_run_and_numbers() {
    let mut bench = Bench::new();
    let check = |(method, knob): &(&str, Knob)| bench.check(&format!("{BASE}{method}"), knob.0, knob);
    let faults: Vec<String> = STUDY_KNOBS.iter().flat_map(check).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Without this, differences would prove nothing.
#[test]
fn the_same_study_gives_the_same_run_and_numbers_elsewhere() {
    let study = with(&format!("{BASE}{DMAD}"), &[SEEN]);
    let [first, second] = [Bench::new().outcome(&study, false), Bench::new().outcome(&study, false)];
    assert_eq!(first.id, second.id);
    assert!([Patches, Images, Metrics].iter().all(|what| !first.differs(&second, *what)));
}
