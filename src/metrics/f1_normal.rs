//! F1 at a threshold that normal images alone decide, as someone must choose it who has no anomaly yet.

use super::Definitions;
use super::walk::{Step, Totals, Walk};

/// Share of the normal images that may be called anomalous.
const FALSE_ALARMS: f64 = 0.05;

struct AtThreshold {
    positives: u64,
    /// Normal images above the threshold.
    allowed: u64,
    found: u64,
}

/// Begins with nothing found.
pub(super) fn walk(totals: &Totals, _: &Definitions) -> Box<dyn Walk> {
    let allowed = (totals.negatives as f64 * FALSE_ALARMS) as u64;
    Box::new(AtThreshold { positives: totals.positives, allowed, found: 0 })
}

impl Walk for AtThreshold {
    fn step(&mut self, step: &Step) {
        // A score lies above the threshold (the highest normal score that is not allowed) where no more normal ones are as high.
        if step.wrong + step.tied <= self.allowed {
            self.found = step.found + step.hits;
        }
    }

    fn finish(self: Box<Self>, _: u64) -> f64 {
        2.0 * self.found as f64 / (self.found + self.allowed + self.positives) as f64
    }
}
