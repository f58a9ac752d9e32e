//! No dead knobs: every key that a study may set changes both the run's id and its recorded numbers, by more than rounding
//! could, in a context in which it has to matter, and in the direction that it promises. The keys come from the schemas, so
//! a new one fails here until it has a row of its own: a method's rows stand beside the method (`methods::trial`).

use std::collections::BTreeMap;

use dmad::methods::trial::{Differs, Knob, Promise};
use dmad::methods::{self, METHODS};
use dmad::record::RecordedRun;
use dmad::spec::{ExperimentFile, schema_of};
use serde_json::Value as Json;

use crate::lab::{Lab, study, with};

use Differs::{Curve, Images, Losses, Metrics, Patches};
use Promise::LargerBanks;

/// How far scores must move as a share of their standard deviation, and metrics in all. A setting that changes by the last
/// bit of an f32 moves the scores of the trained methods by up to 1.5e-6 of it, and a metric by single ones of its millions
/// of pairs; the weakest key moves scores by 4e-3 and metrics by 3e-3.
const MOVED: f64 = 1e-4;

/// What rounding may do against a promise, as a share of the standard deviation.
const ROUNDING: f64 = 1e-6;

const SEEN: (&str, &str) = ("protocol.seen.count", "2");
/// The smallest transformer.
const VIT: (&str, &str) = ("backbone.name", "\"dinov2_vits14\"");
const SEEDS: Knob = Knob::new("seeds", &["[0]", "[1]"], Patches);

/// Everything outside `[method]`, with the method that shows it.
const STUDY_KNOBS: &[(&str, Knob)] = &[
    ("patchcore", SEEDS),
    ("patchcore", Knob::new("dataset", &["\"tiny\"", "\"tiny_again\""], Patches)),
    ("patchcore", Knob::new("classes", &["[]", "[\"wood\"]"], Patches)),
    ("patchcore", Knob::new("protocol.setting", &["\"unified\"", "\"per_class\""], Patches)),
    ("dmad", Knob::new("protocol.seen.count", &["0", "1", "2"], Patches)),
    (
        "dmad",
        // Of four kinds of defect.
        Knob::new("protocol.seen.budget", &["\"class\"", "\"class_even\""], Patches)
            .within(&[("protocol.seen.count", "4"), ("protocol.seen.sampler", "\"python\"")]),
    ),
    (
        "dmad",
        Knob::new("protocol.seen.budget", &["\"class\"", "\"defect\""], Patches)
            .within(&[("protocol.seen.count", "1")]),
    ),
    ("dmad", Knob::new("protocol.seen.sampler", &["\"chacha\"", "\"python\""], Patches).within(&[SEEN])),
    (
        "dmad",
        Knob::new("protocol.seen.seed", &["0", "1"], Patches).within(&[SEEN, ("protocol.seen.sampler", "\"python\"")]),
    ),
    ("dmad", Knob::new("protocol.seen.exclude_classes", &["[]", "[\"tile\"]"], Patches).within(&[SEEN])),
    ("patchcore", Knob::new("protocol.train_per_class", &["2", "0"], Patches).promises(&[LargerBanks])),
    ("patchcore", Knob::new("protocol.test_good_per_class", &["0", "1"], Patches)),
    ("patchcore", Knob::new("protocol.test_per_defect", &["0", "1"], Patches)),
    (
        "patchcore",
        Knob::new("protocol.test_defects_min", &["0", "8"], Patches).within(&[("protocol.test_per_defect", "1")]),
    ),
    ("patchcore", Knob::new("image.size", &["64", "96"], Patches).promises(&[LargerBanks])),
    ("patchcore", Knob::new("image.resize", &["0", "80"], Patches)),
    ("patchcore", Knob::new("image.keep_aspect", &["true", "false"], Patches).within(&[("image.resize", "80")])),
    (
        "patchcore",
        Knob::new("image.filter", &["\"bilinear\"", "\"bicubic\"", "\"lanczos\""], Patches)
            .within(&[("image.size", "96")]),
    ),
    (
        "patchcore",
        Knob::new("backbone.name", &["\"efficientnet_lite0\"", "\"resnet18\""], Patches)
            .within(&[("backbone.weights", "\"random\"")]),
    ),
    ("patchcore", Knob::new("backbone.layers", &["[]", "[\"stride16\"]"], Patches)),
    ("patchcore", Knob::new("backbone.weights", &["\"imagenet\"", "\"random\""], Patches)),
    (
        "patchcore",
        Knob::new("backbone.positions", &["\"offset\"", "\"size_aa\"", "\"size\""], Patches).within(&[
            VIT,
            ("backbone.weights", "\"random\""),
            ("backbone.layers", "[\"block0\"]"),
            ("image.size", "56"),
        ]),
    ),
    (
        "patchcore",
        Knob::new("features.aggregation", &["\"patchcore\"", "\"concat\"", "\"concat_deepest\""], Patches)
            .within(&[("features.dim", "0")]),
    ),
    ("patchcore", Knob::new("features.dim", &["24", "32"], Patches).promises(&[LargerBanks])),
    ("patchcore", Knob::new("features.pretrain_dim", &["0", "50"], Patches)),
    ("patchcore", Knob::new("features.patch", &["3", "1", "5"], Patches)),
    ("patchcore", Knob::new("features.store", &["\"f32\"", "\"f16\"", "\"bf16\""], Patches)),
    ("patchcore", Knob::new("evaluation.size", &["64", "0", "48"], Metrics)),
    (
        "patchcore",
        Knob::new(
            "evaluation.mask_resize",
            &["\"bilinear05\"", "\"bilinear0\"", "\"nearest\"", "\"area05\"", "\"int_trunc\""],
            Metrics,
        )
        .within(&[("evaluation.size", "24")]),
    ),
    ("patchcore", Knob::new("evaluation.pro", &["\"exact\"", "\"simplenet\"", "\"ader\"", "\"rd4ad\""], Metrics)),
    ("patchcore", Knob::new("evaluation.pro_limit", &["0.3", "0.05", "1.0"], Metrics)),
    ("patchcore", Knob::new("evaluation.ap", &["\"step\"", "\"trapezoid\""], Metrics)),
];

/// Keys of a study file that say what to call, show or combine, not what to compute; `method` has its own tables.
const NOT_COMPUTED: &[&str] = &[
    "include",
    "name",
    "title",
    "description",
    "reproduces",
    "names",
    "metrics",
    "table",
    "claim",
    "tolerance",
    "open",
    "figure",
    "variant",
    "sweep",
    "method",
    "tracking",
];

/// The two knob values that must give the same numbers: 64 is the images' own size, and they are square.
const SAME: &[(&str, &str, &str)] = &[("evaluation.size", "64", "0"), ("image.keep_aspect", "true", "false")];

/// Side of the maps whose smoothness is compared.
const MAP_SIDE: usize = 64;

/// What a run left, or why it failed.
#[derive(Clone)]
struct Outcome {
    id: String,
    numbers: Result<Numbers, String>,
}

/// What a run recorded.
#[derive(Clone, Default)]
struct Numbers {
    patches: Vec<f64>,
    images: Vec<f64>,
    /// Class, metric, positives and negatives of each value.
    metric_names: Vec<String>,
    metrics: Vec<f64>,
    curve: Vec<f64>,
    /// Losses of every epoch, with their names.
    losses: Vec<(String, f64)>,
    bank_bytes: u64,
    parameters: u64,
    /// Mean difference of neighbouring pixels of the maps.
    roughness: f64,
}

impl Numbers {
    fn of(lab: &Lab, experiment: &dmad::spec::Experiment) -> Numbers {
        let recorded = lab.recorded(experiment);
        let run = &recorded.runs[0];
        let images = run.images().expect("images");
        let mut classes: Vec<&str> = images.iter().map(|image| image.class.as_str()).collect();
        classes.dedup();
        let cost = run.cost.as_ref().expect("a cost");
        let mut numbers = Numbers {
            images: images.iter().map(|image| image.score).collect(),
            curve: run.curve(),
            losses: losses(run),
            bank_bytes: cost.bank_bytes,
            parameters: cost.parameters,
            ..Numbers::default()
        };
        for row in &recorded.metrics {
            numbers.metric_names.push(format!("{} {} {} {}", row.class, row.metric, row.n_pos, row.n_neg));
            numbers.metrics.push(row.value.unwrap_or(f64::NAN));
        }
        for class in classes {
            numbers.add_patches(run, class);
        }
        numbers
    }

    fn add_patches(&mut self, run: &RecordedRun, class: &str) {
        let ([_, rows, columns], scores) = run.patch_scores(class).expect("scores");
        let scoring = run.scoring().expect("how maps are made");
        for image in scores.chunks(rows * columns) {
            let map = scoring.map(image, (rows, columns), (MAP_SIDE, MAP_SIDE));
            let across = map.chunks(MAP_SIDE).flat_map(|row| row.windows(2).map(|pair| f64::from(pair[1] - pair[0])));
            let down = map.iter().zip(&map[MAP_SIDE..]).map(|(above, below)| f64::from(below - above));
            self.roughness += across.chain(down).map(f64::abs).sum::<f64>();
        }
        self.patches.extend(scores.into_iter().map(f64::from));
    }

    /// How far what must differ has moved; infinitely far where there are other numbers than before.
    fn moved(&self, other: &Numbers, what: Differs) -> f64 {
        match what {
            Patches => distance(&self.patches, &other.patches),
            Images => distance(&self.images, &other.images),
            Curve => distance(&self.curve, &other.curve),
            Losses => {
                let names = |numbers: &Numbers| numbers.losses.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
                let values = |numbers: &Numbers| numbers.losses.iter().map(|(_, value)| *value).collect::<Vec<_>>();
                if names(self) == names(other) { distance(&values(self), &values(other)) } else { f64::INFINITY }
            }
            Metrics if self.metric_names != other.metric_names => f64::INFINITY,
            Metrics => {
                // Undefined in both is no difference; in one of them it is.
                let far = |(a, b): (&f64, &f64)| match (a.is_nan(), b.is_nan()) {
                    (true, true) => 0.0,
                    (false, false) => (a - b).abs(),
                    _ => f64::INFINITY,
                };
                self.metrics.iter().zip(&other.metrics).map(far).fold(0.0, f64::max)
            }
        }
    }

    /// Whether `next` is where the promise says it is, seen from here.
    fn keeps(&self, next: &Numbers, promise: Promise) -> bool {
        match promise {
            Promise::LowerPatches => not_above(&next.patches, &self.patches),
            Promise::HigherPatches => not_above(&self.patches, &next.patches),
            Promise::SquaredPatches => {
                self.patches.iter().zip(&next.patches).all(|(a, b)| (a * a - b).abs() <= ROUNDING * b)
            }
            Promise::LowerImages => not_above(&next.images, &self.images),
            Promise::SmootherMaps => next.roughness < 0.999 * self.roughness,
            Promise::LargerBanks => next.bank_bytes > self.bank_bytes,
            Promise::MoreParameters => next.parameters > self.parameters,
        }
    }
}

/// Losses of every epoch of a run's trainings, with their names.
fn losses(run: &RecordedRun) -> Vec<(String, f64)> {
    let epochs = run.stages.iter().flat_map(|stage| stage.note["epochs"].as_array().into_iter().flatten());
    let terms = epochs.flat_map(|epoch| epoch.as_object().into_iter().flatten());
    terms.map(|(name, value)| (name.clone(), value.as_f64().unwrap_or(f64::NAN))).collect()
}

fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
}

/// Root mean square of the differences in standard deviations of the values.
fn distance(first: &[f64], second: &[f64]) -> f64 {
    if first.len() != second.len() {
        return f64::INFINITY;
    }
    let squares = first.iter().zip(second).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    if squares == 0.0 {
        return 0.0;
    }
    let spread = (variance(first) + variance(second)) / 2.0;
    (squares / first.len() as f64 / spread).sqrt()
}

/// No value of `low` is above that of `high`, but for rounding.
fn not_above(low: &[f64], high: &[f64]) -> bool {
    let slack = ROUNDING * variance(high).sqrt();
    low.len() == high.len() && low.iter().zip(high).all(|(low, high)| *low <= high + slack)
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
        let numbers = match summary.failed.first() {
            Some(failure) => {
                assert!(may_fail, "{}\n{text}", failure.message);
                Err(failure.message.clone())
            }
            None => Ok(Numbers::of(&self.lab, &experiment)),
        };
        let outcome = Outcome { id: experiment.runs[0].spec.id.clone(), numbers };
        self.known.insert(text.into(), outcome.clone());
        outcome
    }

    /// Faults of one knob, whose key is called `key` in the study.
    fn check(&mut self, study: &str, key: &str, knob: &Knob) -> Vec<String> {
        let surroundings = with(study, knob.context);
        let of = |value: &&str| self.outcome(&with(&surroundings, &[(key, value)]), *value == "\"error\"");
        let outcomes: Vec<Outcome> = knob.values.iter().map(of).collect();
        let pairs = (0..outcomes.len()).flat_map(|i| (i + 1..outcomes.len()).map(move |j| (i, j)));
        let mut faults = Vec::new();
        for (i, j) in pairs {
            let pair = format!("{key}: {} and {}", knob.values[i], knob.values[j]);
            if outcomes[i].id == outcomes[j].id {
                faults.push(format!("{pair} give the same run id"));
            }
            let (Ok(first), Ok(second)) = (&outcomes[i].numbers, &outcomes[j].numbers) else { continue };
            let moved = first.moved(second, knob.differs);
            if SAME.contains(&(key, knob.values[i], knob.values[j])) {
                faults.extend((moved > 0.0).then(|| format!("{pair} give different numbers ({moved:e})")));
            } else if moved <= MOVED {
                faults.push(format!("{pair} move {:?} by no more than rounding ({moved:e})", knob.differs));
            }
            for promise in knob.promises.iter().filter(|&&promise| j == i + 1 && !first.keeps(second, promise)) {
                faults.push(format!("{pair} break the promise of {promise:?}"));
            }
        }
        faults
    }
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
        // Words that differ in different contexts have a row for each.
        let values: Vec<&str> =
            knobs.iter().filter(|knob| knob.key == key.as_str()).flat_map(|knob| knob.values.iter().copied()).collect();
        if values.is_empty() {
            faults.push(format!("{key} has no row: say in which context which values must change the numbers"));
            continue;
        }
        let lacks = |word: &&str| !values.contains(&format!("\"{word}\"").as_str());
        let missing = words(schema).into_iter().filter(lacks);
        faults.extend(missing.map(|word| format!("{key}: \"{word}\" is not among the values")));
    }
    for knob in knobs {
        if !leaves.iter().any(|(known, _)| known.as_str() == knob.key) {
            faults.push(format!("{} is not in the schema any more", knob.key));
        }
        if knob.values.len() < 2 {
            faults.push(format!("{} has one value", knob.key));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_key_of_every_method_and_section_is_listed() {
    for entry in METHODS {
        let schema = (entry.kind.schema)();
        let mut found = Vec::new();
        leaves(&schema, "", &mut found);
        check_listed(&found, &entry.trial.knobs.iter().collect::<Vec<_>>());
    }
    let schema = schema_of::<ExperimentFile>();
    let mut found = Vec::new();
    leaves(&schema, "", &mut found);
    found.retain(|(key, _)| !NOT_COMPUTED.contains(&key.split('.').next().unwrap_or_default()));
    check_listed(&found, &STUDY_KNOBS.iter().map(|(_, knob)| knob).collect::<Vec<_>>());
}

#[test]
fn every_key_of_every_method_moves_the_numbers_as_it_promises() {
    let turn = |entry: &methods::Entry| {
        let (mut bench, study) = (Bench::new(), study(entry.kind.name));
        let mut faults = bench.check(&study, SEEDS.key, &SEEDS);
        faults.extend(
            entry.trial.knobs.iter().flat_map(|knob| bench.check(&study, &format!("method.{}", knob.key), knob)),
        );
        faults.iter().map(|fault| format!("{}: {fault}", entry.kind.name)).collect::<Vec<_>>()
    };
    let faults: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = METHODS.iter().map(|entry| scope.spawn(|| turn(entry))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a method's knobs")).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_key_outside_the_method_changes_run_and_numbers() {
    let mut bench = Bench::new();
    let check = |(method, knob): &(&str, Knob)| bench.check(&study(method), knob.key, knob);
    let faults: Vec<String> = STUDY_KNOBS.iter().flat_map(check).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Without this, differences would prove nothing.
#[test]
fn the_same_study_gives_the_same_run_and_numbers_elsewhere() {
    let study = with(&study("dmad"), &[SEEN]);
    let [first, second] = [Bench::new().outcome(&study, false), Bench::new().outcome(&study, false)];
    assert_eq!(first.id, second.id);
    let [first, second] = [first, second].map(|outcome| outcome.numbers.expect("numbers"));
    assert!([Patches, Images, Metrics].iter().all(|what| first.moved(&second, *what) == 0.0));
}
