//! Intervals of image metrics: images resampled within their class.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::grid::{Grid, matched};
use super::{Interval, Resampling, percentiles};
use crate::error::{Error, Result};
use crate::metrics::walk::{Totals, Walks};
use crate::metrics::{Definitions, Level, MetricName};
use crate::random::{Purpose, name_index, stream};

/// Redraws before a class is given up in which some run keeps none of the drawn anomalous or normal images.
const MOST_REDRAWS: usize = 1000;

/// An image metric that can be resampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageStatistic {
    metric: MetricName,
    definitions: Definitions,
}

impl ImageStatistic {
    /// The statistic behind a metric; `None` for pixel metrics.
    pub fn of(metric: MetricName, definitions: Definitions) -> Option<Self> {
        (metric.kind().level == Level::Image).then_some(ImageStatistic { metric, definitions })
    }
}

/// A difference on common images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// First minus second.
    pub interval: Interval,
    /// Images that only one of the two was tested on, over all classes and seeds: seen anomalies of the other.
    pub left_out: usize,
}

/// One scored test image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredImage<'a> {
    /// What identifies it within its class, in every run.
    pub path: &'a str,
    /// Whether it is anomalous.
    pub anomalous: bool,
    /// Higher = more abnormal.
    pub score: f64,
}

/// The test images of one class, as one run scored them.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredClass<'a> {
    /// Class.
    pub class: &'a str,
    /// Seed of the run.
    pub seed: u64,
    /// Its test images, in any order.
    pub images: Vec<ScoredImage<'a>>,
}

/// Interval of an image metric: mean over classes of the mean over seeds, images resampled.
///
/// # Errors
/// No class, a class without one of the seeds or given twice, an image twice or with two labels, scores that are not
/// finite, a class without anomalous or without normal images, runs that have next to no images in common.
pub fn image_interval(runs: &[ScoredClass], statistic: ImageStatistic, resampling: Resampling) -> Result<Interval> {
    let grid = Grid::new(runs.iter().map(|run| (run.class, run.seed, vec![run.images.as_slice()])))?;
    interval(&classes(&grid)?, statistic, resampling)
}

/// Interval of a difference of image metrics, first minus second, on the images that both were tested on; otherwise as
/// `image_interval`.
///
/// # Errors
/// As `image_interval`, and when the two have not the same classes and seeds.
pub fn paired_image_interval(
    first: &[ScoredClass],
    second: &[ScoredClass],
    statistic: ImageStatistic,
    resampling: Resampling,
) -> Result<Paired> {
    let pairs = matched(first, second, |run| (run.class, run.seed))?;
    let mut left_out = 0;
    let common: Vec<[Vec<ScoredImage>; 2]> = pairs
        .iter()
        .map(|(first, second)| {
            let kept = [only(&first.images, &second.images), only(&second.images, &first.images)];
            left_out += first.images.len() + second.images.len() - kept[0].len() - kept[1].len();
            kept
        })
        .collect();
    let arms = pairs.iter().zip(&common).map(|((run, _), [a, b])| (run.class, run.seed, vec![&a[..], &b[..]]));
    Ok(Paired { interval: interval(&classes(&Grid::new(arms)?)?, statistic, resampling)?, left_out })
}

/// The images of `own` that are also in `other`.
fn only<'a>(own: &[ScoredImage<'a>], other: &[ScoredImage]) -> Vec<ScoredImage<'a>> {
    let known: BTreeSet<&str> = other.iter().map(|image| image.path).collect();
    own.iter().filter(|image| known.contains(image.path)).copied().collect()
}

/// One class: its images over all runs, the anomalous ones numbered first, and every run's ranking of them.
struct Class {
    stream: u64,
    positives: usize,
    negatives: usize,
    /// seeds × methods (one, or the two of a difference).
    rankings: Vec<Vec<Ranking>>,
}

/// The images of one run from the highest score down; the last one of equal scores carries `GROUP_END`.
struct Ranking {
    order: Vec<u32>,
    /// All images of the class are there, so that totals need no counting.
    whole: bool,
}

const GROUP_END: u32 = 1 << 31;

fn classes(grid: &Grid<Vec<&[ScoredImage]>>) -> Result<Vec<Class>> {
    grid.classes.iter().zip(&grid.cells).map(|(name, seeds)| Class::new(name, seeds)).collect()
}

impl Class {
    fn new(name: &str, seeds: &[Vec<&[ScoredImage]>]) -> Result<Self> {
        let wrong = |what: &str, help: &str| Error::method(format!("class {name}: {what}"), help);
        let mut labels: BTreeMap<&str, bool> = BTreeMap::new();
        for image in seeds.iter().flatten().flat_map(|images| images.iter()) {
            if !image.score.is_finite() {
                let what = format!("the score of {} is {}", image.path, image.score);
                return Err(wrong(&what, "scores must be finite numbers; find out why the method gave none"));
            }
            if *labels.entry(image.path).or_insert(image.anomalous) != image.anomalous {
                let what = format!("{} is normal in one run and anomalous in another", image.path);
                return Err(wrong(&what, "compare runs on the same data"));
            }
        }
        let positives = labels.values().filter(|anomalous| **anomalous).count();
        let (mut next_positive, mut next_negative) = (0, positives as u32);
        let numbers: BTreeMap<&str, u32> = labels
            .iter()
            .map(|(path, &anomalous)| {
                let next = if anomalous { &mut next_positive } else { &mut next_negative };
                *next += 1;
                (*path, *next - 1)
            })
            .collect();
        let rankings = seeds.iter().map(|arms| arms.iter().map(|images| Ranking::new(images, &numbers)).collect());
        let class = Class {
            stream: name_index(name),
            positives,
            negatives: labels.len() - positives,
            rankings: rankings.collect(),
        };
        for (images, ranking) in seeds.iter().flatten().zip(class.rankings.iter().flatten()) {
            let different: BTreeSet<u32> = ranking.order.iter().map(|item| item & !GROUP_END).collect();
            if different.len() != images.len() {
                return Err(wrong("an image is there twice in one run", "give each image once"));
            }
            let anomalous = images.iter().filter(|image| image.anomalous).count();
            if anomalous == 0 || anomalous == images.len() {
                let help = "leave classes out in which the metric is undefined";
                return Err(wrong("a run has only anomalous or only normal images", help));
            }
        }
        Ok(class)
    }

    /// How often every image is drawn: as many anomalous and as many normal ones as there are, and of both at least one
    /// that each run was tested on.
    fn draw(&self, seed: u64, resample: usize) -> Result<Vec<u32>> {
        let mut stream = stream(seed, Purpose::Bootstrap, self.stream.wrapping_add(resample as u64));
        for _ in 0..MOST_REDRAWS {
            let mut counts = vec![0; self.positives + self.negatives];
            (0..self.positives).for_each(|_| counts[stream.below(self.positives)] += 1);
            (0..self.negatives).for_each(|_| counts[self.positives + stream.below(self.negatives)] += 1);
            let mut runs = self.rankings.iter().flatten();
            if runs.all(|ranking| !ranking.drawn(&counts, self.positives).contains(&0)) {
                return Ok(counts);
            }
        }
        Err(Error::method("the runs were tested on almost entirely different images", "compare runs on the same data"))
    }

    /// Mean over seeds of the metric, or of the difference of two methods.
    fn value(&self, counts: &[u32], statistic: ImageStatistic) -> f64 {
        let of = |ranking: &Ranking| ranking.value(counts, self.positives, statistic);
        let total: f64 = self.rankings.iter().map(|arms| of(&arms[0]) - arms.get(1).map_or(0.0, of)).sum();
        total / self.rankings.len() as f64
    }
}

impl Ranking {
    fn new(images: &[ScoredImage], numbers: &BTreeMap<&str, u32>) -> Self {
        let mut ranked: Vec<(f64, u32)> = images.iter().map(|image| (image.score, numbers[image.path])).collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut order = Vec::with_capacity(ranked.len());
        for group in ranked.chunk_by(|a, b| a.0 == b.0) {
            order.extend(group.iter().map(|&(_, number)| number));
            order.last_mut().into_iter().for_each(|last| *last |= GROUP_END);
        }
        Ranking { order, whole: ranked.len() == numbers.len() }
    }

    /// Anomalous and normal images of this run among the drawn ones.
    fn drawn(&self, counts: &[u32], positives: usize) -> [u64; 2] {
        if self.whole {
            return [positives as u64, (counts.len() - positives) as u64];
        }
        let mut totals = [0; 2];
        for number in self.order.iter().map(|item| (item & !GROUP_END) as usize) {
            totals[usize::from(number >= positives)] += u64::from(counts[number]);
        }
        totals
    }

    fn value(&self, counts: &[u32], positives: usize, statistic: ImageStatistic) -> f64 {
        let [all_hits, all_misses] = self.drawn(counts, positives);
        let totals = Totals { positives: all_hits, negatives: all_misses, regions: 0 };
        let mut walks = Walks::new(totals, std::iter::once(statistic.metric), &statistic.definitions);
        let (mut hits, mut misses) = (0, 0);
        for item in &self.order {
            let number = (item & !GROUP_END) as usize;
            let side = if number < positives { &mut hits } else { &mut misses };
            *side += u64::from(counts[number]);
            if item & GROUP_END != 0 {
                walks.pass(std::mem::take(&mut hits), std::mem::take(&mut misses), 0.0);
            }
        }
        walks.finish().sum()
    }
}

fn interval(classes: &[Class], statistic: ImageStatistic, resampling: Resampling) -> Result<Interval> {
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / classes.len() as f64;
    let once = |class: &Class| class.value(&vec![1; class.positives + class.negatives], statistic);
    let draws = (0..resampling.resamples).into_par_iter().map(|resample| {
        let value = |class: &Class| Ok(class.value(&class.draw(resampling.seed, resample)?, statistic));
        let values = classes.iter().map(value).collect::<Result<Vec<f64>>>()?;
        Ok(mean(&mut values.into_iter()))
    });
    let images = classes.iter().map(|class| class.positives + class.negatives).sum();
    Ok(percentiles(mean(&mut classes.iter().map(once)), draws.collect::<Result<_>>()?, images))
}
