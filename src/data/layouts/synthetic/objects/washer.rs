//! The steel washer.

use crate::data::layouts::synthetic::defects::{Effect, Flaw, Product, Shape, Surface};
use crate::data::layouts::synthetic::paint::{Colour, Draws, Point, at, direction, mix, noise, scaled, step};
use crate::data::layouts::synthetic::textures::felt;

/// A turned steel ring with six holes, lying at any angle.
#[derive(Clone)]
pub struct Washer {
    background: Colour,
    steel: Colour,
    light: Point,
    sheen: f32,
    grooves: f32,
    salt: u32,
    /// Hole number that was not drilled.
    undrilled: Option<usize>,
}

const WASHER_INNER: f32 = 0.155;
const WASHER_OUTER: f32 = 0.375;
const HOLE_CIRCLE: f32 = 0.268;
const HOLE_RADIUS: f32 = 0.036;
const HOLES: usize = 6;

/// Centre of hole `number`.
fn hole(number: usize) -> Point {
    direction(number as f32 / HOLES as f32).times(HOLE_CIRCLE)
}

impl Washer {
    /// Distance inside the steel (negative outside it).
    fn depth(&self, place: Point) -> f32 {
        let radius = place.length();
        let ring = (WASHER_OUTER - radius).min(radius - WASHER_INNER);
        if (radius - HOLE_CIRCLE).abs() > HOLE_RADIUS + 0.03 {
            return ring;
        }
        (0..HOLES)
            .filter(|number| self.undrilled != Some(*number))
            .map(|number| place.minus(hole(number)).length() - HOLE_RADIUS)
            .fold(ring, f32::min)
    }
}

impl Product for Washer {
    fn draw(draws: &mut Draws) -> Self {
        Washer {
            background: draws.shade([0.20, 0.21, 0.24], 0.08),
            steel: draws.shade([0.62, 0.62, 0.63], 0.05),
            light: draws.direction(),
            sheen: draws.range(0.12, 0.25),
            grooves: draws.range(0.06, 0.11),
            salt: draws.salt(),
            undrilled: None,
        }
    }

    fn flaw(&self, kind: &str, draws: &mut Draws) -> Flaw {
        let heading = draws.direction();
        let between = direction((draws.below(HOLES) as f32 + 0.5) / HOLES as f32).times(HOLE_CIRCLE);
        match kind {
            "scratch" => {
                let length = draws.mostly_low(0.18, 0.32);
                let half_width = draws.mostly_low(0.006, 0.010);
                let start = between.plus(draws.point(0.03));
                let shape = Shape::stroke(draws, start, heading, length, half_width, 0.02);
                Flaw::on(shape, Effect::Groove { depth: draws.range(0.08, 0.32), floor: draws.range(0.03, 0.2) })
            }
            "bent" => {
                let radius = draws.range(0.07, 0.11);
                let by = heading.times(draws.mostly_low(0.014, 0.055) * if draws.below(2) == 0 { 1.0 } else { -1.0 });
                let centre = heading.times(WASHER_OUTER);
                Flaw::of(Shape::spot(draws, centre, radius, 0.0, 1.0), Effect::Push { by })
            }
            "rust" => {
                let radius = draws.mostly_low(0.036, 0.07);
                let effect = Effect::Tint { colour: [0.47, 0.27, 0.13], opacity: draws.mostly_low(0.16, 0.8) };
                Flaw::on(Shape::spot(draws, between, radius, 0.4, 0.6), effect)
            }
            "undrilled" => {
                let mut other = self.clone();
                let number = draws.below(HOLES);
                other.undrilled = Some(number);
                let radii = at(HOLE_RADIUS + 0.014, HOLE_RADIUS + 0.014);
                let (direction, salt) = (at(1.0, 0.0), draws.salt());
                let shape = Shape::Blob { centre: hole(number), radii, direction, ragged: 0.0, soft: 0.02, salt };
                Flaw::of(shape, Effect::Other(Box::new(other)))
            }
            _ => unreachable!("washer has no defect {kind}"),
        }
    }
}

impl Surface for Washer {
    fn colour(&self, place: Point, pixel: f32) -> Colour {
        let depth = self.depth(place);
        let cover = (depth / pixel + 0.5).clamp(0.0, 1.0);
        // The washer shades the felt close to it.
        let ground = || scaled(felt(place, self.background, self.salt), 1.0 - 0.45 * step(-0.035, 0.0, depth));
        if cover == 0.0 {
            return ground();
        }
        let radius = place.length();
        let towards = place.dot(self.light) / radius;
        let lathe = noise(radius * 150.0, 0.5, self.salt) + 0.5 * noise(radius * 60.0, 0.5, self.salt ^ 1);
        let grain = noise(place.x * 40.0, place.y * 40.0, self.salt ^ 2);
        let bevel = step(0.014, 0.002, depth) * if radius > HOLE_CIRCLE { 0.35 } else { -0.35 };
        let sheen = self.sheen * (2.0 * towards * towards - 1.0);
        let tone = 1.0 + sheen + self.grooves * lathe + 0.04 * grain + bevel * towards;
        let steel = scaled(self.steel, tone);
        if cover == 1.0 { steel } else { mix(ground(), steel, cover) }
    }

    fn solid(&self, place: Point) -> bool {
        self.depth(place) > 0.003
    }
}
