//! Greedy k-centre selection (coreset): the rows a bank keeps.
//!
//! Owns: the order of selection, which is exactly that of the plain algorithm, and the way it is reached with far
//! fewer distances. Does not own: distances (`distance`), blocked filters (`search`), the rows of largest m (`pool`),
//! projection (`project`).
//!
//! Plain algorithm: m = distance of each row to the nearest selected row (f64); repeat: select the first row of largest
//! m, update m. m only ever shrinks, so the rows of largest m (the pool) can be worked on alone for as long as the best
//! of them stays ahead of every row outside; then all rows are brought up to date with the whole block of new picks in
//! one blocked product (docs/methods/patchcore.md, Coreset).

use super::distance::squared_distance;
#[cfg(feature = "gpu")]
use super::filter::{Asked, Resident};
use super::parts::Parts;
use super::plain;
use super::pool::Pool;
use super::search::{Bank, Best, QUERY_BLOCK_ROWS, Scratch, search, squared_norms};
#[cfg(feature = "gpu")]
use crate::device::{Precision, is_cpu};
use crate::error::{Error, Result};
use crate::matrix::Rows;
use crate::naive;
use burn::tensor::Device;
use rayon::prelude::*;

/// Rows that a GPU looks at together.
#[cfg(feature = "gpu")]
const DEVICE_ROWS: usize = 16_384;
/// Picks that a GPU may note for a row before the row is left to the host.
#[cfg(feature = "gpu")]
const SLOTS: usize = 4;
/// Smallest pool.
const POOL_LEAST_ROWS: usize = 1024;
/// Largest pool in values (64 MiB).
const POOL_MOST_VALUES: usize = 1 << 24;
/// What updating all rows costs besides the products, for each row, in updates of a row of the pool.
const ROUND_COST: usize = 8;

/// How m starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// This row is the first pick.
    Row(usize),
    /// m = mean distance to these rows, which are not selected by that (PatchCore's approximate greedy search).
    MeanOf(Vec<usize>),
}

/// Rows a coreset of `ratio` keeps: ⌊rows · ratio⌋, but at least one.
pub fn coreset_size(rows: usize, ratio: f64) -> usize {
    ((rows as f64 * ratio) as usize).max(1)
}

/// Selects `count` of the rows that the `parts` (all of one width) would make if they stood one below the other, in the
/// order of selection; picks and start rows are numbered through.
///
/// The parts are not copied. They are read from front to back, once for a whole block of picks, and otherwise only at
/// the rows of largest m; so they may be memory-mapped and together larger than memory. When every m is 0 (only duplicates are left) row 0 is selected again and again, as in the plain algorithm.
/// Memory beyond the result: about 40 bytes for each row, and tiles.
///
/// Errors: no rows, more rows wanted than there are, a start row that does not exist, no start row, and a row that is
/// not finite.
pub fn greedy(parts: &[Rows], count: usize, start: &Start) -> Result<Vec<usize>> {
    greedy_on(&Device::flex(), parts, count, start)
}

/// Selects rows as [`greedy`] does, with the updates of all rows on `device`. A GPU finds which rows may come nearer (`filter`)
/// and decides nothing, so the picks do not depend on it. The rows stay there until all picks are made.
///
/// Errors: those of [`greedy`].
pub fn greedy_on(device: &Device, parts: &[Rows], count: usize, start: &Start) -> Result<Vec<usize>> {
    let rows: usize = parts.iter().map(Rows::len).sum();
    check(rows, count, start)?;
    let mut farness = Farness::new(parts, device)?;
    let mut picks = Vec::with_capacity(count);
    if count == 0 {
        return Ok(picks);
    }
    if naive::is_chosen() {
        return Ok(plain::greedy(&farness.rows, count, start));
    }
    match start {
        Start::Row(row) => {
            picks.push(*row);
            farness.shrink(&picks)?;
        }
        Start::MeanOf(starts) => farness.start_with_mean(starts),
    }
    let mut pool_rows = POOL_LEAST_ROWS;
    while picks.len() < count {
        let mut pool = Pool::new(&farness.rows, &farness.distances, pool_rows);
        let before = picks.len();
        pool.select(&mut picks, count);
        if picks.len() < count {
            farness.shrink(&picks[before..])?;
        }
        pool_rows = next_pool_rows(pool_rows, picks.len() - before, rows, farness.rows.cols());
    }
    Ok(picks)
}

/// Whether `count` of `rows` rows can be selected from `start`.
fn check(rows: usize, count: usize, start: &Start) -> Result<()> {
    if rows == 0 {
        let help = "check that the images the bank is made of exist";
        return Err(Error::method("there are no rows to select a coreset from", help));
    }
    if count > rows {
        let what = format!("a coreset of {count} rows is wanted of only {rows}");
        return Err(Error::method(what, "lower the coreset ratio or the number of rows"));
    }
    let starts = match start {
        Start::Row(row) => std::slice::from_ref(row),
        Start::MeanOf(starts) => starts,
    };
    if count > 0 && (starts.is_empty() || starts.iter().any(|&row| row >= rows)) {
        let what = format!("the coreset cannot start from rows {starts:?} of {rows}");
        return Err(Error::method(what, "name at least one start row, and none beyond the last row"));
    }
    Ok(())
}

/// Grows the pool while a round costs more by bringing all `rows` up to date than by its picks (one update of each row of
/// the pool), and shrinks it in the other case: larger pools need fewer rounds.
fn next_pool_rows(pool_rows: usize, picks: usize, rows: usize, cols: usize) -> usize {
    let most = (POOL_MOST_VALUES / cols).max(POOL_LEAST_ROWS);
    let (round, pool) = (ROUND_COST * rows, picks * pool_rows);
    if 2 * pool < round {
        (pool_rows * 2).min(most)
    } else if pool > 2 * round {
        (pool_rows / 2).max(POOL_LEAST_ROWS)
    } else {
        pool_rows
    }
}

/// m of all rows.
struct Farness<'a> {
    rows: Parts<'a>,
    squared_norms: Vec<f64>,
    distances: Vec<f64>,
    /// Consecutive rows on a GPU.
    #[cfg(feature = "gpu")]
    on_device: Vec<Asked>,
}

impl<'a> Farness<'a> {
    /// m = ∞. There must be a part.
    fn new(parts: &[Rows<'a>], device: &Device) -> Result<Self> {
        let rows = Parts::new(parts, parts[0].cols());
        if rows.len() >= u32::MAX as usize {
            let what = format!("{} rows are too many to select from", rows.len());
            return Err(Error::method(what, "select within each class, or subsample the patches"));
        }
        let squared_norms = squared_norms(parts, "features")?;
        #[cfg(not(feature = "gpu"))]
        let _ = device;
        Ok(Farness {
            #[cfg(feature = "gpu")]
            on_device: if is_cpu(device) { Vec::new() } else { bring(&rows, &squared_norms, device) },
            squared_norms,
            distances: vec![f64::INFINITY; rows.len()],
            rows,
        })
    }

    /// m = mean distance to `starts`, summed in that order.
    fn start_with_mean(&mut self, starts: &[usize]) {
        let starts = self.rows.gather(starts);
        let starts = starts.view();
        self.blocks().into_par_iter().for_each(|block| {
            for (i, distance) in block.distances.iter_mut().enumerate() {
                let row = block.rows.row(i);
                let sum: f64 = (0..starts.len()).map(|j| squared_distance(row, starts.row(j)).sqrt()).sum();
                *distance = sum / starts.len() as f64;
            }
        });
    }

    /// m = min(m, distance to the nearest of `picks`).
    fn shrink(&mut self, picks: &[usize]) -> Result<()> {
        let centres = self.rows.gather(picks);
        #[cfg(feature = "gpu")]
        if !self.on_device.is_empty() {
            return self.shrink_on_device(centres.view());
        }
        let bank = Bank::new(&[centres.view()], centres.cols())?;
        self.blocks().into_par_iter().for_each_init(Scratch::default, |scratch, block| {
            let mut best: Vec<Best> = block.distances.iter().map(|&distance| Best::new(1, limit(distance))).collect();
            search(block.rows, block.squared_norms, &bank, None, &mut best, scratch);
            for (distance, best) in block.distances.iter_mut().zip(&best) {
                if let Some(&(squared, _)) = best.found().first() {
                    *distance = distance.min(squared.sqrt());
                }
            }
        });
        Ok(())
    }

    /// The same, where a GPU holds the rows and finds which of them may come nearer.
    #[cfg(feature = "gpu")]
    fn shrink_on_device(&mut self, centres: Rows) -> Result<()> {
        let Farness { rows, distances, on_device, .. } = self;
        // The link is the limit here, not arithmetic (docs/gpu.md), so factors need not be cut.
        let resident = Resident::new(&[centres], None, &on_device[0].device(), Precision::F32)?;
        let mut blocks = on_device.iter().zip(distances.chunks_mut(DEVICE_ROWS)).enumerate();
        let mut start = || {
            let (block, (asked, distances)) = blocks.next()?;
            let limits: Vec<f64> = distances.iter().map(|&distance| limit(distance)).collect();
            Some((block, resident.search(asked, Some(&limits), SLOTS), distances))
        };
        // It works on the next rows while the host decides about these.
        let mut running = start();
        while let Some((block, searched, distances)) = running {
            running = start();
            let candidates = searched.read();
            distances.par_iter_mut().enumerate().for_each(|(number, distance)| {
                let row = rows.row(block * DEVICE_ROWS + number);
                let to = |centre: usize| squared_distance(row, centres.row(centre));
                let nearest = match candidates.of(number) {
                    Some(candidates) => candidates.map(|centre| to(centre as usize)).reduce(f64::min),
                    None => (0..centres.len()).map(to).reduce(f64::min),
                };
                *distance = nearest.map_or(*distance, |squared| distance.min(squared.sqrt()));
            });
        }
        Ok(())
    }

    /// All rows in blocks for threads to share.
    fn blocks(&mut self) -> Vec<FarnessBlock<'_>> {
        let mut rest = self.distances.as_mut_slice();
        let blocks = self.rows.blocks(QUERY_BLOCK_ROWS).map(|(first, rows)| {
            let (distances, after) = std::mem::take(&mut rest).split_at_mut(rows.len());
            rest = after;
            FarnessBlock { rows, squared_norms: &self.squared_norms[first..first + rows.len()], distances }
        });
        blocks.collect()
    }
}

/// The square of a distance; it is rounded, so a little is added to lose nothing.
fn limit(distance: f64) -> f64 {
    distance * distance * (1.0 + 1e-12)
}

/// Brings all rows to a GPU.
#[cfg(feature = "gpu")]
fn bring(rows: &Parts, squared_norms: &[f64], device: &Device) -> Vec<Asked> {
    let starts = (0..rows.len()).step_by(DEVICE_ROWS);
    let block = |from: usize| {
        let range = from..rows.len().min(from + DEVICE_ROWS);
        let own = rows.gather(&range.clone().collect::<Vec<_>>());
        Asked::new(own.view(), &squared_norms[range], None, device)
    };
    starts.map(block).collect()
}

/// m of some rows of one part.
struct FarnessBlock<'a> {
    rows: Rows<'a>,
    squared_norms: &'a [f64],
    distances: &'a mut [f64],
}
