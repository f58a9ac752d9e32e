//! From recorded rows to what intervals are drawn from.
//!
//! Owns: which images and values of which runs stand for one side of a comparison. Does not own: the draws
//! (`metrics::bootstrap`), or the rules (`paper`).

use std::collections::BTreeMap;

use crate::error::Result;
use crate::metrics::bootstrap::{
    ClassValue, ImageStatistic, Interval, Resampling, ScoredClass, ScoredImage, class_interval, image_interval,
};
use crate::paper::claims::{Evidence, class_evidence, image_evidence};
use crate::record::{MEAN, Recorded, RecordedRun};
use crate::spec::MetricName;

/// The recorded runs of one variant that differ in nothing but their seeds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arm {
    /// Row of the experiment.
    pub variant: String,
    /// Dataset.
    pub dataset: String,
    /// Seen anomalies per class.
    pub seen: usize,
}

impl Arm {
    /// The arm that a run belongs to.
    pub fn of(run: &RecordedRun) -> Self {
        Arm { variant: run.spec.variant.clone(), dataset: run.spec.dataset.clone(), seen: run.spec.protocol.seen.count }
    }

    /// Its runs that have numbers.
    pub fn runs<'a>(&self, recorded: &'a Recorded) -> Vec<&'a RecordedRun> {
        recorded.runs.iter().filter(|run| run.failure.is_none() && Arm::of(run) == *self).collect()
    }
}

/// The classes in which a metric is defined, by run: values in [0, 1].
pub fn values<'a>(recorded: &'a Recorded, runs: &[&'a RecordedRun], metric: MetricName) -> Vec<ClassValue<'a>> {
    let seeds: BTreeMap<&str, u64> = runs.iter().map(|run| (run.id.as_str(), run.spec.seed)).collect();
    let own = recorded.metrics.iter().filter(|row| row.metric == metric.as_str() && row.class != MEAN);
    own.filter_map(|row| Some(ClassValue { class: &row.class, seed: *seeds.get(row.run.as_str())?, value: row.value? }))
        .collect()
}

/// The scored images of the classes in which a metric is defined, by run.
///
/// # Errors
/// A damaged table of images.
pub fn scored<'a>(
    recorded: &'a Recorded,
    runs: &[&'a RecordedRun],
    metric: MetricName,
) -> Result<Vec<ScoredClass<'a>>> {
    let mut found = Vec::new();
    for run in runs {
        let mut classes: BTreeMap<&str, Vec<ScoredImage>> = BTreeMap::new();
        for row in run.images()? {
            let image = ScoredImage { path: &row.path, anomalous: row.label, score: row.score };
            classes.entry(&row.class).or_default().push(image);
        }
        let defined = values(recorded, &[run], metric);
        found.extend(
            classes
                .into_iter()
                .filter(|(class, _)| defined.iter().any(|value| value.class == *class))
                .map(|(class, images)| ScoredClass { class, seed: run.spec.seed, images }),
        );
    }
    Ok(found)
}

/// The classes of runs in the order of their records.
pub fn classes<'a>(recorded: &'a Recorded, runs: &[&RecordedRun]) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for row in recorded.metrics.iter().filter(|row| row.class != MEAN && runs.iter().any(|run| run.id == row.run)) {
        if !found.contains(&row.class.as_str()) {
            found.push(&row.class);
        }
    }
    found
}

/// What the records say of a difference, first minus second; `only` narrows the classes when it names any.
///
/// # Errors
/// A damaged table of images, or scores that contradict each other.
pub fn compare(recorded: &Recorded, arms: [&Arm; 2], metric: MetricName, only: &[String]) -> Result<Evidence> {
    let [first, second] = arms.map(|arm| arm.runs(recorded));
    compare_runs(recorded, &first, &second, metric, only)
}

/// The same for runs that need not be of one arm.
///
/// # Errors
/// As `compare`.
pub fn compare_runs(
    recorded: &Recorded,
    first: &[&RecordedRun],
    second: &[&RecordedRun],
    metric: MetricName,
    only: &[String],
) -> Result<Evidence> {
    let classes: Vec<&str> = match only.is_empty() {
        true => classes(recorded, &[first, second].concat()),
        false => only.iter().map(String::as_str).collect(),
    };
    if let Some(what) = other_definition(first, second, metric) {
        return Ok(Evidence { seeds: 1, missing: vec![what], ..Evidence::default() });
    }
    match first.first().and_then(|run| ImageStatistic::of(metric, run.spec.evaluation.ap)) {
        Some(statistic) => {
            let (first, second) = (scored(recorded, first, metric)?, scored(recorded, second, metric)?);
            image_evidence(&classes, &first, &second, statistic, Resampling::default())
        }
        None => {
            let (first, second) = (values(recorded, first, metric), values(recorded, second, metric));
            class_evidence(&classes, &first, &second, Resampling::default())
        }
    }
}

/// Numbers by two definitions have no difference.
pub fn other_definition(first: &[&RecordedRun], second: &[&RecordedRun], metric: MetricName) -> Option<String> {
    let is_image = ImageStatistic::of(metric, Default::default()).is_some();
    let differs = |a: &RecordedRun, b: &RecordedRun| match is_image {
        true => metric == MetricName::ImageAp && a.spec.evaluation.ap != b.spec.evaluation.ap,
        false => a.spec.evaluation != b.spec.evaluation,
    };
    let differ = first.iter().any(|a| second.iter().any(|b| differs(a, b)));
    differ.then(|| format!("one definition of {}: the two are evaluated differently", metric.as_str()))
}

/// The 95 % interval of the mean over seeds (and classes, when there are several), in [0, 1]: images resampled for image
/// metrics, classes and seeds for pixel metrics. `None` when nothing can be resampled.
///
/// # Errors
/// A damaged table of images.
pub fn interval(
    recorded: &Recorded,
    runs: &[&RecordedRun],
    metric: MetricName,
    class: Option<&str>,
) -> Result<Option<Interval>> {
    let wanted = |name: &str| class.is_none_or(|class| class == name);
    let values: Vec<ClassValue> = values(recorded, runs, metric).into_iter().filter(|v| wanted(v.class)).collect();
    // A class without one of the seeds has no interval over all seeds; the verdict itself says that something is missing.
    let mut by_class: BTreeMap<&str, usize> = BTreeMap::new();
    values.iter().for_each(|value| *by_class.entry(value.class).or_default() += 1);
    if values.is_empty() || by_class.values().any(|&count| count != runs.len()) {
        return Ok(None);
    }
    match ImageStatistic::of(metric, runs[0].spec.evaluation.ap) {
        Some(statistic) => {
            let scored: Vec<_> = scored(recorded, runs, metric)?.into_iter().filter(|s| wanted(s.class)).collect();
            image_interval(&scored, statistic, Resampling::default()).map(Some)
        }
        None => class_interval(&values, Resampling::default()),
    }
}
