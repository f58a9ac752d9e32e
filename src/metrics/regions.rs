//! Connected defect regions of a mask.
//!
//! Owns: 8-connectivity and the numbering of regions. Does not own: what is done with them.

/// A horizontal stretch of defect pixels: columns `start..end` of `row`, all of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub row: usize,
    pub start: usize,
    pub end: usize,
    pub region: usize,
}

/// The regions of one mask, numbered by their first pixel in reading order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regions {
    /// All defect pixels, in reading order.
    pub runs: Vec<Run>,
    /// Pixels of each region.
    pub sizes: Vec<u64>,
}

/// Finds the 8-connected regions of non-zero pixels of a row-major mask that is `width` wide: one walk that joins the
/// runs of neighbouring rows, one that numbers what was joined.
pub fn regions(mask: &[u8], width: usize) -> Regions {
    let mut runs: Vec<Run> = Vec::new();
    let mut parents: Vec<usize> = Vec::new();
    let mut above = 0..0;
    for (row, line) in mask.chunks_exact(width).enumerate() {
        let first = runs.len();
        push_runs(row, line, &mut runs);
        parents.extend(first..runs.len());
        join_rows(&runs, above, first..runs.len(), &mut parents);
        above = first..runs.len();
    }
    let mut sizes = Vec::new();
    for index in 0..runs.len() {
        let root = root_of(&mut parents, index);
        // A root is the first run of its region, so it has its number before any other run asks.
        runs[index].region = if root == index { sizes.len() } else { runs[root].region };
        if root == index {
            sizes.push(0);
        }
        sizes[runs[index].region] += (runs[index].end - runs[index].start) as u64;
    }
    Regions { runs, sizes }
}

/// True when no pixel of the line is a defect; reads whole vectors instead of stopping at the first hit.
pub(super) fn is_clean(line: &[u8]) -> bool {
    line.iter().fold(0, |seen, &pixel| seen | pixel) == 0
}

fn push_runs(row: usize, line: &[u8], runs: &mut Vec<Run>) {
    if is_clean(line) {
        return;
    }
    let mut at = 0;
    while let Some(gap) = line[at..].iter().position(|&pixel| pixel != 0) {
        let start = at + gap;
        let end = line[start..].iter().position(|&pixel| pixel == 0).map_or(line.len(), |length| start + length);
        runs.push(Run { row, start, end, region: 0 });
        at = end;
    }
}

/// Joins each run of the row `here` with the runs of the row `above` that touch it, corners included.
fn join_rows(runs: &[Run], above: std::ops::Range<usize>, here: std::ops::Range<usize>, parents: &mut [usize]) {
    let mut next = above.start;
    for index in here {
        let run = runs[index];
        while next < above.end && runs[next].end < run.start {
            next += 1;
        }
        let mut touching = next;
        while touching < above.end && runs[touching].start <= run.end {
            let (a, b) = (root_of(parents, index), root_of(parents, touching));
            // The earlier run becomes the root: numbering follows reading order.
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
