//! Which values are the largest or smallest, found where the values are: the tensor library sorts on the host, which would
//! make a device wait.

use burn::tensor::{Device, Tensor};

use crate::device::is_cpu;

/// Place of every value of a row when the row is sorted from the largest on; equal ones keep their order. By comparing each
/// with all others of its row: fit for some thousand of them.
fn ranks(values: Tensor<2>) -> Tensor<2> {
    let [rows, count] = values.dims();
    let device = values.device();
    let numbers = Tensor::<1, burn::tensor::Int>::arange(0..count as i64, &device).reshape([1, count]);
    let column = numbers.clone().reshape([count, 1]);
    let earlier = numbers.expand([count, count]).lower(column.expand([count, count])).unsqueeze::<3>();
    let [own, others] = [[rows, count, 1], [rows, 1, count]];
    let [own, others] = [own, others].map(|shape| values.clone().reshape(shape).expand([rows, count, count]));
    let tied = others.clone().equal(own.clone()).bool_and(earlier.expand([rows, count, count]));
    others.greater(own).bool_or(tied).float().sum_dim(2).reshape([rows, count])
}

/// The mean of the `count` largest values of each row, of equal ones the first: rows × 1.
pub fn top_mean(values: Tensor<2>, count: usize) -> Tensor<2> {
    let chosen = ranks(values.clone().detach()).lower_elem(count as f64);
    (values * chosen.float()).sum_dim(1) / count as f64
}

/// The value of one row (1 × n) that exactly `place` others come before when it is sorted from the smallest on: 1 × 1.
pub fn smallest(values: Tensor<2>, place: usize) -> Tensor<2> {
    // The processor has nothing to wait for, and sorts with less work than it compares.
    if values.clone().inner().device() == Device::flex() {
        return values.sort(1).narrow(1, place, 1);
    }
    by_rank(values, place)
}

/// The value of one row (1 × n) that exactly `place` others come before when it is sorted from the largest on: 1 × 1. All
/// values lie from `low` to `high`. For rows of any length.
pub fn largest(values: Tensor<2>, place: usize, (low, high): (f64, f64)) -> Tensor<2> {
    // The processor has nothing to wait for.
    if is_cpu(&values.device()) {
        let count = values.dims()[1];
        return values.sort(1).narrow(1, count - 1 - place, 1);
    }
    by_halving(values, place, (low, high))
}

/// Halvings of an interval after which no single-precision number lies inside it, or so few that none is met.
const HALVINGS: usize = 48;

/// Halves an interval that the wanted value lies in until nothing else does; the device counts, the host only asks.
fn by_halving(values: Tensor<2>, place: usize, (low, high): (f64, f64)) -> Tensor<2> {
    let (mut low, mut high) =
        (Tensor::full([1, 1], low, &values.device()), Tensor::full([1, 1], high, &values.device()));
    for _ in 0..HALVINGS {
        let middle: Tensor<2> = (low.clone() + high.clone()) * 0.5;
        let above = values.clone().greater_equal(middle.clone().expand(values.dims())).float().sum_dim(1);
        let enough = above.greater_elem(place as f64);
        low = low.mask_where(enough.clone(), middle.clone());
        high = middle.mask_where(enough, high);
    }
    // The smallest of those that are left.
    let below = values.clone().lower(low.expand(values.dims()));
    values.mask_fill(below, f32::INFINITY).min_dim(1)
}

fn by_rank(values: Tensor<2>, place: usize) -> Tensor<2> {
    let elsewhere = ranks(-values.clone()).not_equal_elem(place as f64);
    values.mask_fill(elsewhere, f32::NEG_INFINITY).max_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{download, upload};

    fn row(values: &[f32]) -> Tensor<2> {
        upload(values.to_vec(), [1, values.len()], &Device::flex())
    }

    #[test]
    fn ranks_keep_the_order_of_equal_values_and_rows_apart() {
        let two = Tensor::cat(vec![row(&[1.0, 3.0, 1.0, 2.0]), row(&[0.0, 0.0, -1.0, 5.0])], 0);
        assert_eq!(download(ranks(two.clone())), [2.0, 0.0, 3.0, 1.0, 1.0, 2.0, 3.0, 0.0]);
        assert_eq!(download(top_mean(two, 2)), [2.5, 2.5]);
    }

    #[test]
    fn the_smallest_are_the_same_however_they_are_found() {
        let values: Vec<f32> = (0..40).map(|place| ((place * 17) % 13) as f32 - 6.0).collect();
        for place in 0..40 {
            let found = [smallest(row(&values), place), by_rank(row(&values), place)].map(download);
            assert_eq!(found[0], found[1], "{place}");
        }
        assert_eq!(download(smallest(row(&values), 0)), [-6.0]);
    }

    #[test]
    fn the_largest_are_the_same_however_they_are_found() {
        let values: Vec<f32> = (0..400).map(|place| ((place * 37) % 211) as f32 / 105.5).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        for place in [0, 1, 7, 198, 398, 399] {
            let found = [largest(row(&values), place, (0.0, 2.0)), by_halving(row(&values), place, (0.0, 2.0))];
            assert_eq!(found.map(download), [[sorted[place]], [sorted[place]]], "{place}");
        }
        let equal = by_halving(row(&[0.25; 9]), 4, (-1e-3, 2.0));
        assert_eq!(download(equal), [0.25]);
    }
}
