//! Time of the metric kernels on the generated maps that other programs were measured on.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dmad::maps::{gaussian, upsample};
use dmad::metrics::{Definitions, image_metrics, pixel_metrics, regions};
use dmad::spec::Pro;

#[path = "../tests/it/generated_maps.rs"]
mod generated_maps;
#[path = "../tests/it/generator.rs"]
mod generator;

fn pixels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pixel_metrics");
    group.sample_size(10);
    for side in [256, 1024] {
        let maps = generated_maps::bottle(side);
        group.throughput(Throughput::Elements((maps.0.len() * side * side) as u64));
        for pro in [Pro::Exact, Pro::Simplenet, Pro::Ader] {
            // The legacy forms are there to check tables made at 256 × 256.
            if pro == Pro::Exact || side == 256 {
                let definitions = Definitions { pro, ..Definitions::default() };
                let name = BenchmarkId::new(format!("bottle{side}"), format!("{pro:?}"));
                group.bench_function(name, |b| b.iter(|| pixel_metrics(&maps, &definitions)));
            }
        }
    }
    group.finish();
}

fn small_parts(criterion: &mut Criterion) {
    let maps = generated_maps::bottle(256);
    let last = &maps.0[82];
    criterion.bench_function("regions/256", |b| b.iter(|| regions(&last.mask, last.width)));
    let scores: Vec<f64> = generator::uniforms(1, 1, 0, 167);
    let labels: Vec<bool> = (0..167).map(|image| image >= 26).collect();
    criterion
        .bench_function("image_metrics/167", |b| b.iter(|| image_metrics(&scores, &labels, &Definitions::default())));
    let patches: Vec<f32> = generator::uniforms(31, 0, 0, 1024).iter().map(|&v| v as f32).collect();
    criterion.bench_function("upsample/32to256", |b| b.iter(|| upsample(&patches, (32, 32), (256, 256))));
    let map = upsample(&patches, (32, 32), (256, 256));
    criterion.bench_function("gaussian/256/sigma4", |b| b.iter(|| gaussian(&map, (256, 256), 4.0)));
}

criterion_group!(benches, pixels, small_parts);
criterion_main!(benches);
