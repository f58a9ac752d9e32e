//! Dinomaly: what holds of its networks, its losses and its scores whatever the numbers are.

use burn::tensor::{Device, Tensor};
use dmad::maps::{Border, windowed};
use dmad::methods::dinomaly::{
    Attention, Design, Loss, Network, NetworkParams, Params, Trainer, attend, group_distance, mined, place_distances,
    threshold,
};
use dmad::random::{Purpose, stream};
use dmad::train::{Dropout, download, upload};

use crate::lab::{Lab, study, with};

/// Normally distributed values.
fn drawn<const D: usize>(number: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    stream(7, Purpose::FeatureNoise, number).fill_normal(&mut values, 1.0);
    upload(values, shape, device)
}

fn scalar(tensor: Tensor<2>) -> f64 {
    f64::from(download(tensor)[0])
}

fn far(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Queries, keys and values of two images, three heads, ten tokens.
fn parts(device: &Device) -> [Tensor<4>; 3] {
    [0, 1, 2].map(|number| drawn(number, [2, 3, 10, 4], device))
}

fn linear() -> NetworkParams {
    NetworkParams { head_width: 4, ..NetworkParams::default() }
}

#[test]
fn linear_attention_is_normalised_attention_with_positive_weights() {
    let device = Device::flex();
    let [query, key, value] = parts(&device);
    let found = download(attend(&linear(), [query.clone(), key.clone(), value.clone()], None));
    // The same by way of the square matrix: nothing is hidden.
    let seen = Tensor::ones([1, 1, 10, 10], &device);
    let square = download(attend(&linear(), [query.clone(), key.clone(), value.clone()], Some(seen)));
    assert!(far(&found, &square) < 1e-5);
    // Equal values come back, and keys that are there twice change nothing.
    let equal = attend(&linear(), [query.clone(), key.clone(), value.ones_like() * 0.7], None);
    assert!(download(equal).iter().all(|value| (value - 0.7).abs() < 1e-5));
    let twice = |x: &Tensor<4>| Tensor::cat(vec![x.clone(), x.clone()], 2);
    let doubled = download(attend(&linear(), [query, twice(&key), twice(&value)], None));
    assert!(far(&found, &doubled) < 1e-5);
}

#[test]
fn permuting_tokens_permutes_what_attention_finds() {
    let device = Device::flex();
    let turned = |x: &Tensor<4>| Tensor::cat(vec![x.clone().narrow(2, 3, 7), x.clone().narrow(2, 0, 3)], 2);
    for attention in [Attention::Linear, Attention::Softmax] {
        let params = NetworkParams { attention, ..linear() };
        let parts = parts(&device);
        let found = download(turned(&attend(&params, parts.clone(), None)));
        let other = download(attend(&params, parts.each_ref().map(turned), None));
        assert!(far(&found, &other) < 1e-5, "{attention:?}");
    }
}

const DESIGN: Design = Design { prefix: 3, side: 4, width: 16, layers: 4, groups: 2 };

fn params() -> Params {
    let network = NetworkParams { blocks: 4, head_width: 4, dropout: 0.0, ..NetworkParams::default() };
    Params { network, ..Params::default() }
}

/// Tokens of three images, two groups.
fn encoder(device: &Device) -> Vec<Tensor<2>> {
    [10, 11].map(|number| drawn(number, [3 * DESIGN.tokens(), DESIGN.width], device)).to_vec()
}

/// A trainer whose weights are large enough to matter.
fn trainer(params: &Params, device: &Device) -> Trainer {
    let network = Network::new(&params.network, &DESIGN);
    let mut parameters = network.parameters(None, device);
    let names: Vec<String> = parameters.learned_names().map(String::from).collect();
    for (number, name) in names.iter().enumerate() {
        let shape = parameters.get(name).dims();
        let values = download(drawn(100 + number as u64, shape, &Device::flex()) * 0.3);
        parameters.insert(name, values, shape, device);
    }
    Trainer::new(params, network, parameters)
}

#[test]
fn images_know_nothing_of_each_other() {
    let device = Device::flex();
    let (trainer, encoder) = (trainer(&params(), &device), encoder(&device));
    let network = Network::new(&params().network, &DESIGN);
    let all = network.forward(&trainer.parameters, &encoder, &mut Dropout::none());
    let second: Vec<Tensor<2>> =
        encoder.iter().map(|group| group.clone().narrow(0, DESIGN.tokens(), DESIGN.tokens())).collect();
    let alone = network.forward(&trainer.parameters, &second, &mut Dropout::none());
    for (all, alone) in all.into_iter().zip(alone) {
        let own = all.narrow(0, DESIGN.patches(), DESIGN.patches());
        assert!(far(&download(own), &download(alone)) < 1e-4);
    }
}

#[test]
fn the_decoders_late_blocks_stand_beside_the_encoders_early_layers() {
    let device = Device::flex();
    let (trainer, encoder) = (trainer(&params(), &device), encoder(&device));
    let network = Network::new(&params().network, &DESIGN);
    let found = network.forward(&trainer.parameters, &encoder, &mut Dropout::none());
    let mut x = network.bottleneck(&trainer.parameters, (encoder[0].clone() + encoder[1].clone()) / 2.0, |x| x);
    let mut outputs = Vec::new();
    for block in 0..4 {
        x = network.block(&trainer.parameters, block, x);
        outputs.push(network.patches(x.clone()));
    }
    let late = (outputs[3].clone() + outputs[2].clone()) / 2.0;
    assert!(far(&download(found[0].clone()), &download(late)) < 1e-5);
    let loss = |order: [usize; 2]| {
        let pairs = encoder.iter().zip(order);
        pairs.map(|(e, d)| scalar(group_distance(network.patches(e.clone()), found[d].clone(), 3))).sum::<f64>()
    };
    assert!((loss([0, 1]) - loss([1, 0])).abs() > 1e-3);
}

#[test]
fn losses_see_no_scale_and_lie_between_zero_and_two() {
    let device = Device::flex();
    let [e, d] = [0, 1].map(|number| drawn(number, [12, 6], &device));
    let plain = scalar(group_distance(e.clone(), d.clone(), 3));
    assert!((0.0..=2.0).contains(&plain));
    assert!((plain - scalar(group_distance(e.clone(), d.clone() * 7.5, 3))).abs() < 1e-6);
    assert!(scalar(group_distance(e.clone(), e.clone(), 3)).abs() < 1e-6);
    assert!((scalar(group_distance(e.clone(), -e.clone(), 3)) - 2.0).abs() < 1e-6);
    assert!(download(place_distances(e.clone(), e)).iter().all(|distance| distance.abs() < 1e-5));
}

#[test]
fn mining_scales_gradients_and_nothing_else() {
    let device = Device::flex().autodiff();
    let e = drawn(0, [100, 6], &device);
    let gradient = |share: f64, factor: f64| {
        let d = drawn(1, [100, 6], &device).require_grad();
        let loss = group_distance(e.clone(), mined(&e, d.clone(), share, factor), 4);
        let gradients = loss.backward();
        (scalar(loss), download(Tensor::<2>::from_inner(d.grad(&gradients).expect("a gradient"))))
    };
    let (loss, plain) = gradient(0.0, 0.1);
    for (share, factor) in [(0.9, 1.0), (0.45, 0.1), (0.9, 0.0)] {
        let (other, scaled) = gradient(share, factor);
        assert!((loss - other).abs() < 1e-6, "the loss has changed");
        let places = scaled.chunks(6).zip(plain.chunks(6));
        let factors: Vec<f32> = places.map(|(scaled, plain)| scaled[0] / plain[0]).collect();
        let small = factors.iter().filter(|&&own| (f64::from(own) - factor).abs() < 1e-5).count();
        let expected = if factor == 1.0 { 100 } else { 100 - Loss::kept(100, share) };
        assert_eq!(small, expected, "{share} {factor}");
        let whole = factors.iter().filter(|&&own| (own - 1.0).abs() < 1e-5).count();
        assert!(factor == 1.0 || small + whole == 100);
    }
    // What scale does not change has no slope along itself.
    let d = download(drawn(1, [100, 6], &Device::flex()));
    let along: f64 = d.iter().zip(&plain).map(|(a, b)| f64::from(a * b)).sum();
    assert!(along.abs() < 1e-6, "{along}");
}

#[test]
fn at_least_one_place_learns_fully_and_equal_ones_all_do() {
    let device = Device::flex();
    assert_eq!(
        [Loss::kept(100, 0.9), Loss::kept(12_544, 0.9), Loss::kept(5, 0.9), Loss::kept(7, 1.0)],
        [9, 1254, 1, 1]
    );
    let equal = upload(vec![0.25; 8], [8, 1], &device);
    assert_eq!(scalar(threshold(&equal, 0.9)), 0.25);
}

#[test]
fn the_first_step_moves_nothing_and_fills_the_moments() {
    let device = Device::flex().autodiff();
    let mut params = params();
    params.train.warmup = 3;
    let mut trainer = trainer(&params, &device);
    let encoder = encoder(&device);
    let name = "decoder.1.attn.qkv.weight";
    let before = download(trainer.parameters.get(name));
    trainer.step(&encoder, 0, Dropout::none());
    assert_eq!(download(trainer.parameters.get(name)), before);
    assert!(!trainer.optimizer().declarations("").is_empty());
    trainer.step(&encoder, 1, Dropout::none());
    assert_ne!(download(trainer.parameters.get(name)), before);
}

#[test]
fn a_fresh_decoder_learns() {
    let device = Device::flex().autodiff();
    let mut params = params();
    (params.train.warmup, params.train.epochs, params.train.steps, params.loss.warmup) = (2, 1, 60, 20);
    let network = Network::new(&params.network, &DESIGN);
    let parameters = network.parameters(Some(3), &device);
    let mut trainer = Trainer::new(&params, network, parameters);
    let encoder = encoder(&device);
    let losses: Vec<f64> = (0..60).map(|step| trainer.step(&encoder, step, Dropout::none()).value("loss")).collect();
    assert!(losses[59] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn initial_weights_are_normal_and_cut_at_three_deviations() {
    let params = NetworkParams { blocks: 2, head_width: 16, ..NetworkParams::default() };
    let network = Network::new(&params, &Design { width: 64, ..DESIGN });
    let parameters = network.parameters(Some(1), &Device::flex());
    let values = download(parameters.get("decoder.1.mlp.fc1.weight"));
    let deviation = (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
    assert!((deviation / 0.00987 - 1.0).abs() < 0.03, "{deviation}");
    let widest = values.iter().map(|value| value.abs()).fold(0.0, f32::max);
    assert!((0.025..=0.03001).contains(&widest), "{widest}");
    assert!(download(parameters.get("decoder.0.norm2.weight")).iter().all(|&value| value == 1.0));
}

#[test]
fn windows_keep_what_is_the_same_everywhere_but_for_edges_of_zeros() {
    let map = vec![0.5; 20 * 20];
    let zero = windowed(&map, (20, 20), 4.0, 5, Border::Zero);
    assert!((zero[10 * 20 + 10] - 0.5).abs() < 1e-6);
    assert!((zero[0] / 0.5 - 0.3676).abs() < 1e-4, "{}", zero[0]);
    let mirrored = windowed(&map, (20, 20), 4.0, 5, Border::Reflect);
    assert!(mirrored.iter().all(|value| (value - 0.5).abs() < 1e-6));
    // The outermost pixel is not there twice.
    let line = windowed(&[1.0, 0.0, 0.0, 0.0], (1, 4), 1e6, 3, Border::Reflect);
    assert!((line[0] - 1.0 / 3.0).abs() < 1e-5 && (line[1] - 1.0 / 3.0).abs() < 1e-5 && line[2].abs() < 1e-5);
}

/// Why a study is not begun, with what to do.
fn refusal(lab: &Lab, settings: &[(&str, &str)]) -> String {
    let text = with(&study("dinomaly"), settings);
    let Err(error) = lab.try_run("refused", &text) else { panic!("it is done") };
    format!("{error} {}", error.help().unwrap_or_default())
}

/// Settings, what is said of them, and what helps.
type Refused<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

#[test]
fn what_cannot_be_rebuilt_is_refused_with_what_to_do() {
    let lab = Lab::new();
    let cases: [Refused; 6] = [
        (&[("method.encoder.layers", "\"stack\"")], "one width and one grid", "concat"),
        (&[("method.network.groups", "2")], "1 layers cannot be divided into 2", "network.groups"),
        (&[("method.network.blocks", "3"), ("method.network.groups", "2")], "3 blocks cannot", "network.groups"),
        (&[("method.network.head_width", "50")], "heads of 50", "divisor"),
        (&[("method.train.batch", "9")], "8 training images do not fill a batch of 9", "train.batch"),
        (&[("method.score.kernel", "4")], "no centre", "odd"),
    ];
    for (settings, what, help) in cases {
        let fault = refusal(&lab, settings);
        assert!(fault.contains(what) && fault.contains(help), "{fault}");
    }
    let hidden = refusal(&lab, &[("method.network.neighbour_mask", "17")]);
    assert!(hidden.contains("hides all tokens"), "{hidden}");
}
