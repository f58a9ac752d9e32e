//! Normalised and rectified rows, and their gradients (`device::activate`).

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::rows::{SEGMENT_ROWS, column_sums};
use super::{cubes, whole};

/// The leaky rectifier of scale · (x − mean) + bias; with `adds`, plus `base`. `rows` are mean, scale and bias.
pub fn activated(x: CubeTensor, base: CubeTensor, rows: [CubeTensor; 3], slope: f32, adds: bool) -> CubeTensor {
    let (x, base, [mean, scale, bias]) = (into_contiguous(x), into_contiguous(base), rows.map(into_contiguous));
    let shape = x.meta.shape().clone();
    let (count, columns) = (shape.num_elements(), shape[1]);
    let out = empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape, x.dtype);
    let (cube_count, cube_dim) = cubes(count);
    let client = x.client.clone();
    // SAFETY: x, `base` and `out` have `count` values, the rows have a value for each column.
    unsafe {
        activated_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            whole(&x),
            whole(&base),
            whole(&mean),
            whole(&scale),
            whole(&bias),
            whole(&out),
            count as u32,
            columns as u32,
            slope,
            adds,
        );
    }
    out
}

/// For d = `grad` times the slope of [`activated`] at x: sums over rows of d, and behind them of d · (x − mean), as one row.
pub fn activated_sums(x: CubeTensor, grad: CubeTensor, rows: [CubeTensor; 3], slope: f32) -> CubeTensor {
    let (x, grad, [mean, scale, bias]) = (into_contiguous(x), into_contiguous(grad), rows.map(into_contiguous));
    let [rows, columns] = x.meta.shape().dims::<2>();
    let segments = rows.div_ceil(SEGMENT_ROWS);
    // Both sums of a segment side by side, so that what follows sums the same columns.
    let shape = [segments, 2 * columns];
    let out = empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape.into(), x.dtype);
    let (cube_count, cube_dim) = cubes(segments * columns);
    let client = x.client.clone();
    // SAFETY: x and `grad` have rows × columns values, the rows have a value for each column, and the kernel writes segments × 2
    // columns, the size of `out`.
    unsafe {
        activated_sums_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            whole(&x),
            whole(&grad),
            whole(&mean),
            whole(&scale),
            whole(&bias),
            whole(&out),
            rows as u32,
            columns as u32,
            segments as u32,
            slope,
            SEGMENT_ROWS as u32,
        );
    }
    if segments == 1 { out } else { column_sums(out) }
}

/// For d = `grad` times the slope of [`activated`] at x: scale · d + second · (x − mean) + third. `rows` are mean, scale, bias, second
/// and third.
pub fn activated_slope(x: CubeTensor, grad: CubeTensor, rows: [CubeTensor; 5], slope: f32) -> CubeTensor {
    let (x, grad, [mean, scale, bias, second, third]) =
        (into_contiguous(x), into_contiguous(grad), rows.map(into_contiguous));
    let shape = x.meta.shape().clone();
    let (count, columns) = (shape.num_elements(), shape[1]);
    let out = empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape, x.dtype);
    let (cube_count, cube_dim) = cubes(count);
    let client = x.client.clone();
    // SAFETY: x, `grad` and `out` have `count` values, the rows have a value for each column.
    unsafe {
        activated_slope_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            whole(&x),
            whole(&grad),
            whole(&mean),
            whole(&scale),
            whole(&bias),
            whole(&second),
            whole(&third),
            whole(&out),
            count as u32,
            columns as u32,
            slope,
        );
    }
    out
}

/// One value for each thread.
#[cube(launch_unchecked)]
fn activated_kernel(
    x: &[f32],
    base: &[f32],
    mean: &[f32],
    scale: &[f32],
    bias: &[f32],
    out: &mut [f32],
    count: u32,
    columns: u32,
    slope: f32,
    #[comptime] adds: bool,
) {
    let number = ABSOLUTE_POS as u32;
    if number < count {
        let (place, column) = (number as usize, (number % columns) as usize);
        let mut value = scale[column] * (x[place] - mean[column]) + bias[column];
        if value <= 0.0f32 {
            value *= slope;
        }
        if comptime!(adds) {
            value += base[place];
        }
        out[place] = value;
    }
}

/// Both sums of a column over a segment of rows for each thread; neighbours have neighbouring columns.
#[cube(launch_unchecked)]
fn activated_sums_kernel(
    x: &[f32],
    grad: &[f32],
    mean: &[f32],
    scale: &[f32],
    bias: &[f32],
    out: &mut [f32],
    rows: u32,
    columns: u32,
    segments: u32,
    slope: f32,
    #[comptime] segment: u32,
) {
    let number = ABSOLUTE_POS as u32;
    if number < segments * columns {
        let column = number % columns;
        let own = number / columns;
        let first = own * segment;
        let last = min(rows, first + segment);
        let middle = mean[column as usize];
        let factor = scale[column as usize];
        let shift = bias[column as usize];
        let mut sum = 0.0f32;
        let mut centred = 0.0f32;
        for row in first..last {
            let place = (row * columns + column) as usize;
            let away = x[place] - middle;
            let mut d = grad[place];
            if factor * away + shift <= 0.0f32 {
                d *= slope;
            }
            sum += d;
            centred += d * away;
        }
        out[(own * 2 * columns + column) as usize] = sum;
        out[(own * 2 * columns + columns + column) as usize] = centred;
    }
}

/// One value for each thread.
#[cube(launch_unchecked)]
fn activated_slope_kernel(
    x: &[f32],
    grad: &[f32],
    mean: &[f32],
    scale: &[f32],
    bias: &[f32],
    second: &[f32],
    third: &[f32],
    out: &mut [f32],
    count: u32,
    columns: u32,
    slope: f32,
) {
    let number = ABSOLUTE_POS as u32;
    if number < count {
        let (place, column) = (number as usize, (number % columns) as usize);
        let away = x[place] - mean[column];
        let mut d = grad[place];
        if scale[column] * away + bias[column] <= 0.0f32 {
            d *= slope;
        }
        out[place] = scale[column] * d + second[column] * away + third[column];
    }
}
