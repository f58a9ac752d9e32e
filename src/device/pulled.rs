//! The way back into a graph for gradients that were found outside of it.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

/// Zero (1 × 1), whose gradient with respect to `y` is `gradient`, which is not tracked: going backward from the sum of such
/// zeros is going on from where other hands have left off.
pub fn pulled(y: Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
    let gradient: Tensor<2> = Tensor::from_inner(gradient);
    Tensor::from_dispatch(<Dispatch as Pulled>::pulled(y.into_dispatch(), gradient.into_dispatch()))
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
trait Pulled: Backend {
    /// Zero.
    fn pulled(y: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        drop(gradient);
        let corner = Self::float_slice(y, &[(0..1).into(), (0..1).into()]);
        Self::float_mul_scalar(corner, 0.0f32.into())
    }
}

impl Pulled for Flex {}

#[cfg(feature = "gpu")]
impl Pulled for Cube {}

impl<B: Pulled, C: CheckpointStrategy> Pulled for Autodiff<B, C> {
    fn pulled(y: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Pull;

        impl<B: Pulled> Backward<B, 1> for Pull {
            type State = FloatTensor<B>;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let [of_y] = ops.parents;
                grads.consume::<B>(&ops.node);
                if let Some(node) = of_y {
                    grads.register::<B>(node.id, ops.state);
                }
            }
        }

        let gradient = gradient.into_primitive();
        match Pull.prepare::<C>([y.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(gradient.clone(), B::pulled(y.into_primitive(), gradient)),
            OpsKind::UnTracked(prep) => prep.finish(B::pulled(y.into_primitive(), gradient)),
        }
    }
}
