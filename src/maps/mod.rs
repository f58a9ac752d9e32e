//! Patch scores to anomaly maps: bilinear enlargement, Gaussian smoothing, average pooling.
//!
//! Owns: the arithmetic, equal to PyTorch's `interpolate` and `avg_pool2d` and SciPy's `gaussian_filter`.
//! Does not own: which sigma or size a method uses, the scores themselves, and how they look (`colours`).

mod colours;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use colours::{coloured, heat, shown_range, shown_share};

/// Columns that a smoothing loop keeps in registers.
const LANES: usize = 8;

/// Enlarges a `rows` × `cols` grid of scores to `height` × `width` (all row-major) by bilinear interpolation between
/// the centres of the patches; beyond the outermost centres the border value holds. Interpolates in f64.
///
/// # Panics
/// When `scores` does not hold `rows · cols` values or a side is 0.
pub fn upsample(scores: &[f32], (rows, cols): (usize, usize), (height, width): (usize, usize)) -> Vec<f32> {
    let taps = |source: usize, target: usize| {
        let scale = source as f64 / target as f64;
        taps(source, target, |i| ((i + 0.5) * scale - 0.5).max(0.0))
    };
    stretch(scores, (rows, cols), &taps(rows, height), &taps(cols, width))
}

/// Enlarges like `upsample`, but so that the outermost patches are the corners of the map (`align_corners=True`).
pub fn upsample_corners(scores: &[f32], (rows, cols): (usize, usize), (height, width): (usize, usize)) -> Vec<f32> {
    let taps = |source: usize, target: usize| {
        let scale = if target > 1 { (source - 1) as f64 / (target - 1) as f64 } else { 0.0 };
        taps(source, target, |i| i * scale)
    };
    stretch(scores, (rows, cols), &taps(rows, height), &taps(cols, width))
}

/// The sum of square maps (with their sides), each enlarged to `size`, with aligned corners or between the centres of patches.
pub fn enlarged_sum(maps: &[(usize, Vec<f32>)], size: (usize, usize), align_corners: bool) -> Vec<f32> {
    let enlarge = if align_corners { upsample_corners } else { upsample };
    let mut sums = vec![0.0; size.0 * size.1];
    for (side, map) in maps {
        let map = enlarge(map, (*side, *side), size);
        sums.iter_mut().zip(map).for_each(|(sum, value)| *sum += value);
    }
    sums
}

fn stretch(scores: &[f32], (rows, cols): (usize, usize), down: &[Tap], across: &[Tap]) -> Vec<f32> {
    assert_eq!(scores.len(), rows * cols, "a {rows} × {cols} grid of scores");
    assert!(rows > 0 && cols > 0, "an empty grid has no map");
    let (height, width) = (down.len(), across.len());
    let mut stretched = Vec::with_capacity(rows * width);
    for line in scores.chunks_exact(cols) {
        stretched.extend(
            across.iter().map(|t| f64::from(line[t.low]) * (1.0 - t.share) + f64::from(line[t.high]) * t.share),
        );
    }
    let mut map = Vec::with_capacity(height * width);
    for tap in down {
        let low = &stretched[tap.low * width..][..width];
        let high = &stretched[tap.high * width..][..width];
        map.extend(low.iter().zip(high).map(|(a, b)| (a * (1.0 - tap.share) + b * tap.share) as f32));
    }
    map
}

/// The two source positions of one target position and the share of the second.
struct Tap {
    low: usize,
    high: usize,
    share: f64,
}

/// The taps of all target positions; `place` says where among the source positions one lies.
fn taps(source: usize, target: usize, place: impl Fn(f64) -> f64) -> Vec<Tap> {
    let tap = |i: usize| {
        let place = place(i as f64);
        let low = (place as usize).min(source - 1);
        Tap { low, high: (low + 1).min(source - 1), share: place - low as f64 }
    };
    (0..target).map(tap).collect()
}

/// The largest mean over any square of `window` × `window` pixels that lies within the map.
///
/// # Panics
/// When `map` does not hold `height · width` values or the square does not fit.
pub fn pooled_maximum(map: &[f32], (height, width): (usize, usize), window: usize) -> f64 {
    assert_eq!(map.len(), height * width, "a map of {height} × {width}");
    assert!((1..=height.min(width)).contains(&window), "a square of {window} in a map of {height} × {width}");
    // Sums of all pixels above and to the left, with a row and a column of zeros in front.
    let stride = width + 1;
    let mut sums = vec![0.0f64; (height + 1) * stride];
    for (y, line) in map.chunks_exact(width).enumerate() {
        let mut row = 0.0;
        for (x, &value) in line.iter().enumerate() {
            row += f64::from(value);
            sums[(y + 1) * stride + x + 1] = sums[y * stride + x + 1] + row;
        }
    }
    let mut largest = f64::NEG_INFINITY;
    for y in 0..=height - window {
        let (top, bottom) = (&sums[y * stride..][..stride], &sums[(y + window) * stride..][..stride]);
        for x in 0..=width - window {
            largest = largest.max(bottom[x + window] - bottom[x] - top[x + window] + top[x]);
        }
    }
    largest / (window * window) as f64
}

/// Smooths a `height` × `width` map (row-major) with a Gaussian of `sigma` pixels, cut at four sigma, borders reflected
/// about the edge of the outermost pixel (`d c b a | a b c d | d c b a`, as often as a small map needs). Kernel and sums
/// are f64; `sigma` 0 gives the map back untouched.
///
/// # Panics
/// When `map` does not hold `height · width` values, or `sigma` is negative or not finite.
pub fn gaussian(map: &[f32], (height, width): (usize, usize), sigma: f64) -> Vec<f32> {
    assert_eq!(map.len(), height * width, "a map of {height} × {width}");
    assert!(sigma >= 0.0 && sigma.is_finite(), "sigma {sigma}");
    let kernel = half_kernel(sigma);
    let radius = kernel.len() - 1;
    if radius == 0 || map.is_empty() {
        return map.to_vec();
    }
    let source: Vec<f64> = map.iter().map(|&v| f64::from(v)).collect();
    let border: Vec<usize> = (0..width + 2 * radius).map(|x| reflect(x as isize - radius as isize, width)).collect();
    let row_at = |y: isize| &source[reflect(y, height) * width..][..width];
    let mut column_sums = vec![0.0; width];
    let mut padded = vec![0.0; width + 2 * radius];
    let mut row_sums = vec![0.0; width];
    let mut smoothed = Vec::with_capacity(map.len());
    for y in 0..height as isize {
        let rows: Vec<(&[f64], &[f64])> =
            (0..=radius as isize).map(|distance| (row_at(y - distance), row_at(y + distance))).collect();
        weigh(&kernel, &rows, &mut column_sums);
        for (value, &x) in padded.iter_mut().zip(&border) {
            *value = column_sums[x];
        }
        let shifts: Vec<(&[f64], &[f64])> = (0..=radius)
            .map(|distance| (&padded[radius - distance..][..width], &padded[radius + distance..][..width]))
            .collect();
        weigh(&kernel, &shifts, &mut row_sums);
        smoothed.extend(row_sums.iter().map(|&v| v as f32));
    }
    smoothed
}

/// What lies beyond the edges of a map that a window goes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// Nothing: pixels near an edge get less.
    #[default]
    Zero,
    /// The map again, mirrored at the centres of its outermost pixels.
    Reflect,
}

impl Border {
    /// Where position `at` of a line of `len` falls, if anywhere.
    fn place(self, at: isize, len: usize) -> Option<usize> {
        match self {
            Border::Zero => usize::try_from(at).ok().filter(|&at| at < len),
            Border::Reflect => {
                let period = (2 * len as isize - 2).max(1);
                let folded = at.rem_euclid(period) as usize;
                Some(if folded < len { folded } else { period as usize - folded })
            }
        }
    }
}

/// Smooths a `height` × `width` map (row-major) with a Gaussian of `sigma` pixels that is cut to a square of `side` × `side`
/// pixels (odd), where its weights sum to one. Kernel and sums are f64; a `sigma` of 0 or a `side` of 1 give the map back.
///
/// # Panics
/// When `map` does not hold `height · width` values.
pub fn windowed(map: &[f32], size: (usize, usize), sigma: f64, side: usize, border: Border) -> Vec<f32> {
    let (height, width) = size;
    assert_eq!(map.len(), height * width, "a map of {height} × {width}");
    if sigma == 0.0 || side <= 1 || map.is_empty() {
        return map.to_vec();
    }
    let radius = (side / 2) as isize;
    let raw: Vec<f64> = (-radius..=radius).map(|d| (-0.5 / (sigma * sigma) * (d * d) as f64).exp()).collect();
    let total: f64 = raw.iter().sum();
    let kernel: Vec<f64> = raw.iter().map(|weight| weight / total).collect();
    // For each place of a line: the places that it is made of, with their weights.
    let taps = |len: usize| -> Vec<Vec<(usize, f64)>> {
        let of = |at: usize| {
            let near = kernel.iter().zip(-radius..);
            near.filter_map(|(&weight, d)| Some((border.place(at as isize + d, len)?, weight))).collect()
        };
        (0..len).map(of).collect()
    };
    let (down, across) = (taps(height), taps(width));
    let mut smoothed = Vec::with_capacity(map.len());
    for taps in &down {
        let mut sums = vec![0.0f64; width];
        for &(y, weight) in taps {
            sums.iter_mut().zip(&map[y * width..][..width]).for_each(|(sum, &value)| *sum += weight * f64::from(value));
        }
        let pixel = |taps: &Vec<(usize, f64)>| taps.iter().map(|&(x, weight)| weight * sums[x]).sum::<f64>() as f32;
        smoothed.extend(across.iter().map(pixel));
    }
    smoothed
}

/// Weights of the distances 0, 1, … radius of the normalised Gaussian; only the centre when `sigma` rounds to no width.
fn half_kernel(sigma: f64) -> Vec<f64> {
    let radius = (4.0 * sigma + 0.5) as usize;
    if radius == 0 {
        return vec![1.0];
    }
    let raw: Vec<f64> = (0..=radius).map(|d| (-0.5 / (sigma * sigma) * (d * d) as f64).exp()).collect();
    let total = raw[0] + 2.0 * raw[1..].iter().sum::<f64>();
    raw.iter().map(|weight| weight / total).collect()
}

/// Where position `at` of an endless mirrored line of `len` falls.
fn reflect(at: isize, len: usize) -> usize {
    let period = 2 * len as isize;
    let folded = at.rem_euclid(period);
    (if folded < len as isize { folded } else { period - 1 - folded }) as usize
}

/// `out[x]` = Σ over distances of weight · (left[x] + right[x]), the centre counted once. A block of columns stays in
/// registers while the distances go by.
fn weigh(kernel: &[f64], pairs: &[(&[f64], &[f64])], out: &mut [f64]) {
    let (centre, sides) = (pairs[0].0, &pairs[1..]);
    let whole = out.len() - out.len() % LANES;
    for start in (0..whole).step_by(LANES) {
        let mut sums = [0.0; LANES];
        for (sum, value) in sums.iter_mut().zip(&centre[start..start + LANES]) {
            *sum = kernel[0] * value;
        }
        for (weight, (left, right)) in kernel[1..].iter().zip(sides) {
            let (left, right) = (&left[start..start + LANES], &right[start..start + LANES]);
            for lane in 0..LANES {
                sums[lane] += weight * (left[lane] + right[lane]);
            }
        }
        out[start..start + LANES].copy_from_slice(&sums);
    }
    for x in whole..out.len() {
        let far: f64 = kernel[1..].iter().zip(sides).map(|(weight, (left, right))| weight * (left[x] + right[x])).sum();
        out[x] = kernel[0] * centre[x] + far;
    }
}

/// A square map made smaller: the mean of what lies in each of `target` × `target` places. A map that is no larger stays.
pub fn reduced(map: &[f32], side: usize, target: usize) -> Vec<f32> {
    if target >= side {
        return map.to_vec();
    }
    let cells = |place: usize| place * side / target..((place + 1) * side).div_ceil(target);
    let mut out = Vec::with_capacity(target * target);
    for row in 0..target {
        for column in 0..target {
            let rows = cells(row).map(|y| &map[y * side..][cells(column)]);
            let sum: f64 = rows.flatten().map(|&score| f64::from(score)).sum();
            out.push((sum / (cells(row).len() * cells(column).len()) as f64) as f32);
        }
    }
    out
}
