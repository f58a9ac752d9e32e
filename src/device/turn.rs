//! Matrices turned round, sixteen rows and columns at a time.
//!
//! Owns: the copy. A product, a convolution and a map whose channels lie together all read some factor the other way round; value
//! by value that takes as long as their sums do.

/// Rows and columns of a square.
const SIDE: usize = 16;

/// Writes the matrix of rows × columns whose rows are `from_pitch` apart to `to`, column by column, `to_pitch` apart.
///
/// # Panics
/// Matrices outside of their values, or pitches less than a row.
pub fn turn(from: &[f32], from_pitch: usize, [rows, columns]: [usize; 2], to: &mut [f32], to_pitch: usize) {
    if rows * columns == 0 {
        return;
    }
    assert!(columns <= from_pitch && (rows - 1) * from_pitch + columns <= from.len(), "the matrix is outside");
    assert!(rows <= to_pitch && (columns - 1) * to_pitch + rows <= to.len(), "the turned matrix is outside");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        for row in (0..rows).step_by(SIDE) {
            for column in (0..columns).step_by(SIDE) {
                let square = [SIDE.min(rows - row), SIDE.min(columns - column)];
                let (from, to) = (&from[row * from_pitch + column..], &mut to[column * to_pitch + row..]);
                // SAFETY: the instructions are there, and the square lies inside of both, as was checked above.
                unsafe { avx512::square(from.as_ptr(), from_pitch, square, to.as_mut_ptr(), to_pitch) };
            }
        }
        return;
    }
    for row in (0..rows).step_by(SIDE) {
        for column in 0..columns {
            let own = &mut to[column * to_pitch + row..][..SIDE.min(rows - row)];
            own.iter_mut().enumerate().for_each(|(place, to)| *to = from[(row + place) * from_pitch + column]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::SIDE;
    use std::arch::x86_64::*;

    fn mask(count: usize) -> u16 {
        ((1u32 << count) - 1) as u16
    }

    /// Turns at most 16 × 16 values round.
    ///
    /// # Safety
    /// The processor has AVX-512; so many rows of so many columns lie behind `from`, and turned round behind `to`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn square(
        from: *const f32,
        from_pitch: usize,
        [rows, columns]: [usize; 2],
        to: *mut f32,
        to_pitch: usize,
    ) {
        let lanes = mask(columns);
        let mut line = [_mm512_setzero_ps(); SIDE];
        for (row, line) in line.iter_mut().enumerate().take(rows) {
            // SAFETY: masked lanes are not read, all others are inside as the caller promises.
            *line = unsafe { _mm512_maskz_loadu_ps(lanes, from.add(row * from_pitch)) };
        }
        // Pairs of rows, then fours: afterwards each quarter of `fours[4 i + j]` has column j (and 4, 8, 12 on) of rows 4 i to 4 i + 3.
        let mut fours = [_mm512_setzero_pd(); SIDE];
        for i in (0..SIDE).step_by(4) {
            let (a, b, c, d) = (line[i], line[i + 1], line[i + 2], line[i + 3]);
            let (first, second) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            let (first, second) = (_mm512_castps_pd(first), _mm512_castps_pd(second));
            fours[i] = _mm512_unpacklo_pd(first, second);
            fours[i + 1] = _mm512_unpackhi_pd(first, second);
            let (first, second) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            let (first, second) = (_mm512_castps_pd(first), _mm512_castps_pd(second));
            fours[i + 2] = _mm512_unpacklo_pd(first, second);
            fours[i + 3] = _mm512_unpackhi_pd(first, second);
        }
        // Even and odd quarters of eight rows, then of sixteen. No adapters of closures here: they would be compiled without the
        // instructions.
        let lanes = mask(rows);
        macro_rules! store {
            ($column:expr, $values:expr) => {
                if $column < columns {
                    // SAFETY: masked lanes are not written, all others are inside as the caller promises.
                    unsafe { _mm512_mask_storeu_ps(to.add($column * to_pitch), lanes, $values) };
                }
            };
        }
        for j in 0..4 {
            let four = |i: usize| _mm512_castpd_ps(fours[i + j]);
            let (a, b, c, d) = (four(0), four(4), four(8), four(12));
            let (first, second) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
            store!(j, _mm512_shuffle_f32x4::<0x88>(first, second));
            store!(8 + j, _mm512_shuffle_f32x4::<0xdd>(first, second));
            let (first, second) = (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d));
            store!(4 + j, _mm512_shuffle_f32x4::<0x88>(first, second));
            store!(12 + j, _mm512_shuffle_f32x4::<0xdd>(first, second));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_where_its_row_and_column_say_and_nothing_else_is_written() {
        for (rows, columns) in [(1, 1), (16, 16), (3, 40), (33, 17), (50, 5), (64, 48)] {
            let (from_pitch, to_pitch) = (columns + 2, rows + 3);
            let from: Vec<f32> = (0..rows * from_pitch).map(|value| value as f32).collect();
            let mut to = vec![-1.0; columns * to_pitch];
            turn(&from, from_pitch, [rows, columns], &mut to, to_pitch);
            for (place, &value) in to.iter().enumerate() {
                let (column, row) = (place / to_pitch, place % to_pitch);
                let expected = if row < rows { from[row * from_pitch + column] } else { -1.0 };
                assert_eq!(value, expected, "{rows} x {columns}: row {row}, column {column}");
            }
        }
    }
}
