//! Exponentials, softmax, GELU and normalised rows of many values on the processor.
//!
//! Owns: approximations within a few units in the last place, in plain additions and multiplications that compilers make wide (inside of
//! `wide::wide`). Their order is fixed, so every processor computes the same bits. Does not own: which network asks for it.
//!
//! The coefficients are least-squares fits of this project at Chebyshev nodes: e^r on |r| ≤ ln 2 / 2, and erfc(z) · e^(z²) in
//! 1 / (1 + 0.4 z).

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// Values whose sums are kept apart, so that they can be added side by side.
const LANES: usize = 16;

/// Added and taken away again, it rounds to whole numbers, which then stand in the last bits.
const ROUNDS: f32 = 12_582_912.0;
/// ln 2 in two parts, the first with few bits.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// e^r - 1 - r, from r² on.
const EXPONENTIAL: [f32; 5] = [0.499_999_9, 0.166_665_18, 0.041_669_544, 0.008_368_987, 0.001_375_115];
/// erfc(z) · e^(z²).
const TAIL: [f32; 10] = [
    2.570_231e-5,
    0.225_097_28,
    0.231_224,
    0.178_069_68,
    0.266_630_77,
    -0.064_619_035,
    0.270_804_55,
    -0.059_783_41,
    -0.076_473_86,
    0.029_024_35,
];

/// e^x of what is at most 0; below -87 it stays at what it is there.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * LOG2_E + ROUNDS;
    let whole = shifted - ROUNDS;
    let r = (x - whole * LN_2[0]) - whole * LN_2[1];
    let [a, b, c, d, e] = EXPONENTIAL;
    let rest = ((((e * r + d) * r + c) * r + b) * r + a) * r * r + r + 1.0;
    let power = shifted.to_bits().wrapping_sub(ROUNDS.to_bits()).wrapping_add(127) << 23;
    rest * f32::from_bits(power)
}

/// x · Φ(x): half of x, times 1 + erf(x / √2).
#[inline(always)]
fn gelu_of(x: f32) -> f32 {
    let z = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.4 * z);
    let [a, b, c, d, e, f, g, h, i, j] = TAIL;
    let tail = ((((((((j * t + i) * t + h) * t + g) * t + f) * t + e) * t + d) * t + c) * t + b) * t + a;
    let below = 0.5 * x * exponential(-(z * z)) * tail;
    if x < 0.0 { below } else { x - below }
}

/// Replaces every value x by x · Φ(x).
#[inline(always)]
pub fn gelu(values: &mut [f32]) {
    for value in values {
        *value = gelu_of(*value);
    }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// What `add` makes of all values of a row, [`LANES`] at a time, and `fold` of the lanes.
#[inline(always)]
fn over(row: &[f32], start: f32, add: impl Fn(f32, f32) -> f32, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let whole = row.len() / LANES * LANES;
    for part in row[..whole].chunks_exact(LANES) {
        for (lane, &value) in lanes.iter_mut().zip(part) {
            *lane = add(*lane, value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(&row[whole..]) {
        *lane = add(*lane, value);
    }
    let mut all = lanes[0];
    for &lane in &lanes[1..] {
        all = fold(all, lane);
    }
    all
}

#[inline(always)]
fn sum(a: f32, b: f32) -> f32 {
    a + b
}

/// Replaces a row of logits by its softmax.
#[inline(always)]
pub fn softmax(row: &mut [f32]) {
    let most = over(row, f32::NEG_INFINITY, larger, larger);
    for value in row.iter_mut() {
        *value = exponential(*value - most);
    }
    let factor = 1.0 / over(row, 0.0, sum, sum);
    for value in row {
        *value *= factor;
    }
}

/// Writes a row with mean 0 and (population) variance 1, `epsilon` added to the variance before the root.
#[inline(always)]
pub fn standardise(row: &[f32], epsilon: f32, out: &mut [f32]) {
    let count = row.len() as f32;
    let mean = over(row, 0.0, sum, sum) / count;
    for (out, &value) in out.iter_mut().zip(row) {
        *out = value - mean;
    }
    let variance = over(out, 0.0, |sum, value| sum + value * value, sum) / count;
    let factor = 1.0 / (variance + epsilon).sqrt();
    for value in out {
        *value *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::wide::wide;

    fn grid(from: f64, to: f64) -> Vec<f32> {
        (0..=20_000).map(|step| (from + (to - from) * step as f64 / 20_000.0) as f32).collect()
    }

    #[test]
    fn exponentials_are_within_a_few_units_in_the_last_place() {
        for x in grid(-87.0, 0.0) {
            let (found, expected) = (f64::from(exponential(x)), f64::from(x).exp());
            assert!((found - expected).abs() <= 4e-7 * expected, "{x}: {found} {expected}");
        }
        assert_eq!(exponential(0.0), 1.0);
        assert_eq!(exponential(f32::NEG_INFINITY), exponential(-87.0));
        assert!(exponential(f32::NAN).is_nan() && gelu_of(f32::NAN).is_nan());
    }

    /// Φ(x) by its series, or far out by the continued fraction of its tail.
    fn phi(x: f64) -> f64 {
        let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x.abs() < 3.0 {
            let (mut term, mut sum, mut odd) = (x, x, 1.0);
            while f64::abs(term) > 1e-18 {
                odd += 2.0;
                term *= x * x / odd;
                sum += term;
            }
            return 0.5 + density * sum;
        }
        let tail = (1..=200).rev().fold(x.abs(), |below, step| x.abs() + f64::from(step) / below);
        let tail = density / tail;
        if x < 0.0 { tail } else { 1.0 - tail }
    }

    #[test]
    fn gelu_is_that_of_the_normal_distribution_far_out_too() {
        assert!(
            (phi(1.0) - 0.841_344_746_068_543).abs() < 1e-15 && (phi(-3.5) - 2.326_290_790_355_25e-4).abs() < 1e-16
        );
        for x in grid(-9.0, 9.0) {
            let (found, expected) = (f64::from(gelu_of(x)), f64::from(x) * phi(f64::from(x)));
            // A square in the exponent has an error of its own, which grows with it.
            let bound = (4e-7 + 1e-7 * f64::from(x * x)) * expected.abs() + 1e-12;
            assert!((found - expected).abs() <= bound, "{x}: {found} {expected}");
        }
    }

    #[test]
    fn rows_of_any_length_become_softmax_and_normal() {
        for length in [1, 15, 16, 17, 785] {
            let row: Vec<f32> = (0..length).map(|place| ((place * 37 % 101) as f32 - 50.0) / 9.0).collect();
            let mut own = row.clone();
            wide(|| softmax(&mut own));
            let total: f64 = row.iter().map(|&value| f64::from(value).exp()).sum();
            for (&found, &value) in own.iter().zip(&row) {
                let expected = f64::from(value).exp() / total;
                assert!((f64::from(found) - expected).abs() <= 2e-6 * expected, "{length}: {found} {expected}");
            }
            let mut normal = vec![0.0; length];
            wide(|| standardise(&row, 1e-6, &mut normal));
            let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / length as f64;
            let variance = row.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / length as f64;
            for (&found, &value) in normal.iter().zip(&row) {
                let expected = (f64::from(value) - mean) / (variance + 1e-6).sqrt();
                assert!((f64::from(found) - expected).abs() <= 1e-5, "{length}: {found} {expected}");
            }
        }
    }
}
