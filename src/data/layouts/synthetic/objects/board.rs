//! The circuit board.

use super::letters;
use crate::data::layouts::synthetic::defects::{Effect, Flaw, Product, Shape, Surface};
use crate::data::layouts::synthetic::paint::{Colour, Draws, Point, at, mix, noise, scaled, split, step};
use crate::data::layouts::synthetic::textures::felt;

/// A populated circuit board, always of the same design.
#[derive(Clone)]
pub struct Board {
    background: Colour,
    mask: Colour,
    copper: Colour,
    parts: Vec<Part>,
    label: Point,
    /// Offset of a second print of the label, over the first.
    overprint: Option<Point>,
    lot: u32,
    salt: u32,
}

#[derive(Clone, Copy)]
enum Kind {
    Chip,
    Resistor,
    Can,
}

/// A component: where, half size, which.
#[derive(Clone, Copy)]
struct Part {
    centre: Point,
    half: Point,
    kind: Kind,
}

const BOARD_HALF: f32 = 0.43;
const TRACK_HALF_WIDTH: f32 = 0.008;
const VIA_RADIUS: f32 = 0.017;

const PARTS: [(f32, f32, f32, f32, Kind); 7] = [
    (-0.10, -0.08, 0.13, 0.10, Kind::Chip),
    (0.25, -0.30, 0.045, 0.024, Kind::Resistor),
    (0.25, -0.21, 0.045, 0.024, Kind::Resistor),
    (0.25, -0.12, 0.045, 0.024, Kind::Resistor),
    (-0.30, 0.30, 0.075, 0.075, Kind::Can),
    (-0.11, 0.33, 0.024, 0.045, Kind::Resistor),
    (0.30, 0.14, 0.024, 0.045, Kind::Resistor),
];

/// Straight pieces of track, each horizontal, vertical or diagonal.
const TRACKS: [(f32, f32, f32, f32); 14] = [
    (0.03, -0.14, 0.10, -0.21),
    (0.10, -0.21, 0.20, -0.21),
    (0.03, -0.08, 0.16, -0.12),
    (0.16, -0.12, 0.20, -0.12),
    (0.30, -0.30, 0.38, -0.22),
    (0.38, -0.22, 0.38, 0.08),
    (0.38, 0.08, 0.30, 0.10),
    (-0.23, 0.02, -0.23, 0.14),
    (-0.23, 0.14, -0.30, 0.22),
    (-0.16, 0.02, -0.16, 0.20),
    (-0.16, 0.20, -0.11, 0.29),
    (-0.05, 0.02, -0.05, 0.16),
    (-0.05, 0.16, 0.30, 0.16),
    (-0.36, -0.32, 0.20, -0.32),
];

const VIAS: [(f32, f32); 7] =
    [(-0.36, -0.32), (0.38, -0.06), (0.10, 0.16), (-0.36, 0.06), (-0.37, -0.12), (0.17, 0.02), (0.06, -0.32)];

/// Place and half size of the printed label.
const LABEL: (f32, f32, f32, f32) = (0.18, 0.32, 0.17, 0.034);

impl Board {
    fn label_centre(&self) -> Point {
        at(LABEL.0, LABEL.1).plus(self.label)
    }

    /// Bare board with tracks and vias.
    fn bare(&self, place: Point, pixel: f32) -> Colour {
        let weave = 0.05 * noise(place.x * 60.0, place.y * 60.0, self.salt);
        let ground = scaled(self.mask, 1.0 + weave);
        let mut edge = f32::MAX;
        for (ax, ay, bx, by) in TRACKS {
            let reach = 0.02;
            if place.x < ax.min(bx) - reach || place.x > ax.max(bx) + reach {
                continue;
            }
            if place.y < ay.min(by) - reach || place.y > ay.max(by) + reach {
                continue;
            }
            let (along, offset) = (at(bx - ax, by - ay), place.minus(at(ax, ay)));
            let share = (offset.dot(along) / along.dot(along)).clamp(0.0, 1.0);
            edge = edge.min(offset.minus(along.times(share)).length());
        }
        let mut colour = mix(ground, self.copper, ((TRACK_HALF_WIDTH - edge) / pixel + 0.5).clamp(0.0, 1.0));
        for (x, y) in VIAS {
            let distance = place.minus(at(x, y)).length();
            let gold = ((VIA_RADIUS - distance) / pixel + 0.5).clamp(0.0, 1.0);
            if gold > 0.0 {
                let bore = ((0.4 * VIA_RADIUS - distance) / pixel + 0.5).clamp(0.0, 1.0);
                colour = mix(mix(colour, [0.78, 0.66, 0.36], gold), [0.08, 0.08, 0.08], bore);
            }
        }
        let print = |moved| letters(place.minus(self.label_centre()).minus(moved), at(LABEL.2, LABEL.3), 12, 0);
        let text = print(at(0.0, 0.0)).max(self.overprint.map_or(0.0, print));
        mix(colour, [0.84, 0.85, 0.80], 0.85 * text)
    }
}

impl Product for Board {
    fn draw(draws: &mut Draws) -> Self {
        let parts = PARTS.map(|(x, y, half_x, half_y, kind)| Part {
            centre: at(x, y).plus(draws.point(0.005)),
            half: at(half_x, half_y),
            kind,
        });
        Board {
            background: draws.shade([0.60, 0.60, 0.58], 0.06),
            mask: draws.shade([0.10, 0.34, 0.22], 0.07),
            copper: draws.shade([0.24, 0.52, 0.33], 0.06),
            parts: parts.to_vec(),
            label: draws.point(0.006),
            overprint: None,
            lot: draws.salt(),
            salt: draws.salt(),
        }
    }

    fn flaw(&self, kind: &str, draws: &mut Draws) -> Flaw {
        match kind {
            "missing_part" => {
                let number = 1 + draws.below(PARTS.len() - 1);
                let mut other = self.clone();
                let Part { centre, half, .. } = other.parts.remove(number);
                Flaw::of(Shape::Patch { centre, half: half.plus(at(0.006, 0.006)) }, Effect::Other(Box::new(other)))
            }
            "scratch" => {
                let (start, heading) = (draws.point(0.25), draws.direction());
                let (length, half_width) = (draws.mostly_low(0.2, 0.45), draws.mostly_low(0.006, 0.009));
                let shape = Shape::stroke(draws, start, heading, length, half_width, 0.02);
                Flaw::on(shape, Effect::Tint { colour: [0.62, 0.68, 0.55], opacity: draws.mostly_low(0.15, 0.75) })
            }
            "misprint" => {
                let mut other = self.clone();
                let way = if draws.below(2) == 0 { 1.0 } else { -1.0 };
                let moved = at(draws.around(0.02), way * draws.range(0.012, 0.030));
                other.overprint = Some(moved);
                // The smallest box around both prints.
                let centre = self.label_centre().plus(moved.times(0.5));
                let half = at(LABEL.2 + 0.5 * moved.x.abs(), LABEL.3 + 0.5 * moved.y.abs());
                Flaw::of(Shape::Patch { centre, half }, Effect::Other(Box::new(other)))
            }
            "solder" => {
                let (ax, ay, bx, by) = TRACKS[draws.below(TRACKS.len())];
                let share = draws.range(0.2, 0.8);
                let centre = at(ax + (bx - ax) * share, ay + (by - ay) * share).plus(draws.point(0.012));
                let radius = draws.mostly_low(0.036, 0.055);
                let effect = Effect::Tint { colour: [0.74, 0.74, 0.76], opacity: draws.mostly_low(0.35, 1.0) };
                Flaw::on(Shape::spot(draws, centre, radius, 0.45, 0.35), effect)
            }
            _ => unreachable!("board has no defect {kind}"),
        }
    }
}

impl Surface for Board {
    fn colour(&self, place: Point, pixel: f32) -> Colour {
        let depth = BOARD_HALF - place.x.abs().max(place.y.abs());
        if depth < -0.5 * pixel {
            let shadow = 1.0 - 0.4 * step(-0.03, 0.0, depth);
            return scaled(felt(place, self.background, self.salt), shadow);
        }
        for (number, part) in self.parts.iter().enumerate() {
            let offset = place.minus(part.centre);
            let near = offset.x.abs() < part.half.x + 0.03 && offset.y.abs() < part.half.y + 0.03;
            if near && let Some(colour) = part.colour(offset, self.lot.wrapping_add(number as u32)) {
                return scaled(colour, 1.0 + 0.05 * noise(place.x * 80.0, place.y * 80.0, self.salt ^ 4));
            }
        }
        self.bare(place, pixel)
    }

    fn solid(&self, place: Point) -> bool {
        place.x.abs().max(place.y.abs()) < BOARD_HALF - 0.005
    }
}

impl Part {
    /// Colour of the part at `offset` from its centre; `None` beside it. `lot` is what is printed on chips.
    fn colour(&self, offset: Point, lot: u32) -> Option<Colour> {
        let (dx, dy) = (self.half.x - offset.x.abs(), self.half.y - offset.y.abs());
        match self.kind {
            Kind::Can => {
                let radius = self.half.x;
                let distance = offset.length();
                let rim = if distance > 0.8 * radius { 0.75 } else { 1.0 };
                let stripe = offset.x < -0.4 * radius;
                let colour = if stripe { [0.22, 0.22, 0.26] } else { [0.70, 0.71, 0.73] };
                (distance < radius).then(|| scaled(colour, rim * (1.0 + 0.8 * (offset.x + offset.y))))
            }
            Kind::Resistor => {
                let long = if self.half.x > self.half.y { dx } else { dy };
                let colour = if long < 0.016 { [0.72, 0.72, 0.74] } else { [0.13, 0.12, 0.13] };
                (dx > 0.0 && dy > 0.0).then_some(colour)
            }
            Kind::Chip if dx > 0.0 && dy > 0.0 => {
                let dot = offset.minus(at(-0.10, -0.07)).length() < 0.011;
                let ink = letters(offset.minus(at(0.0, 0.02)), at(0.09, 0.026), 9, lot);
                let body = if dot { [0.32, 0.32, 0.33] } else { [0.12, 0.12, 0.13] };
                Some(mix(body, [0.60, 0.60, 0.60], 0.8 * ink))
            }
            Kind::Chip => {
                let (_, tooth) = split(offset.x * 32.0 + 0.25);
                (dx > 0.0 && dy > -0.022 && tooth < 0.5).then_some([0.70, 0.70, 0.71])
            }
        }
    }
}
