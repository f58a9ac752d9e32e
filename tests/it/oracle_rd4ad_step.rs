//! RD4AD against the reference numbers: bottleneck, student, cosine maps and losses, gradients, optimiser steps.

use burn::tensor::{Device, Tensor};
use dmad::backbone::plan::Activation;
use dmad::backbone::resnet::Residual;
use dmad::maps::{enlarged_sum, gaussian};
use dmad::methods::distillation::{Bottleneck, Design, Student, cosine_maps, flat_distance, place_distance};
use dmad::methods::rd4ad::{Params, Trainer};
use dmad::plan::Level;
use dmad::train::{BatchNormMode, Parameters, download, upload};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::generator;
use crate::util::{array, check_description, json as read_json, numbers, plain, reference, without_waiting};

/// Side of the maps that are scored.
const SIZE: (usize, usize) = (128, 128);

/// A case of the oracle: a teacher's maps, and networks with hash weights.
struct Case {
    told: Json,
    images: usize,
    design: Design,
    /// Seed of the teacher's maps.
    maps: u64,
}

impl Case {
    fn new(name: &str) -> Self {
        let told = read_json(&reference("rd4ad_step.json"))[name].take();
        let (kind, channels, images, maps) = match name {
            "resnet18" => (Residual::Basic, [64, 128, 256], 2, 132),
            _ => (Residual::WideBottleneck, [256, 512, 1024], 1, 135),
        };
        let levels = [32, 16, 8].into_iter().zip(channels).map(|(side, channels)| Level { side, channels }).collect();
        Case { told, images, design: Design { kind, levels, activation: Activation::Relu }, maps }
    }

    fn parameters(&self, device: &Device) -> Parameters {
        let mut parameters = self.design.parameters(None, device);
        for (part, official) in [("bottleneck", "bottleneck"), ("student", "decoder")] {
            let seed = self.told["weights_seed"][official].as_u64().expect("a seed");
            let digest = self.hash(part, seed, &mut parameters, device);
            assert_eq!(digest, self.told["weights"][official]["weights_sha256"].as_str().expect("a digest"));
        }
        parameters
    }

    /// Gives the parameters of a part the values of the references' README; returns the digest of all that it has in the
    /// released code.
    fn hash(&self, part: &str, seed: u64, parameters: &mut Parameters, device: &Device) -> String {
        let prefix = format!("{part}.");
        let own = parameters.learned_names().filter_map(|name| name.strip_prefix(&prefix).map(String::from));
        let mut keys: Vec<String> = own.collect();
        if part == "bottleneck" {
            // Declared there and never used.
            keys.extend(["conv4.weight", "bn4.weight", "bn4.bias"].map(String::from));
        }
        let norms: Vec<String> = keys.iter().filter_map(|key| key.strip_suffix("bias")).map(String::from).collect();
        let buffers = ["running_mean", "running_var", "num_batches_tracked"];
        keys.extend(norms.into_iter().flat_map(|norm| buffers.map(|buffer| format!("{norm}{buffer}"))));
        keys.sort();
        let (code, mut hasher) = (2 * self.design.levels[2].channels, Sha256::new());
        for (stream, key) in keys.iter().enumerate().filter(|(_, key)| !key.ends_with("num_batches_tracked")) {
            let name = format!("{prefix}{key}");
            let shape = match key.as_str() {
                "conv4.weight" => [code, 2 * code],
                _ if key.starts_with("bn4.") => [1, code],
                _ => parameters.get(&name).dims(),
            };
            let value = |u: f64| match key {
                _ if key.ends_with("running_mean") || key.ends_with(".bias") => (u - 0.5) * 0.2,
                _ if key.ends_with("running_var") || shape[0] == 1 => 0.5 + u,
                _ => (u - 0.5) * 2.0 * (3.0 / shape[1] as f64).sqrt(),
            };
            let uniforms = generator::uniforms(seed, stream as u64, 0, shape[0] * shape[1]);
            let values: Vec<f32> = uniforms.into_iter().map(|u| value(u) as f32).collect();
            hasher.update(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            match (parameters.contains(&name), key.contains("running")) {
                (false, _) => {}
                (true, true) => parameters.insert_buffer(&name, values, shape, device),
                (true, false) => parameters.insert(&name, values, shape, device),
            }
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The teacher's maps.
    fn teacher(&self, device: &Device) -> Vec<Tensor<4>> {
        let of_level = |(number, level): (usize, &Level)| {
            let uniforms = generator::uniforms(self.maps, number as u64, 0, self.images * level.values());
            let values = uniforms.into_iter().map(|u| (2.0 * u - 0.8).max(0.0) as f32).collect();
            upload(values, [self.images, level.channels, level.side, level.side], device)
        };
        self.design.levels.iter().enumerate().map(of_level).collect()
    }

    fn forward(&self, parameters: &mut Parameters, mode: BatchNormMode) -> (Tensor<4>, Vec<Tensor<4>>) {
        let device = parameters.get("student.layer1.0.conv1.weight").device();
        let code = Bottleneck::new(&self.design).forward(parameters, &self.teacher(&device), mode);
        let maps = Student::new(&self.design).forward(parameters, code.clone(), mode);
        (code, maps)
    }

    /// Anomaly maps of all images, smoothed with a Gaussian of `sigma` pixels.
    fn scored(&self, student: &[Tensor<4>], sigma: f64) -> Vec<f32> {
        let device = student[0].device();
        let levels: Vec<Vec<f32>> =
            self.teacher(&device).into_iter().zip(student).map(|(t, s)| download(cosine_maps(t, s.clone()))).collect();
        let image = |number: usize| {
            let own = |(level, map): (&Level, &Vec<f32>)| {
                let places = level.side.pow(2);
                (level.side, map[number * places..][..places].to_vec())
            };
            let maps: Vec<(usize, Vec<f32>)> = self.design.levels.iter().zip(&levels).map(own).collect();
            gaussian(&enlarged_sum(&maps, SIZE, true), SIZE, sigma)
        };
        (0..self.images).flat_map(image).collect()
    }

    /// The eval part: networks with their running statistics.
    fn check_forward(&self) {
        let (eval, device) = (&self.told["eval"], Device::flex());
        let (code, student) = self.forward(&mut self.parameters(&device), BatchNormMode::Evaluate);
        check_description("code", &download(code), named(eval, "ocbe_"), 1e-5);
        for (number, map) in student.iter().enumerate() {
            let told = named(eval, &format!("student_level{}_", number + 1));
            check_description("student", &download(map.clone()), told, 1e-5);
        }
        let terms = self.teacher(&device).into_iter().zip(&student);
        let terms: Vec<f64> = terms.map(|(t, s)| scalar(flat_distance(t, s.clone()))).collect();
        close("loss", terms.iter().sum(), number(&self.told, "kd_loss_eval"), 1e-6);
        check_description("sum", &self.scored(&student, 0.0), named(eval, "map_sum"), 1e-5);
        let smooth = self.scored(&student, 4.0);
        check_description("smoothed", &smooth, named(eval, "map_gauss4"), 1e-5);
        let scores: Vec<f32> =
            smooth.chunks(SIZE.0 * SIZE.1).map(|map| map.iter().copied().fold(f32::NEG_INFINITY, f32::max)).collect();
        check_description("scores", &scores, &eval["image_score_max"], 1e-5);
    }
}

fn named<'a>(told: &'a Json, start: &str) -> &'a Json {
    let found = told.as_object().expect("tensors").iter().find(|(key, _)| key.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start}")).1
}

fn scalar(tensor: Tensor<2>) -> f64 {
    f64::from(download(tensor)[0])
}

fn number(json: &Json, key: &str) -> f64 {
    json[key].as_f64().unwrap_or_else(|| panic!("{key} of {json}"))
}

fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected} ± {tolerance:e}");
}

#[test]
fn networks_beside_resnet18_pass_forward_like_the_reference() {
    let (case, device) = (Case::new("resnet18"), Device::flex());
    case.check_forward();
    let (_, student) = case.forward(&mut case.parameters(&device), BatchNormMode::Evaluate);
    let pairs: Vec<(Tensor<4>, Tensor<4>)> = case.teacher(&device).into_iter().zip(student.clone()).collect();
    let (flat, places) =
        (numbers(&case.told["kd_loss_eval_levels"]), numbers(&case.told["per_location_variant_not_used"]));
    for (level, (t, s)) in pairs.into_iter().enumerate() {
        close("flat", scalar(flat_distance(t.clone(), s.clone())), flat[level], 1e-6);
        close("by place", scalar(place_distance(t.clone(), s.clone())), places[level], 1e-6);
        let told = &case.told["eval"][format!("map_level{}_native", level + 1)];
        check_description("map", &download(cosine_maps(t, s)), told, 1e-5);
    }
    let expected: Vec<f32> = array(&reference("rd4ad_map.npy"));
    for (found, expected) in case.scored(&student, 4.0).into_iter().zip(expected) {
        close("map", found.into(), expected.into(), 1e-5);
    }
}

#[test]
fn networks_beside_wide_resnet50_2_pass_forward_like_the_reference() {
    Case::new("wide_resnet50_2").check_forward();
}

#[test]
fn networks_have_as_many_parameters_as_the_released_ones() {
    for (name, unused) in [("resnet18", 525_312), ("wide_resnet50_2", 8_392_704)] {
        let case = Case::new(name);
        let (bottleneck, student) = (Bottleneck::new(&case.design).size(), Student::new(&case.design).size());
        assert_eq!((bottleneck + unused) as u64, case.told["n_parameters"]["bottleneck"].as_u64().expect("a count"));
        assert_eq!(student as u64, case.told["n_parameters"]["decoder"].as_u64().expect("a count"));
        assert_eq!(case.design.parameters(None, &Device::flex()).count(), bottleneck + student);
    }
    let wide = Case::new("wide_resnet50_2").design;
    assert_eq!((Bottleneck::new(&wide).size(), Student::new(&wide).size()), (58_885_120, 24_917_504));
}

/// The oracle's name of a parameter as ours; `None` for what nothing passes through.
fn own_name(key: &str) -> Option<String> {
    let own = match key.strip_prefix("bn.") {
        Some(rest) => format!("bottleneck.{rest}"),
        None => key.replacen("decoder.", "student.", 1),
    };
    (!own.starts_with("bottleneck.conv4.") && !own.starts_with("bottleneck.bn4.")).then_some(own)
}

/// Samples of `told` (`indices`, `values`) that are farther than `tolerance` from what stands there.
fn far(values: &[f32], told: &Json, tolerance: f64) -> Vec<f64> {
    let samples = numbers(&told["indices"]).into_iter().zip(numbers(&told["values"]));
    let distances = samples.map(|(index, value)| (f64::from(values[index as usize]) - value).abs());
    distances.filter(|distance| *distance > tolerance).collect()
}

fn check_gradients(train: &Json, trainer: &mut Trainer, teacher: &[Tensor<4>]) {
    let (loss, _) = trainer.loss(teacher);
    let gradients = loss.backward();
    let told = train["grad_l2_step1"].as_object().expect("norms");
    assert_eq!(told.len(), trainer.parameters.learned_names().count(), "every parameter learns");
    for (key, expected) in told {
        let name = own_name(key).expect("a parameter that learns");
        let gradient = trainer.parameters.get(&name).grad(&gradients).unwrap_or_else(|| panic!("{name}: no gradient"));
        let values = download(Tensor::<2>::from_inner(gradient));
        let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        let expected = expected.as_f64().expect("a norm");
        close(&format!("gradient of {name}"), norm, expected, 5e-4 * expected);
        let root = expected / (values.len() as f64).sqrt();
        let wrong = far(&values, &train["grad_samples_step1"][key], 2e-3 * root);
        assert!(wrong.is_empty(), "gradient of {name}: {wrong:?} beside a root mean square of {root}");
    }
}

/// After one step: a step of Adam is a sign, which a gradient near zero may have either way.
fn check_state(train: &Json, trainer: &Trainer) {
    let (mut samples, mut wrong) = (0, Vec::new());
    for (key, told) in train["params_after_1_step"].as_object().expect("parameters") {
        let Some(name) = own_name(key) else { continue };
        samples += numbers(&told["indices"]).len();
        wrong.extend(far(&download(trainer.parameters.get(&name)), told, 1e-5).into_iter().map(|d| (name.clone(), d)));
    }
    assert!(wrong.len() * 50 <= samples, "{} of {samples}: {wrong:?}", wrong.len());
    assert!(wrong.iter().all(|(_, distance)| *distance <= 0.0101), "{wrong:?}");
    for (key, told) in train["bn_buffers_after_1_step"].as_object().expect("buffers") {
        let Some(name) = own_name(key) else { continue };
        let wrong = far(&download(trainer.parameters.get(&name)), told, 1e-5);
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
}

#[test]
fn losses_gradients_and_steps_beside_resnet18_follow_the_reference() {
    let (case, device) = (Case::new("resnet18"), Device::flex().autodiff());
    let (train, teacher) = (&case.told["train"], case.teacher(&device));
    let start = || Trainer::new(&Params::default(), &case.design, case.parameters(&device));
    check_gradients(train, &mut start(), &teacher);
    let mut trainer = start();
    for (step, tolerance) in [1e-6, 1e-4, 1e-4].into_iter().enumerate() {
        let terms = without_waiting(|| trainer.step(&teacher));
        let told = numbers(&train["loss_terms_per_step_f64"][step]);
        for (name, expected) in ["level1", "level2", "level3"].into_iter().zip(&told) {
            close(&format!("{name} of step {step}"), terms.value(name), *expected, tolerance);
        }
        close("loss", terms.value("loss"), numbers(&train["loss_per_step_f64"])[step], tolerance);
        if step == 0 {
            check_state(train, &trainer);
        }
    }
    let (_, student) = case.forward(&mut plain(&trainer.parameters), BatchNormMode::Evaluate);
    check_description(
        "map after three steps",
        &case.scored(&student, 4.0),
        &train["map_gauss4_eval_after_3_steps"],
        1e-2,
    );
}
