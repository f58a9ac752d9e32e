//! Sums down the columns of tall matrices, and rows that are added to or multiplied with all rows, whose gradients are such
//! sums.
//!
//! Without tuning at run time the tensor library gives a GPU one thread for a few columns, which then walks down all rows:
//! with 65,536 rows most of a training step. Here rows are summed in segments by a thread each, and the sums again, always in
//! the same order. On the processor one pass each (`host`).

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::host;
use crate::naive;

/// Sums over all rows, as one row.
pub fn column_sums(x: Tensor<2>) -> Tensor<2> {
    if naive::is_chosen() {
        return x.sum_dim(0);
    }
    Tensor::from_dispatch(<Dispatch as Columns>::sums(x.into_dispatch()))
}

/// Means over all rows, as one row.
pub fn column_means(x: Tensor<2>) -> Tensor<2> {
    let rows = x.dims()[0] as f64;
    column_sums(x) / rows
}

/// Every row plus `row`.
pub fn plus_row(x: Tensor<2>, row: Tensor<2>) -> Tensor<2> {
    if naive::is_chosen() {
        return x + row;
    }
    Tensor::from_dispatch(<Dispatch as Columns>::plus(x.into_dispatch(), row.into_dispatch()))
}

/// Every row times `row`, value by value.
pub fn times_row(x: Tensor<2>, row: Tensor<2>) -> Tensor<2> {
    if naive::is_chosen() {
        return x * row;
    }
    Tensor::from_dispatch(<Dispatch as Columns>::times(x.into_dispatch(), row.into_dispatch()))
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub(super) trait Columns: Backend {
    fn sums(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_sum_dim(x, 0)
    }

    fn plus(x: FloatTensor<Self>, row: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add(x, row)
    }

    fn times(x: FloatTensor<Self>, row: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_mul(x, row)
    }
}

impl Columns for Flex {
    fn sums(x: FloatTensor<Self>) -> FloatTensor<Self> {
        host::column_sums(x)
    }

    fn plus(x: FloatTensor<Self>, row: FloatTensor<Self>) -> FloatTensor<Self> {
        host::plus_row(x, row)
    }

    fn times(x: FloatTensor<Self>, row: FloatTensor<Self>) -> FloatTensor<Self> {
        host::times_row(x, row)
    }
}

#[cfg(feature = "gpu")]
impl Columns for Cube {
    fn sums(x: FloatTensor<Self>) -> FloatTensor<Self> {
        super::kernels::column_sums(x)
    }
}

impl<B: Columns, C: CheckpointStrategy> Columns for Autodiff<B, C> {
    fn sums(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Sums;

        impl<B: Columns> Backward<B, 1> for Sums {
            type State = [usize; 2];

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let [of_x] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                if let Some(node) = of_x {
                    grads.register::<B>(node.id, B::float_expand(grad, ops.state.into()));
                }
            }
        }

        let shape = x.shape().dims::<2>();
        match Sums.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(shape, B::sums(x.into_primitive())),
            OpsKind::UnTracked(prep) => prep.finish(B::sums(x.into_primitive())),
        }
    }

    fn plus(x: FloatTensor<Self>, row: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Plus;

        impl<B: Columns> Backward<B, 2> for Plus {
            type State = ();

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let [of_x, of_row] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                if let Some(node) = of_row {
                    grads.register::<B>(node.id, B::sums(grad.clone()));
                }
                if let Some(node) = of_x {
                    grads.register::<B>(node.id, grad);
                }
            }
        }

        match Plus.prepare::<C>([x.node(), row.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((), B::plus(x.into_primitive(), row.into_primitive())),
            OpsKind::UnTracked(prep) => prep.finish(B::plus(x.into_primitive(), row.into_primitive())),
        }
    }

    fn times(x: FloatTensor<Self>, row: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Times;

        impl<B: Columns> Backward<B, 2> for Times {
            type State = (Option<NodeId>, Option<NodeId>);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [of_x, of_row] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (x, row) = ops.state;
                if let (Some(node), Some(x)) = (of_row, x) {
                    let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
                    grads.register::<B>(node.id, B::sums(B::float_mul(grad.clone(), x)));
                }
                if let (Some(node), Some(row)) = (of_x, row) {
                    let row = checkpointer.retrieve_node_output::<FloatTensor<B>>(row);
                    grads.register::<B>(node.id, B::float_mul(grad, row));
                }
            }
        }

        match Times.prepare::<C>([x.node(), row.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                // Each is kept only where the other learns.
                let keep_x = row.is_tracked().then(|| prep.checkpoint(&x));
                let keep_row = x.is_tracked().then(|| prep.checkpoint(&row));
                prep.finish((keep_x, keep_row), B::times(x.into_primitive(), row.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::times(x.into_primitive(), row.into_primitive())),
        }
    }
}
