//! The object classes: steel washer, circuit board, capsule.
//!
//! Owns: their shape, normal look and variation, and their defects. Does not own: shapes and effects (`defects`),
//! light and sensor (`paint`).

use super::defects::{Effect, Flaw, Product, Shape, Surface};
use super::paint::{Colour, Draws, Point, at, direction, hash, mix, noise, scaled, share, split, step};
use super::textures::felt;

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

/// Ink of one line of letter-like marks in the box of half size `half`: `count` letters of 3 × 5 dots each.
fn letters(offset: Point, half: Point, count: i32, text: u32) -> f32 {
    if offset.x.abs() >= half.x || offset.y.abs() >= half.y {
        return 0.0;
    }
    let column = (offset.x / half.x * 0.5 + 0.5) * (4 * count) as f32;
    let row = (offset.y / half.y * 0.5 + 0.5) * 5.0;
    let ((column, _), (row, _)) = (split(column), split(row));
    let (letter, within) = (column / 4, column % 4);
    if within == 3 {
        return 0.0;
    }
    let upright = within == 0;
    let ink = share(hash(letter * 8 + within, row, text), 0) < if upright { 0.85 } else { 0.5 };
    if ink { 1.0 } else { 0.0 }
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
