//! Block products of rows for searches, and the bound on their rounding.
//!
//! Owns: f32 products of a block of rows with another block, and how wrong they can be. Does not own: decisions made
//! with them; nothing that is recorded may depend on their last bits.

use crate::matrix::Rows;

/// Columns taken into one product; longer rows are summed from several products, which keeps the proven error small
/// (it grows with the longest chain of additions).
const DEPTH_COLS: usize = 256;

/// Writes `left · rightᵀ` to `out`, row-major, `left.len()` × `right.len()`.
pub fn products(left: Rows, right: Rows, out: &mut [f32]) {
    let (rows, columns, depth) = (left.len(), right.len(), left.cols());
    assert_eq!(depth, right.cols(), "rows of another width");
    assert_eq!(out.len(), rows * columns, "a tile of another size");
    for from in (0..depth).step_by(DEPTH_COLS) {
        let cols = DEPTH_COLS.min(depth - from);
        // SAFETY: the strides describe the row-major slices `left`, `right` and `out`, whose sizes were just checked;
        // `from + cols` stays within a row, and `out` overlaps neither input because it is borrowed mutably.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                cols,
                out.as_mut_ptr(),
                1,
                columns as isize,
                from > 0,
                left.data().as_ptr().add(from),
                1,
                depth as isize,
                right.data().as_ptr().add(from),
                depth as isize,
                1,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// Bound on |‖q‖² + fl(fl(‖b‖²) − 2·fl(q·b)) − ‖q − b‖²| for rows of `cols` values, ‖q‖ = `query` and ‖b‖ ≤ `longest`,
/// where fl(q·b) comes from [`products`] and the outer operations are f32.
///
/// A sum of n products in any order, fused or not, is off by at most n·u/(1 − n·u) · Σ|qᵢbᵢ| ≤ … · ‖q‖‖b‖ with
/// u = 2⁻²⁴ (Higham, Accuracy and Stability of Numerical Algorithms, §3.1); here n is the depth of one product plus
/// the number of products. The rest is the rounding of ‖b‖² and of the subtraction, the f64 rounding of the norms and
/// of the exact distance itself, and underflow.
pub fn score_error(cols: usize, query: f64, longest: f64) -> f64 {
    const UNIT: f64 = f32::EPSILON as f64 / 2.0;
    let chain = (cols.min(DEPTH_COLS) + cols.div_ceil(DEPTH_COLS) + 2) as f64 * UNIT;
    let gamma = chain / (1.0 - chain);
    let rounding = (2.0 * gamma + 3.0 * UNIT) * query * longest + 3.0 * UNIT * longest * longest;
    1.01 * rounding + 1e-12 * (query * query + longest * longest) + f32::MIN_POSITIVE as f64
}
