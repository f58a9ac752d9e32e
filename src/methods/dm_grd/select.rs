//! Which image of a memory an image is compared with (docs/methods/dm_grd.md, Memories).

use burn::tensor::{Device, Tensor, activation};
use rayon::prelude::*;

use super::memory::MemoryView;
use super::params::Selection;
use crate::methods::distillation::Maps;
use crate::train::{download, product, upload};

/// Columns whose numbers the released triplet loss takes for channels.
const TOP: usize = 3;

/// Beside norms, as PyTorch's cosine similarity has it.
const EPSILON: f64 = 1e-8;

/// What a rule says of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// Number of the memory's image.
    pub image: usize,
    /// Distances to the memory's images; with the released code's rule the values of its table, levels by ranks.
    pub table: Vec<f32>,
}

impl Selected {
    /// The largest columns of the table, the largest one first.
    pub fn top(&self) -> Vec<usize> {
        let mut columns: Vec<usize> = (0..self.table.len()).collect();
        columns.sort_by(|&a, &b| self.table[b].total_cmp(&self.table[a]));
        columns.truncate(TOP);
        columns
    }
}

/// Chooses an image of the memory for an image with these maps.
pub fn select(rule: Selection, memory: &MemoryView, maps: &Maps, device: &Device) -> Selected {
    let table = match rule {
        Selection::NearestL2 => distances(memory, maps, squared_difference),
        Selection::NearestCos => distances(memory, maps, cosine_distance),
        Selection::Code => code_table(memory, maps, device),
    };
    let mut image = 0;
    for (number, value) in table.iter().enumerate() {
        image = if *value < table[image] { number } else { image };
    }
    Selected { image, table }
}

/// A distance to every image of a memory, summed up over levels.
fn distances(memory: &MemoryView, maps: &Maps, of_level: fn(&[f32], &[f32]) -> f64) -> Vec<f32> {
    let distance = |image: usize| {
        let levels = maps.iter().enumerate();
        levels.map(|(level, own)| of_level(own, memory.maps(level, image))).sum::<f64>() as f32
    };
    (0..memory.images()).into_par_iter().map(distance).collect()
}

/// Sums of products and squares in lanes, so that the compiler uses vectors and the order is always the same.
fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += term(f64::from(a[lane]), f64::from(b[lane]));
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(&a, &b)| term(f64::from(a), f64::from(b)));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

fn squared_difference(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| (a - b) * (a - b)) / a.len() as f64
}

fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |values: &[f32]| sum(values, values, |a, b| a * b).sqrt().max(EPSILON);
    1.0 - sum(a, b, |a, b| a * b) / (norm(a) * norm(b))
}

/// The released code's table. At every position of a level the mean maps of the memory's images are mixed by the softmax of
/// their cosines with the image; the largest channels of the mixture, as many as a third of the images, are averaged rank by
/// rank over positions. The ranks of the levels are its columns.
fn code_table(memory: &MemoryView, maps: &Maps, device: &Device) -> Vec<f32> {
    let ranks = memory.images() / maps.len();
    let mut table = Vec::with_capacity(ranks * maps.len());
    for (level, own) in maps.iter().enumerate() {
        let (images, channels) = (memory.images(), memory.channels(level));
        let positions = own.len() / channels;
        let own = upload(own.clone(), [channels, positions], device);
        let keys = upload(memory.keys(level), [images, channels], device);
        let norm = |x: Tensor<2>, dim: usize| (x.clone() * x).sum_dim(dim).sqrt().clamp_min(EPSILON);
        let cosines = product(keys.clone() / norm(keys.clone(), 1), own.clone() / norm(own, 0));
        let mixture = product(keys.transpose(), activation::softmax(cosines, 0));
        table.extend(ranked_means(&download(mixture.transpose()), channels, ranks));
    }
    table
}

/// Means over rows of the largest values of each, rank by rank.
fn ranked_means(rows: &[f32], columns: usize, ranks: usize) -> Vec<f32> {
    let mut sums = vec![0.0; ranks];
    for row in rows.chunks_exact(columns) {
        let mut sorted = row.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        sums.iter_mut().zip(sorted).for_each(|(sum, value)| *sum += f64::from(value));
    }
    sums.into_iter().map(|sum| (sum / (rows.len() / columns) as f64) as f32).collect()
}
