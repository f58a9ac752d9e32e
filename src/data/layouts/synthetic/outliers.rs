//! The outlier textures: many looks that none of the classes has, any colours.
//!
//! Owns: the categories and how they are painted. Does not own: light and sensor (`paint`).

use super::defects::Surface;
use super::paint::{Colour, Draws, Point, at, clouds, hash, mix, noise, scaled, share, split, step, wave};

/// All categories, in alphabetical order.
pub const CATEGORIES: [&str; 10] =
    ["banded", "bubbly", "chequered", "cracked", "dotted", "fibrous", "marbled", "scaly", "swirly", "zigzagged"];

/// One image of a category.
pub struct Outlier {
    category: &'static str,
    scale: f32,
    balance: f32,
    offset: Point,
    colours: [Colour; 3],
    salt: u32,
}

impl Outlier {
    pub fn draw(category: &'static str, draws: &mut Draws) -> Self {
        Outlier {
            category,
            scale: draws.range(5.0, 16.0),
            balance: draws.range(0.3, 0.7),
            offset: draws.point(30.0),
            colours: [draws.any_colour(), draws.any_colour(), draws.any_colour()],
            salt: draws.salt(),
        }
    }

    /// Share of the second colour and a brightness factor.
    fn pattern(&self, q: Point) -> (f32, f32) {
        let ((i, u), (j, v)) = (split(q.x), split(q.y));
        let bent = clouds(q.x * 0.4, q.y * 0.4, self.salt);
        let soft = |value: f32| step(self.balance - 0.06, self.balance + 0.06, value);
        match self.category {
            "banded" => (soft(0.5 + 0.5 * wave(0.5 * q.y + 0.15 * bent)), 1.0),
            "bubbly" => {
                let (near, _) = self.cells(q);
                (step(0.35, 0.45, near), 1.25 - near)
            }
            "chequered" => (((i + j) & 1) as f32, 1.0 + 0.1 * bent),
            "cracked" => {
                let (near, second) = self.cells(q);
                (step(0.10, 0.03, second - near), 1.0 + 0.3 * bent)
            }
            "dotted" => (step(0.32, 0.26, at(u - 0.5, v - 0.5).length()), 1.0),
            "fibrous" => (0.5 + 0.5 * noise(q.x * 6.0, q.y * 0.5 + bent, self.salt), 1.0),
            "marbled" => (0.5 + 0.5 * wave(0.25 * q.x + 1.4 * bent), 1.0),
            "scaly" => {
                let row = if j & 1 == 0 { 0.5 } else { 0.0 };
                let across = split(q.x + row).1 - 0.5;
                let arc = v + 2.0 * across * across;
                (soft(split(arc).1), 0.7 + 0.5 * split(arc).1)
            }
            "swirly" => {
                let far = q.plus(at(noise(q.x * 0.3, q.y * 0.3, self.salt), bent).times(5.0));
                (soft(0.5 + 0.5 * wave(0.2 * far.length())), 1.0)
            }
            _ => (soft(split(0.5 * q.y + (2.0 * u - 1.0).abs() * 0.5).1), 1.0),
        }
    }

    /// Distances to the nearest and second nearest of the scattered points, one per cell.
    fn cells(&self, q: Point) -> (f32, f32) {
        let ((i, u), (j, v)) = (split(q.x), split(q.y));
        let (mut near, mut second) = (9.0f32, 9.0f32);
        for (di, dj) in (-1..=1).flat_map(|di| (-1..=1).map(move |dj| (di, dj))) {
            let bits = hash(i + di, j + dj, self.salt);
            let offset = at(di as f32 + share(bits, 0) - u, dj as f32 + share(bits, 1) - v);
            let distance = offset.dot(offset);
            second = second.min(distance.max(near));
            near = near.min(distance);
        }
        (near.sqrt(), second.sqrt())
    }
}

impl Surface for Outlier {
    fn colour(&self, place: Point, _pixel: f32) -> Colour {
        let q = place.times(self.scale).plus(self.offset);
        let (second, bright) = self.pattern(q);
        let third = 0.25 + 0.25 * clouds(q.x * 0.2, q.y * 0.2, self.salt ^ 5);
        let colour = mix(mix(self.colours[0], self.colours[1], second), self.colours[2], third);
        scaled(colour, bright * (1.0 + 0.06 * noise(place.x * 100.0, place.y * 100.0, self.salt ^ 6)))
    }
}
