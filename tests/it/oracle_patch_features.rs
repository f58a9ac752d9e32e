//! Aggregation of maps into patch features.

use dmad::features::aggregate::{FeatureMap, Recipe};
use dmad::matrix::Matrix;
use dmad::spec::{Aggregation, Features};

use crate::{generator, util};

fn map(seed: u64, stream: u64, count: usize) -> Vec<f32> {
    generator::uniforms(seed, stream, 0, count).into_iter().map(|u| (u - 0.5) as f32).collect()
}

/// The aggregated matrix of the oracle's two maps with `channels` and `sides`.
fn aggregated(features: &Features, seed: u64, channels: [usize; 2], sides: [usize; 2]) -> Matrix {
    let values = [0, 1].map(|layer| map(seed, layer as u64, channels[layer] * sides[layer] * sides[layer]));
    let maps = [0, 1].map(|layer| FeatureMap { values: &values[layer], side: sides[layer] });
    Recipe::new(features, &channels).apply(&maps)
}

fn binned(dim: usize) -> Features {
    Features { dim, ..Default::default() }
}

fn concat() -> Features {
    Features { aggregation: Aggregation::Concat, ..Default::default() }
}

#[test]
fn full_size_aggregation_is_that_of_the_reference() {
    let oracle = &util::json(&util::reference("patch_features.json"))["full"];
    for (key, features) in
        [("patchcore_1536_1536", binned(1536)), ("patchcore_1024_1024", binned(1024)), ("concat_avgpool", concat())]
    {
        let rows = aggregated(&features, 21, [512, 1024], [32, 16]);
        util::check_description(key, rows.view().data(), &oracle[key], 2e-6);
    }
}

#[test]
fn small_aggregation_is_that_of_the_reference_in_every_value() {
    let oracle = &util::json(&util::reference("patch_features.json"))["small"];
    for (key, file, features) in [
        ("patchcore_48_48", "patch_features_bins48.npy", binned(48)),
        ("patchcore_32_32", "patch_features_bins32.npy", binned(32)),
        ("concat_avgpool", "patch_features_concat.npy", concat()),
    ] {
        let rows = aggregated(&features, 22, [16, 32], [8, 4]);
        util::check_description(key, rows.view().data(), &oracle[key], 1e-6);
        let expected: Vec<f32> = util::array(&util::reference(file));
        assert_eq!(expected.len(), rows.view().data().len(), "{file}");
        for (index, (got, expected)) in rows.view().data().iter().zip(&expected).enumerate() {
            assert!((got - expected).abs() <= 1e-6, "{file}[{index}]: {got}, expected {expected}");
        }
    }
}
