//! Changes of colour, as Pillow's `ImageEnhance` and torchvision's `adjust_hue` make them on bytes.

use crate::data::decode::Pixels;

/// One change of colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Colour {
    /// Towards black (below 1) or away from it.
    Brightness(f64),
    /// Towards the image's mean grey or away from it.
    Contrast(f64),
    /// Towards each pixel's own grey or away from it.
    Saturation(f64),
    /// Shift of the hue as a share of the circle.
    Hue(f64),
}

impl Colour {
    /// The changed image; one of one channel has no colours and stays.
    pub fn apply(self, mut image: Pixels) -> Pixels {
        if image.channels != 3 {
            return image;
        }
        let pixels = image.data.as_chunks_mut::<3>().0;
        match self {
            Colour::Brightness(factor) => pixels.iter_mut().for_each(|pixel| blend(pixel, 0, factor)),
            Colour::Contrast(factor) => {
                let sum: u64 = pixels.iter().map(|pixel| u64::from(luma(pixel))).sum();
                let mean = (sum as f64 / pixels.len().max(1) as f64 + 0.5) as u8;
                pixels.iter_mut().for_each(|pixel| blend(pixel, mean, factor));
            }
            Colour::Saturation(factor) => pixels.iter_mut().for_each(|pixel| blend(pixel, luma(pixel), factor)),
            Colour::Hue(share) => {
                // Cut to a whole number and wrapped into a byte.
                let shift = (share * 255.0) as i64 as u8;
                pixels.iter_mut().for_each(|pixel| *pixel = turned(*pixel, shift));
            }
        }
        image
    }
}

/// Four changes in a drawn order: what torchvision's `ColorJitter` does with the same range for all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter(pub [Colour; 4]);

impl Jitter {
    /// Factors within 1 ± `range` and a shift of the hue within ± `range`, from eight uniforms in [0, 1): four whose ranks
    /// are the order, then one for each of brightness, contrast, saturation, hue.
    pub fn new(range: f64, uniforms: [f64; 8]) -> Jitter {
        let [order @ .., brightness, contrast, saturation, hue] = uniforms;
        let factor = |uniform: f64| 1.0 - range + 2.0 * range * uniform;
        let changes = [
            Colour::Brightness(factor(brightness)),
            Colour::Contrast(factor(contrast)),
            Colour::Saturation(factor(saturation)),
            Colour::Hue(2.0 * range * hue - range),
        ];
        let mut places = [0, 1, 2, 3];
        places.sort_by(|&a: &usize, &b| order[a].total_cmp(&order[b]));
        Jitter(places.map(|place| changes[place]))
    }

    /// The changed image.
    pub fn apply(&self, image: Pixels) -> Pixels {
        self.0.iter().fold(image, |image, change| change.apply(image))
    }
}

/// ITU-R 601 grey, in whole numbers.
fn luma(&[red, green, blue]: &[u8; 3]) -> u8 {
    ((19595 * u32::from(red) + 38470 * u32::from(green) + 7471 * u32::from(blue) + 32768) >> 16) as u8
}

/// Away from `other` by a factor, cut to a byte.
fn blend(pixel: &mut [u8; 3], other: u8, factor: f64) {
    let (other, factor) = (f32::from(other), factor as f32);
    for value in pixel {
        *value = (other + factor * (f32::from(*value) - other)) as u8;
    }
}

/// The hue in bytes turned by `shift` 255ths of the circle, wrapping at 256 as bytes do.
fn turned(pixel: [u8; 3], shift: u8) -> [u8; 3] {
    let [hue, saturation, value] = to_hsv(pixel);
    to_rgb([hue.wrapping_add(shift), saturation, value])
}

fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let (highest, lowest) = (red.max(green).max(blue), red.min(green).min(blue));
    if highest == lowest {
        return [0, 0, highest];
    }
    let range = f32::from(highest - lowest);
    let saturation = range / f32::from(highest);
    let below = |value: u8| f32::from(highest - value) / range;
    let sixth = match highest {
        _ if red == highest => below(blue) - below(green),
        _ if green == highest => (2.0 + f64::from(below(red)) - f64::from(below(blue))) as f32,
        _ => (4.0 + f64::from(below(green)) - f64::from(below(red))) as f32,
    };
    let hue = (f64::from(sixth) / 6.0 + 1.0) % 1.0;
    [(f64::from(hue as f32) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, highest]
}

fn to_rgb([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let place = f64::from(hue) * 6.0 / 255.0;
    let (sixth, rest) = (place.floor(), f64::from((place - place.floor()) as f32));
    let share = f64::from((f64::from(saturation) / 255.0) as f32);
    let part = |darker: f64| (f64::from(value) * (1.0 - darker)).round() as u8;
    let (low, falling, rising) = (part(share), part(share * rest), part(share * (1.0 - rest)));
    match sixth as u32 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_by_nothing_change_nothing_and_greys_have_no_hue() {
        let data: Vec<u8> = (0..=254).flat_map(|value| [value, 255 - value, value / 2]).collect();
        let image = Pixels { width: 255, height: 1, channels: 3, data };
        for change in [Colour::Brightness(1.0), Colour::Contrast(1.0), Colour::Saturation(1.0)] {
            assert_eq!(change.apply(image.clone()), image);
        }
        let grey = Pixels { width: 1, height: 1, channels: 3, data: vec![70; 3] };
        assert_eq!(Colour::Hue(0.3).apply(grey.clone()), grey);
        assert_eq!(Colour::Hue(1.0 / 3.0).apply(Pixels { data: vec![200, 0, 0], ..grey }).data, [0, 200, 0]);
    }
}
