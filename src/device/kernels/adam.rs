//! Steps of Adam (`device::adam`).

use burn::backend::Cube;
use burn::tensor::Tensor;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use cubecl::prelude::*;

use super::{cubes, raw, whole};
use crate::device::AdamRates;

/// Value, first and second moment after a step, of value, gradient, first and second moment before it.
pub fn adam(tensors: [Tensor<2>; 4], rates: AdamRates) -> [Tensor<2>; 3] {
    let [value, gradient, first, second] = tensors.map(|tensor| into_contiguous(raw(tensor)));
    let count = value.meta.shape().num_elements();
    let out = || {
        let shape = value.meta.shape().clone();
        empty_device_contiguous_dtype(value.client.clone(), value.device.clone(), shape, value.dtype)
    };
    let (new_value, new_first, new_second) = (out(), out(), out());
    let (cube_count, cube_dim) = cubes(count);
    let client = value.client.clone();
    let (beta1, beta2) = rates.betas;
    // SAFETY: all seven have `count` values.
    unsafe {
        adam_kernel::launch_unchecked(
            &client,
            cube_count,
            cube_dim,
            whole(&value),
            whole(&gradient),
            whole(&first),
            whole(&second),
            whole(&new_value),
            whole(&new_first),
            whole(&new_second),
            count as u32,
            rates.keeps as f32,
            rates.adds as f32,
            beta1 as f32,
            (1.0 - beta1) as f32,
            beta2 as f32,
            (1.0 - beta2) as f32,
            rates.corrections.0 as f32,
            rates.corrections.1 as f32,
            rates.learning_rate as f32,
            rates.epsilon as f32,
        );
    }
    [new_value, new_first, new_second].map(Tensor::from_primitive::<Cube>)
}

/// One value for each thread.
#[cube(launch_unchecked)]
fn adam_kernel(
    value: &[f32],
    gradient: &[f32],
    first: &[f32],
    second: &[f32],
    new_value: &mut [f32],
    new_first: &mut [f32],
    new_second: &mut [f32],
    count: u32,
    keeps: f32,
    adds: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    correction1: f32,
    correction2: f32,
    learning_rate: f32,
    epsilon: f32,
) {
    let number = ABSOLUTE_POS as u32;
    if number < count {
        let place = number as usize;
        let before = value[place];
        let slope = gradient[place] + before * adds;
        let mean = first[place] * beta1 + slope * rest1;
        let square = second[place] * beta2 + slope * slope * rest2;
        let root = (square / correction2).sqrt() + epsilon;
        new_first[place] = mean;
        new_second[place] = square;
        new_value[place] = before * keeps - mean / correction1 / root * learning_rate;
    }
}
