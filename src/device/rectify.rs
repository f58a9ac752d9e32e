//! The rectifier of maps on the processor, and the one with a top, as one operation: the tensor library's go over their maps some
//! ten times, forward and backward, most of them on one thread. GPUs have the library's.

use std::mem::MaybeUninit;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::has_own;
use super::room::written;
use super::wide::wide;

/// Values that a thread takes at once.
const VALUES: usize = 1 << 14;

/// Maps cut off below 0, and above `top` where there is one.
pub fn rectify(x: Tensor<4>, top: Option<f64>) -> Tensor<4> {
    if has_own(&x.device()) {
        let top = top.map_or(f32::INFINITY, |top| top as f32);
        return Tensor::from_dispatch(<Dispatch as Rectify>::rectify(x.into_dispatch(), top));
    }
    match top {
        Some(top) => relu(x).clamp_max(top),
        None => relu(x),
    }
}

#[backend_extension(Flex, Autodiff)]
trait Rectify: Backend {
    fn rectify(x: FloatTensor<Self>, top: f32) -> FloatTensor<Self>;

    /// `grad` where x is above 0 and not above `top`, else 0.
    fn rectify_gradient(x: FloatTensor<Self>, grad: FloatTensor<Self>, top: f32) -> FloatTensor<Self>;
}

/// What `value` makes of every value of x and of another tensor of its shape.
fn made(x: FloatTensor<Flex>, other: FloatTensor<Flex>, value: impl Fn(f32, f32) -> f32 + Sync) -> FloatTensor<Flex> {
    let [x, other] = [x, other].map(|tensor| tensor.to_contiguous());
    let shape = x.layout().shape().clone();
    let (x, other) = (x.storage::<f32>(), other.storage::<f32>());
    let other = &other[..x.len()];
    let write = |out: &mut [MaybeUninit<f32>]| {
        let parts = out.par_chunks_mut(VALUES).zip(x.par_chunks(VALUES).zip(other.par_chunks(VALUES)));
        parts.for_each(|(out, (x, other))| {
            wide(|| {
                out.iter_mut().zip(x.iter().zip(other)).for_each(|(out, (&x, &other))| {
                    out.write(value(x, other));
                });
            });
        });
    };
    // SAFETY: x and the other have as many values, so each of them is written.
    let out = unsafe { written(x.len(), write) };
    FloatTensor::<Flex>::from_data(TensorData::new(out, shape))
}

impl Rectify for Flex {
    fn rectify(x: FloatTensor<Self>, top: f32) -> FloatTensor<Self> {
        // What is no number stays so.
        let cut = |x: f32, _| {
            let x = if x < 0.0 { 0.0 } else { x };
            if x > top { top } else { x }
        };
        made(x.clone(), x, cut)
    }

    fn rectify_gradient(x: FloatTensor<Self>, grad: FloatTensor<Self>, top: f32) -> FloatTensor<Self> {
        made(x, grad, |x, grad| if x <= 0.0 || x > top { 0.0 } else { grad })
    }
}

impl<B: Rectify, C: CheckpointStrategy> Rectify for Autodiff<B, C> {
    fn rectify(x: FloatTensor<Self>, top: f32) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct OfX;

        impl<B: Rectify> Backward<B, 1> for OfX {
            type State = (NodeId, f32);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [of_x] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (x, top) = ops.state;
                let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
                if let Some(node) = of_x {
                    grads.register::<B>(node.id, B::rectify_gradient(x, grad, top));
                }
            }
        }

        match OfX.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), top);
                prep.finish(state, B::rectify(x.into_primitive(), top))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::rectify(x.into_primitive(), top)),
        }
    }

    fn rectify_gradient(x: FloatTensor<Self>, grad: FloatTensor<Self>, top: f32) -> FloatTensor<Self> {
        Self::from_inner(B::rectify_gradient(x.into_primitive(), grad.into_primitive(), top))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{download, upload};
    use burn::tensor::Device;

    #[test]
    fn values_and_gradients_are_those_of_the_tensor_library() {
        let values: Vec<f32> = (0..90).map(|value| value as f32 * 0.25 - 8.0).chain([0.0, 6.0]).collect();
        for top in [None, Some(6.0)] {
            let found = [true, false].map(|own| {
                let x: Tensor<4> = upload(values.clone(), [1, 2, 2, 23], &Device::flex().autodiff()).require_grad();
                let y = match (own, top) {
                    (true, _) => rectify(x.clone(), top),
                    (false, Some(top)) => relu(x.clone()).clamp_max(top),
                    (false, None) => relu(x.clone()),
                };
                let gradients = (y.clone() * y.clone()).sum_dim(0).sum_dim(1).sum_dim(2).sum_dim(3).backward();
                (download(y), x.grad(&gradients).map(download))
            });
            assert_eq!(found[0], found[1]);
            assert_eq!(found[0].0.iter().copied().fold(0.0, f32::max), top.unwrap_or(14.25) as f32);
        }
        let not_a_number: Tensor<4> = upload(vec![f32::NAN], [1, 1, 1, 1], &Device::flex());
        assert!(download(rectify(not_a_number, Some(6.0)))[0].is_nan());
    }
}
