//! How far a number might have come out elsewhere: bootstrap intervals.
//!
//! Two kinds, by what a metric is made of. An image metric can be computed again on resampled images: they are drawn
//! with replacement among the anomalous and among the normal images of each class, the same draw for every seed and
//! method, so that a difference between methods is judged on equal images. Pixel metrics have no parts per image here:
//! for them classes and seeds are drawn instead, and the interval speaks of other classes and seeds, not of other
//! images.
//!
//! Owns: the draws, the intervals, and what may be paired. Does not own: the metrics (`ranking`), or which of two
//! methods an interval speaks for. Every draw comes from a stream of its own (class and resample), so neither threads
//! nor other classes change it.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::ranking::Sweep;
use crate::error::{Error, Result};
use crate::random::{Purpose, name_index, stream};
use crate::spec::{Ap, MetricName};

/// Redraws before a class is given up in which some run keeps none of the drawn anomalous or normal images.
const MOST_REDRAWS: usize = 1000;

/// An image metric that can be resampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageStatistic {
    /// `image_auroc`.
    Auroc,
    /// `image_ap`, of this kind.
    Ap(Ap),
    /// `image_f1max`.
    F1max,
}

impl ImageStatistic {
    /// The statistic behind a metric's name; `None` for pixel metrics.
    pub fn of(metric: MetricName, ap: Ap) -> Option<Self> {
        match metric {
            MetricName::ImageAuroc => Some(ImageStatistic::Auroc),
            MetricName::ImageAp => Some(ImageStatistic::Ap(ap)),
            MetricName::ImageF1max => Some(ImageStatistic::F1max),
            MetricName::PixelAuroc | MetricName::PixelAp | MetricName::PixelF1max | MetricName::PixelPro => None,
        }
    }
}

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

/// A metric of one class in one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassValue<'a> {
    /// Class.
    pub class: &'a str,
    /// Seed of the run.
    pub seed: u64,
    /// The metric.
    pub value: f64,
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

/// The items of both lists that have the same class and seed, in their order.
fn matched<'a, T>(first: &'a [T], second: &'a [T], key: fn(&T) -> (&str, u64)) -> Result<Vec<(&'a T, &'a T)>> {
    let keys =
        |items: &'a [T]| -> BTreeMap<(&'a str, u64), &'a T> { items.iter().map(|item| (key(item), item)).collect() };
    let (left, right) = (keys(first), keys(second));
    let lonely =
        left.keys().find(|key| !right.contains_key(*key)).or(right.keys().find(|key| !left.contains_key(*key)));
    if let Some((class, seed)) = lonely {
        return Err(Error::method(
            format!("class {class} with seed {seed} is there for one of the two only"),
            "compare runs of the same classes and seeds",
        ));
    }
    if left.len() != first.len() || right.len() != second.len() {
        return Err(Error::method("a class is there twice with the same seed", "give each class and seed once"));
    }
    Ok(left.into_iter().map(|(key, item)| (item, right[&key])).collect())
}

/// The images of `own` that are also in `other`.
fn only<'a>(own: &[ScoredImage<'a>], other: &[ScoredImage]) -> Vec<ScoredImage<'a>> {
    let known: BTreeSet<&str> = other.iter().map(|image| image.path).collect();
    own.iter().filter(|image| known.contains(image.path)).copied().collect()
}

/// Something for every class and seed.
struct Grid<'a, T> {
    classes: Vec<&'a str>,
    seeds: Vec<u64>,
    /// classes × seeds.
    cells: Vec<Vec<T>>,
}

impl<'a, T> Grid<'a, T> {
    fn new(items: impl Iterator<Item = (&'a str, u64, T)>) -> Result<Self> {
        let mut rows: BTreeMap<&str, BTreeMap<u64, T>> = BTreeMap::new();
        for (class, seed, item) in items {
            if rows.entry(class).or_default().insert(seed, item).is_some() {
                let what = format!("class {class} is there twice with seed {seed}");
                return Err(Error::method(what, "give each class and seed once"));
            }
        }
        let seeds: BTreeSet<u64> = rows.values().flat_map(|row| row.keys().copied()).collect();
        if seeds.is_empty() {
            return Err(Error::method("there is no class to resample", "give at least one scored class"));
        }
        for (class, row) in &rows {
            if let Some(seed) = seeds.iter().find(|seed| !row.contains_key(seed)) {
                let what = format!("class {class} has no run with seed {seed}, other classes have");
                return Err(Error::method(what, "finish the runs, or leave that seed out everywhere"));
            }
        }
        Ok(Grid {
            classes: rows.keys().copied().collect(),
            seeds: seeds.into_iter().collect(),
            cells: rows.into_values().map(|row| row.into_values().collect()).collect(),
        })
    }
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
        let ap = if let ImageStatistic::Ap(ap) = statistic { ap } else { Ap::Step };
        let mut sweep = Sweep::new(all_hits, all_misses, ap);
        let (mut between, mut hits, mut misses) = (0, 0, 0);
        for item in &self.order {
            let number = (item & !GROUP_END) as usize;
            let side = if number < positives { &mut hits } else { &mut misses };
            *side += u64::from(counts[number]);
            if item & GROUP_END == 0 {
                continue;
            }
            if hits == 0 {
                between += misses;
            } else {
                sweep.step(std::mem::take(&mut between), misses, hits);
            }
            (hits, misses) = (0, 0);
        }
        let ranking = sweep.finish();
        let value = match statistic {
            ImageStatistic::Auroc => ranking.auroc,
            ImageStatistic::Ap(_) => ranking.ap,
            ImageStatistic::F1max => ranking.f1max,
        };
        value.unwrap_or_else(|reason| unreachable!("checked when drawn: {reason}"))
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
