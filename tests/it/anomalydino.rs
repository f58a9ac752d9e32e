//! AnomalyDINO: distances, scores, masks and maps against reference numbers, and what a study with it has to hold.

use burn::tensor::Device;
use dmad::bank::neighbours::Searcher;
use dmad::device::Precision;
use dmad::maps::{gaussian, upsample};
use dmad::matrix::{Matrix, Rows};
use dmad::methods::anomalydino::mask::foreground;
use dmad::methods::anomalydino::score::{distances, of_length_one};
use dmad::methods::anomalydino::{Metric, Score};
use dmad::methods::top_mean;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::lab::{Lab, study, with};
use crate::{generator, util};

const SIDE: usize = 32;
const WIDTH: usize = 64;
const TOLERANCE: f64 = 1e-6;

fn centred(rows: usize, seed: u64) -> Matrix {
    let values = generator::features(rows, WIDTH, seed).into_iter().map(|value| (f64::from(value) - 0.5) as f32);
    Matrix::new(values.collect(), WIDTH)
}

/// Queries, and the same with the centre moved.
fn queries(shifted: bool) -> Matrix {
    let mut rows = centred(SIDE * SIDE, 192);
    for (place, row) in rows.data_mut().chunks_exact_mut(WIDTH).enumerate() {
        let inside = [place / SIDE, place % SIDE].iter().all(|at| (8..24).contains(at));
        row.iter_mut().for_each(|value| *value += if shifted && inside { 3.0 } else { 0.0 });
    }
    rows
}

fn of_unit_length(rows: Rows) -> Matrix {
    let mut out = Matrix::zeros(rows.len(), rows.cols());
    let all = out.data_mut().chunks_exact_mut(rows.cols()).enumerate();
    all.for_each(|(row, out)| of_length_one(rows.row(row), out));
    out
}

/// Distances of `queries` from the directions of `bank`.
fn cosines(bank: Rows, queries: Rows) -> Vec<f32> {
    let bank = of_unit_length(bank);
    let parts = [bank.view()];
    let searcher = Searcher::new((&Device::flex(), Precision::F32), &parts, None).expect("a bank");
    distances(&searcher, bank.view(), queries, &Score::default()).expect("distances")
}

/// The largest distance from samples of a description, whose norm must agree, too.
fn hold(what: &str, own: &[f32], description: &Json) -> f64 {
    let norm = own.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let expected = description["l2"].as_f64().expect("l2");
    assert!((norm - expected).abs() <= TOLERANCE * expected, "{what}: norm {norm}, expected {expected}");
    let (indices, samples) = (util::numbers(&description["indices"]), util::numbers(&description["values"]));
    let far = indices.iter().zip(&samples).map(|(index, sample)| (f64::from(own[*index as usize]) - sample).abs());
    let worst = far.fold(0.0, f64::max);
    assert!(worst <= TOLERANCE, "{what}: {worst}");
    worst
}

fn near(what: &str, own: f64, expected: &Json) {
    let expected = expected.as_f64().expect("a number");
    assert!((own - expected).abs() <= TOLERANCE, "{what}: {own}, expected {expected}");
}

#[test]
fn distances_scores_masks_and_maps_are_those_of_the_reference() {
    let oracle = util::json(&util::reference("anomalydino.json"));
    let bank = centred(600, 191);
    for (case, shifted) in [("plain", false), ("shifted_centre", true)] {
        let (expected, queries) = (&oracle[case], queries(shifted));
        let found = cosines(bank.view(), queries.view());
        let mut worst = hold(case, &found, &expected["distance"]);
        let top = |count: usize| top_mean(found[..count].iter().copied(), 0.01);
        for (key, count) in [("score", 1024), ("score_n99", 99), ("score_n250", 250)] {
            near(&format!("{case} {key}"), top(count), &expected[key]);
        }
        let component = dmad::embed::principal_components(queries.view(), 1, 0).rows.into_data();
        let component: Vec<f32> = component.into_iter().map(f32::abs).collect();
        let samples = util::numbers(&expected["pc1_abs"]["indices"]).into_iter();
        for (index, value) in samples.zip(util::numbers(&expected["pc1_abs"]["values"])) {
            let own = f64::from(component[index as usize]);
            assert!((own - value).abs() <= 1e-5 * (1.0 + value), "{case} component {index}: {own}, expected {value}");
        }
        let mask = foreground(queries.view(), (SIDE, SIDE), 10.0);
        let inside = mask.iter().filter(|inside| **inside).count();
        assert_eq!(inside as u64, expected["mask_foreground"].as_u64().expect("a count"), "{case}");
        let bytes: Vec<u8> = mask.iter().map(|&inside| u8::from(inside)).collect();
        let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected["mask_sha"].as_str().expect("a digest"), "{case}");
        let masked = found.iter().zip(&mask).map(|(&score, &inside)| if inside { score } else { 0.0 });
        near(&format!("{case} masked"), top_mean(masked, 0.01), &expected["score_masked"]);
        let map = upsample(&found, (SIDE, SIDE), (100, 130));
        worst = worst.max(hold(&format!("{case} map"), &map, &expected["map_100x130"]));
        let smooth = gaussian(&map, (100, 130), 4.0);
        worst = worst.max(hold(&format!("{case} smooth map"), &smooth, &expected["map_100x130_gauss4"]));
        println!("{case}: largest distance {worst:.2e}");
    }
}

#[test]
fn distances_are_between_0_and_2_and_a_row_of_the_bank_is_at_0() {
    let bank = centred(600, 191);
    assert!(cosines(bank.view(), bank.view()).iter().all(|&distance| distance <= 1e-6));
    let mut odd = Matrix::new(bank.view().row(0).iter().map(|value| -value).collect(), WIDTH);
    odd.extend(Matrix::zeros(1, WIDTH).view());
    let only = bank.view().slice(0..1);
    let found = cosines(only, odd.view());
    assert!((found[0] - 2.0).abs() < 1e-6 && found[1] == 1.0, "{found:?}");
    // More rows bring no patch further away, and a factor changes nothing.
    let queries = queries(false);
    let (all, few) = (cosines(bank.view(), queries.view()), cosines(bank.view().slice(0..90), queries.view()));
    assert!(all.iter().zip(&few).all(|(all, few)| all <= few));
    let scaled = Matrix::new(queries.view().data().iter().map(|value| value * 8.0).collect(), WIDTH);
    assert_eq!(cosines(bank.view(), scaled.view()), all);
}

#[test]
fn the_top_share_is_rounded_down_and_at_least_one() {
    let rising = |count: usize| (0..count).map(|at| at as f32);
    assert_eq!(top_mean(rising(99), 0.01), 98.0);
    assert_eq!(top_mean(rising(1024), 0.01), 1018.5);
    assert_eq!(top_mean(rising(2304), 0.01), 2292.0);
    assert_eq!(top_mean(rising(7), 0.0), 6.0);
    assert_eq!(top_mean(std::iter::repeat_n(0.25, 500), 0.01), 0.25);
    assert_eq!(top_mean(rising(0), 0.01), 0.0);
}

#[test]
fn euclidean_distances_are_those_of_the_values_and_neighbours_are_averaged() {
    let bank = Matrix::new(vec![0.0, 0.0, 3.0, 4.0, 6.0, 8.0], 2);
    let parts = [bank.view()];
    let searcher = Searcher::new((&Device::flex(), Precision::F32), &parts, None).expect("a bank");
    let origin = Matrix::zeros(1, 2);
    for (neighbours, expected) in [(1, 0.0), (2, 2.5), (3, 5.0)] {
        let score = Score { metric: Metric::Euclidean, neighbours, ..Score::default() };
        assert_eq!(distances(&searcher, bank.view(), origin.view(), &score).expect("distances"), [expected]);
    }
}

/// Patch scores of the class "wood" of a study with these settings.
fn scores(lab: &Lab, name: &str, settings: &[(&str, &str)]) -> Vec<f32> {
    let (experiment, summary) = lab.run(name, &with(&study("anomalydino"), settings));
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    lab.recorded(&experiment).runs[0].patch_scores("wood").expect("scores").1
}

#[test]
fn turned_references_are_more_of_them_and_references_depend_on_nothing_else() {
    let lab = Lab::new();
    let plain = scores(&lab, "plain", &[]);
    let turned = scores(&lab, "turned", &[("method.bank.rotations", "0")]);
    assert!(turned.iter().zip(&plain).all(|(turned, plain)| turned <= plain) && turned != plain);
    // Eight views are what 0 stands for with few references, one where all are.
    assert_eq!(turned, scores(&lab, "eight", &[("method.bank.rotations", "8")]));
    let all = [("method.bank.shots", "0"), ("method.bank.rotations", "0")];
    // Elsewhere, where the bank is not there yet.
    let other = Lab::new();
    let (all, more) = (scores(&lab, "all", &all), scores(&other, "more", &[("method.bank.shots", "9")]));
    assert_eq!(all, more, "9 of 4 images are all of them");
    assert!(other.heard().iter().any(|event| format!("{event:?}").contains("short of the references asked for")));
    // The third chunk of two images among four is the first again.
    assert_eq!(plain, scores(&lab, "third", &[("seeds", "[2]")]));
}

#[test]
fn it_runs_on_a_transformer_with_the_images_and_features_that_it_brings() {
    let lab = Lab::new();
    let text = "dataset = \"tiny\"\nimage.size = 112\nevaluation.size = 64\n\
                backbone = { weights = \"random\", layers = [\"block1\"] }\n\
                [method]\nname = \"anomalydino\"\nbank.shots = 1\n";
    let (experiment, summary) = lab.run("transformer", text);
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let spec = &experiment.runs[0].spec;
    assert_eq!((spec.backbone.name.as_str(), spec.features.patch), ("dinov2_vits14", 1));
    let ([_, rows, columns], scores) = lab.recorded(&experiment).runs[0].patch_scores("tile").expect("scores");
    assert_eq!((rows, columns), (8, 8));
    assert!(scores.iter().all(|score| (0.0..=2.0).contains(score)));
}

#[test]
fn turns_that_are_no_whole_degrees_apart_are_refused() {
    let lab = Lab::new();
    let text = with(&study("anomalydino"), &[("method.bank.rotations", "7")]);
    let error = lab.try_run("turns", &text).expect_err("refused").to_string();
    assert!(error.contains("whole degrees"), "{error}");
}
