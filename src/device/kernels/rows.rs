//! Sums over rows, and rows combined with matrices.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{cubes, whole};

/// Sums over rows of a · (b − mean), or of (a − mean) · (b − mean), as one row.
pub fn centred_products(a: CubeTensor, b: CubeTensor, mean: CubeTensor, squares: bool) -> CubeTensor {
    let (a, b, mean) = (into_contiguous(a), into_contiguous(b), into_contiguous(mean));
    let [rows, columns] = a.meta.shape().dims::<2>();
    let segments = rows.div_ceil(SEGMENT_ROWS);
    let shape = [segments, columns];
    let out = empty_device_contiguous_dtype(a.client.clone(), a.device.clone(), shape.into(), a.dtype);
    let (cube_count, cube_dim) = cubes(segments * columns);
    let client = a.client.clone();
    // SAFETY: a and b have rows × columns values, mean has columns, and the kernel writes segments × columns, the size of `out`.
    unsafe {
        centred_products_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            whole(&a),
            whole(&b),
            whole(&mean),
            whole(&out),
            rows as u32,
            columns as u32,
            segments as u32,
            SEGMENT_ROWS as u32,
            squares,
        );
    }
    if segments == 1 { out } else { column_sums(out) }
}

/// first · a + second · (b − mean) + third; `rows` are mean, first, second and third.
pub fn combine(a: CubeTensor, b: CubeTensor, rows: [CubeTensor; 4]) -> CubeTensor {
    let (a, b, [mean, first, second, third]) = (into_contiguous(a), into_contiguous(b), rows.map(into_contiguous));
    let shape = a.meta.shape().clone();
    let (count, columns) = (shape.num_elements(), shape[1]);
    let out = empty_device_contiguous_dtype(a.client.clone(), a.device.clone(), shape, a.dtype);
    let (cube_count, cube_dim) = cubes(count);
    let client = a.client.clone();
    // SAFETY: a, b and `out` have `count` values, the rows have a value for each column.
    unsafe {
        combine_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            whole(&a),
            whole(&b),
            whole(&mean),
            whole(&first),
            whole(&second),
            whole(&third),
            whole(&out),
            count as u32,
            columns as u32,
        );
    }
    out
}

/// The same walk as that of `segment_sums_kernel`.
#[cube(launch_unchecked)]
fn centred_products_kernel(
    a: &[f32],
    b: &[f32],
    mean: &[f32],
    out: &mut [f32],
    rows: u32,
    columns: u32,
    segments: u32,
    #[comptime] segment: u32,
    #[comptime] squares: bool,
) {
    let number = ABSOLUTE_POS as u32;
    if number < segments * columns {
        let column = number % columns;
        let first = (number / columns) * segment;
        let last = min(rows, first + segment);
        let middle = mean[column as usize];
        let mut sum = 0.0f32;
        for row in first..last {
            let place = (row * columns + column) as usize;
            let mut left = a[place];
            if comptime!(squares) {
                left -= middle;
            }
            sum += left * (b[place] - middle);
        }
        out[number as usize] = sum;
    }
}

/// One value for each thread.
#[cube(launch_unchecked)]
fn combine_kernel(
    a: &[f32],
    b: &[f32],
    mean: &[f32],
    first: &[f32],
    second: &[f32],
    third: &[f32],
    out: &mut [f32],
    count: u32,
    columns: u32,
) {
    let number = ABSOLUTE_POS as u32;
    if number < count {
        let (place, column) = (number as usize, (number % columns) as usize);
        out[place] = first[column] * a[place] + second[column] * (b[place] - mean[column]) + third[column];
    }
}

/// Rows that one thread sums.
pub(super) const SEGMENT_ROWS: usize = 64;

/// Sums over the rows of a matrix, as one row: segments of rows first, then their sums in the same way.
pub fn column_sums(x: CubeTensor) -> CubeTensor {
    let mut x = segment_sums(x, None);
    while x.meta.shape()[0] > 1 {
        x = segment_sums(x, None);
    }
    x
}

/// Sums over the rows of a matrix, as one row, where each row counts as often as its value in `weights`, rows × 1, says.
///
/// # Panics
/// Other weights than rows.
pub fn weighted_sums(x: CubeTensor, weights: CubeTensor) -> CubeTensor {
    assert_eq!(x.meta.shape()[0], weights.meta.shape()[0], "every row has a weight");
    let sums = segment_sums(x, Some(weights));
    if sums.meta.shape()[0] > 1 { column_sums(sums) } else { sums }
}

/// The sums of each segment's rows, as a row.
fn segment_sums(x: CubeTensor, weights: Option<CubeTensor>) -> CubeTensor {
    let x = into_contiguous(x);
    let weighted = weights.is_some();
    let weights = weights.map_or_else(|| x.clone(), into_contiguous);
    let [rows, columns] = x.meta.shape().dims::<2>();
    // Of no rows the sums are zero.
    let segments = rows.div_ceil(SEGMENT_ROWS).max(1);
    let shape = [segments, columns];
    let out = empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape.into(), x.dtype);
    let (cube_count, cube_dim) = cubes(segments * columns);
    let client = x.client.clone();
    // SAFETY: x has rows × columns values, the weights that are read are as many as its rows, and the kernel writes segments ×
    // columns, the size of `out`.
    unsafe {
        segment_sums_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            whole(&x),
            whole(&weights),
            whole(&out),
            rows as u32,
            columns as u32,
            segments as u32,
            SEGMENT_ROWS as u32,
            weighted,
        );
    }
    out
}

/// The sum of a column over a segment of rows for each thread; neighbours have neighbouring columns.
#[cube(launch_unchecked)]
fn segment_sums_kernel(
    x: &[f32],
    weights: &[f32],
    out: &mut [f32],
    rows: u32,
    columns: u32,
    segments: u32,
    #[comptime] segment: u32,
    #[comptime] weighted: bool,
) {
    let number = ABSOLUTE_POS as u32;
    if number < segments * columns {
        let column = number % columns;
        let first = (number / columns) * segment;
        let last = min(rows, first + segment);
        let mut sum = 0.0f32;
        for row in first..last {
            let mut value = x[(row * columns + column) as usize];
            if comptime!(weighted) {
                value *= weights[row as usize];
            }
            sum += value;
        }
        out[number as usize] = sum;
    }
}

/// `y` where `x` is above 0, else `slope` · `y`.
pub fn leaky(x: CubeTensor, y: CubeTensor, slope: f32) -> CubeTensor {
    let (x, y) = (into_contiguous(x), into_contiguous(y));
    let shape = x.meta.shape().clone();
    let count = shape.num_elements();
    let out = empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape, x.dtype);
    let (cube_count, cube_dim) = cubes(count);
    let client = x.client.clone();
    // SAFETY: all three have `count` values.
    unsafe {
        leaky_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            whole(&x),
            whole(&y),
            whole(&out),
            count as u32,
            slope,
        );
    }
    out
}

/// One value for each thread.
#[cube(launch_unchecked)]
fn leaky_kernel(x: &[f32], y: &[f32], out: &mut [f32], count: u32, slope: f32) {
    let number = ABSOLUTE_POS as u32;
    if number < count {
        let place = number as usize;
        let mut value = y[place];
        if x[place] <= 0.0f32 {
            value *= slope;
        }
        out[place] = value;
    }
}
