//! Convolutions that learn on the processor.
//!
//! The tensor library finds the gradient of a kernel by one small product for every input channel, which is half of a
//! training step. Here a block of images is unfolded and meets the gradient of its outputs in one product, and a depthwise
//! kernel takes sums over rows. Everything else (forward, the gradient of the input, other devices) is the library's.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

#[cfg(feature = "gpu")]
use super::unfold;

/// A convolution without bias, and the gradient of its kernel.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
trait Convolve: Backend {
    /// x: images × channels × rows × columns; kernel: outputs × channels / groups × rows × columns.
    fn convolve(x: FloatTensor<Self>, kernel: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        Self::conv2d(x, kernel, None, options)
    }

    /// The gradient of the input where the outputs have the gradient `grad`.
    fn input_gradient(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d_x_backward(x, kernel, grad, options)
    }

    /// The gradient of the kernel where the outputs have the gradient `grad`.
    fn kernel_gradient(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d_weight_backward(x, kernel, grad, options)
    }
}

#[cfg(feature = "gpu")]
impl Convolve for burn::backend::Cube {
    fn convolve(x: FloatTensor<Self>, kernel: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        unfold::convolve(x, kernel, options)
    }

    fn input_gradient(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        if unfold::unfolds(&options) {
            return unfold::input_gradient(x.meta.shape().dims(), kernel, grad, &options);
        }
        Self::conv2d_x_backward(x, kernel, grad, options)
    }

    fn kernel_gradient(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let shape = kernel.meta.shape().dims::<4>();
        if unfold::unfolds(&options) {
            return unfold::kernel_gradient(x, grad, shape, &options);
        }
        Self::conv2d_weight_backward(x, kernel, grad, options)
    }
}

impl Convolve for Flex {
    fn kernel_gradient(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let shape = kernel.layout().shape().dims::<4>();
        let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
        let sides = |tensor: &FloatTensor<Self>| tensor.layout().shape().dims::<4>();
        let window = Window {
            input: sides(&x),
            output: sides(&grad),
            kernel: [shape[2], shape[3]],
            stride: options.stride,
            padding: options.padding.map(|(before, _)| before),
        };
        let depthwise = options.groups == shape[0] && shape[1] == 1;
        if options.dilation != [1, 1] || (options.groups > 1 && !depthwise) {
            return Self::conv2d_weight_backward(x, kernel, grad, options);
        }
        let gradient = if depthwise { Window::depthwise } else { Window::gradient };
        let values = gradient(&window, x.storage(), grad.storage());
        FloatTensor::<Self>::from_data(TensorData::new(values, shape))
    }
}

/// Where a kernel meets an image.
struct Window {
    /// Images, channels, rows, columns.
    input: [usize; 4],
    output: [usize; 4],
    kernel: [usize; 2],
    stride: [usize; 2],
    /// Rows and columns of zeros before the first.
    padding: [usize; 2],
}

/// Places of a product at least, so that it is worth its accumulator.
const PLACES: usize = 512;
/// Sums that are made side by side: constant, so that threads decide nothing.
const PARTS: usize = 4;

impl Window {
    /// The outputs along a dimension whose window has input number `at` of the kernel inside the image.
    fn inside(&self, dimension: usize, at: usize) -> std::ops::Range<usize> {
        let (input, output) = (self.input[2 + dimension], self.output[2 + dimension]);
        let (stride, padding) = (self.stride[dimension], self.padding[dimension]);
        let first = padding.saturating_sub(at).div_ceil(stride);
        let last = (input + padding).saturating_sub(at).div_ceil(stride);
        first.min(output)..last.min(output)
    }

    /// Places of an image's outputs.
    fn places(&self) -> usize {
        self.output[2] * self.output[3]
    }

    /// Outputs × channels × kernel.
    fn gradient(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let [images, channels, ..] = self.input;
        let (outputs, places, area) = (self.output[1], self.places(), self.kernel[0] * self.kernel[1]);
        let inputs = channels * area;
        let block = PLACES.div_ceil(places).min(images);
        let firsts: Vec<usize> = (0..images).step_by(block).collect();
        let of_part = |firsts: &[usize]| {
            let mut sum = vec![0.0f32; outputs * inputs];
            let (mut unfolded, mut own) = (vec![0.0; block * places * inputs], vec![0.0; block * places * outputs]);
            let mut padded = Vec::new();
            for &first in firsts {
                let count = block.min(images - first);
                for image in 0..count {
                    let (number, rows) = (first + image, image * places..(image + 1) * places);
                    self.unfold(x, number, &mut padded, &mut unfolded[rows.start * inputs..rows.end * inputs]);
                    let grad = &grad[number * outputs * places..][..outputs * places];
                    turn(grad, [outputs, places], &mut own[rows.start * outputs..rows.end * outputs], outputs);
                }
                let width = count * places;
                add_product(&mut sum, &own[..width * outputs], &unfolded[..width * inputs], [outputs, inputs, width]);
            }
            sum
        };
        let sums: Vec<Vec<f32>> = firsts.par_chunks(firsts.len().div_ceil(PARTS)).map(of_part).collect();
        // A row of the sums is ordered by place of the kernel, then by channel.
        let mut all = vec![0.0; outputs * inputs];
        for (output, all) in all.chunks_exact_mut(inputs).enumerate() {
            for sum in &sums {
                for (place, values) in sum[output * inputs..][..inputs].chunks_exact(channels).enumerate() {
                    all[place..].iter_mut().step_by(area).zip(values).for_each(|(all, value)| *all += value);
                }
            }
        }
        all
    }

    /// An image as rows of a product, one for each place of the outputs: what the kernel meets there, by place of the kernel,
    /// then by channel. `padded` is scratch.
    fn unfold(&self, x: &[f32], image: usize, padded: &mut Vec<f32>, out: &mut [f32]) {
        let [_, channels, rows, columns] = self.input;
        let [_, _, out_rows, out_columns] = self.output;
        let reach =
            |dimension: usize| (self.output[2 + dimension] - 1) * self.stride[dimension] + self.kernel[dimension];
        let (height, width) = (reach(0).max(rows + self.padding[0]), reach(1).max(columns + self.padding[1]));
        padded.clear();
        padded.resize(height * width * channels, 0.0);
        let plane = rows * columns;
        for row in 0..rows {
            let start = ((row + self.padding[0]) * width + self.padding[1]) * channels;
            let line = &x[image * channels * plane + row * columns..];
            for column in 0..columns {
                let pixel = &mut padded[start + column * channels..][..channels];
                pixel.iter_mut().zip(line[column..].iter().step_by(plane)).for_each(|(out, value)| *out = *value);
            }
        }
        let run = self.kernel[1] * channels;
        let mut out = out.chunks_exact_mut(run);
        for (row, column) in (0..out_rows).flat_map(|row| (0..out_columns).map(move |column| (row, column))) {
            for at in 0..self.kernel[0] {
                let from = ((row * self.stride[0] + at) * width + column * self.stride[1]) * channels;
                if let Some(out) = out.next() {
                    out.copy_from_slice(&padded[from..from + run]);
                }
            }
        }
    }

    /// Channels × 1 × kernel.
    fn depthwise(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let [images, channels, rows, columns] = self.input;
        let (places, [height, across]) = (self.places(), self.kernel);
        let mut sums = vec![0.0f32; channels * height * across];
        sums.par_chunks_mut(height * across).enumerate().for_each(|(channel, sums)| {
            for image in 0..images {
                let plane = &x[(image * channels + channel) * rows * columns..][..rows * columns];
                let grad = &grad[(image * channels + channel) * places..][..places];
                for (number, sum) in sums.iter_mut().enumerate() {
                    let (at_row, at_column) = (number / across, number % across);
                    let right = self.inside(1, at_column);
                    if right.is_empty() {
                        continue;
                    }
                    let from = right.start * self.stride[1] + at_column - self.padding[1];
                    for row in self.inside(0, at_row) {
                        let line = &plane[(row * self.stride[0] + at_row - self.padding[0]) * columns + from..];
                        let grad = &grad[row * self.output[3]..][right.clone()];
                        *sum += row_product(grad, line, self.stride[1]);
                    }
                }
            }
        });
        sums
    }
}

/// Σ a[i] · b[i · stride], in eight sums side by side.
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

/// sum (rows × columns) += aᵀ · b, of which a has `inner` × rows and b `inner` × columns.
fn add_product(sum: &mut [f32], a: &[f32], b: &[f32], [rows, columns, inner]: [usize; 3]) {
    assert!(sum.len() == rows * columns && a.len() == rows * inner && b.len() == columns * inner);
    // SAFETY: the strides describe slices whose lengths were just checked; `sum` is borrowed mutably, so it overlaps neither.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            sum.as_mut_ptr(),
            1,
            columns as isize,
            true,
            a.as_ptr(),
            rows as isize,
            1,
            b.as_ptr(),
            1,
            columns as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

impl<B: Convolve, C: CheckpointStrategy> Convolve for Autodiff<B, C> {
    fn convolve(x: FloatTensor<Self>, kernel: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Convolution;

        impl<B: Convolve> Backward<B, 2> for Convolution {
            type State = (NodeId, NodeId, ConvOptions<2>);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [of_x, of_kernel] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (x, kernel, options) = ops.state;
                let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
                let kernel = checkpointer.retrieve_node_output::<FloatTensor<B>>(kernel);
                if let Some(node) = of_x {
                    let own = B::input_gradient(x.clone(), kernel.clone(), grad.clone(), options.clone());
                    grads.register::<B>(node.id, own);
                }
                if let Some(node) = of_kernel {
                    grads.register::<B>(node.id, B::kernel_gradient(x, kernel, grad, options));
                }
            }
        }

        match Convolution.prepare::<C>([x.node(), kernel.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&kernel), options.clone());
                prep.finish(state, B::convolve(x.into_primitive(), kernel.into_primitive(), options))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::convolve(x.into_primitive(), kernel.into_primitive(), options)),
        }
    }
}

/// The convolution of `x` (images × channels × rows × columns) with a kernel (outputs × channels / groups × rows × columns),
/// plus `bias`. Where gradients are wanted on the processor, that of the kernel is ours.
pub fn convolve(x: Tensor<4>, kernel: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions<2>) -> Tensor<4> {
    // Frozen networks on the processor have the library's own.
    if x.device() == Device::flex() {
        return conv2d(x, kernel, bias, options);
    }
    let outputs = kernel.dims()[0];
    let y = Tensor::from_dispatch(<Dispatch as Convolve>::convolve(x.into_dispatch(), kernel.into_dispatch(), options));
    match bias {
        Some(bias) => y + bias.reshape([1, outputs, 1, 1]),
        None => y,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{download, upload};
    use crate::random::{Purpose, stream};

    fn drawn<const D: usize>(shape: [usize; D], index: u64, device: &Device) -> Tensor<D> {
        let mut values = vec![0.0; shape.iter().product()];
        stream(3, Purpose::Synthetic, index).fill_normal(&mut values, 1.0);
        upload(values, shape, device)
    }

    /// Gradients of input, kernel and bias where the outputs have drawn gradients.
    fn gradients(shapes: [[usize; 4]; 2], options: &ConvOptions<2>, own: bool) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let [x, kernel] =
            [(shapes[0], 0), (shapes[1], 1)].map(|(shape, index)| drawn(shape, index, &device).require_grad());
        let bias = drawn([shapes[1][0]], 2, &device).require_grad();
        let given = (x.clone(), kernel.clone(), Some(bias.clone()), options.clone());
        let y = if own { convolve } else { |x, kernel, bias, options| conv2d(x, kernel, bias, options) };
        let y = y(given.0, given.1, given.2, given.3);
        let pull = drawn(y.dims(), 4, &device);
        let found = (y * pull).sum_dim(0).sum_dim(1).sum_dim(2).sum_dim(3).backward();
        let [x, kernel] = [x, kernel].map(|tensor| tensor.grad(&found).map(download).unwrap_or_default());
        vec![x, kernel, bias.grad(&found).map(download).unwrap_or_default()]
    }

    #[test]
    fn gradients_are_those_of_the_tensor_library() {
        let plain =
            |stride: usize, padding: usize, groups: usize| ConvOptions::new([stride; 2], [padding; 2], [1, 1], groups);
        let uneven = ConvOptions::new_with_padding([2, 2], [(0, 1), (0, 1)], [1, 1], 1);
        let cases = [
            ([3, 5, 9, 8], [7, 5, 3, 3], plain(1, 1, 1)),
            ([3, 5, 9, 8], [7, 5, 3, 3], plain(2, 1, 1)),
            ([2, 3, 11, 11], [4, 3, 7, 7], plain(2, 3, 1)),
            ([3, 4, 6, 6], [2, 4, 1, 1], plain(1, 0, 1)),
            ([3, 4, 7, 7], [2, 4, 1, 1], plain(2, 0, 1)),
            ([2, 4, 8, 8], [3, 4, 3, 3], uneven.clone()),
            ([40, 2, 24, 24], [3, 2, 3, 3], plain(1, 1, 1)), // several parts
            ([3, 4, 10, 9], [4, 1, 5, 5], plain(1, 2, 4)),
            ([3, 4, 9, 10], [4, 1, 3, 3], plain(2, 1, 4)),
            ([2, 4, 8, 8], [4, 1, 3, 3], ConvOptions { groups: 4, ..uneven }),
            ([2, 4, 8, 8], [6, 2, 3, 3], plain(1, 1, 2)), // the library's own
        ];
        for (x, kernel, options) in cases {
            let pairs = [true, false].map(|own| gradients([x, kernel], &options, own));
            for (own, library) in pairs[0].iter().zip(&pairs[1]) {
                let scale = library.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                assert_eq!(own.len(), library.len());
                let worst = own.iter().zip(library).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(scale > 0.0 && worst <= 1e-5 * scale, "{x:?} {kernel:?} {options:?}: {worst} of {scale}");
            }
        }
    }
}
