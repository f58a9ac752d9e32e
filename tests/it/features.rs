//! Patch features: order of operations, order of rows, sameness, and faults in images.

use std::path::Path;

use burn::tensor::Device;
use dmad::backbone::Backbone;
use dmad::error::{Error, Result};
use dmad::features::aggregate::{FeatureMap, Recipe};
use dmad::features::{CHUNK_IMAGES, Shape, extract, feature_shape};
use dmad::matrix::Matrix;
use dmad::spec::{self, Aggregation, Features};

use crate::generator;
use crate::lab::{Lab, study as small, with};

/// PatchCore's steps one after the other, in f64: unfold, interpolate every entry, pool, stack, pool.
fn direct(maps: &[(Vec<f32>, usize, usize)], patch: usize, pretrain: usize, dim: usize) -> Vec<f64> {
    let side = maps[0].2;
    let fields: Vec<Vec<f64>> = maps.iter().map(|map| resized(&unfolded(map, patch), map.2, side)).collect();
    let mut out = Vec::new();
    for position in 0..side * side {
        let pooled_layers = fields.iter().flat_map(|field| {
            let length = field.len() / (side * side);
            pooled(&field[position * length..(position + 1) * length], pretrain)
        });
        out.extend(pooled(&pooled_layers.collect::<Vec<f64>>(), dim));
    }
    out
}

/// Positions × (channel, row, column) with zeros outside.
fn unfolded((values, channels, side): &(Vec<f32>, usize, usize), patch: usize) -> Vec<f64> {
    let (side, radius) = (*side as isize, patch as isize / 2);
    let mut out = Vec::new();
    for y in 0..side {
        for x in 0..side {
            for channel in 0..*channels as isize {
                for (row, column) in (-radius..=radius).flat_map(|r| (-radius..=radius).map(move |c| (y + r, x + c))) {
                    let inside = (0..side).contains(&row) && (0..side).contains(&column);
                    let index = (channel * side + row) * side + column;
                    out.push(if inside { values[index as usize] as f64 } else { 0.0 });
                }
            }
        }
    }
    out
}

fn resized(field: &[f64], from: usize, to: usize) -> Vec<f64> {
    let length = field.len() / (from * from);
    let place = |index: usize| {
        let at = ((index as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        (at as usize, (at as usize + 1).min(from - 1), at.fract())
    };
    let mut out = Vec::new();
    for (y, x) in (0..to).flat_map(|y| (0..to).map(move |x| (y, x))) {
        let ((top, bottom, v), (left, right, u)) = (place(y), place(x));
        for entry in 0..length {
            let at = |row: usize, column: usize| field[(row * from + column) * length + entry];
            let (above, below) =
                (at(top, left) * (1.0 - u) + at(top, right) * u, at(bottom, left) * (1.0 - u) + at(bottom, right) * u);
            out.push(above * (1.0 - v) + below * v);
        }
    }
    out
}

fn pooled(values: &[f64], bins: usize) -> Vec<f64> {
    let mean = |bin: usize| {
        let (start, end) = (bin * values.len() / bins, ((bin + 1) * values.len()).div_ceil(bins));
        values[start..end].iter().sum::<f64>() / (end - start) as f64
    };
    (0..bins).map(mean).collect()
}

#[test]
fn pooling_before_interpolating_gives_the_features_of_the_direct_order() {
    let map = |seed, channels, side: usize| {
        let uniforms = generator::uniforms(seed, 0, 0, channels * side * side);
        (uniforms.into_iter().map(|u| (u - 0.5) as f32).collect::<Vec<f32>>(), channels, side)
    };
    let all = [map(1, 5, 9), map(2, 7, 5), map(3, 12, 3)];
    for (layers, patch, pretrain_dim, dim) in
        [(3, 3, 20, 31), (3, 5, 16, 16), (2, 1, 9, 40), (1, 7, 11, 6), (2, 3, 64, 24)]
    {
        let features = Features { dim, pretrain_dim, patch, ..Default::default() };
        let channels: Vec<usize> = all[..layers].iter().map(|map| map.1).collect();
        let maps: Vec<FeatureMap> =
            all[..layers].iter().map(|map| FeatureMap { values: &map.0, side: map.2 }).collect();
        let got = Recipe::new(&features, &channels).apply(&maps);
        let expected = direct(&all[..layers], patch, pretrain_dim, dim);
        assert_eq!(got.view().data().len(), expected.len());
        for (index, (got, expected)) in got.view().data().iter().zip(&expected).enumerate() {
            assert!(
                (*got as f64 - expected).abs() < 1e-6,
                "{layers} layers, patch {patch}: [{index}] {got}, {expected}"
            );
        }
    }
}

fn lite0(layers: &[&str], weights: &str) -> spec::Backbone {
    let layers = layers.iter().map(|layer| layer.to_string()).collect();
    spec::Backbone { name: "efficientnet_lite0".into(), layers, weights: weights.into(), ..Default::default() }
}

fn load(spec: &spec::Backbone) -> Backbone {
    Backbone::load(spec, Path::new("none"), 0, &Device::flex()).expect("loadable without a file")
}

fn concat() -> Features {
    Features { aggregation: Aggregation::Concat, ..Default::default() }
}

fn deepest() -> Features {
    Features { aggregation: Aggregation::ConcatDeepest, ..Default::default() }
}

fn all_rows(backbone: &Backbone, features: &Features, side: usize, count: usize) -> Vec<Matrix> {
    let mut rows = Vec::new();
    let image = |index| Ok(generator::image(5, index as u64, side));
    extract(backbone, features, side, count, 5, image, |matrix| {
        rows.push(matrix);
        Ok(())
    })
    .expect("features");
    rows
}

#[test]
fn features_are_the_same_bytes_with_1_2_and_5_threads() {
    let patchcore = Features { dim: 96, ..Default::default() };
    let resnet =
        spec::Backbone { name: "resnet18".into(), layers: vec![], weights: "random".into(), ..Default::default() };
    let name = "dinov2_vits14_reg".to_string();
    let layers = vec!["block1".into()];
    let transformer = spec::Backbone { name, layers, weights: "random".into(), ..Default::default() };
    let networks = [(lite0(&[], "imagenet"), concat(), 160), (resnet, patchcore, 96), (transformer, concat(), 112)];
    for (spec, features, side) in networks {
        let backbone = load(&spec);
        let digest = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let rows = pool.install(|| all_rows(&backbone, &features, side, CHUNK_IMAGES + 3));
            let mut hasher = blake3::Hasher::new();
            rows.iter().flat_map(|matrix| matrix.view().data()).for_each(|value| {
                hasher.update(&value.to_le_bytes());
            });
            hasher.finalize()
        };
        let first = digest(1);
        for threads in [1, 2, 2, 5, 5] {
            assert_eq!(digest(threads), first, "{} with {threads} threads", spec.name);
        }
    }
}

#[test]
fn maps_of_a_large_forward_are_the_same_bytes_with_1_2_and_5_threads() {
    let backbone = load(&spec::Backbone { weights: "random".into(), ..Default::default() });
    let image = generator::image(9, 0, 256);
    let maps = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let maps = pool.install(|| backbone.forward(&[&image], 256).expect("maps"));
        maps.into_iter().map(|map| map.into_data().try_into_vec::<f32>().expect("f32")).collect::<Vec<_>>()
    };
    let first = maps(1);
    for threads in [2, 5, 2] {
        assert!(maps(threads) == first, "{threads} threads give other bytes");
    }
}

#[test]
fn rows_come_in_the_order_of_the_images_and_do_not_depend_on_their_neighbours() {
    let backbone = load(&lite0(&["stride8"], "imagenet"));
    let together = all_rows(&backbone, &concat(), 64, 2 * CHUNK_IMAGES + 1);
    assert_eq!(together.len(), 2 * CHUNK_IMAGES + 1);
    for (index, rows) in together.iter().enumerate() {
        let mut alone = Vec::new();
        let image = |_| Ok(generator::image(5, index as u64, 64));
        extract(&backbone, &concat(), 64, 1, 1, image, |matrix| {
            alone.push(matrix);
            Ok(())
        })
        .expect("features");
        assert_eq!(alone, std::slice::from_ref(rows), "image {index}");
    }
}

#[test]
fn the_shape_is_known_without_running_and_is_the_one_that_comes_out() {
    for (backbone, features, side) in [
        (lite0(&[], "imagenet"), concat(), 256),
        (lite0(&["stride4", "stride16"], "imagenet"), Features::default(), 75),
        (lite0(&["stride4", "stride16"], "imagenet"), deepest(), 75),
        (lite0(&["stride16"], "imagenet"), Features { dim: 40, patch: 5, ..Default::default() }, 64),
    ] {
        let shape = feature_shape(&backbone, &features, side).expect("valid");
        let rows = all_rows(&load(&backbone), &features, side, 1);
        assert_eq!((rows[0].len(), rows[0].cols()), (shape.patches(), shape.dim), "{backbone:?}");
    }
    let wide = spec::Backbone::default();
    for (side, patches) in [(224, 784), (256, 1024), (288, 1296), (320, 1600)] {
        let shape = feature_shape(&wide, &Features::default(), side).expect("valid");
        assert_eq!((shape.patches(), shape.dim), (patches, 1536), "{side} px");
    }
}

/// The place of index `index` of `to` between the corners of a line of `from`.
fn between_corners(index: usize, from: usize, to: usize) -> (usize, usize, f64) {
    let at = index as f64 * (from - 1) as f64 / (to - 1) as f64;
    (at as usize, (at as usize + 1).min(from - 1), at.fract())
}

#[test]
fn concat_deepest_brings_all_maps_to_the_last_ones_grid_corner_to_corner() {
    let sides = [(2, 9), (3, 5), (2, 4)];
    let values = |(layer, (channels, side)): (usize, &(usize, usize))| -> Vec<f32> {
        generator::uniforms(77, layer as u64, 0, channels * side * side).into_iter().map(|u| u as f32).collect()
    };
    let maps: Vec<Vec<f32>> = sides.iter().enumerate().map(values).collect();
    let features = Features { aggregation: Aggregation::ConcatDeepest, patch: 1, ..Default::default() };
    let recipe = Recipe::new(&features, &[2, 3, 2]);
    let views: Vec<FeatureMap> =
        maps.iter().zip(sides).map(|(values, (_, side))| FeatureMap { values, side }).collect();
    let found = recipe.apply(&views);
    assert_eq!((found.len(), found.cols()), (16, 7));
    for (position, column) in (0..16).flat_map(|position| (0..7).map(move |column| (position, column))) {
        let (layer, channel) = if column < 2 { (0, column) } else { (1 + (column - 2) / 3, (column - 2) % 3) };
        let side = sides[layer].1;
        let at = |y: usize, x: usize| f64::from(maps[layer][(channel * side + y) * side + x]);
        let ((top, bottom, v), (left, right, u)) =
            (between_corners(position / 4, side, 4), between_corners(position % 4, side, 4));
        let above = at(top, left) * (1.0 - u) + at(top, right) * u;
        let expected = above * (1.0 - v) + (at(bottom, left) * (1.0 - u) + at(bottom, right) * u) * v;
        let value = f64::from(found.view().row(position)[column]);
        assert!((value - expected).abs() < 1e-6, "position {position}, column {column}: {value}, expected {expected}");
    }
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let refused =
        |features: &Features| feature_shape(&lite0(&[], "imagenet"), features, 64).expect_err("refused").to_string();
    assert!(refused(&Features { patch: 4, ..Default::default() }).contains("no centre"));
    assert!(refused(&Features { dim: 100, ..concat() }).contains("concat"));
    assert!(refused(&Features { dim: 100, ..deepest() }).contains("\"concat_deepest\""));
    assert!(feature_shape(&lite0(&[], "imagenet"), &concat(), 16).is_err(), "too small an image");
}

#[test]
fn features_that_are_not_finite_name_the_image_and_a_failing_image_stops_the_pass() {
    // A huge but finite scale makes the network overflow on every image.
    let mut state = dmad::backbone::weights::resolve(&lite0(&["stride4"], "imagenet"), Path::new("none"), 0)
        .expect("embedded")
        .state;
    state.get_mut("_blocks.2._bn2.weight").expect("the tensor").values.fill(3e38);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("huge.safetensors");
    dmad::backbone::weights::write(&path, &state).expect("written");
    let huge = load(&lite0(&["stride4"], &path.display().to_string()));
    let image = |index: usize| -> Result<Vec<u8>> { Ok(generator::image(5, index as u64, 64)) };
    let error = extract(&huge, &concat(), 64, 6, 6, image, |_| Ok(())).expect_err("an overflow").to_string();
    assert!(error.contains("image 0") && error.contains("not finite"), "{error}");

    let sound = load(&lite0(&["stride4"], "imagenet"));
    let failing = |index: usize| {
        if index > CHUNK_IMAGES { Err(Error::data(format!("folder/{index}.png"), "broken", "")) } else { image(index) }
    };
    let mut kept = 0;
    let outcome: Result<Shape> = extract(&sound, &concat(), 64, CHUNK_IMAGES + 4, 4, failing, |_| {
        kept += 1;
        Ok(())
    });
    assert!(
        outcome.expect_err("an image fails").to_string().contains(&format!("/{}.png", CHUNK_IMAGES + 1)),
        "the first failing image is named"
    );
    assert_eq!(kept, CHUNK_IMAGES, "chunks before the failing one are delivered");
}

#[test]
fn features_kept_in_sixteen_bits_take_half_of_the_disk_and_say_so() {
    let ran = |kept: &str| {
        let lab = Lab::new();
        let (experiment, summary) = lab.run("study", &with(&small("patchcore"), &[("features.store", kept)]));
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        let files = std::fs::read_dir(lab.store().join("features")).expect("features").flatten();
        let tensors = files.filter(|file| file.path().extension().is_some_and(|e| e == "safetensors"));
        let bytes: u64 = tensors.map(|file| file.metadata().expect("a file").len()).sum();
        (bytes, lab.recorded(&experiment).runs[0].labels.join("; "))
    };
    let (whole, plain) = ran("\"f32\"");
    assert!(!plain.contains("kept in"), "{plain}");
    for (word, quoted) in [("f16", "\"f16\""), ("bf16", "\"bf16\"")] {
        let (bytes, labels) = ran(quoted);
        assert!((0.49..0.52).contains(&(bytes as f64 / whole as f64)), "{bytes} of {whole}");
        assert!(labels.contains(&format!("features kept in {word}")), "{labels}");
    }
}
