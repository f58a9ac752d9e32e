//! AUPRO@0.3: mean overlap of defect regions against the false positive rate. Between two scores of defect pixels the
//! overlap is constant while the rate advances.

use super::sum::Sum;
use super::walk::{Step, Totals, Walk};
use super::{Definitions, Pro};

/// False positive rate up to which PRO is integrated.
pub(super) const FPR_LIMIT: f64 = 0.3;

/// Abscissa: normal pixels so far; ordinate: sum over regions of the share found.
struct Overlap {
    limit: f64,
    regions: u64,
    passed: u64,
    height: Sum,
    area: Sum,
}

/// Begins with nothing found. The legacy forms are no walk (see `pro_legacy`).
pub(super) fn walk(totals: &Totals, _: &Definitions) -> Box<dyn Walk> {
    let (limit, regions) = (FPR_LIMIT * totals.negatives as f64, totals.regions);
    Box::new(Overlap { limit, regions, passed: 0, height: Sum::default(), area: Sum::default() })
}

impl Overlap {
    /// One straight piece of the curve: `normals` pixels to the right, `share` up, cut at the limit.
    fn advance(&mut self, normals: u64, share: f64) {
        let (start, low) = (self.passed as f64, self.height.value());
        self.height.add(share);
        self.passed += normals;
        if normals == 0 || start >= self.limit {
            return;
        }
        let part = ((self.limit - start) / normals as f64).min(1.0);
        let high = low + part * (self.height.value() - low);
        self.area.add(part * normals as f64 * (low + high) / 2.0);
    }
}

impl Walk for Overlap {
    fn step(&mut self, step: &Step) {
        self.advance(step.between, 0.0);
        self.advance(step.tied, step.share);
    }

    fn finish(mut self: Box<Self>, rest: u64) -> f64 {
        self.advance(rest, 0.0);
        self.area.value() / (self.limit * self.regions as f64)
    }
}

/// What `pixel_pro` is in a legacy form.
pub(super) fn sentence(definitions: &Definitions) -> Option<&'static str> {
    match definitions.pro {
        Pro::Exact => None,
        Pro::Simplenet => Some(
            "SimpleNet's PRO: 200 equal-width thresholds, predictions widened by 5 × 5 pixels before the overlap (not for the false positive rate), rates below 0.3 divided by their maximum. Not comparable with AUPRO@0.3.",
        ),
        Pro::Ader => Some(
            "ADer's PRO: 100 equal-width thresholds, false positive rates below 0.3 stretched to [0, 1]. Not comparable with AUPRO@0.3.",
        ),
    }
}
