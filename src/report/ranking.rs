//! How variants compare: ranked by each metric, each with its paired difference to the best; or in their own order, each
//! with its difference to one of them.
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
use crate::spec::{Arm, Table, names_variant};

/// The variants of one dataset by one metric.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Ranking {
    pub dataset: String,
    pub metric: MetricName,
    /// The variant that differences are to, where the table names one.
    pub against: Option<String>,
    /// Best first; in the order of the runs where the table names a variant to compare with.
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
    /// The variant minus the one it is compared with; `None` for that one itself.
    pub difference: Option<Evidence>,
    /// Which point of a sweep it is compared with, where the variant that the table names has several.
    pub point: Option<String>,
}

/// Compares what `spec` shows as it asks, for each dataset and metric.
///
/// # Errors
/// A damaged record.
pub fn rank(recorded: &Recorded, spec: &Table) -> Result<Vec<Ranking>> {
    let against = Some(spec.against.as_str()).filter(|name| !name.is_empty());
    let asked = spec.rank.then_some(None).into_iter().chain(against.map(Some));
    let arms = distinct(Wanted::of(spec).runs(recorded).map(|run| Arm::of(&run.spec)));
    let only: Vec<String> = spec.classes.iter().filter(|class| *class != MEAN).cloned().collect();
    let mut rankings = Vec::new();
    for against in asked {
        for (dataset, own) in groups(arms.iter().map(|arm| (arm.dataset.as_str(), arm))) {
            for &metric in metrics_of(recorded, spec) {
                let places = places(recorded, &own, metric, &only, against)?;
                let names = &recorded.experiment.names;
                let against = against.map(|name| names.of(name).into_owned());
                rankings.push(Ranking { dataset: names.of(dataset).into_owned(), metric, against, places });
            }
        }
    }
    Ok(rankings)
}

fn places(
    recorded: &Recorded,
    arms: &[&Arm],
    metric: MetricName,
    only: &[String],
    against: Option<&str>,
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
    if against.is_none() {
        // A mean over other classes is no mean to be ranked: such variants come last and are never the best.
        let every = distinct(found.iter().flat_map(|(_, runs, _)| runs.iter().flatten().map(|own| own.class))).len();
        let whole = |runs: &[Vec<ClassValue>]| runs.iter().all(|run| run.len() == every);
        found.sort_by(|a, b| whole(&b.1).cmp(&whole(&a.1)).then(mean(&b.2).total_cmp(&mean(&a.2))));
    }
    let several_counts = arms.iter().any(|arm| arm.seen != arms[0].seen);
    let compared_with = |arm: &Arm| match against {
        None => found.first().map(|(best, ..)| *best),
        Some(name) => alike(arms, arm, name),
    };
    let names = &recorded.experiment.names;
    let place = |(arm, _, means): &(&Arm, _, Vec<f64>)| {
        let other = compared_with(arm);
        let is_point = |other: &&Arm| other != arm && against.is_some_and(|name| name != other.variant);
        let point = other.filter(is_point).map(|other| names.of(&other.variant).into_owned());
        let difference = match other {
            Some(other) if other == *arm => None,
            Some(other) => Some(compare(recorded, [arm, other], metric, only)?),
            None => Some(Evidence { missing: vec!["nothing to compare with".into()], ..Evidence::default() }),
        };
        let name = names.of(&arm.variant);
        let label = if several_counts { format!("{name}, {} seen", arm.seen) } else { name.into_owned() };
        Ok(Ranked { label, mean: mean(means), sd: deviation(means), seeds: means.len(), difference, point })
    };
    found.iter().map(place).collect()
}

/// What of the variant called `name` an arm is compared with: like with like, that is with as many seen anomalies, and at the
/// same values of what was swept in both. Where several are alike, the first.
fn alike<'a>(arms: &[&'a Arm], arm: &Arm, name: &str) -> Option<&'a Arm> {
    let mut named = arms.iter().copied().filter(|other| names_variant(name, &other.variant) && other.seen == arm.seen);
    // A name with the sweep in it is meant as it is.
    named.find(|other| other.variant == name || arm.is_swept_as(other))
}

impl Ranking {
    /// What it ranks by, or compares with.
    pub fn title(&self) -> String {
        self.title_by(self.metric.as_str())
    }

    /// The same with another name for the metric.
    pub fn title_by(&self, metric: &str) -> String {
        let dataset = &self.dataset;
        match &self.against {
            None => format!("Ranked by {metric}, mean over classes of {dataset}"),
            Some(name) => format!("Compared with {name} by {metric}, mean over classes of {dataset}"),
        }
    }

    /// What differences are to.
    fn base(&self) -> &str {
        self.against.as_deref().unwrap_or("the best")
    }

    /// What the difference of a place is to.
    pub fn base_of<'a>(&'a self, place: &'a Ranked) -> &'a str {
        place.point.as_deref().unwrap_or(self.base())
    }

    /// What the difference of a place says, or why it says little.
    pub fn remark(&self, place: &Ranked) -> String {
        let Some(evidence) = &place.difference else { return self.base_of(place).into() };
        match evidence.interval {
            _ if !evidence.missing.is_empty() => format!("missing: {}", evidence.missing.join("; ")),
            None => "nothing to resample".into(),
            Some(own) if own.low <= 0.0 && own.high >= 0.0 => format!("not told apart from {}", self.base_of(place)),
            Some(_) if evidence.seeds < 2 => "one seed".into(),
            Some(own) if own.low > 0.0 => format!("better than {}", self.base_of(place)),
            Some(_) => format!("worse than {}", self.base_of(place)),
        }
    }

    /// The places as texts, in their order; their ranks where there are any.
    pub fn sheet(&self) -> Sheet {
        let compared = format!("difference to {} [95 %]", self.base());
        let head = ["rank", "variant", self.metric.as_str(), "seeds", &compared, ""];
        let first = usize::from(self.against.is_some());
        let row = |(number, place): (usize, &Ranked)| {
            let mean = Cell::Value(place.mean, place.sd, place.seeds).shown();
            let difference = place.difference.as_ref().map_or(String::new(), difference);
            let rank = (number + 1).to_string();
            let all = [rank, place.label.clone(), mean, place.seeds.to_string(), difference, self.remark(place)];
            all[first..].to_vec()
        };
        Sheet::new(&head[first..], self.places.iter().enumerate().map(row))
    }
}
