//! How far a number might have come out elsewhere: bootstrap intervals.
//!
//! Two kinds, by what a metric is made of. An image metric can be computed again on resampled images: they are drawn
//! with replacement among the anomalous and among the normal images of each class, the same draw for every seed and
//! method, so that a difference between methods is judged on equal images. Pixel metrics have no parts per image here:
//! for them classes and seeds are drawn instead, and the interval speaks of other classes and seeds, not of other
//! images.
//!
//! Owns: the draws, the intervals, and what may be paired. Does not own: the metrics, or which of two
//! methods an interval speaks for. Every draw comes from a stream of its own (class and resample), so neither threads
//! nor other classes change it.

mod grid;
mod images;

use rayon::prelude::*;

use self::grid::{Grid, matched};
use crate::error::{Error, Result};
use crate::random::{Purpose, stream};

pub use images::{ImageStatistic, Paired, ScoredClass, ScoredImage, image_interval, paired_image_interval};

/// How often, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    /// Resamples; 2000 put the ends of an interval within a few hundredths of its width.
    pub resamples: usize,
    /// Seed of the draws, not of any run.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Resampling { resamples: 2000, seed: 0 }
    }
}

/// A number with its 95 % percentile interval, both in the unit of what was given ([0, 1] for metrics).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The number on the data as they are.
    pub estimate: f64,
    /// 2.5th percentile of the resamples.
    pub low: f64,
    /// 97.5th percentile of the resamples.
    pub high: f64,
    /// What was resampled: different images of all classes, or pairs of class and seed.
    pub n: usize,
}

impl Interval {
    /// The same in another unit: times 100 for percent.
    pub fn times(self, factor: f64) -> Self {
        Interval { estimate: self.estimate * factor, low: self.low * factor, high: self.high * factor, ..self }
    }
}

/// A metric of one class in one run.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct ClassValue<'a> {
    pub class: &'a str,
    pub seed: u64,
    pub value: f64,
}

/// Interval of any metric by classes: mean over classes and seeds, both resampled. `None` when there is one class and
/// one seed, from which nothing can be drawn.
///
/// # Errors
/// No class, a class without one of the seeds or given twice, a value that is not finite.
pub fn class_interval(values: &[ClassValue], resampling: Resampling) -> Result<Option<Interval>> {
    if let Some(value) = values.iter().find(|value| !value.value.is_finite()) {
        let what = format!("the value of class {} with seed {} is {}", value.class, value.seed, value.value);
        return Err(Error::method(what, "leave classes out in which the metric is undefined"));
    }
    let grid = Grid::new(values.iter().map(|value| (value.class, value.seed, value.value)))?;
    let (classes, seeds) = (grid.classes.len(), grid.seeds.len());
    if classes * seeds == 1 {
        return Ok(None);
    }
    let mean = |picks: &mut dyn FnMut(usize) -> usize| {
        let rows: Vec<&Vec<f64>> = (0..classes).map(|_| &grid.cells[picks(classes)]).collect();
        let columns: Vec<usize> = (0..seeds).map(|_| picks(seeds)).collect();
        let total: f64 = rows.iter().map(|row| columns.iter().map(|&seed| row[seed]).sum::<f64>()).sum();
        total / (classes * seeds) as f64
    };
    let draws = (0..resampling.resamples).into_par_iter().map(|resample| {
        let mut stream = stream(resampling.seed, Purpose::BootstrapClasses, resample as u64);
        mean(&mut |count| stream.below(count))
    });
    let estimate = grid.cells.iter().flatten().sum::<f64>() / (classes * seeds) as f64;
    Ok(Some(percentiles(estimate, draws.collect(), classes * seeds)))
}

/// Interval of a difference by classes, first minus second, otherwise as `class_interval`.
///
/// # Errors
/// As `class_interval`, and when the two have not the same classes and seeds.
pub fn paired_class_interval(
    first: &[ClassValue],
    second: &[ClassValue],
    resampling: Resampling,
) -> Result<Option<Interval>> {
    let pairs = matched(first, second, |value| (value.class, value.seed))?;
    let differences: Vec<ClassValue> =
        pairs.iter().map(|(a, b)| ClassValue { value: a.value - b.value, ..**a }).collect();
    class_interval(&differences, resampling)
}

/// The interval between two percentiles, interpolated between the two nearest draws. Without draws it is the estimate.
fn percentiles(estimate: f64, mut draws: Vec<f64>, n: usize) -> Interval {
    draws.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let Some(last) = draws.len().checked_sub(1) else { return estimate };
        let place = share * last as f64;
        let (below, above) = (draws[place.floor() as usize], draws[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    Interval { estimate, low: at(0.025), high: at(0.975), n }
}
