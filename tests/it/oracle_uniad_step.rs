//! UniAD against the reference numbers: forward pass, mask, loss, gradients, clipping, optimiser steps, scores.

use burn::tensor::{Device, Gradients, Tensor};
use dmad::maps::upsample_corners;
use dmad::methods::Parameters as _;
use dmad::methods::uniad::{ImageScore, Network, Params, Score, Trainer, image_score, token_scores};
use dmad::random::{Purpose, stream};
use dmad::spec::{Backbone, Features, MethodContext, to_json};
use dmad::train::{Dropout, Parameters, clip_gradients, download, upload};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::generator;
use crate::util::{check_description, json as read_json, numbers, plain, reference, without_waiting};

const IMAGES: usize = 2;
const CHANNELS: usize = 272;
const SIDE: usize = 14;
const POSITIONS: usize = SIDE * SIDE;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256_f32<'a>(values: impl IntoIterator<Item = &'a f32>) -> String {
    sha256(&values.into_iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// Swaps the outer two of three dimensions.
fn swap_outer(values: &[f32], [a, b, c]: [usize; 3]) -> Vec<f32> {
    (0..a * b * c).map(|index| values[((index / c % a) * b + index / (a * c)) * c + index % c]).collect()
}

/// Swaps the inner two of three dimensions.
fn swap_inner(values: &[f32], [a, b, c]: [usize; 3]) -> Vec<f32> {
    (0..a * b * c).map(|index| values[(index / (b * c) * b + index % b) * c + index / b % c]).collect()
}

/// The official parameter that holds ours, and which part of it: a third of packed projections, else all.
fn official_name(name: &str) -> (String, Option<usize>) {
    let (path, leaf) = name.rsplit_once('.').unwrap_or_default();
    match path {
        "input" | "output" => return (format!("{path}_proj.{leaf}"), None),
        "position" => return (format!("pos_embed.{}_embed.weight", if leaf == "rows" { "row" } else { "col" }), None),
        "decoder.norm" => return (format!("transformer.decoder.norm.{leaf}"), None),
        _ => {}
    }
    let parts: Vec<&str> = name.split('.').collect();
    let layer = format!("transformer.{}.layers.{}", parts[0], parts[1]);
    if parts[2] == "query" {
        return (format!("{layer}.learned_embed.weight"), None);
    }
    let attention = match parts[2] {
        "attention" | "memory" => "self_attn",
        "previous" => "multihead_attn",
        other => return (format!("{layer}.{other}.{leaf}"), None),
    };
    match ["query", "key", "value"].iter().position(|third| *third == parts[3]) {
        Some(third) => (format!("{layer}.{attention}.in_proj_{leaf}"), Some(third)),
        None => (format!("{layer}.{attention}.out_proj.{leaf}"), None),
    }
}

/// The oracle with the official module's parameters and inputs.
struct Case {
    oracle: Json,
    params: Params,
    network: Network,
}

impl Case {
    fn new() -> Self {
        let oracle = read_json(&reference("uniad_step.json"));
        let mut params = Params::default();
        params.network.dropout = 0.0;
        let network = Network::new(&params, (SIDE, SIDE), CHANNELS);
        Case { oracle, params, network }
    }

    /// All official parameters by the hash rule, in the order of the oracle's list.
    fn official(&self) -> Vec<(String, Vec<f32>)> {
        let keys = self.oracle["keys"].as_array().expect("keys");
        let values = |key: &Json| {
            let (name, shape) = (key[1].as_str().expect("a name"), numbers(&key[2]));
            let uniforms = generator::uniforms(110, key[0].as_u64().expect("a stream"), 0, product(&shape));
            let fan_in = shape[1..].iter().product::<f64>();
            let value = |u: f64| match name {
                _ if name.ends_with("bias") => (u - 0.5) * 0.2,
                _ if shape.len() == 1 => 0.5 + u,
                _ => (u - 0.5) * 2.0 * (3.0 / fan_in).sqrt(),
            };
            (name.to_string(), uniforms.into_iter().map(|u| value(u) as f32).collect())
        };
        keys.iter().map(values).collect()
    }

    /// Our parameters with the official values.
    fn parameters(&self, device: &Device) -> Parameters {
        let official = self.official();
        assert_eq!(
            sha256_f32(official.iter().flat_map(|(_, values)| values)),
            self.oracle["weights"]["weights_sha256"].as_str().expect("a digest")
        );
        let mut parameters = self.network.initial(0, device);
        let names: Vec<String> = parameters.learned_names().map(str::to_string).collect();
        for name in names {
            let shape = parameters.get(&name).dims();
            let values = part(&official, &name).to_vec();
            parameters.insert(&name, values, shape, device);
        }
        parameters
    }

    /// X as tokens, images · positions × channels.
    fn tokens(&self, device: &Device) -> Tensor<2> {
        let x = generator::uniforms(111, 0, 0, IMAGES * CHANNELS * POSITIONS);
        let x: Vec<f32> = x.into_iter().map(|u| (2.0 * u - 1.0) as f32).collect();
        assert_eq!(sha256_f32(&x), self.oracle["input"]["sha256"].as_str().expect("a digest"));
        upload(swap_inner(&x, [IMAGES, CHANNELS, POSITIONS]), [IMAGES * POSITIONS, CHANNELS], device)
    }

    /// ε of a step, in the order of our tokens.
    fn noise(&self, step: u64, device: &Device) -> Tensor<2> {
        let draws = generator::uniforms(112, step, 0, 12 * IMAGES * CHANNELS * POSITIONS);
        let noise: Vec<f32> = draws.chunks(12).map(|twelve| (twelve.iter().sum::<f64>() - 6.0) as f32).collect();
        if step == 0 {
            check_description("noise", &noise, &self.oracle["train"]["noise_step0"], 1e-6);
        }
        upload(swap_outer(&noise, [POSITIONS, IMAGES, CHANNELS]), [IMAGES * POSITIONS, CHANNELS], device)
    }

    fn trainer(&self, device: &Device) -> Trainer {
        Trainer::new(&self.params, self.network.clone(), self.parameters(device))
    }

    /// Holds tokens (images · positions × width) against a description in the order positions × images × width.
    fn check_tokens(&self, what: &str, tokens: &Tensor<2>) {
        let width = tokens.dims()[1];
        let values = swap_outer(&download(tokens.clone()), [IMAGES, POSITIONS, width]);
        check_description(what, &values, &self.oracle["eval"][what], 2e-5);
    }
}

fn product(shape: &[f64]) -> usize {
    shape.iter().product::<f64>() as usize
}

/// The values of our parameter `name` among the official ones.
fn part<'a>(official: &'a [(String, Vec<f32>)], name: &str) -> &'a [f32] {
    let (key, third) = official_name(name);
    let found = official.iter().find(|(known, _)| *known == key);
    let (_, values) = found.unwrap_or_else(|| panic!("{name}: no {key}"));
    match third {
        None => values,
        Some(third) => &values[third * values.len() / 3..(third + 1) * values.len() / 3],
    }
}

#[test]
fn uniad_passes_forward_like_the_reference() {
    let case = Case::new();
    let device = Device::flex();
    let parameters = case.parameters(&device);
    assert_eq!(Some(parameters.count() as u64), case.oracle["n_parameters"].as_u64());
    let tokens = case.tokens(&device);
    let mut pass = case.network.pass(&parameters, IMAGES, Dropout::none());
    let position = download(pass.position.clone());
    check_description("position", &position, &case.oracle["eval"]["pos_embed_196x256"], 1e-6);
    let mut memory = pass.embed(tokens.clone());
    case.check_tokens("input_proj_196xBx256", &memory);
    case.check_tokens("enc0_attention_out", &pass.self_attention(0, memory.clone()));
    for layer in 0..4 {
        memory = pass.encoder_layer(layer, memory);
        case.check_tokens(&format!("encoder_layer{layer}"), &memory);
    }
    let mut out = memory.clone();
    for layer in 0..4 {
        out = pass.decoder_layer(layer, out, memory.clone());
        case.check_tokens(&format!("decoder_layer{layer}"), &out);
    }
    case.check_tokens("decoder_after_final_norm", &pass.normalise(out.clone()));
    let rebuilt = download(pass.finish(out));
    assert_eq!(rebuilt, download(case.network.reconstruct(&parameters, tokens.clone())));
    let planes = swap_inner(&rebuilt, [IMAGES, POSITIONS, CHANNELS]);
    check_description("reconstruction", &planes, &case.oracle["eval"]["feature_rec_Bx272x14x14"], 2e-5);
    let error = rebuilt.iter().zip(download(tokens)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    let expected = case.oracle["eval_mse"].as_f64().expect("a number");
    assert!((error / rebuilt.len() as f64 - expected).abs() <= 1e-5 * expected);
}

#[test]
fn uniad_scores_like_the_reference() {
    let case = Case::new();
    let device = Device::flex();
    let expected = &case.oracle["eval"];
    let scores = token_scores(&case.network, &case.parameters(&device), case.tokens(&device));
    check_description("map 14 × 14", &scores, &expected["pred_14x14"], 2e-5);
    let size = 16 * SIDE;
    let maps: Vec<f32> =
        scores.chunks(POSITIONS).flat_map(|s| upsample_corners(s, (SIDE, SIDE), (size, size))).collect();
    check_description("map 224 × 224", &maps, &expected["pred_Bx1x224x224"], 2e-5);
    for (image, key) in
        [(ImageScore::MaxPool, "score_max_pool16"), (ImageScore::Std, "score_std"), (ImageScore::Mean, "score_mean")]
    {
        let score = Score { image, ..Score::default() };
        let found = scores.chunks(POSITIONS).map(|scores| image_score(scores, (SIDE, SIDE), size, &score) as f32);
        check_description(key, &found.collect::<Vec<_>>(), &expected[key], 2e-6);
    }
}

#[test]
fn uniad_masks_neighbours_like_the_reference() {
    let case = Case::new();
    let mask: Vec<u8> = case.network.neighbours().into_iter().map(u8::from).collect();
    let count = |range: std::ops::Range<usize>| mask[range].iter().filter(|&&masked| masked == 1).count() as u64;
    let expected = &case.oracle["mask"];
    assert_eq!(Some(count(0..mask.len())), expected["masked"].as_u64());
    assert_eq!(Some(count(0..POSITIONS)), expected["row0_masked"].as_u64());
    assert_eq!(Some(count(105 * POSITIONS..106 * POSITIONS)), expected["row_centre_105_masked"].as_u64());
    assert_eq!(sha256(&mask), expected["sha256_u8_196x196"].as_str().expect("a digest"));
}

#[test]
fn uniad_learns_like_the_reference() {
    let case = Case::new();
    let device = Device::flex().autodiff();
    let expected = &case.oracle["train"];
    let tokens = case.tokens(&device);
    let mut trainer = case.trainer(&device);
    let losses = numbers(&expected["loss_per_step_f64"]);
    let norms = numbers(&expected["grad_norm_before_clip_f64"]);
    for (step, (loss, norm)) in losses.iter().zip(norms).enumerate() {
        let noise = case.noise(step as u64, &device);
        let found = without_waiting(|| trainer.step(tokens.clone(), Some(noise), Dropout::none()));
        for (name, expected, tolerance) in [("loss", *loss, 1e-6), ("gradient_norm", norm, 5e-5)] {
            let value = found.value(name);
            assert!((value - expected).abs() <= tolerance * expected, "step {step}: {name} {value}, not {expected}");
        }
        if step == 0 {
            check_parameters(&trainer.parameters, &expected["params_after_1_step"]);
        }
    }
    let plain = plain(&trainer.parameters);
    let scores = token_scores(&case.network, &plain, case.tokens(&Device::flex()));
    let size = 16 * SIDE;
    let maps: Vec<f32> =
        scores.chunks(POSITIONS).flat_map(|s| upsample_corners(s, (SIDE, SIDE), (size, size))).collect();
    check_description("maps after three steps", &maps, &expected["pred_eval_after_3_steps"], 1e-5);
}

fn check_parameters(parameters: &Parameters, expected: &Json) {
    let mut checked = 0;
    for (key, sample) in expected.as_object().expect("parameters") {
        let whole = joined(parameters, key, |name| download(parameters.get(name)));
        checked += 1;
        for (index, value) in numbers(&sample["indices"]).iter().zip(numbers(&sample["values"])) {
            let found = f64::from(whole[*index as usize]);
            assert!((found - value).abs() <= 1e-6, "{key}[{index}]: {found}, expected {value}");
        }
    }
    assert_eq!(checked, 132, "parameters of the official module");
}

/// The official parameter `key` put together from ours.
fn joined(parameters: &Parameters, key: &str, values: impl Fn(&str) -> Vec<f32>) -> Vec<f32> {
    let mut parts: Vec<(Option<usize>, &str)> = parameters
        .learned_names()
        .map(|name| (official_name(name), name))
        .filter(|((official, _), _)| official == key)
        .map(|((_, third), name)| (third, name))
        .collect();
    parts.sort_unstable();
    parts.into_iter().flat_map(|(_, name)| values(name)).collect()
}

#[test]
fn uniads_gradients_are_those_of_the_reference() {
    let case = Case::new();
    let device = Device::flex().autodiff();
    let trainer = case.trainer(&device);
    let noise = case.noise(0, &device);
    let gradients = trainer.loss(&case.tokens(&device), Some(noise), Dropout::none()).backward();
    let expected = &case.oracle["train"];
    let of = |name: &str| gradient(&trainer.parameters, name, &gradients);
    for (key, norm) in expected["grad_l2_step1_before_clip"].as_object().expect("norms") {
        let (found, norm) = (joined(&trainer.parameters, key, of), norm.as_f64().expect("a norm"));
        let l2 = norm_of(&found);
        assert!((l2 - norm).abs() <= 5e-5 * norm, "{key}: gradient norm {l2}, expected {norm}");
        let samples = &expected["grad_samples_step1_before_clip"][key];
        let scale = norm / (found.len() as f64).sqrt();
        for (index, value) in numbers(&samples["indices"]).iter().zip(numbers(&samples["values"])) {
            let at = f64::from(found[*index as usize]);
            let close = (at - value).abs() <= 2e-4 * scale.max(value.abs());
            assert!(close, "gradient of {key}[{index}]: {at}, expected {value}");
        }
    }
    for name in case.network.zero_gradient() {
        let l2 = norm_of(&of(&name));
        assert!(l2 < 1e-7, "{name}: a true gradient of zero, but the norm is {l2}");
    }
}

fn gradient(parameters: &Parameters, name: &str, gradients: &Gradients) -> Vec<f32> {
    let found = parameters.get(name).grad(gradients).unwrap_or_else(|| panic!("{name} has no gradient"));
    found.into_data().try_into_vec::<f32>().expect("f32")
}

fn norm_of(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn clipping_scales_all_gradients_alike_and_only_when_they_are_too_large() {
    let device = Device::flex().autodiff();
    let mut parameters = Parameters::default();
    parameters.insert("a", vec![1.0, 2.0], [1, 2], &device);
    parameters.insert("b", vec![3.0], [1, 1], &device);
    let gradients = || {
        // d/da = (3, 4), d/db = 12: a norm of 13.
        let weights = upload(vec![3.0, 4.0], [1, 2], &device);
        ((parameters.get("a") * weights).sum_dim(1) + parameters.get("b") * 12.0).backward()
    };
    for (limit, factor) in [(20.0, 1.0), (13.0, 1.0), (6.5, 0.5), (0.0, 1.0)] {
        let mut gradients = gradients();
        let norm = download(clip_gradients(&parameters, &mut gradients, limit).expect("gradients"))[0];
        assert!((norm - 13.0).abs() < 1e-5, "{norm}");
        for (name, whole) in [("a", [3.0, 4.0].as_slice()), ("b", [12.0].as_slice())] {
            for (found, whole) in gradient(&parameters, name, &gradients).iter().zip(whole) {
                assert!((f64::from(*found) - whole * factor).abs() < 1e-5, "limit {limit}: {name} is {found}");
            }
        }
    }
}

#[test]
fn fresh_parameters_are_spread_as_the_sheet_says() {
    let network = Network::new(&Params::default(), (SIDE, SIDE), CHANNELS);
    let parameters = network.initial(5, &Device::flex());
    assert_eq!((parameters.count(), network.size()), (7_717_392, 7_717_392));
    let values = |name: &str| download(parameters.get(name));
    let bounded = |name: &str, fans: f64| {
        let (bound, values) = ((6.0 / fans).sqrt(), values(name));
        let largest = values.iter().fold(0.0f64, |largest, &value| largest.max(f64::from(value).abs()));
        assert!(largest <= bound && largest > 0.99 * bound, "{name}: {largest}, bound {bound}");
    };
    bounded("encoder.0.attention.key.weight", 1024.0);
    bounded("encoder.0.attention.out.weight", 512.0);
    bounded("decoder.3.linear1.weight", 1280.0);
    bounded("input.weight", 528.0);
    assert!(values("position.rows").iter().all(|value| (0.0..1.0).contains(value)));
    assert!(values("decoder.1.previous.value.bias").iter().all(|&value| value == 0.0));
    let query = values("decoder.2.query");
    assert!((norm_of(&query) / (query.len() as f64).sqrt() - 1.0).abs() < 0.01);
    assert_ne!(query, values("decoder.1.query"));
}

#[test]
fn a_token_sees_nothing_of_its_neighbourhood() {
    let mut params = Params::default();
    params.mask.size = 3;
    params.network.hidden = 16;
    params.network.heads = 2;
    let (grid, images) = ((4, 5), 2);
    let device = Device::flex();
    let positions = grid.0 * grid.1;
    let mut values = vec![0.0; images * positions * 16];
    stream(1, Purpose::Jitter, 0).fill_normal(&mut values, 1.0);
    let watched = 7; // row 1, column 2
    for (masked, changed, moves) in [(true, 8, false), (true, 1, false), (true, 9, true), (false, 8, true)] {
        params.mask.encoder = masked;
        let network = Network::new(&params, grid, 16);
        let parameters = network.initial(0, &device);
        let attended = |values: &[f32]| {
            let tokens = upload(values.to_vec(), [images * positions, 16], &device);
            let found = download(network.pass(&parameters, images, Dropout::none()).self_attention(0, tokens));
            found[watched * 16..(watched + 1) * 16].to_vec()
        };
        let mut other = values.clone();
        other[changed * 16..(changed + 1) * 16].iter_mut().for_each(|value| *value += 1.0);
        assert_eq!(attended(&values) != attended(&other), moves, "mask {masked}, changed {changed}");
    }
}

#[test]
fn dropout_drops_its_share_and_keeps_the_mean() {
    let mut params = Params::default();
    params.network.hidden = 32;
    params.network.heads = 4;
    let network = Network::new(&params, (16, 16), 8);
    let device = Device::flex();
    let parameters = network.initial(0, &device);
    let mut values = vec![0.0; 4 * 256 * 8];
    stream(2, Purpose::Jitter, 0).fill_normal(&mut values, 1.0);
    let tokens = upload(values, [4 * 256, 8], &device);
    let rebuilt = |rate: f64, step: u64| {
        let dropout = Dropout::new(rate, (0..4).map(|image| stream(0, Purpose::Dropout, 4 * step + image)).collect());
        download(network.pass(&parameters, 4, dropout).reconstruct(tokens.clone()))
    };
    assert_eq!(rebuilt(0.0, 0), download(network.reconstruct(&parameters, tokens.clone())));
    assert_eq!(rebuilt(0.1, 0), rebuilt(0.1, 0));
    assert_ne!(rebuilt(0.1, 0), rebuilt(0.1, 1));
    let ones = Tensor::<2>::ones([512, 256], &device);
    for rate in [0.1, 0.5] {
        let dropped = download(Dropout::new(rate, vec![stream(0, Purpose::Dropout, 0)]).apply(ones.clone()));
        let zeros = dropped.iter().filter(|&&value| value == 0.0).count() as f64 / dropped.len() as f64;
        let mean = dropped.iter().map(|&value| f64::from(value)).sum::<f64>() / dropped.len() as f64;
        assert!((zeros - rate).abs() < 0.005 && (mean - 1.0).abs() < 0.01, "rate {rate}: {zeros} dropped, mean {mean}");
    }
}

#[test]
fn defaults_are_those_of_the_released_code() {
    let params = to_json(&Params::default());
    for (key, value) in [
        ("/network/hidden", json!(256)),
        ("/network/heads", json!(8)),
        ("/network/feed_forward", json!(1024)),
        ("/network/encoder_layers", json!(4)),
        ("/network/decoder_layers", json!(4)),
        ("/network/dropout", json!(0.1)),
        ("/mask/size", json!(7)),
        ("/jitter/scale", json!(20.0)),
        ("/jitter/probability", json!(1.0)),
        ("/train/epochs", json!(1000)),
        ("/train/batch", json!(8)),
        ("/train/lr", json!(1e-4)),
        ("/train/lr_drop_epoch", json!(801)),
        ("/train/weight_decay", json!(1e-4)),
        ("/train/clip", json!(0.1)),
        ("/score/image", json!("max_pool")),
        ("/score/pool", json!(16)),
        ("/score/sigma", json!(0.0)),
    ] {
        assert_eq!(params.pointer(key), Some(&value), "{key}");
    }
    let train = Params::default().train;
    assert_eq!([0, 800, 801].map(|epoch| train.learning_rate(epoch)), [1e-4, 1e-4, 1e-4 * 0.1]);
    let sections = Params::sections();
    let backbone: Backbone = serde_json::from_value(sections["backbone"].clone()).expect("a backbone");
    let features: Features = serde_json::from_value(sections["features"].clone()).expect("features");
    let side = sections["image"]["size"].as_u64().expect("a size") as usize;
    let shape = dmad::features::feature_shape(&backbone, &features, side).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((shape.height, shape.width, shape.dim), (SIDE, SIDE, CHANNELS));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let entry = dmad::methods::entry("uniad").expect("a method");
    let resolve = |json: Json| (entry.kind.parse)(&json, &MethodContext { seen_count: 0 });
    let key = |json: Json| resolve(json).err().map(|fault| fault.key);
    assert_eq!(key(json!({ "network": { "hidden": 60, "heads": 8 } })), Some("network.hidden".into()));
    assert_eq!(key(json!({ "network": { "hidden": 9, "heads": 3 } })), Some("network.hidden".into()));
    assert_eq!(key(json!({ "mask": { "size": 8 } })), Some("mask.size".into()));
    assert!(resolve(json!({})).is_ok());
    let mut params = Params::default();
    for (grid, sees) in [((7, 7), false), ((8, 7), true), ((14, 14), true), ((1, 8), true), ((1, 7), false)] {
        assert_eq!(Network::new(&params, grid, 4).every_position_sees(), sees, "{grid:?}");
    }
    params.mask =
        dmad::methods::uniad::Mask { encoder: false, decoder_memory: false, decoder_previous: false, size: 7 };
    assert!(Network::new(&params, (7, 7), 4).every_position_sees());
}
