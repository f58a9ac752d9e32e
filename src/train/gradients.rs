//! Gradients by name, those of parts of a batch added up, and clipped by their common norm as PyTorch's `clip_grad_norm_` does it.

use std::collections::BTreeMap;

use burn::tensor::{Gradients, Tensor};

use super::parameters::Parameters;

/// Where an optimiser finds the gradients of parameters.
pub trait GradientOf {
    /// The gradient of the parameter of this name and value, where it has one; not tracked.
    fn of(&self, name: &str, value: &Tensor<2>) -> Option<Tensor<2>>;
}

/// Those that a graph found.
impl GradientOf for Gradients {
    fn of(&self, _: &str, value: &Tensor<2>) -> Option<Tensor<2>> {
        value.grad(self)
    }
}

/// Gradients by the names of their parameters, not tracked.
#[derive(Debug, Default)]
pub struct NamedGradients(BTreeMap<String, Tensor<2>>);

impl NamedGradients {
    /// Adds to the gradient of a parameter.
    pub fn add(&mut self, name: &str, gradient: Tensor<2>) {
        let total = match self.0.remove(name) {
            Some(sum) => sum + gradient,
            None => gradient,
        };
        self.0.insert(name.into(), total);
    }

    /// Replaces the gradient of a parameter.
    pub fn set(&mut self, name: &str, gradient: Tensor<2>) {
        self.0.insert(name.into(), gradient);
    }

    /// Whether a parameter has a gradient.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds what a graph found of parameters.
    pub fn add_graph(&mut self, parameters: &Parameters, found: &Gradients) {
        for name in parameters.learned_names() {
            if let Some(gradient) = parameters.get(name).grad(found) {
                self.add(name, gradient);
            }
        }
    }
}

impl GradientOf for NamedGradients {
    fn of(&self, name: &str, _: &Tensor<2>) -> Option<Tensor<2>> {
        self.0.get(name).cloned()
    }
}

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
