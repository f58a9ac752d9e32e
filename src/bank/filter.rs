//! Candidates for nearest neighbours, found on a GPU.
//!
//! Owns: single-precision scores of all pairs on the device, and which of them rounding leaves in question. Does not own:
//! the answer. Candidates go back to the host, and `distance::squared_distance` decides among them; so neighbours and
//! coresets are those of the CPU, index for index, whatever the device does below the proven bound.
//!
//! A tile of products (bank rows × queries) is made by one matrix product, in single precision or on tensor cores with factors
//! cut to ten bits, each with its own bound; then one thread for each
//! query walks down its column, keeps the lowest score, and notes every row whose score is within twice the bound of it.

use burn::backend::Cube;
use burn::tensor::{Device, Int, Tensor};
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;

use super::search::squared_norms;
use crate::device::kernels::{cubes, matrix_product, raw, raw_ints, whole};
use crate::device::{Precision, download, download_ints, is_cpu, upload, upload_ints};
use crate::error::Result;
use crate::matrix::Rows;
use crate::random::{Purpose, stream};

/// Bank rows in a tile.
const TILE_ROWS: usize = 1024;

/// Rows of a bank that stay on the device.
#[derive(Clone)]
pub struct Resident {
    tiles: Vec<Tile>,
    /// The largest ‖b‖.
    longest: f64,
    /// How products are made.
    precision: Precision,
}

#[derive(Clone)]
struct Tile {
    rows: Tensor<2>,
    /// ‖b‖² of each row.
    norms: Tensor<1>,
    /// Group of each row.
    groups: Option<Tensor<1, Int>>,
    /// Number of the first row.
    first: usize,
}

impl Resident {
    /// Brings the rows of all parts to the device; with `groups`, one for each row. Products with them will be made in this precision.
    ///
    /// # Errors
    /// A row that is not finite.
    pub fn new(parts: &[Rows], groups: Option<&[u32]>, device: &Device, precision: Precision) -> Result<Resident> {
        let norms = squared_norms(parts, "bank")?;
        let longest = norms.iter().fold(0.0f64, |a, &b| a.max(b)).sqrt() * (1.0 + 1e-12);
        let (mut tiles, mut first) = (Vec::new(), 0);
        for part in parts {
            for from in (0..part.len()).step_by(TILE_ROWS) {
                let rows = part.slice(from..part.len().min(from + TILE_ROWS));
                let range = first..first + rows.len();
                let own: Vec<f32> = norms[range.clone()].iter().map(|&norm| norm as f32).collect();
                tiles.push(Tile {
                    rows: upload(rows.data().to_vec(), [rows.len(), rows.cols()], device),
                    norms: upload(own, [rows.len()], device),
                    groups: groups.map(|groups| upload_ints(&groups[range.clone()], device)),
                    first,
                });
                first = range.end;
            }
        }
        Ok(Resident { tiles, longest, precision })
    }

    /// The same rows with products in single precision, where those here have cut factors.
    pub fn uncut(&self) -> Option<Resident> {
        (self.precision != Precision::F32).then(|| Resident { precision: Precision::F32, ..self.clone() })
    }

    /// Starts the search for what may be nearest to each of the queries; at most `slots` rows can be noted for one.
    /// `limits` are squared distances beyond which nothing is wanted. The host does not wait.
    pub fn search(&self, asked: &Asked, limits: Option<&[f64]>, slots: usize) -> Searched {
        let device = asked.rows.device();
        let bound = |norm: f64| score_error(self.precision, asked.rows.dims()[1], norm.sqrt(), self.longest);
        let width = |&norm: &f64| ((2.0 * bound(norm)) as f32).next_up();
        let cap = |(&norm, &limit): (&f64, &f64)| ((limit - norm + bound(norm)) as f32).next_up();
        let count = asked.norms.len();
        let caps = match limits {
            Some(limits) => asked.norms.iter().zip(limits).map(cap).collect(),
            None => vec![f32::INFINITY; count],
        };
        let searched = Searched {
            caps: upload(caps, [count], &device),
            widths: upload(asked.norms.iter().map(width).collect(), [count], &device),
            lowest: Tensor::full([count], f32::INFINITY, &device),
            counts: Tensor::zeros([count], &device),
            rows: Tensor::zeros([slots * count], &device),
            scores: Tensor::zeros([slots * count], &device),
            slots,
        };
        let turned = asked.rows.clone().transpose();
        for tile in &self.tiles {
            searched.scan(self.product(&tile.rows, &turned), tile, asked);
        }
        searched
    }

    fn product(&self, a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
        Tensor::from_primitive::<Cube>(matrix_product(raw(a.clone()), raw(b.clone()), self.precision))
    }
}

/// Queries on the device.
pub struct Asked {
    rows: Tensor<2>,
    /// ‖q‖² of each.
    norms: Vec<f64>,
    groups: Option<Tensor<1, Int>>,
}

impl Asked {
    /// Brings queries, whose ‖q‖² are `norms`, to the device; with `groups`, one for each.
    pub fn new(queries: Rows, norms: &[f64], groups: Option<&[u32]>, device: &Device) -> Asked {
        Asked {
            rows: upload(queries.data().to_vec(), [queries.len(), queries.cols()], device),
            norms: norms.to_vec(),
            groups: groups.map(|groups| upload_ints(groups, device)),
        }
    }

    /// The device that has them.
    pub fn device(&self) -> Device {
        self.rows.device()
    }
}

/// How far a score may be from ‖b‖² − 2 q·b, where the products of a row are added up in any order (Higham, Accuracy and
/// Stability of Numerical Algorithms, §3.1), and the threshold it is held against from its own value.
///
/// In TF32 both factors lose less than 2⁻¹⁰ of themselves, and products of the cut ones are exact. Tensor cores align a few
/// of them and the sum so far to the largest and cut what sticks out (Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor
/// cores, 2021). With 24 bits kept each of m products and the sum lose less than two roundings of single precision, and so does the outcome: 2 + 4/m
/// for each product, six at worst, taken as eight.
fn score_error(precision: Precision, cols: usize, query: f64, longest: f64) -> f64 {
    const UNIT: f64 = f32::EPSILON as f64 / 2.0;
    const CUT: f64 = 1.0 / 1024.0;
    let (cut, sum) = match precision {
        Precision::F32 => (0.0, UNIT),
        Precision::Tf32 => (2.0 * CUT + CUT * CUT, 8.0 * UNIT),
    };
    let chain = (cols + 2) as f64 * sum;
    let gamma = chain / (1.0 - chain);
    let rounding = (2.0 * (cut + gamma * (1.0 + cut)) + 8.0 * UNIT) * query * longest + 8.0 * UNIT * longest * longest;
    1.01 * rounding + 1e-12 * (query * query + longest * longest) + f64::from(f32::MIN_POSITIVE)
}

/// For a device's own products of 1,536 columns: how far scores lie beyond their bound, as a share of it; zeros where the bound holds, as
/// on the CPU, which is not asked.
pub fn beyond_bound(device: &Device, precision: Precision) -> Vec<f32> {
    const COLS: usize = 1536;
    const ROWS: usize = 64;
    if is_cpu(device) {
        return vec![0.0; ROWS * ROWS];
    }
    let mut values = vec![0.0; ROWS * COLS];
    stream(0, Purpose::InitialWeights, 1).fill_normal(&mut values, 1.0);
    // Factors that lose most when they are cut, all of one sign.
    values[..8 * COLS].fill(f32::from_bits(1.0f32.to_bits() | 0x1fff));
    values[8 * COLS..24 * COLS].iter_mut().for_each(|value| *value = value.abs());
    let rows = upload(values.clone(), [ROWS, COLS], device);
    let turned = raw(rows.clone().transpose());
    let found = download(Tensor::<2>::from_primitive::<Cube>(matrix_product(raw(rows), turned, precision)));
    let row = |number: usize| &values[number * COLS..][..COLS];
    let product =
        |a: usize, b: usize| row(a).iter().zip(row(b)).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let lengths: Vec<f64> = (0..ROWS).map(|number| product(number, number).sqrt()).collect();
    let beyond = |place: usize| {
        let (a, b) = (place / ROWS, place % ROWS);
        let off = 2.0 * (f64::from(found[place]) - product(a, b)).abs();
        (off / score_error(precision, COLS, lengths[a], lengths[b]) - 1.0).max(0.0) as f32
    };
    (0..ROWS * ROWS).map(beyond).collect()
}

/// A search on the device, perhaps still at work.
pub struct Searched {
    caps: Tensor<1>,
    widths: Tensor<1>,
    /// The lowest score of each query.
    lowest: Tensor<1>,
    /// Rows noted for each query; more than `slots` where not all of them could be.
    counts: Tensor<1, Int>,
    /// Slots × queries.
    rows: Tensor<1, Int>,
    scores: Tensor<1>,
    slots: usize,
}

impl Searched {
    /// Goes through the products of a tile (rows × queries).
    fn scan(&self, products: Tensor<2>, tile: &Tile, asked: &Asked) {
        let [rows, queries] = products.dims();
        let (cube_count, cube_dim) = cubes(queries);
        let grouped = tile.groups.is_some() && asked.groups.is_some();
        // Kernels take every argument, also one that they do not read.
        let groups = |of: &Option<Tensor<1, Int>>| raw_ints(of.clone().unwrap_or_else(|| self.counts.clone()));
        let products = into_contiguous(raw(products));
        let client = products.client.clone();
        // SAFETY: products are rows × queries; norms and groups of the tile have a value for each row, everything else one
        // for each query (rows and scores one for each slot of it). Queries have a thread each, which writes its own alone.
        unsafe {
            scan_kernel::launch_unchecked(
                &client,
                cube_count,
                cube_dim,
                whole(&products),
                whole(&raw(tile.norms.clone())),
                whole(&groups(&tile.groups)),
                whole(&raw(self.caps.clone())),
                whole(&raw(self.widths.clone())),
                whole(&groups(&asked.groups)),
                whole(&raw(self.lowest.clone())),
                whole(&raw_ints(self.counts.clone())),
                whole(&raw_ints(self.rows.clone())),
                whole(&raw(self.scores.clone())),
                rows as u32,
                queries as u32,
                tile.first as i32,
                grouped,
                self.slots as u32,
            );
        }
    }

    /// What is left in question. The host waits for it.
    pub fn read(self) -> Candidates {
        let limits = (self.lowest + self.widths).min_pair(self.caps);
        Candidates {
            limits: download(limits),
            counts: download_ints(self.counts),
            rows: download_ints(self.rows),
            scores: download(self.scores),
            slots: self.slots,
        }
    }
}

/// What is left in question for each query.
pub struct Candidates {
    limits: Vec<f32>,
    counts: Vec<i32>,
    rows: Vec<i32>,
    scores: Vec<f32>,
    slots: usize,
}

impl Candidates {
    /// The rows that may be nearest to `query`; none when there were more than could be noted.
    pub fn of(&self, query: usize) -> Option<impl Iterator<Item = u32>> {
        let (count, queries) = (self.counts[query] as usize, self.counts.len());
        let at = move |slot: usize| slot * queries + query;
        let kept = move |slot: &usize| self.scores[at(*slot)] <= self.limits[query];
        (count <= self.slots).then(|| (0..count).filter(kept).map(move |slot| self.rows[at(slot)] as u32))
    }
}

/// Drops the noted rows of a query that a better score has ruled out since; how many are left.
#[cube]
fn make_room(
    scores: &mut [f32],
    noted: &mut [i32],
    limit: f32,
    query: u32,
    queries: u32,
    #[comptime] slots: u32,
) -> i32 {
    let mut kept = 0i32;
    for slot in 0..slots {
        let place = (slot * queries + query) as usize;
        let old = scores[place];
        if old <= limit {
            let to = (kept as u32 * queries + query) as usize;
            scores[to] = old;
            noted[to] = noted[place];
            kept += 1i32;
        }
    }
    kept
}

/// One thread for each query.
#[cube(launch_unchecked)]
fn scan_kernel(
    products: &[f32],
    norms: &[f32],
    bank_groups: &[i32],
    caps: &[f32],
    widths: &[f32],
    query_groups: &[i32],
    lowest: &mut [f32],
    counts: &mut [i32],
    noted: &mut [i32],
    scores: &mut [f32],
    rows: u32,
    queries: u32,
    first: i32,
    #[comptime] grouped: bool,
    #[comptime] slots: u32,
) {
    let query = ABSOLUTE_POS as u32;
    if query < queries {
        let at = query as usize;
        let (cap, width) = (caps[at], widths[at]);
        let mut low = lowest[at];
        let mut count = counts[at];
        let mut limit = min(cap, low + width);
        let mut group = 0i32;
        if comptime!(grouped) {
            group = query_groups[at];
        }
        for row in 0..rows {
            let score = norms[row as usize] - 2.0f32 * products[(row * queries + query) as usize];
            let mut wanted = score <= limit;
            if comptime!(grouped) {
                wanted = wanted && bank_groups[row as usize] != group;
            }
            if wanted {
                if score < low {
                    low = score;
                    limit = min(cap, low + width);
                }
                if count == comptime!(slots as i32) {
                    count = make_room(scores, noted, limit, query, queries, slots);
                }
                if count < comptime!(slots as i32) {
                    let place = (count as u32 * queries + query) as usize;
                    scores[place] = score;
                    noted[place] = first + row as i32;
                    count += 1i32;
                } else {
                    // Too many to note: never again at most `slots`.
                    count = comptime!(2 * slots as i32);
                }
            }
        }
        lowest[at] = low;
        counts[at] = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A factor without what TF32 cuts off.
    fn cut(value: f32) -> f32 {
        f32::from_bits(value.to_bits() & !0x1fff)
    }

    /// ‖b‖² − 2 q·b with a sum in single precision of what `factor` makes of the factors.
    fn score(query: &[f32], row: &[f32], factor: fn(f32) -> f32) -> f64 {
        let squared: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
        let sum = query.iter().zip(row).fold(0.0f32, |sum, (&a, &b)| sum + factor(a) * factor(b));
        f64::from(squared as f32 - 2.0 * sum)
    }

    #[test]
    fn no_score_is_further_off_than_its_bound_and_a_cut_factor_comes_close_to_its_own() {
        let length = |row: &[f32]| row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        let exact = |query: &[f32], row: &[f32]| {
            let product: f64 = query.iter().zip(row).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            length(row).powi(2) - 2.0 * product
        };
        let mut drawn = vec![0.0; 2 * 1536];
        stream(4, Purpose::Synthetic, 0).fill_normal(&mut drawn, 1.0);
        // The last bits of a factor that loses most, and equal rows, whose errors all point one way.
        let worst = vec![f32::from_bits(1.0f32.to_bits() | 0x1fff); 1536];
        for (precision, factor) in [(Precision::F32, (|value| value) as fn(f32) -> f32), (Precision::Tf32, cut)] {
            for (query, row) in [(&drawn[..1536], &drawn[1536..]), (&drawn[..1536], &drawn[..1536]), (&worst, &worst)] {
                let off = (score(query, row, factor) - exact(query, row)).abs();
                let bound = score_error(precision, query.len(), length(query), length(row));
                assert!(off <= bound, "{precision:?}: {off} off, and the bound is {bound}");
                if precision == Precision::Tf32 && query == worst {
                    assert!(off > bound / 2.0, "a bound of {bound} for {off} says little");
                }
            }
        }
        // The bound of single precision is none for cut factors.
        let off = (score(&worst, &worst, cut) - exact(&worst, &worst)).abs();
        assert!(off > score_error(Precision::F32, 1536, length(&worst), length(&worst)));
    }
}
