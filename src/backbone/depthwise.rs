//! Depthwise convolutions on the processor: every channel meets a kernel of its own, row by row.

use rayon::prelude::*;

use super::window::Window;
use crate::device::wide::wide;

/// Values that a thread takes at once at least.
const LEAST_VALUES: usize = 1 << 14;

impl Window {
    /// Images × channels × places, of a kernel of channels × 1 × rows × columns.
    pub(super) fn depthwise(&self, x: &[f32], kernel: &[f32]) -> Vec<f32> {
        let [images, channels, rows, columns] = self.input;
        let (places, area) = (self.output[2] * self.output[3], self.kernel[0] * self.kernel[1]);
        let mut y = vec![0.0; images * channels * places];
        let planes = y.par_chunks_mut(places).zip(x.par_chunks(rows * columns)).enumerate();
        planes.with_min_len(LEAST_VALUES.div_ceil(places)).for_each(|(plane, (y, x))| {
            let kernel = &kernel[plane % channels * area..][..area];
            wide(|| {
                self.meetings(|number, at, to, count| {
                    add_scaled(&mut y[to..to + count], kernel[number], &x[at..], self.stride[1]);
                });
            });
        });
        y
    }

    /// The gradient of the image.
    pub(super) fn depthwise_input(&self, kernel: &[f32], grad: &[f32]) -> Vec<f32> {
        let [images, channels, rows, columns] = self.input;
        let (places, area) = (self.output[2] * self.output[3], self.kernel[0] * self.kernel[1]);
        let mut all = vec![0.0; images * channels * rows * columns];
        let planes = all.par_chunks_mut(rows * columns).zip(grad.par_chunks(places)).enumerate();
        planes.with_min_len(LEAST_VALUES.div_ceil(places)).for_each(|(plane, (own, grad))| {
            let kernel = &kernel[plane % channels * area..][..area];
            wide(|| {
                self.meetings(|number, at, to, count| {
                    let (weight, grad) = (kernel[number], &grad[to..to + count]);
                    if self.stride[1] == 1 {
                        own[at..].iter_mut().zip(grad).for_each(|(own, grad)| *own += weight * grad);
                    } else {
                        let own = own[at..].iter_mut().step_by(self.stride[1]);
                        own.zip(grad).for_each(|(own, grad)| *own += weight * grad);
                    }
                });
            });
        });
        all
    }

    /// The gradient of the kernel: channels × 1 × rows × columns.
    pub(super) fn depthwise_kernel(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let [images, channels, rows, columns] = self.input;
        let (places, area) = (self.output[2] * self.output[3], self.kernel[0] * self.kernel[1]);
        let mut sums = vec![0.0f32; channels * area];
        sums.par_chunks_mut(area).enumerate().for_each(|(channel, sums)| {
            for image in 0..images {
                let plane = image * channels + channel;
                let (x, grad) = (&x[plane * rows * columns..][..rows * columns], &grad[plane * places..][..places]);
                wide(|| {
                    self.meetings(|number, at, to, count| {
                        sums[number] += row_product(&grad[to..to + count], &x[at..], self.stride[1]);
                    });
                });
            }
        });
        sums
    }

    /// Calls `meet` for every value of the kernel and every row of the outputs that meets it inside of the image: the value's
    /// number, where in the image the row begins and where in the outputs, and how many outputs it has.
    #[inline(always)]
    fn meetings(&self, mut meet: impl FnMut(usize, usize, usize, usize)) {
        let [height, across] = self.kernel;
        for number in 0..height * across {
            let (at_row, at_column) = (number / across, number % across);
            let columns = self.inside(1, at_column);
            if columns.is_empty() {
                continue;
            }
            let from = columns.start * self.stride[1] + at_column - self.padding[1];
            for row in self.inside(0, at_row) {
                let line = row * self.stride[0] + at_row - self.padding[0];
                meet(number, line * self.input[3] + from, row * self.output[3] + columns.start, columns.len());
            }
        }
    }

    /// The outputs along a dimension whose window has input number `at` of the kernel inside the image.
    fn inside(&self, dimension: usize, at: usize) -> std::ops::Range<usize> {
        let (input, output) = (self.input[2 + dimension], self.output[2 + dimension]);
        let (stride, padding) = (self.stride[dimension], self.padding[dimension]);
        let first = padding.saturating_sub(at).div_ceil(stride);
        let last = (input + padding).saturating_sub(at).div_ceil(stride);
        first.min(output)..last.min(output)
    }
}

/// sum[i] += weight · values[i · stride]
#[inline(always)]
fn add_scaled(sum: &mut [f32], weight: f32, values: &[f32], stride: usize) {
    if stride == 1 {
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
    } else {
        sum.iter_mut().zip(values.iter().step_by(stride)).for_each(|(sum, value)| *sum += weight * value);
    }
}

/// Σ a[i] · b[i · stride], in eight sums side by side.
#[inline(always)]
fn row_product(a: &[f32], b: &[f32], stride: usize) -> f32 {
    if stride > 1 {
        return a.iter().zip(b.iter().step_by(stride)).map(|(a, b)| a * b).sum();
    }
    let b = &b[..a.len()];
    let mut sums = [0.0f32; 8];
    let (whole, rest) = (a.chunks_exact(8), a.chunks_exact(8).remainder());
    let first = a.len() - rest.len();
    for (a, b) in whole.zip(b.chunks_exact(8)) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    let rest: f32 = rest.iter().zip(&b[first..]).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
