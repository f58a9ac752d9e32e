//! The Filter: which patches of a seen anomaly are abnormal (paper §3.2; docs/methods/dmad.md, Filter).

use super::params::{Filter, FilterResize, OnEmpty};

/// Patches kept of one image.
#[derive(Debug, PartialEq)]
pub struct Kept {
    /// Row-major positions on the patch grid.
    pub patches: Vec<usize>,
    /// No patch passed, and the one with most mask area stands in.
    pub fallback: bool,
}

/// Patches of a `grid` (rows, columns) whose resized mask value exceeds the threshold. `mask` is `side` × `side`, any
/// value above 0 counts as defect. The error says that nothing is left.
pub fn abnormal_patches(mask: &[u8], side: usize, grid: (usize, usize), filter: &Filter) -> Result<Kept, String> {
    assert_eq!(mask.len(), side * side, "mask of another size");
    let count = grid.0 * grid.1;
    if !filter.enabled {
        return Ok(Kept { patches: (0..count).collect(), fallback: false });
    }
    let values: Vec<f64> = match filter.resize {
        FilterResize::Bilinear => grid_of(grid, |row, column| bilinear(mask, side, grid, row, column)),
        FilterResize::Area => grid_of(grid, |row, column| area(mask, side, grid, row, column)),
        FilterResize::Max => grid_of(grid, |row, column| f64::from(area(mask, side, grid, row, column) > 0.0)),
    };
    let patches: Vec<usize> = (0..count).filter(|&patch| values[patch] > filter.threshold).collect();
    if !patches.is_empty() {
        return Ok(Kept { patches, fallback: false });
    }
    match filter.on_empty {
        OnEmpty::Skip => Ok(Kept { patches, fallback: true }),
        OnEmpty::Error => Err("no patch of this seen anomaly passes the filter".into()),
        OnEmpty::Nearest => {
            let areas = grid_of(grid, |row, column| area(mask, side, grid, row, column));
            // The first of equals, so that the choice does not depend on iteration tricks.
            let best = (0..count).rev().max_by(|&a, &b| areas[a].total_cmp(&areas[b])).unwrap_or(0);
            // A crop can cut the whole defect away; then no patch is abnormal.
            let patches = if areas[best] > 0.0 { vec![best] } else { Vec::new() };
            Ok(Kept { patches, fallback: true })
        }
    }
}

fn grid_of(grid: (usize, usize), value: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    (0..grid.0 * grid.1).map(|patch| value(patch / grid.1, patch % grid.1)).collect()
}

/// Bilinear sample at the centre of a patch, no antialiasing (align_corners = false).
fn bilinear(mask: &[u8], side: usize, grid: (usize, usize), row: usize, column: usize) -> f64 {
    let place = |index: usize, cells: usize| {
        let at = ((index as f64 + 0.5) * side as f64 / cells as f64 - 0.5).clamp(0.0, (side - 1) as f64);
        let low = at.floor() as usize;
        (low, (low + 1).min(side - 1), at - low as f64)
    };
    let ((top, bottom, ty), (left, right, tx)) = (place(row, grid.0), place(column, grid.1));
    let on = |y: usize, x: usize| f64::from(mask[y * side + x] > 0);
    let upper = on(top, left) * (1.0 - tx) + on(top, right) * tx;
    let lower = on(bottom, left) * (1.0 - tx) + on(bottom, right) * tx;
    upper * (1.0 - ty) + lower * ty
}

/// Share of a patch's pixels that are defect.
fn area(mask: &[u8], side: usize, grid: (usize, usize), row: usize, column: usize) -> f64 {
    let span = |index: usize, cells: usize| index * side / cells..((index + 1) * side).div_ceil(cells);
    let (rows, columns) = (span(row, grid.0), span(column, grid.1));
    let pixels = rows.len() * columns.len();
    let on = rows.map(|y| mask[y * side..][columns.clone()].iter().filter(|&&value| value > 0).count()).sum::<usize>();
    on as f64 / pixels as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask_with(pixels: &[(usize, usize)]) -> Vec<u8> {
        let mut mask = vec![0; 256 * 256];
        pixels.iter().for_each(|&(y, x)| mask[y * 256 + x] = 255);
        mask
    }

    #[test]
    fn bilinear_sees_only_the_four_middle_pixels_of_a_patch() {
        let filter = Filter::default();
        let middle = abnormal_patches(&mask_with(&[(3, 4)]), 256, (32, 32), &filter);
        assert_eq!(middle, Ok(Kept { patches: vec![0], fallback: false }));
        let corner = abnormal_patches(&mask_with(&[(8, 9)]), 256, (32, 32), &filter);
        assert_eq!(corner, Ok(Kept { patches: vec![33], fallback: true }), "the patch with most mask area stands in");
    }

    #[test]
    fn max_and_area_see_every_pixel_and_the_threshold_counts_shares() {
        let corner = mask_with(&[(8, 9)]);
        let max = Filter { resize: FilterResize::Max, ..Filter::default() };
        assert_eq!(abnormal_patches(&corner, 256, (32, 32), &max), Ok(Kept { patches: vec![33], fallback: false }));
        let area = Filter { resize: FilterResize::Area, threshold: 0.1, on_empty: OnEmpty::Skip, ..Filter::default() };
        assert_eq!(abnormal_patches(&corner, 256, (32, 32), &area), Ok(Kept { patches: vec![], fallback: true }));
        let error = Filter { on_empty: OnEmpty::Error, ..area };
        assert!(abnormal_patches(&corner, 256, (32, 32), &error).is_err());
    }

    #[test]
    fn without_the_filter_all_patches_are_abnormal() {
        let filter = Filter { enabled: false, ..Filter::default() };
        let kept = abnormal_patches(&mask_with(&[]), 256, (32, 32), &filter).map(|kept| kept.patches.len());
        assert_eq!(kept, Ok(1024));
    }
}
