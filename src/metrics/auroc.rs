//! AUROC: pairs of a positive and a negative in the right order.

use super::Definitions;
use super::walk::{Step, Totals, Walk};

struct Pairs {
    totals: Totals,
    /// Twice the pairs in the right order, ties counted once.
    doubled: u128,
}

/// Begins at no pair.
pub(super) fn walk(totals: &Totals, _: &Definitions) -> Box<dyn Walk> {
    Box::new(Pairs { totals: *totals, doubled: 0 })
}

impl Walk for Pairs {
    fn step(&mut self, step: &Step) {
        let above = u128::from(step.found);
        self.doubled += 2 * above * u128::from(step.between);
        self.doubled += (2 * above + u128::from(step.hits)) * u128::from(step.tied);
    }

    fn finish(self: Box<Self>, rest: u64) -> f64 {
        let (positives, negatives) = (u128::from(self.totals.positives), u128::from(self.totals.negatives));
        let doubled = self.doubled + 2 * positives * u128::from(rest);
        doubled as f64 / (2 * positives * negatives) as f64
    }
}
