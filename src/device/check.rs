//! Whether a device computes what the CPU computes, asked once before its first use.
//!
//! Owns: one small computation for each family of kernels that studies rely on, and how far apart two devices may be. A driver
//! that is wrong is wrong in one family, so each is named when it is refused. Does not own: families of other modules.

use burn::tensor::{Device, Tensor, TensorData};

use super::draws::normals;
use super::{
    Activation, ActivationGradient, apart, beside, column_means, is_cpu, leaky_relu, normalise, plus_row, product,
    times_row,
};
use crate::error::{Error, Result};
use crate::random::{Purpose, stream};

/// Kernels that are right or wrong together.
#[derive(Debug)]
pub struct Family {
    /// What it is called when it is refused.
    pub name: &'static str,
    /// Values that a device computes, always the same ones.
    pub run: fn(&Device) -> Vec<f32>,
    /// How far they may be from the CPU's, as a share of the largest of those.
    pub tolerance: f32,
}

/// The families of this module.
pub const FAMILIES: &[Family] = &[
    // A factor cut to ten bits would be off by 1e-3.
    Family { name: "matrix product", run: matrix_product, tolerance: 1e-5 },
    Family { name: "batch normalisation in training", run: training_step, tolerance: 1e-4 },
    Family { name: "normalised and rectified rows", run: descent, tolerance: 1e-4 },
    Family { name: "noise", run: noise, tolerance: 4e-7 },
];

/// Refuses `device`, called `name`, when one of `families` is not what the CPU computes.
///
/// # Errors
/// The first family that disagrees.
pub fn agree(name: &str, device: &Device, families: &[Family]) -> Result<()> {
    for family in families {
        let (ours, theirs) = ((family.run)(&Device::flex()), (family.run)(device));
        let scale = ours.iter().fold(1e-6f32, |most, value| most.max(value.abs()));
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        if ours.len() != theirs.len() || worst > family.tolerance * scale || !theirs.iter().all(|v| v.is_finite()) {
            let what = format!(
                "{name} computes other numbers than the CPU in {} (largest difference {worst} of {scale})",
                family.name
            );
            return Err(Error::device(what, "update its driver, or use --device cpu"));
        }
    }
    Ok(())
}

/// Normals of a stream of their own.
pub fn drawn<const D: usize>(index: u64, shape: [usize; D], std: f64, device: &Device) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    stream(0, Purpose::InitialWeights, index).fill_normal(&mut values, std);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Values on the host.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    plain(tensor).into_data().try_to_vec::<f32>().unwrap_or_default()
}

fn plain<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.device().is_autodiff() { tensor.inner() } else { tensor }
}

/// Neither side a multiple of anything.
fn matrix_product(device: &Device) -> Vec<f32> {
    let (a, b) = (drawn(0, [131, 301], 1.0, device), drawn(1, [97, 301], 1.0, device));
    values(product(a, b.transpose()))
}

/// Scores of a batched network with one output, and the gradients of its weights: the shape that GPU backends have got
/// wrong before.
fn training_step(device: &Device) -> Vec<f32> {
    let device = device.clone().autodiff();
    let x = drawn(0, [257, 48], 0.3, &device);
    let learned: Vec<Tensor<2>> = [[48, 64], [1, 64], [1, 64], [1, 64], [64, 1]]
        .into_iter()
        .enumerate()
        .map(|(index, shape)| drawn(1 + index as u64, shape, 0.3, &device).require_grad())
        .collect();
    let hidden = plus_row(product(x, learned[0].clone()), learned[1].clone());
    let normal = match is_cpu(&device) {
        true => {
            let centred = hidden.clone() - hidden.mean_dim(0);
            let root = ((centred.clone() * centred.clone()).mean_dim(0) + 1e-5).sqrt();
            centred / root * learned[2].clone() + learned[3].clone()
        }
        false => normalise(hidden, learned[2].clone(), learned[3].clone(), 1e-5).rows,
    };
    let scores = product(leaky_relu(times_row(normal, learned[3].clone()), 0.2), learned[4].clone());
    let gradients = column_means((scores.clone() * scores.clone()) + scores.clone()).backward();
    let mut out = values(scores);
    // What stands in front of a normalisation has no gradient but rounding.
    for weight in [0, 2, 3, 4] {
        out.extend(learned[weight].grad(&gradients).map(values).unwrap_or_default());
    }
    out
}

/// What DMAD's steps go back through by hand: rows side by side, with noise below them, normalised and rectified, and their gradients.
fn descent(device: &Device) -> Vec<f32> {
    let [first, second, noise] = [0, 1, 2].map(|index| drawn(index, [83, 7], 0.5, device));
    let rows = beside(&[first, second], Some(noise));
    let [weight, bias] = [3, 4].map(|index| drawn(index, [1, 14], 0.5, device));
    let activation = Activation::new(rows, weight, bias, 1e-5, 0.2);
    let mut out = values(activation.rows(Some(drawn(5, [166, 14], 0.5, device))));
    let ActivationGradient { x, weight, bias } = activation.gradient(drawn(6, [166, 14], 0.5, device));
    apart(x, 2, true).into_iter().chain([weight, bias]).for_each(|gradient| out.extend(values(gradient)));
    out
}

/// Of a count that fills no block of draws.
fn noise(device: &Device) -> Vec<f32> {
    values(normals(&mut stream(7, Purpose::FeatureNoise, 3), [61, 33], 1.0, device))
}
