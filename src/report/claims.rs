//! The claims of an experiment, held against its records.
//!
//! Owns: which runs a claim is about, and how its answer is shown. Does not own: the rule (`paper::claims`).

use std::borrow::Cow;

use super::evidence::compare;
use super::export::Sheet;
use crate::error::Result;
use crate::metrics::bootstrap::Interval;
use crate::paper::claims::{Answer, Evidence, decide};
use crate::record::Recorded;
use crate::spec::{Arm, Claim, DisplayNames};

/// Digits behind the point that a difference has at most.
const MOST_DIGITS: usize = 4;

/// A claim with what the records say of it.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Checked<'a> {
    pub claim: &'a Claim,
    /// What was compared, the better side first.
    pub arms: [Arm; 2],
    pub evidence: Evidence,
    pub answer: Answer,
    /// What variants and datasets are called where people read.
    pub names: &'a DisplayNames,
}

/// Holds every claim against the records: one answer for each pair of variants, dataset and number of seen anomalies.
///
/// # Errors
/// A damaged record.
pub fn check(recorded: &Recorded) -> Result<Vec<Checked<'_>>> {
    let mut checked = Vec::new();
    for claim in &recorded.experiment.claims {
        for arms in claim.comparisons(&recorded.experiment.runs) {
            let evidence = compare(recorded, [&arms[0], &arms[1]], claim.metric, &claim.classes)?;
            let answer = decide(&evidence, claim.said());
            checked.push(Checked { claim, arms, evidence, answer, names: &recorded.experiment.names });
        }
    }
    Ok(checked)
}

impl Checked<'_> {
    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let (interval, [better, than]) = (self.evidence.interval, &self.arms);
        serde_json::json!({
            "text": self.claim.text, "metric": self.claim.metric.as_str(), "gain": self.claim.gain, "within": self.claim.within,
            "better": better.variant, "than": than.variant,
            "dataset": better.dataset, "seen_anomalies": [better.seen, than.seen],
            "difference": interval.map(|i| i.estimate), "low": interval.map(|i| i.low), "high": interval.map(|i| i.high),
            "seeds": self.evidence.seeds, "images_left_out": self.evidence.left_out,
            "standing": self.answer.as_str(), "because": self.answer.because(),
        })
    }

    /// The dataset that was compared on.
    pub fn dataset(&self) -> Cow<'_, str> {
        self.names.of(&self.arms[0].dataset)
    }

    /// Claim, what was compared, metric, what was claimed, difference, seeds, answer and why it is undecided, as texts.
    pub fn row(&self) -> [String; 8] {
        // "full, 10 seen against full, 1 seen" with the dataset.
        let named = |arm: &Arm| format!("{}, {} seen", self.names.of(&arm.variant), arm.seen);
        let [better, than] = self.arms.each_ref().map(named);
        [
            self.claim.text.clone(),
            format!("{}: {better} against {than}", self.dataset()),
            self.claim.metric.as_str().into(),
            self.claim.said().to_string(),
            difference(&self.evidence),
            self.evidence.seeds.to_string(),
            self.answer.as_str().into(),
            self.answer.because(),
        ]
    }
}

/// "+1.2 [+0.3, +2.1]" in percent, or a dash. An interval that 0 is not in shows none, so that it may have further digits.
pub fn difference(evidence: &Evidence) -> String {
    let Some(Interval { estimate, low, high, .. }) = evidence.interval else { return "–".into() };
    let nearest = low.abs().min(high.abs());
    let shows = |digits: &usize| format!("{nearest:.digits$}").parse() != Ok(0.0);
    let digits = if low > 0.0 || high < 0.0 { (1..=MOST_DIGITS).find(shows).unwrap_or(MOST_DIGITS) } else { 1 };
    format!("{estimate:+.digits$} [{low:+.digits$}, {high:+.digits$}]")
}

/// What the intervals are.
pub const NOTE: &str = "Differences in percent with 95 % bootstrap intervals, paired: over images for image metrics, over classes and seeds for pixel metrics. Supported or not: the whole interval lies on one side of the claimed gain, or within the claimed margin or beyond it, with two seeds or more.";

/// All answers as texts.
pub fn sheet(checked: &[Checked]) -> Sheet {
    let head = ["claim", "compared", "metric", "claimed", "difference [95 %]", "seeds", "answer", "because"];
    Sheet::new(&head, checked.iter().map(|item| item.row().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_is_told_apart_from_none_never_shows_none() {
        for ([estimate, low, high], expected) in [
            ([1.234, 0.3, 2.06], "+1.2 [+0.3, +2.1]"),
            ([0.5, 0.01, 1.3], "+0.50 [+0.01, +1.30]"),
            ([-0.5, -1.3, -0.004], "-0.500 [-1.300, -0.004]"),
            ([0.5, -0.01, 1.3], "+0.5 [-0.0, +1.3]"),
            ([0.0, 0.0, 0.0], "+0.0 [+0.0, +0.0]"),
        ] {
            let interval = Some(Interval { estimate, low, high, n: 1 });
            assert_eq!(difference(&Evidence { interval, ..Evidence::default() }), expected);
        }
        assert_eq!(difference(&Evidence::default()), "–");
    }
}
