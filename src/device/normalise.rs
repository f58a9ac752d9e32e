//! Batch normalisation of rows in training, as one operation.
//!
//! Composed of the tensor library's operations it goes over its matrix some twenty-five times, forward and backward; here
//! three times forward (mean, variance, result) and twice backward (sums, gradient).

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::column_means;
use super::columns::Columns;
use super::host;
use crate::naive;

/// Rows normalised by their own statistics, with the mean and the (biased) variance, which are not tracked.
pub struct Normalised {
    /// (x − mean) / √(variance + ε) · weight + bias.
    pub rows: Tensor<2>,
    /// Of each column, one row.
    pub mean: Tensor<2>,
    /// Of each column, one row.
    pub variance: Tensor<2>,
}

/// Batch normalisation in training.
pub fn normalise(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<2>, epsilon: f64) -> Normalised {
    if naive::is_chosen() {
        return composed(x, weight, bias, epsilon);
    }
    let lifted = x.device().is_autodiff();
    let (mean, variance) = statistics(if lifted { x.clone().inner() } else { x.clone() });
    let root = (variance.clone() + epsilon).sqrt().recip();
    let wide = |row: Tensor<2>| if lifted { Tensor::from_inner(row) } else { row };
    let (mean, variance, root) = (wide(mean), wide(variance), wide(root));
    let rows = <Dispatch as Normalise>::normalise(
        x.into_dispatch(),
        mean.clone().into_dispatch(),
        root.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    );
    Normalised { rows: Tensor::from_dispatch(rows), mean, variance }
}

/// Mean and (biased) variance of each column, a row each; `x` is not tracked.
pub(super) fn statistics(x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let count = x.dims()[0] as f64;
    let mean = column_means(x.clone());
    let (a, b) = (x.clone().into_dispatch(), x.into_dispatch());
    let squares = <Dispatch as Normalise>::centred_products(a, b, mean.clone().into_dispatch(), true);
    (mean, Tensor::from_dispatch(squares) / count)
}

/// The same of the tensor library's operations, whose gradients are its own.
fn composed(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<2>, epsilon: f64) -> Normalised {
    let mean = x.clone().mean_dim(0);
    let centred = x - mean.clone();
    let variance = (centred.clone() * centred.clone()).mean_dim(0);
    let rows = centred * (variance.clone() + epsilon).sqrt().recip() * weight + bias;
    Normalised { rows, mean: mean.detach(), variance: variance.detach() }
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
trait Normalise: Columns {
    /// Sums over rows of a · (b − mean); with `squares`, of (a − mean) · (b − mean).
    fn centred_products(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        squares: bool,
    ) -> FloatTensor<Self> {
        let b = Self::float_sub(b, mean.clone());
        let a = if squares { Self::float_sub(a, mean) } else { a };
        Self::float_sum_dim(Self::float_mul(a, b), 0)
    }

    /// first · a + second · (b − mean) + third, where all but a and b are rows.
    fn combine(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let b = Self::float_mul(Self::float_sub(b, mean), second);
        Self::float_add(Self::float_add(Self::float_mul(a, first), b), third)
    }

    /// (x − mean) · root · weight + bias; `mean` and `root` are x's own.
    fn normalise(
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        root: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let scale = Self::float_mul(root, weight);
        let nothing = Self::float_mul_scalar(scale.clone(), 0.0f32.into());
        Self::combine(x.clone(), x, mean, nothing, scale, bias)
    }
}

/// The factor of x − mean, and what is added, in the gradient of x: with g that of the outcome and n values behind every sum it is
/// scale · (g − Σg / n − (x − mean) · root² · Σ g (x − mean) / n), for mean and root are x's own.
pub(super) fn of_input<B: Backend>(
    [scale, root, sum, product]: [&FloatTensor<B>; 4],
    count: f32,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let share = B::float_mul_scalar(scale.clone(), (-1.0 / count).into());
    let square = B::float_mul(root.clone(), root.clone());
    let second = B::float_mul(B::float_mul(share.clone(), square), product.clone());
    (second, B::float_mul(share, sum.clone()))
}

impl Normalise for Flex {
    fn centred_products(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        squares: bool,
    ) -> FloatTensor<Self> {
        host::centred_products(a, b, mean, squares)
    }

    fn combine(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        host::combine(a, b, [mean, first, second, third])
    }
}

#[cfg(feature = "gpu")]
impl Normalise for Cube {
    fn centred_products(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        squares: bool,
    ) -> FloatTensor<Self> {
        super::kernels::centred_products(a, b, mean, squares)
    }

    fn combine(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        super::kernels::combine(a, b, [mean, first, second, third])
    }
}

impl<B: Normalise, C: CheckpointStrategy> Normalise for Autodiff<B, C> {
    fn normalise(
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        root: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Normalisation;

        /// x, mean, root, and weight · root.
        type State<B> = (NodeId, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

        impl<B: Normalise> Backward<B, 3> for Normalisation {
            type State = State<B>;

            /// With g the gradient of the outcome: that of the bias is Σg, that of the weight root · Σ g (x − mean).
            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [of_x, of_weight, of_bias] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (x, mean, root, scale) = ops.state;
                let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
                let count = grad.shape().dims::<2>()[0] as f32;
                let sum = B::sums(grad.clone());
                let product = B::centred_products(grad.clone(), x.clone(), mean.clone(), false);
                if let Some(node) = of_x {
                    let (second, third) = of_input::<B>([&scale, &root, &sum, &product], count);
                    grads.register::<B>(node.id, B::combine(grad, x, mean, scale, second, third));
                }
                if let Some(node) = of_weight {
                    grads.register::<B>(node.id, B::float_mul(product, root));
                }
                if let Some(node) = of_bias {
                    grads.register::<B>(node.id, sum);
                }
            }
        }

        let (mean, root) = (mean.into_primitive(), root.into_primitive());
        match Normalisation.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let scale = B::float_mul(root.clone(), weight.clone().into_primitive());
                let state = (prep.checkpoint(&x), mean.clone(), root.clone(), scale);
                let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
                prep.finish(state, B::normalise(x, mean, root, weight, bias))
            }
            OpsKind::UnTracked(prep) => {
                let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
                prep.finish(B::normalise(x, mean, root, weight, bias))
            }
        }
    }
}
