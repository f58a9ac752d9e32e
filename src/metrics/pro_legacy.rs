//! The forms of PRO that published tables of SimpleNet, ADer and RD4AD hold. Kept to check such tables, not to compare
//! methods: all take few equal-width thresholds and stretch the false positive rate instead of stopping at a limit.
//!
//! Owns: these forms (docs/metrics.md, What other code computes). Does not own: regions, and AUPRO proper.

use rayon::prelude::*;

use super::pixels::ImageFacts;
use super::regions::regions;
use super::source::{self, PixelSource, Score};
use super::{Definitions, Pro, Value};
use crate::error::Result;

const CONSTANT: &str = "all scores are equal, so there are no thresholds";
const NO_CURVE: &str = "fewer than two false positive rates below the limit among the thresholds";

/// PRO as its form computes it, in one more pass over images of which `facts` tells the range of scores.
pub(super) fn pro<P: PixelSource>(source: &P, facts: &[ImageFacts], definitions: &Definitions) -> Result<Value> {
    let (steps, radius) = match definitions.pro {
        Pro::Simplenet => (200, 2),
        Pro::Rd4ad => return mean_of_images(source, facts, definitions),
        Pro::Ader | Pro::Exact => (100, 0),
    };
    let Some(thresholds) = thresholds(facts, steps) else { return Ok(Err(CONSTANT)) };
    let parts: Vec<Result<Tally>> =
        (0..source.len()).into_par_iter().map(|image| tally(source, image, &thresholds, radius)).collect();
    let mut total = Tally::new(thresholds.len());
    for part in parts {
        total.add(&part?);
    }
    Ok(total.area(definitions))
}

/// So many thresholds from the lowest score of some images up, equally far apart; none where all scores are equal.
fn thresholds(facts: &[ImageFacts], steps: u32) -> Option<Vec<f64>> {
    let lowest = facts.iter().map(|image| image.lowest).fold(f64::INFINITY, f64::min);
    let highest = facts.iter().map(|image| image.highest).fold(f64::NEG_INFINITY, f64::max);
    let width = (highest - lowest) / f64::from(steps);
    (width > 0.0).then(|| (0..steps).map(|step| lowest + f64::from(step) * width).collect())
}

/// RD4AD's form: each anomalous image has thresholds and a curve of its own. One without a curve leaves the mean without a
/// value.
fn mean_of_images<P: PixelSource>(source: &P, facts: &[ImageFacts], definitions: &Definitions) -> Result<Value> {
    let of_image = |image: usize| -> Result<Option<Value>> {
        let Some(thresholds) = thresholds(&facts[image..=image], 200) else {
            return Ok((facts[image].defect_pixels > 0).then_some(Err(CONSTANT)));
        };
        let tally = tally(source, image, &thresholds, 0)?;
        Ok((tally.regions > 0).then(|| tally.area(definitions)))
    };
    let found: Vec<Option<Value>> = (0..source.len()).into_par_iter().map(of_image).collect::<Result<_>>()?;
    let values: std::result::Result<Vec<f64>, _> = found.into_iter().flatten().collect();
    Ok(values.map(|values| super::mean(&values)))
}

/// What lies above each threshold.
struct Tally {
    /// Normal pixels above each threshold.
    normals: Vec<u64>,
    /// Sum over regions of the share above each threshold.
    overlaps: Vec<f64>,
    regions: u64,
    normals_in_all: u64,
}

impl Tally {
    fn new(steps: usize) -> Self {
        Tally { normals: vec![0; steps], overlaps: vec![0.0; steps], regions: 0, normals_in_all: 0 }
    }

    fn add(&mut self, other: &Tally) {
        self.normals.iter_mut().zip(&other.normals).for_each(|(sum, count)| *sum += count);
        self.overlaps.iter_mut().zip(&other.overlaps).for_each(|(sum, share)| *sum += share);
        self.regions += other.regions;
        self.normals_in_all += other.normals_in_all;
    }

    /// Trapezoids over the points whose rate is below the limit, the rate stretched as the form does.
    fn area(&self, definitions: &Definitions) -> Value {
        let points: Vec<(f64, f64)> = self
            .normals
            .iter()
            .zip(&self.overlaps)
            .map(|(&count, &overlap)| (count as f64 / self.normals_in_all as f64, overlap / self.regions as f64))
            .filter(|(rate, _)| *rate < definitions.pro_limit)
            .collect();
        // Thresholds rise, so rates fall: the first is the largest.
        let (most, least) = match points[..] {
            [(most, _), .., (least, _)] if most != least => (most, least),
            _ => return Err(NO_CURVE),
        };
        let stretch = match definitions.pro {
            Pro::Simplenet | Pro::Rd4ad => most,
            Pro::Ader | Pro::Exact => most - least,
        };
        let doubled: f64 = points.windows(2).map(|pair| (pair[0].0 - pair[1].0) * (pair[0].1 + pair[1].1)).sum();
        Ok(doubled / 2.0 / stretch)
    }
}

fn tally<P: PixelSource>(source: &P, image: usize, thresholds: &[f64], radius: usize) -> Result<Tally> {
    let loaded = source::load(source, image)?;
    let steps = thresholds.len();
    let passed = |score: P::Score| thresholds.partition_point(|&threshold| threshold < score.to_f64());
    let mut found = Tally::new(steps);
    let mut by_passed = vec![0u64; steps + 1];
    for (&score, _) in loaded.scores.iter().zip(loaded.mask.iter()).filter(|(_, truth)| **truth == 0) {
        by_passed[passed(score)] += 1;
    }
    found.normals_in_all = by_passed.iter().sum();
    found.normals.copy_from_slice(&above(&by_passed));
    let truth = regions(&loaded.mask, loaded.width);
    if truth.sizes.is_empty() {
        return Ok(found);
    }
    // Widening what lies above a threshold is the same as thresholding the local maximum.
    let widened = local_maximum(&loaded.scores, loaded.width, radius);
    let mut by_region = vec![vec![0u64; steps + 1]; truth.sizes.len()];
    for stretch in &truth.stretches {
        for &score in &widened[stretch.row * loaded.width..][stretch.start..stretch.end] {
            by_region[stretch.region][passed(score)] += 1;
        }
    }
    for (counts, &size) in by_region.iter().zip(&truth.sizes) {
        for (sum, count) in found.overlaps.iter_mut().zip(above(counts)) {
            *sum += count as f64 / size as f64;
        }
    }
    found.regions = truth.sizes.len() as u64;
    Ok(found)
}

/// From "passed exactly k thresholds" to "above threshold k".
fn above(by_passed: &[u64]) -> Vec<u64> {
    let mut counts: Vec<u64> = by_passed[1..].to_vec();
    for step in (1..counts.len()).rev() {
        counts[step - 1] += counts[step];
    }
    counts
}

/// Highest score of the square of `2 · radius + 1` pixels around each pixel, cut off at the borders.
fn local_maximum<S: Score>(scores: &[S], width: usize, radius: usize) -> Vec<S> {
    let highest = |a: S, b: S| if b > a { b } else { a };
    let mut across = scores.to_vec();
    for (line, out) in scores.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        for (x, value) in out.iter_mut().enumerate() {
            let near = &line[x.saturating_sub(radius)..(x + radius + 1).min(width)];
            *value = near.iter().fold(*value, |a, &b| highest(a, b));
        }
    }
    let height = scores.len() / width;
    let mut maximum = across.clone();
    for (y, out) in maximum.chunks_exact_mut(width).enumerate() {
        for near in y.saturating_sub(radius)..(y + radius + 1).min(height) {
            for (value, &other) in out.iter_mut().zip(&across[near * width..][..width]) {
                *value = highest(*value, other);
            }
        }
    }
    maximum
}
