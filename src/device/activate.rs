//! Batch normalisation and leaky rectifier of rows in training as one operation, with its gradient at hand instead of in a graph.
//!
//! Nothing is kept but what is normalised and a few rows: the outcome can be had again, to the bit, whenever it is needed. As
//! two operations of a graph (`normalise`, `leaky`) there would be three matrices instead of one, and eighteen passes over them
//! instead of nine.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::host;
#[cfg(feature = "gpu")]
use super::kernels;
use super::normalise::statistics;

/// leaky((x − mean) / √(variance + ε) · weight + bias) of rows x, where mean and variance are x's own. Nothing is tracked.
#[derive(Clone, Debug)]
pub struct Activation {
    x: Tensor<2>,
    /// Of each column, one row.
    pub mean: Tensor<2>,
    /// Of each column (biased), one row.
    pub variance: Tensor<2>,
    root: Tensor<2>,
    scale: Tensor<2>,
    bias: Tensor<2>,
    slope: f32,
}

/// Gradients of an [`Activation`].
pub struct ActivationGradient {
    /// Of x.
    pub x: Tensor<2>,
    /// Of the weight, one row.
    pub weight: Tensor<2>,
    /// Of the bias, one row.
    pub bias: Tensor<2>,
}

impl Activation {
    /// Takes the statistics of x; `weight` and `bias` are one row each.
    pub fn new(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<2>, epsilon: f64, slope: f64) -> Self {
        let (mean, variance) = statistics(x.clone());
        let root = (variance.clone() + epsilon).sqrt().recip();
        Activation { scale: root.clone() * weight, x, mean, variance, root, bias, slope: slope as f32 }
    }

    /// The outcome; with `base`, added to it.
    pub fn rows(&self, base: Option<Tensor<2>>) -> Tensor<2> {
        let adds = base.is_some();
        let base = base.unwrap_or_else(|| self.x.clone());
        let [x, mean, scale, bias] = self.columns();
        let rows = <Dispatch as Activate>::activated(x, base.into_dispatch(), mean, scale, bias, self.slope, adds);
        Tensor::from_dispatch(rows)
    }

    /// The gradients where the outcome has `grad`. With d = `grad` · slope of the rectifier and n rows: that of the bias is Σd, that
    /// of the weight root · Σ d (x − mean), and that of x is scale · (d − Σd / n − (x − mean) · root² · Σ d (x − mean) / n).
    pub fn gradient(self, grad: Tensor<2>) -> ActivationGradient {
        let [count, columns] = grad.dims();
        let of_grad = || grad.clone().into_dispatch();
        let [x, mean, scale, bias] = self.columns();
        let sums = <Dispatch as Activate>::activated_sums(x, of_grad(), mean, scale, bias, self.slope);
        let sums = Tensor::<2>::from_dispatch(sums);
        let [sum, product] = [0, columns].map(|first| sums.clone().slice([0..1, first..first + columns]));
        let share = self.scale.clone() * (-1.0 / count as f32);
        let second = share.clone() * (self.root.clone() * self.root.clone()) * product.clone();
        let third = share * sum.clone();
        let [x, mean, scale, bias] = self.columns();
        let (second, third) = (second.into_dispatch(), third.into_dispatch());
        let of_x =
            <Dispatch as Activate>::activated_slope(x, of_grad(), mean, scale, bias, second, third, self.slope);
        ActivationGradient { x: Tensor::from_dispatch(of_x), weight: product * self.root, bias: sum }
    }

    /// x, mean, scale and bias.
    fn columns(&self) -> [FloatTensor<Dispatch>; 4] {
        [&self.x, &self.mean, &self.scale, &self.bias].map(|tensor| tensor.clone().into_dispatch())
    }
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"))]
trait Activate: Backend {
    /// leaky(scale · (x − mean) + bias); with `adds`, plus `base`.
    fn activated(
        x: FloatTensor<Self>,
        base: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        slope: f32,
        adds: bool,
    ) -> FloatTensor<Self>;

    /// Sums over rows of d, and behind them of d · (x − mean), as one row; d is `grad` where the normalised value is above 0, else slope · `grad`.
    fn activated_sums(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        slope: f32,
    ) -> FloatTensor<Self>;

    /// scale · d + second · (x − mean) + third.
    #[expect(clippy::too_many_arguments, reason = "an extension of a backend passes tensors one by one")]
    fn activated_slope(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
        slope: f32,
    ) -> FloatTensor<Self>;
}

macro_rules! by {
    ($backend:ty, $of:ident) => {
        impl Activate for $backend {
            fn activated(
                x: FloatTensor<Self>,
                base: FloatTensor<Self>,
                mean: FloatTensor<Self>,
                scale: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                slope: f32,
                adds: bool,
            ) -> FloatTensor<Self> {
                $of::activated(x, base, [mean, scale, bias], slope, adds)
            }

            fn activated_sums(
                x: FloatTensor<Self>,
                grad: FloatTensor<Self>,
                mean: FloatTensor<Self>,
                scale: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                slope: f32,
            ) -> FloatTensor<Self> {
                $of::activated_sums(x, grad, [mean, scale, bias], slope)
            }

            fn activated_slope(
                x: FloatTensor<Self>,
                grad: FloatTensor<Self>,
                mean: FloatTensor<Self>,
                scale: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                second: FloatTensor<Self>,
                third: FloatTensor<Self>,
                slope: f32,
            ) -> FloatTensor<Self> {
                $of::activated_slope(x, grad, [mean, scale, bias, second, third], slope)
            }
        }
    };
}

by!(Flex, host);
#[cfg(feature = "gpu")]
by!(Cube, kernels);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{download, leaky_relu, normalise, upload};
    use crate::random::{Purpose, stream};
    use burn::tensor::Device;

    #[test]
    fn as_one_operation_it_is_what_it_is_as_two() {
        for [rows, columns] in [[2, 3], [300, 7], [1000, 130]] {
            let drawn = |shape: [usize; 2], index| {
                let mut values = vec![0.0; shape[0] * shape[1]];
                stream(8, Purpose::Synthetic, index).fill_normal(&mut values, 1.0);
                upload(values, shape, &Device::flex().autodiff())
            };
            let given = [drawn([rows, columns], 0), drawn([1, columns], 1), drawn([1, columns], 2)];
            let given = given.map(Tensor::require_grad);
            let (base, pull) = (drawn([rows, columns], 3), drawn([rows, columns], 4));
            let [x, weight, bias] = given.clone();
            let two = leaky_relu(normalise(x, weight, bias, 1e-5).rows, 0.2);
            let found = (two.clone() * pull.clone()).sum().backward();
            let [x, weight, bias] = given.clone().map(Tensor::inner);
            let one = Activation::new(x, weight, bias, 1e-5, 0.2);
            assert_eq!(download(one.rows(None)), download(two.clone()));
            assert_eq!(download(one.rows(Some(base.clone().inner()))), download(base + two));
            let ActivationGradient { x, weight, bias } = one.gradient(pull.inner());
            for (number, own) in [x, weight, bias].into_iter().enumerate() {
                assert_eq!(download(own), download(given[number].grad(&found).expect("it learns")), "{number}");
            }
        }
    }
}
