//! From maps of several layers to one feature vector per patch.
//!
//! Owns: PatchCore's binned aggregation (docs/methods/patchcore.md, Features) and plain concatenation. Both are
//! linear, and what they do to channels does not touch what they do to positions; so each output is summed up at its
//! layer's own resolution first and only then interpolated, which gives the same numbers for a fraction of the work.

use crate::matrix::Matrix;
use crate::spec;

/// One square map of one image: channels × side × side, row-major.
#[derive(Clone, Copy)]
pub struct FeatureMap<'a> {
    /// Values.
    pub values: &'a [f32],
    /// Height and width.
    pub side: usize,
}

/// Consecutive entries of a layer's unfolded patches, ordered (channel, kernel row, kernel column), and the weight
/// that each of them gets.
#[derive(Clone, Debug, PartialEq)]
struct Stretch {
    layer: usize,
    entries: std::ops::Range<usize>,
    weight: f32,
}

/// What every feature is made of.
pub struct Recipe {
    /// For each feature its stretches, by layer.
    outputs: Vec<Vec<Stretch>>,
    patch: usize,
    /// All maps are brought to the last one's grid, corners aligned, and not to the first one's.
    deepest: bool,
}

/// Start and end of bin `index` of `bins` over `length` values (adaptive average pooling).
fn bin(index: usize, bins: usize, length: usize) -> std::ops::Range<usize> {
    index * length / bins..((index + 1) * length).div_ceil(bins)
}

/// Features per patch for layers with so many `channels`.
pub fn dim(features: &spec::Features, channels: &[usize]) -> usize {
    match features.aggregation {
        spec::Aggregation::Patchcore if features.dim == 0 => 1536,
        spec::Aggregation::Patchcore => features.dim,
        spec::Aggregation::Concat | spec::Aggregation::ConcatDeepest => channels.iter().sum(),
    }
}

impl Recipe {
    /// The recipe of `features` for layers with so many `channels`; `features.patch` must be odd.
    pub fn new(features: &spec::Features, channels: &[usize]) -> Recipe {
        let (patch, dim) = (features.patch, dim(features, channels));
        assert!(patch % 2 == 1 && dim > 0, "a patch of {patch} or {dim} features cannot be");
        let area = patch * patch;
        let outputs = match features.aggregation {
            spec::Aggregation::Concat | spec::Aggregation::ConcatDeepest => concat(channels, area),
            spec::Aggregation::Patchcore => {
                let pretrain = if features.pretrain_dim == 0 { dim } else { features.pretrain_dim };
                binned(channels, area, pretrain, dim)
            }
        };
        Recipe { outputs, patch, deepest: features.aggregation == spec::Aggregation::ConcatDeepest }
    }

    /// Features per patch.
    pub fn dim(&self) -> usize {
        self.outputs.len()
    }

    /// Side of the grid of features for maps with these sides.
    pub fn side(&self, sides: &[usize]) -> usize {
        if self.deepest { sides[sides.len() - 1] } else { sides[0] }
    }

    /// Applies the recipe to the maps of one image: positions of its grid (row-major) × features.
    pub fn apply(&self, maps: &[FeatureMap]) -> Matrix {
        let side = self.side(&maps.iter().map(|map| map.side).collect::<Vec<_>>());
        let positions = side * side;
        let grids: Vec<Grid> = maps.iter().map(|map| Grid::new(map.side, side, self.deepest)).collect();
        let mut out = Matrix::zeros(positions, self.dim());
        // Features are made as planes and written as rows, a cache line of neighbouring features at a time.
        const LINE: usize = 16;
        let mut planes = vec![0.0; LINE * positions];
        let mut scratch = Scratch::default();
        for (group, outputs) in self.outputs.chunks(LINE).enumerate() {
            planes.fill(0.0);
            for (stretches, plane) in outputs.iter().zip(planes.chunks_exact_mut(positions)) {
                self.feature(stretches, maps, &grids, &mut scratch, plane);
            }
            for (position, row) in out.data_mut().chunks_exact_mut(self.outputs.len()).enumerate() {
                for (index, value) in row[group * LINE..][..outputs.len()].iter_mut().enumerate() {
                    *value = planes[index * positions + position];
                }
            }
        }
        out
    }

    /// For each layer what its features are made of, as kernels read it: the first of each feature's stretches, then one
    /// number more; first entry, number of entries and weight of each stretch.
    #[cfg(feature = "gpu")]
    pub fn tables(&self, layers: usize) -> Vec<LayerTable> {
        let of_layer = |layer: usize| {
            let mut table = LayerTable::default();
            for stretches in &self.outputs {
                table.firsts.push(table.weights.len() as u32);
                for stretch in stretches.iter().filter(|stretch| stretch.layer == layer) {
                    table.entries.push(stretch.entries.start as u32);
                    table.counts.push(stretch.entries.len() as u32);
                    table.weights.push(stretch.weight);
                }
            }
            table.firsts.push(table.weights.len() as u32);
            table
        };
        (0..layers).map(of_layer).collect()
    }

    /// Pixels on a side of the square whose mean is a patch.
    #[cfg(feature = "gpu")]
    pub fn patch(&self) -> usize {
        self.patch
    }

    /// For each target index of the interpolation between two sides: the lower neighbour, the upper one, and the share of the
    /// upper one.
    #[cfg(feature = "gpu")]
    pub fn places(&self, from: usize, to: usize) -> Vec<(usize, usize, f32)> {
        Grid::new(from, to, self.deepest).places
    }

    /// Adds one feature, for all positions of the grid, to `plane`.
    fn feature(
        &self,
        stretches: &[Stretch],
        maps: &[FeatureMap],
        grids: &[Grid],
        scratch: &mut Scratch,
        plane: &mut [f32],
    ) {
        for same_layer in stretches.chunk_by(|a, b| a.layer == b.layer) {
            let layer = same_layer[0].layer;
            let map = maps[layer];
            scratch.sum.clear();
            scratch.sum.resize(map.side * map.side, 0.0);
            for stretch in same_layer {
                for entry in stretch.entries.clone() {
                    add_shifted(map, entry, self.patch, stretch.weight, &mut scratch.sum);
                }
            }
            grids[layer].add(&scratch.sum, &mut scratch.rows, plane);
        }
    }
}

/// What the features of one layer are made of.
#[cfg(feature = "gpu")]
#[derive(Default)]
#[expect(missing_docs, reason = "said where it is made")]
pub struct LayerTable {
    pub firsts: Vec<u32>,
    pub entries: Vec<u32>,
    pub counts: Vec<u32>,
    pub weights: Vec<f32>,
}

/// Buffers that are used again for each feature.
#[derive(Default)]
struct Scratch {
    sum: Vec<f32>,
    rows: Vec<f32>,
}

fn concat(channels: &[usize], area: usize) -> Vec<Vec<Stretch>> {
    let weight = 1.0 / area as f32;
    let layers = channels.iter().enumerate();
    layers
        .flat_map(|(layer, &count)| {
            (0..count)
                .map(move |channel| vec![Stretch { layer, entries: channel * area..(channel + 1) * area, weight }])
        })
        .collect()
}

/// Pools each layer's entries to `pretrain` bins, stacks the layers, and pools all bins to `dim`.
fn binned(channels: &[usize], area: usize, pretrain: usize, dim: usize) -> Vec<Vec<Stretch>> {
    (0..dim)
        .map(|output| {
            let bins = bin(output, dim, channels.len() * pretrain);
            let outer = 1.0 / bins.len() as f64;
            let stretches = bins.map(|stacked| {
                let (layer, index) = (stacked / pretrain, stacked % pretrain);
                let entries = bin(index, pretrain, channels[layer] * area);
                let weight = (outer / entries.len() as f64) as f32;
                Stretch { layer, entries, weight }
            });
            stretches.collect()
        })
        .collect()
}

/// Adds `weight` times unfolded entry `entry` of `map` at each position to `sum`. Entry (channel, row, column) at a
/// position is the channel's value at the position moved by (row, column) − patch / 2, and zero outside the map.
fn add_shifted(map: FeatureMap, entry: usize, patch: usize, weight: f32, sum: &mut [f32]) {
    let side = map.side;
    let plane = &map.values[entry / (patch * patch) * side * side..][..side * side];
    let (row, column) = (entry / patch % patch, entry % patch);
    let inside = |shift: usize| {
        let radius = patch / 2;
        (radius.saturating_sub(shift).min(side), (side + radius).saturating_sub(shift).min(side))
    };
    let ((top, bottom), (left, right)) = (inside(row), inside(column));
    if left >= right {
        return;
    }
    for y in top..bottom {
        let source = (y + row - patch / 2) * side + left + column - patch / 2;
        let values = &plane[source..source + right - left];
        for (total, value) in sum[y * side + left..y * side + right].iter_mut().zip(values) {
            *total += weight * value;
        }
    }
}

/// Bilinear interpolation from one square grid to another: half-pixel centres with clamped edges, or corners aligned.
struct Grid {
    from: usize,
    to: usize,
    /// For each target index: the lower neighbour, the upper one, and the share of the upper one.
    places: Vec<(usize, usize, f32)>,
}

impl Grid {
    fn new(from: usize, to: usize, align_corners: bool) -> Grid {
        let place = |index: usize| {
            let at = match align_corners {
                true => index as f64 * (from - 1) as f64 / (to - 1).max(1) as f64,
                false => ((index as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0),
            };
            let lower = (at.floor() as usize).min(from - 1);
            (lower, (lower + 1).min(from - 1), (at - lower as f64) as f32)
        };
        Grid { from, to, places: (0..to).map(place).collect() }
    }

    /// Adds the interpolated `values` to `plane`; `rows` is a buffer.
    fn add(&self, values: &[f32], rows: &mut Vec<f32>, plane: &mut [f32]) {
        if self.from == self.to {
            plane.iter_mut().zip(values).for_each(|(total, value)| *total += value);
            return;
        }
        rows.clear();
        for row in values.chunks_exact(self.from) {
            rows.extend(self.places.iter().map(|&(low, high, share)| row[low] + share * (row[high] - row[low])));
        }
        for (&(low, high, share), line) in self.places.iter().zip(plane.chunks_exact_mut(self.to)) {
            let (upper, lower) = (&rows[low * self.to..][..self.to], &rows[high * self.to..][..self.to]);
            for ((total, above), below) in line.iter_mut().zip(upper).zip(lower) {
                *total += above + share * (below - above);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_of_the_paper_are_the_ones_on_its_page() {
        assert_eq!([0, 1, 2, 3].map(|i| bin(i, 1024, 4608)), [0..5, 4..9, 9..14, 13..18]);
        assert_eq!([0, 1].map(|i| bin(i, 1536, 9216)), [0..6, 6..12]);
    }

    #[test]
    fn weights_of_every_feature_sum_to_one() {
        for (pretrain_dim, dim, patch) in [(48, 48, 3), (32, 32, 3), (50, 37, 5), (7, 300, 1)] {
            let features = spec::Features { dim, pretrain_dim, patch, ..Default::default() };
            for stretches in Recipe::new(&features, &[16, 32, 8]).outputs {
                let sum: f64 =
                    stretches.iter().map(|stretch| stretch.weight as f64 * stretch.entries.len() as f64).sum();
                assert!((sum - 1.0).abs() < 1e-6, "{stretches:?} sum to {sum}");
            }
        }
    }
}
