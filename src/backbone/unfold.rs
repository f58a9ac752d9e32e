//! Convolutions on a GPU as products in single precision.
//!
//! Without tuning at run time the tensor library convolves place by place, far below what the same product of matrices
//! reaches, and with it on tensor cores, which cut factors to ten bits. So an image is unfolded to what the kernel meets at
//! each place, and meets the kernel in one product; a kernel of one pixel needs no unfolding.

use burn::backend::Cube;
use burn::backend::ops::ModuleOps;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::device::kernels::{cubes, raw, whole};
use crate::device::product;

/// Values of unfolded images that are there at once (256 MiB).
const MOST_VALUES: usize = 1 << 26;

/// Whether a convolution goes this way.
pub fn unfolds(options: &ConvOptions<2>) -> bool {
    options.groups == 1 && options.dilation == [1, 1]
}

/// x: images × channels × rows × columns; kernel: outputs × channels × rows × columns.
pub fn convolve(x: CubeTensor, kernel: CubeTensor, options: ConvOptions<2>) -> CubeTensor {
    if !unfolds(&options) {
        return <Cube as ModuleOps<Cube>>::conv2d(x, kernel, None, options);
    }
    let (x, kernel) = (Tensor::<4>::from_primitive::<Cube>(x), Tensor::<4>::from_primitive::<Cube>(kernel));
    let [outputs, channels, height, width] = kernel.dims();
    let matrix = kernel.reshape([1, outputs, channels * height * width]);
    let window = Window::new(x.dims(), [height, width], &options);
    let parts = window
        .parts(&x)
        .map(|(part, unfolded)| product(matrix.clone(), unfolded).reshape(window.output(part, outputs)));
    raw(Tensor::cat(parts.collect(), 0))
}

/// The gradient of an input of `shape` where the outputs have the gradient `grad`.
pub fn input_gradient(shape: [usize; 4], kernel: CubeTensor, grad: CubeTensor, options: &ConvOptions<2>) -> CubeTensor {
    let (kernel, grad) = (Tensor::<4>::from_primitive::<Cube>(kernel), Tensor::<4>::from_primitive::<Cube>(grad));
    let [outputs, channels, height, width] = kernel.dims();
    let window = Window::new(shape, [height, width], options);
    let (rows, places) = (channels * height * width, window.places[0] * window.places[1]);
    let matrix = kernel.reshape([1, outputs, rows]).swap_dims(1, 2);
    let at_once = (MOST_VALUES / (rows * places)).clamp(1, shape[0]);
    let parts = (0..shape[0]).step_by(at_once).map(|first| {
        let count = at_once.min(shape[0] - first);
        let own = grad.clone().narrow(0, first, count).reshape([count, outputs, places]);
        window.fold(product(matrix.clone(), own))
    });
    raw(Tensor::cat(parts.collect(), 0))
}

/// The gradient of a kernel of `shape` where the outputs have the gradient `grad`.
pub fn kernel_gradient(x: CubeTensor, grad: CubeTensor, shape: [usize; 4], options: &ConvOptions<2>) -> CubeTensor {
    let (x, grad) = (Tensor::<4>::from_primitive::<Cube>(x), Tensor::<4>::from_primitive::<Cube>(grad));
    let window = Window::new(x.dims(), [shape[2], shape[3]], options);
    let (outputs, places) = (shape[0], window.places[0] * window.places[1]);
    let mut first = 0;
    let parts = window.parts(&x).map(|(images, unfolded)| {
        let own = grad.clone().narrow(0, first, images).reshape([images, outputs, places]);
        first += images;
        product(own, unfolded.swap_dims(1, 2)).sum_dim(0)
    });
    let sum = parts.reduce(|a, b| a + b).unwrap_or_else(|| unreachable!("a batch has images"));
    raw(sum.reshape(shape))
}

/// Where a kernel meets images.
#[derive(Clone, Copy)]
struct Window {
    /// Images, channels, rows, columns.
    input: [usize; 4],
    kernel: [usize; 2],
    stride: [usize; 2],
    /// Rows and columns of zeros before the first.
    before: [usize; 2],
    /// Rows and columns of outputs.
    places: [usize; 2],
}

impl Window {
    fn new(input: [usize; 4], kernel: [usize; 2], options: &ConvOptions<2>) -> Window {
        let along = |side: usize| {
            let (before, after) = options.padding[side];
            (input[2 + side] + before + after - kernel[side]) / options.stride[side] + 1
        };
        let before = options.padding.map(|(before, _)| before);
        Window { input, kernel, stride: options.stride, before, places: [along(0), along(1)] }
    }

    fn output(&self, images: usize, outputs: usize) -> [usize; 4] {
        [images, outputs, self.places[0], self.places[1]]
    }

    /// The images in parts that fit, unfolded: how many, and images × channels · kernel × places.
    fn parts<'a>(&'a self, x: &'a Tensor<4>) -> impl Iterator<Item = (usize, Tensor<3>)> + 'a {
        let [images, channels, ..] = self.input;
        let (rows, places) = (channels * self.kernel[0] * self.kernel[1], self.places[0] * self.places[1]);
        let at_once = (MOST_VALUES / (rows * places)).clamp(1, images);
        (0..images).step_by(at_once).map(move |first| {
            let count = at_once.min(images - first);
            let part = x.clone().narrow(0, first, count);
            let pointwise =
                self.kernel == [1, 1] && self.stride == [1, 1] && self.places == [self.input[2], self.input[3]];
            let unfolded = if pointwise { part.reshape([count, channels, places]) } else { self.unfold(part) };
            (count, unfolded)
        })
    }

    /// From images × channels · kernel × places back to images: what meets one pixel is added up.
    fn fold(&self, unfolded: Tensor<3>) -> Tensor<4> {
        let [_, channels, height, width] = self.input;
        let shape = [unfolded.dims()[0], channels, height, width];
        let count = shape.iter().product::<usize>();
        let unfolded = into_contiguous(raw(unfolded));
        let (client, device) = (unfolded.client.clone(), unfolded.device.clone());
        let out = empty_device_contiguous_dtype(client.clone(), device, shape.into(), DType::F32);
        let (cube_count, cube_dim) = cubes(count);
        // SAFETY: the kernel writes `count` values, the size of `out`, and reads places of the outputs alone.
        unsafe {
            fold_kernel::launch_unchecked(
                &client,
                cube_count,
                cube_dim,
                whole(&unfolded),
                whole(&out),
                count as u32,
                height as u32,
                width as u32,
                self.places[0] as u32,
                self.places[1] as u32,
                self.stride[0] as u32,
                self.stride[1] as u32,
                self.before[0] as u32,
                self.before[1] as u32,
                self.kernel[0] as u32,
                self.kernel[1] as u32,
            );
        }
        Tensor::from_primitive::<Cube>(out)
    }

    fn unfold(&self, x: Tensor<4>) -> Tensor<3> {
        let [images, channels, height, width] = x.dims();
        let (rows, places) = (channels * self.kernel[0] * self.kernel[1], self.places[0] * self.places[1]);
        let x = into_contiguous(raw(x));
        let shape = [images, rows, places];
        let out = empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape.into(), DType::F32);
        let (cube_count, cube_dim) = cubes(images * rows * places);
        let client = x.client.clone();
        // SAFETY: the kernel writes images × rows × places values, the size of `out`, and reads only inside the images.
        unsafe {
            unfold_kernel::launch_unchecked(
                &client,
                cube_count,
                cube_dim,
                whole(&x),
                whole(&out),
                (images * rows * places) as u32,
                height as u32,
                width as u32,
                self.places[1] as u32,
                places as u32,
                self.stride[0] as u32,
                self.stride[1] as u32,
                self.before[0] as u32,
                self.before[1] as u32,
                self.kernel[0] as u32,
                self.kernel[1] as u32,
            );
        }
        Tensor::from_primitive::<Cube>(out)
    }
}

/// One value of the input for each thread: the sum over all places of the kernel that meet it, in their order.
#[cube(launch_unchecked)]
fn fold_kernel(
    unfolded: &[f32],
    out: &mut [f32],
    count: u32,
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    stride_down: u32,
    stride_across: u32,
    above: u32,
    left: u32,
    #[comptime] kernel_height: u32,
    #[comptime] kernel_width: u32,
) {
    let number = ABSOLUTE_POS as u32;
    if number < count {
        let across = number % width;
        let down = (number / width) % height;
        let plane = number / (width * height);
        let places = out_height * out_width;
        let mut sum = 0.0f32;
        for at_row in 0..kernel_height {
            for at_column in 0..kernel_width {
                // Before the first place these wrap round to something large.
                let y = down + above - at_row;
                let x = across + left - at_column;
                if (y / stride_down) * stride_down == y && (x / stride_across) * stride_across == x {
                    let (y, x) = (y / stride_down, x / stride_across);
                    if y < out_height && x < out_width {
                        let row = (plane * kernel_height + at_row) * kernel_width + at_column;
                        sum += unfolded[(row * places + y * out_width + x) as usize];
                    }
                }
            }
        }
        out[number as usize] = sum;
    }
}

/// One value for each thread.
#[cube(launch_unchecked)]
fn unfold_kernel(
    x: &[f32],
    out: &mut [f32],
    count: u32,
    height: u32,
    width: u32,
    out_width: u32,
    places: u32,
    stride_down: u32,
    stride_across: u32,
    above: u32,
    left: u32,
    #[comptime] kernel_height: u32,
    #[comptime] kernel_width: u32,
) {
    let number = ABSOLUTE_POS as u32;
    if number < count {
        let place = number % places;
        let row_of_all = number / places;
        let across = row_of_all % kernel_width;
        let down = (row_of_all / kernel_width) % kernel_height;
        let plane = row_of_all / comptime!(kernel_width * kernel_height);
        // Above and left of the image these wrap round to something large.
        let y = (place / out_width) * stride_down + down - above;
        let x_at = (place % out_width) * stride_across + across - left;
        let mut value = 0.0f32;
        if y < height && x_at < width {
            value = x[((plane * height + y) * width + x_at) as usize];
        }
        out[number as usize] = value;
    }
}
