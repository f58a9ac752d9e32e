//! What a training does to tall matrices on the processor, one pass each, rows shared out among threads.
//!
//! Owns: sums down columns, and what is done to every value alike. Sums are made of a constant number of rows and added up in
//! order, so threads decide nothing. Does not own: which operation asks for it (`columns`, `normalise`, `leaky`,
//! `activate`).

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

use super::room::zeros;
use super::wide::wide;

/// Rows that are summed up together.
const ROWS: usize = 128;
/// Values that are worth a second thread.
const LEAST: usize = 1 << 15;

type Rows = FloatTensor<Flex>;

/// Its values, row after row, with the number of columns.
fn values(tensor: &Rows) -> (&[f32], usize) {
    let start = tensor.layout().start_offset();
    let [rows, columns] = tensor.layout().shape().dims::<2>();
    (&tensor.storage()[start..start + rows * columns], columns)
}

fn made(values: Vec<f32>, columns: usize) -> Rows {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    Rows::from_data(TensorData::new(values, [rows, columns]))
}

/// Sums over all rows of what `add` adds to them for a row of each matrix.
fn sums(a: &Rows, b: &Rows, add: impl Fn(&mut [f32], &[f32], &[f32]) + Sync) -> Rows {
    let columns = values(a).1;
    made(row_sums(a, b, columns, add), columns)
}

/// The same for any number of sums.
fn row_sums(a: &Rows, b: &Rows, count: usize, add: impl Fn(&mut [f32], &[f32], &[f32]) + Sync) -> Vec<f32> {
    let ((a, columns), (b, _)) = (values(a), values(b));
    let of_rows = |(a, b): (&[f32], &[f32])| {
        let mut sums = vec![0.0f32; count];
        a.chunks_exact(columns).zip(b.chunks_exact(columns)).for_each(|(a, b)| wide(|| add(&mut sums, a, b)));
        sums
    };
    let blocks = a.par_chunks(ROWS * columns).zip(b.par_chunks(ROWS * columns));
    let parts: Vec<Vec<f32>> = blocks.with_min_len(LEAST.div_ceil(ROWS * columns)).map(of_rows).collect();
    let mut all = vec![0.0f32; count];
    for part in parts {
        all.iter_mut().zip(part).for_each(|(all, part)| *all += part);
    }
    all
}

/// What `write` makes of a row of each matrix, for every row.
fn map(a: &Rows, b: &Rows, write: impl Fn(&mut [f32], &[f32], &[f32]) + Sync) -> Rows {
    let ((a, columns), (b, _)) = (values(a), values(b));
    let mut out = zeros(a.len());
    let rows = out.par_chunks_mut(columns).zip(a.par_chunks(columns).zip(b.par_chunks(columns)));
    rows.with_min_len(LEAST.div_ceil(columns)).for_each(|(out, (a, b))| wide(|| write(out, a, b)));
    made(out, columns)
}

/// Sums over all rows, as one row.
pub(super) fn column_sums(x: Rows) -> Rows {
    let x = x.to_contiguous();
    sums(&x, &x, |sums, x, _| sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x))
}

/// Sums over rows of a · (b − mean); with `squares`, of (a − mean) · (b − mean).
pub(super) fn centred_products(a: Rows, b: Rows, mean: Rows, squares: bool) -> Rows {
    let [a, b, mean] = [a, b, mean].map(|tensor| tensor.to_contiguous());
    let mean = values(&mean).0;
    match squares {
        true => sums(&a, &b, |sums, a, b| {
            let rows = sums.iter_mut().zip(a).zip(b).zip(mean);
            rows.for_each(|(((sum, a), b), mean)| *sum += (a - mean) * (b - mean));
        }),
        false => sums(&a, &b, |sums, a, b| {
            let rows = sums.iter_mut().zip(a).zip(b).zip(mean);
            rows.for_each(|(((sum, a), b), mean)| *sum += a * (b - mean));
        }),
    }
}

/// first · a + second · (b − mean) + third, where all but a and b are rows.
pub(super) fn combine(a: Rows, b: Rows, rows: [Rows; 4]) -> Rows {
    let [a, b] = [a, b].map(|tensor| tensor.to_contiguous());
    let rows = rows.map(|tensor| tensor.to_contiguous());
    let [mean, first, second, third] = [0, 1, 2, 3].map(|number| values(&rows[number]).0);
    map(&a, &b, |out, a, b| {
        let rows = out.iter_mut().zip(a).zip(b).zip(mean).zip(first).zip(second).zip(third);
        rows.for_each(|((((((out, a), b), mean), first), second), third)| {
            *out = first * a + second * (b - mean) + third;
        });
    })
}

/// What a row of values becomes when it is normalised: scale · (x − mean) + bias, and what of it is then let through.
#[derive(Clone, Copy)]
struct Columns<'a> {
    mean: &'a [f32],
    scale: &'a [f32],
    bias: &'a [f32],
    slope: f32,
}

impl Columns<'_> {
    /// `y` where the normalised value of `x` in this column is above 0, else slope · `y`.
    #[inline(always)]
    fn let_through(&self, column: usize, x: f32, y: f32) -> f32 {
        let normal = self.scale[column] * (x - self.mean[column]) + self.bias[column];
        if normal > 0.0 { y } else { self.slope * y }
    }
}

/// The leaky rectifier of scale · (x − mean) + bias; with `adds`, added to `base`. `rows` are mean, scale and bias.
pub(super) fn activated(x: Rows, base: Rows, rows: [Rows; 3], slope: f32, adds: bool) -> Rows {
    let ([x, base], rows) = ([x, base].map(|tensor| tensor.to_contiguous()), rows.map(|tensor| tensor.to_contiguous()));
    let [mean, scale, bias] = [0, 1, 2].map(|number| values(&rows[number]).0);
    map(&x, &base, |out, x, base| {
        let rows = out.iter_mut().zip(x).zip(base).zip(mean).zip(scale).zip(bias);
        rows.for_each(|(((((out, x), base), mean), scale), bias)| {
            let normal = scale * (x - mean) + bias;
            let value = if normal > 0.0 { normal } else { slope * normal };
            *out = if adds { base + value } else { value };
        });
    })
}

/// For d = `grad` times the slope of [`activated`] at x: sums over rows of d, and behind them of d · (x − mean), as one
/// row.
pub(super) fn activated_sums(x: Rows, grad: Rows, rows: [Rows; 3], slope: f32) -> Rows {
    let ([x, grad], rows) = ([x, grad].map(|tensor| tensor.to_contiguous()), rows.map(|tensor| tensor.to_contiguous()));
    let [mean, scale, bias] = [0, 1, 2].map(|number| values(&rows[number]).0);
    let columns = Columns { mean, scale, bias, slope };
    let of_rows = |sums: &mut [f32], x: &[f32], grad: &[f32]| {
        let (plain, centred) = sums.split_at_mut(x.len());
        for column in 0..x.len() {
            let d = columns.let_through(column, x[column], grad[column]);
            plain[column] += d;
            centred[column] += d * (x[column] - mean[column]);
        }
    };
    made(row_sums(&x, &grad, 2 * mean.len(), of_rows), 2 * mean.len())
}

/// For d = `grad` times the slope of [`activated`] at x: scale · d + second · (x − mean) + third. `rows` are mean, scale, bias, second
/// and third.
pub(super) fn activated_slope(x: Rows, grad: Rows, rows: [Rows; 5], slope: f32) -> Rows {
    let ([x, grad], rows) = ([x, grad].map(|tensor| tensor.to_contiguous()), rows.map(|tensor| tensor.to_contiguous()));
    let [mean, scale, bias, second, third] = [0, 1, 2, 3, 4].map(|number| values(&rows[number]).0);
    let columns = Columns { mean, scale, bias, slope };
    map(&x, &grad, |out, x, grad| {
        for column in 0..out.len() {
            let d = columns.let_through(column, x[column], grad[column]);
            out[column] = scale[column] * d + second[column] * (x[column] - mean[column]) + third[column];
        }
    })
}

/// Every row plus `row`.
pub(super) fn plus_row(x: Rows, row: Rows) -> Rows {
    let [x, row] = [x, row].map(|tensor| tensor.to_contiguous());
    let row = values(&row).0;
    map(&x, &x, |out, x, _| out.iter_mut().zip(x).zip(row).for_each(|((out, x), row)| *out = x + row))
}

/// Every row times `row`.
pub(super) fn times_row(x: Rows, row: Rows) -> Rows {
    let [x, row] = [x, row].map(|tensor| tensor.to_contiguous());
    let row = values(&row).0;
    map(&x, &x, |out, x, _| out.iter_mut().zip(x).zip(row).for_each(|((out, x), row)| *out = x * row))
}

/// `y` where `x` is above 0, else `slope` · `y`.
pub(super) fn leaky(x: Rows, y: Rows, slope: f32) -> Rows {
    let [x, y] = [x, y].map(|tensor| tensor.to_contiguous());
    map(&x, &y, |out, x, y| {
        out.iter_mut().zip(x).zip(y).for_each(|((out, x), y)| *out = if *x > 0.0 { *y } else { slope * y });
    })
}

#[cfg(test)]
mod tests {
    use crate::device::{download, leaky_relu, normalise, normalise_maps, plus_row, product, times_row, upload};
    use crate::random::{Purpose, stream};
    use burn::tensor::{Device, Tensor, activation, module};

    fn drawn<const D: usize>(shape: [usize; D], index: u64) -> Tensor<D> {
        let mut values = vec![0.0; shape.iter().product()];
        stream(8, Purpose::Synthetic, index).fill_normal(&mut values, 1.0);
        upload(values, shape, &Device::flex().autodiff()).require_grad()
    }

    /// `y`, and the gradients of `given` where y has drawn gradients.
    fn values(y: Tensor<2>, given: &[Tensor<2>]) -> Vec<Vec<f32>> {
        let pulled = y.clone() * drawn(y.dims(), 9).detach();
        let found = pulled.sum_dim(0).sum_dim(1).backward();
        let gradients = given.iter().map(|tensor| tensor.grad(&found).map(download).unwrap_or_default());
        [download(y)].into_iter().chain(gradients).collect()
    }

    fn hold_together(what: &str, own: Vec<Vec<f32>>, library: Vec<Vec<f32>>) {
        for (number, (own, library)) in own.iter().zip(&library).enumerate() {
            let scale = library.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            let worst = own.iter().zip(library).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert_eq!(own.len(), library.len());
            assert!(worst <= 1e-5 * scale, "{what} {number}: {worst} of {scale}");
        }
    }

    #[test]
    fn operations_on_rows_and_their_gradients_are_those_of_the_tensor_library() {
        for (rows, columns) in [(1, 5), (300, 7), (1000, 130)] {
            let (x, weight, bias) = (drawn([rows, columns], 0), drawn([1, columns], 1), drawn([1, columns], 2));
            let given = [x.clone(), weight.clone(), bias.clone()];
            // Every outcome has a graph of its own, which finding gradients uses up.
            let (x, weight, bias) = (|| x.clone() * 3.0 + 0.5, || weight.clone() * 1.0, || bias.clone() * 1.0);
            let of = |y: Tensor<2>| values(y, &given);
            hold_together("plus", of(plus_row(x(), bias())), of(x() + bias()));
            hold_together("times", of(times_row(x(), weight())), of(x() * weight()));
            hold_together("leaky", of(leaky_relu(x(), 0.2)), of(activation::leaky_relu(x(), 0.2)));
            hold_together("product", of(product(x().transpose(), x())), of(x().transpose().matmul(x())));
            if rows > 1 {
                let own = normalise(x(), weight(), bias(), 1e-5).rows;
                let (gamma, beta) = (weight().reshape([columns]), bias().reshape([columns]));
                let library = module::batch_norm_train(x().reshape([rows, columns, 1, 1]), gamma, beta, 1e-5).output;
                hold_together("normalise", of(own), of(library.reshape([rows, columns])));
            }
        }
    }

    #[test]
    fn normalised_maps_and_their_gradients_are_those_of_the_tensor_library() {
        for [images, channels, height, width] in [[2, 3, 5, 7], [9, 20, 16, 16], [24, 5, 4, 4]] {
            let flat = drawn([images * channels, height * width], 0);
            let (weight, bias) = (drawn([1, channels], 1), drawn([1, channels], 2));
            let given = [flat.clone(), weight.clone(), bias.clone()];
            let maps = || flat.clone().reshape([images, channels, height, width]) * 2.0 + 3.0;
            let of = |y: Tensor<4>| values(y.reshape([images * channels, height * width]), &given);
            let own = normalise_maps(maps(), weight.clone(), bias.clone(), 1e-5);
            let (gamma, beta) = (weight.clone().reshape([channels]), bias.clone().reshape([channels]));
            let library = module::batch_norm_train(maps(), gamma, beta, 1e-5);
            let statistics = |mean: Vec<f32>, variance: Vec<f32>| vec![mean, variance];
            hold_together(
                "statistics",
                statistics(download(own.mean), download(own.variance)),
                statistics(download(library.mean), download(library.variance)),
            );
            hold_together("maps", of(own.maps), of(library.output));
        }
    }
}
