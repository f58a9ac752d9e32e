//! What BGAD learns from the log-likelihoods of a step (docs/methods/bgad.md, Computation): plain arithmetic on the host.
//! Boundaries and weights are no part of any gradient, so the gradient by the log-likelihoods can be written down.

use super::params::{Engine, Loss};

/// Which normal places weigh more: exponent, factor, and the normalised log-likelihood from which on upwards they do not.
const NORMAL_FOCUS: (f64, f64, f64) = (0.5, 11.7, -0.2);
/// The same for anomalous places, down to which they do.
const ABNORMAL_FOCUS: (i32, f64, f64) = (2, 0.53, -1.0);
/// Below this a normalised log-likelihood does not divide.
const SMALLEST: f64 = 1e-6;

/// Weight of a normal place with the normalised log-likelihood `value`.
pub fn normal_weight(value: f64) -> f64 {
    let (exponent, factor, start) = NORMAL_FOCUS;
    if value > start { 1.0 } else { factor * (1.0 - value.exp()).powf(exponent) * value.abs().max(SMALLEST) }
}

/// Weight of an anomalous place with the normalised log-likelihood `value`.
pub fn abnormal_weight(value: f64) -> f64 {
    let (exponent, factor, start) = ABNORMAL_FOCUS;
    if value <= start { 1.0 } else { factor * (1.0 + value.exp()).powi(exponent) / value.abs().max(SMALLEST) }
}

/// Boundaries of a step, as normalised log-likelihoods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// Below it (itself among them) normal places are pulled up.
    pub normal: f64,
    /// Above it anomalous places are pushed down.
    pub abnormal: f64,
}

/// The loss of a step and its parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepLoss {
    /// All of it.
    pub total: f64,
    /// Mean over normal places of their weight times −log σ(lp).
    pub likelihood: f64,
    /// What pulls normal places above their boundary.
    pub normal: f64,
    /// What pushes anomalous places below theirs; none beyond it = 0.
    pub abnormal: f64,
    /// Boundaries, where they act.
    pub boundary: Option<Boundary>,
    /// d total / d lp.
    pub gradient: Vec<f32>,
}

/// −log σ(lp).
fn negative_log_sigmoid(lp: f64) -> f64 {
    (-lp).max(0.0) + (-lp.abs()).exp().ln_1p()
}

/// The boundaries that the normal ones among log-likelihoods give; `None` without any.
fn boundary(normals: impl Iterator<Item = f64>, params: &Loss) -> Option<Boundary> {
    let mut values: Vec<f64> = normals.collect();
    values.sort_unstable_by(f64::total_cmp);
    let place = (params.pos_beta * values.len() as f64).floor() as usize;
    let normal = *values.get(place)?;
    Some(Boundary { normal, abnormal: normal - params.margin })
}

/// The loss of the places with log-likelihoods `lp` (each a share of a channel), of which some are anomalous. In the first
/// epoch it is likelihood alone.
pub fn step_loss(lp: &[f32], anomalous: &[bool], first_epoch: bool, params: &Loss) -> StepLoss {
    let mut found = StepLoss { gradient: vec![0.0; lp.len()], ..StepLoss::default() };
    let value = |place: usize| f64::from(lp[place]) / params.normalizer;
    let of = |wanted: bool| (0..lp.len()).filter(move |&place| anomalous[place] == wanted);
    let focal = params.focal && !first_epoch;
    let weigh = |place: usize, weight: fn(f64) -> f64| if focal { weight(value(place)) } else { 1.0 };
    let normals = of(false).count().max(1) as f64;
    for place in of(false) {
        let (weight, lp) = (weigh(place, normal_weight) / normals, f64::from(lp[place]));
        found.likelihood += weight * negative_log_sigmoid(lp);
        found.gradient[place] = (-weight / (1.0 + lp.exp())) as f32;
    }
    found.total = found.likelihood;
    if first_epoch || (params.engine != Engine::Normals && !anomalous.contains(&true)) {
        return found;
    }
    found.boundary = boundary(of(false).map(value), params);
    let Some(Boundary { normal, abnormal }) = found.boundary else { return found };
    // Places on the wrong side of a boundary cost their weighted distance from it; the sign is that of its gradient by lp.
    let mut pull = |places: Vec<usize>, boundary: f64, sign: f64, weight: fn(f64) -> f64| {
        let share = 1.0 / places.len().max(1) as f64;
        let mut sum = 0.0;
        for place in places {
            let weight = weigh(place, weight) * share;
            sum += weight * sign * (value(place) - boundary);
            found.gradient[place] += (params.weight * weight * sign / params.normalizer) as f32;
        }
        sum
    };
    found.normal = pull(of(false).filter(|&place| value(place) <= normal).collect(), normal, -1.0, normal_weight);
    found.abnormal = pull(of(true).filter(|&place| value(place) >= abnormal).collect(), abnormal, 1.0, abnormal_weight);
    found.total += params.weight * (found.normal + found.abnormal);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_normal_place_more_than_the_share_is_at_or_below_the_boundary() {
        let lp: Vec<f32> = (0..250).map(|place| -f32::from((place * 37 % 250) as u16) / 25.0).collect();
        for (beta, below) in [(0.0, 1), (0.01, 3), (0.05, 13)] {
            let params = Loss { pos_beta: beta, engine: Engine::Normals, ..Loss::default() };
            let Boundary { normal, abnormal } =
                step_loss(&lp, &[false; 250], false, &params).boundary.expect("a boundary");
            assert_eq!(lp.iter().filter(|&&lp| f64::from(lp) / 10.0 <= normal).count(), below);
            assert!((abnormal - (normal - 0.1)).abs() < 1e-12);
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_loss_with_boundaries_and_weights_held() {
        // Without focal weights and with the boundary's own place at cost zero, a finite difference sees nothing else.
        let params = Loss { focal: false, pos_beta: 0.4, engine: Engine::Anomalies, ..Loss::default() };
        let lp: Vec<f32> = vec![-3.0, -1.0, -7.0, -2.0, -5.0, -1.5, -3.5];
        let anomalous = [false, false, false, false, false, true, true];
        let loss = step_loss(&lp, &anomalous, false, &params);
        for place in [0, 1, 2, 5, 6] {
            let mut moved = lp.clone();
            moved[place] += 1e-2;
            let mut back = lp.clone();
            back[place] -= 1e-2;
            let slope = (step_loss(&moved, &anomalous, false, &params).total
                - step_loss(&back, &anomalous, false, &params).total)
                / 2e-2;
            // The boundary is place 0 itself: moving it moves the cost of all others.
            if place != 0 {
                assert!((slope - f64::from(loss.gradient[place])).abs() < 1e-4, "{place}: {slope} {loss:?}");
            }
        }
    }

    #[test]
    fn a_step_without_normal_places_or_without_any_costs_nothing() {
        let params = Loss::default();
        assert_eq!(step_loss(&[-1.0, -2.0], &[true, true], false, &params).total, 0.0);
        assert_eq!(step_loss(&[], &[], false, &params).total, 0.0);
    }
}
