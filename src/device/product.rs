//! Products of matrices in the precision that was asked for.
//!
//! The processor has its own (`multiply`). On NVIDIA's GPUs the tensor library multiplies single-precision matrices on tensor cores, which cut the factors to ten
//! bits (TF32) without a word. Single precision is what a record says and what the CPU does, so products of our own
//! networks come through here and are TF32 only where `--precision tf32` says so.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::multiply::{Strided, multiply};
use super::room::zeros;
use crate::naive;

/// a · b; leading dimensions are the same, or one where the other has several.
pub fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    if naive::is_chosen() {
        return a.matmul(b);
    }
    let (from_a, from_b) = (a.dims(), b.dims());
    let wide = |of: [usize; D]| -> [usize; D] {
        std::array::from_fn(|place| if place + 2 < D { from_a[place].max(from_b[place]) } else { of[place] })
    };
    let (a, b) = (widened(a, wide(from_a)), widened(b, wide(from_b)));
    Tensor::from_dispatch(<Dispatch as Product>::product(a.into_dispatch(), b.into_dispatch()))
}

fn widened<const D: usize>(tensor: Tensor<D>, shape: [usize; D]) -> Tensor<D> {
    if tensor.dims() == shape { tensor } else { tensor.expand(shape) }
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub(super) trait Product: Backend {
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(a, b)
    }
}

impl Product for Flex {
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let [a, b] =
            [a, b].map(|tensor| if tensor.layout().has_positive_strides() { tensor } else { tensor.to_contiguous() });
        let (from, own) = (a.layout().shape().to_vec(), b.layout().shape().to_vec());
        let (leading, [rows, inner]) = (&from[..from.len() - 2], [from[from.len() - 2], from[from.len() - 1]]);
        let columns = own[own.len() - 1];
        let mut shape = leading.to_vec();
        shape.extend([rows, columns]);
        let mut out = zeros(shape.iter().product());
        if out.is_empty() {
            return FloatTensor::<Self>::from_data(TensorData::new(out, shape));
        }
        out.par_chunks_exact_mut(rows * columns).enumerate().for_each(|(number, out)| {
            let (left, right) = (matrix(&a, leading, number), matrix(&b, leading, number));
            multiply(out, columns, [rows, columns, inner], left, &right, false);
        });
        FloatTensor::<Self>::from_data(TensorData::new(out, shape))
    }
}

/// The matrix of that number, counted through the leading dimensions.
fn matrix<'a>(tensor: &'a FloatTensor<Flex>, leading: &[usize], mut number: usize) -> Strided<'a> {
    let strides: Vec<usize> = tensor.layout().strides().iter().map(|&stride| stride as usize).collect();
    let mut start = tensor.layout().start_offset();
    for (size, stride) in leading.iter().zip(&strides).rev() {
        start += number % size * stride;
        number /= size;
    }
    let [row, column] = [strides[strides.len() - 2], strides[strides.len() - 1]];
    Strided { values: &tensor.storage()[start..], row, column }
}

#[cfg(feature = "gpu")]
impl Product for Cube {
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        use super::kernels;
        use burn::backend::ops::FloatTensorOps;
        let (shape, strides) = (a.meta.shape(), a.meta.strides());
        // The gradient of a layer with one output: the library would give 64 columns to a few threads, which walk down all rows.
        // Rows may be apart by more than their values (CUDA's layout aligns them).
        let turned = strides.len() == 2 && strides[0] == 1 && strides[1] >= shape[0];
        if turned && b.meta.shape()[1] == 1 {
            let outputs = [shape[0], 1];
            return Self::float_reshape(kernels::weighted_sums(Self::float_transpose(a), b), outputs.into());
        }
        kernels::matrix_product(a, b, super::precision())
    }
}

impl<B: Product, C: CheckpointStrategy> Product for Autodiff<B, C> {
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct OfProduct;

        impl<B: Product> Backward<B, 2> for OfProduct {
            type State = (Option<NodeId>, Option<NodeId>);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [of_a, of_b] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (a, b) = ops.state;
                let mut turned = |node: Option<NodeId>| {
                    let tensor = checkpointer.retrieve_node_output::<FloatTensor<B>>(node?);
                    Some(B::float_transpose(tensor))
                };
                let (a, b) = (turned(a), turned(b));
                if let (Some(node), Some(b)) = (of_a, b) {
                    grads.register::<B>(node.id, B::product(grad.clone(), b));
                }
                if let (Some(node), Some(a)) = (of_b, a) {
                    grads.register::<B>(node.id, B::product(a, grad));
                }
            }
        }

        match OfProduct.prepare::<C>([a.node(), b.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                // Each is kept only where the other learns.
                let keep_a = b.is_tracked().then(|| prep.checkpoint(&a));
                let keep_b = a.is_tracked().then(|| prep.checkpoint(&b));
                prep.finish((keep_a, keep_b), B::product(a.into_primitive(), b.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::product(a.into_primitive(), b.into_primitive())),
        }
    }
}
