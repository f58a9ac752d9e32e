//! BGAD against the reference numbers: flow, likelihoods, losses, gradients, steps, position code, masks, fusion, rates.

use burn::tensor::{Device, Tensor};
use dmad::methods::bgad::{
    Chunk, Engine, Flow, Loss, Params, Trainer, Warmup, abnormal_weights, fused, level_mask, normal_weights,
    position_code, step_loss,
};
use dmad::methods::bgad::{ClampStyle, LevelMask};
use dmad::train::{Parameters, Terms, download, upload};
use serde_json::Value as Json;

use crate::generator;
use crate::util::{array, check_description, json as read_json, numbers, reference, without_waiting};

const CHANNELS: usize = 40;
const ROWS: usize = 256;

fn oracle() -> Json {
    read_json(&reference("bgad_step.json"))
}

fn flow(style: ClampStyle) -> Flow {
    let mut params = Params::default();
    params.flow.clamp_style = style;
    Flow::new(&params.flow, 0, CHANNELS)
}

/// The oracle's name of a parameter of ours, and its shape.
fn own_name(key: &str) -> Option<String> {
    let rest = key.strip_prefix("module_list.")?;
    let (block, part) = rest.split_once('.')?;
    let part = match part {
        "global_offset" => "offset",
        "global_scale" => "scale",
        "w_perm" => "rotation",
        "w_perm_inv" => return None,
        other => other,
    };
    Some(format!("level0.block{block}.{part}"))
}

fn parameters(oracle: &Json, device: &Device) -> Parameters {
    let mut parameters = Parameters::default();
    flow(ClampStyle::Pinned).declare(&mut parameters, device);
    let rotations: Vec<f32> = array(&reference("bgad_w_perm.npy"));
    for (stream, entry) in oracle["params"]["keys"].as_array().expect("keys").iter().enumerate() {
        let key = entry[0].as_str().expect("a name");
        let Some(name) = own_name(key) else { continue };
        let shape = parameters.get(&name).dims();
        if name.ends_with("rotation") {
            let block: usize = name["level0.block".len()..].split('.').next().and_then(|n| n.parse().ok()).expect("n");
            let values = rotations[block * CHANNELS * CHANNELS..][..CHANNELS * CHANNELS].to_vec();
            parameters.insert_buffer(&name, values, shape, device);
            continue;
        }
        let value = |u: f64| match key {
            _ if name.ends_with(".scale") => 10.0 + (u - 0.5) * 4.0,
            _ if name.ends_with(".bias") || name.ends_with(".offset") => (u - 0.5) * 0.2,
            _ => (u - 0.5) * 2.0 * (3.0 / shape[1] as f64).sqrt(),
        };
        let uniforms = generator::uniforms(70, stream as u64, 0, shape[0] * shape[1]);
        let values: Vec<f32> = uniforms.into_iter().map(|u| value(u) as f32).collect();
        let first = oracle["params"]["first4"][key].as_array().map(|_| numbers(&oracle["params"]["first4"][key]));
        for (own, told) in values.iter().zip(first.into_iter().flatten()) {
            assert_eq!(*own, told as f32, "{key}");
        }
        parameters.insert(&name, values, shape, device);
    }
    parameters
}

/// Feature vectors, codes of their positions, and which rows are anomalous.
fn inputs(device: &Device) -> (Tensor<2>, Tensor<2>, Vec<bool>) {
    let values = generator::uniforms(72, 0, 0, ROWS * CHANNELS);
    let sigmas: Vec<f64> = generator::uniforms(72, 1, 0, ROWS).into_iter().map(|u| 0.3 + 3.7 * u).collect();
    let scaled = values.iter().enumerate();
    let x = scaled.map(|(place, u)| ((u - 0.5) * 12f64.sqrt() * sigmas[place / CHANNELS]) as f32).collect();
    let anomalous = generator::uniforms(72, 2, 0, ROWS).into_iter().map(|u| u < 0.25).collect();
    let condition = position_code(128, 16, 16);
    (upload(x, [ROWS, CHANNELS], device), upload(condition, [ROWS, 128], device), anomalous)
}

fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected} ± {tolerance:e}");
}

fn number(json: &Json, key: &str) -> f64 {
    json[key].as_f64().unwrap_or_else(|| panic!("{key} of {json}"))
}

#[test]
fn flows_have_as_many_parameters_as_the_released_ones() {
    let sizes = [40, 72, 200].map(|channels| Flow::new(&Params::default().flow, 0, channels).size());
    assert_eq!(sizes, [448_512, 623_616, 1_569_792]);
    assert_eq!(parameters(&oracle(), &Device::flex()).count(), 448_512);
    assert_eq!(oracle()["params"]["trainable"], 448_512);
}

#[test]
fn blocks_volumes_and_likelihoods_agree() {
    let (oracle, device) = (oracle(), Device::flex());
    let (parameters, (x, condition, anomalous)) = (parameters(&oracle, &device), inputs(&device));
    let rows: Vec<f64> = (0..ROWS).filter(|&row| anomalous[row]).map(|row| row as f64).collect();
    assert_eq!(rows, numbers(&oracle["input"]["mask_rows"]));
    check_description("x", &download(x.clone()), &oracle["input"]["x"], 1e-7);
    let (flow, forward) = (flow(ClampStyle::Pinned), &oracle["forward"]);
    let mut y = x.clone();
    for (block, told) in forward["blocks"].as_array().expect("blocks").iter().enumerate() {
        let (next, volume) = flow.block(&parameters, block, y, condition.clone());
        check_description(&format!("block {block}"), &download(next.clone()), &told["out"], 1e-5);
        check_description(&format!("volume {block}"), &download(volume), &told["logdet"], 1e-5);
        y = next;
    }
    let (z, volume) = flow.forward(&parameters, x.clone(), condition.clone());
    let expected: Vec<f32> = array(&reference("bgad_z_f32.npy"));
    for (found, expected) in download(z).iter().zip(expected) {
        close("z", (*found).into(), expected.into(), 2e-5);
    }
    let expected: Vec<f64> = array(&reference("bgad_logdet_lp_f64.npy"));
    let lp = download(flow.likelihood(&parameters, x.clone(), condition.clone()));
    for (found, expected) in download(volume).into_iter().chain(lp).zip(expected) {
        close("volume and likelihood", found.into(), expected, 4e-5);
    }
    let (z, volume) = self::flow(ClampStyle::Newer).forward(&parameters, x, condition);
    let norm = download(z).iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let told = &forward["wrong_slope_for_contrast"];
    close("norm with the newer slope", norm, number(told, "z_l2"), 1e-3);
    let mean = download(volume).iter().map(|&v| f64::from(v)).sum::<f64>() / ROWS as f64;
    close("volume with the newer slope", mean, number(told, "logdet_mean"), 1e-4);
}

/// A training case: its name, settings, anomalous rows, and the rates of its steps.
struct Case<'a> {
    told: &'a Json,
    params: Params,
    anomalous: Vec<bool>,
    first_epoch: bool,
}

impl<'a> Case<'a> {
    fn new(oracle: &'a Json, name: &str, mask: &[bool]) -> Self {
        let told = &oracle["training"][name];
        let mut params = Params::default();
        params.loss.engine = Engine::Anomalies;
        params.loss.pos_beta = number(told, "pos_beta");
        params.loss.focal = told["focal"] == true;
        let anomalous = match told["mask"].as_str().expect("a mask") {
            "mask" => mask.to_vec(),
            "zero" => vec![false; ROWS],
            _ => {
                let rows = numbers(&told["anomalous_rows"]);
                (0..ROWS).map(|row| rows.contains(&(row as f64))).collect()
            }
        };
        Case { told, params, anomalous, first_epoch: told["epoch"] == 0 }
    }

    fn check_loss(&self, step: usize, loss: &Terms) {
        let told = &self.told["steps"][step];
        let expected = told["loss"].as_f64().unwrap_or_else(|| number(self.told, "loss_with_L_a_as_0"));
        let tolerance = if step == 0 { 1e-5 } else { 1e-4 };
        close("loss", loss.value("loss"), expected, tolerance * expected);
        for (key, name) in [("loss_ml", "likelihood"), ("loss_n", "normal"), ("loss_a", "abnormal")] {
            if let Some(expected) = told[key].as_f64() {
                // Far from the boundary weights are above 20: they magnify what an f32 cannot hold of a likelihood.
                close(key, loss.value(name), expected, 10.0 * tolerance * expected.max(1.0));
            }
        }
    }
}

fn check_gradients(told: &Json, trainer: &Trainer, graph: &Tensor<2>) {
    let gradients = graph.backward();
    for (key, expected) in told["grad_l2"].as_object().expect("norms") {
        let name = own_name(key).expect("a parameter");
        let gradient = trainer.parameters.get(&name).grad(&gradients).unwrap_or_else(|| panic!("{name}: none"));
        let values = download(Tensor::<2>::from_inner(gradient));
        let (norm, expected) = (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt(), expected.as_f64());
        close(&name, norm, expected.expect("a norm"), 1e-5 * expected.expect("a norm"));
        let samples = &told["grad_samples_step1"][key];
        let root = norm / (values.len() as f64).sqrt();
        if samples.is_object() {
            for (index, sample) in numbers(&samples["indices"]).into_iter().zip(numbers(&samples["values"])) {
                close(&name, values[index as usize].into(), sample, 1e-4 * root.max(sample.abs()));
            }
        }
    }
}

fn check_parameters(told: &Json, trainer: &Trainer) {
    for (key, expected) in told["params_after_1_step"].as_object().into_iter().flatten() {
        let values = download(trainer.parameters.get(&own_name(key).expect("a parameter")));
        let tolerance = 4.0 * number(expected, "f32_maxabs_dev") + 1e-6;
        for (index, value) in numbers(&expected["indices"]).into_iter().zip(numbers(&expected["values"])) {
            close(key, values[index as usize].into(), value, tolerance);
        }
    }
}

#[test]
fn losses_gradients_and_steps_agree_in_every_case() {
    let (oracle, device) = (oracle(), Device::flex().autodiff());
    let (vectors, condition, mask) = inputs(&device);
    for name in oracle["training"].as_object().expect("cases").keys() {
        if !oracle["training"][name]["steps"].is_array() {
            continue;
        }
        let case = Case::new(&oracle, name, &mask);
        let flows = vec![flow(ClampStyle::Pinned)];
        let mut trainer = Trainer::new(&case.params, flows, parameters(&oracle, &device));
        let (vectors, condition) = (vectors.clone(), condition.clone());
        let chunk = Chunk { level: 0, vectors, condition, anomalous: case.anomalous.clone() };
        let (loss, graph) = trainer.loss(&chunk, case.first_epoch);
        case.check_loss(0, &loss.terms);
        if let (Some(expected), Some(boundary)) = (case.told["steps"][0]["b_n"].as_f64(), loss.boundary) {
            let [normal, abnormal] = [boundary.normal, boundary.abnormal].map(|value| f64::from(download(value)[0]));
            close("b_n", normal, expected, 1e-5);
            close("b_a", abnormal, number(&case.told["steps"][0], "b_a"), 1e-5);
        }
        check_gradients(case.told, &trainer, &graph);
        for (step, told) in case.told["steps"].as_array().expect("steps").iter().enumerate() {
            trainer.set_learning_rate(number(told, "lr"));
            case.check_loss(step, &without_waiting(|| trainer.step(&chunk, case.first_epoch)));
            if step == 0 {
                check_parameters(case.told, &trainer);
            }
        }
    }
}

#[test]
fn weights_are_those_of_the_table() {
    let oracle = oracle();
    let table = &oracle["weights_table"];
    let (wn, wa) = (numbers(&table["wn"]), numbers(&table["wa"]));
    let of = |weights: fn(Tensor<2>) -> Tensor<2>, value: f64| {
        f64::from(download(weights(upload(vec![value as f32], [1, 1], &Device::flex())))[0])
    };
    for (place, lp) in numbers(&table["lp"]).into_iter().enumerate() {
        if lp <= 0.0 {
            close("wn", of(normal_weights, lp / 10.0), wn[place], 2e-5 * wn[place]);
            close("wa", of(abnormal_weights, lp / 10.0), wa[place], 2e-5 * wa[place]);
        }
    }
    assert!(of(abnormal_weights, 0.0).is_finite() && of(normal_weights, 0.3) == 1.0);
}

#[test]
fn the_boundary_is_at_the_place_that_the_released_code_takes() {
    for (key, expected) in oracle()["boundary_index"]["k_examples"].as_object().expect("a table") {
        let (count, beta) = key.split_once(',').expect("two numbers");
        let (count, pos_beta): (usize, f64) = (count.parse().expect("n"), beta.parse().expect("a share"));
        let loss = Loss { pos_beta, engine: Engine::Normals, ..Loss::default() };
        let lp: Vec<f32> = (0..count).map(|place| place as f32 - 5000.0).collect();
        let lp = upload(lp, [count, 1], &Device::flex());
        let boundary = step_loss(lp, &vec![false; count], false, &loss).boundary.expect("a boundary");
        let place = f64::from(download(boundary.normal)[0]) * 10.0 + 5000.0;
        close(key, place, expected.as_f64().expect("a place"), 1e-2);
    }
}

#[test]
fn codes_of_positions_agree() {
    let oracle = oracle();
    for (key, told) in oracle["positional_code"].as_object().expect("sizes") {
        let sizes: Vec<usize> = key.split('x').map(|side| side.parse().expect("a side")).collect();
        let [values, rows, columns] = [sizes[0], sizes[1], sizes[2]];
        let code = position_code(values, rows, columns);
        let planes: Vec<f32> = (0..values).flat_map(|value| code.iter().skip(value).step_by(values).copied()).collect();
        check_description(key, &planes, told, 5e-6);
        if told["full"].is_array() {
            let full = numbers(&told["full"]);
            planes.iter().zip(full).for_each(|(found, told)| close(key, (*found).into(), told, 1e-6));
        }
    }
    let code = position_code(128, 2, 2);
    assert_eq!(code[..4], [0.0, 1.0, 0.0, 1.0]);
    close("second column", code[128].into(), 0.84147, 1e-5);
    close("its third value", code[130].into(), 0.68156, 1e-5);
    close("second row", code[2 * 128 + 64].into(), 0.84147, 1e-5);
}

#[test]
fn masks_reach_layers_as_in_the_released_code() {
    let oracle = oracle();
    for (number, told) in oracle["mask_nearest"].as_object().expect("masks") {
        let mask = crate::generated_maps::one_mask(74, number[1..].parse().expect("a number"), 256);
        assert_eq!(mask.iter().filter(|&&set| set).count() as u64, told["sum256"].as_u64().expect("a count"));
        for (side, told) in told["levels"].as_object().expect("levels") {
            let side: usize = side.parse().expect("a side");
            let level = level_mask(&mask, 256, side, LevelMask::Nearest);
            let places: Vec<f64> = (0..side * side).filter(|&place| level[place]).map(|place| place as f64).collect();
            assert_eq!(places.len() as u64, told["sum"].as_u64().expect("a count"));
            if told["positive_flat_indices"].is_array() {
                assert_eq!(places, numbers(&told["positive_flat_indices"]));
            }
            let pooled = level_mask(&mask, 256, side, LevelMask::MaxPool);
            assert!(level.iter().zip(&pooled).all(|(nearest, pooled)| !nearest || *pooled));
        }
    }
}

#[test]
fn layers_are_fused_as_in_the_released_code() {
    let oracle = oracle();
    let levels: Vec<(usize, Vec<f32>)> = [8, 4, 2]
        .into_iter()
        .zip(0..)
        .map(|(side, level)| {
            let values = generator::uniforms(73, level, 0, 2 * side * side);
            (side, values.into_iter().map(|u| (-1.0 - 9.0 * u) as f32).collect())
        })
        .collect();
    let maxima: Vec<f32> =
        levels.iter().map(|(_, values)| values.iter().copied().fold(f32::NEG_INFINITY, f32::max)).collect();
    let image = |number: usize| {
        let own: Vec<(usize, &[f32])> =
            levels.iter().map(|(side, values)| (*side, &values[number * side * side..][..side * side])).collect();
        fused(&own, &maxima, (32, 32))
    };
    let sums = [image(0), image(1)].concat();
    let top = sums.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let expected: Vec<f64> = array(&reference("bgad_fusion_f64.npy"));
    for (sum, expected) in sums.iter().zip(expected) {
        close("score", f64::from(top) - f64::from(*sum), expected, 1e-6);
    }
    for (map, expected) in sums.chunks(32 * 32).zip(numbers(&oracle["fusion"]["image_scores"])) {
        let lowest = map.iter().copied().fold(f32::INFINITY, f32::min);
        close("image score", f64::from(top) - f64::from(lowest), expected, 1e-6);
    }
}

#[test]
fn learning_rates_are_those_of_every_batch() {
    let (oracle, train) = (oracle(), Params::default().train);
    for (epoch, expected) in numbers(&oracle["lr"]["cosine_per_epoch"]).into_iter().enumerate() {
        close("cosine", train.cosine(epoch), expected, 1e-12);
    }
    let check = |key: &str, warmup: Warmup| {
        let train = dmad::methods::bgad::Train { warmup, ..train.clone() };
        for entry in oracle["lr"][key].as_array().expect("entries") {
            let told = numbers(entry);
            let [epoch, pass, batch] = [told[0], told[1], told[2]].map(|number| number as usize);
            close("warm-up", train.learning_rate(epoch, pass, batch, 10), told[3], 1e-12);
        }
    };
    check("warmup_official_epoch_sub_batch_lr", Warmup::Released);
    check("warmup_with_10_batches_counted_epoch_sub_batch_lr", Warmup::Counted);
    assert_eq!(train.learning_rate(2, 5, 3, 10), train.cosine(2));
}
