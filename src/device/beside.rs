//! Matrices side by side, as they are and once more with noise, and the way back for gradients. Nothing is tracked.
//!
//! Of the tensor library's operations it is a matrix of the whole size for every one of them; on a GPU it is one kernel each way.

use burn::tensor::Tensor;

/// `parts` (rows × C each, one to three) side by side, and below them the same plus `noise`, where there is any: rows × C, repeated on
/// every part, or rows × all columns.
pub fn beside(parts: &[Tensor<2>], noise: Option<Tensor<2>>) -> Tensor<2> {
    #[cfg(feature = "gpu")]
    if !super::is_cpu(&parts[0].device()) {
        return super::kernels::beside(parts, noise);
    }
    let columns = parts[0].dims()[1];
    let plain = if parts.len() == 1 { parts[0].clone() } else { Tensor::cat(parts.to_vec(), 1) };
    match noise {
        Some(noise) => {
            let repeated = noise.dims()[1] == columns && parts.len() > 1;
            let noise = if repeated { Tensor::cat(vec![noise; parts.len()], 1) } else { noise };
            Tensor::cat(vec![plain.clone(), plain + noise], 0)
        }
        None => plain,
    }
}

/// The gradients of `count` parts, where that of what [`beside`] made of them is `gradient`; `noisy` tells whether there was noise.
pub fn apart(gradient: Tensor<2>, count: usize, noisy: bool) -> Vec<Tensor<2>> {
    #[cfg(feature = "gpu")]
    if !super::is_cpu(&gradient.device()) {
        return super::kernels::apart(gradient, count, noisy);
    }
    let [rows, columns] = gradient.dims();
    let half = rows / 2;
    let gradient = match noisy {
        true => gradient.clone().slice([0..half, 0..columns]) + gradient.slice([half..rows, 0..columns]),
        false => gradient,
    };
    if count == 1 { vec![gradient] } else { gradient.chunk(count, 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{download, upload};
    use burn::tensor::Device;

    #[test]
    fn parts_stand_side_by_side_with_noise_below_and_gradients_go_back() {
        let device = Device::flex();
        let given = |values: &[f32], shape| upload(values.to_vec(), shape, &device);
        let parts = [given(&[1.0, 2.0, 3.0, 4.0], [2, 2]), given(&[5.0, 6.0, 7.0, 8.0], [2, 2])];
        let plain = [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0];
        assert_eq!(download(beside(&parts, None)), plain);
        let repeated = download(beside(&parts, Some(given(&[0.5, 0.25, -0.5, -0.25], [2, 2]))));
        assert_eq!(repeated[..8], plain);
        assert_eq!(repeated[8..], [1.5, 2.25, 5.5, 6.25, 2.5, 3.75, 6.5, 7.75]);
        let each = download(beside(&parts, Some(given(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0], [2, 4]))));
        assert_eq!(each[8..], [2.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 10.0]);
        let gradient = given(&[1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0], [2, 4]);
        let plain = apart(gradient.clone(), 2, false).into_iter().map(download).collect::<Vec<_>>();
        assert_eq!(plain, [[1.0, 2.0, 10.0, 20.0], [3.0, 4.0, 30.0, 40.0]]);
        let both = apart(gradient, 2, true).into_iter().map(download).collect::<Vec<_>>();
        assert_eq!(both, [[11.0, 22.0], [33.0, 44.0]]);
    }
}
