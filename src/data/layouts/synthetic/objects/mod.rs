//! The object classes: steel washer, circuit board, capsule.
//!
//! Owns: their shape, normal look and variation, and their defects. Does not own: shapes and effects (`defects`),
//! light and sensor (`paint`).

mod board;
mod capsule;
mod washer;

pub use board::Board;
pub use capsule::Capsule;
pub use washer::Washer;

use super::paint::{Point, hash, share, split};

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
