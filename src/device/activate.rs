//! Batch normalisation and leaky rectifier of rows in training as one operation, with its gradient at hand instead of in a graph.
//!
//! Nothing is kept but what is normalised and a few rows: the outcome can be had again, to the bit, whenever it is needed. As
//! two operations of a graph (`normalise`, `leaky`) there would be three matrices instead of one, and eighteen passes over them
//! instead of nine.

#[cfg(feature = "gpu")]
use burn::backend::Cube;
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

use super::host;
#[cfg(feature = "gpu")]
use super::is_cpu;
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
        let rows = [&self.mean, &self.scale, &self.bias];
        #[cfg(feature = "gpu")]
        if !is_cpu(&self.x.device()) {
            return on_gpu(kernels::activated(given(&self.x), given(&base), rows.map(given), self.slope, adds));
        }
        on_host(host::activated(flex(&self.x), flex(&base), rows.map(flex), self.slope, adds))
    }

    /// The gradients where the outcome has `grad`. With d = `grad` · slope of the rectifier and n rows: that of the bias is Σd, that
    /// of the weight root · Σ d (x − mean), and that of x is scale · (d − Σd / n − (x − mean) · root² · Σ d (x − mean) / n).
    pub fn gradient(self, grad: Tensor<2>) -> ActivationGradient {
        let [count, columns] = grad.dims();
        let sums = self.sums(&grad);
        let [sum, product] = [0, columns].map(|first| sums.clone().slice([0..1, first..first + columns]));
        let share = self.scale.clone() * (-1.0 / count as f32);
        let second = share.clone() * (self.root.clone() * self.root.clone()) * product.clone();
        let third = share * sum.clone();
        ActivationGradient { x: self.slope(&grad, [&second, &third]), weight: product * self.root, bias: sum }
    }

    /// Σd, and behind it Σ d (x − mean), as one row.
    fn sums(&self, grad: &Tensor<2>) -> Tensor<2> {
        let rows = [&self.mean, &self.scale, &self.bias];
        #[cfg(feature = "gpu")]
        if !is_cpu(&self.x.device()) {
            return on_gpu(kernels::activated_sums(given(&self.x), given(grad), rows.map(given), self.slope));
        }
        on_host(host::activated_sums(flex(&self.x), flex(grad), rows.map(flex), self.slope))
    }

    /// scale · d + second · (x − mean) + third.
    fn slope(&self, grad: &Tensor<2>, [second, third]: [&Tensor<2>; 2]) -> Tensor<2> {
        let rows = [&self.mean, &self.scale, &self.bias, second, third];
        #[cfg(feature = "gpu")]
        if !is_cpu(&self.x.device()) {
            return on_gpu(kernels::activated_slope(given(&self.x), given(grad), rows.map(given), self.slope));
        }
        on_host(host::activated_slope(flex(&self.x), flex(grad), rows.map(flex), self.slope))
    }
}

/// A tensor of the processor as `host` sees it.
fn flex(tensor: &Tensor<2>) -> FloatTensor<Flex> {
    let tensor = tensor.clone().try_into_primitive::<Flex>();
    tensor.unwrap_or_else(|fault| unreachable!("a tensor of the processor: {fault:?}"))
}

fn on_host(rows: FloatTensor<Flex>) -> Tensor<2> {
    Tensor::from_primitive::<Flex>(rows)
}

/// A tensor of a GPU as kernels see it.
#[cfg(feature = "gpu")]
fn given(tensor: &Tensor<2>) -> FloatTensor<Cube> {
    kernels::raw(tensor.clone())
}

#[cfg(feature = "gpu")]
fn on_gpu(rows: FloatTensor<Cube>) -> Tensor<2> {
    Tensor::from_primitive::<Cube>(rows)
}

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
