//! The texture classes: woven fabric, wood, speckled stone tile.
//!
//! Owns: their normal look and variation, and their defects. Does not own: shapes and effects (`defects`), light and
//! sensor (`paint`).

use super::defects::{Effect, Flaw, Product, Shape, Surface};
use super::paint::{Colour, Draws, Point, at, clouds, direction, hash, mix, noise, scaled, share, split, step, wave};

/// Twill of two thread colours.
#[derive(Clone)]
pub struct Fabric {
    threads: f32,
    phase: Point,
    wobble: f32,
    fuzz: f32,
    warp: Colour,
    weft: Colour,
    salt: u32,
    /// A warp thread that is not there, and how dark its gap is.
    missing: Option<(i32, f32)>,
}

impl Fabric {
    /// Thread coordinates of a place.
    fn threads_at(&self, place: Point) -> Point {
        let (x, y) = (place.x * 2.5, place.y * 2.5);
        let wobble = at(noise(x, y, self.salt), noise(x, y, self.salt ^ 7)).times(self.wobble);
        place.times(self.threads).plus(self.phase).plus(wobble)
    }
}

impl Product for Fabric {
    fn draw(draws: &mut Draws) -> Self {
        Fabric {
            threads: draws.range(23.0, 26.0),
            phase: at(draws.range(0.0, 64.0), draws.range(0.0, 64.0)),
            wobble: draws.range(0.2, 0.5),
            fuzz: draws.range(0.06, 0.16),
            warp: draws.shade([0.30, 0.37, 0.55], 0.06),
            weft: draws.shade([0.72, 0.68, 0.58], 0.06),
            salt: draws.salt(),
            missing: None,
        }
    }

    fn flaw(&self, kind: &str, draws: &mut Draws) -> Flaw {
        let centre = draws.point(0.34);
        match kind {
            "missing_thread" => {
                let thread = split(self.threads_at(centre).x).0;
                let mut other = self.clone();
                other.missing = Some((thread, draws.range(0.55, 0.85)));
                let half = at(1.3 / self.threads, draws.mostly_low(0.08, 0.30));
                Flaw::on(Shape::Patch { centre, half }, Effect::Other(Box::new(other)))
            }
            "hole" => {
                let radius = draws.mostly_low(0.034, 0.07);
                let effect = Effect::Tint { colour: [0.10, 0.09, 0.08], opacity: draws.range(0.6, 0.95) };
                Flaw::on(Shape::spot(draws, centre, radius, 0.35, 0.3), effect)
            }
            "stain" => {
                let radius = draws.mostly_low(0.05, 0.14);
                let effect = Effect::Tint { colour: [0.34, 0.22, 0.12], opacity: draws.mostly_low(0.22, 0.7) };
                Flaw::on(Shape::spot(draws, centre, radius, 0.3, 0.5), effect)
            }
            "pulled" => {
                let radius = draws.mostly_low(0.06, 0.13);
                let by = draws.direction().times(draws.range(0.35, 0.7) * radius);
                Flaw::on(Shape::spot(draws, centre, radius, 0.0, 1.0), Effect::Push { by })
            }
            _ => unreachable!("fabric has no defect {kind}"),
        }
    }
}

impl Surface for Fabric {
    fn colour(&self, place: Point, _pixel: f32) -> Colour {
        let thread = self.threads_at(place);
        let ((i, u), (j, v)) = (split(thread.x), split(thread.y));
        let gap = self.missing.filter(|(missing, _)| *missing == i);
        let warp_on_top = (i + j) & 3 < 2 && gap.is_none();
        let (across, along, number, colour) =
            if warp_on_top { (u, v, i, self.warp) } else { (v, u, j ^ 0x5555, self.weft) };
        let (a, b) = (2.0 * across - 1.0, 2.0 * along - 1.0);
        let fibre = self.fuzz * noise(thread.x * 3.1, thread.y * 3.1, self.salt ^ 11);
        let yarn = 0.10 * (share(hash(number, 0, self.salt), 0) - 0.5);
        let round = (1.0 - 0.5 * a * a) * (1.0 - 0.16 * b * b);
        scaled(colour, round * (1.0 + fibre + yarn) * gap.map_or(1.0, |(_, dark)| dark))
    }
}

/// Sawn wood with bent grain and pores.
pub struct Wood {
    rings: f32,
    offset: Point,
    bend: f32,
    contrast: f32,
    light: Colour,
    dark: Colour,
    salt: u32,
    /// Centre and size of a knot; of size 0 where there is none.
    knot: (Point, f32),
}

impl Product for Wood {
    fn draw(draws: &mut Draws) -> Self {
        Wood {
            rings: draws.range(7.0, 12.0),
            offset: draws.point(20.0),
            bend: draws.range(0.6, 1.6),
            contrast: draws.range(0.40, 0.70),
            light: draws.shade([0.76, 0.57, 0.37], 0.06),
            dark: draws.shade([0.50, 0.32, 0.18], 0.06),
            salt: draws.salt(),
            knot: (draws.point(0.5), if draws.below(2) == 0 { draws.range(0.03, 0.05) } else { 0.0 }),
        }
    }

    fn flaw(&self, kind: &str, draws: &mut Draws) -> Flaw {
        let centre = draws.point(0.34);
        match kind {
            "scratch" => {
                let length = draws.mostly_low(0.16, 0.5);
                let heading = direction(0.25 + draws.around(0.16));
                let half_width = draws.mostly_low(0.005, 0.010);
                let shape = Shape::stroke(draws, centre, heading, length, half_width, 0.02);
                Flaw::on(shape, Effect::Tint { colour: [0.86, 0.72, 0.54], opacity: draws.mostly_low(0.18, 0.85) })
            }
            "hole" => {
                let radius = draws.mostly_low(0.032, 0.05);
                let effect = Effect::Tint { colour: [0.13, 0.08, 0.05], opacity: draws.range(0.3, 0.95) };
                Flaw::on(Shape::spot(draws, centre, radius, 0.08, 0.3), effect)
            }
            "liquid" => {
                let radius = draws.mostly_low(0.05, 0.14);
                let effect = Effect::Scale { factor: draws.range(0.58, 0.84) };
                Flaw::on(Shape::spot(draws, centre, radius, 0.3, 0.25), effect)
            }
            "crack" => {
                let length = draws.mostly_low(0.25, 0.6);
                let half_width = draws.mostly_low(0.007, 0.012);
                let along = direction(draws.around(0.06));
                let shape = Shape::stroke(draws, centre, along, length, half_width, 0.02);
                Flaw::on(shape, Effect::Tint { colour: [0.16, 0.09, 0.05], opacity: draws.range(0.35, 0.95) })
            }
            _ => unreachable!("wood has no defect {kind}"),
        }
    }
}

impl Wood {
    /// Nearness of the knot: 1 in its middle, falling to 0.
    fn knotted(&self, place: Point) -> f32 {
        let (centre, size) = self.knot;
        if size == 0.0 {
            return 0.0;
        }
        let offset = place.minus(centre).times(1.0 / size);
        let near = 1.0 / (1.0 + 0.4 * offset.x * offset.x + offset.y * offset.y);
        near * near
    }
}

impl Surface for Wood {
    fn colour(&self, place: Point, _pixel: f32) -> Colour {
        let q = place.plus(self.offset);
        let knot = self.knotted(place);
        let bent = q.y * self.rings + self.bend * clouds(q.x * 1.3, q.y * 2.2, self.salt) + 1.8 * knot;
        let (ring, within) = split(bent);
        // Early wood darkens slowly into late wood, then jumps back.
        let season = within * within * step(0.0, 0.12, 1.0 - within);
        let year = 0.7 + 0.6 * share(hash(ring, 0, self.salt), 0);
        let fibre = noise(q.x * 7.0, q.y * 150.0, self.salt ^ 3);
        let pore = step(0.45, 0.75, noise(q.x * 16.0, q.y * 170.0, self.salt ^ 5));
        let darkness = self.contrast * season * year + 0.13 * fibre + 0.28 * pore + 0.1 + 0.5 * knot * knot;
        mix(self.light, self.dark, darkness)
    }
}

/// Polished stone with chips of three colours in several sizes.
#[derive(Clone)]
pub struct Tile {
    ground: Colour,
    chips: [Colour; 3],
    layers: [(f32, Point, Point); 4],
    fullness: f32,
    salt: u32,
}

impl Product for Tile {
    fn draw(draws: &mut Draws) -> Self {
        let layer =
            |cells: f32, draws: &mut Draws| (cells * draws.range(0.92, 1.08), draws.direction(), draws.point(10.0));
        Tile {
            ground: draws.shade([0.66, 0.65, 0.62], 0.05),
            chips: [
                draws.shade([0.27, 0.26, 0.27], 0.08),
                draws.shade([0.86, 0.84, 0.79], 0.05),
                draws.shade([0.55, 0.38, 0.30], 0.08),
            ],
            layers: [12.0, 19.0, 27.0, 40.0].map(|cells| layer(cells, draws)),
            fullness: draws.range(0.6, 0.75),
            salt: draws.salt(),
        }
    }

    fn flaw(&self, kind: &str, draws: &mut Draws) -> Flaw {
        let centre = draws.point(0.34);
        match kind {
            "crack" => {
                let length = draws.mostly_low(0.2, 0.6);
                let half_width = draws.mostly_low(0.004, 0.009);
                let heading = draws.direction();
                let shape = Shape::stroke(draws, centre, heading, length, half_width, 0.11);
                Flaw::on(shape, Effect::Tint { colour: [0.14, 0.13, 0.12], opacity: draws.range(0.4, 0.95) })
            }
            "grey_stroke" => {
                let length = draws.mostly_low(0.14, 0.4);
                let half_width = draws.range(0.024, 0.042);
                let heading = draws.direction();
                let shape = Shape::stroke(draws, centre, heading, length, half_width, 0.03);
                Flaw::on(shape, Effect::Tint { colour: [0.44, 0.44, 0.46], opacity: draws.range(0.42, 0.95) })
            }
            "oil" => {
                let radius = draws.mostly_low(0.05, 0.14);
                let effect = Effect::Scale { factor: draws.range(0.38, 0.66) };
                Flaw::on(Shape::spot(draws, centre, radius, 0.3, 0.3), effect)
            }
            "bare" => {
                let radius = draws.mostly_low(0.075, 0.15);
                let mut other = self.clone();
                other.fullness = self.fullness * draws.range(0.0, 0.4);
                other.ground = scaled(self.ground, 0.78);
                Flaw::on(Shape::spot(draws, centre, radius, 0.3, 0.4), Effect::Other(Box::new(other)))
            }
            _ => unreachable!("tile has no defect {kind}"),
        }
    }
}

impl Surface for Tile {
    fn colour(&self, place: Point, pixel: f32) -> Colour {
        let cloud = 0.06 * clouds(place.x * 4.0, place.y * 4.0, self.salt);
        let mut colour = scaled(self.ground, 1.0 + cloud + 0.05 * noise(place.x * 70.0, place.y * 70.0, self.salt));
        for (number, (cells, turn, offset)) in self.layers.iter().enumerate() {
            // One chip per cell at most, wholly inside it, so only the cell of the place itself can matter.
            let q = place.turned(*turn).times(*cells).plus(*offset);
            let ((i, u), (j, v)) = (split(q.x), split(q.y));
            let bits = hash(i, j, self.salt ^ (number as u32) << 8);
            if share(bits, 0) > self.fullness {
                continue;
            }
            let radius = 0.12 + 0.19 * share(bits, 1);
            let centre = at(0.43 + 0.14 * share(bits, 2), 0.43 + 0.14 * share(bits, 3));
            let offset = at(u, v).minus(centre);
            let reach = 1.35 * radius + pixel * cells;
            if offset.dot(offset) > reach * reach {
                continue;
            }
            let edge = radius * (1.0 + 0.35 * noise(q.x * 2.6, q.y * 2.6, bits)) - offset.length();
            let cover = (edge / (pixel * cells) + 0.5).clamp(0.0, 1.0);
            let chip = self.chips[[0, 1, 0, 2, 1][bits as usize % 5]];
            colour = mix(colour, chip, 0.9 * cover);
        }
        colour
    }
}

/// A hint of waviness no two images share; used by the backgrounds of objects.
pub fn felt(place: Point, colour: Colour, salt: u32) -> Colour {
    let fine = noise(place.x * 90.0, place.y * 90.0, salt);
    let broad = clouds(place.x * 5.0, place.y * 5.0, salt ^ 9);
    scaled(colour, 1.0 + 0.10 * fine + 0.10 * broad + 0.03 * wave(place.x * 3.0 + broad))
}
