//! Convolutions on the processor: a kernel, an image and where they meet.
//!
//! Forward, and both gradients, are products with what the kernel meets at each place, which is never written down as a whole: the
//! product asks for it panel by panel (`Unfolded`); kernels of 3 × 3 have a shorter way (`winograd`). Depthwise kernels are sums over rows (`depthwise`). Owns: the arithmetic.
//! Does not own: products (`device::multiply`), which tensors it is for (`convolve`).

use std::ops::Range;

use rayon::prelude::*;

use super::winograd;
use crate::device::multiply::{Right, Strided, multiply, multiply_alone};
use crate::device::room;
use crate::device::turn::turn;

/// Where a kernel meets an image.
pub(super) struct Window {
    /// Images, channels, rows, columns.
    pub input: [usize; 4],
    pub output: [usize; 4],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Rows and columns of zeros before the first.
    pub padding: [usize; 2],
}

/// Places of a product at least, so that it is worth its panels.
const PLACES: usize = 256;
/// Sums that are made side by side: constant, so that threads decide nothing.
const PARTS: usize = 4;
/// Places that a gradient of a kernel is summed over at once, at least.
const DEPTH: usize = 512;
/// Values of kernels whose gradients are computed together.
const ROWS: usize = 192;

impl Window {
    /// Places of an image's outputs.
    fn places(&self) -> usize {
        self.output[2] * self.output[3]
    }

    /// Values that a kernel meets at a place.
    fn inputs(&self) -> usize {
        self.input[1] * self.kernel[0] * self.kernel[1]
    }

    /// Images that are worked on together, where one alone has too few places for a product; several groups at least, for
    /// threads, but however many threads there are.
    fn group(&self) -> usize {
        PLACES.div_ceil(self.places()).min(self.input[0].div_ceil(PARTS)).max(1)
    }

    /// Images × outputs × places, of a kernel of outputs × channels × rows × columns.
    pub fn forward(&self, x: &[f32], kernel: &[f32]) -> Vec<f32> {
        if winograd::fits(self) {
            return winograd::forward(self, x, kernel);
        }
        let (outputs, places, inputs) = (self.output[1], self.places(), self.inputs());
        let kernel = Strided { values: kernel, row: inputs, column: 1 };
        self.by_group(outputs * places, |images, y| {
            let (shape, pitch) = ([outputs, images.len() * places, inputs], images.len() * places);
            let unfolded = Unfolded { window: self, x, first: images.start };
            if images.len() == 1 {
                // A few images leave threads without any.
                let multiply = if self.input[0] < PARTS { multiply } else { multiply_alone };
                return multiply(y, pitch, shape, kernel, &unfolded, false);
            }
            let mut turned = vec![0.0; y.len()];
            multiply_alone(&mut turned, pitch, shape, kernel, &unfolded, false);
            for (image, y) in y.chunks_exact_mut(outputs * places).enumerate() {
                for (output, y) in y.chunks_exact_mut(places).enumerate() {
                    y.copy_from_slice(&turned[(output * images.len() + image) * places..][..places]);
                }
            }
        })
    }

    /// Calls `work` for groups of images, with the `size` values of each that it is to fill.
    fn by_group(&self, size: usize, work: impl Fn(Range<usize>, &mut [f32]) + Sync) -> Vec<f32> {
        let (images, group) = (self.input[0], self.group());
        let mut all = room::zeros(images * size);
        all.par_chunks_mut(group * size).enumerate().for_each(|(number, own)| {
            work(number * group..images.min((number + 1) * group), own);
        });
        all
    }

    /// The gradient of the image: images × channels × rows × columns.
    pub fn input_gradient(&self, kernel: &[f32], grad: &[f32]) -> Vec<f32> {
        if winograd::fits(self) {
            return winograd::input_gradient(self, kernel, grad);
        }
        let [_, channels, rows, columns] = self.input;
        let (outputs, places, inputs) = (self.output[1], self.places(), self.inputs());
        let area = self.kernel[0] * self.kernel[1];
        if self.stride == [1, 1] && (0..2).all(|dimension| self.padding[dimension] < self.kernel[dimension]) {
            // It is the convolution of the gradient with the kernel turned round.
            let mut turned = Vec::with_capacity(kernel.len());
            for channel in 0..channels {
                for output in 0..outputs {
                    turned.extend(kernel[(output * channels + channel) * area..][..area].iter().rev());
                }
            }
            let [down, right] = [0, 1].map(|dimension| self.kernel[dimension] - 1 - self.padding[dimension]);
            let back = Window { input: self.output, output: self.input, padding: [down, right], ..*self };
            return back.forward(grad, &turned);
        }
        let size = channels * rows * columns;
        // Values that the kernel meets at a place get its gradients there, one product for all of them.
        let kernel = Strided { values: kernel, row: 1, column: inputs };
        self.by_group(size, |images, own| {
            for (image, own) in images.zip(own.chunks_exact_mut(size)) {
                let grad = Strided { values: &grad[image * outputs * places..], row: places, column: 1 };
                let mut unfolded = vec![0.0; inputs * places];
                multiply_alone(&mut unfolded, places, [inputs, places, outputs], kernel, &grad, false);
                for (input, values) in unfolded.chunks_exact(places).enumerate() {
                    let plane = &mut own[input / area * rows * columns..][..rows * columns];
                    self.meet(input % area, 0..places, |_, offset, inside| {
                        if let Some((start, skipped, inside)) = inside {
                            let values = &values[offset + skipped..][..inside];
                            let plane = plane[start..].iter_mut().step_by(self.stride[1]);
                            plane.zip(values).for_each(|(sum, value)| *sum += value);
                        }
                    });
                }
            }
        })
    }

    /// The gradient of the kernel: outputs × channels × rows × columns.
    pub fn kernel_gradient(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        if winograd::fits(self) {
            return winograd::kernel_gradient(self, x, grad);
        }
        let (outputs, places, inputs) = (self.output[1], self.places(), self.inputs());
        let images: Vec<usize> = (0..self.input[0]).collect();
        // Images whose places are summed up together: sums of few would be read and written for few.
        let together = DEPTH.div_ceil(places);
        // Inputs × outputs, for inputs are copied in rows of places and most are more.
        let of_part = |images: &[usize]| {
            let (mut sum, mut unfolded) = (vec![0.0f32; inputs * outputs], Vec::new());
            for images in images.chunks(together) {
                let depth = images.len() * places;
                let grads = Grads { window: self, grad, first: images[0] };
                let all = Unfolded { window: self, x, first: images[0] };
                unfolded.resize(ROWS * depth, 0.0f32);
                for (number, sum) in sum.chunks_mut(ROWS * outputs).enumerate() {
                    let rows = sum.len() / outputs;
                    let own = &mut unfolded[..rows * depth];
                    own.chunks_exact_mut(depth)
                        .enumerate()
                        .for_each(|(row, out)| all.copy(number * ROWS + row, 0, out));
                    let left = Strided { values: own, row: depth, column: 1 };
                    multiply_alone(sum, outputs, [rows, outputs, depth], left, &grads, true);
                }
            }
            sum
        };
        let mut sums = images.par_chunks(images.len().div_ceil(PARTS)).map(of_part).collect::<Vec<_>>().into_iter();
        let mut all = sums.next().unwrap_or_default();
        sums.for_each(|sum| all.iter_mut().zip(sum).for_each(|(all, value)| *all += value));
        let mut gradient = room::zeros(all.len());
        turn(&all, outputs, [inputs, outputs], &mut gradient, inputs);
        gradient
    }

    /// Walks along places where value `at` of a kernel meets an image: `visit` is given how many places of a row of outputs follow,
    /// how many came before, and, where some of them lie inside of the image, the value of the plane that the first of these meets,
    /// how many places come before it, and how many there are.
    #[inline(always)]
    fn meet(
        &self,
        at: usize,
        places: Range<usize>,
        mut visit: impl FnMut(usize, usize, Option<(usize, usize, usize)>),
    ) {
        let [_, _, rows, columns] = self.input;
        let (down, right) = (at / self.kernel[1], at % self.kernel[1]);
        // Columns of the outputs for which the value meets the image.
        let low = self.padding[1].saturating_sub(right).div_ceil(self.stride[1]);
        let high = (columns + self.padding[1]).saturating_sub(right).div_ceil(self.stride[1]).min(self.output[3]);
        let (mut row, mut column, mut done) = (places.start / self.output[3], places.start % self.output[3], 0);
        while done < places.len() {
            let count = (self.output[3] - column).min(places.len() - done);
            let (from, to) = (column.max(low), (column + count).min(high));
            let y = (row * self.stride[0] + down).wrapping_sub(self.padding[0]);
            let inside = (y < rows && from < to)
                .then(|| (y * columns + from * self.stride[1] + right - self.padding[1], from - column, to - from));
            visit(count, done, inside);
            (row, column, done) = (row + 1, 0, done + count);
        }
    }
}

/// Gradients of outputs: a row for each place, image by image, and a column for each output.
struct Grads<'a> {
    window: &'a Window,
    grad: &'a [f32],
    /// The first image.
    first: usize,
}

impl Right for Grads<'_> {
    fn copy(&self, row: usize, first: usize, out: &mut [f32]) {
        let (outputs, places) = (self.window.output[1], self.window.places());
        let from = &self.grad[((self.first + row / places) * outputs + first) * places + row % places..];
        out.iter_mut().zip(from.iter().step_by(places)).for_each(|(out, value)| *out = *value);
    }

    fn copy_rows(&self, row: usize, first: usize, width: usize, pitch: usize, out: &mut [f32]) {
        let (outputs, places) = (self.window.output[1], self.window.places());
        let (mut row, mut out) = (row, out);
        while !out.is_empty() {
            // Rows of one image are a matrix turned round.
            let (image, place) = (row / places, row % places);
            let count = (places - place).min(out.len() / pitch);
            let (own, rest) = std::mem::take(&mut out).split_at_mut(count * pitch);
            let values = &self.grad[(self.first + image) * outputs * places..][..outputs * places];
            Strided { values, row: 1, column: places }.copy_rows(place, first, width, pitch, own);
            (row, out) = (row + count, rest);
        }
    }
}

/// What a kernel meets: a row for each of its values, channel by channel, and a column for each place, image by image.
struct Unfolded<'a> {
    window: &'a Window,
    x: &'a [f32],
    /// The first image.
    first: usize,
}

impl Right for Unfolded<'_> {
    fn copy(&self, row: usize, first: usize, out: &mut [f32]) {
        let [_, channels, rows, columns] = self.window.input;
        let (area, places) = (self.window.kernel[0] * self.window.kernel[1], self.window.places());
        let (mut done, step) = (0, self.window.stride[1]);
        while done < out.len() {
            let (image, place) = ((first + done) / places, (first + done) % places);
            let count = (places - place).min(out.len() - done);
            let plane = ((self.first + image) * channels + row / area) * rows * columns;
            let (plane, out) = (&self.x[plane..][..rows * columns], &mut out[done..done + count]);
            self.window.meet(row % area, place..place + count, |count, offset, inside| {
                let out = &mut out[offset..offset + count];
                let Some((start, skipped, inside)) = inside else { return out.fill(0.0) };
                out[..skipped].fill(0.0);
                out[skipped + inside..].fill(0.0);
                let out = &mut out[skipped..skipped + inside];
                match step {
                    1 => out.copy_from_slice(&plane[start..start + inside]),
                    _ => out.iter_mut().zip(plane[start..].iter().step_by(step)).for_each(|(out, value)| *out = *value),
                }
            });
            done += count;
        }
    }
}
