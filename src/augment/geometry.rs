//! Changes of place: flips and turns.

use crate::data::decode::Pixels;

/// An image of `width` × `height` whose pixels are those of `image` at `source(row, column)`; black where that is none.
fn moved(
    image: &Pixels,
    width: usize,
    height: usize,
    source: impl Fn(usize, usize) -> Option<(usize, usize)>,
) -> Pixels {
    let channels = image.channels;
    let mut data = vec![0; width * height * channels];
    for (place, pixel) in data.chunks_exact_mut(channels).enumerate() {
        if let Some((row, column)) = source(place / width, place % width) {
            pixel.copy_from_slice(&image.data[(row * image.width + column) * channels..][..channels]);
        }
    }
    Pixels { width, height, channels, data }
}

/// Left becomes right.
pub fn flip_columns(image: &Pixels) -> Pixels {
    moved(image, image.width, image.height, |row, column| Some((row, image.width - 1 - column)))
}

/// Top becomes bottom.
pub fn flip_rows(image: &Pixels) -> Pixels {
    moved(image, image.width, image.height, |row, column| Some((image.height - 1 - row, column)))
}

/// Rows become columns.
pub fn transpose(image: &Pixels) -> Pixels {
    moved(image, image.height, image.width, |row, column| Some((column, row)))
}

/// A shift, a change of size and a turn about the centre, in one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Degrees counter-clockwise.
    pub degrees: f64,
    /// Factor of the size.
    pub scale: f64,
    /// Shift to the right and down, as shares of the sides.
    pub shift: [f64; 2],
}

impl Affine {
    /// The changed image, of the same size; see [`warped`].
    pub fn apply(&self, image: &Pixels, nearest: bool) -> Pixels {
        let (width, height) = (image.width as f64, image.height as f64);
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let centre = [(width - 1.0) / 2.0, (height - 1.0) / 2.0];
        warped(image, nearest, |[x, y]| {
            let (x, y) = (x - centre[0] - self.shift[0] * width, y - centre[1] - self.shift[1] * height);
            [(cos * x - sin * y) / self.scale + centre[0], (sin * x + cos * y) / self.scale + centre[1]]
        })
    }
}

/// Turned counter-clockwise by so many degrees about half its width and height, which is half a pixel beyond its centre: the same
/// size, bilinear, mirrored about the outermost pixels beyond the border (AnomalyDINO's references).
pub fn turned_mirrored(image: &Pixels, degrees: f64) -> Pixels {
    let centre = [image.width as f64 / 2.0, image.height as f64 / 2.0];
    let (sin, cos) = degrees.to_radians().sin_cos();
    // Right angles are exact.
    let (sin, cos) = (to_fifteen_digits(sin), to_fifteen_digits(cos));
    warped(image, false, |[x, y]| {
        let (x, y) = (x - centre[0], y - centre[1]);
        [cos * x - sin * y + centre[0], sin * x + cos * y + centre[1]]
    })
}

/// An image of the same size whose pixel at [column, row] is that of `image` at `source` of it; beyond the border the image is
/// mirrored. Between pixels the values are bilinear, or those of the nearest pixel.
pub fn warped(image: &Pixels, nearest: bool, source: impl Fn([f64; 2]) -> [f64; 2]) -> Pixels {
    let Pixels { width, height, channels, .. } = *image;
    let mut data = Vec::with_capacity(image.data.len());
    for place in 0..width * height {
        let [x, y] = source([(place % width) as f64, (place / width) as f64]);
        for channel in 0..channels {
            let at = |row: f64, column: f64| {
                let (row, column) = (mirrored(row as i64, height), mirrored(column as i64, width));
                f64::from(image.data[(row * width + column) * channels + channel])
            };
            let value = if nearest {
                at(y.round(), x.round())
            } else {
                let (top, left) = (y.floor(), x.floor());
                let (down, across) = (y - top, x - left);
                let line = |row: f64| at(row, left) * (1.0 - across) + at(row, left + 1.0) * across;
                line(top) * (1.0 - down) + line(top + 1.0) * down
            };
            data.push(value.round() as u8);
        }
    }
    Pixels { width, height, channels, data }
}

/// Where a place beyond `0..length` falls when the row is mirrored about its outermost pixels.
fn mirrored(place: i64, length: usize) -> usize {
    let period = (2 * length as i64 - 2).max(1);
    let folded = place.rem_euclid(period);
    (if folded < length as i64 { folded } else { period - folded }) as usize
}

/// Turned counter-clockwise by so many quarters of a circle.
pub fn quarter_turns(image: &Pixels, quarters: usize) -> Pixels {
    let Pixels { width, height, .. } = *image;
    match quarters % 4 {
        0 => image.clone(),
        1 => moved(image, height, width, |row, column| Some((column, width - 1 - row))),
        2 => moved(image, width, height, |row, column| Some((height - 1 - row, width - 1 - column))),
        _ => moved(image, height, width, |row, column| Some((height - 1 - column, row))),
    }
}

/// Turned counter-clockwise about the centre by so many degrees, as Pillow's `rotate` does it: the same size, the nearest
/// pixel, black where there is none. Places are counted in 65,536ths of a pixel, rounded once per image and added up.
pub fn rotate(image: &Pixels, degrees: f64) -> Pixels {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let (across, down) = (to_fifteen_digits(angle.cos()), to_fifteen_digits(angle.sin()));
    let (x, y) = (image.width as f64 / 2.0, image.height as f64 / 2.0);
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    // Where the centre of the first pixel comes from, and how far from it those of its neighbours do.
    let first_x = x - across * x - down * y + 0.5 * (across + down);
    let first_y = y + down * x - across * y + 0.5 * (across - down);
    let (first_x, first_y, across, down, up) =
        (fixed(first_x), fixed(first_y), fixed(across), fixed(down), fixed(-down));
    moved(image, image.width, image.height, |row, column| {
        let (row, column) = (row as i64, column as i64);
        let from_x = (first_x + column * across + row * down) >> 16;
        let from_y = (first_y + column * up + row * across) >> 16;
        let inside = (0..image.width as i64).contains(&from_x) && (0..image.height as i64).contains(&from_y);
        inside.then_some((from_y as usize, from_x as usize))
    })
}

/// Rounded as Pillow rounds sine and cosine, so that right angles are exact.
fn to_fifteen_digits(value: f64) -> f64 {
    (value * 1e15).round() / 1e15
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: usize, height: usize) -> Pixels {
        let data = (0..width * height * 3).map(|value| (value * 7 % 251) as u8).collect();
        Pixels { width, height, channels: 3, data }
    }

    #[test]
    fn flips_and_turns_undo_each_other() {
        let image = image(5, 4);
        assert_eq!(flip_columns(&flip_columns(&image)), image);
        assert_eq!(flip_rows(&flip_columns(&image)), quarter_turns(&image, 2));
        assert_eq!(quarter_turns(&quarter_turns(&image, 1), 3), image);
        assert_ne!(quarter_turns(&image, 1), quarter_turns(&image, 3));
    }

    #[test]
    fn a_turn_by_right_angles_is_exact() {
        let image = image(6, 6);
        assert_eq!(rotate(&image, 0.0), image);
        assert_eq!(rotate(&image, 90.0), quarter_turns(&image, 1));
        assert_eq!(rotate(&image, -180.0), quarter_turns(&image, 2));
    }

    #[test]
    fn a_mirrored_turn_by_half_a_circle_is_a_turn_shifted_by_a_pixel() {
        let image = image(6, 5);
        assert_eq!(turned_mirrored(&image, 0.0), image);
        let (turned, expected) = (turned_mirrored(&image, 180.0), quarter_turns(&image, 2));
        // Column 6 − x of row 5 − y: what is there at x > 0, y > 0 stands at x − 1, y − 1 of the exact turn.
        for (row, column) in [(1, 1), (2, 3), (4, 5)] {
            let at = |image: &Pixels, row: usize, column: usize| image.data[(row * 6 + column) * 3];
            assert_eq!(at(&turned, row, column), at(&expected, row - 1, column - 1));
        }
        assert_ne!(turned_mirrored(&image, 45.0), turned_mirrored(&image, 315.0));
    }

    #[test]
    fn an_affine_change_by_a_right_angle_or_by_nothing_is_exact() {
        let image = image(6, 6);
        let turn = |degrees: f64| Affine { degrees, scale: 1.0, shift: [0.0; 2] };
        for nearest in [true, false] {
            assert_eq!(turn(0.0).apply(&image, nearest), image);
            assert_eq!(turn(90.0).apply(&image, nearest), quarter_turns(&image, 1));
        }
        let shifted = Affine { degrees: 0.0, scale: 1.0, shift: [1.0 / 6.0, 0.0] }.apply(&image, true);
        assert_eq!(shifted.data[3..6], image.data[..3], "one pixel to the right");
        assert_eq!(shifted.data[..3], image.data[3..6], "mirrored about the outermost pixel");
        assert_eq!(transpose(&transpose(&image)), image);
    }
}
