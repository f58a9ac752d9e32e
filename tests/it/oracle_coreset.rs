//! Greedy coresets and neighbours computed in f64 by NumPy.

use crate::generator::features;
use crate::util::{covering_radius, gather, json, numbers, reference};
use dmad::bank::coreset::{Start, greedy};
use dmad::bank::neighbours::nearest;
use dmad::matrix::Matrix;
use serde_json::Value;

fn rows_of(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|number| number as usize).collect()
}

fn check(entry: &Value, start: &Start) {
    let rows = Matrix::new(features(3000, 64, 11), 64);
    let queries = Matrix::new(features(200, 64, 12), 64);
    let picks = greedy(&[rows.view()], 150, start).expect("a coreset");
    assert_eq!(picks, rows_of(&entry["order_f64"]), "order of selection");
    let radius = covering_radius(&[rows.view()], &picks);
    if matches!(start, Start::Row(_)) {
        let expected = entry["covering_radius_f64"].as_f64().expect("a number");
        assert!((radius - expected).abs() <= 1e-12 * expected, "covering radius {radius}, expected {expected}");
    }

    let bank = gather(rows.view(), &picks);
    let found = nearest(queries.view(), &[bank.view()], None).expect("neighbours");
    let found_rows: Vec<usize> = found.index.iter().map(|&position| picks[position as usize]).collect();
    assert_eq!(found_rows, rows_of(&entry["nn_row"]), "rows of the neighbours");
    let positions: Vec<usize> = found.index.iter().map(|&position| position as usize).collect();
    assert_eq!(positions, rows_of(&entry["nn_bank_position"]), "positions in the bank");
    for (got, expected) in found.distance.iter().zip(numbers(&entry["nn_distance"])) {
        assert!((*got as f64 - expected).abs() <= 1e-6 * expected, "distance {got}, expected {expected}");
    }
}

#[test]
fn plain_greedy_from_row_zero_matches_the_reference() {
    let oracle = json(&reference("coreset.json"));
    check(&oracle["plain_start0"], &Start::Row(0));
}

#[test]
fn patchcores_approximate_greedy_matches_the_reference() {
    let oracle = json(&reference("coreset.json"));
    let entry = &oracle["patchcore_approx"];
    check(entry, &Start::MeanOf(rows_of(&entry["start_rows"])));
}

/// The shape of the peers' benchmark: its inputs are `features(10000, 1536, 12)` and `features(8192, 1536, 13)`.
#[test]
fn neighbours_among_ten_thousand_wide_rows_match_the_f64_reference() {
    let bank = Matrix::new(features(10_000, 1536, 12), 1536);
    let queries = Matrix::new(features(8192, 1536, 13), 1536);
    let found = nearest(queries.view(), &[bank.view()], None).expect("neighbours");
    assert_eq!(&found.index[..4], &[6242, 7144, 2239, 960]);
    let sum: f64 = found
        .index
        .iter()
        .enumerate()
        .map(|(i, &row)| {
            dmad::bank::distance::squared_distance(queries.view().row(i), bank.view().row(row as usize)).sqrt()
        })
        .sum();
    assert!((sum - 144_857.694_835_258_85).abs() < 1e-7, "sum of distances {sum}");
    let rounded: f64 = found.distance.iter().map(|&distance| distance as f64).sum();
    assert!((rounded - sum).abs() < 1e-2, "sum of rounded distances {rounded}");
}

/// The first picks of the peers' coreset benchmark, computed by PyTorch on `features(50000, 1536, 11)`.
#[test]
fn the_first_picks_of_fifty_thousand_wide_rows_match_the_reference() {
    let rows = Matrix::new(features(50_000, 1536, 11), 1536);
    let picks = greedy(&[rows.view()], 10, &Start::Row(0)).expect("a coreset");
    assert_eq!(picks, [0, 21523, 40312, 30380, 47654, 26691, 4081, 29278, 21515, 30234]);
}
