//! Products of matrices on the processor.
//!
//! Owns: the order of sums (256 terms one after the other, and such sums in order, so threads decide nothing), blocks, and the
//! innermost loop for processors with AVX-512; others have the `gemm` crate's. Does not own: how factors lie (`factors`), tensors
//! (`product`), what convolutions make of it (`backbone::window`).
//!
//! Six rows of the left matrix meet 64 columns of the right one, which lie together in a panel of 256 values each: 24 sums in
//! registers, and ten loads for every 24 of their multiplications. benches/README.md says what one thread reaches.

use rayon::prelude::*;

use super::factors::{DEPTH, LANES, PANEL, WIDE};
pub use super::factors::{Panels, Right, Strided};

/// Rows that are computed together.
const TOGETHER: usize = 6;
/// Rows of a block, which one thread works on.
const BLOCK_ROWS: usize = 32 * TOGETHER;
/// Rows of a block that make its panels worth copying.
const LEAST_ROWS: usize = 8 * TOGETHER;
/// Multiplications that are worth a second thread.
const LEAST: usize = 1 << 21;

/// Rows, columns, and what is summed over.
pub type Shape = [usize; 3];

/// Writes left · right to `out`, whose rows are `pitch` apart; with `adds`, adds it. Threads share the rows.
///
/// # Panics
/// Matrices smaller than `shape` says.
pub fn multiply(out: &mut [f32], pitch: usize, shape: Shape, left: Strided, right: &impl Right, adds: bool) {
    let [rows, columns, inner] = shape;
    check(out, pitch, shape, left);
    // Enough blocks for several threads, however many there are.
    let block = rows.div_ceil(4).next_multiple_of(TOGETHER).clamp(LEAST_ROWS, BLOCK_ROWS);
    if rows * columns * inner < LEAST || block >= rows {
        return multiply_alone(out, pitch, shape, left, right, adds);
    }
    out.par_chunks_mut(block * pitch).take(rows.div_ceil(block)).enumerate().for_each(|(number, out)| {
        let (first, count) = (number * block, block.min(rows - number * block));
        let left = Strided { values: &left.values[first * left.row..], ..left };
        multiply_alone(out, pitch, [count, columns, inner], left, right, adds);
    });
}

/// The product that [`multiply`] makes, on this thread alone.
///
/// # Panics
/// Matrices smaller than `shape` says.
pub fn multiply_alone(out: &mut [f32], pitch: usize, shape: Shape, left: Strided, right: &impl Right, adds: bool) {
    let [rows, columns, inner] = shape;
    check(out, pitch, shape, left);
    if inner == 0 {
        return if !adds {
            out.chunks_mut(pitch).take(rows).for_each(|row| row[..columns].fill(0.0));
        };
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the instructions are there, and sizes were checked above.
        return unsafe { avx512::multiply(out, pitch, shape, left, right, adds) };
    }
    let mut copied = vec![0.0; inner * columns];
    copied.chunks_exact_mut(columns).enumerate().for_each(|(row, out)| right.copy(row, 0, out));
    // SAFETY: the last value of `out` and of `left` is inside, as was checked above; `copied` has as many rows and columns;
    // `out` is borrowed mutably, so it overlaps neither of the others.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            pitch as isize,
            adds,
            left.values.as_ptr(),
            left.column as isize,
            left.row as isize,
            copied.as_ptr(),
            1,
            columns as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn check(out: &[f32], pitch: usize, [rows, columns, inner]: Shape, left: Strided) {
    assert!(rows * columns > 0 && columns <= pitch, "{rows} x {columns}, {pitch} apart");
    assert!((rows - 1) * pitch + columns <= out.len(), "the result is outside");
    let last = (rows - 1) * left.row + inner.saturating_sub(1) * left.column;
    assert!(inner == 0 || last < left.values.len(), "the left factor is outside");
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{BLOCK_ROWS, DEPTH, LANES, PANEL, Right, Shape, Strided, TOGETHER, WIDE};
    use crate::device::turn::turn;
    use std::arch::x86_64::*;
    use std::cell::RefCell;

    thread_local! {
        /// A panel, and rows of the left factor in the order in which they are read.
        static SCRATCH: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
    }

    /// # Safety
    /// The processor has AVX-512; `out` and `left` are as large as `shape` says.
    pub(super) unsafe fn multiply(
        out: &mut [f32],
        pitch: usize,
        [rows, columns, inner]: Shape,
        left: Strided,
        right: &impl Right,
        adds: bool,
    ) {
        SCRATCH.with_borrow_mut(|(panel, ordered)| {
            panel.resize(DEPTH * PANEL, 0.0);
            for from in (0..inner).step_by(DEPTH) {
                let depth = DEPTH.min(inner - from);
                for first_row in (0..rows).step_by(BLOCK_ROWS) {
                    let count = BLOCK_ROWS.min(rows - first_row);
                    let own = Strided { values: &left.values[first_row * left.row + from * left.column..], ..left };
                    let own = if left.column == 1 { own } else { in_order(own, count, depth, ordered) };
                    for first in (0..columns).step_by(PANEL) {
                        let width = PANEL.min(columns - first);
                        let pitch_of_panel = width.next_multiple_of(LANES);
                        let panel = match right.panel(from, first, depth) {
                            Some(panel) => panel,
                            None => {
                                let panel = &mut panel[..depth * pitch_of_panel];
                                right.copy_rows(from, first, width, pitch_of_panel, panel);
                                panel
                            }
                        };
                        for row in (0..count).step_by(TOGETHER) {
                            let tile = Tile {
                                left: Strided { values: &own.values[row * own.row..], ..own },
                                depth,
                                panel,
                                width,
                                pitch,
                                adds: adds || from > 0,
                            };
                            let out = &mut out[(first_row + row) * pitch + first..];
                            // SAFETY: as the caller promises; rows and columns are inside of both.
                            unsafe { tile.run(TOGETHER.min(count - row), out) };
                        }
                    }
                }
            }
        });
    }

    /// Copies rows whose values do not lie together.
    fn in_order<'a>(left: Strided, rows: usize, depth: usize, ordered: &'a mut Vec<f32>) -> Strided<'a> {
        ordered.resize(rows * depth, 0.0);
        if left.row == 1 && rows <= left.column {
            turn(left.values, left.column, [depth, rows], ordered, depth);
        } else {
            for (row, out) in ordered.chunks_exact_mut(depth).enumerate() {
                let from = &left.values[row * left.row..];
                out.iter_mut().enumerate().for_each(|(column, out)| *out = from[column * left.column]);
            }
        }
        Strided { values: ordered, row: depth, column: 1 }
    }

    struct Tile<'a> {
        left: Strided<'a>,
        depth: usize,
        panel: &'a [f32],
        width: usize,
        pitch: usize,
        adds: bool,
    }

    impl Tile<'_> {
        /// # Safety
        /// The processor has AVX-512; so many rows are inside of the left factor and of `out`.
        #[target_feature(enable = "avx512f")]
        unsafe fn run(&self, rows: usize, out: &mut [f32]) {
            macro_rules! call {
                ($($rows:literal)*) => {
                    // SAFETY: as the caller promises.
                    unsafe {
                        match (rows, self.width.div_ceil(LANES)) {
                            $(($rows, 1) => self.sized::<$rows, 1>(out),
                            ($rows, 2) => self.sized::<$rows, 2>(out),
                            ($rows, 3) => self.sized::<$rows, 3>(out),
                            ($rows, WIDE) => self.sized::<$rows, WIDE>(out),)*
                            _ => unreachable!("at most six rows and four registers"),
                        }
                    }
                };
            }
            call!(1 2 3 4 5 6)
        }

        /// # Safety
        /// As of [`Tile::run`], for N rows and W registers.
        #[target_feature(enable = "avx512f")]
        unsafe fn sized<const N: usize, const W: usize>(&self, out: &mut [f32]) {
            let rest = self.width - (W - 1) * LANES;
            let mask = |w: usize| if w + 1 == W { ((1u32 << rest) - 1) as u16 } else { u16::MAX };
            let (out, values, panel) = (out.as_mut_ptr(), self.left.values.as_ptr(), self.panel.as_ptr());
            let mut sums = [[_mm512_setzero_ps(); W]; N];
            for index in 0..self.depth {
                // SAFETY: the panel has `depth` rows of W registers; rows of the left factor are as long.
                unsafe {
                    let row: [__m512; W] = std::array::from_fn(|w| _mm512_loadu_ps(panel.add((index * W + w) * LANES)));
                    for (n, sums) in sums.iter_mut().enumerate() {
                        let value = _mm512_set1_ps(*values.add(n * self.left.row + index));
                        sums.iter_mut().zip(&row).for_each(|(sum, row)| *sum = _mm512_fmadd_ps(value, *row, *sum));
                    }
                }
            }
            for (n, sums) in sums.iter().enumerate() {
                for (w, sum) in sums.iter().enumerate() {
                    // SAFETY: masked lanes are neither read nor written, all others are inside as the caller promises.
                    unsafe {
                        let to = out.add(n * self.pitch + w * LANES);
                        // Sums of few values each, added up, are closer than one long sum.
                        let sum =
                            if self.adds { _mm512_add_ps(*sum, _mm512_maskz_loadu_ps(mask(w), to)) } else { *sum };
                        _mm512_mask_storeu_ps(to, mask(w), sum);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn products_are_those_of_the_plain_sums_whatever_the_sizes_and_strides() {
        let mut draws = stream(6, Purpose::Synthetic, 0);
        for (rows, columns, inner) in
            [(1, 1, 1), (5, 7, 3), (6, 64, 512), (13, 130, 1030), (200, 33, 17), (400, 70, 100), (3, 5, 0)]
        {
            for turned in 0..4 {
                let strides = |is_turned: bool, rows: usize, columns: usize| match is_turned {
                    true => (1, rows + 2),
                    false => (columns + 1, 1),
                };
                let (of_left, of_right) =
                    (strides(turned & 1 > 0, rows, inner), strides(turned & 2 > 0, inner, columns));
                let mut drawn = |(row, column): (usize, usize), rows: usize, columns: usize| {
                    let mut values = vec![0.0; rows * row.max(1) * columns.max(1) * column];
                    draws.fill_normal(&mut values, 1.0);
                    values
                };
                let (a, b) = (drawn(of_left, rows, inner), drawn(of_right, inner, columns));
                let left = Strided { values: &a, row: of_left.0, column: of_left.1 };
                let right = Strided { values: &b, row: of_right.0, column: of_right.1 };
                let pitch = columns + 3;
                let before: Vec<f32> = (0..rows * pitch).map(|value| value as f32 / 100.0).collect();
                let panels = Panels::new(&right, [inner, columns]);
                for adds in [false, true] {
                    let mut out = before.clone();
                    multiply(&mut out, pitch, [rows, columns, inner], left, &right, adds);
                    let mut again = before.clone();
                    multiply(&mut again, pitch, [rows, columns, inner], left, &panels, adds);
                    assert!(again == out, "a factor that was copied before gives the same");
                    for row in 0..inner {
                        let mut copied = vec![0.0; columns];
                        panels.copy(row, 0, &mut copied);
                        let own = |column: usize| b[row * right.row + column * right.column];
                        assert!(copied.iter().enumerate().all(|(column, value)| *value == own(column)));
                    }
                    for (place, &found) in out.iter().enumerate() {
                        let (row, column) = (place / pitch, place % pitch);
                        let term = |k: usize| {
                            a[row * left.row + k * left.column] as f64 * b[k * right.row + column * right.column] as f64
                        };
                        let expected = match column < columns {
                            true => (0..inner).map(term).sum::<f64>() + if adds { before[place] as f64 } else { 0.0 },
                            false => before[place] as f64,
                        };
                        let error = (found as f64 - expected).abs();
                        assert!(
                            error < 1e-4 * (1.0 + inner as f64).sqrt(),
                            "{rows} {columns} {inner}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }
}
