//! The colours that maps are shown in: from scores, by way of the range that is shown, to red, green and blue.

/// Shares of scores that have the darkest and the brightest colour where maps are shown.
const SHOWN: (f64, f64) = (0.02, 0.998);

/// The scores of the darkest and the brightest colour where maps of these `scores` are shown side by side.
///
/// # Panics
/// When there is no score.
pub fn shown_range(scores: &[f32]) -> (f64, f64) {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let ranked = |share: f64| f64::from(sorted[((sorted.len() - 1) as f64 * share).round() as usize]);
    (ranked(SHOWN.0), ranked(SHOWN.1))
}

/// Where a score lies in a range that is shown, from 0 at the darkest colour to 1 at the brightest.
pub fn shown_share(score: f32, (low, high): (f64, f64)) -> f64 {
    let span = (high - low).max(f64::MIN_POSITIVE);
    ((f64::from(score) - low) / span).clamp(0.0, 1.0)
}

/// A map in colours: R, G, B of each pixel.
pub fn coloured(map: &[f32], shown: (f64, f64)) -> Vec<u8> {
    map.iter().flat_map(|&score| heat(shown_share(score, shown))).collect()
}

/// Heat of a share in [0, 1]: dark blue, green, yellow in even steps of lightness (the knots of Viridis).
pub fn heat(share: f64) -> [u8; 3] {
    const KNOTS: [[f64; 3]; 9] = [
        [68.0, 1.0, 84.0],
        [71.0, 44.0, 122.0],
        [59.0, 81.0, 139.0],
        [44.0, 113.0, 142.0],
        [33.0, 144.0, 141.0],
        [39.0, 173.0, 129.0],
        [92.0, 200.0, 99.0],
        [170.0, 220.0, 50.0],
        [253.0, 231.0, 37.0],
    ];
    let place = share.clamp(0.0, 1.0) * (KNOTS.len() - 1) as f64;
    let low = (place as usize).min(KNOTS.len() - 2);
    let part = place - low as f64;
    std::array::from_fn(|c| (KNOTS[low][c] * (1.0 - part) + KNOTS[low + 1][c] * part).round() as u8)
}
