//! How all figures look: colours, dashes, markers, sizes of text.
//!
//! Colours are Okabe's and Ito's, which stay apart for colour-blind readers; dash and marker differ as well, so that
//! lines stay apart in black and white.

use super::canvas::{Mark, Scene};
/// Red, green, blue, opacity; `mix` makes it partly transparent.
pub use plotters::style::{Color, RGBAColor as Ink};

/// Text and axes.
pub const BLACK: Ink = Ink(0, 0, 0, 1.0);
/// Less important text.
pub const GREY: Ink = Ink(90, 90, 90, 1.0);
/// Behind text on grids.
pub const WHITE: Ink = Ink(255, 255, 255, 1.0);
/// Grid lines.
pub const PALE: Ink = Ink(222, 222, 222, 1.0);

/// Okabe and Ito, the yellow last because it is faint on paper.
const PALETTE: [Ink; 8] = [
    Ink(0, 114, 178, 1.0),
    Ink(213, 94, 0, 1.0),
    Ink(0, 158, 115, 1.0),
    Ink(204, 121, 167, 1.0),
    Ink(230, 159, 0, 1.0),
    Ink(86, 180, 233, 1.0),
    Ink(0, 0, 0, 1.0),
    Ink(180, 165, 20, 1.0),
];

/// Points of plain text.
pub const FONT_PT: f64 = 7.0;

/// Plain text, [`FONT_PT`] points.
pub const TEXT: f64 = 34.0;
/// Tick labels, notes, legends: 6 points.
pub const SMALL: f64 = 29.0;
/// Lines of data.
pub const LINE: f64 = 5.0;
/// Axes and grids.
pub const HAIR: f64 = 2.0;
/// Half the size of a marker.
pub const MARKER: f64 = 10.0;
/// Distance between things.
pub const GAP: f64 = 14.0;

pub fn colour(number: usize) -> Ink {
    PALETTE[number % PALETTE.len()]
}

/// Lengths of strokes and gaps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dash {
    strokes: &'static [f64],
    scale: f64,
}

impl Dash {
    pub const SOLID: Dash = Dash { strokes: &[], scale: 1.0 };

    pub fn of(number: usize) -> Dash {
        const DASHES: [&[f64]; 5] = [&[], &[26.0, 12.0], &[8.0, 10.0], &[30.0, 9.0, 7.0, 9.0], &[14.0, 8.0]];
        Dash { strokes: DASHES[number % DASHES.len()], scale: 1.0 }
    }

    /// Makes strokes and gaps `factor` times as long.
    pub fn scale(&mut self, factor: f64) {
        self.scale *= factor;
    }

    /// The strokes of a line.
    pub fn pieces(&self, points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
        if self.strokes.is_empty() {
            return vec![points.to_vec()];
        }
        let length = |entry: usize| self.strokes[entry] * self.scale;
        let (mut pieces, mut piece) = (Vec::new(), Vec::new());
        let (mut entry, mut left) = (0, length(0));
        piece.extend(points.first());
        for pair in points.windows(2) {
            let ((mut x, mut y), end) = (pair[0], pair[1]);
            loop {
                let rest = (end.0 - x).hypot(end.1 - y);
                if rest <= left {
                    left -= rest;
                    if entry % 2 == 0 {
                        piece.push(end);
                    }
                    break;
                }
                (x, y) = (x + (end.0 - x) * left / rest, y + (end.1 - y) * left / rest);
                if entry % 2 == 0 {
                    piece.push((x, y));
                    pieces.push(std::mem::take(&mut piece));
                } else {
                    piece = vec![(x, y)];
                }
                entry = (entry + 1) % self.strokes.len();
                left = length(entry);
            }
        }
        if piece.len() > 1 {
            pieces.push(piece);
        }
        pieces
    }
}

pub fn marker(scene: &mut Scene, number: usize, (x, y): (f64, f64), half: f64, ink: Ink) {
    let polygon = |corners: &[(f64, f64)]| Mark::Area {
        points: corners.iter().map(|(dx, dy)| (x + dx * half, y + dy * half)).collect(),
        ink,
    };
    scene.marks.push(match number % 5 {
        0 => Mark::Disc { centre: (x, y), radius: half, ink },
        1 => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
        2 => polygon(&[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)]),
        3 => polygon(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
        _ => polygon(&[(0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)]),
    });
}
