//! The leaky rectifier of wide matrices, as one operation: the tensor library's goes over its matrix some twenty times,
//! forward and backward.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, activation};

use super::host;
use crate::naive;

/// x where it is above 0, else `slope` · x.
pub fn leaky_relu(x: Tensor<2>, slope: f64) -> Tensor<2> {
    if naive::is_chosen() {
        return activation::leaky_relu(x, slope);
    }
    Tensor::from_dispatch(<Dispatch as Leaky>::leaky(x.clone().into_dispatch(), x.into_dispatch(), slope as f32))
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
trait Leaky: Backend {
    /// `y` where `x` is above 0, else `slope` · `y`: of x itself the function, of a gradient its gradient.
    fn leaky(x: FloatTensor<Self>, y: FloatTensor<Self>, slope: f32) -> FloatTensor<Self>;
}

impl Leaky for Flex {
    fn leaky(x: FloatTensor<Self>, y: FloatTensor<Self>, slope: f32) -> FloatTensor<Self> {
        host::leaky(x, y, slope)
    }
}

#[cfg(feature = "gpu")]
impl Leaky for Cube {
    fn leaky(x: FloatTensor<Self>, y: FloatTensor<Self>, slope: f32) -> FloatTensor<Self> {
        super::kernels::leaky(x, y, slope)
    }
}

impl<B: Leaky, C: CheckpointStrategy> Leaky for Autodiff<B, C> {
    fn leaky(x: FloatTensor<Self>, _: FloatTensor<Self>, slope: f32) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct OfX;

        impl<B: Leaky> Backward<B, 1> for OfX {
            type State = (NodeId, f32);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [of_x] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (x, slope) = ops.state;
                let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
                if let Some(node) = of_x {
                    grads.register::<B>(node.id, B::leaky(x, grad, slope));
                }
            }
        }

        match OfX.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), slope);
                let x = x.into_primitive();
                prep.finish(state, B::leaky(x.clone(), x, slope))
            }
            OpsKind::UnTracked(prep) => {
                let x = x.into_primitive();
                prep.finish(B::leaky(x.clone(), x, slope))
            }
        }
    }
}
