//! t-SNE of rows: their exact neighbours, Barnes–Hut gradients (crate `bhtsne`), and their first two principal components as the
//! start, which keeps what is far apart far apart.

use bhtsne::{Neighbor, tSNE};

use super::divergence::divergence;
use super::pca::principal_components;
use crate::bank::neighbours::k_nearest;
use crate::error::{Error, Result};
use crate::matrix::Rows;
use crate::random::{Purpose, stream};

/// Principal components that the descent starts from.
const COMPONENTS: usize = 2;

/// Accuracy of Barnes–Hut: cells smaller than this share of their distance count as one point.
const THETA: f64 = 0.5;

/// Standard deviation of the first component at the start.
const START: f64 = 1e-4;

/// Share of a step that the next one keeps.
const MOMENTUM: f64 = 0.8;

/// Affinities are so many times as large in the first quarter of the descent.
const EXAGGERATION: f64 = 12.0;

/// How rows are embedded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Effective number of neighbours; lowered to a third of the rows where there are few.
    pub perplexity: f64,
    /// Steps of gradient descent, the first quarter with exaggerated affinities.
    pub epochs: usize,
    /// Where the search for principal components starts.
    pub seed: u64,
}

/// Points of a plane.
#[derive(Debug)]
pub struct Embedded {
    /// x and y of each row.
    pub points: Vec<[f32; 2]>,
    /// Kullback–Leibler divergence of the plane's neighbourhoods from the rows'.
    pub divergence: f64,
    /// Share of the variance that the two components of the start hold.
    pub explained: f64,
    /// The perplexity that was used.
    pub perplexity: f64,
}

/// Embeds `rows`. The descent runs in a thread pool of one, since its sums would depend on how many share them.
///
/// # Errors
/// Fewer than ten rows, or rows that are not finite.
pub fn tsne(rows: Rows, wanted: &Hyperparameters, progress: &dyn Fn(usize, usize)) -> Result<Embedded> {
    let count = rows.len();
    if count < 10 {
        let what = format!("t-SNE of {count} rows shows nothing");
        return Err(Error::method(what, "embed ten rows or more"));
    }
    let reduced = principal_components(rows, COMPONENTS, wanted.seed);
    let perplexity = wanted.perplexity.min((count - 1) as f64 / 3.0);
    let neighbours = neighbours(rows, (3.0 * perplexity) as usize)?;
    let start = start(reduced.rows.view(), wanted.seed);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|fault| {
        Error::method(format!("no thread can be started for t-SNE ({fault})"), "free some of the machine's threads")
    })?;
    let exaggerated = wanted.epochs / 4;
    // The number of rows is all that is read of the data where neighbours are given.
    let numbers: Vec<usize> = (0..count).collect();
    let steepest = (2 * count) as f64;
    let descend = |start: Vec<f64>, epochs: usize, exaggeration: f64, rate: f64| {
        let mut descent: tSNE<f64, usize> = tSNE::new(&numbers);
        descent
            .perplexity(perplexity)
            .epochs(epochs)
            .early_exaggeration(exaggeration)
            .stop_lying_epoch(if exaggeration > 1.0 { epochs + 1 } else { 0 })
            .momentum(MOMENTUM)
            .final_momentum(MOMENTUM)
            .learning_rate(rate)
            .initial_embedding(start)
            .barnes_hut_with_neighbors(THETA, &neighbours);
        descent.embedding()
    };
    progress(0, wanted.epochs);
    let positions = pool.install(|| {
        // Steps suit so many points (Belkina et al. 2019, doi:10.1038/s41467-019-13055-y), in either part of the descent.
        let rate = (count as f64 / EXAGGERATION).max(50.0);
        let begun = if exaggerated > 0 { descend(start, exaggerated, EXAGGERATION, rate) } else { start };
        descend(begun, wanted.epochs - exaggerated, 1.0, steepest.max(50.0))
    });
    progress(wanted.epochs, wanted.epochs);
    let points: Vec<[f32; 2]> = positions.chunks_exact(2).map(|p| [p[0] as f32, p[1] as f32]).collect();
    if points.iter().flatten().any(|value| !value.is_finite()) {
        return Err(Error::method("t-SNE has diverged", "lower `epochs` or `perplexity` of the figure"));
    }
    let places: Vec<[f64; 2]> = positions.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
    let lists: Vec<Vec<(usize, f64)>> =
        neighbours.iter().map(|list| list.iter().map(|n| (n.index, n.distance)).collect()).collect();
    Ok(Embedded {
        points,
        divergence: divergence(&places, &lists, perplexity),
        explained: reduced.explained,
        perplexity,
    })
}

/// Where the descent starts: the components at a small scale, and far less noise, which parts rows that are the same.
fn start(components: Rows, seed: u64) -> Vec<f64> {
    let mut noise = vec![0.0f32; 2 * components.len()];
    stream(seed, Purpose::Embedding, 0).fill_normal(&mut noise, START / 100.0);
    let first = |row: usize| f64::from(components.row(row)[0]);
    let deviation = ((0..components.len()).map(|row| first(row).powi(2)).sum::<f64>() / components.len() as f64).sqrt();
    let scale = if deviation > 0.0 { START / deviation } else { 0.0 };
    let place = |(number, noise): (usize, f32)| {
        let component = components.row(number / 2).get(number % 2).copied().unwrap_or(0.0);
        f64::from(component) * scale + f64::from(noise)
    };
    noise.into_iter().enumerate().map(place).collect()
}

/// The `wanted` nearest other rows of each row, nearest first. Affinities do not change when a constant is taken from all squared
/// distances of a row, or when all are scaled, so they are told as what they exceed the nearest by: where distances are large and
/// alike, as in many dimensions, exponentials of the distances themselves would all be 0.
fn neighbours(rows: Rows, wanted: usize) -> Result<Vec<Vec<Neighbor<f64>>>> {
    let wanted = wanted.clamp(1, rows.len() - 1);
    let found = k_nearest(rows, rows, wanted + 1)?;
    let lists = found.index.chunks_exact(wanted + 1).zip(found.distance.chunks_exact(wanted + 1));
    let lists = lists.enumerate().map(|(own, (index, distance))| {
        let others = index.iter().zip(distance).filter(|(index, _)| **index as usize != own).take(wanted);
        let others: Vec<(usize, f64)> = others.map(|(&row, &far)| (row as usize, f64::from(far).powi(2))).collect();
        let least = others.first().map_or(0.0, |(_, squared)| *squared);
        others.into_iter().map(|(row, squared)| (row, squared - least)).collect::<Vec<_>>()
    });
    let lists: Vec<Vec<(usize, f64)>> = lists.collect();
    let mean = lists.iter().flatten().map(|(_, excess)| excess).sum::<f64>() / (rows.len() * wanted) as f64;
    let scale = if mean > 0.0 { mean } else { 1.0 };
    let neighbour = |(index, excess): (usize, f64)| Neighbor { index, distance: (excess / scale).max(0.0).sqrt() };
    Ok(lists.into_iter().map(|list| list.into_iter().map(neighbour).collect()).collect())
}
