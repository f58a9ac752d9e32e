//! Amplitudes of low frequencies of one image mixed into another (Yang and Soatto 2020), phases kept.
//!
//! Only the coefficients of a small square of frequencies change, so only these are computed, as sums for any side, and what
//! they change is added to the image: the rest of a transform there and back would be its identity.

/// Cosine and sine of every frequency `0..=highest` at every place of a row: frequency by frequency.
struct Waves {
    side: usize,
    highest: usize,
    cos: Vec<f64>,
    sin: Vec<f64>,
}

/// Complex coefficients, rows of `highest + 1` horizontal frequencies.
struct Spectrum {
    real: Vec<f64>,
    imaginary: Vec<f64>,
}

impl Waves {
    fn new(side: usize, highest: usize) -> Waves {
        let circle: Vec<(f64, f64)> = (0..side)
            .map(|step| {
                let (sin, cos) = (std::f64::consts::TAU * step as f64 / side as f64).sin_cos();
                (cos, sin)
            })
            .collect();
        let places = (0..=highest).flat_map(|frequency| (0..side).map(move |place| frequency * place % side));
        let (cos, sin) = places.map(|step| circle[step]).unzip();
        Waves { side, highest, cos, sin }
    }

    /// e^(2πi · frequency · place / side).
    fn at(&self, frequency: isize, place: usize) -> (f64, f64) {
        let index = frequency.unsigned_abs() * self.side + place;
        (self.cos[index], if frequency < 0 { -self.sin[index] } else { self.sin[index] })
    }

    /// Vertical frequencies, in the order of a spectrum's rows.
    fn vertical(&self) -> impl Iterator<Item = isize> + use<> {
        -(self.highest as isize)..=self.highest as isize
    }

    /// The low coefficients of a plane, side × side values: vertical frequencies `-highest..=highest`, horizontal ones from 0
    /// (the others are their conjugates).
    fn spectrum(&self, plane: &[f64]) -> Spectrum {
        let width = self.highest + 1;
        let zeros = || vec![0.0; (2 * self.highest + 1) * width];
        let mut sums = Spectrum { real: zeros(), imaginary: zeros() };
        let (mut real, mut imaginary) = (vec![0.0; width], vec![0.0; width]);
        for (row, values) in plane.chunks_exact(self.side).enumerate() {
            real.fill(0.0);
            imaginary.fill(0.0);
            for frequency in 0..width {
                let waves = frequency * self.side..(frequency + 1) * self.side;
                real[frequency] = product(values, &self.cos[waves.clone()]);
                imaginary[frequency] = -product(values, &self.sin[waves]);
            }
            for (line, vertical) in self.vertical().enumerate() {
                let ((cos, sin), line) = (self.at(-vertical, row), line * width);
                for column in 0..width {
                    sums.real[line + column] += real[column] * cos - imaginary[column] * sin;
                    sums.imaginary[line + column] += real[column] * sin + imaginary[column] * cos;
                }
            }
        }
        sums
    }

    /// Adds the plane that has these coefficients, and their conjugates, and no others.
    fn add(&self, plane: &mut [f64], spectrum: &Spectrum) {
        let (width, count) = (self.highest + 1, (self.side * self.side) as f64);
        for (row, values) in plane.chunks_exact_mut(self.side).enumerate() {
            for column in 0..width {
                let (mut real, mut imaginary) = (0.0, 0.0);
                for (line, vertical) in self.vertical().enumerate() {
                    let ((cos, sin), place) = (self.at(vertical, row), line * width + column);
                    real += spectrum.real[place] * cos - spectrum.imaginary[place] * sin;
                    imaginary += spectrum.real[place] * sin + spectrum.imaginary[place] * cos;
                }
                let twins = if column == 0 { 1.0 } else { 2.0 };
                let (real, imaginary) = (twins * real / count, twins * imaginary / count);
                let waves = column * self.side..(column + 1) * self.side;
                for ((value, cos), sin) in values.iter_mut().zip(&self.cos[waves.clone()]).zip(&self.sin[waves]) {
                    *value += real * cos - imaginary * sin;
                }
            }
        }
    }
}

/// Sum of products, in an order that fits vectors and never changes.
fn product(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f64>()
}

/// Mixes amplitudes of square planes of a common side: those of vertical and horizontal frequencies up to `share` of the side
/// (rounded down) become λ times those of the texture and 1 − λ times the image's own; phases stay.
pub struct AmplitudeMix {
    waves: Waves,
}

impl AmplitudeMix {
    /// For planes of `side` × `side` values.
    pub fn new(side: usize, share: f64) -> AmplitudeMix {
        let highest = ((side as f64 * share) as usize).min(side.saturating_sub(1) / 2);
        AmplitudeMix { waves: Waves::new(side, highest) }
    }

    /// The mixed plane, which may leave the range of either.
    pub fn apply(&self, plane: &[f64], texture: &[f64], lambda: f64) -> Vec<f64> {
        let (own, other) = (self.waves.spectrum(plane), self.waves.spectrum(texture));
        let change = |place: usize| {
            let (real, imaginary) = (own.real[place], own.imaginary[place]);
            let (amplitude, wanted) = (real.hypot(imaginary), other.real[place].hypot(other.imaginary[place]));
            let change = lambda * (wanted - amplitude);
            match amplitude > 0.0 {
                true => (real / amplitude * change, imaginary / amplitude * change),
                false => (change, 0.0),
            }
        };
        let (real, imaginary) = (0..own.real.len()).map(change).unzip();
        let mut mixed = plane.to_vec();
        self.waves.add(&mut mixed, &Spectrum { real, imaginary });
        mixed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    fn plane(side: usize, index: u64) -> Vec<f64> {
        let mut draws = stream(0, Purpose::Augmentation, index);
        (0..side * side).map(|_| 255.0 * draws.uniform()).collect()
    }

    fn mean(plane: &[f64]) -> f64 {
        plane.iter().sum::<f64>() / plane.len() as f64
    }

    #[test]
    fn nothing_mixed_in_is_the_image_and_means_mix_as_amplitudes_do() {
        for side in [20, 33, 64] {
            let (mix, own, other) = (AmplitudeMix::new(side, 0.1), plane(side, 1), plane(side, 2));
            let same = mix.apply(&own, &other, 0.0);
            assert!(own.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-9));
            let mixed = mix.apply(&own, &other, 0.3);
            assert!((mean(&mixed) - 0.3 * mean(&other) - 0.7 * mean(&own)).abs() < 1e-9);
        }
    }

    /// Amplitude and phase of one coefficient, from its definition.
    fn coefficient(plane: &[f64], side: usize, down: usize, across: usize) -> (f64, f64) {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (place, value) in plane.iter().enumerate() {
            let turns = (down * (place / side) + across * (place % side)) as f64 / side as f64;
            let (sin, cos) = (std::f64::consts::TAU * turns).sin_cos();
            real += value * cos;
            imaginary -= value * sin;
        }
        (real.hypot(imaginary), imaginary.atan2(real))
    }

    #[test]
    fn low_amplitudes_are_mixed_others_and_all_phases_stay() {
        let (side, lambda) = (24, 0.6);
        let (own, other) = (plane(side, 3), plane(side, 4));
        let mixed = AmplitudeMix::new(side, 0.1).apply(&own, &other, lambda);
        // Two is the highest; 22 stands for -2.
        for (down, across, low) in [(0, 0, true), (2, 1, true), (22, 2, true), (1, 22, true), (3, 0, false)] {
            let [(own, phase), (other, _), (mixed, kept)] =
                [&own, &other, &mixed].map(|plane| coefficient(plane, side, down, across));
            let expected = if low { lambda * other + (1.0 - lambda) * own } else { own };
            assert!((mixed - expected).abs() < 1e-7 && (phase - kept).abs() < 1e-9, "{down}, {across}");
        }
    }
}
