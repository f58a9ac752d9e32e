//! Gradients of parts of a batch added up, and clipped by their common norm as PyTorch's `clip_grad_norm_` does it.

use burn::tensor::{Gradients, Tensor};

use super::parameters::Parameters;

/// Beside the norm, so that a norm of zero divides.
const EPSILON: f64 = 1e-6;

/// The Euclidean norm of the gradients of all parameters together (1 × 1, on their device); where it exceeds `limit`, every
/// gradient is scaled by the same factor, limit / (norm + 1e-6). A `limit` of 0 leaves them alone. Without a gradient there
/// is no norm.
pub fn clip_gradients(parameters: &Parameters, gradients: &mut Gradients, limit: f64) -> Option<Tensor<2>> {
    let found: Vec<(Tensor<2>, Tensor<2>)> = parameters
        .learned_names()
        .filter_map(|name| {
            let value = parameters.get(name);
            value.grad(gradients).map(|gradient| (value, gradient))
        })
        .collect();
    if found.is_empty() {
        return None;
    }
    // By dimension: a whole sum of a large tensor is not ordered.
    let squares = found.iter().map(|(_, gradient)| (gradient.clone() * gradient.clone()).sum_dim(1).sum_dim(0));
    let norm = Tensor::cat(squares.collect(), 0).sum_dim(0).sqrt();
    if limit > 0.0 {
        let factor = ((norm.clone() + EPSILON).recip() * limit).clamp_max(1.0);
        for (value, gradient) in found {
            value.grad_replace(gradients, gradient * factor.clone());
        }
    }
    Some(norm)
}

/// Adds `more`, the gradients of the same parameters as leaves of another graph (`others`), to `sum`.
pub fn add_gradients(parameters: &Parameters, sum: &mut Gradients, others: &Parameters, more: &Gradients) {
    for name in parameters.learned_names() {
        let value = parameters.get(name);
        let total = match (value.grad_remove(sum), others.get(name).grad(more)) {
            (Some(a), Some(b)) => a + b,
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => continue,
        };
        value.grad_replace(sum, total);
    }
}
