//! Vision transformers with weights made by a hash, against an implementation in f64: tokens and the outputs of blocks by every
//! rule for positions, at several sizes.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use dmad::backbone::vit::{Form, Transformer};
use dmad::backbone::weights::{StateDict, Weight};
use dmad::spec::Positions;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::{generator, util};

/// How far a value may be away. The other implementation in f32 is up to 1.1e-5 away from itself in f64.
const TOLERANCE: f64 = 3e-5;

/// What the oracle's networks are made of.
pub fn form(config: &Json) -> Form {
    let number = |key: &str| config[key].as_u64().expect("a number") as usize;
    let (width, heads) = (number("embed_dim"), number("heads"));
    Form { width, depth: number("depth"), heads, registers: number("registers"), grid: number("pos_grid") }
}

/// The rule of the references' README; `mask_token`, which no forward pass reads, has a stream of its own.
pub fn hash_weights(form: &Form, seed: u64) -> StateDict {
    let specs = form.tensors(form.depth).into_iter().map(|spec| (spec.name, spec.shape));
    let mask = ("mask_token".to_string(), vec![1, form.width]);
    let keys: BTreeMap<String, Vec<usize>> = specs.chain([mask]).collect();
    let make = |(stream, (key, shape)): (usize, (String, Vec<usize>))| {
        let fan_in = shape[1..].iter().product::<usize>() as f64;
        let token = ["cls_token", "register_tokens", "mask_token", "pos_embed"].contains(&key.as_str());
        let value = |u: f64| match shape.len() {
            _ if token => u - 0.5,
            _ if key.ends_with("bias") => (u - 0.5) * 0.2,
            1 => 0.5 + u,
            _ => (u - 0.5) * 2.0 * (3.0 / fan_in).sqrt(),
        };
        let uniforms = generator::uniforms(seed, stream as u64, 0, shape.iter().product());
        let values = uniforms.into_iter().map(|u| value(u) as f32).collect();
        (key, Weight { shape, values })
    };
    keys.into_iter().enumerate().map(make).collect()
}

fn sha256(state: &StateDict) -> String {
    let mut hasher = Sha256::new();
    for weight in state.values() {
        hasher.update(weight.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Planes of the first `rows` rows of an image of `side` pixels in ImageNet's normalisation, made in f64.
pub fn planes(k: u64, side: usize, rows: usize) -> Vec<f32> {
    let image = generator::image(7, k, side);
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let plane = |channel: usize| {
        let bytes = image.iter().skip(channel).step_by(3).take(rows * side);
        bytes.map(move |&byte| ((f64::from(byte) / 255.0 - mean[channel]) / std[channel]) as f32)
    };
    (0..3).flat_map(plane).collect()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("f32")
}

/// The largest distance of a tensor from its description.
fn distance(what: &str, own: &[f32], description: &Json) -> f64 {
    let count: f64 = util::numbers(&description["shape"]).iter().product();
    assert_eq!(own.len() as f64, count, "{what}: number of values");
    let norm = own.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let expected = description["l2"].as_f64().expect("l2");
    assert!((norm - expected).abs() <= 5e-6 * expected, "{what}: norm {norm}, expected {expected}");
    let (indices, samples) = (util::numbers(&description["indices"]), util::numbers(&description["values"]));
    let pairs = indices.iter().zip(&samples);
    pairs.map(|(index, sample)| (f64::from(own[*index as usize]) - sample).abs()).fold(0.0, f64::max)
}

/// Case, images, rows and columns of pixels.
type Case<'a> = (&'a str, &'a [u64], usize, usize);

/// Runs the cases of a network, each with the images and the size it names, on a device.
fn check(name: &str, cases: &[Case], device: &Device) {
    let oracle = &util::json(&util::reference("vit.json"))[name];
    let form = form(&oracle["config"]);
    let state = hash_weights(&form, oracle["weights"]["seed"].as_u64().expect("a seed"));
    assert_eq!(sha256(&state), oracle["weights"]["weights_sha256"].as_str().expect("a digest"), "{name}: weights");
    assert_eq!(state.len() as u64, oracle["weights"]["n_keys"].as_u64().expect("a number"));
    let taps: Vec<usize> = (0..=form.depth).collect();
    let mut worst: f64 = 0.0;
    for &(case, images, rows, side) in cases {
        for (mode, expected) in oracle["cases"][case]["modes"].as_object().expect("modes") {
            let rule: Positions = serde_json::from_value(mode.as_str().into()).expect("a rule");
            let network = Transformer::new(&form, &taps, rule, &state, device);
            let input: Vec<f32> = images.iter().flat_map(|&k| planes(k, side, rows)).collect();
            let outputs = expected["outputs"].as_object().expect("outputs");
            let grid = network.positions([rows / 14, side / 14]);
            let mut found = BTreeMap::from([("pos_grid".to_string(), values(grid))]);
            found.insert("tokens".into(), values(network.enter(input.clone(), [rows, side])));
            for (block, tokens) in network.tokens(input, [rows, side]).into_iter().enumerate() {
                let key = if block == form.depth { "norm".into() } else { format!("block{block}") };
                found.insert(key, values(tokens));
            }
            let held = outputs.iter().filter_map(|(key, description)| Some((key, found.get(key)?, description)));
            let mut count = 0;
            for (key, own, description) in held {
                let what = format!("{name} {case} {mode} {key}");
                let far = distance(&what, own, description);
                assert!(far <= TOLERANCE, "{what}: {far}");
                (worst, count) = (worst.max(far), count + 1);
            }
            assert!(count >= 3, "{name} {case} {mode}: {count} tensors");
        }
    }
    println!("{name}: largest distance {worst:.2e}");
}

const REGISTERS: [Case<'static>; 4] = [
    ("sq56", &[0, 1], 56, 56),
    ("sq70_no_interpolation", &[2], 70, 70),
    ("rect56x84", &[3], 56, 84),
    ("up98", &[4], 98, 98),
];
const PLAIN: [Case<'static>; 1] = [("sq56", &[0], 56, 56)];

#[test]
fn a_small_transformer_with_registers_gives_the_tokens_of_the_reference_by_every_rule_and_at_every_size() {
    check("small_reg", &REGISTERS, &Device::flex());
}

#[test]
fn a_small_transformer_without_registers_gives_the_tokens_of_the_reference() {
    check("small_plain", &PLAIN, &Device::flex());
}

#[test]
fn vit_s_14_with_registers_gives_the_tokens_of_the_reference() {
    check("vits14_reg", &[("sq140", &[5], 140, 140)], &Device::flex());
}

#[cfg(feature = "gpu")]
#[test]
fn small_transformers_give_the_tokens_of_the_reference_on_a_device() {
    check("small_reg", &REGISTERS, &crate::gpu::device());
    check("small_plain", &PLAIN, &crate::gpu::device());
}
