//! Convolutions that learn.
//!
//! The tensor library rearranges images for every one of them and finds the gradient of a kernel by one small product for every
//! input channel, which is more than half of a training step on the processor. There forward and both gradients are ours
//! (`window`, `depthwise`), on GPUs too (`unfold`); kernels in groups or with dilation are the library's.

#[cfg(feature = "gpu")]
use super::unfold;
use super::window::Window;
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

use crate::naive;

/// A convolution without bias, and its gradients.
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
    fn convolve(x: FloatTensor<Self>, kernel: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        let (inputs, own) = (sides(&x), sides(&kernel));
        let output = |dimension: usize| {
            let (before, after) = options.padding[dimension];
            let padded = inputs[2 + dimension] + before + after;
            (padded.checked_sub(own[2 + dimension])).map_or(0, |free| free / options.stride[dimension] + 1)
        };
        let output = [inputs[0], own[0], output(0), output(1)];
        let Some(kind) = Kind::of(&options, own).filter(|_| !output.contains(&0)) else {
            return Self::conv2d(x, kernel, None, options);
        };
        let window = window(&options, inputs, output, own);
        let (x, kernel) = (x.to_contiguous(), kernel.to_contiguous());
        let values = match kind {
            Kind::Dense => window.forward(x.storage(), kernel.storage()),
            Kind::Depthwise => window.depthwise(x.storage(), kernel.storage()),
        };
        FloatTensor::<Self>::from_data(TensorData::new(values, output))
    }

    fn input_gradient(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let (inputs, own) = (sides(&x), sides(&kernel));
        let Some(kind) = Kind::of(&options, own) else { return Self::conv2d_x_backward(x, kernel, grad, options) };
        let window = window(&options, inputs, sides(&grad), own);
        let (kernel, grad) = (kernel.to_contiguous(), grad.to_contiguous());
        let values = match kind {
            Kind::Dense => window.input_gradient(kernel.storage(), grad.storage()),
            Kind::Depthwise => window.depthwise_input(kernel.storage(), grad.storage()),
        };
        FloatTensor::<Self>::from_data(TensorData::new(values, inputs))
    }

    fn kernel_gradient(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let own = sides(&kernel);
        let Some(kind) = Kind::of(&options, own) else {
            return Self::conv2d_weight_backward(x, kernel, grad, options);
        };
        let window = window(&options, sides(&x), sides(&grad), own);
        let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
        let values = match kind {
            Kind::Dense => window.kernel_gradient(x.storage(), grad.storage()),
            Kind::Depthwise => window.depthwise_kernel(x.storage(), grad.storage()),
        };
        FloatTensor::<Self>::from_data(TensorData::new(values, own))
    }
}

/// Convolutions that are ours on the processor.
enum Kind {
    Dense,
    Depthwise,
}

impl Kind {
    /// Of a kernel with these sides; `None` is the library's.
    fn of(options: &ConvOptions<2>, kernel: [usize; 4]) -> Option<Kind> {
        match options.groups {
            _ if options.dilation != [1, 1] => None,
            1 => Some(Kind::Dense),
            groups if groups == kernel[0] && kernel[1] == 1 => Some(Kind::Depthwise),
            _ => None,
        }
    }
}

fn sides(tensor: &FloatTensor<Flex>) -> [usize; 4] {
    tensor.layout().shape().dims::<4>()
}

fn window(options: &ConvOptions<2>, input: [usize; 4], output: [usize; 4], kernel: [usize; 4]) -> Window {
    Window {
        input,
        output,
        kernel: [kernel[2], kernel[3]],
        stride: options.stride,
        padding: options.padding.map(|(before, _)| before),
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
/// plus `bias`.
pub fn convolve(x: Tensor<4>, kernel: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions<2>) -> Tensor<4> {
    // Frozen networks on the processor that are not packed (`places`) have the library's own, and so have plain twins. Devices
    // are equal whether they find gradients or not.
    if x.device() == Device::flex() && (naive::is_chosen() || !x.is_autodiff()) {
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

    /// The outputs, and gradients of input, kernel and bias where the outputs have drawn gradients.
    fn gradients(shapes: [[usize; 4]; 2], options: &ConvOptions<2>, own: bool) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let [x, kernel] =
            [(shapes[0], 0), (shapes[1], 1)].map(|(shape, index)| drawn(shape, index, &device).require_grad());
        let bias = drawn([shapes[1][0]], 2, &device).require_grad();
        let given = (x.clone(), kernel.clone(), Some(bias.clone()), options.clone());
        let y = if own { convolve } else { |x, kernel, bias, options| conv2d(x, kernel, bias, options) };
        let y = y(given.0, given.1, given.2, given.3);
        let (values, pull) = (download(y.clone()), drawn(y.dims(), 4, &device));
        let found = (y * pull).sum_dim(0).sum_dim(1).sum_dim(2).sum_dim(3).backward();
        let [x, kernel] = [x, kernel].map(|tensor| tensor.grad(&found).map(download).unwrap_or_default());
        vec![values, x, kernel, bias.grad(&found).map(download).unwrap_or_default()]
    }

    #[test]
    fn outputs_and_gradients_are_those_of_the_tensor_library() {
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
            ([3, 64, 40, 40], [5, 64, 3, 3], plain(1, 1, 1)), // several blocks of an image
            ([2, 64, 41, 40], [5, 64, 3, 3], plain(2, 1, 1)),
            ([3, 16, 9, 8], [18, 16, 3, 3], plain(1, 1, 1)), // with fewer multiplications, from here on
            ([5, 40, 24, 23], [33, 40, 3, 3], plain(1, 1, 1)),
            ([2, 18, 7, 5], [16, 18, 3, 3], plain(1, 0, 1)),
            ([2, 16, 4, 4], [16, 16, 3, 3], plain(1, 2, 1)),
            ([2, 16, 6, 7], [17, 16, 3, 3], ConvOptions::new_with_padding([1, 1], [(0, 1), (0, 1)], [1, 1], 1)),
            ([2, 3, 9, 9], [4, 3, 4, 2], plain(1, 2, 1)),
            ([3, 4, 10, 9], [4, 1, 5, 5], plain(1, 2, 4)),
            ([3, 4, 9, 10], [4, 1, 3, 3], plain(2, 1, 4)),
            ([2, 4, 8, 8], [4, 1, 3, 3], ConvOptions { groups: 4, ..uneven }),
            ([2, 4, 8, 8], [6, 2, 3, 3], plain(1, 1, 2)), // the library's own
        ];
        for (x, kernel, options) in cases {
            let pairs = [true, false].map(|own| gradients([x, kernel], &options, own));
            let is_ours = options.groups == 1 || options.groups == kernel[0];
            let differs = pairs[0][2] != pairs[1][2];
            assert_eq!(differs, is_ours, "{x:?} {kernel:?}: ours sum in another order");
            for (own, library) in pairs[0].iter().zip(&pairs[1]) {
                let scale = library.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                assert_eq!(own.len(), library.len());
                let worst = own.iter().zip(library).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(scale > 0.0 && worst <= 1e-5 * scale, "{x:?} {kernel:?} {options:?}: {worst} of {scale}");
            }
        }
    }
}
