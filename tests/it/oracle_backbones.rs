//! Torchvision's networks with weights made by a hash, through a weights file.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use dmad::backbone::plan::TensorSpec;
use dmad::backbone::weights::{self, StateDict, Weight};
use dmad::backbone::{Architecture, Backbone};
use dmad::spec;
use sha2::{Digest, Sha256};

use crate::{generator, util};

/// Every key of torchvision's state dictionary with its shape: the network, its head, and the counters.
fn torchvision_keys(name: &str, head: Vec<TensorSpec>) -> BTreeMap<String, Vec<usize>> {
    let architecture = Architecture::find(name).expect("known");
    let mut keys: BTreeMap<_, _> =
        architecture.tensors(architecture.taps).into_iter().chain(head).map(|spec| (spec.name, spec.shape)).collect();
    let norms: Vec<String> = keys.keys().filter_map(|key| key.strip_suffix("running_var")).map(String::from).collect();
    keys.extend(norms.into_iter().map(|norm| (format!("{norm}num_batches_tracked"), vec![])));
    keys
}

fn tensor(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.into(), shape: shape.to_vec() }
}

fn classifier(prefix: &str, inputs: usize) -> Vec<TensorSpec> {
    vec![tensor(&format!("{prefix}.weight"), &[1000, inputs]), tensor(&format!("{prefix}.bias"), &[1000])]
}

/// The rule of the references' README; a tensor's stream is its place among the sorted keys.
fn hash_weights(keys: &BTreeMap<String, Vec<usize>>, seed: u64) -> StateDict {
    let mut state = StateDict::new();
    for (stream, (key, shape)) in keys.iter().enumerate().filter(|(_, (key, _))| !key.ends_with("num_batches_tracked"))
    {
        let uniforms = generator::uniforms(seed, stream as u64, 0, shape.iter().product());
        let fan_in = shape[1..].iter().product::<usize>() as f64;
        let value = |u: f64| {
            if key.ends_with("running_mean") || key.ends_with(".bias") {
                (u - 0.5) * 0.2
            } else if key.ends_with("running_var") || shape.len() == 1 {
                0.5 + u
            } else {
                (u - 0.5) * 2.0 * (3.0 / fan_in).sqrt()
            }
        };
        let values = uniforms.into_iter().map(|u| value(u) as f32).collect();
        state.insert(key.clone(), Weight { shape: shape.clone(), values });
    }
    state
}

fn sha256(state: &StateDict) -> String {
    let mut hasher = Sha256::new();
    for weight in state.values() {
        hasher.update(weight.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks keys and weights against the oracle and returns them.
fn oracle_weights(oracle: &serde_json::Value, name: &str, head: Vec<TensorSpec>) -> StateDict {
    let keys = torchvision_keys(name, head);
    assert_eq!(keys.len() as u64, oracle["n_keys"].as_u64().expect("a number"), "{name}: keys");
    let state = hash_weights(&keys, oracle["seed"].as_u64().expect("a seed"));
    assert_eq!(sha256(&state), oracle["weights_sha256"].as_str().expect("a digest"), "{name}: weights");
    state
}

/// Runs architecture `name` on the oracle's image with weights from a file and compares `layers` with `outputs`.
fn check(name: &str, state: &StateDict, layers: &[(&str, &str)], outputs: &serde_json::Value) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights.safetensors");
    weights::write(&path, state).expect("written");
    let spec = spec::Backbone {
        name: name.into(),
        layers: layers.iter().map(|(layer, _)| layer.to_string()).collect(),
        weights: path.display().to_string(),
        ..Default::default()
    };
    let backbone = Backbone::load(&spec, Path::new("none"), 0, &Device::flex()).expect("loadable");
    let maps = backbone.forward(&[&generator::image(3, 0, 256)], 256).expect("maps");
    for (map, (layer, key)) in maps.into_iter().zip(layers) {
        let values = map.into_data().try_into_vec::<f32>().expect("f32");
        util::check_description(&format!("{name} {layer}"), &values, &outputs[*key], 2e-5);
    }
}

const RESNET_LAYERS: [(&str, &str); 3] = [("layer1", "layer1"), ("layer2", "layer2"), ("layer3", "layer3")];
const B4_LAYERS: [(&str, &str); 4] =
    [("stride2", "features.1"), ("stride4", "features.2"), ("stride8", "features.3"), ("stride16", "features.5")];

#[test]
fn resnet18_gives_the_maps_of_torchvision() {
    let oracle = &util::json(&util::reference("backbones.json"))["resnet18"];
    let state = oracle_weights(oracle, "resnet18", classifier("fc", 512));
    check("resnet18", &state, &RESNET_LAYERS, &oracle["outputs"]);
}

#[test]
fn wide_resnet50_2_gives_the_maps_of_torchvision() {
    let oracle = &util::json(&util::reference("backbones.json"))["wide_resnet50_2"];
    let state = oracle_weights(oracle, "wide_resnet50_2", classifier("fc", 2048));
    check("wide_resnet50_2", &state, &RESNET_LAYERS, &oracle["outputs"]);
}

#[test]
fn efficientnet_b4_gives_the_maps_of_torchvision_and_those_of_uniads_conventions() {
    let oracle = &util::json(&util::reference("backbones.json"))["efficientnet_b4"];
    let mut head = classifier("classifier.1", 1792);
    head.push(tensor("features.8.0.weight", &[1792, 448, 1, 1]));
    head.extend(
        ["weight", "bias", "running_mean", "running_var"].map(|part| tensor(&format!("features.8.1.{part}"), &[1792])),
    );
    let name = "efficientnet_b4_torchvision";
    let state = oracle_weights(oracle, name, head);
    check(name, &state, &B4_LAYERS, &oracle["outputs"]);
    // The other file layout lists the same tensors in the same order under other names.
    let tensors = |name| {
        let architecture = Architecture::find(name).expect("known");
        architecture.tensors(architecture.taps)
    };
    let renamed = tensors("efficientnet_b4")
        .into_iter()
        .zip(tensors(name))
        .map(|(flat, torchvision)| (flat.name, state[&torchvision.name].clone()))
        .collect();
    check("efficientnet_b4", &renamed, &B4_LAYERS, &oracle["outputs_tf_static380_eps1e-3"]);
}
