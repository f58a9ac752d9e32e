//! What can go wrong on a surface: where (shapes) and how it looks (effects).
//!
//! Owns: the support of a defect, which is its mask, and the colour inside it. Does not own: which class has which
//! defect (`textures`, `objects`).

use super::paint::{Colour, Draws, Point, at, mix, noise, scaled, step};

/// A painted surface in object coordinates.
pub trait Surface {
    /// Colour at `place`; `pixel` is the size of a pixel there, for soft edges.
    fn colour(&self, place: Point, pixel: f32) -> Colour;

    /// Whether a surface defect can be at `place`: false beside an object and in its holes.
    fn solid(&self, _place: Point) -> bool {
        true
    }
}

/// A class: products that look alike, each with its own draws, and what can be wrong with them.
pub trait Product: Surface + Sized + 'static {
    /// A sound product.
    fn draw(draws: &mut Draws) -> Self;

    /// A defect of the named kind on this product. The kinds are those listed for the class in `mod.rs`.
    fn flaw(&self, kind: &str, draws: &mut Draws) -> Flaw;
}

/// The area of a defect.
pub enum Shape {
    /// A bent line through `points`, `half_width` to either side.
    Stroke { points: Vec<Point>, half_width: f32 },
    /// An ellipse with half axes `radii` along `direction`; `ragged` and `soft` are shares of its size.
    Blob { centre: Point, radii: Point, direction: Point, ragged: f32, soft: f32, salt: u32 },
    /// An upright rectangle.
    Patch { centre: Point, half: Point },
}

/// How strongly a place is covered, and on which side of a stroke's middle it lies (−1 to 1).
struct Cover {
    amount: f32,
    side: f32,
}

/// Cover below this is none, so that the mask ends where the eye sees the defect end.
const LEAST_COVER: f32 = 0.08;

impl Shape {
    /// A wandering line from `start` towards `direction`; `bend` is the largest turn, in turns, at each of its joints.
    pub fn stroke(draws: &mut Draws, start: Point, direction: Point, length: f32, half_width: f32, bend: f32) -> Shape {
        const JOINTS: usize = 7;
        let (mut place, mut heading) = (start.minus(direction.times(0.5 * length)), direction);
        let mut points = vec![place];
        for _ in 0..JOINTS {
            heading = heading.turned(super::paint::direction(draws.around(bend)));
            place = place.plus(heading.times(length / JOINTS as f32));
            points.push(place);
        }
        Shape::Stroke { points, half_width }
    }

    /// An irregular spot of mean radius `radius`.
    pub fn spot(draws: &mut Draws, centre: Point, radius: f32, ragged: f32, soft: f32) -> Shape {
        let long = draws.range(1.0, 1.35);
        let radii = at(radius * long, radius / long);
        Shape::Blob { centre, radii, direction: draws.direction(), ragged, soft, salt: draws.salt() }
    }

    fn cover(&self, place: Point, pixel: f32) -> Option<Cover> {
        let cover = match self {
            Shape::Stroke { points, half_width } => stroke_cover(points, *half_width, place, pixel)?,
            Shape::Blob { centre, radii, direction, ragged, soft, salt } => {
                let offset = place.minus(*centre).turned_back(*direction);
                let mut far = at(offset.x / radii.x, offset.y / radii.y).length();
                if far > 1.0 + ragged {
                    return None;
                }
                far += ragged * noise(offset.x / radii.y * 2.2, offset.y / radii.y * 2.2, *salt);
                let soft = soft.max(pixel / radii.y);
                Cover { amount: 1.0 - step(1.0 - soft, 1.0, far), side: 0.0 }
            }
            Shape::Patch { centre, half } => {
                let offset = place.minus(*centre);
                let inside = (half.x - offset.x.abs()).min(half.y - offset.y.abs());
                Cover { amount: (inside / pixel + 0.5).clamp(0.0, 1.0), side: 0.0 }
            }
        };
        (cover.amount > LEAST_COVER).then_some(cover)
    }
}

/// Cover by the polyline `points`; `None` well outside.
fn stroke_cover(points: &[Point], half_width: f32, place: Point, pixel: f32) -> Option<Cover> {
    let reach = half_width + pixel;
    let (mut nearest, mut left) = (reach * reach, None);
    for pair in points.windows(2) {
        let (along, offset) = (pair[1].minus(pair[0]), place.minus(pair[0]));
        let share = (offset.dot(along) / along.dot(along)).clamp(0.0, 1.0);
        let away = offset.minus(along.times(share));
        if away.dot(away) < nearest {
            nearest = away.dot(away);
            left = Some(along.x * offset.y - along.y * offset.x < 0.0);
        }
    }
    let distance = nearest.sqrt();
    let side = if left? { -distance } else { distance } / half_width;
    Some(Cover { amount: ((half_width - distance) / pixel + 0.5).clamp(0.0, 1.0), side: side.clamp(-1.0, 1.0) })
}

/// What a defect does to the surface under it.
pub enum Effect {
    /// Mixes towards a colour, as dirt, paint and liquids do.
    Tint { colour: Colour, opacity: f32 },
    /// A cut that is lit on one side and dark on the other; a negative depth turns the light round.
    Groove { depth: f32, floor: f32 },
    /// Darker or lighter by a factor.
    Scale { factor: f32 },
    /// The surface pushed sideways, most in the middle: dents, bulges, pulled threads.
    Push { by: Point },
    /// The surface built differently: missing, added or misplaced parts.
    Other(Box<dyn Surface>),
}

/// One defect. `clip` keeps it on the solid part of the surface.
pub struct Flaw {
    pub shapes: Vec<Shape>,
    pub effect: Effect,
    pub clip: bool,
}

impl Flaw {
    /// A defect on the surface itself.
    pub fn on(shape: Shape, effect: Effect) -> Self {
        Flaw { shapes: vec![shape], effect, clip: true }
    }

    /// A defect of the build, which may change the outline too.
    pub fn of(shape: Shape, effect: Effect) -> Self {
        Flaw { shapes: vec![shape], effect, clip: false }
    }

    /// The colour at `place` where the defect covers it, given the `sound` colour; `None` outside its support.
    pub fn colour(&self, surface: &dyn Surface, place: Point, pixel: f32, sound: Colour) -> Option<Colour> {
        let covers = self.shapes.iter().filter_map(|shape| shape.cover(place, pixel));
        let Cover { amount, side } = covers.max_by(|a, b| a.amount.total_cmp(&b.amount))?;
        if self.clip && !surface.solid(place) {
            return None;
        }
        Some(match &self.effect {
            Effect::Tint { colour, opacity } => mix(sound, *colour, opacity * amount),
            Effect::Groove { depth, floor } => {
                scaled(sound, 1.0 + amount * (depth * side - floor * (1.0 - side * side)))
            }
            Effect::Scale { factor } => scaled(sound, 1.0 + (factor - 1.0) * amount),
            Effect::Push { by } => surface.colour(place.plus(by.times(amount)), pixel),
            Effect::Other(other) => mix(sound, other.colour(place, pixel), amount),
        })
    }
}
