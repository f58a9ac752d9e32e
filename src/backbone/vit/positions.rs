//! The table of positions at another grid than the one that it was learned for.
//!
//! Owns: the weights of bicubic interpolation by the three rules that code bases have (docs/backbones.md, Positions). Rows and
//! columns are interpolated one after the other, in f64.

use crate::spec::Positions;

/// What the kernel is with −0.75: that of convolutions of images (Keys 1981 has −0.5).
const SHARP: f64 = -0.75;
const SMOOTH: f64 = -0.5;
/// Added to the wanted side by the first code that was published, against rounding.
const OFFSET: f64 = 0.1;

/// The table for `rows` × `columns` places from one for `grid` × `grid`, both place by place, row-major, `width` values each.
pub fn interpolate(table: &[f32], grid: usize, width: usize, [rows, columns]: [usize; 2], rule: Positions) -> Vec<f32> {
    if [rows, columns] == [grid, grid] {
        return table.to_vec();
    }
    let (down, across) = (weights(grid, rows, rule), weights(grid, columns, rule));
    // First rows: rows × grid × width.
    let line = grid * width;
    let mut tall = vec![0.0f64; rows * line];
    for (weights, out) in down.iter().zip(tall.chunks_exact_mut(line)) {
        for &(from, weight) in weights {
            let own = &table[from * line..][..line];
            out.iter_mut().zip(own).for_each(|(sum, &value)| *sum += weight * f64::from(value));
        }
    }
    let mut out = Vec::with_capacity(rows * columns * width);
    let mut place = vec![0.0f64; width];
    for row in tall.chunks_exact(line) {
        for weights in &across {
            place.fill(0.0);
            for &(from, weight) in weights {
                let own = &row[from * width..][..width];
                place.iter_mut().zip(own).for_each(|(sum, value)| *sum += weight * value);
            }
            out.extend(place.iter().map(|&value| value as f32));
        }
    }
    out
}

/// For each of `to` places the places of a line of `from` that it is made of, and their weights, which sum to 1.
pub fn weights(from: usize, to: usize, rule: Positions) -> Vec<Vec<(usize, f64)>> {
    let place = |index: usize| match rule {
        Positions::Offset => clamped(index, from, from as f64 / (to as f64 + OFFSET)),
        Positions::Size => clamped(index, from, from as f64 / to as f64),
        Positions::SizeAa => antialiased(index, from, from as f64 / to as f64),
    };
    (0..to).map(place).collect()
}

/// Four places around the centre; those outside are the border's.
fn clamped(index: usize, from: usize, scale: f64) -> Vec<(usize, f64)> {
    let centre = (index as f64 + 0.5) * scale - 0.5;
    let (floor, share) = (centre.floor(), centre - centre.floor());
    let tap = |step: i32| {
        let place = (floor + f64::from(step)).clamp(0.0, (from - 1) as f64);
        (place as usize, kernel(share - f64::from(step), SHARP))
    };
    (-1..=2).map(tap).collect()
}

/// A kernel as wide as the reduction, cut at the border and divided by its sum.
fn antialiased(index: usize, from: usize, scale: f64) -> Vec<(usize, f64)> {
    let (centre, stretch) = ((index as f64 + 0.5) * scale, scale.max(1.0));
    let first = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
    let end = ((centre + 2.0 * stretch + 0.5) as usize).min(from);
    let raw: Vec<(usize, f64)> =
        (first..end).map(|place| (place, kernel((place as f64 - centre + 0.5) / stretch, SMOOTH))).collect();
    let total: f64 = raw.iter().map(|(_, weight)| weight).sum();
    raw.into_iter().map(|(place, weight)| (place, weight / total)).collect()
}

/// The cubic convolution kernel with parameter `a`.
fn kernel(at: f64, a: f64) -> f64 {
    let t = at.abs();
    match t {
        t if t <= 1.0 => ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0,
        t if t < 2.0 => ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Positions; 3] = [Positions::Offset, Positions::SizeAa, Positions::Size];

    #[test]
    fn weights_of_every_place_sum_to_one_and_a_constant_table_stays_so() {
        for (rule, (from, to)) in RULES.iter().flat_map(|rule| [(37, 28), (37, 32), (5, 7), (37, 1)].map(|s| (rule, s)))
        {
            for place in weights(from, to, *rule) {
                let sum: f64 = place.iter().map(|(_, weight)| weight).sum();
                assert!((sum - 1.0).abs() < 1e-12, "{rule:?} {from} to {to}: {sum}");
                assert!(place.iter().all(|&(at, _)| at < from));
            }
        }
        let flat = interpolate(&[0.25; 25 * 3], 5, 3, [4, 7], Positions::SizeAa);
        assert!(flat.len() == 28 * 3 && flat.iter().all(|value| (value - 0.25).abs() < 1e-7));
    }

    #[test]
    fn without_a_change_of_size_antialiasing_does_nothing() {
        for (index, place) in weights(37, 37, Positions::SizeAa).iter().enumerate() {
            for &(at, weight) in place {
                assert!((weight - f64::from(u8::from(at == index))).abs() < 1e-15, "{index}, {at}: {weight}");
            }
        }
    }

    #[test]
    fn the_offset_moves_the_last_column_by_what_the_scale_says() {
        // 37 / 28.1 in place of 37 / 28: 27.5 · 0.00470.
        let centre = |rule| {
            let last = weights(37, 28, rule).pop().unwrap_or_default();
            last.iter().map(|&(at, weight)| at as f64 * weight).sum::<f64>()
        };
        let moved = centre(Positions::Size) - centre(Positions::Offset);
        assert!((0.1..0.16).contains(&moved), "{moved}");
    }

    #[test]
    fn a_transposed_table_gives_the_transposed_grid() {
        let table: Vec<f32> = (0..25).map(|place| ((place * 7) % 11) as f32).collect();
        let turned: Vec<f32> = (0..25).map(|place| table[place % 5 * 5 + place / 5]).collect();
        for rule in RULES {
            let (own, other) = (interpolate(&table, 5, 1, [4, 6], rule), interpolate(&turned, 5, 1, [6, 4], rule));
            assert!((0..24).all(|at| (own[at] - other[at % 6 * 4 + at / 6]).abs() < 1e-6), "{rule:?}");
        }
    }
}
