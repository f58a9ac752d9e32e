//! Several matrices as one: parts that stand one below the other, with rows numbered through.
//!
//! Owns: row numbers across parts, and their cutting into blocks. Does not own: values; parts are only borrowed, so
//! each may be a memory-mapped artifact and all together larger than memory.

use crate::matrix::{Matrix, Rows};

/// Borrowed parts of one width.
pub(super) struct Parts<'a> {
    /// Each part with the number of its first row.
    parts: Vec<(usize, Rows<'a>)>,
    rows: usize,
    cols: usize,
}

impl<'a> Parts<'a> {
    /// Numbers `parts` (all of `cols` columns) through; any of them may be empty.
    pub(super) fn new(parts: &[Rows<'a>], cols: usize) -> Self {
        let mut all = Parts { parts: Vec::with_capacity(parts.len()), rows: 0, cols };
        for &part in parts {
            assert_eq!(part.cols(), cols, "a part of another width");
            all.parts.push((all.rows, part));
            all.rows += part.len();
        }
        all
    }

    /// Number of rows of all parts.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Values per row.
    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// One row.
    pub(super) fn row(&self, index: usize) -> &'a [f32] {
        // Of the parts that begin here only the last can hold a row; those before it are empty.
        let part = self.parts.partition_point(|&(first, _)| first <= index) - 1;
        let (first, rows) = self.parts[part];
        rows.row(index - first)
    }

    /// Copies the rows named by `indices` into a new matrix, in that order.
    pub(super) fn gather(&self, indices: &[usize]) -> Matrix {
        let mut data = Vec::with_capacity(indices.len() * self.cols);
        for &index in indices {
            data.extend_from_slice(self.row(index));
        }
        Matrix::new(data, self.cols)
    }

    /// All rows in order, in blocks of at most `block_rows` that do not straddle parts, each with the number of its
    /// first row.
    pub(super) fn blocks(&self, block_rows: usize) -> impl Iterator<Item = (usize, Rows<'a>)> {
        self.parts.iter().flat_map(move |&(first, part)| {
            (0..part.len())
                .step_by(block_rows)
                .map(move |from| (first + from, part.slice(from..part.len().min(from + block_rows))))
        })
    }
}
