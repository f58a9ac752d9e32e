//! DM-GRD against the reference numbers: selection, fusion, maps and scores, losses, gradients, optimiser steps, learning rates.

use burn::tensor::{Device, Tensor};
use dmad::backbone::plan::Activation;
use dmad::backbone::resnet::Residual;
use dmad::maps::{enlarged_sum, gaussian};
use dmad::methods::Scoring;
use dmad::methods::distillation::{Design, cosine_maps, flat_distance};
use dmad::methods::dm_grd::{
    Batch, FusionParams, MemoryView, Network, Params, Selected, Selection, Trainer, Transport, Triplet, contrast,
    memory_triplet, select, transport, whole_cosines,
};
use dmad::plan::Level;
use dmad::train::{BatchNormMode, Parameters, download, upload};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::generator;
use crate::util::{check_description, json, numbers, reference};

const IMAGES: usize = 4;
const MEMORY: usize = 30;
/// Side of the maps that are scored.
const SIDE: usize = 128;

fn oracle() -> Json {
    json(&reference("dm_grd_step.json"))
}

fn levels() -> Vec<Level> {
    let sides = [32, 16, 8].into_iter().zip([64, 128, 256]);
    sides.map(|(side, channels)| Level { side, channels }).collect()
}

fn network() -> Network {
    let design = Design { kind: Residual::Basic, levels: levels(), activation: Activation::Relu };
    Network::new(&FusionParams::default(), design)
}

/// max(0, 2u − 0.8) · scale.
fn positive(seed: u64, stream: u64, count: usize, scale: f64) -> Vec<f32> {
    let uniforms = generator::uniforms(seed, stream, 0, count).into_iter();
    uniforms.map(|u| ((2.0 * u - 0.8).max(0.0) * scale) as f32).collect()
}

/// What the teacher says of the images: level by level, image by image.
fn queries() -> Vec<Vec<f32>> {
    let levels = levels().into_iter().enumerate();
    levels.map(|(number, level)| positive(160, number as u64, IMAGES * level.values(), 1.0)).collect()
}

fn query(image: usize) -> Vec<Vec<f32>> {
    let level = |(maps, level): (Vec<f32>, Level)| maps[image * level.values()..][..level.values()].to_vec();
    queries().into_iter().zip(levels()).map(level).collect()
}

/// A memory: values and shape of each level.
struct Bank(Vec<(Vec<f32>, [usize; 4])>);

impl Bank {
    fn new(seed: u64, scales: [f64; 3]) -> Bank {
        let level = |(number, level): (usize, Level)| {
            let image = |image: usize| positive(seed, (3 * image + number) as u64, level.values(), scales[number]);
            ((0..MEMORY).flat_map(image).collect(), [MEMORY, level.channels, level.side, level.side])
        };
        Bank(levels().into_iter().enumerate().map(level).collect())
    }

    fn view(&self) -> MemoryView<'_> {
        MemoryView::new(self.0.iter().map(|(values, shape)| (&values[..], &shape[..])).collect())
    }

    fn selected(&self, rule: Selection) -> Vec<Selected> {
        (0..IMAGES).map(|image| select(rule, &self.view(), &query(image), &Device::flex())).collect()
    }

    /// Maps of the selected images.
    fn found(&self, device: &Device) -> Vec<Tensor<4>> {
        let (view, selected) = (self.view(), self.selected(Selection::Code));
        let of_level = |(number, level): (usize, Level)| {
            let values = selected.iter().flat_map(|selected| view.maps(number, selected.image)).copied().collect();
            upload(values, [IMAGES, level.channels, level.side, level.side], device)
        };
        levels().into_iter().enumerate().map(of_level).collect()
    }
}

fn normal() -> Bank {
    Bank::new(161, [1.0, 0.9, 0.8])
}

fn abnormal() -> Bank {
    Bank::new(162, [0.8, 0.9, 1.0])
}

fn uploaded(device: &Device) -> Vec<Tensor<4>> {
    let levels = queries().into_iter().zip(levels());
    levels.map(|(maps, level)| upload(maps, [IMAGES, level.channels, level.side, level.side], device)).collect()
}

/// The names of the released modules, and ours.
const PARTS: [(&str, &str); 3] = [("msff", "msff"), ("ocbe", "bottleneck"), ("student", "student")];

fn own_name(name: &str) -> String {
    let (part, rest) = name.split_once('.').expect("a part");
    let (_, own) = PARTS.into_iter().find(|(official, _)| *official == part).expect("a known part");
    format!("{own}.{rest}")
}

/// Parameters by the rule of the references' README; their digests are the oracle's.
fn parameters(oracle: &Json, device: &Device) -> Parameters {
    let mut parameters = network().initial(None, device);
    for (part, own) in PARTS {
        let (seed, mut hasher) = (oracle["weights_seed"][part].as_u64().expect("a seed"), Sha256::new());
        for (stream, entry) in oracle["keys"][part].as_array().expect("keys").iter().enumerate() {
            let (key, shape) = (entry[0].as_str().expect("a name"), numbers(&entry[1]));
            if key.ends_with("num_batches_tracked") {
                continue;
            }
            let fan_in = shape.iter().skip(1).product::<f64>();
            let value = |u: f64| match key {
                _ if key.ends_with("running_mean") || key.ends_with("bias") => (u - 0.5) * 0.2,
                _ if key.ends_with("running_var") || shape.len() == 1 => 0.5 + u,
                _ => (u - 0.5) * 2.0 * (3.0 / fan_in).sqrt(),
            };
            let uniforms = generator::uniforms(seed, stream as u64, 0, shape.iter().product::<f64>() as usize);
            let values: Vec<f32> = uniforms.into_iter().map(|u| value(u) as f32).collect();
            hasher.update(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            let name = format!("{own}.{key}");
            if parameters.contains(&name) {
                let shape = parameters.get(&name).dims();
                match key.contains("running") {
                    true => parameters.insert_buffer(&name, values, shape, device),
                    false => parameters.insert(&name, values, shape, device),
                }
            } else {
                assert!(key.starts_with("conv4") || key.starts_with("bn4"), "{name}");
            }
        }
        let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, oracle["weights"][part].as_str().expect("a digest"), "{part}");
    }
    parameters
}

fn params() -> Params {
    let mut params = Params::default();
    params.memory.select = Selection::Code;
    (params.loss.ot, params.loss.triplet) = (Transport::Sinkhorn, Triplet::LogOnly);
    params
}

fn batch(oracle: &Json, device: &Device) -> Batch {
    let (own, other) = (normal(), abnormal());
    let [first, second] = [&own, &other].map(|bank| bank.selected(Selection::Code));
    let (first, second): (Vec<_>, Vec<_>) = (first.iter().collect(), second.iter().collect());
    let triplet = memory_triplet([&own.view(), &other.view()], &first, &second, 3, 1.0).expect("a number");
    let order = numbers(&oracle["train"]["permutation"]).into_iter().map(|image| image as usize).collect();
    let (normal, abnormal) = (Some(own.found(device)), Some(other.found(device)));
    Batch { maps: uploaded(device), targets: None, normal, abnormal, triplet: Some(triplet), order }
}

fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected} ± {tolerance:e}");
}

fn scalar(tensor: Tensor<2>) -> f64 {
    f64::from(download(tensor)[0])
}

#[test]
fn parameters_are_as_many_as_the_released_fusion_has() {
    let oracle = oracle();
    let count = |told: &Json, key: &str| told[key].as_u64().expect("a count") as usize;
    let told = &oracle["n_parameters"];
    assert_eq!(network().fusion.size(), count(told, "msff"));
    let unused = 525_312; // conv4 and bn4 of the bottleneck
    let all = ["msff", "ocbe", "student"].map(|part| count(told, part)).iter().sum::<usize>() - unused;
    assert_eq!((network().size(), network().initial(None, &Device::flex()).count()), (all, all));
    let sides = [64, 32, 16].into_iter().zip([256, 512, 1024]);
    let levels = sides.map(|(side, channels)| Level { side, channels }).collect();
    let published = Design { kind: Residual::WideBottleneck, levels, activation: Activation::Relu };
    let published = Network::new(&FusionParams::default(), published);
    let told = &oracle["published"]["n_parameters"];
    assert_eq!(published.fusion.size(), count(told, "msff"));
    let all = ["msff", "ocbe", "student"].map(|part| count(told, part)).iter().sum::<usize>();
    assert_eq!(published.size(), all - 8_392_704);
}

#[test]
fn the_released_rule_selects_by_level_and_rank_and_the_nearest_image_is_memsegs() {
    let oracle = oracle();
    let told = &oracle["memory"];
    for (name, bank) in [("normal", normal()), ("abnormal", abnormal())] {
        let selected = bank.selected(Selection::Code);
        let tables: Vec<f32> = selected.iter().flat_map(|selected| selected.table.clone()).collect();
        check_description(name, &tables, &told["tensors"][format!("D_{name}")], 1e-6);
        let images: Vec<f64> = selected.iter().map(|selected| selected.image as f64).collect();
        assert_eq!(images, numbers(&told["selected"][name]));
        assert!(selected.iter().all(|selected| selected.image % 10 == 9), "the last rank of a level");
        for (selected, told) in selected.iter().zip(told["selected"][format!("top3_{name}")].as_array().expect("rows"))
        {
            let top: Vec<f64> = selected.top().into_iter().map(|column| column as f64).collect();
            assert_eq!(top, numbers(told));
        }
        let compared = network().compared(&uploaded(&Device::flex()), Some(&bank.found(&Device::flex())));
        for (level, maps) in compared.into_iter().enumerate() {
            let told = &told["tensors"][format!("C_{name}_level{level}")];
            check_description("compared", &download(maps), told, 1e-6);
        }
    }
    check_description("keys", &normal().view().keys(0), &told["tensors"]["K_normal_level0"], 1e-6);
    let (nearest, told) = (normal().selected(Selection::NearestL2), &told["memseg_nearest_l2"]);
    for (image, selected) in nearest.iter().enumerate() {
        assert_eq!(selected.image as f64, numbers(&told["argmin"])[image]);
        let mut sorted = selected.table.clone();
        sorted.sort_by(f32::total_cmp);
        close("distance", sorted[0].into(), numbers(&told["distance"])[image], 1e-6);
        close("lead", f64::from(sorted[1]) - f64::from(sorted[0]), numbers(&told["gap_to_second"])[image], 1e-6);
    }
}

#[test]
fn fusion_student_maps_and_scores_agree() {
    let (oracle, device) = (oracle(), Device::flex());
    let (eval, network, mut parameters) = (&oracle["eval"], network(), parameters(&oracle, &device));
    let maps = uploaded(&device);
    let compared = network.compared(&maps, Some(&normal().found(&device)));
    for (number, x) in compared.iter().enumerate() {
        let attended = network.fusion.attended(&mut parameters, number + 1, x.clone(), BatchNormMode::Evaluate);
        check_description("attended", &download(attended), &eval[format!("nonlocal{}_out", number + 1)], 3e-5);
        let weights = download(network.fusion.weights(&parameters, x.clone()));
        check_description("weights", &weights, &eval[format!("sam_s{}", number + 1)], 3e-5);
    }
    let fused = network.fusion.forward(&mut parameters, &compared, BatchNormMode::Evaluate);
    for (number, maps) in fused.iter().enumerate() {
        check_description("fused", &download(maps.clone()), &eval[format!("msff_out{}", number + 1)], 3e-5);
    }
    let rebuilt = network.rebuild(&mut parameters, &fused, BatchNormMode::Evaluate);
    for (number, maps) in rebuilt.iter().enumerate() {
        check_description("rebuilt", &download(maps.clone()), &eval[format!("student_level{}", number + 1)], 3e-5);
    }
    let pairs = || maps.iter().cloned().zip(rebuilt.iter().cloned());
    let distance: f64 = pairs().map(|(own, other)| scalar(flat_distance(own, other))).sum();
    close("distance", distance, oracle["kd_loss_eval"].as_f64().expect("a loss"), 3e-6);
    let distances: Vec<Vec<f32>> = pairs().map(|(own, other)| download(cosine_maps(own, other))).collect();
    let (mut sums, mut smooth, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for image in 0..IMAGES {
        let own = distances.iter().zip(levels()).map(|(all, level)| {
            let places = level.side * level.side;
            (level.side, all[image * places..][..places].to_vec())
        });
        let sum = enlarged_sum(&own.collect::<Vec<_>>(), (SIDE, SIDE), true);
        let map = gaussian(&sum, (SIDE, SIDE), 4.0);
        scores.push(Scoring { top_k: 100, ..Scoring::default() }.image_score(&map));
        sums.extend(sum);
        smooth.extend(map);
    }
    check_description("map", &sums, &eval["map_sum_Bx128x128"], 1e-5);
    check_description("smooth", &smooth, &eval["map_gauss4_Bx128x128"], 1e-5);
    for (score, told) in scores.into_iter().zip(numbers(&oracle["image_scores_top100_mean"])) {
        close("score", score, told, 1e-5);
    }
}

#[test]
fn losses_and_gradients_agree_where_the_released_code_has_any_and_are_zero_where_it_has_none() {
    let (oracle, device) = (oracle(), Device::flex().autodiff());
    let told = &oracle["train"];
    let mut trainer = Trainer::new(&params(), network(), parameters(&oracle, &device));
    let batch = batch(&oracle, &device);
    let losses = trainer.losses(&batch);
    let term = |key: &str| told["terms"][0][key].as_f64().expect("a number");
    close("total", scalar(losses.total.clone()), term("total"), 3e-6);
    close("distillation", scalar(losses.distillation.clone()), term("kd"), 3e-6);
    close("triplet", scalar(losses.triplet.clone().expect("a margin")), term("triplet"), 3e-6);
    close("contrast", 0.1 * scalar(losses.contrast.clone().expect("a contrast")), term("separation"), 3e-7);
    close("transport", scalar(losses.transport.clone().expect("a transport")), 0.0, 1e-8);
    let gradients = losses.total.backward();
    let norms = told["gradient_norms"].as_object().expect("norms");
    let mut seen = 0;
    for (name, expected) in norms {
        let (own, expected) = (own_name(name), expected.as_f64().expect("a norm"));
        let gradient = trainer.parameters.get(&own).grad(&gradients).unwrap_or_else(|| panic!("{own}: none"));
        let values = download(Tensor::<2>::from_inner(gradient));
        let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        seen += 1;
        if own.ends_with("attn.W.0.bias") {
            assert!(norm < 1e-6, "{own}: {norm}, in truth 0");
            continue;
        }
        let tolerance = if own == "msff.sam.conv.bias" { 2e-2 } else { 2e-3 };
        close(&own, norm, expected, tolerance * expected.max(1e-6));
    }
    assert_eq!(seen, trainer.parameters.learned_names().count(), "every parameter of ours has a gradient there");
}

/// Norms of the gradients of a loss with respect to some maps.
fn norms(loss: Tensor<2>, maps: &[Tensor<4>]) -> Vec<f64> {
    let gradients = loss.backward();
    let norm = |maps: &Tensor<4>| {
        let gradient = maps.grad(&gradients).map_or(Vec::new(), |gradient| download(Tensor::<4>::from_inner(gradient)));
        gradient.into_iter().map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    maps.iter().map(norm).collect()
}

#[test]
fn only_distillation_and_contrast_pull_at_the_fused_maps() {
    let (oracle, device) = (oracle(), Device::flex().autodiff());
    let told = &oracle["train"]["term_gradients"];
    let mut trainer = Trainer::new(&params(), network(), parameters(&oracle, &device));
    let batch = batch(&oracle, &device);
    let (normal, abnormal) = trainer.fused(&batch);
    for (maps, told) in normal.iter().zip(oracle["train"]["fused_normal"].as_array().expect("levels")) {
        check_description("fused", &download(maps.clone()), told, 1e-4);
    }
    let leaves = |maps: Vec<Tensor<4>>| -> Vec<Tensor<4>> {
        maps.into_iter().map(|maps| Tensor::from_inner(maps.inner()).require_grad()).collect()
    };
    let (normal, abnormal) = (leaves(normal), leaves(abnormal.expect("a memory of anomalies")));
    let sum = |terms: Vec<Tensor<2>>| terms.into_iter().reduce(|a, b| a + b).expect("a level");
    let contrasts = || {
        let pairs = normal.iter().zip(&abnormal);
        sum(pairs.map(|(own, other)| contrast(whole_cosines(other.clone(), own.clone()), 0.5)).collect())
    };
    for (maps, key) in [(&normal, "contrast_wrt_Zn"), (&abnormal, "contrast_wrt_Za")] {
        for (found, expected) in norms(contrasts(), maps).into_iter().zip(numbers(&told[key])) {
            close(key, found, expected, 2e-3 * expected);
        }
    }
    let transports = sum(normal.iter().map(|maps| transport(maps.clone(), &batch.order)).collect());
    close("transport", scalar(transports.clone()), 0.0, 1e-8);
    for norm in norms(transports, &normal) {
        assert!(norm < 1e-10, "the transport pulls with {norm:e}");
    }
    let rebuilt = network().rebuild(&mut parameters(&oracle, &device), &normal, BatchNormMode::Train);
    let distillation = batch.maps.iter().zip(rebuilt).map(|(own, other)| flat_distance(own.clone(), other)).collect();
    for (found, expected) in norms(sum(distillation), &normal).into_iter().zip(numbers(&told["kd_wrt_Zn"])) {
        close("distillation", found, expected, 2e-3 * expected);
    }
}

#[test]
fn optimiser_steps_agree() {
    let (oracle, device) = (oracle(), Device::flex().autodiff());
    let told = &oracle["train"];
    let mut trainer = Trainer::new(&params(), network(), parameters(&oracle, &device));
    let batch = batch(&oracle, &device);
    for (step, rate) in numbers(&told["lr"]).into_iter().enumerate() {
        close("learning rate", params().train.learning_rate(step), rate, 1e-15);
        trainer.set_learning_rate(rate);
        let losses = trainer.step(&batch);
        let expected = told["terms"][step]["total"].as_f64().expect("a loss");
        close("total", losses.value("loss"), expected, if step == 0 { 3e-6 } else { 1e-3 });
        if step > 0 {
            continue;
        }
        let (mut far, mut all) = (0, 0);
        for (name, told) in told["parameters_after_1"].as_object().expect("parameters") {
            if told["no_gradient"].is_boolean() || name.contains("conv4") || name.contains("bn4") {
                continue;
            }
            let values = download(trainer.parameters.get(&own_name(name)));
            for (index, expected) in numbers(&told["indices"]).into_iter().zip(numbers(&told["values"])) {
                let distance = (f64::from(values[index as usize]) - expected).abs();
                assert!(distance <= 2.1 * rate, "{name}: a step of more than the learning rate");
                (far, all) = (far + usize::from(distance > 1e-6), all + 1);
            }
        }
        assert!(far * 50 <= all, "{far} of {all} values took another step");
    }
}

#[test]
fn learning_rates_are_those_of_the_released_schedule() {
    let train = Params::default().train;
    assert_eq!(train.epochs * train.steps, 5000);
    for (step, expected) in oracle()["schedule"]["lr_at_step"].as_object().expect("a table") {
        let step: usize = step.parse().expect("a step");
        if step < 5000 {
            close("learning rate", train.learning_rate(step), expected.as_f64().expect("a rate"), 1e-12);
        }
    }
}
