//! The capsule.

use super::letters;
use crate::data::layouts::synthetic::defects::{Effect, Flaw, Product, Shape, Surface};
use crate::data::layouts::synthetic::paint::{Colour, Draws, Point, at, direction, mix, noise, scaled, step};
use crate::data::layouts::synthetic::textures::felt;

/// A two-coloured capsule with a printed line, on bright paper.
#[derive(Clone)]
pub struct Capsule {
    background: Colour,
    halves: [Colour; 2],
    light: Point,
    gloss: f32,
    roll: f32,
    text: u32,
    ink: f32,
    salt: u32,
}

const CAPSULE_RADIUS: f32 = 0.15;
const CAPSULE_STRAIGHT: f32 = 0.21;
const CAPSULE_TEXT: u32 = 3;
const INK: Colour = [0.93, 0.90, 0.84];

impl Capsule {
    /// Offset from the axis and its length.
    fn radial(&self, place: Point) -> (Point, f32) {
        let offset = at(place.x - place.x.clamp(-CAPSULE_STRAIGHT, CAPSULE_STRAIGHT), place.y);
        (offset, offset.length())
    }
}

impl Product for Capsule {
    fn draw(draws: &mut Draws) -> Self {
        Capsule {
            background: draws.shade([0.80, 0.80, 0.78], 0.05),
            halves: [draws.shade([0.24, 0.15, 0.13], 0.08), draws.shade([0.72, 0.38, 0.16], 0.06)],
            light: direction(-0.25 + draws.around(0.08)),
            gloss: draws.range(0.25, 0.45),
            roll: draws.around(0.02),
            text: CAPSULE_TEXT,
            ink: draws.range(0.6, 0.85),
            salt: draws.salt(),
        }
    }

    fn flaw(&self, kind: &str, draws: &mut Draws) -> Flaw {
        let centre = at(draws.around(0.27), draws.around(0.05));
        match kind {
            "crack" => {
                let (length, half_width) = (draws.range(0.17, 0.25), draws.mostly_low(0.007, 0.011));
                let heading = direction(0.25 + draws.around(0.13));
                let shape = Shape::stroke(draws, centre, heading, length, half_width, 0.09);
                Flaw::on(shape, Effect::Groove { depth: draws.range(0.2, 0.5), floor: draws.range(0.2, 0.6) })
            }
            "squeeze" => {
                let side = if draws.below(2) == 0 { 1.0 } else { -1.0 };
                let radius = draws.range(0.08, 0.13);
                let by = at(0.0, side * draws.mostly_low(0.018, 0.05));
                let centre = at(draws.around(0.2), side * CAPSULE_RADIUS);
                Flaw::of(Shape::spot(draws, centre, radius, 0.0, 1.0), Effect::Push { by })
            }
            "misprint" => {
                let from = at(draws.range(0.06, 0.18), self.roll);
                let way = draws.below(5);
                if way < 2 {
                    // Wet ink that was wiped.
                    let radius = draws.range(0.03, 0.045);
                    let effect = Effect::Tint { colour: INK, opacity: draws.range(0.4, 0.8) };
                    return Flaw::on(Shape::spot(draws, from, radius, 0.3, 0.6), effect);
                }
                let mut other = self.clone();
                match way {
                    2 | 3 => other.ink = 0.0,
                    _ => other.text = CAPSULE_TEXT + 1 + draws.below(1000) as u32,
                }
                let half = at(draws.range(0.06, 0.09), 0.032);
                Flaw::on(Shape::Patch { centre: from, half }, Effect::Other(Box::new(other)))
            }
            "poke" => {
                let radius = draws.mostly_low(0.034, 0.055);
                let effect = Effect::Scale { factor: draws.range(0.1, 0.5) };
                Flaw::on(Shape::spot(draws, centre, radius, 0.2, 0.5), effect)
            }
            _ => unreachable!("capsule has no defect {kind}"),
        }
    }
}

impl Surface for Capsule {
    fn colour(&self, place: Point, pixel: f32) -> Colour {
        let (offset, distance) = self.radial(place);
        let depth = CAPSULE_RADIUS - distance;
        let cover = (depth / pixel + 0.5).clamp(0.0, 1.0);
        let ground = || {
            let below = self.radial(place.minus(at(0.0, 0.03))).1;
            let shadow = 1.0 - 0.35 * step(0.07, -0.04, below - CAPSULE_RADIUS);
            scaled(felt(place, self.background, self.salt), shadow)
        };
        if cover == 0.0 {
            return ground();
        }
        let slope = offset.times(1.0 / CAPSULE_RADIUS);
        let height = (1.0 - slope.dot(slope)).max(0.0).sqrt();
        let lit = 0.55 * height + 0.45 * slope.dot(self.light) + 0.35;
        let mirror = (0.80 * height + 0.6 * slope.dot(self.light)).clamp(0.0, 1.0);
        let shine = mirror * mirror * mirror * mirror;
        let shine = self.gloss * shine * shine * shine;
        let left = place.x < -0.02;
        let seam = step(0.010, 0.0, (place.x + 0.02).abs());
        let ink = if left {
            0.0
        } else {
            self.ink * letters(place.minus(at(0.12, self.roll)), at(0.105, 0.03), 8, self.text)
        };
        let body = mix(self.halves[usize::from(!left)], INK, ink);
        let grain = 1.0 + 0.03 * noise(place.x * 50.0, place.y * 50.0, self.salt);
        let skin = scaled(body, lit * grain * (1.0 - 0.25 * seam));
        let skin = mix(skin, [1.0, 1.0, 1.0], shine);
        if cover == 1.0 { skin } else { mix(ground(), skin, cover) }
    }

    fn solid(&self, place: Point) -> bool {
        self.radial(place).1 < CAPSULE_RADIUS - 0.006
    }
}
