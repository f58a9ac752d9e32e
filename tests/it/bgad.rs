//! BGAD: what holds of its flows, its losses and its scores whatever the numbers are.

use burn::tensor::{Device, Tensor};
use dmad::methods::bgad::{
    Adam, Chunk, ClampStyle, Engine, Flow, LevelMask, Params, Trainer, fused, level_mask, position_code, rotation,
};
use dmad::random::{Purpose, stream};
use dmad::train::{Parameters, download, upload};

use crate::lab::{Lab, study, with};

const ROWS: usize = 64;

fn params(position: usize, style: ClampStyle) -> Params {
    let mut params = Params::default();
    params.flow.position = position;
    params.flow.clamp_style = style;
    params
}

fn normal(count: usize, index: u64) -> Vec<f32> {
    let mut values = vec![0.0; count];
    stream(7, Purpose::FeatureNoise, index).fill_normal(&mut values, 1.0);
    values
}

/// A flow whose volumes are far from those of a rotation.
fn lively(params: &Params, channels: usize, device: &Device) -> (Flow, Parameters) {
    let flow = Flow::new(&params.flow, 0, channels);
    let mut parameters = Parameters::default();
    flow.add(&mut parameters, 0, device);
    for (index, name) in parameters.learned_names().map(String::from).collect::<Vec<_>>().into_iter().enumerate() {
        let (values, shape) = (download(parameters.get(&name)), parameters.get(&name).dims());
        let noise = normal(values.len(), index as u64 + 1);
        let moved = values.iter().zip(noise).map(|(value, noise)| value + 0.05 * noise).collect();
        parameters.insert(&name, moved, shape, device);
    }
    (flow, parameters)
}

#[test]
fn flows_go_back_to_where_they_came_from() {
    let device = Device::flex();
    for (channels, style) in [(40, ClampStyle::Pinned), (25, ClampStyle::Newer)] {
        let params = params(16, style);
        let (flow, parameters) = lively(&params, channels, &device);
        let x = normal(ROWS * channels, 0);
        let condition = upload(position_code(16, 8, 8), [ROWS, 16], &device);
        let (z, _) = flow.forward(&parameters, upload(x.clone(), [ROWS, channels], &device), condition.clone());
        let back = download(flow.inverse(&parameters, z, condition));
        let largest = x.iter().zip(back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-5, "{channels} channels: {largest}");
    }
}

/// log |det| by elimination in f64.
fn log_determinant(mut rows: Vec<Vec<f64>>) -> f64 {
    let mut sum = 0.0;
    for column in 0..rows.len() {
        let pivot = (column..rows.len()).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        rows.swap(column, pivot.expect("a row"));
        sum += rows[column][column].abs().ln();
        let top = rows[column].clone();
        for row in &mut rows[column + 1..] {
            let share = row[column] / top[column];
            row.iter_mut().zip(&top).for_each(|(value, top)| *value -= share * top);
        }
    }
    sum
}

#[test]
fn volumes_are_those_of_a_numerical_jacobian() {
    let (device, channels) = (Device::flex(), 9);
    let mut params = params(8, ClampStyle::Pinned);
    params.flow.blocks = 3;
    let (flow, parameters) = lively(&params, channels, &device);
    let (x, code) = (normal(channels, 0), position_code(8, 2, 2)[8..16].to_vec());
    let step = 1e-2f32;
    // One row for each direction, forth and back.
    let moved: Vec<f32> = (0..2 * channels)
        .flat_map(|row| {
            let mut x = x.clone();
            x[row / 2] += if row % 2 == 0 { step } else { -step };
            x
        })
        .collect();
    let rows = 2 * channels;
    let (z, _) = flow.forward(
        &parameters,
        upload(moved, [rows, channels], &device),
        upload(code.repeat(rows), [rows, 8], &device),
    );
    let z = download(z);
    let slope = |direction: usize, output: usize| {
        let [ahead, behind] = [2 * direction, 2 * direction + 1].map(|row| f64::from(z[row * channels + output]));
        (ahead - behind) / (2.0 * f64::from(step))
    };
    let jacobian = (0..channels).map(|d| (0..channels).map(|output| slope(d, output)).collect()).collect();
    let (_, volume) = flow.forward(&parameters, upload(x, [1, channels], &device), upload(code, [1, 8], &device));
    let (found, expected) = (f64::from(download(volume)[0]), log_determinant(jacobian));
    assert!((found - expected).abs() < 2e-3 * expected.abs().max(1.0), "{found}, numerically {expected}");
}

#[test]
fn rotations_are_rotations_and_fresh_flows_hardly_change_lengths() {
    for side in [9, 40, 112] {
        let w: Vec<f64> = rotation(side, 3, 5).into_iter().map(f64::from).collect();
        let rows: Vec<&[f64]> = w.chunks(side).collect();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                let product: f64 = a.iter().zip(*b).map(|(a, b)| a * b).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-6, "{side}: {i}, {j}: {product}");
            }
        }
        assert!(determinant(rows.iter().map(|row| row.to_vec()).collect()) > 0.999);
    }
    assert_ne!(rotation(9, 3, 5), rotation(9, 3, 6));
    let (device, params) = (Device::flex(), Params::default());
    let flow = Flow::new(&params.flow, 0, 40);
    let mut parameters = Parameters::default();
    flow.add(&mut parameters, 0, &device);
    let (x, rows) = (normal(1024 * 40, 0), 1024);
    let condition = upload(position_code(128, 32, 32), [rows, 128], &device);
    let lp = download(flow.likelihood(&parameters, upload(x, [rows, 40], &device), condition));
    let mean = lp.iter().sum::<f32>() / rows as f32;
    assert!((-1.44..-1.39).contains(&mean), "{mean}");
}

fn determinant(mut rows: Vec<Vec<f64>>) -> f64 {
    let mut product = 1.0;
    for column in 0..rows.len() {
        let pivot = (column..rows.len()).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        let pivot = pivot.expect("a row");
        product *= if pivot == column { rows[pivot][column] } else { -rows[pivot][column] };
        rows.swap(column, pivot);
        let top = rows[column].clone();
        for row in &mut rows[column + 1..] {
            let share = row[column] / top[column];
            row.iter_mut().zip(&top).for_each(|(value, top)| *value -= share * top);
        }
    }
    product
}

/// Two flows in training, and a step of each.
fn training(adam: Adam) -> (Trainer, [Chunk; 2]) {
    let device = Device::flex().autodiff();
    let mut params = params(8, ClampStyle::Pinned);
    (params.flow.blocks, params.loss.engine, params.train.adam) = (2, Engine::Normals, adam);
    let flows: Vec<Flow> = [6, 8].into_iter().zip(0..).map(|(c, level)| Flow::new(&params.flow, level, c)).collect();
    let mut parameters = Parameters::default();
    flows.iter().for_each(|flow| flow.add(&mut parameters, 0, &device));
    let chunk = |level: usize, channels: usize| Chunk {
        level,
        vectors: upload(normal(16 * channels, level as u64), [16, channels], &device),
        condition: upload(position_code(8, 4, 4), [16, 8], &device),
        anomalous: vec![false; 16],
    };
    (Trainer::new(&params, flows, parameters), [chunk(0, 6), chunk(1, 8)])
}

#[test]
fn idle_flows_move_with_one_optimiser_for_all_and_stay_with_one_each() {
    for (adam, moves) in [(Adam::PerLevel, false), (Adam::SharedZeroGrad, true)] {
        let (mut trainer, [first, second]) = training(adam);
        let weight = |trainer: &Trainer| download(trainer.parameters.get("level0.block1.subnet.0.weight"));
        let other = |trainer: &Trainer| download(trainer.parameters.get("level1.block1.subnet.0.weight"));
        let untouched = other(&trainer);
        trainer.step(&first, false);
        assert_eq!(other(&trainer), untouched, "a flow that never had a gradient has no momentum");
        let before = weight(&trainer);
        trainer.step(&second, false);
        assert_eq!(weight(&trainer) != before, moves, "{adam:?}");
        assert_ne!(other(&trainer), untouched);
    }
}

#[test]
fn steps_lower_the_loss_and_anomalies_are_pushed_down() {
    let (mut trainer, [first, _]) = training(Adam::PerLevel);
    trainer.set_learning_rate(1e-2);
    let start = trainer.step(&first, false).value("loss");
    let end = (0..30).map(|_| trainer.step(&first, false).value("loss")).last().expect("steps");
    assert!(end < start, "{start} to {end}");
    let lp = |trainer: &Trainer, chunk: &Chunk| {
        let mut params = params(8, ClampStyle::Pinned);
        params.flow.blocks = 2;
        let flow = Flow::new(&params.flow, 0, 6);
        download(flow.likelihood(&trainer.parameters, chunk.vectors.clone(), chunk.condition.clone()))
    };
    let anomalous = Chunk { anomalous: (0..16).map(|place| place < 4).collect(), ..first };
    let gap = |lp: Vec<f32>| lp[4..].iter().sum::<f32>() / 12.0 - lp[..4].iter().sum::<f32>() / 4.0;
    let before = gap(lp(&trainer, &anomalous));
    (0..30).for_each(|_| drop(trainer.step(&anomalous, false)));
    assert!(gap(lp(&trainer, &anomalous)) > before + 0.05);
}

#[test]
fn a_constant_added_to_a_layer_moves_no_score_and_relative_likelihoods_end_at_one() {
    let maps = [normal(16, 0), normal(4, 1)];
    let sides = [4, 2];
    let sums = |shift: f32| {
        let maps: Vec<Vec<f32>> = maps.iter().map(|map| map.iter().map(|lp| lp + shift).collect()).collect();
        let largest = |map: &Vec<f32>| map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let maxima: Vec<f32> = maps.iter().map(largest).collect();
        let levels: Vec<(usize, &[f32])> = sides.into_iter().zip(&maps).map(|(side, map)| (side, &map[..])).collect();
        fused(&levels, &maxima, (8, 8))
    };
    let (plain, shifted) = (sums(0.0), sums(-3.0));
    assert!(plain.iter().zip(&shifted).all(|(a, b)| (a - b).abs() < 1e-5));
    assert!(plain.iter().all(|&sum| sum > 0.0 && sum <= 2.0));
    let beyond = fused(&[(1, &[5.0])], &[0.0], (2, 2));
    assert_eq!(beyond, [1.0; 4], "more likely than anything in training is as likely as can be");
}

#[test]
fn a_defect_between_the_corners_of_a_layers_places_is_seen_by_the_pooled_mask_alone() {
    let mask: Vec<bool> = (0..64).map(|place| place == 3 * 8 + 3).collect();
    assert!(level_mask(&mask, 8, 4, LevelMask::Nearest).iter().all(|set| !set));
    let pooled = level_mask(&mask, 8, 4, LevelMask::MaxPool);
    assert_eq!((0..16).filter(|&place| pooled[place]).collect::<Vec<_>>(), [5]);
}

#[test]
fn gradients_reach_every_part_of_a_flow_but_its_rotation() {
    let (trainer, [first, _]) = training(Adam::PerLevel);
    let gradients = trainer.loss(&first, true).1.backward();
    for name in trainer.parameters.learned_names().filter(|name| name.starts_with("level0.")) {
        let gradient = trainer.parameters.get(name).grad(&gradients).unwrap_or_else(|| panic!("{name}: none"));
        assert!(download(Tensor::<2>::from_inner(gradient)).iter().any(|&value| value != 0.0), "{name}");
    }
    assert!(!trainer.parameters.learns("level0.block0.rotation"));
}

#[test]
fn without_seen_anomalies_normal_images_are_all_that_is_learned_from() {
    let lab = Lab::new();
    let unseen = with(&study("bgad"), &[("protocol.seen.count", "0"), ("classes", "[\"wood\"]")]);
    let (experiment, summary) = lab.run("bgad", &unseen);
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    assert_eq!(experiment.runs[0].method.parameters["loss"]["engine"], "normals");
    let log = lab.results(&experiment).join("runs").join(&experiment.runs[0].spec.id).join("log.jsonl");
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(!log.contains("\"kind\":\"features\""), "features that nobody needs");
    assert!(log.contains("\"kind\":\"maxima\""));
}
