//! The deviation loss (Pang et al. 2019; DRA's Eq. 11).

use burn::tensor::{Tensor, activation};

use crate::random::{Purpose, stream};
use crate::train::upload;

/// Mean and standard deviation of the prior's scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, n − 1.
    pub deviation: f64,
}

impl Prior {
    /// Mean and deviation of so many draws of N(0, 1), the `number`-th time; of fewer than two, 0 and 1 exactly.
    pub fn draw(samples: usize, seed: u64, number: u64) -> Prior {
        if samples < 2 {
            return Prior { mean: 0.0, deviation: 1.0 };
        }
        let mut scores = vec![0.0; samples];
        stream(seed, Purpose::DeviationPrior, number).fill_normal(&mut scores, 1.0);
        let mean = scores.iter().map(|&score| f64::from(score)).sum::<f64>() / samples as f64;
        let squares = scores.iter().map(|&score| (f64::from(score) - mean).powi(2)).sum::<f64>();
        Prior { mean, deviation: (squares / (samples - 1) as f64).sqrt() }
    }
}

/// What a head is to say of each image of a batch: `Some(true)` = beyond the margin, `Some(false)` = like the prior; `None`
/// = it is not asked.
pub type Targets = [Option<bool>];

/// mean over the asked images of (1 − t)·|d| + t·max(0, margin − d), d = (score − mean) / deviation: 1 × 1. Scores are
/// images × 1. Nobody asked = 0.
pub fn deviation_loss(scores: Tensor<2>, targets: &Targets, prior: Prior, margin: f64) -> Tensor<2> {
    let device = scores.device();
    let asked = targets.iter().flatten().count().max(1) as f32;
    let share = |wanted: bool| {
        let shares = targets.iter().map(|target| if *target == Some(wanted) { 1.0 / asked } else { 0.0 });
        upload(shares.collect(), [targets.len(), 1], &device)
    };
    let deviations = (scores - prior.mean) / prior.deviation;
    let normal = deviations.clone().abs() * share(false);
    let beyond = activation::relu(-deviations + margin) * share(true);
    (normal + beyond).sum_dim(0)
}
