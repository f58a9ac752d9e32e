//! The tools every synthetic image is painted with: points, colours, periodic waves, lattice noise, draws, the camera.
//!
//! Owns: arithmetic whose bits are the same on every machine. Only `+ − × ÷ sqrt floor` on `f32` are used, which
//! IEEE 754 rounds exactly; sines come from a pair of parabolas and noise from an integer hash, never from the
//! platform's mathematics library. Does not own: what is painted.

use crate::random::Stream;

/// Red, green and blue; 0 is black, 1 is full scale, display space.
pub type Colour = [f32; 3];

/// A place in the image or on the object, in image widths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f32,
    pub y: f32,
}

/// Shorthand for a [`Point`].
pub fn at(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Point {
    pub fn plus(self, other: Point) -> Point {
        at(self.x + other.x, self.y + other.y)
    }

    pub fn minus(self, other: Point) -> Point {
        at(self.x - other.x, self.y - other.y)
    }

    pub fn times(self, factor: f32) -> Point {
        at(self.x * factor, self.y * factor)
    }

    pub fn dot(self, other: Point) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// Turned by the angle whose unit vector is `direction`.
    pub fn turned(self, direction: Point) -> Point {
        at(self.x * direction.x - self.y * direction.y, self.x * direction.y + self.y * direction.x)
    }

    /// Turned back by the angle whose unit vector is `direction`.
    pub fn turned_back(self, direction: Point) -> Point {
        self.turned(at(direction.x, -direction.y))
    }
}

/// Sine of an angle given in turns, within 0.0011: one parabola per half turn, then one quadratic correction.
pub fn wave(turns: f32) -> f32 {
    let t = split(turns + 0.5).1 - 0.5;
    let arch = 8.0 * t - 16.0 * t * t.abs();
    arch + 0.225 * (arch * arch.abs() - arch)
}

/// Unit vector of an angle given in turns.
pub fn direction(turns: f32) -> Point {
    let raw = at(wave(turns + 0.25), wave(turns));
    raw.times(1.0 / raw.length())
}

/// 0 below `low`, 1 above `high`, a smooth step between.
pub fn step(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Whole part (rounded down) and remainder in [0, 1) of a number well inside the range of `i32`. Written with casts,
/// because `f32::floor` is a library call on processors without SSE 4.1 in their baseline, and this is the hot path.
pub fn split(value: f32) -> (i32, f32) {
    let truncated = value as i32;
    let whole = truncated - i32::from(truncated as f32 > value);
    (whole, value - whole as f32)
}

pub fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

pub fn scaled(colour: Colour, factor: f32) -> Colour {
    colour.map(|value| value * factor)
}

/// 32 well-mixed bits of a lattice place.
pub fn hash(x: i32, y: i32, salt: u32) -> u32 {
    mixed((x as u32).wrapping_mul(COLUMN) ^ (y as u32).wrapping_mul(ROW) ^ salt)
}

/// Odd factors that spread neighbouring columns and rows over all 32 bits.
const COLUMN: u32 = 0x9E37_79B1;
const ROW: u32 = 0xC2B2_AE3D;

fn mixed(bits: u32) -> u32 {
    let bits = (bits ^ (bits >> 15)).wrapping_mul(0x85EB_CA6B);
    let bits = (bits ^ (bits >> 13)).wrapping_mul(0xC2B2_AE35);
    bits ^ (bits >> 16)
}

/// Byte number `byte` of a hash as a number in [0, 1).
pub fn share(bits: u32, byte: u32) -> f32 {
    ((bits >> (8 * byte)) & 255) as i32 as f32 * (1.0 / 256.0)
}

/// Value noise in [-1, 1): one independent value per corner of the unit lattice, joined smoothly.
pub fn noise(x: f32, y: f32, salt: u32) -> f32 {
    let ((i, fx), (j, fy)) = (split(x), split(y));
    let (sx, sy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
    // As `hash` of the four corners, with the products of neighbours got by addition.
    let (left, upper) = ((i as u32).wrapping_mul(COLUMN), (j as u32).wrapping_mul(ROW));
    let (right, lower) = (left.wrapping_add(COLUMN), upper.wrapping_add(ROW));
    let corner = |column: u32, row: u32| (mixed(column ^ row ^ salt) >> 8) as i32 as f32;
    let (a, b, c, d) = (corner(left, upper), corner(right, upper), corner(left, lower), corner(right, lower));
    let (top, bottom) = (a + (b - a) * sx, c + (d - c) * sx);
    (top + (bottom - top) * sy) * (1.0 / 8_388_608.0) - 1.0
}

/// Two octaves of [`noise`], in (-1, 1).
pub fn clouds(x: f32, y: f32, salt: u32) -> f32 {
    0.62 * noise(x, y, salt) + 0.38 * noise(x * 2.7, y * 2.7, salt ^ 1)
}

/// The stream of one image, with the draws a painter wants.
pub struct Draws(pub Stream);

impl Draws {
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.uniform() as f32
    }

    /// In [low, high), small values more often than large ones.
    pub fn mostly_low(&mut self, low: f32, high: f32) -> f32 {
        let u = self.0.uniform() as f32;
        low + (high - low) * u * u
    }

    /// Within `bound` of zero.
    pub fn around(&mut self, bound: f32) -> f32 {
        self.range(-bound, bound)
    }

    pub fn point(&mut self, bound: f32) -> Point {
        let x = self.around(bound);
        at(x, self.around(bound))
    }

    pub fn direction(&mut self) -> Point {
        direction(self.range(0.0, 1.0))
    }

    pub fn salt(&mut self) -> u32 {
        (self.0.bits() >> 32) as u32
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0.below(n)
    }

    /// `colour` with brightness and each channel moved by at most `bound` of themselves.
    pub fn shade(&mut self, colour: Colour, bound: f32) -> Colour {
        let all = 1.0 + self.around(bound);
        colour.map(|value| value * all * (1.0 + 0.4 * self.around(bound)))
    }

    /// Any colour that is neither black, white nor garish.
    pub fn any_colour(&mut self) -> Colour {
        let grey = self.range(0.15, 0.85);
        std::array::from_fn(|_| 0.5 * grey + 0.5 * self.range(0.05, 0.95))
    }
}

/// Where the object lies in the image: turned about the image centre, scaled, shifted.
pub struct Pose {
    direction: Point,
    shift: Point,
    scale: f32,
}

impl Pose {
    /// Up to `turns` either way, `shift` image widths and `zoom` of its size.
    pub fn draw(draws: &mut Draws, turns: f32, shift: f32, zoom: f32) -> Self {
        Pose {
            direction: direction(draws.around(turns)),
            shift: draws.point(shift),
            scale: 1.0 / (1.0 + draws.around(zoom)),
        }
    }

    /// Object coordinates, centred, of an image place in [0, 1]².
    pub fn local(&self, place: Point) -> Point {
        place.minus(at(0.5, 0.5)).minus(self.shift).turned_back(self.direction).times(self.scale)
    }
}

/// Light and sensor: exposure, white balance, a sloping light, darker corners, noise.
pub struct Camera {
    gain: Colour,
    slope: Point,
    corners: f32,
    noise: f32,
    salt: u32,
}

impl Camera {
    pub fn draw(draws: &mut Draws, exposure: f32) -> Self {
        let gain = 1.0 + draws.around(exposure);
        Camera {
            gain: std::array::from_fn(|_| gain * (1.0 + draws.around(0.2 * exposure))),
            slope: draws.point(1.2 * exposure),
            corners: draws.range(0.0, 0.3),
            noise: draws.range(0.007, 0.017),
            salt: draws.salt(),
        }
    }

    /// The eight-bit pixel (`column`, `row`) that sees `colour` at image place `place`.
    pub fn expose(&self, colour: Colour, place: Point, column: u32, row: u32) -> [u8; 3] {
        let centred = place.minus(at(0.5, 0.5));
        let light = 1.0 + self.slope.dot(centred) - self.corners * centred.dot(centred);
        let bits = [hash(column as i32, row as i32, self.salt), hash(column as i32, row as i32, !self.salt)];
        // The sum of four bytes is close enough to a normal law for a sensor; its standard deviation is 0.577.
        let common = [0, 1, 2, 3].map(|byte| share(bits[0], byte)).iter().sum::<f32>() - 2.0;
        std::array::from_fn(|channel| {
            let own = share(bits[1], channel as u32) - 0.5;
            let value = colour[channel] * light * self.gain[channel] + self.noise * (1.7 * common + 1.2 * own);
            (value * 255.0 + 0.5).clamp(0.0, 255.0) as u8
        })
    }
}
