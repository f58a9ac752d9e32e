//! DRA against the reference numbers: forward pass, losses, gradients, optimiser steps, CutMix, rotation.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use dmad::augment::{Colour, Cut, Cutting, rotate};
use dmad::backbone::weights::{StateDict, Weight};
use dmad::backbone::{Architecture, normalise};
use dmad::data::decode::Pixels;
use dmad::methods::dra::{Batch, HEADS, Heads, Label, Network, Params, Prior, Trainer, deviation_loss, top_count};
use dmad::train::{BatchNormMode, Parameters, download, upload};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::generator;
use crate::util::{array, json as read_json, numbers, plain, reference, without_waiting};

const SIDE: usize = 192;
const REFERENCES: usize = 2;
const LABELS: [Label; 4] = [Label::Normal, Label::Normal, Label::Seen, Label::Pseudo];
const TRUNK: &str = "feature_extractor.net.";

fn oracle() -> Json {
    read_json(&reference("dra_step.json"))
}

fn architecture() -> &'static Architecture {
    Architecture::find("resnet18").expect("known")
}

fn network() -> Network {
    let taps = architecture().taps(&["layer4".into()]).expect("a tap");
    Network::new(&Params::default().network, architecture(), &taps)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn raw(number: u64) -> Pixels {
    Pixels { width: SIDE, height: SIDE, channels: 3, data: generator::image(61, number, SIDE) }
}

/// The oracle's name of a parameter of ours.
fn own_name(key: &str) -> Option<String> {
    let heads = [
        ("holistic_head.", "holistic."),
        ("seen_head.", "seen."),
        ("pseudo_head.", "pseudo."),
        ("composite_head.conv.0.", "composite.conv."),
        ("composite_head.conv.1.", "composite.bn."),
        ("composite_head.scoring.", "composite.scoring."),
        (TRUNK, "trunk."),
    ];
    let (prefix, own) = heads.into_iter().find(|(prefix, _)| key.starts_with(prefix)).expect("a known part");
    let rest = &key[prefix.len()..];
    (!rest.starts_with("fc.") || prefix != TRUNK)
        .then(|| format!("{own}{rest}"))
        .filter(|_| !key.contains("num_batches"))
}

/// Values of every key by the rule of the references' README; their digest is the oracle's.
fn hash_weights(oracle: &Json) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let keys = oracle["params"]["keys"].as_array().expect("keys");
    let (mut all, mut bytes) = (BTreeMap::new(), Vec::new());
    for (stream, entry) in keys.iter().enumerate() {
        let (key, shape) = (entry[0].as_str().expect("a name"), numbers(&entry[1]));
        if key.ends_with("num_batches_tracked") {
            continue;
        }
        let shape: Vec<usize> = shape.into_iter().map(|side| side as usize).collect();
        let fan_in = shape[1..].iter().product::<usize>() as f64;
        let value = |u: f64| match key {
            _ if key.ends_with("running_mean") || key.ends_with(".bias") => (u - 0.5) * 0.2,
            _ if key.ends_with("running_var") || shape.len() == 1 => 0.5 + u,
            _ => (u - 0.5) * 2.0 * (3.0 / fan_in).sqrt(),
        };
        let uniforms = generator::uniforms(60, stream as u64, 0, shape.iter().product());
        let values: Vec<f32> = uniforms.into_iter().map(|u| value(u) as f32).collect();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        all.insert(key.to_string(), (shape, values));
    }
    assert_eq!(hex(&bytes), oracle["params"]["weights_sha256"].as_str().expect("a digest"));
    all
}

fn parameters(oracle: &Json, device: &Device) -> Parameters {
    let weights = hash_weights(oracle);
    let state: StateDict = weights
        .iter()
        .filter_map(|(key, (shape, values))| {
            let name = key.strip_prefix(TRUNK)?.to_string();
            Some((name, Weight { shape: shape.clone(), values: values.clone() }))
        })
        .collect();
    let mut parameters = network().initial(Some(&state), 0, device);
    for (key, (_, values)) in &weights {
        let Some(name) = own_name(key).filter(|name| !name.starts_with("trunk.")) else { continue };
        let shape = parameters.get(&name).dims();
        match key.contains("running") {
            true => parameters.insert_buffer(&name, values.clone(), shape, device),
            false => parameters.insert(&name, values.clone(), shape, device),
        }
    }
    parameters
}

/// The images of the batch: two references, two normal ones, a seen anomaly, a pseudo-anomaly.
fn images(oracle: &Json) -> Vec<Pixels> {
    let (case, fifth) = (&oracle["cutmix"]["cases"][0], raw(5));
    let pasted = cut(case).apply(&fifth, fifth.clone());
    let images: Vec<Pixels> = (0..5).map(raw).chain([pasted]).collect();
    for (image, digest) in images.iter().zip(oracle["input"]["u8_sha256"].as_array().expect("digests")) {
        assert_eq!(hex(&image.data), digest.as_str().expect("a digest"));
    }
    images
}

/// Both scales: all pixels, and every second one.
fn scales(images: &[Pixels], device: &Device) -> Vec<Tensor<4>> {
    let scale = |step: usize| {
        let (side, mut values) = (SIDE / step, Vec::new());
        for image in images {
            let mut planes = Vec::new();
            normalise(&image.data, architecture(), &mut planes);
            values.extend(
                (0..3)
                    .flat_map(|c| (0..side * side).map(move |p| (c, p / side * step, p % side * step)))
                    .map(|(channel, row, column)| planes[(channel * SIDE + row) * SIDE + column]),
            );
        }
        upload(values, [images.len(), 3, side, side], device)
    };
    vec![scale(1), scale(2)]
}

fn batch(oracle: &Json, device: &Device) -> Batch {
    let average = upload(vec![0.5; LABELS.len() * REFERENCES], [LABELS.len(), REFERENCES], device);
    Batch { scales: scales(&images(oracle), device), labels: LABELS.to_vec(), average }
}

fn priors(oracle: &Json, step: usize) -> [Prior; 4] {
    let told = &oracle["train"]["prior_step_head"][step];
    let number = |head: usize, key: &str| told[head][key].as_f64().expect("a number");
    std::array::from_fn(|head| Prior { mean: number(head, "mean"), deviation: number(head, "std") })
}

fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected} ± {tolerance:e}");
}

fn check_heads(heads: &[Heads], expected: &Json, chosen: impl Fn(usize) -> Vec<usize>, tolerance: f64) {
    for (head, name) in HEADS.iter().enumerate() {
        for (scale, heads) in heads.iter().enumerate() {
            let values = download(heads.scores[head].clone());
            let expected = numbers(&expected[*name][scale]);
            assert!(values.iter().all(|&value| value >= 0.0), "{name} {values:?}");
            assert_eq!(expected.len(), chosen(head).len());
            for (image, expected) in chosen(head).into_iter().zip(expected) {
                close(&format!("{name}, scale {scale}, image {image}"), values[image].into(), expected, tolerance);
            }
        }
    }
}

/// What the heads say in evaluation mode.
fn evaluated(parameters: &Parameters, scales: Vec<Tensor<4>>) -> Vec<Heads> {
    let (network, mut parameters) = (network(), parameters.clone());
    let of_scale = |images: Tensor<4>| {
        let features = network.features(&mut parameters, images, BatchNormMode::Evaluate);
        let own = features.clone().narrow(0, REFERENCES, LABELS.len());
        let references = features.narrow(0, 0, REFERENCES).mean_dim(0).expand(own.dims());
        network.heads(&mut parameters, own, references, BatchNormMode::Evaluate)
    };
    scales.into_iter().map(of_scale).collect()
}

fn score(heads: &[Heads]) -> Vec<f64> {
    let weights = Params::default().score.weights;
    let mut scores = vec![0.0; LABELS.len()];
    for heads in heads {
        for (weight, head) in weights.iter().zip(&heads.scores) {
            let values = download(head.clone());
            scores.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * f64::from(value) / 2.0);
        }
    }
    scores
}

#[test]
fn parameters_are_as_many_as_the_released_network_has() {
    let (network, told) = (network(), &oracle()["params"]);
    let count = |key: &str| told[key].as_u64().expect("a count") as usize;
    assert_eq!(network.head_sizes(), HEADS.map(count));
    let heads: usize = network.head_sizes().iter().sum();
    assert_eq!((heads, network.size() - heads), (2_493_956, count("backbone_without_fc")));
    assert_eq!(network.size(), count("total") - count("fc_unused"));
    assert_eq!(network.initial(None, 0, &Device::flex()).count(), network.size());
}

#[test]
fn the_largest_tenth_of_the_positions_is_as_many_as_in_the_released_code() {
    for (positions, count) in oracle()["unit"]["topk_count"].as_object().expect("a table") {
        let positions: usize = positions.parse().expect("a number");
        assert_eq!(top_count(0.1, positions) as u64, count.as_u64().expect("a count"), "{positions}");
    }
}

#[test]
fn learning_rates_are_those_of_every_epoch() {
    let (train, expected) = (Params::default().train, numbers(&oracle()["unit"]["lr_per_epoch"]));
    assert_eq!((expected.len(), train.epochs * train.steps), (train.epochs, 600));
    for (epoch, expected) in expected.into_iter().enumerate() {
        close("learning rate", train.learning_rate(epoch), expected, 1e-12);
    }
}

#[test]
fn deviation_losses_and_their_gradients_agree() {
    let (oracle, device) = (oracle(), Device::flex().autodiff());
    let exact = Prior { mean: 0.0, deviation: 1.0 };
    let column = |values: &[f64]| -> Tensor<2> {
        upload(values.iter().map(|&value| value as f32).collect(), [values.len(), 1], &device)
    };
    let targets = [Some(false), Some(true), Some(true)];
    let loss = deviation_loss(column(&[0.0, 5.0, 3.0]), &targets, exact, 5.0);
    close("exact prior", download(loss)[0].into(), 2.0 / 3.0, 1e-6);
    let told = &oracle["unit"]["deviation_16"];
    let targets: Vec<Option<bool>> = numbers(&told["t_values"]).iter().map(|&t| Some(t > 0.5)).collect();
    let scores = column(&numbers(&told["y_values"])).require_grad();
    let loss = deviation_loss(scores.clone(), &targets, priors(&oracle, 0)[0], 5.0);
    let gradients = download(Tensor::<2>::from_inner(scores.grad(&loss.backward()).expect("a gradient")));
    close("loss", download(loss)[0].into(), told["loss"].as_f64().expect("a loss"), 1e-5);
    for (found, expected) in gradients.iter().zip(numbers(&told["grad"])) {
        close("gradient", (*found).into(), expected, 1e-7);
    }
    // A drawn prior is near the exact one.
    let drawn = Prior::draw(5000, 0, 0);
    assert!(drawn.mean.abs() < 0.06 && (drawn.deviation - 1.0).abs() < 0.04 && drawn != Prior::draw(5000, 0, 1));
    assert_eq!(Prior::draw(0, 0, 0), exact);
}

fn cut(case: &Json) -> Cut {
    let uniforms = numbers(&case["u"]).try_into().expect("14 uniforms");
    Cutting::default().cut([SIDE, SIDE], uniforms)
}

#[test]
fn pieces_are_cut_coloured_and_pasted_as_by_the_released_code() {
    let (oracle, source) = (oracle(), raw(5));
    assert_eq!(hex(&source.data), oracle["input"]["raw5_sha256"].as_str().expect("a digest"));
    for case in oracle["cutmix"]["cases"].as_array().expect("cases") {
        let (cut, number) = (cut(case), case["stream"].as_u64().expect("a number"));
        let size = [cut.width as f64, cut.height as f64];
        assert_eq!(size, [&case["cut_w"], &case["cut_h"]].map(|side| side.as_f64().expect("a side")), "{number}");
        for (place, key) in [(cut.from, "from_box_l_t_r_b"), (cut.to, "to_box_l_t_r_b")] {
            let place = place.map(|edge| edge as f64);
            assert_eq!([place[0], place[1], place[0] + size[0], place[1] + size[1]], *numbers(&case[key]), "{number}");
        }
        let jitter = cut.jitter.expect("colours change");
        let stages: Vec<u8> = match number {
            0 | 1 => array(&reference(&format!("dra_cutmix{number}.npy"))),
            _ => Vec::new(),
        };
        let mut piece = cut.piece(&source);
        let changes = std::iter::once(None).chain(jitter.0.map(Some));
        for (stage, change) in changes.enumerate() {
            piece = change.map_or(piece.clone(), |change: Colour| change.apply(piece));
            let told = &case["patch_stages"][stage];
            assert_eq!(hex(&piece.data), told["sha256"].as_str().expect("a digest"), "case {number}, {}", told["name"]);
            let bytes = piece.data.len();
            assert!(stages.is_empty() || stages[stage * bytes..(stage + 1) * bytes] == piece.data);
        }
        let result = cut.apply(&source, source.clone());
        assert_eq!(hex(&result.data), case["result_sha256"].as_str().expect("a digest"), "case {number}");
    }
}

#[test]
fn images_are_turned_as_by_the_released_code() {
    let (oracle, source) = (oracle(), raw(5));
    let expected: Vec<u8> = array(&reference("dra_rotate.npy"));
    let turned = rotate(&source, 37.5);
    let wrong = turned.data.chunks(3).zip(expected.chunks(3)).filter(|(a, b)| a != b).count();
    assert!(wrong * 1000 <= SIDE * SIDE, "{wrong} pixels differ");
    for case in oracle["rotation"]["cases"].as_array().expect("cases") {
        let turned = rotate(&source, case["angle"].as_f64().expect("an angle"));
        let black = turned.data.chunks(3).filter(|pixel| **pixel == [0; 3]).count() as f64;
        let expected = case["black"].as_f64().expect("a count");
        assert!((black - expected).abs() <= 0.001 * (SIDE * SIDE) as f64, "{black} black pixels, expected {expected}");
        assert_eq!(hex(&turned.data), case["sha256"].as_str().expect("a digest"));
    }
}

#[test]
fn heads_and_scores_agree_in_evaluation() {
    let (oracle, device) = (oracle(), Device::flex());
    let heads = evaluated(&parameters(&oracle, &device), scales(&images(&oracle), &device));
    let expected = &oracle["eval"];
    check_heads(&heads, &expected["heads_per_scale"], |_| (0..4).collect(), 1e-5);
    for (found, expected) in score(&heads).iter().zip(numbers(&expected["final_score"])) {
        close("score", *found, expected, 1e-5);
    }
}

fn check_gradients(oracle: &Json, trainer: &mut Trainer, batch: &Batch) {
    let heads = trainer.heads(batch);
    let asked = |head: usize| match head {
        1 => vec![0, 1, 2],
        2 => vec![0, 1, 3],
        _ => vec![0, 1, 2, 3],
    };
    check_heads(&heads, &oracle["train"]["steps"][0]["heads_per_scale"], asked, 5e-5);
    let losses = trainer.losses(&heads, &batch.labels, priors(oracle, 0));
    let gradients = Tensor::cat(losses.to_vec(), 0).sum_dim(0).backward();
    for (key, expected) in oracle["train"]["grad_l2_step1_before_clip"].as_object().expect("norms") {
        let Some(name) = own_name(key) else { continue };
        let gradient = trainer.parameters.get(&name).grad(&gradients).unwrap_or_else(|| panic!("{name}: no gradient"));
        let values = download(Tensor::<2>::from_inner(gradient));
        let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        let expected = expected.as_f64().expect("a norm");
        close(&format!("gradient of {name}"), norm, expected, 1e-3 * expected + 1e-4);
        let samples = &oracle["train"]["grad_samples_step1_before_clip"][key];
        let root = expected / (values.len() as f64).sqrt();
        for (index, sample) in numbers_or_none(&samples["indices"]).iter().zip(numbers_or_none(&samples["values"])) {
            let found = f64::from(values[*index as usize]);
            close(&format!("gradient of {name}[{index}]"), found, sample, 3e-3 * sample.abs().max(root) + 1e-4);
        }
    }
}

fn numbers_or_none(value: &Json) -> Vec<f64> {
    if value.is_null() { Vec::new() } else { numbers(value) }
}

fn check_state(oracle: &Json, trainer: &Trainer) {
    for (key, expected) in oracle["train"]["state_after_1_step"].as_object().expect("parameters") {
        let Some(name) = own_name(key) else { continue };
        let values = download(trainer.parameters.get(&name));
        let samples = numbers(&expected["indices"]).into_iter().zip(numbers(&expected["values"]));
        let far = samples.filter(|(index, value)| (f64::from(values[*index as usize]) - value).abs() > 1e-5);
        let far: Vec<_> = far.map(|(index, value)| (index, values[index as usize], value)).collect();
        assert!(far.len() <= 1, "{name}: {far:?}");
        // Adam's first step is a sign: one whose gradient is nearly 0 may go the other way.
        assert!(far.iter().all(|(_, found, value)| (f64::from(*found) - value).abs() <= 4.1e-4), "{name}: {far:?}");
    }
}

/// Three steps on inputs that are changed by a factor; scores after them. The first step is held exactly, the later ones as
/// closely as rounding lets them.
fn steps(oracle: &Json, scale: f64, start: impl Fn() -> Trainer, device: &Device) -> Vec<f64> {
    let mut batch = batch(oracle, device);
    batch.scales = batch.scales.into_iter().map(|images| images * scale).collect();
    let mut trainer = start();
    for (step, total_tolerance) in [1e-5, 1e-4, 2e-3].into_iter().enumerate() {
        let expected = &oracle["train"]["steps"][step];
        let report = without_waiting(|| trainer.step(&batch, priors(oracle, step)));
        let total = expected["total"].as_f64().expect("a loss");
        close("total", report.value("loss"), total, total_tolerance * total);
        for (head, expected) in HEADS.into_iter().zip(numbers(&expected["terms"])) {
            close(head, report.value(head), expected, [2e-5, 2e-3, 2e-2][step]);
        }
        let norm = expected["grad_norm_before_clip"].as_f64().expect("a norm");
        close("gradient norm", report.value("gradient_norm"), norm, norm * [1e-4, 2e-3, 2e-2][step]);
        if step == 0 {
            check_state(oracle, &trainer);
        }
    }
    score(&evaluated(&plain(&trainer.parameters), scales(&images(oracle), &Device::flex())))
}

#[test]
fn losses_gradients_and_steps_agree() {
    let (oracle, device) = (oracle(), Device::flex().autodiff());
    let start = || Trainer::new(&Params::default(), network(), parameters(&oracle, &device), true);
    check_gradients(&oracle, &mut start(), &batch(&oracle, &device));
    // Adam makes steps of rounding where a gradient is nearly 0, and which position is the largest may change by it. So of
    // three runs, with inputs changed by nothing and by 2e-7 both ways, one may end elsewhere.
    let expected = numbers(&oracle["train"]["eval_after_3_steps"]["final_score"]);
    let ends_there = |scale: f64| {
        let found = steps(&oracle, scale, start, &device);
        found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() <= 3e-2)
    };
    let ended = [1.0, 1.0 + 2e-7, 1.0 - 2e-7].into_iter().filter(|&scale| ends_there(scale)).count();
    assert!(ended >= 2, "{ended} of 3 runs end with the reference's scores");
}
