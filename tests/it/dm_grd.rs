//! DM-GRD: what holds of its memories, its fusion and its losses whatever the numbers are.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use dmad::backbone::plan::Activation;
use dmad::backbone::resnet::Residual;
use dmad::methods::distillation::Design;
use dmad::methods::dm_grd::{
    Batch, FusionKind, FusionParams, MemoryView, Network, Params, Selected, Selection, Trainer, Transport, Triplet,
    contrast, fused_triplet, memory_triplet, select, transport, whole_cosines,
};
use dmad::plan::Level;
use dmad::random::{Purpose, stream};
use dmad::train::{BatchNormMode, Parameters, download, upload};

use crate::lab::{Lab, study, with};
use crate::util::without_waiting;

const IMAGES: usize = 3;
const MEMORY: usize = 6;

fn levels() -> Vec<Level> {
    vec![Level { side: 8, channels: 12 }, Level { side: 4, channels: 16 }]
}

fn network(kind: FusionKind) -> Network {
    Network::new(
        &FusionParams { kind, ..FusionParams::default() },
        Design { kind: Residual::Basic, levels: levels(), activation: Activation::Relu },
    )
}

/// Values as they come behind a ReLU.
fn positive(count: usize, index: u64) -> Vec<f32> {
    let mut values = vec![0.0; count];
    stream(3, Purpose::FeatureNoise, index).fill_normal(&mut values, 1.0);
    values.into_iter().map(|value| value.max(0.0)).collect()
}

fn maps(index: u64, device: &Device) -> Vec<Tensor<4>> {
    let of_level = |(number, level): (u64, Level)| {
        let values = positive(IMAGES * level.values(), 10 * index + number);
        upload(values, [IMAGES, level.channels, level.side, level.side], device)
    };
    (0..).zip(levels()).map(of_level).collect()
}

/// Maps of an image.
fn image(index: u64) -> Vec<Vec<f32>> {
    (0..).zip(levels()).map(|(number, level)| positive(level.values(), 1000 + 10 * index + number)).collect()
}

/// A memory of the images with these numbers: level by level, with its shape.
fn memory(images: &[u64]) -> Vec<(Vec<f32>, [usize; 4])> {
    let of_level = |(number, level): (usize, Level)| {
        let values = images.iter().flat_map(|&index| image(index)[number].clone()).collect();
        (values, [images.len(), level.channels, level.side, level.side])
    };
    levels().into_iter().enumerate().map(of_level).collect()
}

fn view(memory: &[(Vec<f32>, [usize; 4])]) -> MemoryView<'_> {
    MemoryView::new(memory.iter().map(|(values, shape)| (&values[..], &shape[..])).collect())
}

fn batch(triplet: Option<f64>, device: &Device) -> Batch {
    let (normal, abnormal) = (Some(maps(1, device)), Some(maps(2, device)));
    Batch { maps: maps(0, device), targets: None, normal, abnormal, triplet, order: vec![1, 2, 0] }
}

fn trainer(ot: Transport, triplet: Triplet, device: &Device) -> Trainer {
    let mut params = Params::default();
    params.memory.select = Selection::Code;
    (params.loss.ot, params.loss.triplet, params.loss.contrast_margin) = (ot, triplet, 0.0);
    let network = network(FusionKind::Msff);
    let mut parameters = network.initial(Some(0), device);
    // Non-local attention that acts, so that its parameters have a gradient too.
    for level in 1..=2 {
        let name = format!("msff.blk{level}.attn.W.1.weight");
        let width = parameters.get(&name).dims()[1];
        parameters.insert(&name, vec![0.5; width], [1, width], device);
    }
    Trainer::new(&params, network, parameters)
}

/// The gradients of the total loss by parameter.
fn gradients(trainer: &mut Trainer, batch: &Batch) -> BTreeMap<String, Vec<f32>> {
    let gradients = trainer.losses(batch).total.backward();
    let names: Vec<String> = trainer.parameters.learned_names().map(String::from).collect();
    let of_name = |name: String| {
        let gradient = trainer.parameters.get(&name).grad(&gradients)?;
        Some((name, download(Tensor::<2>::from_inner(gradient))))
    };
    names.into_iter().filter_map(of_name).collect()
}

fn norm<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    values.map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn difference(a: &BTreeMap<String, Vec<f32>>, b: &BTreeMap<String, Vec<f32>>) -> f64 {
    assert!(a.keys().eq(b.keys()));
    let pairs = a.values().flatten().zip(b.values().flatten());
    norm(pairs.map(|(a, b)| a - b).collect::<Vec<_>>().iter())
}

/// What `paper/dm_grd_gradients.md` is about: run with `--nocapture` to see the numbers.
#[test]
fn the_released_transport_and_triplet_pull_at_nothing_that_learns() {
    let device = Device::flex().autodiff();
    let all = |ot: Transport, triplet: Triplet, constant: Option<f64>| {
        let mut trainer = trainer(ot, triplet, &device);
        let batch = batch(constant, &device);
        (gradients(&mut trainer, &batch), trainer.losses(&batch))
    };
    let (without, _) = all(Transport::Off, Triplet::Off, None);
    let whole = norm(without.values().flatten());
    let (with_transport, losses) = all(Transport::Sinkhorn, Triplet::Off, None);
    let value = download(losses.transport.expect("a transport"))[0];
    let moved = difference(&without, &with_transport);
    println!("gradient of distillation and contrast {whole:.3e}");
    println!("transport: value {value:.1e}, moves it by {moved:.1e}");
    assert!(value.abs() < 1e-6 && moved < 1e-6 * whole);
    let (with_triplet, losses) = all(Transport::Off, Triplet::LogOnly, Some(2.5));
    let value = download(losses.triplet.expect("a triplet"))[0];
    println!("triplet of the memories: value {value}, moves it by {:.1e}", difference(&without, &with_triplet));
    assert_eq!(without, with_triplet, "a number has no gradient");
    let (with_margin, losses) = all(Transport::Off, Triplet::OnMsff, None);
    let (value, moved) = (download(losses.triplet.expect("a triplet"))[0], difference(&without, &with_margin));
    println!("triplet of fused maps (ours): value {value:.3}, moves it by {moved:.3e}");
    assert!(moved > 1e-3 * whole, "{moved:e} of {whole:e}");
}

#[test]
fn a_transport_to_other_maps_is_more_than_nothing() {
    let device = Device::flex();
    let level = levels()[0];
    let mut values = vec![0.0; IMAGES * level.values()];
    // Far apart: each image has one place that outweighs all others.
    (0..IMAGES).for_each(|image| values[image * level.values() + 7 * image] = 50.0);
    let maps: Tensor<4> = upload(values, [IMAGES, level.channels, level.side, level.side], &device);
    let same = download(transport(maps.clone(), &[2, 0, 1]))[0];
    let other = download(transport(maps, &[0, 0, 0]))[0];
    assert!(same.abs() < 1e-6 && other > 0.1, "{same:e} for an order, {other} for one image three times");
}

#[test]
fn the_released_triplet_is_the_same_number_whatever_is_learned() {
    let (normal, abnormal) = (memory(&[0, 1, 2, 3, 4, 5]), memory(&[6, 7, 8, 9, 10, 11]));
    let (normal, abnormal) = (view(&normal), view(&abnormal));
    let chosen = |memory: &MemoryView| -> Vec<Selected> {
        (0..IMAGES as u64).map(|own| select(Selection::Code, memory, &image(20 + own), &Device::flex())).collect()
    };
    let (own, others) = (chosen(&normal), chosen(&abnormal));
    let value = |own: &[Selected], others: &[Selected]| {
        let (own, others): (Vec<_>, Vec<_>) = (own.iter().collect(), others.iter().collect());
        memory_triplet([&normal, &abnormal], &own, &others, 2, 1.0)
    };
    let value_now = value(&own, &others).expect("a number");
    assert!((0.0..=6.0).contains(&value_now), "two levels, each at most margin and two");
    let large: Vec<Selected> = (0..MEMORY + 1).map(|_| own[0].clone()).collect();
    assert!(value(&large, &large).is_err(), "a batch of more images than a memory has");
}

#[test]
fn an_image_of_the_memory_finds_itself_and_the_released_rule_finds_the_last_rank_of_a_level() {
    let memory = memory(&[0, 1, 2, 3, 4, 5]);
    let memory = view(&memory);
    for own in 0..MEMORY as u64 {
        for rule in [Selection::NearestL2, Selection::NearestCos] {
            let selected = select(rule, &memory, &image(own), &Device::flex());
            assert_eq!(selected.image as u64, own, "{rule:?}");
            assert!(selected.table[selected.image].abs() < 1e-6);
        }
        let selected = select(Selection::Code, &memory, &image(own), &Device::flex());
        assert!(selected.table.len() == MEMORY && [2, 5].contains(&selected.image), "{}", selected.image);
    }
}

#[test]
fn fused_maps_that_vanish_leave_gradients_finite() {
    let device = Device::flex().autodiff();
    let zeros = || upload(vec![0.0; 2 * 12], [2, 3, 2, 2], &device).require_grad();
    let (own, other): (Tensor<4>, Tensor<4>) = (zeros(), zeros());
    let loss = contrast(whole_cosines(own.clone(), other.clone()), -0.5) + fused_triplet(own.clone(), other, 1.0);
    let gradient = own.grad(&loss.backward()).expect("a gradient");
    assert!(download(Tensor::<4>::from_inner(gradient)).iter().all(|value| value.is_finite()));
}

#[test]
fn a_scale_divides_maps_and_its_square_their_differences() {
    let device = Device::flex();
    let network = |scale: f64| {
        let design = Design { kind: Residual::Basic, levels: levels(), activation: Activation::Relu };
        Network::new(&FusionParams { scale, ..FusionParams::default() }, design)
    };
    let compare = |scale: f64| {
        let maps = network(scale).compared(&maps(0, &device), Some(&maps(1, &device)));
        let channels = levels()[0].channels;
        [0, channels].map(|first| download(maps[0].clone().narrow(1, first, channels)))
    };
    let ([maps, squares], [scaled_maps, scaled_squares]) = (compare(1.0), compare(4.0));
    assert!(maps.iter().zip(scaled_maps).all(|(own, scaled)| (own / 4.0 - scaled).abs() < 1e-6));
    assert!(squares.iter().zip(scaled_squares).all(|(own, scaled)| (own / 16.0 - scaled).abs() < 1e-6));
}

#[test]
fn at_the_start_every_place_attends_to_itself_alone() {
    let (device, network) = (Device::flex(), network(FusionKind::Msff));
    let mut parameters = network.initial(Some(0), &device);
    let x = Tensor::cat(vec![maps(0, &device)[0].clone(), maps(1, &device)[0].clone()], 1);
    let attended = network.fusion.attended(&mut parameters, 1, x.clone(), BatchNormMode::Evaluate);
    assert_eq!(download(attended), download(x));
}

#[test]
fn every_parameter_has_a_gradient_and_steps_lower_the_loss() {
    let device = Device::flex().autodiff();
    let mut trainer = trainer(Transport::Off, Triplet::Off, &device);
    let batch = batch(None, &device);
    let gradients = gradients(&mut trainer, &batch);
    let zero: Vec<&String> =
        gradients.iter().filter(|(_, values)| norm(values.iter()) == 0.0).map(|(n, _)| n).collect();
    assert_eq!(gradients.len(), trainer.parameters.learned_names().count());
    assert!(zero.is_empty(), "{zero:?}");
    trainer.set_learning_rate(1e-3);
    let losses: Vec<f64> = (0..30).map(|_| without_waiting(|| trainer.step(&batch)).value("distillation")).collect();
    assert!(losses[29] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn a_margin_on_fused_maps_is_learned_and_the_released_one_changes_nothing() {
    let device = Device::flex().autodiff();
    let after = |triplet: Triplet, constant: Option<f64>| {
        let mut trainer = trainer(Transport::Off, triplet, &device);
        trainer.set_learning_rate(1e-3);
        let batch = batch(constant, &device);
        let steps: Vec<BTreeMap<&str, f64>> = (0..30).map(|_| trainer.step(&batch).read()).collect();
        (steps[0].clone(), steps[29].clone())
    };
    let ((_, plain), (_, released)) = (after(Triplet::Off, None), after(Triplet::LogOnly, Some(2.5)));
    assert_eq!((plain["distillation"], plain["contrast"]), (released["distillation"], released["contrast"]));
    assert_eq!(released["triplet"], 2.5);
    let (first, last) = after(Triplet::OnMsff, None);
    assert!(last["triplet"] < 0.9 * first["triplet"], "{} to {}", first["triplet"], last["triplet"]);
}

fn parameters_of(kind: FusionKind) -> Parameters {
    network(kind).initial(Some(0), &Device::flex())
}

#[test]
fn sizes_that_are_foretold_are_those_there_are() {
    for kind in [FusionKind::Msff, FusionKind::Pointwise] {
        assert_eq!(network(kind).size(), parameters_of(kind).count(), "{kind:?}");
    }
}

#[test]
fn memories_are_parts_of_the_record_and_without_anomalies_nobody_asks_for_textures() {
    let lab = Lab::new();
    let text = with(&study("dm_grd"), &[("classes", "[\"wood\"]"), ("protocol.setting", "\"per_class\"")]);
    let stages = |name: &str, text: &str| -> Vec<serde_json::Value> {
        let (experiment, summary) = lab.run(name, text);
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        let log = lab.results(&experiment).join("runs").join(&experiment.runs[0].spec.id).join("log.jsonl");
        let log = std::fs::read_to_string(log).expect("a log");
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let memories = |stages: &[serde_json::Value]| stages.iter().filter(|stage| stage["kind"] == "memory").count();
    let both = stages("both", &text);
    assert_eq!(memories(&both), 2);
    assert!(both.iter().all(|stage| stage["kind"] != "features"), "features that nobody needs");
    let settings = [
        ("method.memory.abnormal", "false"),
        ("method.synthesis.probability", "0.0"),
        ("method.synthesis.dataset", "\"not_there\""),
    ];
    assert_eq!(memories(&stages("one", &with(&text, &settings))), 1);
}
