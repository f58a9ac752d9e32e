//! Counts normal pixels into the gaps between the distinct scores of defect pixels.
//!
//! Owns: the second pass over the images, its table and its counters. Does not own: what the counts mean.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::regions::is_clean;
use super::source::{self, PixelSource, Score};
use crate::error::{Error, Result};
use crate::naive;
use crate::threads::lock;

/// Buckets of the table at most: 16 MB, which still finds room in a last-level cache.
const BUCKETS_MAX: usize = 1 << 22;

/// Distinct defect scores, rising, with a table that leads from a score's value to the few of them near it.
pub(super) struct Ladder<S> {
    /// The scores, and a NaN at the end that no score equals.
    rungs: Vec<S>,
    /// First rung of each bucket, and the number of rungs at the end.
    starts: Vec<u32>,
    lowest: S,
    spread: S,
}

impl<S: Score> Ladder<S> {
    /// From at least one and fewer than 2³² rising scores, of which equal neighbours become one rung.
    pub fn new(rising: impl Iterator<Item = S>) -> Self {
        let mut rungs: Vec<S> = rising.collect();
        rungs.dedup_by(|a, b| a == b);
        let (lowest, highest) = (rungs[0], rungs[rungs.len() - 1]);
        let buckets = (2 * rungs.len()).next_power_of_two().min(BUCKETS_MAX);
        let spread = S::spread(lowest, highest, buckets);
        let mut starts = vec![0; buckets + 1];
        for (index, rung) in rungs.iter().enumerate() {
            let bucket = rung.place(lowest, spread).min(buckets - 1);
            starts[bucket + 1] = index as u32 + 1;
        }
        // A bucket without rungs starts where the last one before it ended.
        let mut end = 0;
        for start in &mut starts {
            end = end.max(*start);
            *start = end;
        }
        rungs.push(S::NAN);
        Ladder { rungs, starts, lowest, spread }
    }

    /// The distinct scores, rising.
    pub fn rungs(&self) -> &[S] {
        &self.rungs[..self.rungs.len() - 1]
    }

    /// Counters that a count over this ladder has: 2i for scores between rung i − 1 and rung i, 2i + 1 for scores equal
    /// to rung i.
    pub fn slots(&self) -> usize {
        2 * self.rungs().len() + 1
    }

    /// [`Ladder::slot`] without the table.
    fn plain_slot(&self, score: S) -> usize {
        let rung = self.rungs().partition_point(|&rung| rung < score);
        2 * rung + usize::from(self.rungs[rung] == score)
    }

    #[inline]
    fn slot(&self, score: S) -> usize {
        let bucket = score.place(self.lowest, self.spread).min(self.starts.len() - 2);
        let (start, end) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
        let rung = start + self.rungs[start..end].partition_point(|&rung| rung < score);
        2 * rung + usize::from(self.rungs[rung] == score)
    }
}

/// Counts every normal pixel of every image. Workers take the next image from a common counter and add whole numbers, so
/// neither their number nor their order changes anything.
pub(super) fn count_normals<P: PixelSource>(source: &P, ladder: &Ladder<P::Score>) -> Result<Vec<u64>> {
    let next = AtomicUsize::new(0);
    let total = Mutex::new(vec![0u64; ladder.slots()]);
    let failures: Vec<(usize, Error)> = (0..rayon::current_num_threads())
        .into_par_iter()
        .with_max_len(1)
        .filter_map(|_| work(source, ladder, &next, &total).err())
        .collect();
    // Every image before a failed one was taken earlier, so the first failure is the same in every run.
    match failures.into_iter().min_by_key(|(image, _)| *image) {
        Some((_, error)) => Err(error),
        None => Ok(total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())),
    }
}

fn work<P: PixelSource>(
    source: &P,
    ladder: &Ladder<P::Score>,
    next: &AtomicUsize,
    total: &Mutex<Vec<u64>>,
) -> Result<(), (usize, Error)> {
    let flush = |counts: &mut [u32]| {
        let mut total = lock(total);
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += u64::from(std::mem::take(count));
        }
    };
    let mut counts = Vec::new();
    // Counters of 32 bits keep twice as many in the cache; they are emptied before they could overflow.
    let mut room = u32::MAX as usize;
    loop {
        let image = next.fetch_add(1, Ordering::Relaxed);
        if image >= source.len() {
            break;
        }
        let loaded = source::load(source, image).map_err(|error| (image, error))?;
        if counts.is_empty() {
            counts = vec![0u32; ladder.slots()];
        }
        if loaded.scores.len() > room {
            flush(&mut counts);
            room = u32::MAX as usize;
        }
        room -= loaded.scores.len();
        for (line, truth) in loaded.scores.chunks_exact(loaded.width).zip(loaded.mask.chunks_exact(loaded.width)) {
            count_line(ladder, line, truth, &mut counts);
        }
    }
    flush(&mut counts);
    Ok(())
}

fn count_line<S: Score>(ladder: &Ladder<S>, line: &[S], truth: &[u8], counts: &mut [u32]) {
    let plain = naive::is_chosen();
    let mut count = |score: &S| counts[if plain { ladder.plain_slot(*score) } else { ladder.slot(*score) }] += 1;
    match is_clean(truth) {
        true => line.iter().for_each(count),
        false => line.iter().zip(truth).filter(|(_, truth)| **truth == 0).for_each(|(score, _)| count(score)),
    }
}
