//! F1max: the best threshold's harmonic mean of precision and recall.

use super::Definitions;
use super::walk::{Step, Totals, Walk};

struct Best {
    positives: u64,
    f1: f64,
}

/// Begins with nothing found.
pub(super) fn walk(totals: &Totals, _: &Definitions) -> Box<dyn Walk> {
    Box::new(Best { positives: totals.positives, f1: 0.0 })
}

impl Walk for Best {
    fn step(&mut self, step: &Step) {
        let found = step.found + step.hits;
        // 2TP / (2TP + FP + FN), where TP + FN is the number of positives.
        let predicted = found + step.wrong + step.tied;
        self.f1 = self.f1.max(2.0 * found as f64 / (predicted + self.positives) as f64);
    }

    fn finish(self: Box<Self>, _: u64) -> f64 {
        self.f1
    }
}
