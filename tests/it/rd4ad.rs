//! RD4AD: what holds of its networks, its losses and its scores whatever the numbers are.

use burn::tensor::{Device, Tensor};
use dmad::backbone::plan::Activation;
use dmad::backbone::resnet::Residual;
use dmad::maps::{enlarged_sum, gaussian};
use dmad::methods::distillation::{Bottleneck, Design, Student, cosine_maps, flat_distance, place_distance};
use dmad::methods::rd4ad::{Cosine, Params, Trainer};
use dmad::plan::Level;
use dmad::random::{Purpose, stream};
use dmad::train::{BatchNormMode, Parameters, download, upload};

use crate::lab::{Lab, study, with};

/// Beside a small teacher with three levels.
fn design(kind: Residual, activation: Activation) -> Design {
    let level = |(side, channels)| Level { side, channels };
    Design { kind, levels: [(16, 8), (8, 16), (4, 32)].map(level).to_vec(), activation }
}

/// Maps of normally distributed values.
fn maps(design: &Design, images: usize, number: u64, device: &Device) -> Vec<Tensor<4>> {
    let of_level = |(level, index): (&Level, u64)| {
        let mut values = vec![0.0; images * level.values()];
        stream(7, Purpose::FeatureNoise, 10 * number + index).fill_normal(&mut values, 1.0);
        upload(values, [images, level.channels, level.side, level.side], device)
    };
    design.levels.iter().zip(0..).map(of_level).collect()
}

fn scalar(tensor: Tensor<2>) -> f64 {
    f64::from(download(tensor)[0])
}

fn largest(values: impl IntoIterator<Item = f32>) -> f32 {
    values.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

type Distance = fn(Tensor<4>, Tensor<4>) -> Tensor<2>;

#[test]
fn equal_maps_are_at_zero_opposite_ones_at_two_and_scale_does_not_count() {
    let (design, device) = (design(Residual::Basic, Activation::None), Device::flex());
    let (teacher, student) = (maps(&design, 3, 0, &device), maps(&design, 3, 1, &device));
    for distance in [flat_distance as Distance, place_distance] {
        let sum = |other: &dyn Fn(&Tensor<4>, &Tensor<4>) -> Tensor<4>| -> f64 {
            let pairs = teacher.iter().zip(&student);
            pairs.map(|(t, s)| scalar(distance(t.clone(), other(t, s)))).sum()
        };
        assert!(sum(&|t, _| t.clone()).abs() < 1e-5);
        assert!((sum(&|t, _| -t.clone()) - 6.0).abs() < 1e-5);
        let (plain, scaled) = (sum(&|_, s| s.clone()), sum(&|_, s| s.clone() * 37.5));
        assert!((plain - scaled).abs() < 1e-5, "{plain} and {scaled}");
    }
    for (t, s) in teacher.iter().zip(&student) {
        let equal = download(cosine_maps(t.clone(), t.clone()));
        assert!(equal.iter().all(|value| value.abs() < 1e-5));
        assert!(download(cosine_maps(t.clone(), s.clone())).iter().all(|value| (0.0..=2.0).contains(value)));
    }
    let nothing = Tensor::zeros([1, 8, 4, 4], &device);
    assert_eq!(download(cosine_maps(nothing.clone(), nothing)), [1.0; 16], "no direction is no agreement");
}

#[test]
fn maps_of_nothing_have_no_gradient_instead_of_an_infinite_one() {
    let device = Device::flex().autodiff();
    let student = Tensor::<4>::zeros([1, 4, 2, 2], &device).require_grad();
    let teacher = Tensor::<4>::ones([1, 4, 2, 2], &device);
    for distance in [flat_distance as Distance, place_distance] {
        let gradients = distance(teacher.clone(), student.clone()).backward();
        let gradient = student.grad(&gradients).expect("a gradient");
        assert!(download(Tensor::<4>::from_inner(gradient)).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn students_make_maps_like_the_teachers_whatever_its_blocks_are() {
    let device = Device::flex();
    for kind in [Residual::Basic, Residual::WideBottleneck] {
        for activation in [Activation::Relu, Activation::None] {
            let design = design(kind, activation);
            let (mut parameters, teacher) = (design.parameters(Some(0), &device), maps(&design, 2, 0, &device));
            let code = Bottleneck::new(&design).forward(&mut parameters, &teacher, BatchNormMode::Train);
            assert_eq!(code.dims(), [2, 64, 2, 2]);
            let student = Student::new(&design).forward(&mut parameters, code, BatchNormMode::Train);
            for (t, s) in teacher.iter().zip(student) {
                assert_eq!(t.dims(), s.dims());
                let lowest = -largest(download(-s));
                assert_eq!(lowest < 0.0, activation == Activation::None, "{kind:?} {activation:?}: {lowest}");
            }
            assert_eq!(parameters.count(), design.size());
        }
    }
}

#[test]
fn fresh_networks_are_drawn_as_the_library_draws_them() {
    let design = design(Residual::Basic, Activation::Relu);
    let parameters = design.parameters(Some(3), &Device::flex());
    let deviation = |name: &str| {
        let values = download(parameters.get(name));
        (values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    };
    // 3 × 3 with 64 outputs: normal; transposed 2 × 2 with 32 outputs: uniform, whose deviation is its bound over √3.
    let normal = (2.0f64 / (64.0 * 9.0)).sqrt();
    assert!((deviation("bottleneck.bn_layer.0.conv1.weight") / normal - 1.0).abs() < 0.03);
    let (uniform, bound) = (deviation("student.layer1.0.conv1.weight"), 1.0 / 128f64.sqrt());
    assert!((uniform * 3f64.sqrt() / bound - 1.0).abs() < 0.03);
    let widest = largest(download(parameters.get("student.layer1.0.conv1.weight").abs()));
    assert!(f64::from(widest) <= bound);
}

#[test]
fn a_fresh_student_is_far_away_and_learns() {
    let (design, device) = (design(Residual::Basic, Activation::None), Device::flex().autodiff());
    for cosine in [Cosine::Flatten, Cosine::PerLocation] {
        let mut params = Params::default();
        params.loss.cosine = cosine;
        let mut trainer = Trainer::new(&params, &design, design.parameters(Some(0), &device));
        let teacher = maps(&design, 4, 0, &device);
        let losses: Vec<f64> = (0..30).map(|_| trainer.step(&teacher).value("loss")).collect();
        assert!((1.5..=3.3).contains(&losses[0]), "{}", losses[0]);
        assert!(losses[29] < 0.6 * losses[0], "{losses:?}");
    }
}

#[test]
fn gradients_reach_every_parameter_unless_its_levels_do_not_count() {
    let (design, device) = (design(Residual::WideBottleneck, Activation::Relu), Device::flex().autodiff());
    let moved = |params: &Params, name: &dyn Fn(&str) -> bool| {
        let mut trainer = Trainer::new(params, &design, design.parameters(Some(0), &device));
        let (loss, _) = trainer.loss(&maps(&design, 2, 0, &device));
        let gradients = loss.backward();
        let norm = |parameters: &Parameters, name: &str| {
            let gradient = parameters.get(name).grad(&gradients);
            gradient.map_or(0.0, |g| largest(download(Tensor::<2>::from_inner(g).abs())))
        };
        let names: Vec<&str> = trainer.parameters.learned_names().filter(|known| name(known)).collect();
        assert!(!names.is_empty());
        names.into_iter().map(|name| norm(&trainer.parameters, name) > 0.0).collect::<Vec<_>>()
    };
    assert!(moved(&Params::default(), &|_| true).into_iter().all(|moved| moved));
    let mut deepest = Params::default();
    deepest.loss.level_weights = vec![0.0, 0.0, 1.0];
    let behind = |name: &str| name.starts_with("student.layer2") || name.starts_with("student.layer3");
    assert!(moved(&deepest, &behind).into_iter().all(|moved| !moved));
    assert!(moved(&deepest, &|name| !behind(name)).into_iter().all(|moved| moved));
}

#[test]
fn learning_rates_fall_once_where_they_are_told_to() {
    let mut train = Params::default().train;
    assert!((0..200).all(|epoch| train.learning_rate(epoch) == 0.005));
    (train.epochs, train.lr_decay_at) = (100, 0.8);
    assert_eq!([79, 80, 99].map(|epoch| train.learning_rate(epoch)), [0.005, 0.0005, 0.0005]);
}

#[test]
fn maps_keep_corners_and_what_is_the_same_everywhere() {
    let map: Vec<f32> = (0..16).map(|place| place as f32).collect();
    let wide = enlarged_sum(&[(4, map), (2, vec![0.5; 4])], (64, 64), true);
    assert_eq!([wide[0], wide[63], wide[63 * 64], wide[64 * 64 - 1]], [0.5, 3.5, 12.5, 15.5]);
    let smooth = gaussian(&[0.3; 64 * 64], (64, 64), 4.0);
    assert!(smooth.iter().all(|value| (value - 0.3).abs() < 1e-6));
}

/// Why a study is not begun, with what to do.
fn refusal(lab: &Lab, text: &str) -> String {
    let Err(error) = lab.try_run("refused", text) else { panic!("it is done") };
    format!("{error} {}", error.help().unwrap_or_default())
}

#[test]
fn layers_that_are_not_one_halving_apart_are_refused_with_what_to_do() {
    let lab = Lab::new();
    for (layers, size) in [("[\"stride4\", \"stride16\"]", "64"), ("[\"stride8\", \"stride16\"]", "48")] {
        let text = with(&study("rd4ad"), &[("backbone.layers", layers), ("image.size", size)]);
        let fault = refusal(&lab, &text);
        assert!(fault.contains("half of the one before") && fault.contains("backbone.layers"), "{fault}");
    }
    let text = with(&study("rd4ad"), &[("method.loss.level_weights", "[1.0, 1.0, 1.0]")]);
    let fault = refusal(&lab, &text);
    assert!(fault.contains("3 weights for 2 levels"), "{fault}");
}
