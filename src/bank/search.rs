//! The exact search inside one block of queries.
//!
//! Owns: the block structure of a bank, the choice of candidates by rounded scores, and their exact re-evaluation.
//! Does not own: parallelism and the shape of results (`neighbours`, `coreset`).
//!
//! Every score comes with a proven bound on its rounding, and a row is dropped only when it cannot be among the best
//! even if all roundings conspire. The rows that are left are compared by `distance::squared_distance`. So the answer
//! is the one a plain double loop would give, whatever kernels, block sizes and threads were at work.

use super::coarse;
use super::distance::{dot, narrow_error, narrow_squared_distance, squared_distance};
use super::parts::Parts;
use super::tile::{products, score_error};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, Rows};
use rayon::prelude::*;

/// Bank rows in one tile of scores.
const BANK_BLOCK_ROWS: usize = 512;
/// Queries in one tile of scores.
pub(super) const QUERY_BLOCK_ROWS: usize = 256;
/// Scores that are looked at together before any of them is looked at alone.
const SCAN_LANES: usize = 64;
/// Candidates a query may hold before they are evaluated; bounds memory on banks of near-duplicates.
const PENDING_ROWS: usize = 64;
/// A block whose radius is below this share of its longest row is worth a distance test before its product.
const TIGHT_SHARE: f64 = 0.2;
/// Banks of fewer rows are searched without coarse scores.
const COARSE_LEAST_ROWS: usize = 32;
/// Coarse scores that leave more than this share of rows in question were not worth it.
const COARSE_SHARE: f64 = 1.0 / 6.0;
/// Blocks that are not tried coarsely after one that was not worth it.
const COARSE_PAUSE: usize = 3;
/// Columns after which a distance may be known to be too large.
const FARTHER_COLS: usize = 256;
/// Longest row that single-precision scores can hold without overflow.
const LONGEST_ROW: f64 = 1e18;

/// ‖row‖² of every row of the `parts`, which stand one below the other; an error names the first row that is not
/// finite or absurdly long.
pub(super) fn squared_norms(parts: &[Rows], what: &str) -> Result<Vec<f64>> {
    let mut norms = Vec::with_capacity(parts.iter().map(Rows::len).sum());
    for part in parts {
        norms.par_extend(part.data().par_chunks(part.cols()).map(|row| dot(row, row)));
    }
    let good = |&norm: &f64| norm.is_finite() && norm <= LONGEST_ROW * LONGEST_ROW;
    match norms.iter().position(|norm| !good(norm)) {
        None => Ok(norms),
        Some(row) => Err(Error::method(
            format!("row {row} of the {what} holds a value that is not a number, infinite, or too large to compare"),
            "look at the features: broken weights, a wrong normalisation or a diverged training give such values",
        )),
    }
}

/// The width of queries, when it is that of all parts.
pub(super) fn check_widths(parts: &[Rows], cols: usize) -> Result<usize> {
    let Some(part) = parts.iter().find(|part| part.cols() != cols) else { return Ok(cols) };
    let what = format!("the queries have {cols} dimensions but the bank has {}", part.cols());
    Err(Error::method(what, "bank and queries must come from the same backbone and the same feature settings"))
}

/// A bank in blocks, its parts (if several) numbered through as if they stood one below the other.
pub(super) struct Bank<'a> {
    pub(super) parts: Parts<'a>,
    blocks: Vec<Block<'a>>,
    /// What rows are taken from before they are rounded to eight bits; `None` where that is not done.
    centre: Option<Vec<f32>>,
}

/// Some rows of a bank with what the filter wants to know about them.
struct Block<'a> {
    rows: Rows<'a>,
    /// Bank row number of the first row.
    first: usize,
    /// ‖b‖² of each row, rounded to f32.
    squared_norms: Vec<f32>,
    /// The largest ‖b‖.
    longest: f64,
    /// Largest distance from the block's first row, when that is small enough to rule the block out for most queries.
    tight_radius: Option<f64>,
    /// The rows in eight bits.
    coarse: Option<coarse::Block>,
}

impl<'a> Bank<'a> {
    /// Cuts `parts` (all of `cols` columns) into blocks and computes what each needs, once.
    pub(super) fn new(parts: &[Rows<'a>], cols: usize) -> Result<Self> {
        check_widths(parts, cols)?;
        let norms = squared_norms(parts, "bank")?;
        let parts = Parts::new(parts, cols);
        if parts.len() >= u32::MAX as usize {
            let what = format!("a bank of {} rows is too large to number", parts.len());
            return Err(Error::method(what, "lower the coreset ratio"));
        }
        let centre = (coarse::available() && parts.len() >= COARSE_LEAST_ROWS).then(|| coarse::centre(&parts));
        let blocks: Vec<(usize, Rows)> = parts.blocks(BANK_BLOCK_ROWS).collect();
        let block = |(first, rows): (usize, Rows<'a>)| {
            Block::new(rows, first, &norms[first..first + rows.len()], centre.as_deref())
        };
        Ok(Bank { blocks: blocks.into_par_iter().map(block).collect(), parts, centre })
    }

    /// Number of rows of all parts.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }
}

impl<'a> Block<'a> {
    fn new(rows: Rows<'a>, first: usize, squared_norms: &[f64], centre: Option<&[f32]>) -> Self {
        let longest = squared_norms.iter().fold(0.0f64, |a, &b| a.max(b)).sqrt() * (1.0 + 1e-12);
        let limit = (TIGHT_SHARE * longest).powi(2);
        let mut radius = 0.0f64;
        for index in 1..rows.len() {
            radius = radius.max(squared_distance(rows.row(0), rows.row(index)));
            if radius > limit {
                break;
            }
        }
        Block {
            rows,
            first,
            squared_norms: squared_norms.iter().map(|&norm| norm as f32).collect(),
            longest,
            tight_radius: (rows.len() > 1 && radius <= limit).then(|| radius.sqrt()),
            coarse: centre.map(|centre| coarse::Block::new(rows, centre)),
        }
    }

    /// False when the triangle inequality proves that no row of this block is as near to `query` as √`limit`.
    fn may_hold(&self, query: &[f32], limit: f64) -> bool {
        let Some(radius) = self.tight_radius else { return true };
        let gap = squared_distance(query, self.rows.row(0)).sqrt() * (1.0 - 1e-9) - radius * (1.0 + 1e-9);
        gap <= 0.0 || gap * gap <= limit
    }
}

/// Group numbers: bank rows of a query's own group are no candidates for it.
#[derive(Clone, Copy)]
pub(super) struct Groups<'a> {
    /// Group of each query of the block.
    pub(super) queries: &'a [u32],
    /// Group of each bank row.
    pub(super) bank: &'a [u32],
}

/// The best rows found so far for one query.
pub(super) struct Best {
    wanted: usize,
    /// No row with a larger squared distance can be among the wanted.
    limit: f64,
    /// The smallest upper bounds of squared distances seen, at most `wanted`, ascending.
    bounds: Vec<f64>,
    /// Rows not yet evaluated: lower bound of the squared distance, bank row.
    pending: Vec<(f64, u32)>,
    /// Rows evaluated: squared distance, bank row; at most `wanted`, ascending.
    found: Vec<(f64, u32)>,
}

impl Best {
    /// Nothing found yet, and nothing farther than √`limit` wanted.
    pub(super) fn new(wanted: usize, limit: f64) -> Self {
        Best { wanted, limit, bounds: Vec::new(), pending: Vec::new(), found: Vec::new() }
    }

    /// (squared distance, bank row), nearest first, equal distances by row. Fewer than wanted when fewer were allowed.
    pub(super) fn found(&self) -> &[(f64, u32)] {
        &self.found
    }

    /// Considers a row whose squared distance is at least `lower` and at most `upper`.
    fn offer(&mut self, row: u32, lower: f64, upper: f64, query: &[f32], bank: &Bank) {
        self.pending.push((lower, row));
        if self.bounds.len() < self.wanted || self.bounds[self.wanted - 1] > upper {
            let place = self.bounds.partition_point(|&bound| bound <= upper);
            self.bounds.insert(place, upper);
            self.bounds.truncate(self.wanted);
            if self.bounds.len() == self.wanted {
                self.limit = self.limit.min(self.bounds[self.wanted - 1]);
            }
        }
        if self.pending.len() >= PENDING_ROWS + 4 * self.wanted {
            let limit = self.limit;
            self.pending.retain(|&(lower, _)| lower <= limit);
            if self.pending.len() >= PENDING_ROWS / 2 + 2 * self.wanted {
                self.settle(query, bank);
            }
        }
    }

    /// Evaluates what is pending and keeps the best.
    fn settle(&mut self, query: &[f32], bank: &Bank) {
        for (lower, row) in std::mem::take(&mut self.pending) {
            if lower > self.limit {
                continue;
            }
            let other = bank.parts.row(row as usize);
            if is_farther(query, other, self.limit) {
                continue;
            }
            let entry = (squared_distance(query, other), row);
            let place = self.found.partition_point(|&other| other < entry);
            self.found.insert(place, entry);
            self.found.truncate(self.wanted);
            if self.found.len() == self.wanted {
                self.limit = self.limit.min(self.found[self.wanted - 1].0);
            }
        }
    }
}

/// True when single precision proves, from some columns or all, that the squared distance is above `limit`.
fn is_farther(a: &[f32], b: &[f32], limit: f64) -> bool {
    let surely = 1.0 - narrow_error(a.len());
    let mut sum = 0.0f64;
    a.chunks(FARTHER_COLS).zip(b.chunks(FARTHER_COLS)).any(|(a, b)| {
        sum += narrow_squared_distance(a, b) as f64;
        sum * surely - f32::MIN_POSITIVE as f64 > limit
    })
}

/// Memory one worker reuses from block to block.
#[derive(Default)]
pub(super) struct Scratch {
    scores: Vec<f32>,
    gathered: Vec<f32>,
    active: Vec<usize>,
    asked: coarse::Asked,
    /// Which of the active queries may be near to which row of a block.
    possible: Vec<(u32, u32)>,
    /// Blocks to be searched without coarse scores.
    pause: usize,
}

/// Looks for the nearest bank rows of each query. `query_norms` are ‖q‖²; `best` says what is wanted and holds the
/// answers afterwards.
pub(super) fn search(
    queries: Rows,
    query_norms: &[f64],
    bank: &Bank,
    groups: Option<Groups>,
    best: &mut [Best],
    scratch: &mut Scratch,
) {
    if let Some(centre) = &bank.centre {
        scratch.asked.fill(queries, centre);
    }
    for block in &bank.blocks {
        scratch.active.clear();
        scratch.active.extend((0..queries.len()).filter(|&i| block.may_hold(queries.row(i), best[i].limit)));
        if scratch.active.is_empty() {
            continue;
        }
        if scan_coarsely(block, bank, queries, groups, best, scratch) {
            continue;
        }
        let gathered = if scratch.active.len() < queries.len() { Some(gather(queries, scratch)) } else { None };
        scratch.scores.resize(scratch.active.len() * block.rows.len(), 0.0);
        products(gathered.as_ref().map_or(queries, Matrix::view), block.rows, &mut scratch.scores);
        for (&i, products) in scratch.active.iter().zip(scratch.scores.chunks_exact(block.rows.len())) {
            let allowed = groups.map(|groups| (groups.queries[i], &groups.bank[block.first..]));
            scan(block, bank, products, queries.row(i), query_norms[i], allowed, &mut best[i]);
        }
        if let Some(gathered) = gathered {
            scratch.gathered = gathered.into_data();
        }
    }
    for (i, best) in best.iter_mut().enumerate() {
        best.settle(queries.row(i), bank);
    }
}

/// Looks for the nearest rows of a block by their coarse scores, where these rule most rows out; else does nothing and
/// returns false.
fn scan_coarsely(
    block: &Block,
    bank: &Bank,
    queries: Rows,
    groups: Option<Groups>,
    best: &mut [Best],
    scratch: &mut Scratch,
) -> bool {
    let Some(coarse) = &block.coarse else { return false };
    if scratch.pause > 0 {
        scratch.pause -= 1;
        return false;
    }
    let Scratch { scores, active, asked, possible, .. } = scratch;
    let width = coarse.width();
    scores.resize(active.len() * width, 0.0);
    coarse::scores(asked, active, coarse, scores);
    possible.clear();
    let mut unlimited = 0;
    let most = (COARSE_SHARE * (active.len() * block.rows.len()) as f64) as usize;
    for (place, (&i, scores)) in active.iter().zip(scores.chunks_exact(width)).enumerate() {
        // Rounded up, so that no row is lost by the conversion.
        let highest = ((best[i].limit - asked.shift(i, coarse)) as f32).next_up();
        if highest < f32::INFINITY {
            coarse::below(scores, highest, |row| possible.push((place as u32, row as u32)));
        } else {
            possible.extend((0..block.rows.len()).map(|row| (place as u32, row as u32)));
            unlimited += block.rows.len();
        }
        if possible.len() - unlimited > most {
            scratch.pause = COARSE_PAUSE;
            return false;
        }
    }
    for &(place, row) in &*possible {
        let (i, row) = (active[place as usize], row as usize);
        let lower = scores[place as usize * width + row] as f64 + asked.shift(i, coarse);
        let excluded = || groups.is_some_and(|groups| groups.bank[block.first + row] == groups.queries[i]);
        if lower <= best[i].limit && !excluded() {
            let upper = lower + asked.gap(i, coarse, row);
            best[i].offer((block.first + row) as u32, lower, upper, queries.row(i), bank);
        }
    }
    true
}

/// The active queries, copied into memory that is handed back afterwards.
fn gather(queries: Rows, scratch: &mut Scratch) -> Matrix {
    let mut data = std::mem::take(&mut scratch.gathered);
    data.clear();
    for &i in &scratch.active {
        data.extend_from_slice(queries.row(i));
    }
    Matrix::new(data, queries.cols())
}

/// Offers to `best` the rows of `block` whose score allows them to be among the nearest. `excluded` is the query's
/// group with the groups of the block's rows.
fn scan(
    block: &Block,
    bank: &Bank,
    products: &[f32],
    query: &[f32],
    query_norm: f64,
    excluded: Option<(u32, &[u32])>,
    best: &mut Best,
) {
    let error = score_error(query.len(), query_norm.sqrt(), block.longest);
    // Rounded up, so that no row is lost by the conversion.
    let threshold = |limit: f64| ((limit + error - query_norm) as f32).next_up();
    let mut highest = threshold(best.limit);
    for (chunk, (products, norms)) in
        products.chunks(SCAN_LANES).zip(block.squared_norms.chunks(SCAN_LANES)).enumerate()
    {
        if lowest_score(products, norms) > highest {
            continue;
        }
        for (lane, (product, norm)) in products.iter().zip(norms).enumerate() {
            let score = norm - 2.0 * product;
            let row = chunk * SCAN_LANES + lane;
            if score > highest || excluded.is_some_and(|(group, rows)| rows[row] == group) {
                continue;
            }
            let score = score as f64 + query_norm;
            best.offer((block.first + row) as u32, score - error, score + error, query, bank);
            highest = threshold(best.limit);
        }
    }
}

/// The smallest ‖b‖² − 2·q·b of a chunk.
#[inline]
fn lowest_score(products: &[f32], squared_norms: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lowest = [f32::INFINITY; LANES];
    let ((products, products_rest), (norms, norms_rest)) =
        (products.as_chunks::<LANES>(), squared_norms.as_chunks::<LANES>());
    for (products, norms) in products.iter().zip(norms) {
        for lane in 0..LANES {
            let score = norms[lane] - 2.0 * products[lane];
            lowest[lane] = if score < lowest[lane] { score } else { lowest[lane] };
        }
    }
    let rest = products_rest.iter().zip(norms_rest).map(|(product, norm)| norm - 2.0 * product);
    lowest.into_iter().chain(rest).fold(f32::INFINITY, |a, b| if b < a { b } else { a })
}
