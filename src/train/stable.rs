//! StableAdamW: AdamW whose step shrinks for a tensor whose gradients are larger than its second moment expects
//! (arXiv 2304.13013; docs/methods/dinomaly.md, Computation).

use burn::tensor::Tensor;

use super::optimizer::{Group, Moments};

/// What StableAdamW does otherwise than AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StableAdamw {
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// The second moment counts as the largest that it ever was.
    pub amsgrad: bool,
    /// Root mean square of gradient over expected gradient, over a whole tensor, above which its step is divided by it.
    pub threshold: f64,
}

/// A parameter after step number `step` (from 1 on) with this gradient. Nothing is read from the device.
pub(super) fn update(
    group: &Group,
    stable: StableAdamw,
    step: i32,
    value: Tensor<2>,
    gradient: Tensor<2>,
    moments: &mut Moments,
) -> Tensor<2> {
    moments.take(&gradient, group.betas);
    let (beta1, beta2) = group.betas;
    let second = moments.largest.as_ref().unwrap_or(&moments.second).clone();
    let expected = second.sqrt() / (1.0 - beta2.powi(step)).sqrt() + stable.epsilon;
    let ratio = gradient / expected.clone();
    // By dimension: a whole mean of a large tensor is not ordered.
    let spread = (ratio.clone() * ratio).mean_dim(1).mean_dim(0).sqrt();
    let divisor = (spread / stable.threshold).clamp_min(1.0);
    let size = group.learning_rate / (1.0 - beta1.powi(step));
    let moved = moments.first.clone() / expected * (divisor.recip() * size);
    value * (1.0 - group.learning_rate * group.weight_decay) - moved
}
