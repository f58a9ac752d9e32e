//! Rows gathered from several matrices. Nothing is tracked.
//!
//! Of the tensor library's operations it is three for every matrix (its numbers, its rows, their place in the outcome); on a GPU it is one
//! kernel for each.

use burn::tensor::{Int, Tensor};

/// A matrix and how many of the gathered rows are its.
pub struct Source<'a> {
    /// Rows × C.
    pub rows: &'a Tensor<2>,
    /// Number of its first row among those of all matrices.
    pub first: usize,
    pub count: usize,
}

/// The rows with these numbers (rows of all matrices are numbered through), those of the first source first: rows × C. What GPUs may
/// keep gradients of stays a constant.
pub fn gather_rows(sources: &[Source], numbers: &Tensor<1, Int>) -> Tensor<2> {
    #[cfg(feature = "gpu")]
    if !super::is_cpu(&sources[0].rows.device()) {
        return super::kernels::gather_rows(sources, numbers);
    }
    let mut start = 0;
    let of_source = |source: &Source| {
        let range = start..start + source.count;
        start = range.end;
        source.rows.clone().select(0, numbers.clone().slice([range]).sub_scalar(source.first as i32))
    };
    Tensor::cat(sources.iter().map(of_source).collect(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{download, upload, upload_ints};
    use burn::tensor::Device;

    #[test]
    fn rows_are_numbered_through_all_matrices() {
        let device = Device::flex();
        let [a, b] =
            [[0.0, 1.0, 2.0, 3.0], [10.0, 11.0, 12.0, 13.0]].map(|rows| upload(rows.to_vec(), [2, 2], &device));
        let sources = [Source { rows: &b, first: 2, count: 1 }, Source { rows: &a, first: 0, count: 2 }];
        let gathered = gather_rows(&sources, &upload_ints(&[3, 1, 0], &device));
        assert_eq!(download(gathered), [12.0, 13.0, 2.0, 3.0, 0.0, 1.0]);
    }
}
