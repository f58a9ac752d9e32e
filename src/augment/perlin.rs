//! Perlin noise, turned about the centre of the image, and the masks above a threshold: the arithmetic of the released codes
//! of DRAEM, MemSeg and DM-GRD (docs/methods/dm_grd.md, Synthetic anomalies).

use crate::random::Stream;

/// Cells along a side of the image are a power of two with an exponent below this.
const EXPONENTS: usize = 6;

/// Gradients at the corners of cells that cover an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Lattice {
    /// Cells from top to bottom, and from left to right.
    pub cells: [usize; 2],
    /// Direction of the gradient at each corner in radians, row by row: (rows + 1) × (columns + 1).
    pub angles: Vec<f64>,
}

impl Lattice {
    /// Cells and directions from the next draws of a stream: two exponents, then all angles.
    pub fn draw(draws: &mut Stream) -> Lattice {
        let cells = [(); 2].map(|()| 1 << draws.below(EXPONENTS));
        let corners = (cells[0] + 1) * (cells[1] + 1);
        Lattice { cells, angles: (0..corners).map(|_| std::f64::consts::TAU * draws.uniform()).collect() }
    }

    /// The noise at every pixel of a square image, row by row; it lies within ±1 and is 0 at the corners of cells.
    pub fn noise(&self, side: usize) -> Vec<f64> {
        let [rows, columns] = self.cells;
        let gradients: Vec<(f64, f64)> = self.angles.iter().map(|angle| (angle.cos(), angle.sin())).collect();
        let places = |cells: usize| -> Vec<(usize, f64, f64)> {
            let place = |pixel: usize| {
                let place = pixel as f64 * cells as f64 / side as f64;
                let share = place - place.floor();
                (place as usize, share, fade(share))
            };
            (0..side).map(place).collect()
        };
        let (down, across) = (places(rows), places(columns));
        let mut noise = Vec::with_capacity(side * side);
        for &(row, u, fade_down) in &down {
            for &(column, v, fade_across) in &across {
                let corner = |below: usize, right: usize| {
                    let (downward, rightward) = gradients[(row + below) * (columns + 1) + column + right];
                    downward * (u - below as f64) + rightward * (v - right as f64)
                };
                let left = between(corner(0, 0), corner(1, 0), fade_down);
                let right = between(corner(0, 1), corner(1, 1), fade_down);
                noise.push(std::f64::consts::SQRT_2 * between(left, right, fade_across));
            }
        }
        noise
    }
}

/// 0 at 0 and 1 at 1, flat to the second derivative at both.
fn fade(share: f64) -> f64 {
    ((6.0 * share - 15.0) * share + 10.0) * share.powi(3)
}

fn between(first: f64, second: f64, share: f64) -> f64 {
    first + share * (second - first)
}

/// A place in OpenCV's fixed point: 1/32 of a pixel is the least.
const FRACTION_BITS: u32 = 5;

/// A square map turned about its centre by so many degrees: bilinear, 0 beyond the border. As OpenCV's affine warp does it,
/// which released codes use through imgaug: each place is the sum of two rounded 1024ths, cut to 32nds of a pixel.
pub fn turned(map: &[f64], side: usize, degrees: f64) -> Vec<f64> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let centre = (side as f64 - 1.0) / 2.0;
    let fixed = |value: f64| (1024.0 * value).round_ties_even() as i64;
    // Of columns and rows: what one pixel to the right and one further down add, and where the first one comes from.
    let axes = [(cos, sin, centre * (1.0 - cos - sin)), (-sin, cos, centre * (1.0 + sin - cos))];
    let at = |row: i64, column: i64| {
        let inside = |place: i64| (0..side as i64).contains(&place);
        if inside(row) && inside(column) { map[row as usize * side + column as usize] } else { 0.0 }
    };
    let value = |place: usize| {
        let (x, y) = ((place % side) as f64, (place / side) as f64);
        let [(left, across), (top, down)] = axes.map(|(by_column, by_row, offset)| {
            let place = (fixed(by_column * x) + fixed(by_row * y + offset) + 16) >> FRACTION_BITS;
            (place >> FRACTION_BITS, (place & ((1 << FRACTION_BITS) - 1)) as f64 / f64::from(1 << FRACTION_BITS))
        });
        let line = |row: i64| between(at(row, left), at(row, left + 1), across);
        between(line(top), line(top + 1), down)
    };
    (0..side * side).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn noise_is_within_one_and_vanishes_at_the_corners_of_cells() {
        let mut draws = stream(0, Purpose::Augmentation, 0);
        for _ in 0..20 {
            let lattice = Lattice::draw(&mut draws);
            let noise = lattice.noise(64);
            assert!(noise.iter().all(|value| value.abs() <= 1.0));
            let [rows, columns] = lattice.cells;
            for corner in 0..rows * columns {
                let (row, column) = (corner / columns * (64 / rows), corner % columns * (64 / columns));
                assert!(noise[row * 64 + column].abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_turn_by_nothing_changes_nothing_and_one_by_a_right_angle_is_exact() {
        let side = 8;
        let map: Vec<f64> = (0..side * side).map(|value| value as f64).collect();
        assert_eq!(turned(&map, side, 0.0), map);
        let quarter = turned(&map, side, 90.0);
        for (place, value) in quarter.iter().enumerate() {
            let (row, column) = (place / side, place % side);
            assert_eq!(*value, map[(side - 1 - column) * side + row]);
        }
    }
}
