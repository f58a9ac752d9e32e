//! Synthetic anomalies against the reference arrays: noise, turned noise, masks, mixed and blended images.

use dmad::augment::{AmplitudeMix, Lattice, Recipe, Synthesis, turned};
use dmad::data::decode::Pixels;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::generator;
use crate::util::{check_description, json, numbers, reference};

const SIDE: usize = 256;

/// A case with its recipe, image and texture.
struct Case {
    told: Json,
    recipe: Recipe,
    image: Pixels,
    texture: Pixels,
}

fn cases() -> Vec<Case> {
    let oracle = json(&reference("synthesis.json"));
    let case = |(number, key): (u64, &str)| {
        let (told, draws) = (oracle[key].clone(), &oracle[key]["draws"]);
        let cells: Vec<usize> = numbers(&draws["res_rows_cols"]).into_iter().map(|cells| cells as usize).collect();
        let corners = (cells[0] + 1) * (cells[1] + 1);
        let turns = generator::uniforms(140 + number, 0, 0, corners);
        let angles = turns.into_iter().map(|turn| std::f64::consts::TAU * turn).collect();
        let number_of = |key: &str| draws[key].as_f64().expect("a number");
        let recipe = Recipe {
            lambda: number_of("lam"),
            beta: number_of("beta"),
            lattice: Lattice { cells: [cells[0], cells[1]], angles },
            degrees: number_of("rotation_deg"),
        };
        let pixels = |k: u64| Pixels { width: SIDE, height: SIDE, channels: 3, data: generator::image(3, k, SIDE) };
        Case { told, recipe, image: pixels(2 * number), texture: pixels(2 * number + 1) }
    };
    [(0, "c1"), (1, "c2")].into_iter().map(case).collect()
}

fn f32s(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

#[test]
fn noise_and_turned_noise_agree_and_masks_are_the_same_pixel_by_pixel() {
    for Case { told, recipe, .. } in cases() {
        let noise = recipe.lattice.noise(SIDE);
        check_description("noise", &f32s(&noise), &told["noise"], 1e-6);
        for (index, value) in numbers(&told["noise"]["indices"]).into_iter().zip(numbers(&told["noise"]["values"])) {
            assert!((noise[index as usize] - value).abs() < 1e-12);
        }
        check_description("turned", &f32s(&turned(&noise, SIDE, recipe.degrees)), &told["turned"], 1e-5);
        let mask: Vec<u8> = Synthesis::default().mask(&recipe, SIDE).into_iter().map(u8::from).collect();
        let area = mask.iter().filter(|&&inside| inside == 1).count() as u64;
        assert_eq!(area, told["mask_area_px"].as_u64().expect("an area"));
        let digest: String = Sha256::digest(&mask).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, told["mask_sha256_u8"].as_str().expect("a digest"));
    }
}

#[test]
fn mixed_and_blended_images_agree() {
    for Case { told, recipe, image, texture } in cases() {
        let made = Synthesis::default().make(&image, &texture, &recipe);
        let mixed: Vec<f32> = made.mixed.iter().map(|value| 255.0 * value).collect();
        check_description("mixed", &mixed, &told["mixed_0_255"], 1e-6);
        check_description("image", &made.image, &told["image"], 1e-6);
        let [low, high] = numbers(&told["image_min_max"])[..] else { panic!("two numbers") };
        let least = made.image.iter().copied().fold(f32::INFINITY, f32::min);
        let most = made.image.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!((f64::from(least) - low).abs() < 1e-6 && (f64::from(most) - high).abs() < 1e-6);
        let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let pixels = SIDE * SIDE;
        let normalised = made.image.iter().enumerate().map(|(place, &value)| {
            let channel = place / pixels;
            ((f64::from(value) - mean[channel]) / deviation[channel]) as f32
        });
        check_description("normalised", &normalised.collect::<Vec<_>>(), &told["normalised"], 1e-6);
    }
}

#[test]
fn channel_means_mix_as_lambda_says_to_the_last_digits() {
    for Case { told, recipe, image, texture } in cases() {
        let mix = AmplitudeMix::new(SIDE, 0.1);
        for (channel, expected) in numbers(&told["mixed_channel_means"]).into_iter().enumerate() {
            let plane = |image: &Pixels| -> Vec<f64> {
                image.data.iter().skip(channel).step_by(3).map(|&value| f64::from(value)).collect()
            };
            let mixed = mix.apply(&plane(&image), &plane(&texture), recipe.lambda);
            let mean = mixed.iter().sum::<f64>() / mixed.len() as f64;
            assert!((mean - expected).abs() < 1e-9, "{mean}, expected {expected}");
        }
    }
}
