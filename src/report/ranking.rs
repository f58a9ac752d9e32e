//! Who is best: variants ranked by each metric, each with its paired difference to the best.
//!
//! Owns: the order and its forms. Does not own: intervals (`evidence`).

use std::collections::BTreeSet;

use super::claims::difference;
use super::evidence::{Arm, compare, values};
use super::render::{aligned_markdown, plain, quoted};
use crate::error::Result;
use crate::paper::claims::Evidence;
use crate::record::{MEAN, Recorded, RecordedRun};
use crate::spec::{MetricName, Table, lists_variant};

/// The variants of one dataset in the order of one metric.
#[derive(Debug)]
pub struct Ranking {
    /// Dataset.
    pub dataset: String,
    /// Metric.
    pub metric: MetricName,
    /// Best first.
    pub places: Vec<Place>,
}

/// One variant.
#[derive(Debug)]
pub struct Place {
    /// Variant, with its seen anomalies where they vary.
    pub label: String,
    /// Mean over classes and seeds, in [0, 1].
    pub mean: f64,
    /// Standard deviation over seeds; `None` for one.
    pub sd: Option<f64>,
    /// Seeds.
    pub seeds: usize,
    /// The variant minus the best; `None` for the best itself.
    pub to_best: Option<Evidence>,
}

/// Ranks what `spec` shows, for each dataset and metric.
///
/// # Errors
/// A damaged record.
pub fn rank(recorded: &Recorded, spec: &Table) -> Result<Vec<Ranking>> {
    let listed = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
    let mut arms: Vec<Arm> = Vec::new();
    for run in recorded.runs.iter().filter(|run| run.failure.is_none()) {
        let (arm, method) = (Arm::of(run), run.spec.method_name());
        let wanted = listed(&spec.datasets, &arm.dataset)
            && lists_variant(&spec.variants, &arm.variant)
            && listed(&spec.methods, method);
        if wanted && !arms.contains(&arm) {
            arms.push(arm);
        }
    }
    let several_counts = arms.iter().any(|arm| arm.seen != arms[0].seen);
    let mut datasets: Vec<&str> = Vec::new();
    for arm in &arms {
        if !datasets.contains(&arm.dataset.as_str()) {
            datasets.push(&arm.dataset);
        }
    }
    let metrics = if spec.metrics.is_empty() { &recorded.experiment.metrics } else { &spec.metrics };
    let only: Vec<String> = spec.classes.iter().filter(|class| *class != MEAN).cloned().collect();
    let mut rankings = Vec::new();
    for dataset in datasets {
        for &metric in metrics {
            let own: Vec<&Arm> = arms.iter().filter(|arm| arm.dataset == dataset).collect();
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
) -> Result<Vec<Place>> {
    let mut found: Vec<(&Arm, Vec<f64>)> =
        arms.iter().map(|arm| (*arm, means(recorded, arm, metric, only))).filter(|(_, m)| !m.is_empty()).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    // A mean over other classes is no mean to be ranked: such variants come last and are never the best.
    let every: BTreeSet<&str> =
        arms.iter().flat_map(|arm| defined(recorded, &arm.runs(recorded), metric, only)).collect();
    let whole = |arm: &Arm| {
        arm.runs(recorded).into_iter().all(|run| defined(recorded, &[run], metric, only).len() == every.len())
    };
    found.sort_by(|a, b| whole(b.0).cmp(&whole(a.0)).then(mean(&b.1).total_cmp(&mean(&a.1))));
    let best = found.first().map(|(arm, _)| *arm);
    let place = |(arm, values): &(&Arm, Vec<f64>)| {
        let (mean, seeds) = (mean(values), values.len());
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let to_best = match best.filter(|best| best != arm) {
            Some(best) => Some(compare(recorded, [arm, best], metric, only)?),
            None => None,
        };
        let label = if several_counts { format!("{}, {} seen", arm.variant, arm.seen) } else { arm.variant.clone() };
        Ok(Place { label, mean, sd: (seeds > 1).then(|| (squares / (seeds - 1) as f64).sqrt()), seeds, to_best })
    };
    found.iter().map(place).collect()
}

/// The classes in which a metric is defined in some of the runs.
fn defined<'a>(
    recorded: &'a Recorded,
    runs: &[&'a RecordedRun],
    metric: MetricName,
    only: &[String],
) -> BTreeSet<&'a str> {
    let classes = values(recorded, runs, metric).into_iter().map(|value| value.class);
    classes.filter(|class| only.is_empty() || only.iter().any(|wanted| wanted == class)).collect()
}

/// Mean over classes of each seed.
fn means(recorded: &Recorded, arm: &Arm, metric: MetricName, only: &[String]) -> Vec<f64> {
    let of_run = |run| {
        let own = values(recorded, &[run], metric);
        let kept: Vec<f64> = own
            .iter()
            .filter(|value| only.is_empty() || only.iter().any(|class| class == value.class))
            .map(|value| value.value)
            .collect();
        (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
    };
    arm.runs(recorded).into_iter().filter_map(of_run).collect()
}

impl Place {
    /// Why the difference to the best says little; empty otherwise.
    fn remark(&self) -> String {
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
        let mean = match self.sd {
            Some(sd) => format!("{:.1} ± {:.1}", 100.0 * self.mean, 100.0 * sd),
            None => format!("{:.1}", 100.0 * self.mean),
        };
        let to_best = self.to_best.as_ref().map_or(String::new(), difference);
        vec![rank.to_string(), self.label.clone(), mean, self.seeds.to_string(), to_best, self.remark()]
    }
}

impl Ranking {
    /// What it ranks by.
    pub fn title(&self) -> String {
        format!("Ranked by {}, mean over classes of {}", self.metric.as_str(), self.dataset)
    }

    /// Names of the columns.
    pub fn head(&self) -> [&'static str; 6] {
        ["rank", "variant", self.metric.as_str(), "seeds", "difference to the best [95 %]", ""]
    }

    /// The places as texts, best first.
    pub fn rows(&self) -> Vec<Vec<String>> {
        self.places.iter().enumerate().map(|(number, place)| place.row(number + 1)).collect()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        format!("{}\n{}\n", self.title(), plain(&self.head(), self.rows().into_iter()))
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        format!("\n#### {}\n\n{}", self.title(), aligned_markdown(&self.head(), &self.rows()))
    }
}

/// All rankings of a table for a program, in full precision; differences in percent.
pub fn csv(rankings: &[Ranking]) -> String {
    let mut out = "dataset,metric,rank,variant,mean,sd,seeds,difference,low,high,remark\n".to_string();
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for ranking in rankings {
        for (place, item) in ranking.places.iter().enumerate() {
            let interval = item.to_best.as_ref().and_then(|evidence| evidence.interval);
            out += &format!(
                "{},{},{},{},{},{},{},{},{},{},{}\n",
                quoted(&ranking.dataset),
                ranking.metric.as_str(),
                place + 1,
                quoted(&item.label),
                item.mean,
                number(item.sd),
                item.seeds,
                number(interval.map(|i| i.estimate)),
                number(interval.map(|i| i.low)),
                number(interval.map(|i| i.high)),
                quoted(&item.remark()),
            );
        }
    }
    out
}
