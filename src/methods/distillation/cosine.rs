//! How far maps of teacher and student are apart: one minus the cosine of the angle between them.

use burn::tensor::Tensor;

/// Below this a norm does not divide.
const SMALLEST_NORM: f64 = 1e-8;

/// One minus the cosine, from the sums of products and of squares.
fn distance<const D: usize>(product: Tensor<D>, squares: [Tensor<D>; 2]) -> Tensor<D> {
    // Clamped before the root, whose slope at zero is none.
    let [a, b] = squares.map(|sum| sum.clamp_min(SMALLEST_NORM * SMALLEST_NORM).sqrt());
    -(product / (a * b)) + 1.0
}

/// At each place, between the vectors of all channels: images × 1 × rows × columns, from 0 to 2.
pub fn cosine_maps(teacher: Tensor<4>, student: Tensor<4>) -> Tensor<4> {
    let sum = |a: &Tensor<4>, b: &Tensor<4>| (a.clone() * b.clone()).sum_dim(1);
    distance(sum(&teacher, &student), [sum(&teacher, &teacher), sum(&student, &student)])
}

/// Between whole maps as one vector each, mean over images: 1 × 1 (released code).
pub fn flat_distance(teacher: Tensor<4>, student: Tensor<4>) -> Tensor<2> {
    let [images, channels, rows, columns] = teacher.dims();
    let sum = |a: &Tensor<4>, b: &Tensor<4>| -> Tensor<2> {
        // In two steps: the rounding of a sum grows with its length.
        let places = (a.clone() * b.clone()).reshape([images * channels, rows * columns]).sum_dim(1);
        places.reshape([images, channels]).sum_dim(1)
    };
    distance(sum(&teacher, &student), [sum(&teacher, &teacher), sum(&student, &student)]).mean_dim(0)
}

/// At each place, mean over places and images: 1 × 1.
pub fn place_distance(teacher: Tensor<4>, student: Tensor<4>) -> Tensor<2> {
    let [images, _, rows, columns] = teacher.dims();
    cosine_maps(teacher, student).reshape([images, rows * columns]).mean_dim(1).mean_dim(0)
}
