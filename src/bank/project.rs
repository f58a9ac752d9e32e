//! Random projection of rows to fewer dimensions before a coreset is selected.
//!
//! Owns: the kinds of projection and their scale. Does not own: which stream draws the weights.

use super::tile::products;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, Rows};
use crate::random::Stream;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rows projected at a time.
const BLOCK_ROWS: usize = 256;

/// How the weights of the projection are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionKind {
    /// U(±1/√cols): the initial weights of a linear layer (PatchCore, `sampler.py`).
    #[default]
    Uniform,
    /// N(0, 1/dims): keeps squared distances in expectation (Johnson–Lindenstrauss).
    Gaussian,
}

/// A random `cols` × `dims` matrix, drawn once for all rows.
pub struct Projection {
    weights: Matrix,
}

impl Projection {
    /// Draws weights output by output; `None` when nothing is to be done: `dims` 0, or equal to the width.
    ///
    /// Errors: more dimensions than the rows have.
    pub fn draw(cols: usize, dims: usize, kind: ProjectionKind, stream: &mut Stream) -> Result<Option<Self>> {
        if dims == 0 || dims == cols {
            return Ok(None);
        }
        if dims > cols {
            let what = format!("a projection to {dims} dimensions is wanted of features that have {cols}");
            return Err(Error::method(what, format!("choose fewer than {cols} dimensions, or 0 for no projection")));
        }
        let mut weights = vec![0.0; dims * cols];
        match kind {
            ProjectionKind::Uniform => stream.fill_uniform(&mut weights, 1.0 / (cols as f64).sqrt()),
            ProjectionKind::Gaussian => stream.fill_normal(&mut weights, 1.0 / (dims as f64).sqrt()),
        }
        Ok(Some(Projection { weights: Matrix::new(weights, cols) }))
    }

    /// Values per projected row.
    pub fn dims(&self) -> usize {
        self.weights.len()
    }

    /// Projects `rows` into `out` (as many rows of `dims` values).
    pub fn apply(&self, rows: Rows, out: &mut [f32]) {
        let dims = self.dims();
        assert_eq!(out.len(), rows.len() * dims, "room for every projected row");
        out.par_chunks_mut(BLOCK_ROWS * dims).enumerate().for_each(|(block, out)| {
            let from = block * BLOCK_ROWS;
            products(rows.slice(from..from + out.len() / dims), self.weights.view(), out);
        });
    }
}
