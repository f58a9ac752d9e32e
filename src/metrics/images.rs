//! Image metrics: one score and one label per image.

use super::walk::{Totals, values};
use super::{Definitions, Level, Metric, MetricName};
use crate::error::{Error, Result};

/// The metrics that rank images, in the order of the registry, of one score and one label (`true` = anomalous) per image.
///
/// # Errors
/// A score that is NaN or infinite; the message counts images from 0.
///
/// # Panics
/// When there are not as many labels as scores.
pub fn image_metrics(scores: &[f64], labels: &[bool], definitions: &Definitions) -> Result<Vec<Metric>> {
    assert_eq!(scores.len(), labels.len(), "one label per score");
    if let Some(image) = scores.iter().position(|score| !score.is_finite()) {
        let what = format!("the score of image {image} (counted from 0) is {}", scores[image]);
        return Err(Error::method(what, "scores must be finite numbers; find out why the method gave none"));
    }
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    let positives = labels.iter().filter(|&&label| label).count() as u64;
    let totals = Totals { positives, negatives: labels.len() as u64 - positives, regions: 0 };
    values(totals, MetricName::of(Level::Image), definitions, |walks| {
        for group in ranked.chunk_by(|a, b| a.0 == b.0) {
            let hits = group.iter().filter(|(_, label)| *label).count();
            walks.pass(hits as u64, (group.len() - hits) as u64, 0.0);
        }
        Ok(())
    })
}
