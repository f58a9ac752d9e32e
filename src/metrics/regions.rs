//! Connected defect regions of a mask.
//!
//! Owns: 8-connectivity and the numbering of regions. Does not own: what is done with them.

use std::ops::Range;

/// A horizontal stretch of defect pixels: columns `start..end` of `row`, all of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub row: usize,
    pub start: usize,
    pub end: usize,
    pub region: usize,
}

/// The regions of one mask, numbered by their first pixel in reading order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regions {
    /// All defect pixels, in reading order.
    pub stretches: Vec<Stretch>,
    /// Pixels of each region.
    pub sizes: Vec<u64>,
}

/// Finds the 8-connected regions of non-zero pixels of a row-major mask that is `width` wide: one walk that joins the
/// stretches of neighbouring rows, one that numbers what was joined.
pub fn regions(mask: &[u8], width: usize) -> Regions {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut parents: Vec<usize> = Vec::new();
    let mut above = 0..0;
    for (row, line) in mask.chunks_exact(width).enumerate() {
        let first = stretches.len();
        push_stretches(row, line, &mut stretches);
        parents.extend(first..stretches.len());
        join_rows(&stretches, above, first..stretches.len(), &mut parents);
        above = first..stretches.len();
    }
    let mut sizes = Vec::new();
    for index in 0..stretches.len() {
        let root = root_of(&mut parents, index);
        // A root is the first stretch of its region, so it has its number before any other stretch asks.
        stretches[index].region = if root == index { sizes.len() } else { stretches[root].region };
        if root == index {
            sizes.push(0);
        }
        sizes[stretches[index].region] += (stretches[index].end - stretches[index].start) as u64;
    }
    Regions { stretches, sizes }
}

/// True when no pixel of the line is a defect; reads whole vectors instead of stopping at the first hit.
pub(super) fn is_clean(line: &[u8]) -> bool {
    line.iter().fold(0, |seen, &pixel| seen | pixel) == 0
}

fn push_stretches(row: usize, line: &[u8], stretches: &mut Vec<Stretch>) {
    if is_clean(line) {
        return;
    }
    let mut at = 0;
    while let Some(gap) = line[at..].iter().position(|&pixel| pixel != 0) {
        let start = at + gap;
        let end = line[start..].iter().position(|&pixel| pixel == 0).map_or(line.len(), |length| start + length);
        stretches.push(Stretch { row, start, end, region: 0 });
        at = end;
    }
}

/// Joins each stretch of the row `here` with the stretches of the row `above` that touch it, corners included.
fn join_rows(stretches: &[Stretch], above: Range<usize>, here: Range<usize>, parents: &mut [usize]) {
    let mut next = above.start;
    for index in here {
        let stretch = stretches[index];
        while next < above.end && stretches[next].end < stretch.start {
            next += 1;
        }
        let mut touching = next;
        while touching < above.end && stretches[touching].start <= stretch.end {
            let (a, b) = (root_of(parents, index), root_of(parents, touching));
            // The earlier stretch becomes the root: numbering follows reading order.
            parents[a.max(b)] = a.min(b);
            touching += 1;
        }
    }
}

fn root_of(parents: &mut [usize], mut index: usize) -> usize {
    while parents[index] != index {
        parents[index] = parents[parents[index]];
        index = parents[index];
    }
    index
}
