//! Enlarged and smoothed maps against PyTorch and SciPy.

use dmad::maps::{gaussian, pooled_maximum, upsample, upsample_corners};

use crate::{generator, util};

const TOLERANCE: f32 = 1e-6;

fn check_array(what: &str, got: &[f32], file: &str) {
    let expected: Vec<f32> = util::array(&util::reference(file));
    assert_eq!(got.len(), expected.len(), "{what}");
    for (index, (a, b)) in got.iter().zip(&expected).enumerate() {
        assert!((a - b).abs() <= TOLERANCE, "{what}[{index}]: {a}, expected {b}");
    }
}

fn enlarged() -> Vec<f32> {
    let scores: Vec<f32> = generator::uniforms(31, 0, 0, 1024).iter().map(|&v| v as f32).collect();
    upsample(&scores, (32, 32), (256, 256))
}

#[test]
fn bilinear_enlargement_equals_pytorch_in_every_pixel() {
    check_array("bilinear", &enlarged(), "map_bilinear.npy");
}

#[test]
fn smoothing_equals_scipy_in_every_pixel() {
    check_array("smoothed", &gaussian(&enlarged(), (256, 256), 4.0), "map_smoothed.npy");
}

#[test]
fn descriptions_and_maxima_hold() {
    let oracle = util::json(&util::reference("map.json"));
    let map = enlarged();
    util::check_description("bilinear", &map, &oracle["bilinear"], 1e-6);
    let smoothed = gaussian(&map, (256, 256), 4.0);
    util::check_description("smoothed", &smoothed, &oracle["bilinear_gauss4"], 1e-6);
    let highest = smoothed.iter().fold(0.0f32, |a, &b| a.max(b));
    assert!((f64::from(highest) - oracle["max_map"].as_f64().expect("max_map")).abs() <= 1e-6);
}

#[test]
fn impulses_spread_over_33_pixels_and_fold_back_at_the_corner() {
    let oracle = util::json(&util::reference("map.json"));
    let response = |row: usize, col: usize| {
        let mut map = vec![0.0; 256 * 256];
        map[row * 256 + col] = 1.0;
        gaussian(&map, (256, 256), 4.0)
    };
    let check = |got: f32, expected: &serde_json::Value| {
        let expected = expected.as_f64().expect("a number");
        assert!((f64::from(got) - expected).abs() <= 1e-6 * expected, "{got}, expected {expected}");
    };
    let (middle, expected) = (response(128, 128), &oracle["gauss_of_impulse_128_128"]);
    check(middle[128 * 256 + 128], &expected["centre"]);
    check(middle[128 * 256 + 144], &expected["at_128_144"]);
    check(middle[128 * 256 + 145], &expected["at_128_145"]);
    let (corner, expected) = (response(0, 0), &oracle["gauss_of_impulse_0_0"]);
    check(corner[0], &expected["at_0_0"]);
    check(corner[16], &expected["at_0_16"]);
}

#[test]
fn maps_smaller_than_the_kernel_reflect_as_often_as_needed() {
    // Folding an endless mirrored copy of the map by hand gives the same as the smoothing.
    let (height, width, sigma, radius) = (3usize, 5usize, 2.0f64, 8i64);
    let map: Vec<f32> = generator::uniforms(5, 1, 0, height * width).iter().map(|&v| v as f32).collect();
    let mirrored = |at: i64, len: usize| {
        let line: Vec<usize> = (0..len).chain((0..len).rev()).collect();
        line[at.rem_euclid(2 * len as i64) as usize]
    };
    let weight = |d: i64| (-0.5 * (d * d) as f64 / (sigma * sigma)).exp();
    let total: f64 = (-radius..=radius).map(weight).sum();
    let smoothed = gaussian(&map, (height, width), sigma);
    for y in 0..height {
        for x in 0..width {
            let mut expected = 0.0;
            for dy in -radius..=radius {
                for dx in -radius..=radius {
                    let (row, col) = (mirrored(y as i64 + dy, height), mirrored(x as i64 + dx, width));
                    expected += weight(dy) * weight(dx) / (total * total) * f64::from(map[row * width + col]);
                }
            }
            let got = f64::from(smoothed[y * width + x]);
            assert!((got - expected).abs() < 1e-6, "({y}, {x}): {got}, expected {expected}");
        }
    }
}

#[test]
fn sigma_zero_leaves_the_map_untouched() {
    let map = vec![0.25, -3.5, 1e-30, 7.0, f32::MAX, 0.0];
    assert_eq!(gaussian(&map, (2, 3), 0.0), map);
    assert_eq!(upsample(&map, (2, 3), (2, 3)), map);
}

#[test]
fn a_single_patch_fills_the_map_and_unequal_sides_keep_their_axes() {
    assert_eq!(upsample(&[2.5], (1, 1), (3, 4)), vec![2.5; 12]);
    let map = upsample(&[0.0, 1.0, 2.0, 3.0], (1, 4), (2, 8));
    let line = [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0];
    assert_eq!(map, [line, line].concat());
}

#[test]
fn aligned_corners_keep_the_corner_values_and_interpolate_evenly_between_them() {
    let map = upsample_corners(&[0.0, 3.0, 6.0, 12.0], (2, 2), (3, 4));
    let expected = [0.0, 1.0, 2.0, 3.0, 3.0, 4.5, 6.0, 7.5, 6.0, 8.0, 10.0, 12.0];
    assert!(map.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{map:?}");
    assert_eq!(upsample_corners(&[1.5; 6], (2, 3), (7, 5)), vec![1.5; 35]);
    assert_eq!(upsample_corners(&[2.5], (1, 1), (1, 4)), vec![2.5; 4]);
}

#[test]
fn the_pooled_maximum_is_the_largest_mean_of_a_square_within_the_map() {
    let (height, width) = (7, 9);
    let map: Vec<f32> = (0..height * width).map(|i| ((i * 37) % 101) as f32).collect();
    for window in [1, 2, 3, 7] {
        let mut largest = f64::NEG_INFINITY;
        for (y, x) in (0..=height - window).flat_map(|y| (0..=width - window).map(move |x| (y, x))) {
            let square = (0..window).flat_map(|v| (0..window).map(move |u| (y + v) * width + x + u));
            let sum: f64 = square.map(|index| f64::from(map[index])).sum();
            largest = largest.max(sum / (window * window) as f64);
        }
        let found = pooled_maximum(&map, (height, width), window);
        assert!((found - largest).abs() < 1e-9, "window {window}: {found}, expected {largest}");
    }
    assert_eq!(pooled_maximum(&[4.0; 12], (3, 4), 2), 4.0);
}
