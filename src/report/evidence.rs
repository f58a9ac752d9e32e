//! From recorded rows to what intervals are drawn from.
//!
//! Owns: which images and values of which runs stand for one side of a comparison. Does not own: the draws
//! (`metrics::bootstrap`), or the rules (`paper`).

use std::collections::BTreeMap;

use super::frame::{classes, groups, runs_of};
use crate::error::Result;
use crate::metrics::bootstrap::{
    ClassValue, ImageStatistic, Interval, Resampling, ScoredClass, ScoredImage, class_interval, image_interval,
};
use crate::metrics::{Level, MetricName};
use crate::paper::claims::{Evidence, class_evidence, image_evidence};
use crate::record::{ImageRow, MEAN, MetricRecord, Recorded, RecordedRun};
use crate::spec::Arm;

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
fn scored<'a>(recorded: &'a Recorded, runs: &[&'a RecordedRun], metric: MetricName) -> Result<Vec<ScoredClass<'a>>> {
    let mut found = Vec::new();
    for run in runs {
        let defined = values(recorded, &[run], metric);
        let rows = run.images()?.iter().filter(|row| defined.iter().any(|value| value.class == row.class));
        let image = |row: &'a ImageRow| ScoredImage { path: &row.path, anomalous: row.label, score: row.score };
        let classes = groups(rows.map(|row| (row.class.as_str(), image(row))));
        found.extend(classes.into_iter().map(|(class, images)| ScoredClass { class, seed: run.spec.seed, images }));
    }
    Ok(found)
}

/// What the records say of a difference, first minus second; `only` narrows the classes when it names any.
///
/// # Errors
/// A damaged table of images, or scores that contradict each other.
pub fn compare(recorded: &Recorded, arms: [&Arm; 2], metric: MetricName, only: &[String]) -> Result<Evidence> {
    let [first, second] = arms.map(|arm| runs_of(recorded, arm));
    let is_theirs = |row: &&MetricRecord| first.iter().chain(&second).any(|run| run.id == row.run);
    let classes: Vec<&str> = match only.is_empty() {
        true => classes(recorded.metrics.iter().filter(is_theirs)),
        false => only.iter().map(String::as_str).collect(),
    };
    match other_definition(&first, &second, metric) {
        Some(what) => Ok(Evidence { seeds: 1, missing: vec![what], ..Evidence::default() }),
        None => paired(&classes, [(recorded, &first), (recorded, &second)], metric, |seed| seed),
    }
}

/// One side of a comparison: runs, and the records they are in.
pub type Side<'a> = (&'a Recorded, &'a [&'a RecordedRun]);

/// The paired difference in `classes`, first minus second: images resampled for image metrics, classes and seeds for
/// pixel metrics. What has the same `seed` is paired.
///
/// # Errors
/// As `compare`.
pub fn paired(classes: &[&str], sides: [Side; 2], metric: MetricName, seed: fn(u64) -> u64) -> Result<Evidence> {
    match sides[0].1.first().and_then(|run| ImageStatistic::of(metric, run.spec.evaluation.definitions())) {
        Some(statistic) => {
            let [first, second] = sides.map(|(recorded, runs)| -> Result<Vec<_>> {
                let all = scored(recorded, runs, metric)?.into_iter();
                Ok(all.map(|own| ScoredClass { seed: seed(own.seed), ..own }).collect())
            });
            image_evidence(classes, &first?, &second?, statistic, Resampling::default())
        }
        None => {
            let [first, second] = sides.map(|(recorded, runs)| -> Vec<_> {
                let all = values(recorded, runs, metric).into_iter();
                all.map(|own| ClassValue { seed: seed(own.seed), ..own }).collect()
            });
            class_evidence(classes, &first, &second, Resampling::default())
        }
    }
}

/// Numbers by two definitions have no difference.
pub fn other_definition(first: &[&RecordedRun], second: &[&RecordedRun], metric: MetricName) -> Option<String> {
    let definition = |run: &RecordedRun| metric.definition(&run.spec.evaluation.definitions());
    let differs = |a: &RecordedRun, b: &RecordedRun| match metric.kind().level {
        Level::Image => definition(a) != definition(b),
        Level::Pixel => a.spec.evaluation != b.spec.evaluation,
    };
    let differ = first.iter().any(|a| second.iter().any(|b| differs(a, b)));
    differ.then(|| format!("one definition of {}: the two are evaluated differently", metric.as_str()))
}

/// The 95 % interval of the mean over seeds (and classes, when there are several), in [0, 1]: images resampled for image
/// metrics, classes and seeds for pixel metrics. `None` when nothing can be resampled.
///
/// # Errors
/// A damaged table of images.
pub fn interval((recorded, runs): Side, metric: MetricName, class: Option<&str>) -> Result<Option<Interval>> {
    let wanted = |name: &str| class.is_none_or(|class| class == name);
    let values: Vec<ClassValue> = values(recorded, runs, metric).into_iter().filter(|v| wanted(v.class)).collect();
    // A class without one of the seeds has no interval over all seeds; the verdict itself says that something is missing.
    let by_class = groups(values.iter().map(|value| (value.class, ())));
    if values.is_empty() || by_class.iter().any(|(_, seeds)| seeds.len() != runs.len()) {
        return Ok(None);
    }
    match ImageStatistic::of(metric, runs[0].spec.evaluation.definitions()) {
        Some(statistic) => {
            let scored: Vec<_> = scored(recorded, runs, metric)?.into_iter().filter(|s| wanted(s.class)).collect();
            image_interval(&scored, statistic, Resampling::default()).map(Some)
        }
        None => class_interval(&values, Resampling::default()),
    }
}
