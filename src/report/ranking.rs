//! Who is best: variants ranked by each metric, each with its paired difference to the best.
//!
//! Owns: the order and its forms. Does not own: intervals (`evidence`).

use super::claims::difference;
use super::evidence::{compare, values};
use super::export::Sheet;
use super::frame::{Wanted, distinct, groups, listed, runs_of};
use super::pivot::{Cell, metrics_of};
use crate::error::Result;
use crate::metrics::bootstrap::ClassValue;
use crate::metrics::{MetricName, deviation, mean};
use crate::paper::claims::Evidence;
use crate::record::{MEAN, Recorded};
use crate::spec::{Arm, Table};

/// The variants of one dataset in the order of one metric.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Ranking {
    pub dataset: String,
    pub metric: MetricName,
    /// Best first.
    pub places: Vec<Ranked>,
}

/// One variant.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Ranked {
    /// Variant, with its seen anomalies where they vary.
    pub label: String,
    /// Mean over classes and seeds, in [0, 1].
    pub mean: f64,
    /// Standard deviation over seeds; `None` for one.
    pub sd: Option<f64>,
    pub seeds: usize,
    /// The variant minus the best; `None` for the best itself.
    pub to_best: Option<Evidence>,
}

/// Ranks what `spec` shows, for each dataset and metric.
///
/// # Errors
/// A damaged record.
pub fn rank(recorded: &Recorded, spec: &Table) -> Result<Vec<Ranking>> {
    let arms = distinct(Wanted::of(spec).runs(recorded).map(|run| Arm::of(&run.spec)));
    let several_counts = arms.iter().any(|arm| arm.seen != arms[0].seen);
    let only: Vec<String> = spec.classes.iter().filter(|class| *class != MEAN).cloned().collect();
    let mut rankings = Vec::new();
    for (dataset, own) in groups(arms.iter().map(|arm| (arm.dataset.as_str(), arm))) {
        for &metric in metrics_of(recorded, spec) {
            let places = places(recorded, &own, metric, &only, several_counts)?;
            rankings.push(Ranking { dataset: dataset.into(), metric, places });
        }
    }
    Ok(rankings)
}

fn places(
    recorded: &Recorded,
    arms: &[&Arm],
    metric: MetricName,
    only: &[String],
    several_counts: bool,
) -> Result<Vec<Ranked>> {
    // The values of every class, run by run, and their means over classes.
    let numbers = |arm| -> (&Arm, Vec<Vec<ClassValue>>, Vec<f64>) {
        let own = |run| values(recorded, &[run], metric).into_iter().filter(|own| listed(only, own.class)).collect();
        let runs: Vec<Vec<ClassValue>> = runs_of(recorded, arm).into_iter().map(own).collect();
        let there = runs.iter().filter(|run| !run.is_empty());
        let means = there.map(|run| mean(&run.iter().map(|own| own.value).collect::<Vec<_>>())).collect();
        (arm, runs, means)
    };
    let mut found: Vec<_> = arms.iter().map(|arm| numbers(*arm)).filter(|(.., means)| !means.is_empty()).collect();
    // A mean over other classes is no mean to be ranked: such variants come last and are never the best.
    let every = distinct(found.iter().flat_map(|(_, runs, _)| runs.iter().flatten().map(|own| own.class))).len();
    let whole = |runs: &[Vec<ClassValue>]| runs.iter().all(|run| run.len() == every);
    found.sort_by(|a, b| whole(&b.1).cmp(&whole(&a.1)).then(mean(&b.2).total_cmp(&mean(&a.2))));
    let best = found.first().map(|(arm, ..)| *arm);
    let place = |(arm, _, means): &(&Arm, _, Vec<f64>)| {
        let to_best = match best.filter(|best| best != arm) {
            Some(best) => Some(compare(recorded, [arm, best], metric, only)?),
            None => None,
        };
        let label = if several_counts { format!("{}, {} seen", arm.variant, arm.seen) } else { arm.variant.clone() };
        Ok(Ranked { label, mean: mean(means), sd: deviation(means), seeds: means.len(), to_best })
    };
    found.iter().map(place).collect()
}

impl Ranked {
    /// Why the difference to the best says little; empty otherwise.
    pub fn remark(&self) -> String {
        let Some(evidence) = &self.to_best else { return "the best".into() };
        match evidence.interval {
            _ if !evidence.missing.is_empty() => format!("missing: {}", evidence.missing.join("; ")),
            None => "nothing to resample".into(),
            Some(interval) if interval.low <= 0.0 && interval.high >= 0.0 => "not told apart from the best".into(),
            Some(_) if evidence.seeds < 2 => "one seed".into(),
            Some(_) => String::new(),
        }
    }

    fn row(&self, rank: usize) -> Vec<String> {
        let mean = Cell::Value(self.mean, self.sd, self.seeds).shown();
        let to_best = self.to_best.as_ref().map_or(String::new(), difference);
        vec![rank.to_string(), self.label.clone(), mean, self.seeds.to_string(), to_best, self.remark()]
    }
}

impl Ranking {
    /// What it ranks by.
    pub fn title(&self) -> String {
        format!("Ranked by {}, mean over classes of {}", self.metric.as_str(), self.dataset)
    }

    /// The places as texts, best first.
    pub fn sheet(&self) -> Sheet {
        let head = ["rank", "variant", self.metric.as_str(), "seeds", "difference to the best [95 %]", ""];
        Sheet::new(&head, self.places.iter().enumerate().map(|(number, place)| place.row(number + 1)))
    }
}
