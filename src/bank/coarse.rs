//! Bounds of distances from eight-bit products, faster than single-precision ones (benches/README.md).
//!
//! Owns: rows rounded to eight bits, their integer products on processors with AVX-512 VNNI, and how far a distance can be
//! from what they say. Does not own: decisions; rows that the bound leaves in question are compared exactly in `search`.
//!
//! With a centre μ and each row written as x − μ = s·i + e (i whole numbers within ±127, s a scale of the row, e what
//! rounding left), (q − μ)·(b − μ) is s_q·s_b·(i_q·i_b), exact in integers, plus e_q·(b − μ) + s_q·i_q·e_b, which by Cauchy
//! and Schwarz is at most ‖e_q‖‖b − μ‖ + ‖s_q·i_q‖‖e_b‖. Both ‖e‖ are measured, not assumed.

use super::distance::{dot, narrow_error, narrow_squared_distance};
use super::parts::Parts;
use crate::matrix::Rows;

/// Bank rows side by side in a register.
pub(super) const LANES: usize = 16;
/// Registers of bank rows that are multiplied together.
const PANELS: usize = 4;
/// Queries that are multiplied together.
const TOGETHER: usize = 6;
/// Columns that one instruction multiplies and adds up.
const DEPTH: usize = 4;
/// What is added to a bank row's whole numbers, which the instruction wants unsigned.
const OFFSET: i32 = 128;
/// Rows that a centre is the mean of, at most.
const CENTRE_ROWS: usize = 4096;
/// 1.5 · 2²³: single-precision numbers of this size are whole.
const WHOLE: f32 = 12_582_912.0;
/// Half a unit in the last place of single precision.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// True where the processor has the instructions.
pub(super) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The mean of rows taken evenly from a bank. Any centre gives right bounds, this one short rows and so close bounds.
pub(super) fn centre(parts: &Parts) -> Vec<f32> {
    let step = parts.len().div_ceil(CENTRE_ROWS).max(1);
    let mut sums = vec![0.0f64; parts.cols()];
    let taken = (0..parts.len()).step_by(step);
    let count = taken.len().max(1) as f64;
    for row in taken {
        sums.iter_mut().zip(parts.row(row)).for_each(|(sum, &value)| *sum += value as f64);
    }
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// A row as s·i + e.
struct Rounded {
    /// s.
    scale: f32,
    /// ‖x − μ‖, rounded up.
    length: f64,
    /// ‖e‖, rounded up.
    error: f64,
}

/// Rounds `row` − `centre` to `whole` numbers; `scratch` holds two rows.
fn round(row: &[f32], centre: &[f32], whole: &mut [i8], scratch: &mut [f32]) -> Rounded {
    let cols = row.len();
    let (centred, rounded) = scratch.split_at_mut(cols);
    let scale = to_whole(row, centre, whole, centred, rounded);
    // Subtracting μ and multiplying by s were rounded as well: half a unit of each value.
    let length = dot(centred, centred).sqrt() * (1.0 + 4.0 * UNIT);
    let left = narrow_squared_distance(centred, rounded) as f64 * (1.0 + 2.0 * narrow_error(cols));
    Rounded { scale, length, error: (left.sqrt() + 4.0 * UNIT * length) * (1.0 + 4.0 * UNIT) }
}

/// Writes x − μ, i and s·i, and returns s.
fn to_whole(row: &[f32], centre: &[f32], whole: &mut [i8], centred: &mut [f32], rounded: &mut [f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if available() {
        // SAFETY: the processor has the instructions, as just asked.
        return unsafe { vnni::to_whole(row, centre, whole, centred, rounded) };
    }
    to_whole_body(row, centre, whole, centred, rounded)
}

#[inline(always)]
fn to_whole_body(row: &[f32], centre: &[f32], whole: &mut [i8], centred: &mut [f32], rounded: &mut [f32]) -> f32 {
    centred.iter_mut().zip(row.iter().zip(centre)).for_each(|(out, (&value, &centre))| *out = value - centre);
    let (chunks, rest) = centred.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(most, value)| *most = if value.abs() > *most { value.abs() } else { *most });
    }
    let largest = lanes.iter().chain(rest).fold(0.0f32, |most, value| most.max(value.abs()));
    // Rows that are all zero, or nearly so, are all error.
    let inverse = 127.0 / largest;
    let (scale, inverse) = if inverse.is_finite() { (largest / 127.0, inverse) } else { (0.0, 0.0) };
    for ((whole, rounded), &value) in whole.iter_mut().zip(rounded.iter_mut()).zip(&*centred) {
        // Adding 1.5 · 2²³ rounds to the nearest whole number, which the last bits are then.
        let shifted = (value * inverse).clamp(-127.0, 127.0) + WHOLE;
        *whole = shifted.to_bits() as i8;
        *rounded = (shifted - WHOLE) * scale;
    }
    scale
}

/// Some rows of a bank in eight bits.
pub(super) struct Block {
    /// 16 rows side by side, four columns at a time; a whole number of [`PANELS`], filled up with rows that are infinitely far.
    panels: Vec<u8>,
    /// Of each row: ‖b − μ‖², 2·s_b, ‖b − μ‖ and ‖e_b‖.
    squares: Vec<f32>,
    scales: Vec<f32>,
    lengths: Vec<f32>,
    errors: Vec<f32>,
    /// The largest ‖b − μ‖.
    longest: f64,
    steps: usize,
}

impl Block {
    pub(super) fn new(rows: Rows, centre: &[f32]) -> Block {
        let (count, cols) = (rows.len().next_multiple_of(LANES * PANELS), rows.cols());
        let steps = cols.div_ceil(DEPTH);
        let mut block = Block {
            panels: vec![OFFSET as u8; count * steps * DEPTH],
            squares: vec![f32::INFINITY; count],
            scales: vec![0.0; count],
            lengths: vec![0.0; count],
            errors: vec![0.0; count],
            longest: 0.0,
            steps,
        };
        let (mut whole, mut scratch) = (vec![0; cols], vec![0.0; 2 * cols]);
        for index in 0..rows.len() {
            let rounded = round(rows.row(index), centre, &mut whole, &mut scratch);
            block.squares[index] = (rounded.length * rounded.length) as f32;
            block.scales[index] = 2.0 * rounded.scale;
            block.lengths[index] = rounded.length as f32;
            block.errors[index] = rounded.error as f32;
            block.longest = block.longest.max(rounded.length);
            let panel = &mut block.panels[index / LANES * LANES * steps * DEPTH..];
            for (col, &value) in whole.iter().enumerate() {
                panel[(col / DEPTH * LANES + index % LANES) * DEPTH + col % DEPTH] = (value as i32 + OFFSET) as u8;
            }
        }
        block
    }

    /// Rows, with those that fill it up.
    pub(super) fn width(&self) -> usize {
        self.squares.len()
    }
}

/// Queries in eight bits.
#[derive(Default)]
pub(super) struct Asked {
    whole: Vec<i8>,
    terms: Vec<Terms>,
    pitch: usize,
}

/// What a query's score needs besides the integer product.
#[derive(Clone, Copy)]
struct Terms {
    /// s_q.
    scale: f32,
    /// What [`OFFSET`] adds to a product.
    offset: i32,
    /// 2·‖e_q‖.
    error: f32,
    /// 2·‖s_q·i_q‖.
    length: f32,
    /// ‖q − μ‖.
    full: f64,
}

impl Asked {
    /// Rounds `queries`, into the memory of those before.
    pub(super) fn fill(&mut self, queries: Rows, centre: &[f32]) {
        let cols = queries.cols();
        self.pitch = cols.next_multiple_of(DEPTH);
        self.whole.clear();
        self.whole.resize(queries.len() * self.pitch, 0);
        self.terms.clear();
        let mut scratch = vec![0.0; 2 * cols];
        for (index, whole) in self.whole.chunks_exact_mut(self.pitch).enumerate() {
            let rounded = round(queries.row(index), centre, &mut whole[..cols], &mut scratch);
            self.terms.push(Terms {
                scale: rounded.scale,
                offset: whole.iter().map(|&value| value as i32).sum::<i32>() * OFFSET,
                error: (2.0 * rounded.error) as f32,
                length: (2.0 * (rounded.length + rounded.error)) as f32,
                full: rounded.length,
            });
        }
    }

    /// What must be added to a lower bound of [`scores`] to make it one of ‖q − b‖², less what rounding in single precision
    /// may have added: a dozen roundings of values below (‖q − μ‖ + ‖b − μ‖)², and what vanishes near zero.
    pub(super) fn shift(&self, query: usize, block: &Block) -> f64 {
        let full = self.terms[query].full;
        full * full - 2e-6 * (full + block.longest).powi(2) - 1e-30
    }

    /// How far an upper bound lies above the lower one of this row of the block.
    pub(super) fn gap(&self, query: usize, block: &Block, row: usize) -> f64 {
        let terms = &self.terms[query];
        let wide = terms.error as f64 * block.lengths[row] as f64 + terms.length as f64 * block.errors[row] as f64;
        2.0 * wide * (1.0 + 1e-6) + 4e-6 * (terms.full + block.longest).powi(2) + 2e-30
    }
}

/// Lower bounds of ‖b − μ‖² − 2·(q − μ)·(b − μ), for each of the `chosen` queries a row of `block.width()`;
/// [`Asked::shift`] makes them lower bounds of distances.
pub(super) fn scores(asked: &Asked, chosen: &[usize], block: &Block, out: &mut [f32]) {
    assert_eq!(asked.pitch, block.steps * DEPTH, "rows of another width");
    assert_eq!(out.len(), chosen.len() * block.width(), "a tile of another size");
    assert!(available(), "only asked for where the instructions are");
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the instructions, as just asked.
    unsafe {
        vnni::scores(asked, chosen, block, out)
    }
}

/// Gives `found` the rows whose scores are at most `highest`, in order.
pub(super) fn below(scores: &[f32], highest: f32, found: impl FnMut(usize)) {
    assert!(available(), "only asked for where the instructions are");
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the instructions, as just asked.
    unsafe {
        vnni::below(scores, highest, found)
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use super::{Asked, Block, DEPTH, LANES, PANELS, TOGETHER, Terms};
    use std::arch::x86_64::*;

    /// Bytes of a bank that are read for one step.
    const STEP: usize = LANES * DEPTH;

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn to_whole(
        row: &[f32],
        centre: &[f32],
        whole: &mut [i8],
        centred: &mut [f32],
        rounded: &mut [f32],
    ) -> f32 {
        super::to_whole_body(row, centre, whole, centred, rounded)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn scores(asked: &Asked, chosen: &[usize], block: &Block, out: &mut [f32]) {
        let group = PANELS * LANES * block.steps * DEPTH;
        for (number, panels) in block.panels.chunks_exact(group).enumerate() {
            let first = number * PANELS * LANES;
            for (queries, out) in chosen.chunks(TOGETHER).zip(out.chunks_mut(TOGETHER * block.width())) {
                match queries.as_chunks::<TOGETHER>().0 {
                    [queries] => together(asked, queries, block, first, panels, out),
                    _ => queries.iter().zip(out.chunks_exact_mut(block.width())).for_each(|(&query, out)| {
                        together(asked, &[query], block, first, panels, out);
                    }),
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn below(scores: &[f32], highest: f32, mut found: impl FnMut(usize)) {
        let highest = _mm512_set1_ps(highest);
        for (number, lanes) in scores.as_chunks::<LANES>().0.iter().enumerate() {
            // SAFETY: a chunk has as many values as a register.
            let scores = unsafe { _mm512_loadu_ps(lanes.as_ptr()) };
            let mut mask = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(scores, highest);
            while mask != 0 {
                found(number * LANES + mask.trailing_zeros() as usize);
                mask &= mask - 1;
            }
        }
    }

    /// Scores of some queries with the rows from `first` on, which `panels` are.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn together<const N: usize>(
        asked: &Asked,
        queries: &[usize; N],
        block: &Block,
        first: usize,
        panels: &[u8],
        out: &mut [f32],
    ) {
        let whole = queries.map(|query| &asked.whole[query * asked.pitch..][..asked.pitch]);
        let sums = products(whole, panels, block.steps);
        for ((&query, sums), out) in queries.iter().zip(&sums).zip(out.chunks_exact_mut(block.width())) {
            finish(&asked.terms[query], block, first, sums, &mut out[first..first + PANELS * LANES]);
        }
    }

    /// Σ i_q·(i_b + 128) of some queries with four registers of bank rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn products<const N: usize>(queries: [&[i8]; N], panels: &[u8], steps: usize) -> [[__m512i; PANELS]; N] {
        let mut sums = [[_mm512_setzero_si512(); PANELS]; N];
        assert_eq!(panels.len(), PANELS * steps * STEP, "whole panels");
        assert!(queries.iter().all(|query| query.len() == steps * DEPTH), "whole queries");
        for step in 0..steps {
            // SAFETY: `panels` has four times `steps` registers of 64 bytes, as just asserted.
            let panel = |p: usize| unsafe { _mm512_loadu_si512(panels.as_ptr().add((p * steps + step) * STEP).cast()) };
            let bank: [__m512i; PANELS] = [panel(0), panel(1), panel(2), panel(3)];
            for (query, sums) in queries.iter().zip(&mut sums) {
                // SAFETY: a query has four bytes for each step, as asserted above.
                let four = unsafe { query.as_ptr().add(step * DEPTH).cast::<i32>().read_unaligned() };
                let four = _mm512_set1_epi32(four);
                for (sum, bank) in sums.iter_mut().zip(&bank) {
                    *sum = _mm512_dpbusd_epi32(*sum, *bank, four);
                }
            }
        }
        sums
    }

    /// Scores of one query from its sums with the rows from `first` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn finish(terms: &Terms, block: &Block, first: usize, sums: &[__m512i; PANELS], out: &mut [f32]) {
        let (offset, scale) = (_mm512_set1_epi32(terms.offset), _mm512_set1_ps(terms.scale));
        let (error, length) = (_mm512_set1_ps(terms.error), _mm512_set1_ps(terms.length));
        for (panel, (sum, out)) in sums.iter().zip(out.as_chunks_mut::<LANES>().0).enumerate() {
            let from = first + panel * LANES;
            // SAFETY: each of these has as many values as the block has rows, filled up to whole registers.
            let load = |values: &[f32]| unsafe { _mm512_loadu_ps(values[from..from + LANES].as_ptr()) };
            let product = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(*sum, offset)), scale);
            let score = _mm512_fnmadd_ps(product, load(&block.scales), load(&block.squares));
            let score = _mm512_fnmadd_ps(error, load(&block.lengths), score);
            let score = _mm512_fnmadd_ps(length, load(&block.errors), score);
            // SAFETY: `out` has room for a register.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), score) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::distance::squared_distance;
    use crate::matrix::Matrix;
    use crate::random::{Purpose, stream};

    /// Rows of several kinds: plain, far from the centre, tiny, one large value, all equal.
    fn rows(count: usize, cols: usize, index: u64) -> Matrix {
        let mut values = vec![0.0; count * cols];
        stream(9, Purpose::Synthetic, index).fill_normal(&mut values, 1.0);
        for (number, row) in values.chunks_exact_mut(cols).enumerate() {
            match number % 7 {
                1 => row.iter_mut().for_each(|value| *value = *value * 1e-3 + 40.0),
                2 => row.iter_mut().for_each(|value| *value *= if number % 2 == 0 { 1e-30 } else { 1e-40 }),
                3 => row[number % cols] = 300.0,
                4 => row.fill(0.5),
                5 => row.iter_mut().for_each(|value| *value = value.max(0.0) * 1e12),
                _ => {}
            }
        }
        Matrix::new(values, cols)
    }

    #[test]
    fn every_distance_lies_between_its_bounds_at_every_width() {
        if !available() {
            return;
        }
        for (case, cols) in [1, 2, 3, 4, 5, 63, 64, 152, 257, 1536].into_iter().enumerate() {
            let (queries, bank) = (rows(20, cols, 2 * case as u64), rows(100, cols, 2 * case as u64 + 1));
            let (parts, chosen) = (Parts::new(&[bank.view()], cols), [0, 3, 4, 5, 9, 13, 17, 19]);
            let centre = centre(&parts);
            let block = Block::new(bank.view(), &centre);
            let mut asked = Asked::default();
            asked.fill(queries.view(), &centre);
            let mut out = vec![0.0; chosen.len() * block.width()];
            scores(&asked, &chosen, &block, &mut out);
            for (&query, scores) in chosen.iter().zip(out.chunks_exact(block.width())) {
                assert!(scores[100..].iter().all(|&score| score == f32::INFINITY), "rows that fill up");
                for (row, &score) in scores[..100].iter().enumerate() {
                    let exact = squared_distance(queries.view().row(query), bank.view().row(row));
                    let lower = score as f64 + asked.shift(query, &block);
                    let upper = lower + asked.gap(query, &block, row);
                    assert!(lower <= exact && exact <= upper, "{cols} {query} {row}: {lower} {exact} {upper}");
                    let (is_usual, length) = (query % 7 == 0 && row % 7 == 0, block.lengths[row] as f64);
                    let gap = asked.gap(query, &block, row);
                    assert!(!is_usual || cols < 64 || gap < 0.2 * length * (length + asked.terms[query].full), "{gap}");
                }
            }
        }
    }
}
