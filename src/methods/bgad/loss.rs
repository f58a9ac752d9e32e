//! What BGAD learns from the log-likelihoods of a step (docs/methods/bgad.md, Computation), computed where they are.
//! Boundaries and weights are no part of any gradient, so the gradient by the log-likelihoods can be written down.

use burn::tensor::{Bool, Tensor, activation};

use super::params::{Engine, Loss};
use crate::train::{Terms, smallest, upload};

/// Which normal places weigh more: exponent, factor, and the normalised log-likelihood from which on upwards they do not.
const NORMAL_FOCUS: (f64, f64, f64) = (0.5, 11.7, -0.2);
/// The same for anomalous places, down to which they do.
const ABNORMAL_FOCUS: (f64, f64, f64) = (2.0, 0.53, -1.0);
/// Below this a normalised log-likelihood does not divide.
const SMALLEST: f64 = 1e-6;

/// Weights of normal places with these normalised log-likelihoods.
pub fn normal_weights(values: Tensor<2>) -> Tensor<2> {
    let (exponent, factor, start) = NORMAL_FOCUS;
    let light = values.clone().greater_elem(start);
    let lower = values.clamp_max(start); // where the weight is one anyway, its formula may not be a number
    let weights = (-lower.clone().exp() + 1.0).powf_scalar(exponent) * lower.abs().clamp_min(SMALLEST) * factor;
    weights.mask_fill(light, 1.0)
}

/// Weights of anomalous places with these normalised log-likelihoods.
pub fn abnormal_weights(values: Tensor<2>) -> Tensor<2> {
    let (exponent, factor, start) = ABNORMAL_FOCUS;
    let light = values.clone().lower_equal_elem(start);
    let weights = (values.clone().exp() + 1.0).powf_scalar(exponent) / values.abs().clamp_min(SMALLEST) * factor;
    weights.mask_fill(light, 1.0)
}

/// Boundaries of a step, as normalised log-likelihoods: 1 × 1 each.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// Below it (itself among them) normal places are pulled up.
    pub normal: Tensor<2>,
    /// Above it anomalous places are pushed down.
    pub abnormal: Tensor<2>,
}

/// What a step says of its places, all on their device and without a graph.
#[derive(Clone, Debug)]
pub struct StepLoss {
    /// "loss", all of it; "likelihood", the mean over normal places of their weight times −log σ(lp); "normal", what pulls
    /// normal places above their boundary; "abnormal", what pushes anomalous places below theirs (none beyond it = 0).
    pub terms: Terms,
    /// Boundaries, where they act.
    pub boundary: Option<Boundary>,
    /// d loss / d lp, one column.
    pub gradient: Tensor<2>,
}

/// The boundaries that the `normals` normal ones among normalised log-likelihoods (one column) give; `None` without any.
fn boundary(values: &Tensor<2>, anomalous: &Tensor<2, Bool>, normals: usize, params: &Loss) -> Option<Boundary> {
    let place = (params.pos_beta * normals as f64).floor() as usize;
    if place >= normals {
        return None;
    }
    let last = values.clone().mask_fill(anomalous.clone(), f32::INFINITY);
    let normal = smallest(last.transpose(), place);
    Some(Boundary { abnormal: normal.clone() - params.margin, normal })
}

/// The loss of the places with log-likelihoods `lp` (one column, each a share of a channel), of which some are anomalous. In
/// the first epoch it is likelihood alone.
pub fn step_loss(lp: Tensor<2>, anomalous: &[bool], first_epoch: bool, params: &Loss) -> StepLoss {
    let (lp, count) = (lp.inner(), anomalous.len());
    let column = |wanted: bool| {
        let values = anomalous.iter().map(|&is| f32::from(u8::from(is == wanted)));
        upload(values.collect(), [count, 1], &lp.device())
    };
    let (of_normal, of_anomalous) = (column(false), column(true));
    let normals = count - anomalous.iter().filter(|&&is| is).count();
    let values = lp.clone() / params.normalizer;
    let focal = params.focal && !first_epoch;
    let weigh = |weights: fn(Tensor<2>) -> Tensor<2>| if focal { weights(values.clone()) } else { values.ones_like() };
    let (normal_weight, abnormal_weight) = (weigh(normal_weights), weigh(abnormal_weights));
    let shares = normal_weight.clone() * of_normal.clone() / normals.max(1) as f64;
    let likelihood = (shares.clone() * negative_log_sigmoid(lp.clone())).sum_dim(0);
    let mut gradient = -shares * activation::sigmoid(-lp);
    let (mut loss, nothing) = (likelihood.clone(), likelihood.zeros_like());
    let asked = !first_epoch && (params.engine == Engine::Normals || normals < count);
    let beyond = of_anomalous.clone().bool();
    let boundary = if asked { boundary(&values, &beyond, normals, params) } else { None };
    // Places on the wrong side of a boundary cost their weighted distance from it; the sign is that of its gradient by lp.
    let mut pull = |chosen: Tensor<2>, boundary: &Tensor<2>, sign: f64, weights: Tensor<2>| {
        let shares = chosen.clone() * weights / chosen.sum_dim(0).clamp_min(1.0) * sign;
        gradient = gradient.clone() + shares.clone() * (params.weight / params.normalizer);
        let sum = (shares * (values.clone() - boundary.clone())).sum_dim(0);
        loss = loss.clone() + sum.clone() * params.weight;
        sum
    };
    let (normal, abnormal) = match &boundary {
        None => (nothing.clone(), nothing),
        Some(Boundary { normal, abnormal }) => {
            let low = values.clone().lower_equal(normal.clone().expand([count, 1])).float() * of_normal;
            let high = values.clone().greater_equal(abnormal.clone().expand([count, 1])).float() * of_anomalous;
            (pull(low, normal, -1.0, normal_weight), pull(high, abnormal, 1.0, abnormal_weight))
        }
    };
    let terms = [("loss", loss), ("likelihood", likelihood), ("normal", normal), ("abnormal", abnormal)];
    StepLoss { terms: Terms::new(terms.into()), boundary, gradient }
}

/// −log σ(lp).
fn negative_log_sigmoid(lp: Tensor<2>) -> Tensor<2> {
    activation::relu(-lp.clone()) + (-lp.abs()).exp().log1p()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::train::download;

    /// The loss of places with these log-likelihoods.
    fn found(lp: &[f32], anomalous: &[bool], params: &Loss) -> StepLoss {
        step_loss(upload(lp.to_vec(), [lp.len(), 1], &Device::flex()), anomalous, false, params)
    }

    #[test]
    fn one_normal_place_more_than_the_share_is_at_or_below_the_boundary() {
        let lp: Vec<f32> = (0..250).map(|place| -f32::from((place * 37 % 250) as u16) / 25.0).collect();
        for (beta, below) in [(0.0, 1), (0.01, 3), (0.05, 13)] {
            let params = Loss { pos_beta: beta, engine: Engine::Normals, ..Loss::default() };
            let boundary = found(&lp, &[false; 250], &params).boundary.expect("a boundary");
            let [normal, abnormal] = [boundary.normal, boundary.abnormal].map(|value| download(value)[0]);
            assert_eq!(lp.iter().filter(|&&lp| lp / 10.0 <= normal).count(), below);
            assert!((abnormal - (normal - 0.1)).abs() < 1e-6);
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_loss_with_boundaries_and_weights_held() {
        // Without focal weights and with the boundary's own place at cost zero, a finite difference sees nothing else.
        let params = Loss { focal: false, pos_beta: 0.4, engine: Engine::Anomalies, ..Loss::default() };
        let lp: Vec<f32> = vec![-3.0, -1.0, -7.0, -2.0, -5.0, -1.5, -3.5];
        let anomalous = [false, false, false, false, false, true, true];
        let gradient = download(found(&lp, &anomalous, &params).gradient);
        for place in [1, 2, 5, 6] {
            // The boundary is place 0 itself: moving it moves the cost of all others.
            let moved = |by: f32| {
                let mut lp = lp.clone();
                lp[place] += by;
                found(&lp, &anomalous, &params).terms.value("loss")
            };
            let slope = (moved(5e-2) - moved(-5e-2)) / 1e-1;
            assert!((slope - f64::from(gradient[place])).abs() < 2e-4, "{place}: {slope} {gradient:?}");
        }
    }

    #[test]
    fn a_step_without_normal_places_or_without_any_anomaly_costs_what_is_there() {
        let params = Loss::default();
        assert_eq!(found(&[-1.0, -2.0], &[true, true], &params).terms.value("loss"), 0.0);
        let alone = found(&[-1.0, -2.0], &[false, false], &Loss { focal: false, ..params }).terms;
        let expected = (1.0f64.exp().ln_1p() + 2.0f64.exp().ln_1p()) / 2.0;
        assert!((alone.value("likelihood") - expected).abs() < 1e-6);
    }
}
