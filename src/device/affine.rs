//! Linear layers with bias as one operation: outputs begin as the bias and products are added to them, so nothing goes over them
//! twice.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};

use super::columns::Columns;
use super::multiply::{Strided, multiply};
use super::product::Product;
use crate::naive;

/// x·Wᵀ + b for rows × inputs, outputs × inputs and a row of outputs.
pub fn affine(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<2>) -> Tensor<2> {
    if naive::is_chosen() {
        return x.matmul(weight.transpose()) + bias;
    }
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Affine>::affine(x, weight, bias))
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
trait Affine: Product + Columns {
    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::plus(Self::product(x, Self::float_transpose(weight)), bias)
    }
}

impl Affine for Flex {
    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
        let values = |tensor: &FloatTensor<Self>| tensor.layout().start_offset();
        let ([rows, inputs], [outputs, _]) = (x.layout().shape().dims::<2>(), weight.layout().shape().dims::<2>());
        let bias = &bias.storage::<f32>()[values(&bias)..][..outputs];
        let mut out = Vec::with_capacity(rows * outputs);
        (0..rows).for_each(|_| out.extend_from_slice(bias));
        if !out.is_empty() {
            let left = Strided { values: &x.storage()[values(&x)..], row: inputs, column: 1 };
            let right = Strided { values: &weight.storage()[values(&weight)..], row: 1, column: inputs };
            multiply(&mut out, outputs, [rows, outputs, inputs], left, &right, true);
        }
        FloatTensor::<Self>::from_data(TensorData::new(out, [rows, outputs]))
    }
}

#[cfg(feature = "gpu")]
impl Affine for Cube {}

impl<B: Affine, C: CheckpointStrategy> Affine for Autodiff<B, C> {
    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct OfLayer;

        impl<B: Affine> Backward<B, 3> for OfLayer {
            type State = (Option<NodeId>, Option<NodeId>);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [of_x, of_weight, of_bias] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (x, weight) = ops.state;
                if let (Some(node), Some(weight)) = (of_x, weight) {
                    let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight);
                    grads.register::<B>(node.id, B::product(grad.clone(), weight));
                }
                if let (Some(node), Some(x)) = (of_weight, x) {
                    let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
                    grads.register::<B>(node.id, B::product(B::float_transpose(grad.clone()), x));
                }
                if let Some(node) = of_bias {
                    grads.register::<B>(node.id, B::sums(grad));
                }
            }
        }

        match OfLayer.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                // Each is kept only where the other learns.
                let keep_x = weight.is_tracked().then(|| prep.checkpoint(&x));
                let keep_weight = x.is_tracked().then(|| prep.checkpoint(&weight));
                let out = B::affine(x.into_primitive(), weight.into_primitive(), bias.into_primitive());
                prep.finish((keep_x, keep_weight), out)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::affine(x.into_primitive(), weight.into_primitive(), bias.into_primitive()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{download, upload};
    use crate::random::{Purpose, stream};
    use burn::tensor::Device;

    #[test]
    fn layers_and_their_gradients_are_those_of_the_tensor_library() {
        for [rows, inputs, outputs] in [[1, 3, 2], [70, 40, 9], [300, 600, 130]] {
            let drawn = |shape: [usize; 2], index| {
                let mut values = vec![0.0; shape[0] * shape[1]];
                stream(8, Purpose::Synthetic, index).fill_normal(&mut values, 1.0);
                upload(values, shape, &Device::flex().autodiff()).require_grad()
            };
            let given = [drawn([rows, inputs], 0), drawn([outputs, inputs], 1), drawn([1, outputs], 2)];
            let pull: Tensor<2> = drawn([rows, outputs], 3).detach();
            let of = |y: Tensor<2>| {
                let found = (y.clone() * pull.clone()).sum().backward();
                let gradients = given.iter().map(|tensor| download(tensor.grad(&found).expect("it learns")));
                std::iter::once(download(y)).chain(gradients).collect::<Vec<_>>()
            };
            // Every outcome has a graph of its own.
            let [x, weight, bias] = [0, 1, 2].map(|number: usize| given[number].clone() * 1.0);
            let own = of(affine(x, weight, bias));
            let [x, weight, bias] = [0, 1, 2].map(|number: usize| given[number].clone() * 1.0);
            let library = of(x.matmul(weight.transpose()) + bias);
            for (own, library) in own.iter().zip(&library) {
                let scale = library.iter().fold(1.0f32, |most, value| most.max(value.abs()));
                let apart = own.iter().zip(library).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(own.len() == library.len() && apart <= 2e-6 * scale, "{apart} of {scale}");
            }
        }
    }
}
