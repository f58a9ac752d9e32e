//! Golden artifacts: what every kind of stage makes of a tiny generated input, held against `golden.json`.
//!
//! A stage whose output changes without its `version` being raised would take old artifacts from users' stores for new
//! ones. So when this fails on purpose: raise the stage's version, then run it with `UPDATE_GOLDEN=1`.
//!
//! Integers are hashed and must be equal. Floats come from matrix kernels that are chosen by processor and differ in the
//! last bits, so no hash of them is portable: not of rounded ones either, because among thousands of values some always
//! lie beside a rounding edge. They are described instead by their shape, mean, norm and samples, and held against these
//! within a tolerance that is far above kernels' differences and far below what a change of the computation makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dmad::methods::METHODS;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value as Json, json};

use crate::lab::{Lab, study, train_default, with};
use crate::util;

const SAMPLES: usize = 24;

/// How far floats may be away, as a share of their root mean square. Training amplifies: Adam divides small gradients by
/// themselves.
fn tolerance(kind: &str) -> f64 {
    match kind {
        "training" | "maxima" | "scores" | "metrics" => 5e-3,
        _ => 1e-4,
    }
}

fn golden_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden.json")
}

/// The small study of every method, and one with seen anomalies: together they pass through every kind of stage.
fn studies() -> Vec<(&'static str, String)> {
    let of = |name: &'static str| {
        // Several steps, because Adam's first ones hardly depend on how it remembers.
        let epochs = train_default(name, "epochs").map(|_| ("method.train.epochs", "5"));
        (name, with(&with(&study(name), &[("classes", "[\"wood\"]")]), epochs.as_slice()))
    };
    let mut studies: Vec<_> = METHODS.iter().map(|entry| of(entry.kind.name)).collect();
    studies.push(("seen", with(&of("dmad").1, &[("protocol.seen.count", "2")])));
    studies
}

/// Stage kind, name (study, kind, number among those of its kind in the order of the graph) and data file.
fn artifacts(lab: &Lab, study: &str, text: &str) -> Vec<(String, String, PathBuf)> {
    let (experiment, summary) = lab.run(study, text);
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let run = lab.results(&experiment).join("runs").join(&experiment.runs[0].spec.id);
    let log = std::fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let stage = |line: &str| {
        let stage: Json = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| stage[name].as_str().expect("a text").to_string();
        let (kind, key) = (text("kind"), text("key"));
        let number = numbers.entry(kind.clone()).or_default();
        *number += 1;
        let name = format!("{study}/{kind}/{number}");
        let file = lab.store().join(&kind).join(format!("{key}.safetensors"));
        (kind, name, file)
    };
    log.lines().map(stage).collect()
}

fn describe(kind: &str, bytes: &[u8]) -> Json {
    let tensors = SafeTensors::deserialize(bytes).expect("an artifact");
    let mut names = tensors.names();
    names.sort_unstable();
    let described = names.into_iter().map(|name| {
        let tensor = tensors.tensor(name).expect("listed");
        let words = tensor.data().chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
        let description = match tensor.dtype() {
            Dtype::U32 => json!({ "shape": tensor.shape(), "blake3": blake3::hash(tensor.data()).to_hex().as_str() }),
            Dtype::F32 => describe_floats(tensor.shape(), &words.map(f32::from_le_bytes).collect::<Vec<_>>()),
            Dtype::U8 => describe_json(tensor.data()),
            other => panic!("{kind}: {name} is {other:?}"),
        };
        (name.to_string(), description)
    });
    Json::Object(described.collect())
}

fn describe_floats(shape: &[usize], values: &[f32]) -> Json {
    let count = values.len().max(1) as f64;
    let l2 = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let samples = SAMPLES.min(values.len());
    let indices: Vec<usize> = (0..samples).map(|i| (2 * i + 1) * values.len() / (2 * samples)).collect();
    let values: Vec<f64> = indices.iter().map(|&index| seven_digits(f64::from(values[index]))).collect();
    json!({ "shape": shape, "mean": seven_digits(mean), "l2": seven_digits(l2), "indices": indices, "values": values })
}

/// The numbers of a JSON document, in order.
fn describe_json(bytes: &[u8]) -> Json {
    fn collect(json: &Json, numbers: &mut Vec<f32>) {
        match json {
            Json::Number(number) => numbers.push(number.as_f64().unwrap_or(f64::NAN) as f32),
            Json::Array(items) => items.iter().for_each(|item| collect(item, numbers)),
            Json::Object(map) => map.values().for_each(|item| collect(item, numbers)),
            _ => {}
        }
    }
    let mut numbers = Vec::new();
    collect(&serde_json::from_slice(bytes).expect("JSON"), &mut numbers);
    describe_floats(&[numbers.len()], &numbers)
}

/// What an f32 can hold and a reader can bear.
fn seven_digits(value: f64) -> f64 {
    format!("{value:.6e}").parse().expect("just printed")
}

/// One line for each artifact.
fn written(found: &BTreeMap<String, Json>) -> String {
    let lines: Vec<String> = found.iter().map(|(name, tensors)| format!("{}: {tensors}", json!(name))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn measured() -> BTreeMap<String, Json> {
    let mut found = BTreeMap::new();
    for (study, text) in studies() {
        let lab = Lab::new();
        for (kind, name, file) in artifacts(&lab, study, &text) {
            let described = describe(&kind, &std::fs::read(&file).expect("an artifact"));
            found.insert(name, described);
        }
    }
    found
}

/// What is wrong with one tensor.
fn fault(found: &Json, expected: &Json, tolerance: f64) -> Option<String> {
    if found["shape"] != expected["shape"] {
        return Some(format!("shape {}, recorded {}", found["shape"], expected["shape"]));
    }
    if found["blake3"] != expected["blake3"] {
        return Some("other integers than recorded".into());
    }
    let expected_norm = expected["l2"].as_f64()?;
    let count: f64 = util::numbers(&expected["shape"]).iter().product();
    let allowed = tolerance * expected_norm / count.max(1.0).sqrt();
    let number = |json: &Json, key: &str| json[key].as_f64().unwrap_or(f64::NAN);
    let norm = number(found, "l2");
    if (norm - expected_norm).abs() > tolerance * expected_norm {
        return Some(format!("norm {norm}, recorded {expected_norm}"));
    }
    if (number(found, "mean") - number(expected, "mean")).abs() > allowed {
        return Some(format!("mean {}, recorded {}", found["mean"], expected["mean"]));
    }
    let pairs = util::numbers(&found["values"]).into_iter().zip(util::numbers(&expected["values"]));
    let far = pairs.zip(util::numbers(&expected["indices"])).find(|((a, b), _)| (a - b).abs() > allowed);
    far.map(|((a, b), index)| format!("value {index} is {a}, recorded {b}"))
}

/// What is wrong with the tensors of an artifact.
fn faults(artifact: &str, found: &Json, expected: &Json) -> Vec<String> {
    let names = |json: &Json| json.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    if names(found) != names(expected) {
        return vec![format!("{artifact} has the tensors {:?}, recorded {:?}", names(found), names(expected))];
    }
    let tolerance = tolerance(artifact.split('/').nth(1).unwrap_or_default());
    let tensors = found.as_object().into_iter().flatten();
    let fault = |(name, tensor): (&String, &Json)| {
        let fault = fault(tensor, &expected[name], tolerance)?;
        Some(format!("{artifact}, tensor {name}: {fault}"))
    };
    tensors.filter_map(fault).collect()
}

/// Records what is new or changed; what still holds stays as it was, whatever machine it is from.
fn update(found: &BTreeMap<String, Json>) {
    let recorded = util::json(&golden_file());
    let newest = |(name, artifact): (&String, &Json)| {
        let old = recorded.get(name).filter(|old| faults(name, artifact, old).is_empty());
        (name.clone(), old.unwrap_or(artifact).clone())
    };
    std::fs::write(golden_file(), written(&found.iter().map(newest).collect())).expect("written");
}

#[test]
fn every_kind_of_stage_makes_what_it_always_made() {
    let found = measured();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        update(&found);
    }
    let recorded = util::json(&golden_file());
    let recorded = recorded.as_object().expect("an object");
    let mut wrong: Vec<String> = Vec::new();
    for (name, artifact) in &found {
        match recorded.get(name) {
            None => wrong.push(format!("{name} is not recorded")),
            Some(expected) => wrong.extend(faults(name, artifact, expected)),
        }
    }
    let gone = recorded.keys().filter(|name| !found.contains_key(*name));
    wrong.extend(gone.map(|name| format!("{name} is recorded, but no stage makes it")));
    let help = "if this is meant, raise the stage's version and run again with UPDATE_GOLDEN=1";
    assert!(wrong.is_empty(), "{}\n{help}", wrong.join("\n"));
}
