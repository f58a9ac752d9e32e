//! The generated score maps and masks that metric baselines were measured on, bit for bit, and an in-memory source.

#![allow(dead_code, reason = "tests and benches use their own parts")]

use std::borrow::Cow;

use dmad::error::Result;
use dmad::metrics::{PixelImage, PixelSource, Score};

use crate::generator::{hash, uniform, uniforms};

/// One image in memory.
#[derive(Clone, Debug)]
pub struct Held<S> {
    pub width: usize,
    pub scores: Vec<S>,
    pub mask: Vec<u8>,
    pub anomalous: bool,
}

impl<S> Held<S> {
    /// An image that its mask labels.
    pub fn new(width: usize, scores: Vec<S>, mask: Vec<u8>) -> Self {
        let anomalous = mask.contains(&1);
        Held { width, scores, mask, anomalous }
    }
}

/// Images in memory.
pub struct Memory<S>(pub Vec<Held<S>>);

impl<S: Score> PixelSource for Memory<S> {
    type Score = S;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn name(&self, image: usize) -> String {
        format!("picture-{image}")
    }

    fn load(&self, image: usize) -> Result<PixelImage<'_, S>> {
        let held = &self.0[image];
        Ok(PixelImage {
            width: held.width,
            height: held.scores.len() / held.width,
            scores: Cow::Borrowed(&held.scores),
            mask: Cow::Borrowed(&held.mask),
            anomalous: held.anomalous,
        })
    }
}

/// 20 good and 63 anomalous maps, `side` × `side`: the counts of MVTec's bottle.
pub fn bottle(side: usize) -> Memory<f32> {
    Memory((0..83).map(|k| one_map(7, k, side, k >= 20)).collect())
}

/// Score map and mask of image `k`.
/// The mask of a generated anomalous map alone.
pub fn one_mask(seed: u64, k: u64, side: usize) -> Vec<bool> {
    let blobs = blobs(seed, k * 8 + 2, side as u64, true);
    let covered = |index: usize| blobs.iter().any(|blob| blob.covers((index % side) as i64, (index / side) as i64));
    (0..side * side).map(covered).collect()
}

fn one_map(seed: u64, k: u64, side: usize, anomalous: bool) -> Held<f32> {
    let noise = uniforms(seed, k * 8 + 1, 0, side * side);
    let blobs = blobs(seed, k * 8 + 2, side as u64, anomalous);
    let mut scores = smooth_field(seed, k * 8, side);
    let mut mask = vec![0; side * side];
    for (index, score) in scores.iter_mut().enumerate() {
        let (x, y) = ((index % side) as i64, (index / side) as i64);
        let boost = blobs.iter().fold(0.0, |boost: f64, blob| boost.max(blob.boost(x, y)));
        *score = (0.5 * *score + 0.15 * noise[index]) + boost;
        mask[index] = u8::from(anomalous && blobs.iter().any(|blob| blob.covers(x, y)));
    }
    Held::new(side, scores.iter().map(|&score| score as f32).collect(), mask)
}

fn smooth_field(seed: u64, stream: u64, side: usize) -> Vec<f64> {
    const GRID: usize = 28;
    let nodes = uniforms(seed, stream, 0, (GRID + 1) * (GRID + 1));
    let place = |i: usize| {
        let at = i as f64 * (GRID as f64 / side as f64);
        (at.floor() as usize, at - at.floor())
    };
    let mut field = Vec::with_capacity(side * side);
    for (row, down) in (0..side).map(place) {
        for (col, right) in (0..side).map(place) {
            let blend = |row: usize| {
                let start = row * (GRID + 1) + col;
                nodes[start] * (1.0 - right) + nodes[start + 1] * right
            };
            field.push(blend(row) * (1.0 - down) + blend(row + 1) * down);
        }
    }
    field
}

/// An ellipse of defect pixels and the shifted bump of scores that it causes.
struct Blob {
    centre: (i64, i64),
    radii: (i64, i64),
    shift: (i64, i64),
    height: f64,
}

impl Blob {
    fn distance(&self, x: i64, y: i64) -> i64 {
        x * x * self.radii.1.pow(2) + y * y * self.radii.0.pow(2)
    }

    fn covers(&self, x: i64, y: i64) -> bool {
        self.distance(x - self.centre.0, y - self.centre.1) <= (self.radii.0 * self.radii.1).pow(2)
    }

    fn boost(&self, x: i64, y: i64) -> f64 {
        let q = self.distance(x - self.centre.0 - self.shift.0, y - self.centre.1 - self.shift.1) as f64;
        let d2 = q / (2.25 * (self.radii.0 * self.radii.1).pow(2) as f64);
        self.height * (1.0 - d2).max(0.0)
    }
}

fn blobs(seed: u64, stream: u64, side: u64, anomalous: bool) -> Vec<Blob> {
    let draw = |i: u64, modulus: u64| (hash(seed, stream, i) % modulus) as i64;
    let count = if anomalous { 1 + draw(0, 3) } else { i64::from(draw(0, 4) == 0) };
    let margin = side / 8;
    (0..count as u64)
        .map(|b| {
            let o = 1 + b * 8;
            let centre = |i| margin as i64 + draw(i, side - 2 * margin);
            let radius = |i| (side / 64) as i64 + draw(i, side / 10);
            let radii = (radius(o + 2), radius(o + 3));
            let shift = |i, radius: i64| draw(i, radius as u64 + 1) - radius / 2;
            let strength = uniform(seed, stream, o + 6);
            Blob {
                centre: (centre(o), centre(o + 1)),
                radii,
                shift: (shift(o + 4, radii.0), shift(o + 5, radii.1)),
                height: if anomalous { 0.2 + 0.8 * strength } else { 0.4 * strength },
            }
        })
        .collect()
}
