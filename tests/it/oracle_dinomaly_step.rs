//! Dinomaly against the reference numbers: bottleneck, decoder, maps, losses, hard mining, gradients, StableAdamW, schedules.

use burn::tensor::{Device, Tensor};
use dmad::backbone::vit::Transformer;
use dmad::methods::dinomaly::{
    Design, Loss, Network, NetworkParams, Params, Score, Train, Trainer, group_distance, image_map, mined,
    place_distances, threshold,
};
use dmad::methods::top_mean;
use dmad::spec::Positions;
use dmad::train::{
    BETAS, Dropout, Group, Optimizer, OptimizerKind, Parameters, StableAdamw, clip_gradients, download, upload,
};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::generator;
use crate::oracle_vit::{form, hash_weights, planes};
use crate::util::{check_description, json as read_json, numbers, plain, reference, without_waiting};

const IMAGES: usize = 4;
const WIDTH: usize = 64;
/// Side of the images.
const SIDE: usize = 70;
const DESIGN: Design = Design { prefix: 5, side: 5, width: WIDTH, layers: 4, groups: 2 };

/// How far values may be from the reference, as a share of their root mean square.
const FORWARD: f64 = 1e-5;

fn told() -> Json {
    read_json(&reference("dinomaly_step.json"))
}

fn params() -> Params {
    let network = NetworkParams { blocks: 4, head_width: 16, dropout: 0.0, ..NetworkParams::default() };
    Params { network, ..Params::default() }
}

fn network() -> Network {
    Network::new(&params().network, &DESIGN)
}

/// Hash weights, whose digest is compared.
fn parameters(told: &Json, device: &Device) -> Parameters {
    let (mut parameters, mut hasher) = (network().parameters(None, device), Sha256::new());
    let names: Vec<String> = parameters.learned_names().map(String::from).collect();
    assert_eq!(names.len(), told["weights"]["keys"].as_array().expect("names").len());
    for (stream, name) in names.iter().enumerate() {
        let shape = parameters.get(name).dims();
        let value = |u: f64| match name {
            _ if name.ends_with(".bias") => (u - 0.5) * 0.2,
            _ if shape[0] == 1 => 0.5 + u,
            _ => (u - 0.5) * 2.0 * (3.0 / shape[1] as f64).sqrt(),
        };
        let uniforms = generator::uniforms(180, stream as u64, 0, shape[0] * shape[1]);
        let values: Vec<f32> = uniforms.into_iter().map(|u| value(u) as f32).collect();
        hasher.update(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        parameters.insert(name, values, shape, device);
    }
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, told["weights"]["weights_sha256"].as_str().expect("a digest"));
    assert_eq!(parameters.count() as u64, told["weights"]["n_values"].as_u64().expect("a count"));
    parameters
}

/// The encoder's groups: means of blocks 1 and 2, and 3 and 4, all tokens.
fn encoder(device: &Device) -> Vec<Tensor<2>> {
    let form = form(&read_json(&reference("vit.json"))["small_reg"]["config"]);
    let (plain, weights) = (Device::flex(), hash_weights(&form, 170));
    let transformer = Transformer::new(&form, &[1, 2, 3, 4], Positions::default(), &weights, &plain);
    let images = (10..14).flat_map(|k| planes(k, SIDE, SIDE)).collect();
    let layers: Vec<Vec<f32>> = transformer.tokens(images, [SIDE, SIDE]).into_iter().map(download).collect();
    let mean = |pair: &[Vec<f32>]| {
        let values = pair[0].iter().zip(&pair[1]).map(|(a, b)| (a + b) / 2.0).collect();
        upload(values, [IMAGES * DESIGN.tokens(), WIDTH], device)
    };
    layers.chunks(2).map(mean).collect()
}

/// Values of places (images · places × width) as the reference has them: images × width × places.
fn by_channel(rows: &Tensor<2>) -> Vec<f32> {
    let values: Tensor<3> = rows.clone().reshape([IMAGES, DESIGN.patches(), WIDTH]);
    download(values.swap_dims(1, 2))
}

fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected} ± {tolerance:e}");
}

fn scalar(tensor: Tensor<2>) -> f64 {
    f64::from(download(tensor)[0])
}

fn number(json: &Json) -> f64 {
    json.as_f64().unwrap_or_else(|| panic!("no number: {json}"))
}

/// Encoder's and decoder's groups of places.
fn groups(parameters: &Parameters, encoder: &[Tensor<2>]) -> Vec<(Tensor<2>, Tensor<2>)> {
    let network = network();
    let decoder = network.forward(parameters, encoder, &mut Dropout::none());
    encoder.iter().map(|group| network.patches(group.clone())).zip(decoder).collect()
}

#[test]
fn bottleneck_and_decoder_pass_forward_like_the_reference() {
    let (told, device) = (told(), Device::flex());
    let (parameters, encoder, network) = (parameters(&told, &device), encoder(&device), network());
    let eval = &told["eval"];
    let check = |what: &str, values: &[f32]| check_description(what, values, &eval[what], FORWARD);
    let input = (encoder[0].clone() + encoder[1].clone()) / 2.0;
    check("bottleneck_input", &download(input.clone()));
    let mut x = network.bottleneck(&parameters, input, |x| x);
    check("bottleneck_output", &download(x.clone()));
    for block in 0..4 {
        x = network.block(&parameters, block, x);
        check(&format!("decoder{block}"), &download(x.clone()));
    }
    for (number, (e, d)) in groups(&parameters, &encoder).into_iter().enumerate() {
        check(&format!("en_group{number}"), &by_channel(&e));
        check(&format!("de_group{number}"), &by_channel(&d));
        let distances = download(place_distances(e, d));
        check_description("distances", &distances, &eval[format!("point_distance_group{number}")], 1e-6);
    }
}

#[test]
fn attention_of_the_first_block_is_that_of_the_reference() {
    let (told, device) = (told(), Device::flex());
    let (parameters, encoder, network) = (parameters(&told, &device), encoder(&device), network());
    let x = network.bottleneck(&parameters, (encoder[0].clone() + encoder[1].clone()) / 2.0, |x| x);
    let normal = dmad::train::layer_norm(&parameters, "decoder.0.norm1", x, 1e-8);
    check_description("norm", &download(normal.clone()), &told["eval"]["decoder0.norm1"], FORWARD);
    let found = network.attention(&parameters, 0, normal);
    check_description("attention", &download(found), &told["eval"]["decoder0.attn"], FORWARD);
}

#[test]
fn three_dropouts_stand_where_the_reference_has_them() {
    let (told, device) = (told(), Device::flex());
    let (parameters, encoder) = (parameters(&told, &device), encoder(&device));
    let mut stream = 0;
    let drop = |x: Tensor<2>| {
        let [rows, columns] = x.dims();
        let kept = generator::uniforms(181, stream, 0, rows * columns).into_iter();
        let mask = kept.map(|u| if u >= 0.2 { 1.25 } else { 0.0 }).collect();
        stream += 1;
        x * upload(mask, [rows, columns], &device)
    };
    let input = (encoder[0].clone() + encoder[1].clone()) / 2.0;
    let found = download(network().bottleneck(&parameters, input, drop));
    assert_eq!(stream, 3);
    check_description("dropped", &found, &told["dropout_masks"]["bottleneck_output"], FORWARD);
}

/// Distances of the places of all images, mean over groups.
fn distances(parameters: &Parameters, encoder: &[Tensor<2>]) -> Vec<f32> {
    let all = groups(parameters, encoder).into_iter().map(|(e, d)| place_distances(e, d));
    let sum = all.reduce(|a, b| a + b).expect("groups");
    download(sum / 2.0)
}

fn maps(distances: &[f32], score: &Score) -> Vec<f32> {
    distances.chunks(DESIGN.patches()).flat_map(|image| image_map(image, DESIGN.side, SIDE, score)).collect()
}

#[test]
fn maps_and_image_scores_are_those_of_the_reference() {
    let (told, device) = (told(), Device::flex());
    let (parameters, encoder) = (parameters(&told, &device), encoder(&device));
    let (distances, score) = (distances(&parameters, &encoder), Score::default());
    let map = &told["map"];
    let plain = Score { sigma: 0.0, ..score.clone() };
    let native = maps(&distances, &Score { size: 0, ..plain.clone() });
    check_description("at the input's size", &native, &map["map70"], 1e-6);
    check_description("at the score's size", &maps(&distances, &plain), &map["map256"], 1e-6);
    let smooth = maps(&distances, &score);
    check_description("smoothed", &smooth, &map["map256_gauss"], 1e-6);
    let corner = (0..3).flat_map(|row| smooth[256 * row..][..3].to_vec());
    for (found, expected) in corner.zip(numbers(&map["corner_values_image0"])) {
        close("corner", found.into(), expected, 1e-6);
    }
    for (image, expected) in smooth.chunks(256 * 256).zip(numbers(&map["scores"])) {
        close("score", top_mean(image.to_vec(), score.top_fraction), expected, 1e-6);
    }
}

#[test]
fn the_loss_is_the_plain_one_whatever_is_mined_and_as_many_places_are_scaled_as_told() {
    let (told, device) = (told(), Device::flex());
    let groups = groups(&parameters(&told, &device), &encoder(&device));
    for (share, key) in [(0.0, "0.0"), (0.45, "0.45"), (0.9, "0.9")] {
        let mut loss = 0.0;
        for ((e, d), told) in groups.iter().zip(told["hard_mining"][key].as_array().expect("groups")) {
            let distances = place_distances(e.clone(), d.clone());
            let limit = scalar(threshold(&distances, share));
            close("threshold", limit, number(&told["threshold"]), 1e-6);
            let scaled = download(distances).into_iter().filter(|&distance| f64::from(distance) < limit).count();
            assert_eq!(scaled as u64, told["n_scaled"].as_u64().expect("a count"), "{share}");
            let kept = Loss::kept(IMAGES * DESIGN.patches(), share);
            assert_eq!(kept as u64, told["k"].as_u64().expect("a count"));
            loss += scalar(group_distance(e.clone(), mined(e, d.clone(), share, 0.1), IMAGES)) / 2.0;
        }
        close("loss", loss, number(&told["loss"]["plain"]["value"]), 1e-6);
    }
}

#[test]
fn gradients_of_the_decoders_groups_are_scaled_like_the_reference() {
    let (told, device) = (told(), Device::flex().autodiff());
    let pairs = groups(&parameters(&told, &device), &encoder(&device));
    for (share, key) in [(0.0, "plain"), (0.9, "hm_p0.9")] {
        for ((e, d), told) in pairs.iter().zip(told["dloss_d_de"][key].as_array().expect("groups")) {
            let leaf = d.clone().detach().require_grad();
            let loss = group_distance(e.clone().detach(), mined(e, leaf.clone(), share, 0.1), IMAGES) / 2.0;
            let gradient = leaf.grad(&loss.backward()).expect("a gradient");
            check_description(key, &by_channel(&Tensor::from_inner(gradient)), told, 1e-5);
        }
    }
}

/// Samples of `told` (`indices`, `values`) with how far they are from what stands there.
fn distances_of(values: &[f32], told: &Json) -> Vec<f64> {
    let samples = numbers(&told["indices"]).into_iter().zip(numbers(&told["values"]));
    samples.map(|(index, value)| (f64::from(values[index as usize]) - value).abs()).collect()
}

#[test]
fn gradients_of_all_parameters_have_the_norms_of_the_reference() {
    let (told, device) = (told(), Device::flex().autodiff());
    let encoder = encoder(&device);
    for (share, key) in [(0.0, "plain"), (0.45, "hm_p0.45"), (0.9, "hm_p0.9")] {
        let trainer = Trainer::new(&params(), network(), parameters(&told, &device));
        let mut gradients = trainer.loss(&encoder, share, Dropout::none()).backward();
        let mut worst: f64 = 0.0;
        for (name, expected) in told["grad_l2"][key].as_object().expect("norms") {
            let gradient = trainer.parameters.get(name).grad(&gradients).unwrap_or_else(|| panic!("{name}"));
            let values = download(Tensor::<2>::from_inner(gradient));
            let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            let expected = number(&expected[0]);
            worst = worst.max((norm / expected - 1.0).abs());
            let samples = &told["grad_samples_hm_p0.9"][name];
            if key == "hm_p0.9" && samples.is_object() {
                let root = expected / (values.len() as f64).sqrt();
                let far = distances_of(&values, samples);
                assert!(far.iter().all(|distance| *distance <= 1e-4 * root), "{name}: {far:?} beside {root}");
            }
        }
        println!("{key}: norms within {worst:.2e}");
        assert!(worst <= 5e-6, "{key}: {worst}");
        let norm = clip_gradients(&trainer.parameters, &mut gradients, 0.1).expect("gradients");
        let expected = number(&told["grad_total_norm"][key]);
        close("norm of all", scalar(norm), expected, 5e-6 * expected);
    }
}

/// A step moves values by almost exactly the learning rate, whose sign a gradient near zero may have either way.
fn check_state(told: &Json, parameters: &Parameters) {
    let mut all = Vec::new();
    for (name, told) in told.as_object().expect("parameters") {
        all.extend(distances_of(&download(parameters.get(name)), told));
    }
    let far = all.iter().filter(|distance| **distance > 5e-6).count();
    println!(
        "{far} of {} samples away; largest distance {:.2e}",
        all.len(),
        all.iter().fold(0.0, |a: f64, &b| a.max(b))
    );
    assert!(far * 100 <= all.len(), "{far} of {}", all.len());
    assert!(all.iter().all(|distance| *distance <= 4.1e-3));
}

#[test]
fn three_training_steps_follow_the_reference() {
    let (told, device) = (told(), Device::flex().autodiff());
    let (train, encoder) = (&told["train"], encoder(&device));
    let mut trainer = Trainer::new(&params(), network(), parameters(&told, &device));
    for (step, told) in train["steps"].as_array().expect("steps").iter().enumerate() {
        let terms = without_waiting(|| trainer.apply(&encoder, 0.9, Dropout::none()));
        close(&format!("loss of step {step}"), terms.value("loss"), number(&told["loss"]), 2e-6);
        let expected = number(&told["grad_norm"]);
        close("norm", terms.value("gradient_norm"), expected, 5e-5 * expected);
        if step == 0 {
            check_state(&train["params_after_1_step"], &trainer.parameters);
        }
    }
    check_state(&train["params_after_3_steps"], &trainer.parameters);
    let loss = scalar(trainer.loss(&encoder, 0.9, Dropout::none()));
    close("loss after three steps", loss, number(&train["loss_after_3"]), 2e-6);
    let encoder: Vec<Tensor<2>> =
        encoder.into_iter().map(|group| upload(download(group.clone()), group.dims(), &Device::flex())).collect();
    let distances = distances(&plain(&trainer.parameters), &encoder);
    let map = maps(&distances, &Score::default());
    check_description("map after three steps", &map, &train["map256_gauss_after_3"], 1e-4);
}

#[test]
fn stable_adamw_makes_the_steps_of_the_reference() {
    let (told, device) = (told(), Device::flex().autodiff());
    let told = &told["stable_adamw_unit"];
    let draws = |stream: u64| generator::uniforms(182, stream, 0, 8).into_iter().map(|u| u - 0.5);
    let mut parameters = Parameters::default();
    parameters.insert("p", draws(0).map(|value| value as f32).collect(), [1, 8], &device);
    let group = Group {
        prefixes: vec![String::new()],
        kind: OptimizerKind::Adamw,
        learning_rate: 0.01,
        weight_decay: 0.01,
        betas: BETAS,
    };
    let mut optimizer = Optimizer::stable(group, StableAdamw { epsilon: 1e-10, amsgrad: true, threshold: 1.0 });
    for (step, told) in told["steps"].as_array().expect("steps").iter().enumerate() {
        let scale = number(&told["grad_scale"]);
        let gradient = draws(1 + step as u64).map(|value| (value * scale) as f32).collect();
        // The gradient of a sum of products is the other factor.
        let loss = (parameters.get("p") * upload(gradient, [1, 8], &device)).sum_dim(1);
        let gradients = loss.backward();
        without_waiting(|| optimizer.step(&mut parameters, &gradients, &[]));
        for (found, expected) in download(parameters.get("p")).into_iter().zip(numbers(&told["params"])) {
            close(&format!("step {step}"), found.into(), expected, 1e-6);
        }
    }
}

#[test]
fn learning_rates_shares_and_counts_follow_the_reference() {
    let (told, params) = (told(), Params::default());
    let table = |key: &str| told[key].as_object().expect("a table").clone();
    let Train { epochs, steps, .. } = params.train;
    assert_eq!(epochs * steps, 10_000);
    for (step, expected) in table("lr_used_at_iteration") {
        let found = params.train.learning_rate(step.parse().expect("a step"));
        close(&format!("rate of step {step}"), found, number(&expected), 1e-14);
    }
    for (step, expected) in table("p_at_iteration") {
        close("share", params.loss.share(step.parse().expect("a step")), number(&expected), 1e-12);
    }
    for (share, expected) in table("k_for_16x28x28_points") {
        let kept = Loss::kept(16 * 28 * 28, share.parse().expect("a share"));
        assert_eq!(kept as u64, expected.as_u64().expect("a count"));
    }
}

#[test]
fn networks_have_as_many_parameters_as_the_published_ones() {
    let size = |width: usize, mlp_bias: bool| {
        let params = NetworkParams { mlp_bias, ..NetworkParams::default() };
        let network = Network::new(&params, &Design { prefix: 5, side: 28, width, layers: 8, groups: 2 });
        if width < 500 {
            assert_eq!(network.parameters(None, &Device::flex()).count(), network.size());
        }
        network.size()
    };
    assert_eq!([size(384, true), size(768, true), size(1024, true)], [15_377_280, 61_425_408, 109_163_520]);
    assert_eq!(size(768, false), 61_390_848);
}
