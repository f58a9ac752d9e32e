//! Batch normalisation of maps in training on the processor, as one operation: every channel by its own statistics over images
//! and places.
//!
//! The tensor library composes it of some twenty passes over the maps, most of them on one thread; here there are three forward
//! and two backward, channels and images shared out among threads. GPUs have the library's (`train::batch_norm_maps`).

use std::mem::MaybeUninit;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::normalise::of_input;
use super::room::written;
use super::wide::wide;

/// Maps normalised by their own statistics, and these.
pub struct NormalisedMaps {
    /// (x − mean) / √(variance + ε) · weight + bias.
    pub maps: Tensor<4>,
    /// Of each channel, one row.
    pub mean: Tensor<2>,
    /// Of each channel, biased, one row.
    pub variance: Tensor<2>,
}

/// Batch normalisation of images × channels × rows × columns in training; `weight` and `bias` are rows of channels.
pub fn normalise_maps(x: Tensor<4>, weight: Tensor<2>, bias: Tensor<2>, epsilon: f64) -> NormalisedMaps {
    let lifted = x.device().is_autodiff();
    let plain = if lifted { x.clone().inner() } else { x.clone() };
    let statistics = <Dispatch as Maps>::statistics(plain.into_dispatch());
    let statistics = Tensor::<2>::from_dispatch(statistics);
    let channels = statistics.dims()[1];
    let part = |number: usize| statistics.clone().slice([number..number + 1, 0..channels]);
    let [mean, variance] = [part(0), part(1)];
    let root = (variance.clone() + epsilon).sqrt().recip();
    let wide = |row: Tensor<2>| if lifted { Tensor::from_inner(row) } else { row };
    let [mean, variance, root] = [mean, variance, root].map(wide);
    let [own, root, weight, bias] = [mean.clone(), root, weight, bias].map(|row| row.into_dispatch());
    let maps = <Dispatch as Maps>::normalised(x.into_dispatch(), own, root, weight, bias);
    NormalisedMaps { maps: Tensor::from_dispatch(maps), mean, variance }
}

#[backend_extension(Flex, Autodiff)]
trait Maps: Backend {
    /// Mean and variance of each channel, 2 × channels.
    fn statistics(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Sums of g and of g · (x − mean) over each channel, 2 × channels.
    fn sums(g: FloatTensor<Self>, x: FloatTensor<Self>, mean: FloatTensor<Self>) -> FloatTensor<Self>;

    /// first · a + second · (b − mean) + third, where all but a and b have a value for each channel.
    fn combined(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// (x − mean) · root · weight + bias; `mean` and `root` are x's own.
    fn normalised(
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        root: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let scale = Self::float_mul(root, weight);
        let nothing = Self::float_mul_scalar(scale.clone(), 0.0f32.into());
        Self::combined(x.clone(), x, mean, nothing, scale, bias)
    }
}

type Values = FloatTensor<Flex>;

/// Images, channels and places of maps.
fn sizes(maps: &Values) -> [usize; 3] {
    let [images, channels, rows, columns] = maps.layout().shape().dims::<4>();
    [images, channels, rows * columns]
}

/// Σ term(a, b) over the values of two planes, in lanes, so that the compiler can do several at once.
#[inline(always)]
fn plane_sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    const LANES: usize = 16;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        (0..LANES).for_each(|lane| lanes[lane] += term(a[lane], b[lane]));
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(a, b)).sum();
    lanes.iter().map(|&sum| sum as f64).sum::<f64>() + rest as f64
}

/// Σ over each channel of what `plane` makes of its planes.
fn channel_sums(
    a: &[f32],
    b: &[f32],
    size: [usize; 3],
    plane: impl Fn(&[f32], &[f32], usize) -> f64 + Sync,
) -> Vec<f64> {
    let [images, channels, places] = size;
    let of_channel = |channel: usize| {
        let planes = (0..images).map(|image| (image * channels + channel) * places);
        planes.map(|from| wide(|| plane(&a[from..from + places], &b[from..from + places], channel))).sum()
    };
    (0..channels).into_par_iter().map(of_channel).collect()
}

/// Two values of each channel.
fn rows(first: Vec<f64>, second: Vec<f64>) -> Values {
    let channels = first.len();
    let values: Vec<f32> = first.into_iter().chain(second).map(|value| value as f32).collect();
    Values::from_data(TensorData::new(values, [2, channels]))
}

impl Maps for Flex {
    fn statistics(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let (size, x) = (sizes(&x), x.storage::<f32>());
        let count = (size[0] * size[2]) as f64;
        let mean = channel_sums(x, x, size, |x, _, _| plane_sum(x, x, |x, _| x));
        let mean: Vec<f64> = mean.into_iter().map(|sum| sum / count).collect();
        let squares = channel_sums(x, x, size, |x, _, channel| {
            let mean = mean[channel] as f32;
            plane_sum(x, x, |x, _| (x - mean) * (x - mean))
        });
        rows(mean, squares.into_iter().map(|sum| sum / count).collect())
    }

    fn sums(g: FloatTensor<Self>, x: FloatTensor<Self>, mean: FloatTensor<Self>) -> FloatTensor<Self> {
        let [g, x, mean] = [g, x, mean].map(|tensor| tensor.to_contiguous());
        let (size, mean) = (sizes(&x), mean.storage::<f32>());
        let (g, x) = (g.storage::<f32>(), x.storage::<f32>());
        let products = channel_sums(g, x, size, |g, x, channel| {
            let mean = mean[channel];
            plane_sum(g, x, |g, x| g * (x - mean))
        });
        rows(channel_sums(g, x, size, |g, _, _| plane_sum(g, g, |g, _| g)), products)
    }

    fn combined(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [a, b] = [a, b].map(|tensor| tensor.to_contiguous());
        let rows = [mean, first, second, third].map(|tensor| tensor.to_contiguous());
        let [mean, first, second, third] = [0, 1, 2, 3].map(|number| rows[number].storage::<f32>());
        let ([_, channels, places], shape) = (sizes(&a), a.layout().shape().clone());
        let (a, b) = (a.storage::<f32>(), b.storage::<f32>());
        let b = &b[..a.len()];
        let write = |out: &mut [MaybeUninit<f32>]| {
            let planes = out.par_chunks_mut(places).zip(a.par_chunks(places).zip(b.par_chunks(places))).enumerate();
            planes.with_min_len(8).for_each(|(plane, (out, (a, b)))| {
                let channel = plane % channels;
                let [mean, first, second, third] = [mean, first, second, third].map(|row| row[channel]);
                wide(|| {
                    let values = out.iter_mut().zip(a.iter().zip(b));
                    values.for_each(|(out, (a, b))| {
                        out.write(first * a + second * (b - mean) + third);
                    });
                });
            });
        };
        // SAFETY: a and b have as many values, so each of them is written.
        let out = unsafe { written(a.len(), write) };
        Values::from_data(TensorData::new(out, shape))
    }
}

impl<B: Maps, C: CheckpointStrategy> Maps for Autodiff<B, C> {
    fn statistics(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::statistics(x.into_primitive()))
    }

    fn sums(g: FloatTensor<Self>, x: FloatTensor<Self>, mean: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::sums(g.into_primitive(), x.into_primitive(), mean.into_primitive()))
    }

    fn combined(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [a, b, mean] = [a, b, mean].map(|tensor| tensor.into_primitive());
        let [first, second, third] = [first, second, third].map(|tensor| tensor.into_primitive());
        Self::from_inner(B::combined(a, b, mean, first, second, third))
    }

    fn normalised(
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

        impl<B: Maps> Backward<B, 3> for Normalisation {
            type State = State<B>;

            /// As of rows (`normalise`), with sums over images and places.
            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [of_x, of_weight, of_bias] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (x, mean, root, scale) = ops.state;
                let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
                let [images, channels, height, width] = grad.shape().dims::<4>();
                let count = (images * height * width) as f32;
                let sums = B::sums(grad.clone(), x.clone(), mean.clone());
                let part = |number: usize| {
                    let ranges = [number..number + 1, 0..channels].map(|range| range.into());
                    B::float_slice(sums.clone(), &ranges)
                };
                let (sum, product) = (part(0), part(1));
                if let Some(node) = of_x {
                    let (second, third) = of_input::<B>([&scale, &root, &sum, &product], count);
                    grads.register::<B>(node.id, B::combined(grad, x, mean, scale, second, third));
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
                let [weight, bias] = [weight, bias].map(|tensor| tensor.into_primitive());
                prep.finish(state, B::normalised(x.into_primitive(), mean, root, weight, bias))
            }
            OpsKind::UnTracked(prep) => {
                let [weight, bias] = [weight, bias].map(|tensor| tensor.into_primitive());
                prep.finish(B::normalised(x.into_primitive(), mean, root, weight, bias))
            }
        }
    }
}
