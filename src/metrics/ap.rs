//! Average precision: the area below precision over recall, in steps or in trapezoids.

use super::sum::Sum;
use super::walk::{Step, Totals, Walk};
use super::{Ap, Definitions};

struct Area {
    positives: u64,
    form: Ap,
    area: Sum,
}

/// Begins at recall 0.
pub(super) fn walk(totals: &Totals, definitions: &Definitions) -> Box<dyn Walk> {
    Box::new(Area { positives: totals.positives, form: definitions.ap, area: Sum::default() })
}

impl Walk for Area {
    fn step(&mut self, step: &Step) {
        let before = precision(step.found, step.wrong);
        let after = precision(step.found + step.hits, step.wrong + step.tied);
        let recall_gain = step.hits as f64 / self.positives as f64;
        self.area.add(match self.form {
            Ap::Step => recall_gain * after,
            Ap::Trapezoid => recall_gain * (before + after) / 2.0,
        });
    }

    fn finish(self: Box<Self>, _: u64) -> f64 {
        self.area.value()
    }
}

/// Precision of a threshold; 1 where nothing is predicted, which is the point the curve starts from.
fn precision(found: u64, wrong: u64) -> f64 {
    match found + wrong {
        0 => 1.0,
        predicted => found as f64 / predicted as f64,
    }
}

/// What `image_ap` is in trapezoids.
pub(super) fn image_sentence(definitions: &Definitions) -> Option<String> {
    (definitions.ap == Ap::Trapezoid).then(|| {
        "Area under the precision-recall polyline over images, from recall 0 and precision 1 (optimistic between points).".into()
    })
}

/// What `pixel_ap` is in trapezoids.
pub(super) fn pixel_sentence(definitions: &Definitions) -> Option<String> {
    (definitions.ap == Ap::Trapezoid).then(|| {
        "Area under the precision-recall polyline over all pixels of all test images, from recall 0 and precision 1 (optimistic between points).".into()
    })
}
