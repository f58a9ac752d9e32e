//! Banks against brute force on random mixtures of what makes filters err: ties, duplicates, constant rows, values near zero and
//! far from it, sizes that fill no block.

use crate::bank::{brute_force, plain_greedy};
use dmad::bank::coreset::{Start, greedy};
use dmad::bank::neighbours::{k_nearest, nearest};
use dmad::matrix::{Matrix, Rows};
use dmad::random::{Purpose, stream};
use proptest::prelude::*;

/// What rows are made of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    /// A few whole numbers: most distances tie.
    Levels,
    /// Around one of three places, far from zero; farther apart than they are wide.
    Clusters,
    /// The same value in all columns.
    Constant,
    /// So small that squares vanish in single precision.
    Denormal,
    /// So large that squares nearly overflow.
    Huge,
    /// Zeros but for one column.
    Peak,
}

const KINDS: [Kind; 7] =
    [Kind::Plain, Kind::Levels, Kind::Clusters, Kind::Constant, Kind::Denormal, Kind::Huge, Kind::Peak];

/// Rows of the `kinds` in turn; one in five repeats the row before it.
fn mixture(rows: usize, cols: usize, kinds: &[usize], seed: u64) -> Matrix {
    let mut draws = stream(seed, Purpose::Synthetic, 0);
    let mut values = vec![0.0; rows * cols];
    draws.fill_normal(&mut values, 1.0);
    for row in 0..rows {
        let copied = row > 0 && draws.below(5) == 0;
        if copied {
            values.copy_within((row - 1) * cols..row * cols, row * cols);
            continue;
        }
        let kind = KINDS[kinds[draws.below(kinds.len())]];
        let (place, peak) = (draws.below(3) as f32, draws.below(cols));
        let own = &mut values[row * cols..(row + 1) * cols];
        let first = own[0];
        own.iter_mut().enumerate().for_each(|(col, value)| {
            *value = match kind {
                Kind::Plain => *value,
                Kind::Levels => value.round(),
                Kind::Clusters => 100.0 + place * 3.0 + 1e-3 * *value,
                Kind::Constant => first,
                Kind::Denormal => *value * 1e-40,
                Kind::Huge => *value * 1e15,
                Kind::Peak => {
                    if col == peak {
                        30.0
                    } else {
                        0.0
                    }
                }
            }
        });
    }
    Matrix::new(values, cols)
}

/// Rows and columns and kinds of rows, and a seed.
fn sizes(most: usize) -> impl Strategy<Value = (usize, usize, Vec<usize>, u64)> {
    (1..most, 1..200usize, prop::collection::vec(0..KINDS.len(), 1..4), any::<u64>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn neighbours_are_those_of_the_double_loop((rows, cols, kinds, seed) in sizes(1400), queries in 1..120usize, k in 1..6usize) {
        let (bank, asked) = (mixture(rows, cols, &kinds, seed), mixture(queries, cols, &kinds, seed ^ 1));
        let k = k.min(rows);
        let expected = brute_force(asked.view(), bank.view(), k, |_, _| true);
        prop_assert_eq!(k_nearest(asked.view(), bank.view(), k).unwrap(), expected);
        let group = |row: usize| row as u32 % 5;
        let groups: (Vec<u32>, Vec<u32>) = ((0..queries).map(group).collect(), (0..rows).map(group).collect());
        let expected = brute_force(asked.view(), bank.view(), 1, |query, row| query % 5 != row % 5);
        prop_assert_eq!(nearest(asked.view(), &[bank.view()], Some((&groups.0, &groups.1))).unwrap(), expected);
    }

    #[test]
    fn picks_are_those_of_the_plain_algorithm((rows, cols, kinds, seed) in sizes(1600), share in 0.0..1.0f64, cut in 0.0..1.0f64) {
        let all = mixture(rows, cols, &kinds, seed);
        let (count, cut) = (1 + (share * (rows - 1).min(300) as f64) as usize, (cut * rows as f64) as usize);
        let parts: [Rows; 2] = [all.view().slice(0..cut), all.view().slice(cut..rows)];
        for start in [Start::Row(seed as usize % rows), Start::MeanOf(vec![0, rows / 2])] {
            prop_assert_eq!(greedy(&parts, count, &start).unwrap(), plain_greedy(all.view(), count, &start));
        }
    }

    #[test]
    fn a_value_that_is_no_number_is_refused(rows in 1..90usize, cols in 1..50usize, seed in any::<u64>()) {
        let good = mixture(rows, cols, &[0], seed);
        let mut broken = good.clone();
        broken.data_mut()[seed as usize % (rows * cols)] = f32::NAN;
        prop_assert!(nearest(good.view(), &[broken.view()], None).is_err());
        prop_assert!(nearest(broken.view(), &[good.view()], None).is_err());
        prop_assert!(greedy(&[broken.view()], 1, &Start::Row(0)).is_err());
    }
}
