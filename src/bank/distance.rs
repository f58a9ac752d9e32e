//! Distances between two rows, in the difference form.
//!
//! Owns: the one definition of "distance" that every search and selection of the program agrees on. Sums run over a
//! fixed number of lanes that are added up in a fixed order, without fused multiply-add, so each function gives the
//! same bits on every processor; wider instructions only make it faster. Does not own: filters that avoid distances.

/// Lanes of the double-precision sums.
const WIDE_LANES: usize = 32;
/// Lanes of the single-precision sums.
const NARROW_LANES: usize = 64;

/// Defines a function of two rows whose body is compiled once for each instruction set and chosen at run time.
macro_rules! for_each_processor {
    ($(#[$docs:meta])* $name:ident, $body:ident, $value:ty) => {
        $(#[$docs])*
        pub fn $name(a: &[f32], b: &[f32]) -> $value {
            debug_assert_eq!(a.len(), b.len(), "rows of another width");
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512(a: &[f32], b: &[f32]) -> $value {
                    $body(a, b)
                }
                #[target_feature(enable = "avx2")]
                fn avx2(a: &[f32], b: &[f32]) -> $value {
                    $body(a, b)
                }
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has the instructions, as just asked.
                    return unsafe { avx512(a, b) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has the instructions, as just asked.
                    return unsafe { avx2(a, b) };
                }
            }
            $body(a, b)
        }
    };
}

for_each_processor!(
    /// ‖a − b‖², differences and sums in f64. This is the distance (squared) that orders everything in `bank`.
    squared_distance,
    squared_distance_body,
    f64
);

for_each_processor!(
    /// ‖a − b‖² in f32; see [`narrow_error`] for how far it can be from [`squared_distance`].
    narrow_squared_distance,
    narrow_body,
    f32
);

for_each_processor!(
    /// a · b with f64 products and sums.
    dot,
    dot_body,
    f64
);

/// Largest relative error of [`narrow_squared_distance`] for rows of `cols` values: three roundings of each term and
/// one for each addition on the longest path, with a factor of two to spare.
pub fn narrow_error(cols: usize) -> f64 {
    (cols / NARROW_LANES + 16) as f64 * f32::EPSILON as f64
}

#[inline(always)]
fn squared_distance_body(a: &[f32], b: &[f32]) -> f64 {
    sum_in_lanes::<f64, WIDE_LANES>(a, b, |a, b| (a as f64 - b as f64) * (a as f64 - b as f64))
}

#[inline(always)]
fn dot_body(a: &[f32], b: &[f32]) -> f64 {
    sum_in_lanes::<f64, WIDE_LANES>(a, b, |a, b| a as f64 * b as f64)
}

#[inline(always)]
fn narrow_body(a: &[f32], b: &[f32]) -> f32 {
    sum_in_lanes::<f32, NARROW_LANES>(a, b, |a, b| (a - b) * (a - b))
}

/// Sums up `term` of all pairs: lane by lane, then the upper half of the lanes added to the lower half until one is left.
/// The number of lanes is a power of two.
#[inline(always)]
fn sum_in_lanes<T: Copy + Default + std::ops::AddAssign, const LANES: usize>(
    a: &[f32],
    b: &[f32],
    term: impl Fn(f32, f32) -> T,
) -> T {
    let mut lanes = [T::default(); LANES];
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += term(a, b);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            let upper = lanes[lane + half];
            lanes[lane] += upper;
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn every_instruction_set_gives_the_same_bits_at_every_width() {
        let mut values = vec![0.0; 2 * 300];
        stream(5, Purpose::Synthetic, 0).fill_normal(&mut values, 3.0);
        for cols in 1..300 {
            let (a, b) = (&values[..cols], &values[300..300 + cols]);
            assert_eq!(squared_distance(a, b).to_bits(), squared_distance_body(a, b).to_bits(), "{cols}");
            assert_eq!(narrow_squared_distance(a, b).to_bits(), narrow_body(a, b).to_bits(), "{cols}");
            assert_eq!(dot(a, b).to_bits(), dot_body(a, b).to_bits(), "{cols}");
            let plain: f64 = a.iter().zip(b).map(|(&a, &b)| (a as f64 - b as f64).powi(2)).sum();
            assert!((squared_distance(a, b) - plain).abs() <= 1e-13 * plain, "{cols}");
            let narrow = narrow_squared_distance(a, b) as f64;
            assert!((narrow - plain).abs() <= narrow_error(cols) * plain, "{cols}: {narrow} {plain}");
        }
    }
}
