//! Factors of products of matrices on the processor: how they lie, and the panels that the right one is read in.
//!
//! Owns: copying. Does not own: multiplying (`multiply`).

use super::turn::turn;

/// Columns side by side in a register.
pub(super) const LANES: usize = 16;
/// Registers of columns that are computed together.
pub(super) const WIDE: usize = 4;
/// Columns of a panel.
pub(super) const PANEL: usize = LANES * WIDE;
/// Values of a sum that a panel holds.
pub(super) const DEPTH: usize = 256;

/// A matrix with the distance between its rows and between its columns.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a> {
    /// From its first value on.
    pub values: &'a [f32],
    /// Values from a row to the next.
    pub row: usize,
    /// Values from a column to the next.
    pub column: usize,
}

/// The right factor of a product: something whose rows can be copied.
pub trait Right: Sync {
    /// Writes columns from `first` on, as many as fit, of row `row` to `out`.
    fn copy(&self, row: usize, first: usize, out: &mut [f32]);

    /// Writes `width` columns of rows from `row` on to `out`, whose rows are `pitch` apart and filled up with zeros.
    fn copy_rows(&self, row: usize, first: usize, width: usize, pitch: usize, out: &mut [f32]) {
        for (number, out) in out.chunks_exact_mut(pitch).enumerate() {
            self.copy(row + number, first, &mut out[..width]);
            out[width..].fill(0.0);
        }
    }

    /// So many rows of the panel whose first value is at `row` and `first`, where they lie like that already.
    fn panel(&self, _row: usize, _first: usize, _depth: usize) -> Option<&[f32]> {
        None
    }
}

impl Right for Strided<'_> {
    fn copy(&self, row: usize, first: usize, out: &mut [f32]) {
        let from = &self.values[row * self.row + first * self.column..];
        if self.column == 1 {
            out.copy_from_slice(&from[..out.len()]);
        } else {
            out.iter_mut().zip(from.iter().step_by(self.column)).for_each(|(out, value)| *out = *value);
        }
    }

    fn copy_rows(&self, row: usize, first: usize, width: usize, pitch: usize, out: &mut [f32]) {
        if self.row != 1 || self.column < out.len() / pitch {
            for (number, out) in out.chunks_exact_mut(pitch).enumerate() {
                self.copy(row + number, first, &mut out[..width]);
                out[width..].fill(0.0);
            }
            return;
        }
        // Columns lie together.
        let from = &self.values[first * self.column + row..];
        turn(from, self.column, [width, out.len() / pitch], out, pitch);
        if width < pitch {
            out.chunks_exact_mut(pitch).for_each(|out| out[width..].fill(0.0));
        }
    }
}

/// A right factor of several products, copied once as all of them read it.
pub struct Panels {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Panels {
    /// Copies `rows` × `columns` of a factor.
    pub fn new(right: &impl Right, [rows, columns]: [usize; 2]) -> Panels {
        let mut values = vec![0.0; rows * columns.next_multiple_of(LANES)];
        for from in (0..rows).step_by(DEPTH) {
            for first in (0..columns).step_by(PANEL) {
                let (place, [depth, pitch]) = Self::place([rows, columns], from, first);
                let width = PANEL.min(columns - first);
                right.copy_rows(from, first, width, pitch, &mut values[place..][..depth * pitch]);
            }
        }
        Panels { values, rows, columns }
    }

    /// Where the panel of a row and a column begins, and its rows and columns, those of zeros counted.
    fn place([rows, columns]: [usize; 2], row: usize, column: usize) -> (usize, [usize; 2]) {
        let (from, first) = (row - row % DEPTH, column - column % PANEL);
        let depth = DEPTH.min(rows - from);
        let pitch = PANEL.min(columns - first).next_multiple_of(LANES);
        (from * columns.next_multiple_of(LANES) + depth * first, [depth, pitch])
    }
}

impl Right for Panels {
    fn copy(&self, row: usize, first: usize, out: &mut [f32]) {
        for (column, out) in (first..).zip(out) {
            let (place, [_, pitch]) = Self::place([self.rows, self.columns], row, column);
            *out = self.values[place + row % DEPTH * pitch + column % PANEL];
        }
    }

    fn panel(&self, row: usize, first: usize, depth: usize) -> Option<&[f32]> {
        let (place, [own, pitch]) = Self::place([self.rows, self.columns], row, first);
        (own == depth).then(|| &self.values[place..][..depth * pitch])
    }
}
