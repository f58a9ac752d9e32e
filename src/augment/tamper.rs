//! Changes of an image together with its mask, of which each image gets three: after albumentations, in arithmetic of our own.

use super::{Affine, Colour, flip_columns, flip_rows, quarter_turns, transpose, warped};
use crate::data::decode::Pixels;
use crate::random::Stream;

/// A change of an image with its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A turn by right angles.
    QuarterTurn,
    /// Of columns, of rows, or of both.
    Flip,
    /// Rows become columns.
    Transpose,
    /// On every value.
    Noise,
    /// Over three by three pixels.
    Blur,
    /// Shift, size and turn.
    Affine,
    /// Brightness and contrast.
    Light,
    /// Hue, saturation and value.
    Hue,
    /// That of a lens.
    Lens,
    /// Columns and rows of a grid become wider and narrower.
    Grid,
    /// Sharper, embossed, or brightness and contrast.
    Relief,
}

/// Those without distortions.
pub const EIGHT_CHANGES: &[Change] = &[
    Change::QuarterTurn,
    Change::Flip,
    Change::Transpose,
    Change::Noise,
    Change::Blur,
    Change::Affine,
    Change::Light,
    Change::Hue,
];

/// Ten, with distortions.
pub const ALL_CHANGES: &[Change] = &[
    Change::QuarterTurn,
    Change::Flip,
    Change::Transpose,
    Change::Lens,
    Change::Noise,
    Change::Blur,
    Change::Affine,
    Change::Grid,
    Change::Relief,
    Change::Hue,
];

/// Changes that an image is considered for.
const CHOSEN: usize = 3;

/// An image and its mask (one channel) after three different ones of these changes, drawn without preference. Each then happens
/// by its own chance: that of a lens always; quarter turn, flip, transposition 0.5; noise, blur, affine change, grid 0.2; those
/// of light, relief and hue 0.3.
pub fn three_changes(changes: &[Change], image: Pixels, mask: Pixels, draws: &mut Stream) -> (Pixels, Pixels) {
    let chosen = draws.choose(changes.len(), CHOSEN);
    chosen.into_iter().fold((image, mask), |(image, mask), number| {
        let chance = match changes[number] {
            Change::Lens => 1.0,
            Change::QuarterTurn | Change::Flip | Change::Transpose => 0.5,
            Change::Noise | Change::Blur | Change::Affine | Change::Grid => 0.2,
            Change::Light | Change::Relief | Change::Hue => 0.3,
        };
        if draws.uniform() < chance { changes[number].apply(image, mask, draws) } else { (image, mask) }
    })
}

/// Uniform within ± `bound`.
fn within(bound: f64, draws: &mut Stream) -> f64 {
    (2.0 * draws.uniform() - 1.0) * bound
}

impl Change {
    /// The changed image and mask.
    fn apply(self, image: Pixels, mask: Pixels, draws: &mut Stream) -> (Pixels, Pixels) {
        let place = |change: &dyn Fn(&Pixels) -> Pixels| (change(&image), change(&mask));
        match self {
            Change::QuarterTurn => {
                let quarters = draws.below(4);
                place(&|image| quarter_turns(image, quarters))
            }
            Change::Flip => match draws.below(3) {
                0 => place(&flip_columns),
                1 => place(&flip_rows),
                _ => place(&|image| flip_rows(&flip_columns(image))),
            },
            Change::Transpose => place(&transpose),
            Change::Affine => {
                let shift = [within(0.0625, draws), within(0.0625, draws)];
                let affine = Affine { shift, scale: 1.0 + within(0.2, draws), degrees: within(45.0, draws) };
                (affine.apply(&image, false), affine.apply(&mask, true))
            }
            Change::Lens => {
                let lens = [within(1.0, draws), within(0.05, draws), within(0.05, draws)];
                (distorted(&image, false, lens), distorted(&mask, true, lens))
            }
            Change::Grid => {
                let axes = [(); 2].map(|()| [(); GRID].map(|()| 1.0 + within(0.3, draws)));
                (regridded(&image, false, &axes), regridded(&mask, true, &axes))
            }
            Change::Noise => (noisy(image, draws), mask),
            Change::Blur => (filtered(&image, [[1.0 / 9.0; 3]; 3]), mask),
            Change::Light => (relit(image, draws), mask),
            Change::Relief => (in_relief(image, draws), mask),
            Change::Hue => {
                // 20 of 180 degrees of OpenCV's hues, 30 and 20 of 255 levels.
                let (hue, saturation) = (within(20.0 / 180.0, draws), 1.0 + within(30.0 / 255.0, draws));
                let image = Colour::Saturation(saturation).apply(Colour::Hue(hue).apply(image));
                (Colour::Brightness(1.0 + within(20.0 / 255.0, draws)).apply(image), mask)
            }
        }
    }
}

/// Brightness and contrast times 1 ± 0.2.
fn relit(image: Pixels, draws: &mut Stream) -> Pixels {
    let [brightness, contrast] = [(); 2].map(|()| 1.0 + within(0.2, draws));
    Colour::Contrast(contrast).apply(Colour::Brightness(brightness).apply(image))
}

/// One of three: edges stronger, embossed from the upper left, or [`relit`].
fn in_relief(image: Pixels, draws: &mut Stream) -> Pixels {
    let kind = draws.below(3);
    if kind == 2 {
        return relit(image, draws);
    }
    let (share, strength) = (0.2 + 0.3 * draws.uniform(), 0.5 + 0.5 * draws.uniform());
    let s = 0.4 * strength + 0.3 * strength * strength; // 0.275 to 0.7
    let kernel = match kind {
        0 => [[-1.0, -1.0, -1.0], [-1.0, 8.0 + strength, -1.0], [-1.0, -1.0, -1.0]],
        _ => [[-1.0 - s, -s, 0.0], [-s, 1.0, s], [0.0, s, 1.0 + s]],
    };
    let mut mixed = kernel.map(|row: [f64; 3]| row.map(|value| share * value));
    mixed[1][1] += 1.0 - share;
    filtered(&image, mixed)
}

/// Radial distortion by k·(r² + r⁴) about a centre moved by shares of the sides; r is in widths and heights.
fn distorted(image: &Pixels, nearest: bool, [k, right, down]: [f64; 3]) -> Pixels {
    let sides = [image.width as f64, image.height as f64];
    let centre = [sides[0] * (0.5 + right), sides[1] * (0.5 + down)];
    warped(image, nearest, |place| {
        let [x, y] = std::array::from_fn(|axis| (place[axis] - centre[axis]) / sides[axis]);
        let square = x * x + y * y;
        let factor = 1.0 + k * square + k * square * square;
        [x * factor * sides[0] + centre[0], y * factor * sides[1] + centre[1]]
    })
}

/// Cells of a grid along an axis.
const GRID: usize = 5;

/// Columns and rows of a grid of equal cells are taken from cells this much wider, one after the other.
fn regridded(image: &Pixels, nearest: bool, axes: &[[f64; GRID]; 2]) -> Pixels {
    let sides = [image.width as f64, image.height as f64];
    warped(image, nearest, |place| {
        std::array::from_fn(|axis| {
            let cell = sides[axis] / GRID as f64;
            let number = ((place[axis] / cell) as usize).min(GRID - 1);
            let before: f64 = axes[axis][..number].iter().sum();
            cell * (before + axes[axis][number] * (place[axis] / cell - number as f64))
        })
    })
}

/// Normal noise on every value, its variance uniform in 10 to 50 squared levels.
fn noisy(mut image: Pixels, draws: &mut Stream) -> Pixels {
    let deviation = (10.0 + 40.0 * draws.uniform()).sqrt();
    let mut noise = vec![0.0; image.data.len()];
    draws.fill_normal(&mut noise, deviation);
    for (value, noise) in image.data.iter_mut().zip(noise) {
        *value = (f32::from(*value) + noise).round().clamp(0.0, 255.0) as u8;
    }
    image
}

/// Every channel under a kernel of three by three, pixels beyond the border being those at it.
fn filtered(image: &Pixels, kernel: [[f64; 3]; 3]) -> Pixels {
    let Pixels { width, height, channels, .. } = *image;
    let near = |place: usize, length: usize| [place.saturating_sub(1), place, (place + 1).min(length - 1)];
    let value = |index: usize| {
        let (place, channel) = (index / channels, index % channels);
        let (rows, columns) = (near(place / width, height), near(place % width, width));
        let weighed = rows.into_iter().zip(kernel).flat_map(|(row, weights)| {
            let at = move |column: usize| f64::from(image.data[(row * width + column) * channels + channel]);
            columns.into_iter().zip(weights).map(move |(column, weight)| weight * at(column))
        });
        weighed.sum::<f64>().round().clamp(0.0, 255.0) as u8
    };
    Pixels { width, height, channels, data: (0..image.data.len()).map(value).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn image_and_mask_go_the_same_way_and_equal_draws_give_equal_images() {
        let side = 16;
        let mask: Vec<u8> =
            (0..side * side).map(|place| if place % side < 5 && place / side < 7 { 255 } else { 0 }).collect();
        let image =
            Pixels { width: side, height: side, channels: 3, data: mask.iter().flat_map(|&m| [m; 3]).collect() };
        let mask = Pixels { width: side, height: side, channels: 1, data: mask };
        for (changes, allowed) in [(EIGHT_CHANGES, 12), (ALL_CHANGES, 24)] {
            let mut different = 0;
            for index in 0..200 {
                let run = || {
                    let mut draws = stream(0, Purpose::Augmentation, index);
                    three_changes(changes, image.clone(), mask.clone(), &mut draws)
                };
                let (changed, moved) = run();
                assert_eq!((&changed, &moved), (&run().0, &run().1));
                assert!(moved.data.iter().all(|&value| value == 0 || value == 255));
                let bright = changed.data.chunks(3).map(|pixel| pixel[0] > 127);
                let wrong = bright.zip(&moved.data).filter(|(bright, mask)| *bright != (**mask == 255)).count();
                assert!(wrong <= allowed, "{index}: {wrong} pixels on one side of the edge alone");
                different += usize::from(moved != mask);
            }
            assert!((60..190).contains(&different), "{different}");
        }
    }
}
