//! The rows of largest m in a greedy selection, worked on alone.
//!
//! Owns: which rows a pool has, their m, and the picks that can be made among them. Does not own: all other rows (`coreset`).

use super::coarse;
use super::distance::{narrow_error, narrow_squared_distance, squared_distance};
use super::parts::Parts;
use crate::matrix::{Matrix, Rows};
use rayon::prelude::*;
use std::cmp::Ordering;

/// Members that are updated together.
const BLOCK_ROWS: usize = 256;
/// Values below which a second thread costs more than it saves.
const LEAST_VALUES: usize = 1 << 19;

/// A row with its m. The order of selection is: larger m first, equal m by row.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    distance: f64,
    row: u32,
}

impl Candidate {
    fn order(&self, other: &Candidate) -> Ordering {
        other.distance.total_cmp(&self.distance).then(self.row.cmp(&other.row))
    }

    fn first(self, other: Candidate) -> Candidate {
        if self.order(&other).is_le() { self } else { other }
    }
}

/// The rows of largest m, copied together.
pub(super) struct Pool {
    rows: Matrix,
    members: Vec<Candidate>,
    blocks: Vec<Block>,
    /// What rows are taken from before they are rounded to eight bits.
    centre: Vec<f32>,
    asked: coarse::Asked,
    /// The first of the rows outside, in order of selection; `None` when all rows are inside.
    rival: Option<Candidate>,
}

/// Some members for a thread.
struct Block {
    /// Their rows in eight bits, where the processor multiplies such.
    coarse: Option<coarse::Block>,
    scores: Vec<f32>,
    /// m² of each, rounded up.
    limits: Vec<f32>,
    /// The best of them.
    first: Candidate,
}

/// A pick: its row, and what is known of it in eight bits.
struct Pick<'a> {
    row: &'a [f32],
    asked: &'a coarse::Asked,
}

impl Pool {
    /// The first `size` of `rows`, whose m are `distances`, in order of selection; kept in order of row number.
    pub(super) fn new(rows: &Parts, distances: &[f64], size: usize) -> Self {
        let candidate = |(row, &distance): (usize, &f64)| Candidate { distance, row: row as u32 };
        let mut members: Vec<Candidate> = distances.iter().enumerate().map(candidate).collect();
        let rival = (size < members.len()).then(|| {
            let rival = *members.select_nth_unstable_by(size, Candidate::order).1;
            members.truncate(size);
            members.shrink_to_fit();
            rival
        });
        members.sort_unstable_by_key(|member| member.row);
        let indices: Vec<usize> = members.iter().map(|member| member.row as usize).collect();
        let rows = rows.gather(&indices);
        let centre = coarse::centre(&Parts::new(&[rows.view()], rows.cols()));
        let blocks = members
            .par_chunks(BLOCK_ROWS)
            .zip(rows.view().data().par_chunks(BLOCK_ROWS * rows.cols()))
            .map(|(members, values)| Block::new(members, Rows::new(values, rows.cols()), &centre))
            .collect();
        Pool { rows, members, blocks, centre, asked: coarse::Asked::default(), rival }
    }

    /// Appends to `picks`, up to `count` in all, as long as the best member comes before every row outside.
    pub(super) fn select(&mut self, picks: &mut Vec<usize>, count: usize) {
        while picks.len() < count {
            let Some(pick) = self.blocks.iter().map(|block| block.first).reduce(Candidate::first) else { return };
            if self.rival.is_some_and(|rival| rival.order(&pick).is_lt()) {
                return;
            }
            if pick.distance == 0.0 {
                // Nothing can change any more: every m is 0.
                picks.resize(count, pick.row as usize);
                return;
            }
            picks.push(pick.row as usize);
            self.absorb(pick);
        }
    }

    /// Updates every member's m with the new pick.
    fn absorb(&mut self, pick: Candidate) {
        let cols = self.rows.cols();
        let place = self.members.partition_point(|member| member.row < pick.row);
        let rows = self.rows.view();
        if coarse::available() {
            self.asked.fill(rows.slice(place..place + 1), &self.centre);
        }
        let pick = Pick { row: rows.row(place), asked: &self.asked };
        let work = |((block, members), values): ((&mut Block, &mut [Candidate]), &[f32])| {
            block.absorb(&pick, members, Rows::new(values, cols));
        };
        if rows.data().len() < LEAST_VALUES {
            let blocks = self.blocks.iter_mut().zip(self.members.chunks_mut(BLOCK_ROWS));
            blocks.zip(rows.data().chunks(BLOCK_ROWS * cols)).for_each(work);
        } else {
            let blocks = self.blocks.par_iter_mut().zip(self.members.par_chunks_mut(BLOCK_ROWS));
            blocks.zip(rows.data().par_chunks(BLOCK_ROWS * cols)).with_min_len(4).for_each(work);
        }
    }
}

impl Block {
    fn new(members: &[Candidate], rows: Rows, centre: &[f32]) -> Self {
        let coarse = coarse::available().then(|| coarse::Block::new(rows, centre));
        Block {
            scores: vec![0.0; coarse.as_ref().map_or(0, coarse::Block::width)],
            coarse,
            limits: members.iter().map(|member| limit(member.distance)).collect(),
            first: first(members),
        }
    }

    /// Updates m of its members with a pick.
    fn absorb(&mut self, pick: &Pick, members: &mut [Candidate], rows: Rows) {
        let Block { coarse, scores, limits, .. } = self;
        let surely = 1.0 - narrow_error(rows.cols());
        let mut changed = false;
        let mut meet = |index: usize, limits: &mut [f32]| {
            let (member, row) = (&mut members[index], rows.row(index));
            // The cheap distance decides only when it is too far to matter whatever its rounding.
            let lower = narrow_squared_distance(row, pick.row) as f64 * surely - f32::MIN_POSITIVE as f64;
            if lower > member.distance * member.distance {
                return;
            }
            let distance = squared_distance(row, pick.row).sqrt();
            if distance < member.distance {
                (member.distance, limits[index], changed) = (distance, limit(distance), true);
            }
        };
        match coarse {
            Some(coarse) => {
                coarse::scores(pick.asked, &[0], coarse, scores);
                let shift = pick.asked.shift(0, coarse) as f32;
                for from in (0..rows.len()).step_by(coarse::LANES) {
                    let range = from..rows.len().min(from + coarse::LANES);
                    let near = |(score, limit): (&f32, &f32)| score + shift <= *limit;
                    let (scores, own) = (&scores[range.clone()], &limits[range.clone()]);
                    if scores.iter().zip(own).fold(false, |any, pair| any | near(pair)) {
                        let near = range.filter(|&index| near((&scores[index - from], &limits[index])));
                        near.collect::<Vec<_>>().into_iter().for_each(|index| meet(index, limits));
                    }
                }
            }
            None => (0..rows.len()).for_each(|index| meet(index, limits)),
        }
        if changed {
            self.first = first(members);
        }
    }
}

/// The first of some members in order of selection.
fn first(members: &[Candidate]) -> Candidate {
    members.iter().copied().reduce(Candidate::first).expect("a block has members")
}

/// m², rounded up.
fn limit(distance: f64) -> f32 {
    (distance * distance * (1.0 + 1e-6)) as f32
}
