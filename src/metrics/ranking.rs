//! AUROC, average precision and F1max from one walk down the scores.
//!
//! Owns: the three definitions, for images and (fed by `pixels`) for pixels. Does not own: how scores are counted.

use super::{Metric, NO_NEGATIVE, NO_POSITIVE, Options, Value, sum::Sum};
use crate::error::{Error, Result};
use crate::spec::Ap;

/// A walk from the highest score to the lowest. All three metrics change only at scores that a positive has, so one
/// step is one distinct such score.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    positives: u64,
    negatives: u64,
    ap: Ap,
    true_positives: u64,
    false_positives: u64,
    /// Twice the pairs in the right order, ties counted once.
    doubled_wins: u128,
    area: Sum,
    f1max: f64,
}

/// The three values of a finished walk.
pub(super) struct Ranking {
    pub auroc: Value,
    pub ap: Value,
    pub f1max: Value,
}

impl Sweep {
    pub fn new(positives: u64, negatives: u64, ap: Ap) -> Self {
        Sweep {
            positives,
            negatives,
            ap,
            true_positives: 0,
            false_positives: 0,
            doubled_wins: 0,
            area: Sum::default(),
            f1max: 0.0,
        }
    }

    /// One distinct score of `hits` > 0 positives: `between` negatives lie above it and below the step before, `tied`
    /// negatives share it.
    pub fn step(&mut self, between: u64, tied: u64, hits: u64) {
        let (above, hits_wide) = (u128::from(self.true_positives), u128::from(hits));
        self.doubled_wins += 2 * above * u128::from(between) + (2 * above + hits_wide) * u128::from(tied);
        self.false_positives += between;
        let before = precision(self.true_positives, self.false_positives);
        self.false_positives += tied;
        self.true_positives += hits;
        let after = precision(self.true_positives, self.false_positives);
        let recall_gain = hits as f64 / self.positives as f64;
        self.area.add(match self.ap {
            Ap::Step => recall_gain * after,
            Ap::Trapezoid => recall_gain * (before + after) / 2.0,
        });
        // 2TP / (2TP + FP + FN), where TP + FN is the number of positives.
        let predicted = self.true_positives + self.false_positives;
        self.f1max = self.f1max.max(2.0 * self.true_positives as f64 / (predicted + self.positives) as f64);
    }

    /// The values, once every positive has gone by.
    pub fn finish(self) -> Ranking {
        if let Some(reason) = self.undefined() {
            return Ranking { auroc: Err(reason), ap: Err(reason), f1max: Err(reason) };
        }
        assert_eq!(self.true_positives, self.positives, "every positive goes by once");
        let (positives, negatives) = (u128::from(self.positives), u128::from(self.negatives));
        let below = u128::from(self.negatives - self.false_positives);
        let doubled = self.doubled_wins + 2 * positives * below;
        let auroc = doubled as f64 / (2 * positives * negatives) as f64;
        Ranking { auroc: Ok(auroc), ap: Ok(self.area.value()), f1max: Ok(self.f1max) }
    }

    fn undefined(&self) -> Option<&'static str> {
        match (self.positives, self.negatives) {
            (0, _) => Some(NO_POSITIVE),
            (_, 0) => Some(NO_NEGATIVE),
            _ => None,
        }
    }
}

/// Precision of a threshold; 1 where nothing is predicted, which is the point the curve starts from.
fn precision(true_positives: u64, false_positives: u64) -> f64 {
    match true_positives + false_positives {
        0 => 1.0,
        predicted => true_positives as f64 / predicted as f64,
    }
}

/// `image_auroc`, `image_ap`, `image_f1max` of one score and one label (`true` = anomalous) per image, in that order.
///
/// # Errors
/// A score that is NaN or infinite; the message counts images from 0.
///
/// # Panics
/// When there are not as many labels as scores.
pub fn image_metrics(scores: &[f64], labels: &[bool], options: &Options) -> Result<[Metric; 3]> {
    assert_eq!(scores.len(), labels.len(), "one label per score");
    if let Some(image) = scores.iter().position(|score| !score.is_finite()) {
        return Err(Error::method(
            format!("the score of image {image} (counted from 0) is {}", scores[image]),
            "scores must be finite numbers; find out why the method gave none",
        ));
    }
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    let positives = labels.iter().filter(|&&label| label).count() as u64;
    let negatives = labels.len() as u64 - positives;
    let mut sweep = Sweep::new(positives, negatives, options.ap);
    let mut between = 0;
    for group in ranked.chunk_by(|a, b| a.0 == b.0) {
        let hits = group.iter().filter(|(_, label)| *label).count() as u64;
        let misses = group.len() as u64 - hits;
        if hits == 0 {
            between += misses;
        } else {
            sweep.step(std::mem::take(&mut between), misses, hits);
        }
    }
    let ranking = sweep.finish();
    let metric = |name, value| Metric { name, value, n_pos: positives, n_neg: negatives, regions: None };
    Ok([metric("image_auroc", ranking.auroc), metric("image_ap", ranking.ap), metric("image_f1max", ranking.f1max)])
}
