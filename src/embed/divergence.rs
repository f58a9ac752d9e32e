//! How far the neighbourhoods of a plane are from those of the rows: the cost that t-SNE lowers, from its definition.
//!
//! `bhtsne` offers this number too, but up to 0.7.13 it weighs every edge of a point by one and the same probability.

use rayon::prelude::*;

/// Kullback–Leibler divergence, in nats, of the plane's Student-t neighbourhoods from the rows' Gaussian ones, whose
/// bandwidths give `perplexity`. `neighbours` are numbers and distances of each row's nearest rows; others count nothing.
/// The normaliser of the plane is exact.
pub fn divergence(points: &[[f64; 2]], neighbours: &[Vec<(usize, f64)>], perplexity: f64) -> f64 {
    let closeness = |a: [f64; 2], b: [f64; 2]| 1.0 / (1.0 + (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2));
    // One sum per point; they are added up in order.
    let sums: Vec<f64> =
        points.par_iter().map(|&a| points.iter().map(|&b| closeness(a, b)).sum::<f64>() - 1.0).collect();
    let normaliser: f64 = sums.iter().sum();
    let share = 0.5 / points.len() as f64;
    let mut edges: Vec<(usize, usize, f64)> = Vec::new();
    for (own, list) in neighbours.iter().enumerate() {
        let distances: Vec<f64> = list.iter().map(|(_, distance)| *distance).collect();
        for ((other, _), probability) in list.iter().zip(conditional(&distances, perplexity)) {
            edges.push((own, *other, share * probability));
            edges.push((*other, own, share * probability));
        }
    }
    edges.sort_by_key(|&(from, to, _)| (from, to));
    edges
        .chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
        .map(|same| {
            let p: f64 = same.iter().map(|edge| edge.2).sum();
            let q = closeness(points[same[0].0], points[same[0].1]) / normaliser;
            if p > 0.0 { p * (p / q).ln() } else { 0.0 }
        })
        .sum()
}

/// Probabilities of the neighbours under the Gaussian whose entropy is that of `perplexity` equal ones, by bisection.
fn conditional(distances: &[f64], perplexity: f64) -> Vec<f64> {
    let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let excess: Vec<f64> = distances.iter().map(|d| d * d - nearest * nearest).collect();
    let (mut low, mut high, mut precision) = (0.0, f64::INFINITY, 1.0);
    let mut probabilities = Vec::new();
    for _ in 0..200 {
        let weights: Vec<f64> = excess.iter().map(|e| (-precision * e).exp()).collect();
        let total: f64 = weights.iter().sum();
        probabilities = weights.into_iter().map(|weight| weight / total).collect();
        let mean: f64 = probabilities.iter().zip(&excess).map(|(p, e)| p * e).sum();
        let surplus = total.ln() + precision * mean - perplexity.ln();
        if surplus.abs() < 1e-6 {
            break;
        }
        if surplus > 0.0 {
            low = precision;
            precision = if high.is_finite() { (low + high) / 2.0 } else { precision * 2.0 };
        } else {
            high = precision;
            precision = (low + high) / 2.0;
        }
        if !precision.is_finite() || precision > 1e300 {
            break; // equal distances have one entropy, whatever the bandwidth
        }
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_have_the_asked_perplexity() {
        let distances: Vec<f64> = (1..=30).map(|i| f64::from(i) * 0.3).collect();
        let found = conditional(&distances, 8.0);
        let entropy: f64 = found.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        assert!((entropy.exp() - 8.0).abs() < 1e-4, "perplexity {}", entropy.exp());
        assert!(found.is_sorted_by(|a, b| a >= b), "{found:?}");
    }

    #[test]
    fn three_points_that_lie_as_their_rows_do_have_the_value_of_the_definition() {
        // An equilateral triangle: all p = 1/6, all q = 1/6.
        let corner = 3f64.sqrt() / 2.0;
        let neighbours = vec![vec![(1, 1.0), (2, 1.0)], vec![(0, 1.0), (2, 1.0)], vec![(0, 1.0), (1, 1.0)]];
        assert!(divergence(&[[0.0, 0.0], [1.0, 0.0], [0.5, corner]], &neighbours, 2.0).abs() < 1e-12);
        // On a line, q of the outer pair is 1/5 of the closeness against 1/2 of the inner ones.
        let on_a_line = divergence(&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], &neighbours, 2.0);
        let total = 2.0 * (0.5 + 0.5 + 0.2);
        let expected =
            (4.0 * ((1.0f64 / 6.0) / (0.5 / total)).ln() + 2.0 * ((1.0f64 / 6.0) / (0.2 / total)).ln()) / 6.0;
        assert!((on_a_line - expected).abs() < 1e-12, "{on_a_line}, expected {expected}");
    }
}
