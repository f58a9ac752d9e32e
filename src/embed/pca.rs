//! Principal components by subspace iteration on the covariance matrix.

use crate::matrix::{Matrix, Rows};
use crate::random::{Purpose, stream};

/// Columns beyond the wanted ones that take part in the iteration, so that the last wanted component converges too.
const SPARE: usize = 10;

/// Rounds of the iteration. A component that has not settled by then differs so little in variance from its neighbour
/// that distances in their plane are the same whichever basis it has.
const ROUNDS: usize = 40;

/// Rows in the coordinates of their principal components.
#[derive(Debug)]
pub struct Components {
    /// rows × components, components by falling variance, column means 0.
    pub rows: Matrix,
    /// Share of the variance that the components hold, in [0, 1].
    pub explained: f64,
}

/// The first `count` principal components of `rows` (fewer where there are fewer columns). Sums are f64 and run in one
/// thread; the sign of a component is that of its largest loading. The start is drawn from `seed`.
///
/// # Panics
/// When `count` is 0 or there is no row.
pub fn principal_components(rows: Rows, count: usize, seed: u64) -> Components {
    assert!(count > 0 && !rows.is_empty(), "components of nothing");
    let (n, d) = (rows.len(), rows.cols());
    let centred = centred(rows);
    let covariance = covariance(&centred, n, d);
    let width = (count + SPARE).min(d);
    let mut start = vec![0.0f32; d * width];
    stream(seed, Purpose::Embedding, 1).fill_normal(&mut start, 1.0);
    let mut basis: Vec<f64> = start.into_iter().map(f64::from).collect();
    orthonormalise(&mut basis, d);
    for _ in 0..ROUNDS {
        basis = multiply(&covariance, &basis, d, d, width);
        orthonormalise(&mut basis, d);
    }
    // Within the subspace, the components are the eigenvectors of a small matrix.
    let image = multiply(&covariance, &basis, d, d, width);
    let small: Vec<f64> =
        (0..width * width).map(|at| dot(column(&basis, d, at / width), column(&image, d, at % width))).collect();
    let (values, vectors) = eigen(small, width);
    let kept = count.min(width);
    let mut loadings = multiply(&basis, &vectors[..width * kept], d, width, kept);
    loadings.chunks_exact_mut(d).for_each(fix_sign);
    let mut out = Vec::with_capacity(n * kept);
    for row in centred.chunks_exact(d) {
        out.extend(loadings.chunks_exact(d).map(|loading| dot(row, loading) as f32));
    }
    let total: f64 = (0..d).map(|i| covariance[i * d + i]).sum();
    let explained = if total > 0.0 { values[..kept].iter().sum::<f64>() / total } else { 1.0 };
    Components { rows: Matrix::new(out, kept), explained: explained.clamp(0.0, 1.0) }
}

/// The rows less their mean, row after row.
fn centred(rows: Rows) -> Vec<f64> {
    let (n, d) = (rows.len(), rows.cols());
    let mut mean = vec![0.0; d];
    for row in 0..n {
        mean.iter_mut().zip(rows.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    mean.iter_mut().for_each(|sum| *sum /= n as f64);
    rows.data().chunks_exact(d).flat_map(|row| row.iter().zip(&mean).map(|(&v, m)| f64::from(v) - m)).collect()
}

/// Xᵀ·X / n.
fn covariance(centred: &[f64], n: usize, d: usize) -> Vec<f64> {
    // Column-major d × n times row-major n × d: the rows as they lie, read twice.
    let mut sums = vec![0.0; d * d];
    product(&mut sums, (d, d, n), (centred, 1, d), (centred, d, 1));
    sums.iter_mut().for_each(|sum| *sum /= n as f64);
    sums
}

/// Column-major product of `left` (`rows` × `inner`) and `right` (`inner` × `columns`), both column-major.
fn multiply(left: &[f64], right: &[f64], rows: usize, inner: usize, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows * columns];
    product(&mut out, (rows, columns, inner), (left, 1, rows), (right, 1, inner));
    out
}

/// Column-major `out` (m × n) = left (m × k) · right (k × n); each operand with its row and column stride.
fn product(
    out: &mut [f64],
    (m, n, k): (usize, usize, usize),
    (left, left_rows, left_columns): (&[f64], usize, usize),
    (right, right_rows, right_columns): (&[f64], usize, usize),
) {
    let last = |rows: usize, columns: usize, row: usize, column: usize| (rows - 1) * row + (columns - 1) * column;
    assert_eq!(out.len(), m * n, "the product fits");
    assert!(left.len() > last(m, k, left_rows, left_columns), "the left operand is whole");
    assert!(right.len() > last(k, n, right_rows, right_columns), "the right operand is whole");
    // SAFETY: the three assertions bound every element that the strides reach; `out` is not an operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            m as isize,
            1,
            false,
            left.as_ptr(),
            left_columns as isize,
            left_rows as isize,
            right.as_ptr(),
            right_columns as isize,
            right_rows as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn column(matrix: &[f64], rows: usize, number: usize) -> &[f64] {
    &matrix[number * rows..(number + 1) * rows]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Gram–Schmidt over the columns, each twice against rounding. A column without a part of its own becomes zero.
fn orthonormalise(basis: &mut [f64], rows: usize) {
    for number in 0..basis.len() / rows {
        let (before, rest) = basis.split_at_mut(number * rows);
        let own = &mut rest[..rows];
        let length = dot(own, own).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(rows) {
                let share = dot(own, other);
                own.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
            }
        }
        let left = dot(own, own).sqrt();
        let scale = if left > 1e-12 * length && left > 0.0 { 1.0 / left } else { 0.0 };
        own.iter_mut().for_each(|value| *value *= scale);
    }
}

fn fix_sign(loading: &mut [f64]) {
    let largest =
        loading.iter().copied().fold(0.0, |best: f64, value| if value.abs() > best.abs() { value } else { best });
    if largest < 0.0 {
        loading.iter_mut().for_each(|value| *value = -*value);
    }
}

/// Eigenvalues and eigenvectors (columns, column-major) of a symmetric matrix, largest first: cyclic Jacobi rotations.
fn eigen(mut matrix: Vec<f64>, size: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; size * size];
    (0..size).for_each(|i| vectors[i * size + i] = 1.0);
    for _ in 0..60 {
        let off: f64 =
            (0..size * size).filter(|at| at / size != at % size).map(|at| matrix[at].powi(2)).sum::<f64>().sqrt();
        let all = dot(&matrix, &matrix).sqrt();
        if off <= 1e-14 * all {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                rotate(&mut matrix, &mut vectors, size, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| matrix[b * size + b].total_cmp(&matrix[a * size + a]).then(a.cmp(&b)));
    let values = order.iter().map(|&i| matrix[i * size + i]).collect();
    let sorted = order.iter().flat_map(|&i| column(&vectors, size, i).to_vec()).collect();
    (values, sorted)
}

/// The rotation that makes the element (p, q) zero.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], size: usize, p: usize, q: usize) {
    let element = matrix[p * size + q];
    if element == 0.0 {
        return;
    }
    let theta = (matrix[q * size + q] - matrix[p * size + p]) / (2.0 * element);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    let turn = |values: &mut [f64], a: usize, b: usize| {
        (values[a], values[b]) = (cosine * values[a] - sine * values[b], sine * values[a] + cosine * values[b]);
    };
    (0..size).for_each(|k| turn(matrix, k * size + p, k * size + q));
    for k in 0..size {
        turn(matrix, p * size + k, q * size + k);
        turn(vectors, p * size + k, q * size + k);
    }
}
