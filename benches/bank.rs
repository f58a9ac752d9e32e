//! Kernels of the bank at the shapes of real runs: neighbours (wide and Lite0 features) and the greedy coreset.
//!
//! `cargo bench --bench bank`. Whole runs are measured elsewhere.

use burn::tensor::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use dmad::backbone::weights::resolve;
use dmad::backbone::{Architecture, Backbone};
use dmad::bank::coreset::{Start, greedy};
use dmad::bank::neighbours::{k_nearest, nearest};
use dmad::bank::tile::products;
use dmad::data::image::load_rgb;
use dmad::data::index::{Image, Source};
use dmad::device::multiply::{Strided, multiply};
use dmad::features::extract;
use dmad::matrix::{Matrix, Rows};
use dmad::random::{Purpose, stream};
use dmad::spec;
use rayon::prelude::*;
use std::hint::black_box;
use std::path::{Path, PathBuf};

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

/// Rows without any direction of their own: the worst case of every filter.
fn isotropic(rows: usize, cols: usize, index: u64) -> Matrix {
    let mut out = Matrix::zeros(rows, cols);
    stream(1, Purpose::Synthetic, index).fill_normal(out.data_mut(), 1.0);
    out
}

/// Patch features of images of a folder by WideResNet50-2 with random weights, as 1,536 values.
fn of_images(folder: &Path, from: usize, images: usize) -> Matrix {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder of images").flatten().map(|entry| entry.path()).collect();
    files.sort();
    let architecture = Architecture::find("wide_resnet50_2").expect("known");
    let wanted = spec::Backbone {
        name: architecture.name.into(),
        layers: Vec::new(),
        weights: "random".into(),
        ..Default::default()
    };
    let taps = architecture.taps(&wanted.layers).expect("the default");
    let weights = resolve(&wanted, Path::new(""), 0).expect("random ones");
    let backbone = Backbone::new(architecture, taps, wanted.positions, &weights, &Device::flex());
    let wide = spec::Features { dim: 1536, pretrain_dim: 1536, ..Default::default() };
    let mut all = Vec::new();
    let whole = spec::Geometry { size: 256, ..Default::default() };
    let image = |index: usize| {
        let source = Source::File(files[from + index].clone());
        Ok(load_rgb(&Image { path: String::new(), source }, &whole)?.data)
    };
    let sink = |rows: Matrix| {
        all.extend(rows.into_data());
        Ok(())
    };
    extract(&backbone, &wide, 256, images, 8, image, sink).expect("features");
    Matrix::new(all, 1536)
}

fn products_alone(queries: Rows, bank: Rows, scores: &mut [f32]) {
    // As a search does: a block of queries for each task, one thread for a product.
    scores.par_chunks_mut(256 * bank.len()).enumerate().for_each(|(block, scores)| {
        let from = block * 256;
        for first in (0..bank.len()).step_by(512) {
            let rows = bank.slice(first..bank.len().min(first + 512));
            let queries = queries.slice(from..queries.len().min(from + 256));
            products(queries, rows, &mut scores[..queries.len() * rows.len()]);
        }
    });
}

fn neighbours(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("neighbours");
    group.sample_size(10);
    let mut sets = vec![
        ("correlated", correlated(8192, 1536, 16, 0), correlated(10_000, 1536, 16, 1)),
        ("isotropic", isotropic(8192, 1536, 0), isotropic(10_000, 1536, 1)),
    ];
    if let Some(data) = std::env::var_os("DMAD_DATA") {
        let good = Path::new(&data).join("mini/screw/train/good");
        sets.push(("screws", of_images(&good, 10, 8), of_images(&good, 0, 10)));
    }
    for (name, queries, bank) in &sets {
        let mut scores = vec![0.0; queries.len() * bank.len()];
        group.bench_function(format!("products alone, {name}, 8,192 x 10,000 x 1536"), |bencher| {
            bencher.iter(|| products_alone(black_box(queries.view()), bank.view(), &mut scores))
        });
        for k in [1, 9] {
            group.bench_function(format!("{k} of 10,000 x 1536, {name}, 8,192 queries"), |bencher| {
                bencher.iter(|| k_nearest(black_box(queries.view()), bank.view(), k))
            });
        }
    }
    let (queries, bank) = (correlated(8192, 152, 8, 2), correlated(8192, 152, 8, 3));
    group.bench_function("1 of 8,192 x 152, 8,192 queries", |bencher| {
        bencher.iter(|| nearest(black_box(queries.view()), &[bank.view()], None))
    });
    group.finish();
}

fn coreset(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coreset");
    group.sample_size(10);
    for (rows, cols, count) in [(98_304, 152, 1966), (50_000, 1536, 1000)] {
        for (name, rows) in [("correlated", correlated(rows, cols, 8, 4)), ("isotropic", isotropic(rows, cols, 5))] {
            group.bench_function(format!("{} x {cols} to {count}, {name}", rows.len()), |bencher| {
                bencher.iter(|| greedy(&[black_box(rows.view())], count, &Start::Row(0)))
            });
        }
    }
    group.finish();
}

fn product(criterion: &mut Criterion) {
    let (left, right) = (isotropic(1024, 1024, 6), isotropic(1024, 1024, 7));
    let strided = |values| Strided { values, row: 1024, column: 1 };
    let mut out = vec![0.0; 1 << 20];
    criterion.bench_function("product 1,024 x 1,024 x 1,024", |bencher| {
        let (left, right) = (strided(left.view().data()), strided(right.view().data()));
        bencher.iter(|| multiply(black_box(&mut out), 1024, [1024; 3], left, &right, false))
    });
}

criterion_group!(benches, product, neighbours, coreset);
criterion_main!(benches);
