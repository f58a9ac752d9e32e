//! The decoder's attention (docs/methods/dinomaly.md, Computation).

use burn::tensor::{Device, Tensor, activation};

use super::encoder::Design;
use super::params::{Attention, NetworkParams};
use crate::train::{product, upload};

/// What all heads find: `parts` are queries, keys and values, images × heads × tokens × values each, as the result is.
///
/// `hidden` is added to the weights' logits, or multiplied with weights that have none: 1 × 1 × tokens × tokens.
pub fn attend(params: &NetworkParams, parts: [Tensor<4>; 3], hidden: Option<Tensor<4>>) -> Tensor<4> {
    let [query, key, value] = parts;
    let weights = match (params.attention, hidden) {
        (Attention::Linear, None) => {
            let (query, key) = (positive(query), positive(key));
            let total = (query.clone() * key.clone().sum_dim(2)).sum_dim(3);
            let found = product(query, product(key.swap_dims(2, 3), value));
            return found / (total + params.epsilon);
        }
        (Attention::Linear, Some(seen)) => product(positive(query), positive(key).swap_dims(2, 3)) * seen,
        (Attention::Softmax, hidden) => {
            let scale = 1.0 / (params.head_width as f64).sqrt();
            let logits = product(query * scale, key.swap_dims(2, 3));
            let logits = hidden.into_iter().fold(logits, |logits, hidden| logits + hidden);
            let largest = logits.clone().detach().max_dim(3);
            (logits - largest).exp()
        }
    };
    let total = weights.clone().sum_dim(3) + params.epsilon;
    product(weights, value) / total
}

/// elu(x) + 1: exp(x) up to 0, x + 1 from there.
fn positive(x: Tensor<4>) -> Tensor<4> {
    x.clone().clamp_max(0.0).exp() + activation::relu(x)
}

/// What keeps tokens from seeing their neighbours, in the form that [`attend`] takes; `None` where all are seen.
pub fn mask(params: &NetworkParams, design: &Design, device: &Device) -> Option<Tensor<4>> {
    let (reach, tokens) = (params.neighbour_mask / 2, design.tokens());
    if params.neighbour_mask == 0 {
        return None;
    }
    let place = |token: usize| token.checked_sub(design.prefix).map(|at| (at / design.side, at % design.side));
    let near = |index: usize| match (place(index / tokens), place(index % tokens)) {
        (Some(a), Some(b)) => a.0.abs_diff(b.0) <= reach && a.1.abs_diff(b.1) <= reach,
        // What has no place is nobody's neighbour.
        _ => false,
    };
    let (hidden, seen) = match params.attention {
        Attention::Linear => (0.0, 1.0),
        Attention::Softmax => (f32::NEG_INFINITY, 0.0),
    };
    let values = (0..tokens * tokens).map(|index| if near(index) { hidden } else { seen });
    Some(upload(values.collect(), [1, 1, tokens, tokens], device))
}

/// Whether every token has something left to look at.
pub fn every_token_sees(params: &NetworkParams, design: &Design) -> bool {
    // The middle of a side of n has n / 2 places on its longer side.
    params.neighbour_mask == 0 || design.prefix > 0 || design.side / 2 > params.neighbour_mask / 2
}
