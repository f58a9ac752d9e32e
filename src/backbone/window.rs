//! Convolutions on the processor: a kernel, an image and where they meet.
//!
//! A block of an image's rows is unfolded to what the kernel meets at each place, and all of it is one product; an image is
//! worked on by one thread. Kernels of one value are products without that, depthwise kernels are sums over rows. Owns: the
//! arithmetic, forward and both gradients. Does not own: which tensors it is for (`convolve`).

use std::ops::Range;

use rayon::prelude::*;

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

/// Places of a product at least, so that it is worth its accumulator.
const PLACES: usize = 512;
/// Sums that are made side by side: constant, so that threads decide nothing.
const PARTS: usize = 4;
/// Values of an unfolded block: what stays in a processor's second cache.
const BLOCK_VALUES: usize = 1 << 17;

/// What a thread needs for an image.
#[derive(Default)]
struct Scratch {
    /// Rows × columns × channels with zeros around.
    padded: Vec<f32>,
    /// Places × what the kernel meets there.
    unfolded: Vec<f32>,
    /// Outputs in another order.
    turned: Vec<f32>,
}

impl Window {
    /// Places of an image's outputs.
    fn places(&self) -> usize {
        self.output[2] * self.output[3]
    }

    /// Values that a kernel meets at a place.
    fn inputs(&self) -> usize {
        self.input[1] * self.kernel[0] * self.kernel[1]
    }

    /// True when every place of the outputs meets the same place of the image and no other.
    fn is_a_point(&self) -> bool {
        (self.kernel, self.stride, self.padding) == ([1, 1], [1, 1], [0, 0]) && self.input[2..] == self.output[2..]
    }

    /// Images that are worked on together, where one alone has too few places for a product; several groups at least, for
    /// threads, but however many threads there are.
    fn group(&self) -> usize {
        PLACES.div_ceil(self.places()).min(self.input[0].div_ceil(PARTS)).max(1)
    }

    /// Images × outputs × places, of a kernel of outputs × channels × rows × columns.
    pub fn forward(&self, x: &[f32], kernel: &[f32]) -> Vec<f32> {
        let [images, channels, ..] = self.input;
        let (outputs, places, inputs) = (self.output[1], self.places(), self.inputs());
        let mut y = vec![0.0; images * outputs * places];
        if self.is_a_point() && self.group() == 1 {
            y.par_chunks_mut(outputs * places).zip(x.par_chunks(channels * places)).for_each(|(y, x)| {
                Product::set(y, places, [outputs, places, channels]).of((kernel, channels, 1), (x, places, 1));
            });
            return y;
        }
        let (kernel, group) = (self.by_place(kernel), self.group());
        y.par_chunks_mut(group * outputs * places).enumerate().for_each_init(
            Scratch::default,
            |scratch, (number, y)| {
                let Scratch { padded, unfolded, turned } = scratch;
                let (first, count) = (number * group, y.len() / (outputs * places));
                if group == 1 {
                    self.pad(x, first, padded);
                    for rows in self.blocks() {
                        let (first, count) = (rows.start * self.output[3], rows.len() * self.output[3]);
                        unfolded.resize(count * inputs, 0.0);
                        self.unfold(padded, rows, unfolded);
                        Product::set(&mut y[first..], places, [outputs, count, inputs])
                            .of((&kernel, inputs, 1), (unfolded, 1, inputs));
                    }
                    return;
                }
                self.unfold_images(x, first..first + count, padded, unfolded);
                turned.resize(count * places * outputs, 0.0);
                Product::set(turned, count * places, [outputs, count * places, inputs])
                    .of((&kernel, inputs, 1), (unfolded, 1, inputs));
                for (image, y) in y.chunks_exact_mut(outputs * places).enumerate() {
                    for (output, y) in y.chunks_exact_mut(places).enumerate() {
                        y.copy_from_slice(&turned[(output * count + image) * places..][..places]);
                    }
                }
            },
        );
        y
    }

    /// The gradient of the image: images × channels × rows × columns.
    pub fn input_gradient(&self, kernel: &[f32], grad: &[f32]) -> Vec<f32> {
        let [images, channels, rows, columns] = self.input;
        let (outputs, places, inputs) = (self.output[1], self.places(), self.inputs());
        let size = channels * rows * columns;
        let mut all = vec![0.0; images * size];
        if self.is_a_point() && self.group() == 1 {
            all.par_chunks_mut(size).zip(grad.par_chunks(outputs * places)).for_each(|(own, grad)| {
                Product::set(own, places, [channels, places, outputs]).of((kernel, 1, channels), (grad, places, 1));
            });
            return all;
        }
        let (kernel, group) = (self.by_place(kernel), self.group());
        let groups = all.par_chunks_mut(group * size).zip(grad.par_chunks(group * outputs * places));
        groups.for_each_init(Scratch::default, |scratch, (own, grad)| {
            let Scratch { padded, unfolded, turned } = scratch;
            let [height, width] = self.padded();
            let zeroed = |padded: &mut Vec<f32>| {
                padded.clear();
                padded.resize(height * width * channels, 0.0);
            };
            if group == 1 {
                zeroed(padded);
                for rows in self.blocks() {
                    let (first, count) = (rows.start * self.output[3], rows.len() * self.output[3]);
                    unfolded.resize(count * inputs, 0.0);
                    Product::set(unfolded, inputs, [count, inputs, outputs])
                        .of((&grad[first..], 1, places), (&kernel, inputs, 1));
                    self.fold(unfolded, rows, padded);
                }
                return self.unpad(padded, own);
            }
            self.turn_images(grad, turned);
            let count = grad.len() / outputs;
            unfolded.resize(count * inputs, 0.0);
            Product::set(unfolded, inputs, [count, inputs, outputs]).of((turned, outputs, 1), (&kernel, inputs, 1));
            for (unfolded, own) in unfolded.chunks_exact(places * inputs).zip(own.chunks_exact_mut(size)) {
                zeroed(padded);
                self.fold(unfolded, 0..self.output[2], padded);
                self.unpad(padded, own);
            }
        });
        all
    }

    /// The gradient of the kernel: outputs × channels × rows × columns.
    pub fn kernel_gradient(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let images: Vec<usize> = (0..self.input[0]).collect();
        let of_part = |images: &[usize]| {
            let mut sum = vec![0.0f32; self.output[1] * self.inputs()];
            let mut scratch = Scratch::default();
            for images in images.chunks(self.group()) {
                self.add_kernel_gradient(x, grad, images[0]..images[0] + images.len(), &mut scratch, &mut sum);
            }
            sum
        };
        let sums: Vec<Vec<f32>> = images.par_chunks(images.len().div_ceil(PARTS)).map(of_part).collect();
        self.by_channel(&sums)
    }

    /// Adds what a group of images says of the gradient of the kernel, ordered by place.
    fn add_kernel_gradient(
        &self,
        x: &[f32],
        grad: &[f32],
        images: Range<usize>,
        scratch: &mut Scratch,
        sum: &mut [f32],
    ) {
        let (channels, outputs, places, inputs) = (self.input[1], self.output[1], self.places(), self.inputs());
        let Scratch { padded, unfolded, turned } = scratch;
        let grad = &grad[images.start * outputs * places..][..images.len() * outputs * places];
        if images.len() > 1 {
            // Rows of several small images meet their gradients in one product.
            let count = images.len() * places;
            self.unfold_images(x, images, padded, unfolded);
            self.turn_images(grad, turned);
            Product::add(sum, inputs, [outputs, inputs, count]).of((turned, 1, outputs), (unfolded, inputs, 1));
        } else if self.is_a_point() {
            let x = &x[images.start * channels * places..];
            Product::add(sum, inputs, [outputs, inputs, places]).of((grad, places, 1), (x, 1, places));
        } else {
            self.pad(x, images.start, padded);
            for rows in self.blocks() {
                let (first, count) = (rows.start * self.output[3], rows.len() * self.output[3]);
                unfolded.resize(count * inputs, 0.0);
                self.unfold(padded, rows, unfolded);
                Product::add(sum, inputs, [outputs, inputs, count])
                    .of((&grad[first..], places, 1), (unfolded, inputs, 1));
            }
        }
    }

    /// Several images as rows of a product.
    fn unfold_images(&self, x: &[f32], images: Range<usize>, padded: &mut Vec<f32>, unfolded: &mut Vec<f32>) {
        let size = self.places() * self.inputs();
        unfolded.resize(images.len() * size, 0.0);
        for (image, unfolded) in images.zip(unfolded.chunks_exact_mut(size)) {
            self.pad(x, image, padded);
            self.unfold(padded, 0..self.output[2], unfolded);
        }
    }

    /// Several images' outputs, or their gradients, as rows of a product: a row for each place.
    fn turn_images(&self, outputs: &[f32], turned: &mut Vec<f32>) {
        let (count, places) = (self.output[1], self.places());
        turned.resize(outputs.len(), 0.0);
        for (own, turned) in outputs.chunks_exact(count * places).zip(turned.chunks_exact_mut(count * places)) {
            turn(own, [count, places], turned, count);
        }
    }

    /// The kernel with its values ordered by place, then by channel, as an unfolded image has them.
    fn by_place(&self, kernel: &[f32]) -> Vec<f32> {
        let (channels, area) = (self.input[1], self.kernel[0] * self.kernel[1]);
        let mut turned = vec![0.0; kernel.len()];
        for (own, turned) in kernel.chunks_exact(channels * area).zip(turned.chunks_exact_mut(channels * area)) {
            turn(own, [channels, area], turned, channels);
        }
        turned
    }

    /// The sum of several such kernels, ordered by channel, then by place.
    fn by_channel(&self, sums: &[Vec<f32>]) -> Vec<f32> {
        let (channels, inputs) = (self.input[1], self.inputs());
        let area = inputs / channels;
        let mut all = vec![0.0; self.output[1] * inputs];
        for (output, all) in all.chunks_exact_mut(inputs).enumerate() {
            for sum in sums {
                for (place, values) in sum[output * inputs..][..inputs].chunks_exact(channels).enumerate() {
                    all[place..].iter_mut().step_by(area).zip(values).for_each(|(all, value)| *all += value);
                }
            }
        }
        all
    }

    /// Rows of the outputs whose unfolded values fit together.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let rows = self.output[2];
        let block = (BLOCK_VALUES / (self.output[3] * self.inputs())).clamp(1, rows);
        (0..rows).step_by(block).map(move |first| first..rows.min(first + block))
    }

    /// Rows and columns of a padded image.
    fn padded(&self) -> [usize; 2] {
        [0, 1].map(|dimension| {
            let reach = (self.output[2 + dimension] - 1) * self.stride[dimension] + self.kernel[dimension];
            reach.max(self.input[2 + dimension] + self.padding[dimension])
        })
    }

    /// An image as rows × columns × channels with zeros around.
    fn pad(&self, x: &[f32], image: usize, padded: &mut Vec<f32>) {
        let [_, channels, rows, columns] = self.input;
        let [height, width] = self.padded();
        padded.clear();
        padded.resize(height * width * channels, 0.0);
        let plane = rows * columns;
        let image = &x[image * channels * plane..][..channels * plane];
        for row in 0..rows {
            let start = ((row + self.padding[0]) * width + self.padding[1]) * channels;
            turn_lines(&image[row * columns..], [channels, columns, plane], &mut padded[start..]);
        }
    }

    /// What is inside of a padded image, as channels × rows × columns.
    fn unpad(&self, padded: &[f32], image: &mut [f32]) {
        let [_, channels, rows, columns] = self.input;
        let width = self.padded()[1];
        for row in 0..rows {
            let start = ((row + self.padding[0]) * width + self.padding[1]) * channels;
            let line = &padded[start..][..columns * channels];
            for (channel, plane) in image.chunks_exact_mut(rows * columns).enumerate() {
                let out = &mut plane[row * columns..][..columns];
                out.iter_mut().zip(line[channel..].iter().step_by(channels)).for_each(|(out, value)| *out = *value);
            }
        }
    }

    /// The first values of each run of the unfolded rows in a padded image, in their order.
    fn runs(&self, rows: Range<usize>) -> impl Iterator<Item = usize> {
        let (columns, channels, width) = (self.output[3], self.input[1], self.padded()[1]);
        let (kernel, [down, right]) = (self.kernel[0], self.stride);
        let places = rows.flat_map(move |row| (0..columns).map(move |column| (row * down, column * right)));
        places.flat_map(move |(row, column)| (0..kernel).map(move |at| ((row + at) * width + column) * channels))
    }

    /// Rows of the outputs as rows of a product, one for each place: what the kernel meets there, by place of the kernel, then
    /// by channel.
    fn unfold(&self, padded: &[f32], rows: Range<usize>, out: &mut [f32]) {
        let run = self.kernel[1] * self.input[1];
        out.chunks_exact_mut(run)
            .zip(self.runs(rows))
            .for_each(|(out, from)| out.copy_from_slice(&padded[from..from + run]));
    }

    /// Adds such rows to where their values came from.
    fn fold(&self, unfolded: &[f32], rows: Range<usize>, padded: &mut [f32]) {
        let run = self.kernel[1] * self.input[1];
        for (values, to) in unfolded.chunks_exact(run).zip(self.runs(rows)) {
            padded[to..to + run].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// A product that is written to a matrix, or added to it.
struct Product<'a> {
    out: &'a mut [f32],
    pitch: usize,
    /// Rows, columns, and what is summed over.
    shape: [usize; 3],
    adds: bool,
}

impl<'a> Product<'a> {
    fn set(out: &'a mut [f32], pitch: usize, shape: [usize; 3]) -> Self {
        Product { out, pitch, shape, adds: false }
    }

    fn add(out: &'a mut [f32], pitch: usize, shape: [usize; 3]) -> Self {
        Product { out, pitch, shape, adds: true }
    }

    /// Of two matrices, each with the distance between its rows and between its columns.
    fn of(self, (a, a_row, a_column): (&[f32], usize, usize), (b, b_row, b_column): (&[f32], usize, usize)) {
        let [rows, columns, inner] = self.shape;
        let last = |[rows, columns]: [usize; 2], row: usize, column: usize| (rows - 1) * row + (columns - 1) * column;
        assert!(rows * columns * inner > 0 && columns <= self.pitch, "{:?}", self.shape);
        assert!(last([rows, columns], self.pitch, 1) < self.out.len(), "the result is outside");
        assert!(last([rows, inner], a_row, a_column) < a.len() && last([inner, columns], b_row, b_column) < b.len());
        // SAFETY: the last value of each of the three is inside of its slice, as was just checked; `out` is borrowed mutably, so
        // it overlaps neither of the others, and its rows do not overlap each other.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                inner,
                self.out.as_mut_ptr(),
                1,
                self.pitch as isize,
                self.adds,
                a.as_ptr(),
                a_column as isize,
                a_row as isize,
                b.as_ptr(),
                b_column as isize,
                b_row as isize,
                1.0f32,
                1.0f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// A matrix of rows × columns turned round, into rows of `pitch` values.
fn turn(matrix: &[f32], [rows, columns]: [usize; 2], out: &mut [f32], pitch: usize) {
    const TILE: usize = 16;
    for first in (0..rows).step_by(TILE) {
        let last = rows.min(first + TILE);
        for column in 0..columns {
            let out = &mut out[column * pitch..];
            (first..last).for_each(|row| out[row] = matrix[row * columns + column]);
        }
    }
}

/// Lines of so many columns, `pitch` apart, turned round.
fn turn_lines(lines: &[f32], [count, columns, pitch]: [usize; 3], out: &mut [f32]) {
    const TILE: usize = 16;
    for first in (0..count).step_by(TILE) {
        let last = count.min(first + TILE);
        for column in 0..columns {
            let out = &mut out[column * count..];
            (first..last).for_each(|line| out[line] = lines[line * pitch + column]);
        }
    }
}
