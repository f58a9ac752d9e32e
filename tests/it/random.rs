//! Named streams of draws.

use dmad::random::{Purpose, stream};

#[test]
fn streams_are_pinned_and_independent() {
    let mut a = stream(0, Purpose::SeenAnomalies, 0);
    let first = [a.bits(), a.bits()];
    let mut b = stream(0, Purpose::SeenAnomalies, 0);
    assert_eq!(first, [b.bits(), b.bits()]);
    for other in [
        stream(1, Purpose::SeenAnomalies, 0),
        stream(0, Purpose::CoresetStart, 0),
        stream(0, Purpose::SeenAnomalies, 1),
    ] {
        let mut other = other;
        assert_ne!(first[0], other.bits());
    }
}

#[test]
fn choose_draws_distinct_numbers_and_a_whole_permutation_when_asked() {
    let mut s = stream(3, Purpose::CoresetStart, 0);
    let mut all = s.choose(50, 50);
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<_>>());
    let some = s.choose(1000, 10);
    assert_eq!(some.iter().collect::<std::collections::BTreeSet<_>>().len(), 10);
    assert!(some.iter().all(|&i| i < 1000));
}

#[test]
fn normal_draws_have_the_asked_spread() {
    let mut values = vec![0.0; 20_001];
    stream(0, Purpose::FeatureNoise, 0).fill_normal(&mut values, 0.25);
    let mean = values.iter().map(|&v| v as f64).sum::<f64>() / values.len() as f64;
    let var = values.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / values.len() as f64;
    assert!(mean.abs() < 0.01 && (var.sqrt() - 0.25).abs() < 0.005, "mean {mean}, sd {}", var.sqrt());
}
