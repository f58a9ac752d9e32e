//! AUPIMO: how much of each anomalous image's defect is found where hardly a normal pixel is called one (Bertoldo et al.,
//! "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and Low Tolerance", BMVC 2024).
//!
//! Rates of false positives are taken from normal images alone, the mean of their shares; recall is that of every anomalous image
//! by itself; their curve against the logarithm of the rate is integrated between two bounds and divided by what a perfect one
//! reaches. Exact: a point at every distinct score of a normal pixel, straight between points, interpolated at the bounds.

use super::source::Score;
use super::sum::Sum;
use super::walk::{Step, Totals, Walk};
use super::{Definitions, NO_NEGATIVE, NO_POSITIVE, Value};

/// Rates of false positives between which the curve is integrated.
const BOUNDS: [f64; 2] = [1e-5, 1e-4];
/// Why there is no value.
const TOO_FEW: &str = "too few normal pixels for a false positive rate of 1e-5";

/// It is no walk over all pixels together: its value comes from [`value`].
struct Elsewhere;

impl Walk for Elsewhere {
    fn step(&mut self, _: &Step) {}

    fn finish(self: Box<Self>, _: u64) -> f64 {
        f64::NAN
    }
}

/// Takes its place among the others.
pub(super) fn walk(_: &Totals, _: &Definitions) -> Box<dyn Walk> {
    Box::new(Elsewhere)
}

/// Highest scores of a normal image: as many as could lie above the upper bound if no other of `images` images had any there.
pub(super) fn highest<S: Score>(scores: &[S], images: usize) -> Vec<S> {
    let wanted = ((BOUNDS[1] * scores.len() as f64 * images as f64) as usize + 2).min(scores.len());
    let mut all = scores.to_vec();
    if wanted < all.len() {
        all.select_nth_unstable_by(wanted - 1, |a, b| b.total_cmp(a));
        all.truncate(wanted);
    }
    all
}

/// The mean over anomalous images. `normals`: highest scores of normal pixels, each with its share of the rate; `defects`: scores
/// of defect pixels, rising, each with its share of the mean recall.
pub(super) fn value<S: Score>(mut normals: Vec<(S, f64)>, defects: &[(S, f64)]) -> Value {
    if defects.is_empty() {
        return Err(NO_POSITIVE);
    }
    if normals.is_empty() {
        return Err(NO_NEGATIVE);
    }
    normals.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let [low, high] = BOUNDS.map(f64::ln);
    let (mut rate, mut recall, mut area) = (Sum::default(), Sum::default(), Sum::default());
    let mut rest = defects;
    let mut before: Option<[f64; 2]> = None;
    for group in normals.chunk_by(|a, b| a.0 == b.0) {
        group.iter().for_each(|&(_, share)| rate.add(share));
        while let Some((&(score, share), lower)) = rest.split_last()
            && score >= group[0].0
        {
            recall.add(share);
            rest = lower;
        }
        let now = [rate.value().ln(), recall.value()];
        match before {
            None if now[0] > low => return Err(TOO_FEW),
            Some(before) => area.add(between(before, now, [low, high])),
            None => {}
        }
        before = Some(now);
        if now[0] >= high {
            return Ok(area.value() / (high - low));
        }
    }
    Err(TOO_FEW)
}

/// The area below a straight piece of the curve, from one bound to the other.
fn between([start, before]: [f64; 2], [end, after]: [f64; 2], [low, high]: [f64; 2]) -> f64 {
    let (from, to) = (start.max(low), end.min(high));
    if to <= from {
        return 0.0;
    }
    let at = |place: f64| before + (after - before) * (place - start) / (end - start);
    (to - from) * (at(from) + at(to)) / 2.0
}
