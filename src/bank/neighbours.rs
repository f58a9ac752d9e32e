//! Exact nearest neighbours in Euclidean distance, for bank look-ups.
//!
//! Owns: the search functions, their errors and their parallelism. Does not own: how candidates are found (`search`),
//! what a distance is (`distance`). Neither queries nor bank are copied, so both may be memory-mapped.

use super::plain;
use super::search::{Bank, Best, Groups, QUERY_BLOCK_ROWS, Scratch, search, squared_norms};
#[cfg(feature = "gpu")]
use super::{
    distance::squared_distance,
    filter::{Asked, Resident, beyond_bound},
    parts::Parts,
    search::check_widths,
};
use crate::device::Precision;
use crate::device::check::Family;
#[cfg(feature = "gpu")]
use crate::device::is_cpu;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, Rows};
use crate::naive;
use crate::random::{Purpose, stream};
use burn::tensor::Device;
use rayon::prelude::*;
#[cfg(feature = "gpu")]
use std::ops::Range;

/// Queries that a GPU looks at together.
#[cfg(feature = "gpu")]
const DEVICE_QUERIES: usize = 16_384;
/// Rows that a GPU may note for a query before the query is left to the host.
#[cfg(feature = "gpu")]
const SLOTS: usize = 16;

/// What a search takes of a GPU besides the bank, for rows of 1,536 values: two blocks of queries and a tile of products.
pub const DEVICE_BYTES: usize = 4 * (2 * 16_384 * 1536 + 16_384 * 1024);

/// What a device must get right before it searches: the nearest of rows among which are equal ones and ones of a group, and that no
/// product of 1,536 columns is further off than the filter's bound.
pub const CHECKS: &[Family] =
    &[Family { name: "nearest neighbours", run: |device| check(device, Precision::F32), tolerance: 0.0 }];

/// The same where products of searches are made with cut factors.
pub const CUT_CHECKS: &[Family] = &[Family {
    name: "nearest neighbours by cut factors",
    run: |device| check(device, Precision::Tf32),
    tolerance: 0.0,
}];

fn check(device: &Device, precision: Precision) -> Vec<f32> {
    let mut values = vec![0.0; 300 * 24];
    stream(0, Purpose::InitialWeights, 0).fill_normal(&mut values, 1.0);
    values.copy_within(0..24 * 20, 24 * 150); // twice there
    let (rows, groups) = (Matrix::new(values, 24), (0..300).map(|row| row % 7).collect::<Vec<u32>>());
    let found = nearest_on((device, precision), rows.view(), &[rows.view()], Some((&groups, &groups)));
    let of_search = |found: Nearest| found.index.iter().map(|&row| row as f32).chain(found.distance).collect();
    let out: Vec<f32> = found.map_or_else(|_| Vec::new(), of_search);
    #[cfg(feature = "gpu")]
    let out = [out, beyond_bound(device, precision)].concat();
    out
}

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

/// [`nearest`] with the work on a device, whose products are made in this precision. A GPU finds candidates and decides nothing
/// (`filter`), so the answer depends on neither.
///
/// Errors: those of [`nearest`].
pub fn nearest_on(
    on: (&Device, Precision),
    queries: Rows,
    parts: &[Rows],
    groups: Option<(&[u32], &[u32])>,
) -> Result<Nearest> {
    Searcher::new(on, parts, groups.map(|(_, bank)| bank))?.nearest(queries, groups.map(|(queries, _)| queries))
}

/// A bank that is asked several times; on a GPU it stays there in between.
pub struct Searcher<'a> {
    parts: &'a [Rows<'a>],
    /// Group of each bank row.
    groups: Option<&'a [u32]>,
    #[cfg(feature = "gpu")]
    resident: Option<(Resident, Device)>,
}

impl<'a> Searcher<'a> {
    /// The bank that the `parts` would make if they stood one below the other; with `groups`, one for each row. Where a GPU searches,
    /// its products are made in this precision.
    ///
    /// # Errors
    /// A row that is not finite.
    pub fn new(
        (device, precision): (&Device, Precision),
        parts: &'a [Rows<'a>],
        groups: Option<&'a [u32]>,
    ) -> Result<Self> {
        #[cfg(not(feature = "gpu"))]
        let _ = (device, precision);
        #[cfg(feature = "gpu")]
        let resident = match is_cpu(device) || parts.iter().all(Rows::is_empty) {
            true => None,
            false => Some((Resident::new(parts, groups, device, precision)?, device.clone())),
        };
        Ok(Searcher {
            parts,
            groups,
            #[cfg(feature = "gpu")]
            resident,
        })
    }

    /// The nearest row of the bank for each query, as [`nearest`] finds it; `groups` of the queries where the bank has groups.
    ///
    /// # Errors
    /// Those of [`nearest`].
    pub fn nearest(&self, queries: Rows, groups: Option<&[u32]>) -> Result<Nearest> {
        #[cfg(feature = "gpu")]
        if let Some((resident, device)) = &self.resident {
            return self.filtered(resident, device, queries, groups);
        }
        nearest(queries, self.parts, groups.zip(self.groups))
    }

    /// The search where a GPU finds the candidates; it works on the next queries while the host decides about these.
    #[cfg(feature = "gpu")]
    fn filtered(&self, resident: &Resident, device: &Device, queries: Rows, groups: Option<&[u32]>) -> Result<Nearest> {
        let bank = Parts::new(self.parts, check_widths(self.parts, queries.cols())?);
        let norms = squared_norms(&[queries], "queries")?;
        let start = |range: Range<usize>| {
            let own = groups.map(|own| &own[range.clone()]);
            let asked = Asked::new(queries.slice(range.clone()), &norms[range.clone()], own, device);
            (range, resident.search(&asked, None, SLOTS))
        };
        let count = queries.len();
        let ranges = (0..count).step_by(DEVICE_QUERIES).map(|from| from..count.min(from + DEVICE_QUERIES));
        let (mut found, mut running) = (Nearest::default(), None);
        for range in ranges.map(Some).chain([None]) {
            let before = std::mem::replace(&mut running, range.map(start));
            let Some((range, searched)) = before else { continue };
            let candidates = searched.read();
            let decide = |query: usize| {
                let candidates = candidates.of(query - range.start)?;
                let exact = candidates.map(|row| (squared_distance(queries.row(query), bank.row(row as usize)), row));
                let best = exact.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                Some(best.map_or((NO_ROW, f32::INFINITY), |(squared, row)| (row, squared.sqrt() as f32)))
            };
            let decided: Vec<Option<(u32, f32)>> = range.clone().into_par_iter().map(decide).collect();
            let crowded: Vec<usize> = range.clone().filter(|query| decided[query - range.start].is_none()).collect();
            let mut plain = self.once_more((resident, device), queries, &crowded, groups)?;
            for answer in decided {
                let (row, distance) = answer.or_else(|| plain.next()).unwrap_or((NO_ROW, f32::INFINITY));
                found.index.push(row);
                found.distance.push(distance);
            }
        }
        Ok(found)
    }

    /// Answers for queries with more candidates than could be noted: where factors were cut the device is asked again without that, else they
    /// are found without it.
    #[cfg(feature = "gpu")]
    fn once_more(
        &self,
        (resident, device): (&Resident, &Device),
        queries: Rows,
        crowded: &[usize],
        groups: Option<&[u32]>,
    ) -> Result<impl Iterator<Item = (u32, f32)>> {
        let found = if crowded.is_empty() {
            Nearest::default()
        } else {
            let own = Parts::new(&[queries], queries.cols()).gather(crowded);
            let groups: Option<Vec<u32>> = groups.map(|all| crowded.iter().map(|&query| all[query]).collect());
            match resident.uncut() {
                Some(uncut) => self.filtered(&uncut, device, own.view(), groups.as_deref())?,
                None => nearest(own.view(), self.parts, groups.as_deref().zip(self.groups))?,
            }
        };
        Ok(found.index.into_iter().zip(found.distance))
    }
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
    if naive::is_chosen() {
        return Ok(plain::nearest(queries, &bank.parts, k, groups));
    }
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
