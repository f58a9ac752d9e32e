//! Matrices side by side and apart again (`device::beside`).

use burn::backend::Cube;
use burn::tensor::Tensor;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{cubes, raw, whole};

/// One to three matrices side by side, and below them the same plus `noise`.
pub fn beside(parts: &[Tensor<2>], noise: Option<Tensor<2>>) -> Tensor<2> {
    let [rows, width] = parts[0].dims();
    let columns = width * parts.len();
    let part = |number: usize| into_contiguous(raw(parts[number.min(parts.len() - 1)].clone()));
    let (first, second, third) = (part(0), part(1), part(2));
    let noisy = noise.is_some();
    // What is absent is not read.
    let noise_width = noise.as_ref().map_or(width, |noise| noise.dims()[1]);
    let noise = noise.map_or_else(|| first.clone(), |noise| into_contiguous(raw(noise)));
    let out = like(&first, [if noisy { 2 * rows } else { rows }, columns]);
    let (cube_count, cube_dim) = cubes(rows * width);
    let client = out.client.clone();
    // SAFETY: parts have rows × width values, noise rows × its width, and the kernel writes rows × columns, twice where it is noisy: the
    // size of `out`.
    unsafe {
        beside_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            whole(&first),
            whole(&second),
            whole(&third),
            whole(&noise),
            whole(&out),
            rows as u32,
            width as u32,
            columns as u32,
            noise_width as u32,
            if noise_width == columns && parts.len() > 1 { width as u32 } else { 0 },
            parts.len() as u32,
            noisy,
        );
    }
    Tensor::from_primitive::<Cube>(out)
}

/// The gradients of `count` parts.
pub fn apart(gradient: Tensor<2>, count: usize, noisy: bool) -> Vec<Tensor<2>> {
    let [all, columns] = gradient.dims();
    let (rows, width) = (if noisy { all / 2 } else { all }, columns / count);
    let gradient = into_contiguous(raw(gradient));
    let part = |number: usize| {
        let out = like(&gradient, [rows, width]);
        let (cube_count, cube_dim) = cubes(rows * width);
        let client = out.client.clone();
        // SAFETY: the gradient has rows × columns values, twice where it is noisy, and the kernel writes rows × width, the size of `out`.
        unsafe {
            apart_kernel::launch_unchecked(
                &client,
                cube_count,
                cube_dim,
                whole(&gradient),
                whole(&out),
                rows as u32,
                width as u32,
                columns as u32,
                (number * width) as u32,
                noisy,
            );
        }
        Tensor::from_primitive::<Cube>(out)
    };
    (0..count).map(part).collect()
}

/// An empty matrix where `tensor` is.
fn like(tensor: &CubeTensor, shape: [usize; 2]) -> CubeTensor {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), shape.into(), tensor.dtype)
}

/// One place of every part for each thread.
#[cube(launch_unchecked)]
fn beside_kernel(
    first: &[f32],
    second: &[f32],
    third: &[f32],
    noise: &[f32],
    out: &mut [f32],
    rows: u32,
    width: u32,
    columns: u32,
    noise_width: u32,
    noise_step: u32,
    #[comptime] parts: u32,
    #[comptime] noisy: bool,
) {
    let number = ABSOLUTE_POS as u32;
    if number < rows * width {
        let (row, column) = (number / width, number % width);
        let (to, below) = (row * columns + column, rows * columns);
        let from = row * noise_width + column;
        let value = first[number as usize];
        out[to as usize] = value;
        if comptime!(noisy) {
            out[(below + to) as usize] = value + noise[from as usize];
        }
        if comptime!(parts > 1) {
            let value = second[number as usize];
            out[(to + width) as usize] = value;
            if comptime!(noisy) {
                out[(below + to + width) as usize] = value + noise[(from + noise_step) as usize];
            }
        }
        if comptime!(parts > 2) {
            let value = third[number as usize];
            out[(to + 2 * width) as usize] = value;
            if comptime!(noisy) {
                out[(below + to + 2 * width) as usize] = value + noise[(from + 2 * noise_step) as usize];
            }
        }
    }
}

/// One value of a part for each thread.
#[cube(launch_unchecked)]
fn apart_kernel(
    gradient: &[f32],
    out: &mut [f32],
    rows: u32,
    width: u32,
    columns: u32,
    from: u32,
    #[comptime] noisy: bool,
) {
    let number = ABSOLUTE_POS as u32;
    if number < rows * width {
        let place = number / width * columns + from + number % width;
        let mut value = gradient[place as usize];
        if comptime!(noisy) {
            value += gradient[(rows * columns + place) as usize];
        }
        out[number as usize] = value;
    }
}
