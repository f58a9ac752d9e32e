//! Rows gathered from several matrices (`device::gather`).

use burn::backend::Cube;
use burn::tensor::{Int, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use cubecl::prelude::*;

use super::{cubes, raw, raw_ints, whole};
use crate::device::gather::Source;

/// The rows with these numbers, those of the first source first.
pub fn gather_rows(sources: &[Source], numbers: &Tensor<1, Int>) -> Tensor<2> {
    let device = sources[0].rows.device();
    let (numbers, columns) = (into_contiguous(raw_ints(numbers.clone())), sources[0].rows.dims()[1]);
    let shape = [sources.iter().map(|source| source.count).sum(), columns];
    let matrix = raw(sources[0].rows.clone());
    let out = empty_device_contiguous_dtype(matrix.client, matrix.device, shape.into(), matrix.dtype);
    let mut place = 0;
    for source in sources.iter().filter(|source| source.count > 0) {
        let matrix = into_contiguous(raw(source.rows.clone()));
        let (cube_count, cube_dim) = cubes(source.count * columns);
        let client = out.client.clone();
        // SAFETY: from `place` on, `numbers` has `count` numbers and `out` `count` rows; the caller's numbers are those of rows that there are.
        unsafe {
            gather_kernel::launch_unchecked(
                &client,
                cube_count,
                cube_dim,
                whole(&matrix),
                whole(&numbers),
                whole(&out),
                source.first as i32,
                place as u32,
                source.count as u32,
                columns as u32,
            );
        }
        place += source.count;
    }
    let gathered = Tensor::from_primitive::<Cube>(out);
    if device.is_autodiff() { Tensor::from_inner(gathered) } else { gathered }
}

/// One value for each thread.
#[cube(launch_unchecked)]
fn gather_kernel(matrix: &[f32], numbers: &[i32], out: &mut [f32], first: i32, place: u32, count: u32, columns: u32) {
    let number = ABSOLUTE_POS as u32;
    if number < count * columns {
        let (row, column) = (place + number / columns, number % columns);
        let from = (numbers[row as usize] - first) as u32;
        out[(row * columns + column) as usize] = matrix[(from * columns + column) as usize];
    }
}
