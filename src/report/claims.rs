//! The claims of an experiment, held against its records.
//!
//! Owns: which runs a claim is about, and how its answer is shown. Does not own: the rule (`paper::claims`).

use super::evidence::{Arm, compare};
use super::render::{aligned_markdown, quoted};
use crate::error::Result;
use crate::paper::claims::{Evidence, Standing, decide};
use crate::record::Recorded;
use crate::spec::{Claim, Comparison};

/// A claim with what the records say of it.
#[derive(Debug)]
pub struct Checked<'a> {
    /// The claim.
    pub claim: &'a Claim,
    /// What was compared.
    pub comparison: Comparison,
    /// The difference.
    pub evidence: Evidence,
    /// What is said.
    pub standing: Standing,
}

/// Holds every claim against the records: one answer for each pair of dataset and number of seen anomalies.
///
/// # Errors
/// A damaged record.
pub fn check(recorded: &Recorded) -> Result<Vec<Checked<'_>>> {
    let mut checked = Vec::new();
    for claim in &recorded.experiment.claims {
        for comparison in claim.comparisons(&recorded.experiment.runs) {
            let arm =
                |variant: &str, seen: usize| Arm { variant: variant.into(), dataset: comparison.dataset.clone(), seen };
            let better = arm(claim.better.variant(), comparison.seen[0]);
            let than = arm(claim.than.variant(), comparison.seen[1]);
            let evidence = compare(recorded, [&better, &than], claim.metric, &claim.classes)?;
            let standing = decide(&evidence, claim.gain);
            checked.push(Checked { claim, comparison, evidence, standing });
        }
    }
    Ok(checked)
}

impl Checked<'_> {
    /// "full, 10 seen > full, 1 seen" with the dataset.
    pub fn compared(&self) -> String {
        let side = |variant: &str, seen: usize| format!("{variant}, {seen} seen");
        let (better, than) = (self.claim.better.variant(), self.claim.than.variant());
        let [first, second] = self.comparison.seen;
        format!("{}: {} against {}", self.comparison.dataset, side(better, first), side(than, second))
    }

    /// The difference with its interval in percent, or nothing.
    pub fn difference(&self) -> String {
        difference(&self.evidence)
    }

    /// Why it is undecided; empty otherwise.
    pub fn because(&self) -> String {
        match &self.standing {
            Standing::Undecided(why) => why.to_string(),
            _ => String::new(),
        }
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let interval = self.evidence.interval;
        serde_json::json!({
            "text": self.claim.text, "metric": self.claim.metric.as_str(), "gain": self.claim.gain,
            "better": self.claim.better.variant(), "than": self.claim.than.variant(),
            "dataset": self.comparison.dataset, "seen_anomalies": self.comparison.seen,
            "difference": interval.map(|i| i.estimate), "low": interval.map(|i| i.low), "high": interval.map(|i| i.high),
            "seeds": self.evidence.seeds, "images_left_out": self.evidence.left_out,
            "standing": self.standing.as_str(), "because": self.because(),
        })
    }

    fn row(&self) -> Vec<String> {
        let claimed = match self.claim.gain {
            0.0 => "better".into(),
            gain => format!("by more than {gain}"),
        };
        vec![
            self.claim.text.clone(),
            self.compared(),
            self.claim.metric.as_str().into(),
            claimed,
            self.difference(),
            self.evidence.seeds.to_string(),
            self.standing.as_str().into(),
            self.because(),
        ]
    }
}

/// "+1.2 [0.3, 2.1]" in percent, or a dash.
pub fn difference(evidence: &Evidence) -> String {
    evidence.interval.map_or("–".into(), |i| format!("{:+.1} [{:+.1}, {:+.1}]", i.estimate, i.low, i.high))
}

const HEAD: [&str; 8] = ["claim", "compared", "metric", "claimed", "difference [95 %]", "seeds", "answer", "because"];

/// What the intervals are.
pub const NOTE: &str = "Differences in percent with 95 % bootstrap intervals, paired: over images for image metrics, over classes and seeds for pixel metrics. Supported or not: the whole interval lies on one side of the claimed gain, with two seeds or more.";

/// For a terminal: a block per claim, which fits any width.
pub fn text(checked: &[Checked]) -> String {
    let mut out = format!("Claims. {NOTE}\n");
    let mut last = "";
    for item in checked {
        if item.claim.text != last {
            out += &format!("\n{}\n", item.claim.text);
            last = &item.claim.text;
        }
        let [_, compared, metric, claimed, difference, seeds, answer, because] =
            <[String; 8]>::try_from(item.row()).unwrap_or_else(|_| unreachable!("a row has as many cells as HEAD"));
        let because = if because.is_empty() { because } else { format!(" ({because})") };
        out +=
            &format!("  {answer}{because}\n    {compared}: {metric} {difference}, claimed {claimed}, seeds: {seeds}\n");
    }
    out
}

/// For a document.
pub fn markdown(checked: &[Checked]) -> String {
    let rows: Vec<Vec<String>> = checked.iter().map(Checked::row).collect();
    format!("### Claims\n\n{}\n{NOTE}\n", aligned_markdown(&HEAD, &rows))
}

/// For a paper.
pub fn latex(checked: &[Checked]) -> String {
    let row = |item: &Checked| {
        let [claim, _, _, claimed, difference, seeds, answer, _] =
            <[String; 8]>::try_from(item.row()).unwrap_or_else(|_| unreachable!("a row has as many cells as HEAD"));
        vec![claim, item.comparison.dataset.clone(), claimed, difference, seeds, answer]
    };
    let head = ["claim", "dataset", "claimed", "difference [95 %]", "seeds", "answer"];
    let rows: Vec<Vec<String>> = checked.iter().map(row).collect();
    super::latex::plain("p{0.38\\linewidth}lllll", &head, &rows) + "\n" + &super::latex::notes("Claims", &[NOTE.into()])
}

/// For a program.
pub fn csv(checked: &[Checked]) -> String {
    let mut out =
        "text,better,than,dataset,better_seen,than_seen,metric,gain,difference,low,high,seeds,answer,because\n"
            .to_string();
    for item in checked {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let interval = item.evidence.interval;
        out += &format!(
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
            quoted(&item.claim.text),
            quoted(item.claim.better.variant()),
            quoted(item.claim.than.variant()),
            quoted(&item.comparison.dataset),
            item.comparison.seen[0],
            item.comparison.seen[1],
            item.claim.metric.as_str(),
            item.claim.gain,
            number(interval.map(|i| i.estimate)),
            number(interval.map(|i| i.low)),
            number(interval.map(|i| i.high)),
            item.evidence.seeds,
            item.standing.as_str(),
            quoted(&item.because()),
        );
    }
    out
}
