//! AUPRO: mean overlap of defect regions against the false positive rate. Between two scores of defect pixels the
//! overlap is constant while the rate advances.

use super::sum::Sum;
use super::walk::{Step, Totals, Walk};
use super::{Definitions, Pro};

/// False positive rate up to which PRO is integrated unless an experiment says otherwise.
pub const LIMIT: f64 = 0.3;

/// Abscissa: normal pixels so far; ordinate: sum over regions of the share found.
struct Overlap {
    limit: f64,
    regions: u64,
    passed: u64,
    height: Sum,
    area: Sum,
}

/// Begins with nothing found. The legacy forms are no walk (see `pro_legacy`).
pub(super) fn walk(totals: &Totals, definitions: &Definitions) -> Box<dyn Walk> {
    let (limit, regions) = (definitions.pro_limit * totals.negatives as f64, totals.regions);
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

/// What `pixel_pro` is in a legacy form, or to another limit.
pub(super) fn sentence(definitions: &Definitions) -> Option<String> {
    let limit = definitions.pro_limit;
    let form = match definitions.pro {
        Pro::Exact if limit == LIMIT => return None,
        Pro::Exact => {
            return Some(format!("AUPRO@{limit}: as AUPRO@{LIMIT}, integrated to {limit} and divided by {limit}."));
        }
        Pro::Simplenet => format!(
            "SimpleNet's PRO: 200 equal-width thresholds, predictions widened by 5 × 5 pixels before the overlap (not for the false positive rate), rates below {limit} divided by their maximum."
        ),
        Pro::Ader => {
            format!("ADer's PRO: 100 equal-width thresholds, false positive rates below {limit} stretched to [0, 1].")
        }
        Pro::Rd4ad => format!(
            "RD4AD's PRO: the mean over anomalous images of a PRO of each, 200 equal-width thresholds, rates below {limit} divided by their maximum."
        ),
    };
    Some(form + " Not comparable with AUPRO@0.3.")
}
