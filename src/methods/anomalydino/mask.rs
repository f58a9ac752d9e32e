//! Which patches of an image are foreground (docs/methods/anomalydino.md, Masks).

use crate::embed::principal_components;
use crate::matrix::Rows;

/// Shares of the sides between which the centre lies.
const CENTRE: [f64; 2] = [0.2, 0.8];
/// With no more foreground than this in the centre, the component is taken the other way round.
const LEAST: f64 = 0.35;

/// The foreground of an image with these patches in rows and columns: where the first principal component of the patches, less
/// their mean, is above `threshold`, or below its negative where that leaves the centre nearly empty; grown by a patch, and
/// holes closed.
pub fn foreground(patches: Rows, grid: (usize, usize), threshold: f64) -> Vec<bool> {
    let component = principal_components(patches, 1, 0).rows.into_data();
    let above = |sign: f64| component.iter().map(|&value| sign * f64::from(value) > threshold).collect::<Vec<_>>();
    let mut mask = above(1.0);
    if share_in_centre(&mask, grid) <= LEAST {
        mask = above(-1.0);
    }
    let grown = grow(&mask, grid, true);
    grow(&grow(&grown, grid, true), grid, false)
}

fn share_in_centre(mask: &[bool], (rows, columns): (usize, usize)) -> f64 {
    let span = |side: usize| CENTRE.map(|share| (side as f64 * share) as usize);
    let ([top, bottom], [left, right]) = (span(rows), span(columns));
    let places = (bottom - top) * (right - left);
    let inside = (top..bottom).flat_map(|row| &mask[row * columns + left..row * columns + right]);
    inside.filter(|&&inside| inside).count() as f64 / places.max(1) as f64
}

/// Grows (or, for `what` = false, shrinks) a mask by a patch in every direction; outside is neither.
fn grow(mask: &[bool], (rows, columns): (usize, usize), what: bool) -> Vec<bool> {
    let around = |at: usize, limit: usize| at.saturating_sub(1)..(at + 2).min(limit);
    let touched = |place: usize| {
        let (row, column) = (place / columns, place % columns);
        around(row, rows).any(|y| around(column, columns).any(|x| mask[y * columns + x] == what))
    };
    (0..rows * columns).map(|place| touched(place) == what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    const GRID: (usize, usize) = (10, 10);

    /// Patches of which those in rows and columns 3 to 6 differ by `shift`.
    fn patches(shift: f32) -> Matrix {
        let inside = |place: usize| (3..7).contains(&(place / 10)) && (3..7).contains(&(place % 10));
        let row = |place: usize| [if inside(place) { shift } else { 0.0 }, 0.1 * (place % 7) as f32, 1.0];
        Matrix::new((0..100).flat_map(row).collect(), 3)
    }

    #[test]
    fn what_differs_in_the_centre_is_foreground_grown_by_a_patch_whatever_the_sign() {
        for shift in [30.0, -30.0] {
            let mask = foreground(patches(shift).view(), GRID, 10.0);
            for (place, &inside) in mask.iter().enumerate() {
                assert_eq!(inside, (2..8).contains(&(place / 10)) && (2..8).contains(&(place % 10)), "{shift} {place}");
            }
        }
    }

    #[test]
    fn a_mask_may_be_empty_and_holes_are_closed() {
        assert!(foreground(patches(1.0).view(), GRID, 10.0).iter().all(|inside| !inside));
        let mut ring = vec![false; 100];
        [33, 34, 35, 43, 45, 53, 54, 55].into_iter().for_each(|place| ring[place] = true);
        let closed = grow(&grow(&ring, GRID, true), GRID, false);
        assert!(closed[44] && closed.iter().filter(|&&inside| inside).count() == 9);
        assert!(grow(&[true; 100], GRID, false).iter().all(|&inside| inside), "what is outside shrinks nothing");
    }
}
