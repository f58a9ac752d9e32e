//! Exact nearest neighbours in Euclidean distance, for bank look-ups.
//!
//! Owns: the search functions, their errors and their parallelism. Does not own: how candidates are found (`search`),
//! what a distance is (`distance`). Neither queries nor bank are copied, so both may be memory-mapped.

use super::search::{Bank, Best, Groups, QUERY_BLOCK_ROWS, Scratch, search, squared_norms};
use crate::error::{Error, Result};
use crate::matrix::Rows;
use rayon::prelude::*;

/// The bank row of a query that has none (every row belongs to its own group).
pub const NO_ROW: u32 = u32::MAX;

/// Neighbours of each query, query after query, nearest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nearest {
    /// Bank row; [`NO_ROW`] when no row was allowed.
    pub index: Vec<u32>,
    /// Euclidean distance: the root of the f64 sum of squared differences, rounded to f32. Infinite with [`NO_ROW`].
    pub distance: Vec<f32>,
}

/// The nearest row of each query in the bank that the `parts` would make if they stood one below the other; equal
/// distances go to the lowest row.
///
/// With `groups` = (group of each query, group of each bank row), rows of a query's own group are left out. A block of
/// rows close to one another and far from a query (noise around a centre, say) costs one distance instead of a search.
///
/// Errors: an empty bank, rows of another width, and a row that is not finite.
pub fn nearest(queries: Rows, parts: &[Rows], groups: Option<(&[u32], &[u32])>) -> Result<Nearest> {
    let bank = Bank::new(parts, queries.cols())?;
    if bank.len() == 0 {
        let help = "raise the coreset ratio, or check that the images the bank is made of exist";
        return Err(Error::method("the bank is empty, so nothing has a neighbour", help));
    }
    if let Some((query_groups, bank_groups)) = groups {
        assert_eq!(query_groups.len(), queries.len(), "one group for each query");
        assert_eq!(bank_groups.len(), bank.len(), "one group for each bank row");
    }
    run(queries, &bank, 1, groups)
}

/// The `k` nearest bank rows of each query, `queries.len()` × `k`, by distance, then by row.
///
/// Errors: those of [`nearest`], `k` = 0, and `k` above the size of the bank.
pub fn k_nearest(queries: Rows, bank: Rows, k: usize) -> Result<Nearest> {
    let bank = Bank::new(&[bank], queries.cols())?;
    if k == 0 || k > bank.len() {
        let what = format!("{k} neighbours are wanted of a bank of {} rows", bank.len());
        let help = "ask for at least one and at most as many as the bank has, or make the bank larger";
        return Err(Error::method(what, help));
    }
    run(queries, &bank, k, None)
}

fn run(queries: Rows, bank: &Bank, k: usize, groups: Option<(&[u32], &[u32])>) -> Result<Nearest> {
    let norms = squared_norms(&[queries], "queries")?;
    let mut index = vec![NO_ROW; queries.len() * k];
    let mut distance = vec![f32::INFINITY; queries.len() * k];
    let block_rows = block_rows(queries.len());
    index.par_chunks_mut(block_rows * k).zip(distance.par_chunks_mut(block_rows * k)).enumerate().for_each_init(
        Scratch::default,
        |scratch, (block, (index, distance))| {
            let range = block * block_rows..block * block_rows + index.len() / k;
            let groups = groups.map(|(queries, bank)| Groups { queries: &queries[range.clone()], bank });
            let mut best: Vec<Best> = range.clone().map(|_| Best::new(k, f64::INFINITY)).collect();
            search(queries.slice(range.clone()), &norms[range], bank, groups, &mut best, scratch);
            for (i, best) in best.iter().enumerate() {
                for (j, &(squared, row)) in best.found().iter().enumerate() {
                    index[i * k + j] = row;
                    distance[i * k + j] = squared.sqrt() as f32;
                }
            }
        },
    );
    Ok(Nearest { index, distance })
}

/// Queries in a block: fewer than usual when there would not be a few blocks for each thread. Blocks change nothing
/// but the time.
fn block_rows(queries: usize) -> usize {
    queries.div_ceil(4 * rayon::current_num_threads()).clamp(1, QUERY_BLOCK_ROWS)
}
