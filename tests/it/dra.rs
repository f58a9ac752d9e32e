//! DRA: what holds of its network and its loss whatever the numbers are.

use burn::tensor::{Device, Tensor};
use dmad::backbone::Architecture;
use dmad::methods::dra::{Batch, Label, Network, Params, Prior, Trainer};
use dmad::train::{BatchNormMode, Parameters, download, upload};

use crate::lab::{Lab, study, with};

const SIDE: usize = 64;
const EXACT: Prior = Prior { mean: 0.0, deviation: 1.0 };

fn network(params: &Params) -> Network {
    let architecture = Architecture::find("efficientnet_lite0").expect("known");
    Network::new(&params.network, architecture, &architecture.taps(&["stride8".into()]).expect("a tap"))
}

/// Small weights everywhere, statistics that normalise.
fn parameters(params: &Params, device: &Device) -> Parameters {
    let mut parameters = network(params).initial(None, 0, device);
    let names: Vec<String> =
        parameters.learned_names().filter(|name| name.starts_with("trunk.")).map(String::from).collect();
    for (index, name) in names.iter().enumerate() {
        let shape = parameters.get(name).dims();
        let values = (0..shape[0] * shape[1]).map(|value| ((value * 31 + index * 7) % 13) as f32 / 13.0 - 0.3);
        parameters.insert(name, values.collect(), shape, device);
    }
    parameters
}

fn images(count: usize, device: &Device) -> Tensor<4> {
    let values = (0..count * 3 * SIDE * SIDE).map(|value| ((value * 7919) % 1009) as f32 / 504.0 - 1.0).collect();
    upload(values, [count, 3, SIDE, SIDE], device)
}

#[test]
fn an_image_that_is_the_mean_of_the_references_has_the_residual_of_every_such_image() {
    let (params, device) = (Params::default(), Device::flex());
    let (network, mut parameters) = (network(&params), parameters(&params, &device));
    let features = network.features(&mut parameters, images(2, &device), BatchNormMode::Evaluate);
    let heads = network.heads(&mut parameters, features.clone(), features.clone(), BatchNormMode::Evaluate);
    let same = download(heads.scores[3].clone());
    assert!((same[0] - same[1]).abs() <= 1e-6 * same[0].abs(), "{same:?}");
    let other = network.heads(&mut parameters, features.clone(), features * 2.0, BatchNormMode::Evaluate);
    assert!((download(other.scores[3].clone())[0] - same[0]).abs() > 1e-6);
}

#[test]
fn heads_learn_nothing_from_images_that_they_are_not_asked_about() {
    let (params, device) = (Params::default(), Device::flex().autodiff());
    let gradients = |label: Label| {
        let mut trainer = Trainer::new(&params, network(&params), parameters(&params, &device), true);
        let average = upload(vec![1.0; 2], [2, 1], &device);
        let batch = Batch { scales: vec![images(3, &device)], labels: vec![label; 2], average };
        let heads = trainer.heads(&batch);
        let losses = trainer.losses(&heads, &batch.labels, [EXACT; 4]);
        let gradients = Tensor::cat(losses.to_vec(), 0).sum_dim(0).backward();
        let norm = |name: &str| {
            let gradient = trainer.parameters.get(name).grad(&gradients);
            gradient.map_or(0.0, |gradient| download(Tensor::<2>::from_inner(gradient)).iter().map(|v| v.abs()).sum())
        };
        ["seen.scoring.weight", "pseudo.scoring.weight", "composite.scoring.weight"].map(norm)
    };
    let [seen, pseudo, residual]: [f32; 3] = gradients(Label::Pseudo);
    assert!(seen == 0.0 && pseudo > 0.0 && residual > 0.0);
    let [seen, pseudo, residual] = gradients(Label::Seen);
    assert!(seen > 0.0 && pseudo == 0.0 && residual > 0.0);
}

#[test]
fn clipped_gradients_have_the_norm_that_is_asked_for() {
    let (params, device) = (Params::default(), Device::flex().autodiff());
    let trainer = Trainer::new(&params, network(&params), parameters(&params, &device), true);
    let square = trainer.parameters.learned_names().map(|name| {
        let value = trainer.parameters.get(name) + 1.0;
        (value.clone() * value).sum_dim(1).sum_dim(0)
    });
    let mut gradients = square.reduce(|a, b| a + b).expect("parameters").backward();
    let mut norm = |limit| {
        let norm = dmad::train::clip_gradients(&trainer.parameters, &mut gradients, limit).expect("gradients");
        download(norm)[0]
    };
    let norms = [norm(1.0), norm(0.0)];
    assert!(norms[0] > 1.0 && norms[1] <= 1.0 + 1e-4, "{norms:?}");
}

#[test]
fn frozen_blocks_stay_as_they_are_and_the_others_move() {
    let (mut params, device) = (Params::default(), Device::flex().autodiff());
    params.network.frozen_blocks = 2;
    let mut trainer = Trainer::new(&params, network(&params), parameters(&params, &device), true);
    let before = trainer.parameters.clone();
    let average = upload(vec![1.0; 2], [2, 1], &device);
    let batch = Batch { scales: vec![images(3, &device)], labels: vec![Label::Normal, Label::Seen], average };
    trainer.step(&batch, [EXACT; 4]);
    let moved = |name: &str| download(before.get(name)) != download(trainer.parameters.get(name));
    for frozen in ["_conv_stem.weight", "_bn0.running_mean", "_blocks.1._bn1.running_var", "_blocks.1._bn1.weight"] {
        assert!(!moved(&format!("trunk.{frozen}")), "{frozen}");
    }
    for learned in ["_blocks.2._bn1.running_var", "_blocks.4._project_conv.weight"] {
        assert!(moved(&format!("trunk.{learned}")), "{learned}");
    }
}

#[test]
fn without_a_map_pixel_metrics_are_undefined_and_say_why_and_the_spread_over_references_is_noted() {
    let lab = Lab::new();
    let (experiment, summary) = lab.run("dra", &with(&study("dra"), &[("classes", "[\"wood\"]")]));
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let recorded = lab.recorded(&experiment);
    let of =
        |metric: &str| recorded.metrics.iter().find(|row| row.metric == metric && row.class == "wood").expect("a row");
    assert!(of("image_auroc").value.is_some());
    assert!(of("pixel_auroc").value.is_none() && of("pixel_pro").value.is_none());
    let mean = recorded.metrics.iter().find(|row| row.metric == "pixel_auroc" && row.class == "mean").expect("a row");
    assert!(
        !mean.error.is_empty() && mean.error == of("pixel_auroc").error,
        "the reason of all classes: {}",
        mean.error
    );
    let log = lab.results(&experiment).join("runs").join(&experiment.runs[0].spec.id).join("log.jsonl");
    let log = std::fs::read_to_string(log).expect("a log");
    let stages: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(stages.iter().all(|stage| stage["kind"] != "features"), "features that nobody needs");
    let scores = stages.iter().find(|stage| stage["kind"] == "scores").expect("scores");
    assert!(scores["note"]["spread_over_draws"].as_f64().is_some_and(|spread| spread > 0.0), "{scores}");
}
