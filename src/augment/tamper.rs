//! Changes of an image together with its mask, of which each image gets three: a subset of those that albumentations has.

use super::{Affine, Colour, flip_columns, flip_rows, quarter_turns, transpose};
use crate::data::decode::Pixels;
use crate::random::Stream;

/// Changes there are.
const CHANGES: usize = 8;
/// Changes that an image is considered for.
const CHOSEN: usize = 3;

/// An image and its mask (one channel) after three different ones of eight changes, drawn without order of preference. Each
/// then happens by its own chance: quarter turn, flip, transposition 0.5; noise, blur, affine change 0.2; brightness with
/// contrast, hue with saturation and value 0.3.
pub fn three_of_eight(image: Pixels, mask: Pixels, draws: &mut Stream) -> (Pixels, Pixels) {
    let chosen = draws.choose(CHANGES, CHOSEN);
    chosen.into_iter().fold((image, mask), |(image, mask), change| {
        let chance = match change {
            0..=2 => 0.5,
            3..=5 => 0.2,
            _ => 0.3,
        };
        if draws.uniform() < chance { changed(change, image, mask, draws) } else { (image, mask) }
    })
}

/// Uniform within ± `bound`.
fn within(bound: f64, draws: &mut Stream) -> f64 {
    (2.0 * draws.uniform() - 1.0) * bound
}

fn changed(change: usize, image: Pixels, mask: Pixels, draws: &mut Stream) -> (Pixels, Pixels) {
    let place = |change: &dyn Fn(&Pixels) -> Pixels| (change(&image), change(&mask));
    match change {
        0 => {
            let quarters = draws.below(4);
            place(&|image| quarter_turns(image, quarters))
        }
        1 => match draws.below(3) {
            0 => place(&flip_columns),
            1 => place(&flip_rows),
            _ => place(&|image| flip_rows(&flip_columns(image))),
        },
        2 => place(&transpose),
        3 => (noisy(image, draws), mask),
        4 => (blurred(&image), mask),
        5 => {
            let shift = [within(0.0625, draws), within(0.0625, draws)];
            let affine = Affine { shift, scale: 1.0 + within(0.2, draws), degrees: within(45.0, draws) };
            (affine.apply(&image, false), affine.apply(&mask, true))
        }
        6 => {
            let [brightness, contrast] = [(); 2].map(|()| 1.0 + within(0.2, draws));
            (Colour::Contrast(contrast).apply(Colour::Brightness(brightness).apply(image)), mask)
        }
        _ => {
            // 20 of 180 degrees of OpenCV's hues, 30 and 20 of 255 levels.
            let (hue, saturation) = (within(20.0 / 180.0, draws), 1.0 + within(30.0 / 255.0, draws));
            let image = Colour::Saturation(saturation).apply(Colour::Hue(hue).apply(image));
            (Colour::Brightness(1.0 + within(20.0 / 255.0, draws)).apply(image), mask)
        }
    }
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

/// The mean of three by three pixels, those beyond the border being those at it.
fn blurred(image: &Pixels) -> Pixels {
    let Pixels { width, height, channels, .. } = *image;
    let near = |place: usize, length: usize| {
        [place.saturating_sub(1), place, (place + 1).min(length - 1)].map(|place| place.min(length - 1))
    };
    let value = |index: usize| {
        let (place, channel) = (index / channels, index % channels);
        let (rows, columns) = (near(place / width, height), near(place % width, width));
        let sum: u32 = rows
            .into_iter()
            .flat_map(|row| columns.map(|column| u32::from(image.data[(row * width + column) * channels + channel])))
            .sum();
        ((sum + 4) / 9) as u8
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
        let mut different = 0;
        for index in 0..200 {
            let run = || {
                let mut draws = stream(0, Purpose::Augmentation, index);
                three_of_eight(image.clone(), mask.clone(), &mut draws)
            };
            let (changed, moved) = run();
            assert_eq!((&changed, &moved), (&run().0, &run().1));
            assert!(moved.data.iter().all(|&value| value == 0 || value == 255));
            let bright = changed.data.chunks(3).map(|pixel| pixel[0] > 127);
            let wrong = bright.zip(&moved.data).filter(|(bright, mask)| *bright != (**mask == 255)).count();
            assert!(wrong <= 12, "{index}: {wrong} pixels on one side of the edge alone");
            different += usize::from(moved != mask);
        }
        assert!((60..180).contains(&different), "{different}");
    }
}
