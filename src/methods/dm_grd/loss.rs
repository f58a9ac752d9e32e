//! DM-GRD's losses besides the distillation (docs/methods/dm_grd.md, Losses). Fused maps of a level are images × channels ×
//! rows × columns.

use burn::tensor::{Tensor, activation};

use super::memory::MemoryView;
use super::select::Selected;
use crate::error::{Error, Result};
use crate::train::{download, product, upload};

/// Beside norms of cosines.
const EPSILON: f64 = 1e-8;

/// Added to differences by PyTorch's triplet loss.
const TRIPLET_EPSILON: f64 = 1e-6;

fn flat(maps: Tensor<4>) -> Tensor<2> {
    let [images, channels, rows, columns] = maps.dims();
    maps.reshape([images, channels * rows * columns])
}

/// Lengths of rows, at least ε: rows × 1.
fn norm(rows: Tensor<2>) -> Tensor<2> {
    // Clamped before the root, whose slope at zero is none: spatial attention can drive a whole map to zero.
    (rows.clone() * rows).sum_dim(1).clamp_min(EPSILON * EPSILON).sqrt()
}

/// Cosines of the maps of each image, taken whole: images × 1.
pub fn whole_cosines(a: Tensor<4>, b: Tensor<4>) -> Tensor<2> {
    let (a, b) = (flat(a), flat(b));
    let [unit_a, unit_b] = [a, b].map(|rows| rows.clone() / norm(rows));
    (unit_a * unit_b).sum_dim(1)
}

/// How far cosines exceed the margin, the mean over images: 1 × 1.
pub fn contrast(cosines: Tensor<2>, margin: f64) -> Tensor<2> {
    activation::relu(cosines - margin).mean_dim(0)
}

/// Ours: whether the fused maps of an image, averaged over positions and brought to length one, are nearer to those of the
/// next image of the batch than to those against the abnormal memory, by a margin. The mean over images: 1 × 1.
pub fn fused_triplet(normal: Tensor<4>, abnormal: Tensor<4>, margin: f64) -> Tensor<2> {
    let unit = |maps: Tensor<4>| {
        let [images, channels, _, _] = maps.dims();
        let means = maps.mean_dim(3).mean_dim(2).reshape([images, channels]);
        means.clone() / norm(means)
    };
    let (anchor, negative) = (unit(normal), unit(abnormal));
    let images = anchor.dims()[0];
    let next = Tensor::cat(vec![anchor.clone().narrow(0, 1, images - 1), anchor.clone().narrow(0, 0, 1)], 0);
    let distance = |other: Tensor<2>| norm(anchor.clone() - other + TRIPLET_EPSILON);
    activation::relu(distance(next) - distance(negative) + margin).mean_dim(0)
}

/// The released triplet loss, of which nothing learns: for each image of a batch, whose place in it serves as the number of a
/// memory's image, the mean maps of both memories at the largest columns of its tables, which serve as channels. Summed up over
/// levels.
///
/// # Errors
/// A batch that is larger than a memory, or tables with more columns than a level has channels.
pub fn memory_triplet(
    memories: [&MemoryView; 2],
    normal: &[&Selected],
    abnormal: &[&Selected],
    levels: usize,
    margin: f64,
) -> Result<f64> {
    let [keys, others] = memories;
    let mut sum = 0.0;
    for level in 0..levels {
        let channels = keys.channels(level);
        let widest = normal.iter().chain(abnormal).flat_map(|selected| selected.top()).max().unwrap_or(0);
        if normal.len() > keys.images().min(others.images()) || widest >= channels {
            let what =
                "the released triplet loss takes images of a batch for images of a memory, and columns for channels";
            return Err(Error::method(
                what,
                "raise `method.memory.size` or lower it, or set `method.loss.triplet` to off",
            ));
        }
        let (own, other) = (keys.keys(level), others.keys(level));
        let of_image = |image: usize| {
            let pick = |keys: &[f32], selected: &Selected| -> Vec<f64> {
                let values = selected.top().into_iter().map(|column| f64::from(keys[image * channels + column]));
                unit(values.collect())
            };
            let anchor = pick(&own, normal[image]);
            let distance = |other: Vec<f64>| -> f64 {
                anchor.iter().zip(other).map(|(a, b)| (a - b + TRIPLET_EPSILON).powi(2)).sum::<f64>().sqrt()
            };
            let (positive, negative) = (distance(pick(&other, normal[image])), distance(pick(&other, abnormal[image])));
            (positive - negative + margin).max(0.0)
        };
        sum += (0..normal.len()).map(of_image).sum::<f64>() / normal.len() as f64;
    }
    Ok(sum)
}

fn unit(values: Vec<f64>) -> Vec<f64> {
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt().max(1e-12);
    values.into_iter().map(|value| value / norm).collect()
}

/// Blur that the transport ends at, the diameter that it starts from, and the factor between.
const BLUR: f64 = 0.05;
const DIAMETER: f64 = 1e7;
const SCALING: f64 = 0.95;

/// Squares of the blurs, from coarse to fine.
fn temperatures() -> Vec<f64> {
    let (from, to) = (2.0 * DIAMETER.ln(), 2.0 * BLUR.ln());
    let step = 2.0 * SCALING.ln();
    let count = ((to - from) / step).ceil() as usize;
    let between = (0..count).map(|number| (from + number as f64 * step).exp());
    std::iter::once(DIAMETER * DIAMETER).chain(between).chain([BLUR * BLUR]).collect()
}

/// Half squared distances of rows, a × b.
fn costs(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let square = |rows: &Tensor<2>| (rows.clone() * rows.clone()).sum_dim(1);
    let products = product(a.clone(), b.clone().transpose());
    (square(&a) + square(&b).transpose() - products * 2.0).clamp_min(0.0) * 0.5
}

/// −ε·log Σ_j exp(h_j − C_ij / ε), one for each row of the costs.
fn soft_minimum(temperature: f64, costs: &[f64], potentials: &[f64]) -> Vec<f64> {
    let row = |costs: &[f64]| {
        let terms: Vec<f64> = costs.iter().zip(potentials).map(|(cost, h)| h - cost / temperature).collect();
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        -temperature * (largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln())
    };
    costs.chunks_exact(potentials.len()).map(row).collect()
}

/// The same on the device with the gradient of the costs, the mean over rows: 1 × 1.
fn soft_minimum_mean(temperature: f64, costs: Tensor<2>, potentials: &[f64]) -> Tensor<2> {
    let values = potentials.iter().map(|&value| value as f32).collect();
    let potentials = upload(values, [1, potentials.len()], &costs.device());
    let terms = potentials - costs / temperature;
    let largest = terms.clone().detach().max_dim(1);
    let sums = (terms - largest.clone()).exp().sum_dim(1).log() + largest;
    (sums * -temperature).mean_dim(0)
}

/// Sinkhorn's divergence (Feydy et al. 2019) between the softmaxes of the maps of a batch and the same in another order, with
/// equal weights: 1 × 1. Potentials are found in f64 on the host, which waits for the costs; as in the released code's library only the last step has
/// a gradient.
pub fn transport(maps: Tensor<4>, order: &[usize]) -> Tensor<2> {
    let rows = activation::softmax(flat(maps), 1);
    let others = Tensor::cat(order.iter().map(|&row| rows.clone().narrow(0, row, 1)).collect(), 0);
    let fixed = |rows: &Tensor<2>| rows.clone().detach();
    // From rows to others, back, and of each among themselves.
    let pairs = [(&rows, &others), (&others, &rows), (&rows, &rows), (&others, &others)];
    let costs = pairs.map(|(from, to)| costs(from.clone(), fixed(to)));
    let values = costs.clone().map(|costs| download(costs).into_iter().map(f64::from).collect::<Vec<_>>());
    let weight = -(order.len() as f64).ln();
    let schedule = temperatures();
    // Each side's potential comes from that of the other side.
    let other = [1, 0, 2, 3];
    let step = |potentials: &[Vec<f64>; 4], temperature: f64| -> [Vec<f64>; 4] {
        std::array::from_fn(|side| {
            let shifted: Vec<f64> = potentials[other[side]].iter().map(|p| weight + p / temperature).collect();
            soft_minimum(temperature, &values[side], &shifted)
        })
    };
    let mut potentials = std::array::from_fn(|_| vec![0.0; order.len()]);
    potentials = step(&potentials, schedule[0]);
    for &temperature in &schedule {
        let next = step(&potentials, temperature);
        for (own, next) in potentials.iter_mut().zip(next) {
            own.iter_mut().zip(next).for_each(|(own, next)| *own = (*own + next) / 2.0);
        }
    }
    let last = BLUR * BLUR;
    let [there, back, own, theirs] = std::array::from_fn(|side| {
        let shifted: Vec<f64> = potentials[other[side]].iter().map(|p| weight + p / last).collect();
        soft_minimum_mean(last, costs[side].clone(), &shifted)
    });
    there - own + back - theirs
}
