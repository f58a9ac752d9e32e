//! The blocks of a frozen transformer on processors with AVX-512: few passes over few values.
//!
//! Owns: the order of work. A block is three steps, each shared out among threads: queries, keys and values by rows of tokens; attention
//! by heads; everything behind it by rows again, from the projection to the hidden layer, while a thread's rows stay near it.
//! Sums have the order of `device::multiply`, so threads and batches decide nothing. Does not own: what enters the first block
//! (`network`).

use rayon::prelude::*;

use super::network::{Folded, NORM_EPSILON};
use super::{Form, MLP_RATIO};
use crate::device::curves::{gelu, softmax, standardise};
use crate::device::multiply::{Panels, Strided, multiply_alone};
use crate::device::wide::wide;

/// Rows of tokens that a thread takes at once: hidden values of so many lie in its cache.
const ROWS: usize = 96;

/// A linear layer whose weights lie as products read them.
struct Layer {
    weight: Panels,
    bias: Vec<f32>,
    inputs: usize,
}

impl Layer {
    fn new(folded: Folded) -> Layer {
        let Folded { weight, bias, inputs } = folded;
        let outputs = bias.len();
        let right = Strided { values: &weight, row: outputs, column: 1 };
        Layer { weight: Panels::new(&right, [inputs, outputs]), bias, inputs }
    }

    /// Adds what the layer makes of rows to `out`.
    fn add(&self, rows: &[f32], out: &mut [f32]) {
        let outputs = self.bias.len();
        for row in out.chunks_exact_mut(outputs) {
            wide(|| row.iter_mut().zip(&self.bias).for_each(|(value, bias)| *value += bias));
        }
        let left = Strided { values: rows, row: self.inputs, column: 1 };
        multiply_alone(out, outputs, [rows.len() / self.inputs, outputs, self.inputs], left, &self.weight, true);
    }

    /// Writes what it makes of rows.
    fn write(&self, rows: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        self.add(rows, out);
    }
}

/// A block.
pub struct Block {
    attended: Layer,
    projected: Layer,
    hidden: Layer,
    out: Layer,
    width: usize,
    heads: usize,
}

/// What threads write, kept for the next block.
#[derive(Default)]
pub struct Scratch {
    /// Query, key, value of every token.
    all: Vec<f32>,
    /// What every head of every image found: images × heads × tokens × width of a head.
    found: Vec<f32>,
}

impl Block {
    /// Packs the layers of a block, in the order in which they are used.
    pub fn new([attended, projected, hidden, out]: [Folded; 4], form: &Form) -> Block {
        let [attended, projected, hidden, out] = [attended, projected, hidden, out].map(Layer::new);
        Block { attended, projected, hidden, out, width: form.width, heads: form.heads }
    }

    /// Takes rows of tokens, image by image, through the block.
    pub fn apply(&self, rows: &mut [f32], images: usize, scratch: &mut Scratch) {
        let (width, tokens) = (self.width, rows.len() / self.width / images.max(1));
        let Scratch { all, found } = scratch;
        all.resize(3 * rows.len(), 0.0);
        found.resize(rows.len(), 0.0);
        let parts = rows.par_chunks(ROWS * width).zip(all.par_chunks_mut(ROWS * 3 * width));
        parts.for_each_init(Vec::new, |normal, (rows, all)| self.attended.write(normalised(rows, width, normal), all));
        let own = width / self.heads;
        let heads = found.par_chunks_mut(tokens * own).enumerate();
        heads.for_each_init(Vec::new, |logits, (number, found)| {
            let (image, head) = (number / self.heads, number % self.heads);
            let image = &all[image * tokens * 3 * width..][..tokens * 3 * width];
            self.attend(image, head, logits, found);
        });
        let parts = rows.par_chunks_mut(ROWS * width).enumerate();
        parts.for_each_init(Default::default, |(normal, inner), (number, rows)| {
            self.behind(rows, |row| (number * ROWS + row, tokens), found, normal, inner);
        });
    }

    /// What a head finds of an image, whose queries, keys and values are in `all`.
    fn attend(&self, all: &[f32], head: usize, logits: &mut Vec<f32>, found: &mut [f32]) {
        let (width, own) = (self.width, self.width / self.heads);
        let tokens = found.len() / own;
        let part = |number: usize| &all[number * width + head * own..];
        let keys = Panels::new(&Strided { values: part(1), row: 1, column: 3 * width }, [own, tokens]);
        let values = Panels::new(&Strided { values: part(2), row: 3 * width, column: 1 }, [tokens, own]);
        logits.resize(ROWS * tokens, 0.0);
        for (number, found) in found.chunks_mut(ROWS * own).enumerate() {
            let rows = found.len() / own;
            let queries = Strided { values: &part(0)[number * ROWS * 3 * width..], row: 3 * width, column: 1 };
            let logits = &mut logits[..rows * tokens];
            multiply_alone(logits, tokens, [rows, tokens, own], queries, &keys, false);
            logits.chunks_exact_mut(tokens).for_each(|row| wide(|| softmax(row)));
            let weights = Strided { values: logits, row: tokens, column: 1 };
            multiply_alone(found, own, [rows, own, tokens], weights, &values, false);
        }
    }

    /// What is behind attention, for rows of which `place` says the number and how many tokens an image has.
    fn behind(
        &self,
        rows: &mut [f32],
        place: impl Fn(usize) -> (usize, usize),
        found: &[f32],
        normal: &mut Vec<f32>,
        inner: &mut Vec<f32>,
    ) {
        let (width, own) = (self.width, self.width / self.heads);
        normal.resize(rows.len(), 0.0);
        for (row, joined) in normal.chunks_exact_mut(width).enumerate() {
            let (number, tokens) = place(row);
            let (image, token) = (number / tokens, number % tokens);
            for (head, joined) in joined.chunks_exact_mut(own).enumerate() {
                joined.copy_from_slice(&found[((image * self.heads + head) * tokens + token) * own..][..own]);
            }
        }
        self.projected.add(normal, rows);
        inner.resize(MLP_RATIO * rows.len(), 0.0);
        self.hidden.write(normalised(rows, width, normal), inner);
        inner.chunks_mut(ROWS * width).for_each(|values| wide(|| gelu(values)));
        self.out.add(inner, rows);
    }
}

/// Rows with mean 0 and variance 1, in `normal`.
fn normalised<'a>(rows: &[f32], width: usize, normal: &'a mut Vec<f32>) -> &'a [f32] {
    normal.resize(rows.len(), 0.0);
    for (row, out) in rows.chunks_exact(width).zip(normal.chunks_exact_mut(width)) {
        wide(|| standardise(row, NORM_EPSILON as f32, out));
    }
    normal
}
