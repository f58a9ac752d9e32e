//! Searches and selections that ask every row: the plain twins of `neighbours` and `coreset` (`--naive`).
//!
//! Owns: the definition in its shortest form, against which the fast ways can be held on a user's own features. Does not own:
//! errors, which are found before.

use rayon::prelude::*;

use super::coreset::Start;
use super::distance::squared_distance;
use super::neighbours::{NO_ROW, Nearest};
use super::parts::Parts;
use crate::matrix::Rows;

/// The `k` nearest of `bank` for each query, by distance, then by row; rows of a query's own group are left out.
pub(super) fn nearest(queries: Rows, bank: &Parts, k: usize, groups: Option<(&[u32], &[u32])>) -> Nearest {
    let of_query = |query: usize| {
        let allowed = |row: &usize| groups.is_none_or(|(queries, bank)| queries[query] != bank[*row]);
        let distance = |row: usize| (squared_distance(queries.row(query), bank.row(row)), row as u32);
        let mut all: Vec<(f64, u32)> = (0..bank.len()).filter(allowed).map(distance).collect();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.resize(k, (f64::INFINITY, NO_ROW));
        all
    };
    let found: Vec<Vec<(f64, u32)>> = (0..queries.len()).into_par_iter().map(of_query).collect();
    let index = found.iter().flatten().map(|&(_, row)| row).collect();
    Nearest { index, distance: found.iter().flatten().map(|&(squared, _)| squared.sqrt() as f32).collect() }
}

/// The greedy selection with one sweep over all rows for each pick.
pub(super) fn greedy(rows: &Parts, count: usize, start: &Start) -> Vec<usize> {
    let distance = |row: usize, other: usize| squared_distance(rows.row(row), rows.row(other)).sqrt();
    let (mut picks, starts) = match start {
        Start::Row(row) => (vec![*row], std::slice::from_ref(row)),
        Start::MeanOf(starts) => (Vec::new(), starts.as_slice()),
    };
    let mean = |row| starts.iter().map(|&start| distance(row, start)).sum::<f64>() / starts.len() as f64;
    let mut far: Vec<f64> = (0..rows.len()).into_par_iter().map(mean).collect();
    while picks.len() < count {
        let pick = (0..far.len()).fold(0, |best, row| if far[row] > far[best] { row } else { best });
        picks.push(pick);
        far.par_iter_mut().enumerate().for_each(|(row, far)| *far = far.min(distance(row, pick)));
    }
    picks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::{coreset, neighbours};
    use crate::matrix::Matrix;
    use crate::random::{Purpose, stream};

    #[test]
    fn the_fast_ways_give_what_asking_every_row_gives() {
        let mut values = vec![0.0; 1500 * 40];
        stream(12, Purpose::Synthetic, 0).fill_normal(&mut values, 1.0);
        values.copy_within(0..100 * 40, 700 * 40); // a hundred rows twice
        let rows = Matrix::new(values, 40);
        let (bank, queries) = (Parts::new(&[rows.view()], 40), rows.view().slice(50..350));
        let of_row = |row: usize| row as u32 % 7;
        let groups: (Vec<u32>, Vec<u32>) = ((50..350).map(of_row).collect(), (0..1500).map(of_row).collect());
        let groups = Some((groups.0.as_slice(), groups.1.as_slice()));
        let found = neighbours::nearest(queries, &[rows.view()], groups).expect("a bank");
        assert_eq!(found, nearest(queries, &bank, 1, groups));
        let found = neighbours::k_nearest(queries, rows.view(), 9).expect("a bank");
        assert_eq!(found, nearest(queries, &bank, 9, None));
        for start in [Start::Row(3), Start::MeanOf(vec![8, 1, 8])] {
            let found = coreset::greedy(&[rows.view()], 200, &start).expect("rows");
            assert_eq!(found, greedy(&bank, 200, &start));
        }
    }
}
