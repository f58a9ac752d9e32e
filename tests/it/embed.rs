//! Rows as points of a plane: principal components and t-SNE.

use dmad::embed::{Embedded, Hyperparameters, principal_components, tsne};
use dmad::matrix::Rows;
use dmad::random::{Purpose, stream};

/// Rows that vary by 3, 2 and 0.1 along known directions of five dimensions.
fn rows(count: usize) -> Vec<f32> {
    let mut draws = vec![0.0f32; count * 3];
    stream(1, Purpose::FeatureNoise, 0).fill_normal(&mut draws, 1.0);
    draws
        .chunks_exact(3)
        .flat_map(|d| {
            let (a, b, c) = (3.0 * d[0], 2.0 * d[1], 0.1 * d[2]);
            [1.0 + 0.6 * a + 0.8 * b, 0.8 * a - 0.6 * b, c, 5.0, 0.0]
        })
        .collect()
}

#[test]
fn components_are_the_directions_in_which_rows_vary() {
    let data = rows(4000);
    let found = principal_components(Rows::new(&data, 5), 3, 0);
    for (component, spread) in [3.0, 2.0, 0.1].into_iter().enumerate() {
        let values: Vec<f64> = (0..4000).map(|row| f64::from(found.rows.view().row(row)[component])).collect();
        let deviation = (values.iter().map(|value| value * value).sum::<f64>() / 4000.0).sqrt();
        assert!((deviation / spread - 1.0).abs() < 0.05, "component {component} has a spread of {deviation}");
    }
    assert!((found.explained - 1.0).abs() < 1e-9, "explained {}", found.explained);
}

#[test]
fn distances_stay_when_all_components_are_kept() {
    let data = rows(50);
    let (before, found) = (Rows::new(&data, 5), principal_components(Rows::new(&data, 5), 5, 0));
    let after = found.rows.view();
    let squared = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
    for pair in [(0, 1), (3, 40), (17, 18)] {
        let (old, new) =
            (squared(before.row(pair.0), before.row(pair.1)), squared(after.row(pair.0), after.row(pair.1)));
        assert!((old - new).abs() < 1e-4 * old, "{pair:?}: {old} became {new}");
    }
}

/// Three clouds of 40 rows in 20 dimensions, their centres 20 deviations apart.
fn clouds() -> Vec<f32> {
    let mut data = vec![0.0f32; 120 * 20];
    stream(3, Purpose::FeatureNoise, 0).fill_normal(&mut data, 1.0);
    for (number, row) in data.chunks_exact_mut(20).enumerate() {
        row[number / 40] += 20.0;
    }
    data
}

fn embedded(threads: usize) -> Embedded {
    let data = clouds();
    let wanted = Hyperparameters { perplexity: 10.0, epochs: 300, seed: 5 };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| tsne(Rows::new(&data, 20), &wanted, &|_, _| {})).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn separated_clouds_stay_separated() {
    let found = embedded(1);
    let squared = |a: usize, b: usize| {
        (found.points[a][0] - found.points[b][0]).powi(2) + (found.points[a][1] - found.points[b][1]).powi(2)
    };
    for own in 0..120 {
        let nearest =
            (0..120).filter(|&other| other != own).min_by(|&a, &b| squared(own, a).total_cmp(&squared(own, b)));
        assert_eq!(nearest.map(|other| other / 40), Some(own / 40), "row {own} has left its cloud");
    }
    assert!(found.divergence > 0.0 && found.divergence < 1.0, "KL divergence {}", found.divergence);
}

#[test]
fn the_plane_repeats_to_the_bit_with_one_and_two_threads() {
    let (one, two) = (embedded(1), embedded(2));
    let bits = |found: &Embedded| found.points.iter().flatten().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&one), bits(&two));
    assert_eq!(one.divergence.to_bits(), two.divergence.to_bits());
}

#[test]
fn identical_rows_are_no_obstacle() {
    let data = vec![1.0f32; 30 * 4];
    let wanted = Hyperparameters { perplexity: 30.0, epochs: 60, seed: 0 };
    let found = tsne(Rows::new(&data, 4), &wanted, &|_, _| {});
    assert!(found.is_ok_and(|found| found.points.len() == 30 && found.perplexity < 10.0));
}
