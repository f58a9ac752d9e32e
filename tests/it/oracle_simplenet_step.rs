//! SimpleNet against the reference numbers: forward pass, losses, gradients, optimiser steps, maps.

use burn::tensor::{Device, Gradients, Tensor};
use dmad::maps::{gaussian, upsample};
use dmad::methods::METHODS;
use dmad::methods::simplenet::{Network, Params, Schedule, Train, Trainer};
use dmad::spec::{MethodContext, to_json};
use dmad::train::{BatchNormMode, Parameters, download, upload};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::generator;
use crate::util::{array, check_description, json as read_json, numbers, plain, reference, without_waiting};

const DIM: usize = 64;
const HIDDEN: usize = 48;
const ROWS: usize = 256;
const PATCHES: usize = 64;
const MAP_SIDE: usize = 64;
const STEPS: u64 = 3;
const TOLERANCE: f64 = 3e-6;

/// The oracle's names beside ours: module, its seed, key, our name.
const NAMES: [(&str, u64, &str, &str); 9] = [
    ("adaptor", 120, "layers.0fc.bias", "adaptor.1.bias"),
    ("adaptor", 120, "layers.0fc.weight", "adaptor.1.weight"),
    ("discriminator", 121, "body.block1.0.bias", "discriminator.1.linear.bias"),
    ("discriminator", 121, "body.block1.0.weight", "discriminator.1.linear.weight"),
    ("discriminator", 121, "body.block1.1.bias", "discriminator.1.bn.bias"),
    ("discriminator", 121, "body.block1.1.running_mean", "discriminator.1.bn.running_mean"),
    ("discriminator", 121, "body.block1.1.running_var", "discriminator.1.bn.running_var"),
    ("discriminator", 121, "body.block1.1.weight", "discriminator.1.bn.weight"),
    ("discriminator", 121, "tail.weight", "discriminator.out.weight"),
];

/// "P.…" and "D.…" of the oracle's training part to our names.
fn own_name(name: &str) -> &'static str {
    let (module, key) = name.split_once('.').expect("module.key");
    let module = if module == "P" { "adaptor" } else { "discriminator" };
    NAMES.iter().find(|(m, _, k, _)| (*m, *k) == (module, key)).expect("a known name").3
}

fn params() -> Params {
    serde_json::from_value(json!({ "discriminator": { "hidden": HIDDEN } })).expect("parameters")
}

/// Everything the oracle's case starts from.
struct Case {
    oracle: Json,
    features: Vec<f32>,
}

impl Case {
    fn new() -> Self {
        let oracle = read_json(&reference("simplenet_step.json"));
        let features = generator::features(ROWS, DIM, 122);
        let bytes: Vec<u8> = features.iter().flat_map(|value| value.to_le_bytes()).collect();
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, oracle["input"]["sha256"]);
        Case { oracle, features }
    }

    fn rows(&self, device: &Device) -> Tensor<2> {
        upload(self.features.clone(), [ROWS, DIM], device)
    }

    /// The network with the oracle's hash weights.
    fn parameters(&self, device: &Device) -> Parameters {
        let mut parameters = Network::new(&params(), DIM).initial(0, device);
        for (module, seed, key, name) in NAMES {
            let listed = self.oracle["keys"][module].as_array().expect("keys");
            let entry = listed.iter().find(|entry| entry[1] == key).expect("listed");
            let shape = parameters.get(name).dims();
            let uniforms = generator::uniforms(seed, entry[0].as_u64().expect("a stream"), 0, shape[0] * shape[1]);
            let two_dimensional = entry[2].as_array().is_some_and(|shape| shape.len() == 2);
            let value = |u: f64| match key {
                _ if key.ends_with("running_mean") || key.ends_with("bias") => (u - 0.5) * 0.2,
                _ if two_dimensional => (u - 0.5) * 2.0 * (3.0 / shape[1] as f64).sqrt(),
                _ => 0.5 + u,
            };
            let values = uniforms.into_iter().map(|u| value(u) as f32).collect();
            match key.contains("running") {
                true => parameters.insert_buffer(name, values, shape, device),
                false => parameters.insert(name, values, shape, device),
            }
        }
        parameters
    }

    fn trainer(&self, device: &Device) -> Trainer {
        Trainer::new(&params(), Network::new(&params(), DIM), self.parameters(device))
    }
}

/// 0.015·(twelve uniforms − 6), the product in f32. The uniforms have 24 bits, so the sums are exact.
fn noise(step: u64) -> Vec<f32> {
    let draws = generator::uniforms(123, step, 0, 12 * ROWS * DIM);
    draws.chunks(12).map(|twelve| 0.015f32 * (twelve.iter().sum::<f64>() - 6.0) as f32).collect()
}

fn noise_on(step: u64, device: &Device) -> Tensor<2> {
    upload(noise(step), [ROWS, DIM], device)
}

fn check_samples(what: &str, values: &[f32], expected: &Json, tolerance: f64) {
    let (indices, samples) = (numbers(&expected["indices"]), numbers(&expected["values"]));
    assert!(!indices.is_empty(), "{what}: no samples");
    for (index, sample) in indices.iter().zip(samples) {
        let value = f64::from(values[*index as usize]);
        assert!((value - sample).abs() <= tolerance, "{what}[{index}]: {value}, expected {sample} ± {tolerance:e}");
    }
}

fn check_norm(what: &str, values: &[f32], expected: f64, tolerance: f64) {
    let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    assert!((norm - expected).abs() <= tolerance * expected, "{what}: norm {norm}, expected {expected}");
}

/// Adapted features, D, image scores and maps in evaluation mode. `maps`: all pixels, where the oracle ships them.
fn check_evaluation(parameters: &Parameters, rows: Tensor<2>, expected: &Json, images: &Json, maps: Option<&[f32]>) {
    let (network, mut parameters) = (Network::new(&params(), DIM), parameters.clone());
    let adapted = network.adapt(&parameters, rows.clone());
    let described = |what: &str, values: &[f32], name: &str| {
        check_samples(what, values, &expected[name], TOLERANCE);
        check_norm(what, values, expected[name]["l2"].as_f64().expect("l2"), TOLERANCE);
    };
    described("adapted features", &download(adapted.clone()), "adaptor_out_256x64");
    let judged = download(network.judge(&mut parameters, adapted, BatchNormMode::Evaluate));
    described("D", &judged, "discriminator_out_256");
    let scores = download(network.score(&mut parameters, rows));
    let highest: Vec<f64> =
        scores.chunks(PATCHES).map(|image| f64::from(image.iter().copied().fold(f32::MIN, f32::max))).collect();
    for (found, expected) in highest.iter().zip(numbers(images)) {
        assert!((found - expected).abs() <= TOLERANCE, "image score {found}, expected {expected}");
    }
    let size = (MAP_SIDE, MAP_SIDE);
    let map = |image: &[f32]| gaussian(&upsample(image, (8, 8), size), size, 4.0);
    let found: Vec<f32> = scores.chunks(PATCHES).flat_map(map).collect();
    described("maps", &found, "maps_4x64x64");
    if let Some(maps) = maps {
        assert_eq!(found.len(), maps.len());
        let worst = found.iter().zip(maps).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(f64::from(worst) <= TOLERANCE, "a pixel of a map is off by {worst}");
    }
}

#[test]
fn scores_and_maps_of_simplenet_follow_the_reference() {
    let case = Case::new();
    let device = Device::flex();
    let (parameters, oracle) = (case.parameters(&device), &case.oracle);
    for (module, _, key, name) in NAMES {
        let example = &oracle["weights"][module]["key_examples"][key];
        if example.is_object() {
            let found: Vec<f64> = download(parameters.get(name)).iter().take(4).map(|&v| f64::from(v)).collect();
            assert_eq!(found, numbers(&example["first4"]), "{name}");
        }
    }
    let maps: Vec<f32> = array(&reference("simplenet_maps.npy"));
    check_evaluation(&parameters, case.rows(&device), &oracle["eval"], &oracle["image_scores"], Some(&maps));
}

fn gradient(parameters: &Parameters, name: &str, gradients: &Gradients) -> Vec<f32> {
    let tensor = parameters.get(name).grad(gradients).unwrap_or_else(|| panic!("{name} has no gradient"));
    tensor.into_data().try_into_vec::<f32>().expect("f32")
}

#[test]
fn losses_and_gradients_of_simplenet_follow_the_reference() {
    let case = Case::new();
    let device = Device::flex().autodiff();
    let expected = &case.oracle["train"];
    let noise = noise(0);
    check_samples("noise", &noise, &expected["noise_step0"], 1e-9);
    let mut trainer = case.trainer(&device);
    check_training_scores(&case, expected);
    let (loss, losses) = trainer.loss(case.rows(&device), noise_on(0, &device));
    let terms = numbers(&expected["true_and_fake_terms_step1"]);
    for (name, expected) in [("real", terms[0]), ("fake", terms[1]), ("loss", terms[0] + terms[1])] {
        assert!((losses.value(name) - expected).abs() <= 1e-6, "{name}: {losses:?}, expected {terms:?}");
    }
    let gradients = loss.backward();
    let norms = expected["grad_l2_step1"].as_object().expect("norms");
    assert_eq!(trainer.parameters.learned_names().count(), norms.len(), "parameters with a gradient");
    let truly_zero: Vec<&str> =
        expected["zero_gradient"].as_array().expect("names").iter().filter_map(Json::as_str).collect();
    let mut own_zero: Vec<&str> = truly_zero.iter().map(|name| own_name(name)).collect();
    own_zero.sort_unstable();
    assert_eq!(Network::new(&params(), DIM).zero_gradient(), own_zero);
    for (name, norm) in norms {
        let found = gradient(&trainer.parameters, own_name(name), &gradients);
        if truly_zero.contains(&name.as_str()) {
            assert!(found.iter().all(|value| value.abs() < 1e-5), "{name}: a true gradient of zero");
            continue;
        }
        let norm = norm.as_f64().expect("a norm");
        check_norm(name, &found, norm, 2e-6);
        let scale = norm / (found.len() as f64).sqrt();
        check_samples(name, &found, &expected["grad_samples_step1"][name], 2e-5 * scale.max(0.1));
    }
}

/// D of real and fake rows in the first step, and how many are beyond the margin on their side.
fn check_training_scores(case: &Case, expected: &Json) {
    let device = Device::flex();
    let (network, mut parameters) = (Network::new(&params(), DIM), case.parameters(&device));
    let real = network.adapt(&parameters, case.rows(&device));
    let both = Tensor::cat(vec![real.clone(), real + noise_on(0, &device)], 0);
    let scores = download(network.judge(&mut parameters, both, BatchNormMode::Train));
    check_description("D in training", &scores, &expected["scores_step1_512"], 4e-6);
    let share = |scores: &[f32], sign: f32| {
        scores.iter().filter(|&&score| sign * score >= 0.5).count() as f64 / scores.len() as f64
    };
    assert_eq!(share(&scores[..ROWS], 1.0), numbers(&expected["p_true"])[0]);
    assert_eq!(share(&scores[ROWS..], -1.0), numbers(&expected["p_fake"])[0]);
}

fn check_parameters(parameters: &Parameters, expected: &Json) {
    let expected = expected.as_object().expect("parameters");
    assert_eq!(expected.len(), parameters.learned_names().count());
    for (name, expected) in expected {
        check_samples(name, &download(parameters.get(own_name(name))), expected, 5e-7);
    }
}

#[test]
fn steps_of_simplenet_follow_the_reference() {
    let case = Case::new();
    let device = Device::flex().autodiff();
    let (expected, mut trainer) = (&case.oracle["train"], case.trainer(&device));
    let losses = numbers(&expected["loss_per_step_f64"]);
    assert_eq!(losses.len() as u64, STEPS);
    for step in 0..STEPS {
        let (rows, noise) = (case.rows(&device), noise_on(step, &device));
        let found = without_waiting(|| trainer.step(rows, noise)).value("loss");
        assert!((found - losses[step as usize]).abs() <= 1e-6, "step {step}: {found}, expected {losses:?}");
        if step == 0 {
            check_parameters(&trainer.parameters, &expected["params_after_1_step"]);
            for name in ["running_mean", "running_var"] {
                let buffer = &expected["bn_buffers_after_1_step"][format!("body.block1.1.{name}")];
                let found = download(trainer.parameters.get(&format!("discriminator.1.bn.{name}")));
                check_description(name, &found, buffer, 2e-6);
            }
        }
    }
    check_parameters(&trainer.parameters, &expected["params_after_3_steps"]);
    let trained = plain(&trainer.parameters);
    let images = &expected["image_scores_after_3_steps"];
    check_evaluation(&trained, case.rows(&Device::flex()), &expected["eval_after_3_steps"], images, None);
}

#[test]
fn coupled_weight_decay_moves_a_bias_without_gradient_by_the_learning_rate() {
    let case = Case::new();
    let device = Device::flex().autodiff();
    let mut trainer = case.trainer(&device);
    let before = download(trainer.parameters.get("discriminator.1.linear.bias"));
    trainer.step(case.rows(&device), noise_on(0, &device));
    let after = download(trainer.parameters.get("discriminator.1.linear.bias"));
    let expected = case.oracle["train"]["disc_bias_moves_by"].as_f64().expect("a number");
    let moves = before.iter().zip(&after).map(|(a, b)| f64::from(a - b).abs());
    let moved = moves.sum::<f64>() / before.len() as f64;
    assert!((moved - expected).abs() <= 1e-8, "{moved} on average, expected {expected}");
    assert!(before.iter().zip(&after).all(|(a, b)| b.abs() < a.abs()), "always towards zero");
}

#[test]
fn simplenet_has_as_many_parameters_as_published() {
    let parameters = Network::new(&Params::default(), 1536).initial(0, &Device::flex());
    let count = |prefix: &str| -> usize {
        let names = parameters.learned_names().filter(|name| name.starts_with(prefix));
        names.map(|name| parameters.get(name).dims().iter().product::<usize>()).sum()
    };
    assert_eq!((count("adaptor."), count("discriminator.")), (2_360_832, 1_576_960));
    assert_eq!(parameters.count(), 3_937_792);
    let deep =
        serde_json::from_value(json!({ "adaptor": { "layers": 3 }, "discriminator": { "blocks": 2, "hidden": 5 } }));
    for params in [Params::default(), deep.expect("parameters")] {
        let network = Network::new(&params, 24);
        assert_eq!(network.size(), network.initial(0, &Device::flex()).count(), "{params:?}");
    }
}

#[test]
fn without_noise_or_without_an_opinion_the_loss_is_what_it_must_be() {
    let case = Case::new();
    let device = Device::flex().autodiff();
    // Real and fake rows are the same, and relu(m − s) + relu(m + s) ≥ 2m.
    let losses = case.trainer(&device).loss(case.rows(&device), case.rows(&device).zeros_like()).1;
    assert!((1.0..2.0).contains(&losses.value("loss")), "{losses:?}");
    let mut silent = case.parameters(&device);
    silent.insert("discriminator.out.weight", vec![0.0; HIDDEN], [1, HIDDEN], &device);
    let losses =
        Trainer::new(&params(), Network::new(&params(), DIM), silent).loss(case.rows(&device), noise_on(0, &device)).1;
    assert_eq!(["real", "fake", "loss"].map(|name| losses.value(name)), [0.5, 0.5, 1.0]);
}

#[test]
fn an_images_scores_do_not_depend_on_the_images_beside_it() {
    let case = Case::new();
    let device = Device::flex();
    let (network, mut parameters) = (Network::new(&params(), DIM), case.parameters(&device));
    let together = download(network.score(&mut parameters, case.rows(&device)));
    for (image, expected) in together.chunks(PATCHES).enumerate() {
        let own = image * PATCHES..(image + 1) * PATCHES;
        let alone = download(network.score(&mut parameters, case.rows(&device).slice([own])));
        assert!(alone.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-6), "image {image}");
    }
}

#[test]
fn defaults_of_simplenet_are_those_of_its_sheet() {
    let params = to_json(&Params::default());
    for (key, value) in [
        ("/adaptor/layers", json!(1)),
        ("/discriminator/blocks", json!(1)),
        ("/discriminator/hidden", json!(1024)),
        ("/discriminator/optimizer", json!("adam")),
        ("/noise/std", json!(0.015)),
        ("/noise/mix", json!(1)),
        ("/loss/margin", json!(0.5)),
        ("/train/epochs", json!(48)),
        ("/train/batch", json!(32)),
        ("/train/drop_last", json!(false)),
        ("/train/patches_per_image", json!(0)),
        ("/train/lr_adaptor", json!(1e-4)),
        ("/train/lr_discriminator", json!(2e-4)),
        ("/train/weight_decay_adaptor", json!(1e-2)),
        ("/train/weight_decay_discriminator", json!(1e-5)),
        ("/train/schedule", json!("constant")),
        ("/train/select", json!("last")),
        ("/train/curve", json!(false)),
        ("/score/image", json!("patches")),
        ("/score/top_k", json!(1)),
        ("/score/sigma", json!(4.0)),
    ] {
        assert_eq!(params.pointer(key), Some(&value), "{key}");
    }
}

#[test]
fn the_cosine_schedule_falls_from_the_rate_to_its_floor() {
    let train = Train { schedule: Schedule::Cosine, epochs: 10, ..Train::default() };
    let rates: Vec<f64> = (0..=10).map(|epoch| train.discriminator_rate(epoch)).collect();
    let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(close(rates[0], 2e-4) && close(rates[5], 1.4e-4) && close(rates[10], 0.8e-4), "{rates:?}");
    assert!(rates.windows(2).all(|pair| pair[1] < pair[0]), "{rates:?}");
    assert_eq!(Train::default().discriminator_rate(7), 2e-4);
}

#[test]
fn an_average_of_patches_and_the_maximum_of_the_map_exclude_each_other() {
    let entry = METHODS.iter().find(|entry| entry.kind.name == "simplenet").expect("a method");
    let written = json!({ "score": { "image": "map", "top_k": 5 } });
    let fault = (entry.kind.parse)(&written, &MethodContext { seen_count: 0 }).expect_err("refused");
    assert_eq!(fault.key, "score.top_k");
    assert!(fault.help.is_some_and(|help| help.contains("method.score.image")));
}
