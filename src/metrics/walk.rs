//! The walk from the highest score to the lowest, on which every metric is computed.
//!
//! Owns: what a metric is told on the way, and when none has a value. Does not own: the metrics, or how scores are
//! counted. Ranking metrics change only at scores that a positive has, so one step is one distinct such score.

use super::{Definitions, Metric, MetricName, NO_NEGATIVE, NO_POSITIVE, Value};
use crate::error::Result;

/// What passes by in all.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// Anomalous images, or defect pixels.
    pub positives: u64,
    /// Normal images, or normal pixels.
    pub negatives: u64,
    /// Defect regions; 0 for images.
    pub regions: u64,
}

impl Totals {
    /// Why nothing can be said.
    pub(super) fn undefined(&self) -> Option<&'static str> {
        match (self.positives, self.negatives) {
            (0, _) => Some(NO_POSITIVE),
            (_, 0) => Some(NO_NEGATIVE),
            _ => None,
        }
    }
}

/// One distinct score that a positive has.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Positives above it.
    pub found: u64,
    /// Negatives above it.
    pub wrong: u64,
    /// Those of them that lie below the step before.
    pub between: u64,
    /// Negatives that share it.
    pub tied: u64,
    /// Positives that share it, one at least.
    pub hits: u64,
    /// These as shares of their regions, summed; 0 for images.
    pub share: f64,
}

/// A metric on its way down the scores.
pub trait Walk {
    /// One step further down.
    fn step(&mut self, step: &Step);

    /// The value in [0, 1], once every positive has gone by; `rest` negatives lie below them all.
    fn finish(self: Box<Self>, rest: u64) -> f64;
}

/// Several metrics on one walk over at least one positive and one negative.
pub(super) struct Walks {
    pub totals: Totals,
    walks: Vec<Box<dyn Walk>>,
    found: u64,
    wrong: u64,
    between: u64,
}

impl Walks {
    /// At the top, above all scores.
    pub fn new(totals: Totals, metrics: impl Iterator<Item = MetricName>, definitions: &Definitions) -> Self {
        let walks = metrics.map(|metric| (metric.kind().walk)(&totals, definitions)).collect();
        Walks { totals, walks, found: 0, wrong: 0, between: 0 }
    }

    /// Down to the next score that anything has, or past several that no positive has.
    pub fn pass(&mut self, hits: u64, misses: u64, share: f64) {
        if hits == 0 {
            self.between += misses;
            return;
        }
        let between = std::mem::take(&mut self.between);
        self.wrong += between;
        let step = Step { found: self.found, wrong: self.wrong, between, tied: misses, hits, share };
        self.walks.iter_mut().for_each(|walk| walk.step(&step));
        self.found += hits;
        self.wrong += misses;
    }

    /// The values in the order of the metrics.
    pub fn finish(self) -> impl Iterator<Item = f64> {
        assert_eq!(self.found, self.totals.positives, "every positive goes by once");
        let rest = self.totals.negatives - self.wrong;
        self.walks.into_iter().map(move |walk| walk.finish(rest))
    }
}

/// The values of all metrics of a walk, or the reason why none has one; `down` walks.
pub(super) fn values(
    totals: Totals,
    metrics: impl Iterator<Item = MetricName>,
    definitions: &Definitions,
    down: impl FnOnce(&mut Walks) -> Result<()>,
) -> Result<Vec<Metric>> {
    let metrics: Vec<MetricName> = metrics.collect();
    let Totals { positives: n_pos, negatives: n_neg, .. } = totals;
    let values: Vec<Value> = match totals.undefined() {
        Some(reason) => vec![Err(reason); metrics.len()],
        None => {
            let mut walks = Walks::new(totals, metrics.iter().copied(), definitions);
            down(&mut walks)?;
            walks.finish().map(Ok).collect()
        }
    };
    Ok(metrics.into_iter().zip(values).map(|(name, value)| Metric { name, value, n_pos, n_neg }).collect())
}
