//! Kernels of the bank at the shapes of real runs: neighbours (wide and Lite0 features) and the greedy coreset.
//!
//! `cargo bench --bench bank`. Whole runs are measured elsewhere.

use criterion::{Criterion, criterion_group, criterion_main};
use dmad::bank::coreset::{Start, greedy};
use dmad::bank::neighbours::{k_nearest, nearest};
use dmad::bank::tile::products;
use dmad::matrix::{Matrix, Rows};
use dmad::random::{Purpose, stream};
use std::hint::black_box;

/// Correlated features: `rank` hidden factors plus independent noise, as patches of similar images have them.
fn correlated(rows: usize, cols: usize, rank: usize, index: u64) -> Matrix {
    let mut stream = stream(0, Purpose::Synthetic, index);
    let mut draw = |len: usize, std: f64| {
        let mut values = vec![0.0; len];
        stream.fill_normal(&mut values, std);
        values
    };
    let (factors, loadings, noise) = (draw(rows * rank, 1.0), draw(cols * rank, 1.0), draw(rows * cols, 0.3));
    let mut out = Matrix::zeros(rows, cols);
    products(Rows::new(&factors, rank), Rows::new(&loadings, rank), out.data_mut());
    out.data_mut().iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
    out
}

fn neighbours(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("neighbours");
    group.sample_size(10);
    let (queries, bank) = (correlated(2048, 1536, 16, 0), correlated(10_000, 1536, 16, 1));
    group.bench_function("1 of 10,000 x 1536, 2,048 queries", |bencher| {
        bencher.iter(|| nearest(black_box(queries.view()), &[bank.view()], None))
    });
    group.bench_function("9 of 10,000 x 1536, 2,048 queries", |bencher| {
        bencher.iter(|| k_nearest(black_box(queries.view()), bank.view(), 9))
    });
    let mut scores = vec![0.0; 2048 * 10_000];
    group.bench_function("the products alone, one thread", |bencher| {
        bencher.iter(|| products(black_box(queries.view()), bank.view(), &mut scores))
    });
    let (queries, bank) = (correlated(8192, 152, 8, 2), correlated(8192, 152, 8, 3));
    group.bench_function("1 of 8,192 x 152, 8,192 queries", |bencher| {
        bencher.iter(|| nearest(black_box(queries.view()), &[bank.view()], None))
    });
    group.finish();
}

fn coreset(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coreset");
    group.sample_size(10);
    let rows = correlated(50_000, 152, 8, 4);
    group.bench_function("50,000 x 152 to 1,000", |bencher| {
        bencher.iter(|| greedy(&[black_box(rows.view())], 1000, &Start::Row(0)))
    });
    let rows = correlated(10_000, 1536, 16, 5);
    group.bench_function("10,000 x 1536 to 200", |bencher| {
        bencher.iter(|| greedy(&[black_box(rows.view())], 200, &Start::Row(0)))
    });
    group.finish();
}

criterion_group!(benches, neighbours, coreset);
criterion_main!(benches);
