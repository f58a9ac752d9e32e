//! Nearest neighbours on a tensor device.
//!
//! Owns: the blocked search with the device's matrix product. Does not own: the reference (`neighbours`), which is
//! exact by proof; here the device picks one winner for each block of the bank by its own f32 scores, and the winners
//! are compared exactly on the host, so only rows of one block that are equal up to f32 rounding can be confused.

use super::distance::squared_distance;
use super::neighbours::{NO_ROW, Nearest};
use super::search::squared_norms;
use crate::error::{Error, Result};
use crate::matrix::Rows;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

/// Bank rows in one product.
const BANK_BLOCK_ROWS: usize = 2048;
/// Queries in one product.
const QUERY_BLOCK_ROWS: usize = 4096;
/// Score of a row that may not be chosen: above every score of rows that `squared_norms` lets pass (4e36),
/// yet finite, because devices disagree about infinities in a minimum.
const EXCLUDED_SCORE: f32 = 3e38;

/// As `neighbours::nearest_in_parts` with one part, on `device`.
///
/// Errors: those of `nearest`, and a device that fails to compute.
pub fn nearest_on(queries: Rows, bank: Rows, groups: Option<(&[u32], &[u32])>, device: &Device) -> Result<Nearest> {
    check(queries, bank)?;
    squared_norms(&[queries], "queries")?;
    let norms = squared_norms(&[bank], "bank")?;
    let mut best = vec![(f64::INFINITY, NO_ROW); queries.len()];
    for (block, best) in best.chunks_mut(QUERY_BLOCK_ROWS).enumerate() {
        let first = block * QUERY_BLOCK_ROWS;
        let block_queries = queries.slice(first..first + best.len());
        let on_device = upload(block_queries, device);
        for bank_first in (0..bank.len()).step_by(BANK_BLOCK_ROWS) {
            let range = bank_first..bank.len().min(bank_first + BANK_BLOCK_ROWS);
            let block_groups =
                groups.map(|(queries, bank)| (&queries[first..first + best.len()], &bank[range.clone()]));
            let block_bank = bank.slice(range.clone());
            let winners = winners(&on_device, block_bank, &norms[range], block_groups, device)?;
            best.par_iter_mut().zip(winners).enumerate().for_each(|(i, (best, winner))| {
                let row = winner as usize;
                if block_groups.is_some_and(|(queries, bank)| queries[i] == bank[row]) {
                    return;
                }
                let squared = squared_distance(block_queries.row(i), block_bank.row(row));
                if squared < best.0 {
                    *best = (squared, (bank_first + row) as u32);
                }
            });
        }
    }
    let (index, distance) = best.iter().map(|&(squared, row)| (row, squared.sqrt() as f32)).unzip();
    Ok(Nearest { index, distance })
}

fn check(queries: Rows, bank: Rows) -> Result<()> {
    if bank.is_empty() {
        return Err(Error::method(
            "the bank is empty, so nothing has a neighbour",
            "raise the coreset ratio, or check that the images the bank is made of exist",
        ));
    }
    if queries.cols() != bank.cols() {
        return Err(Error::method(
            format!("the queries have {} dimensions but the bank has {}", queries.cols(), bank.cols()),
            "bank and queries must come from the same backbone and the same feature settings",
        ));
    }
    Ok(())
}

fn upload(rows: Rows, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.data().to_vec(), [rows.len(), rows.cols()]), device)
}

/// For each query the row of `bank` with the smallest score ‖b‖² − 2·q·b on the device.
fn winners(
    queries: &Tensor<2>,
    bank: Rows,
    squared_norms: &[f64],
    groups: Option<(&[u32], &[u32])>,
    device: &Device,
) -> Result<Vec<i32>> {
    let norms: Vec<f32> = squared_norms.iter().map(|&norm| norm as f32).collect();
    let norms = Tensor::<2>::from_data(TensorData::new(norms, [1, bank.len()]), device);
    let products = queries.clone().matmul(upload(bank, device).transpose());
    let mut scores = norms - products.mul_scalar(2.0);
    if let Some((query_groups, bank_groups)) = groups {
        let query_groups = group_tensor(query_groups, [query_groups.len(), 1], device);
        let bank_groups = group_tensor(bank_groups, [1, bank_groups.len()], device);
        let shape = scores.dims();
        let same = query_groups.expand(shape).equal(bank_groups.expand(shape));
        scores = scores.mask_fill(same, EXCLUDED_SCORE);
    }
    let data = scores.argmin(1).try_into_data().map_err(|e| device_error(&e))?;
    let rows: Vec<i32> = data.convert::<i32>().try_into_vec::<i32>().map_err(|e| device_error(&e))?;
    match rows.iter().find(|&&row| row < 0 || row as usize >= bank.len()) {
        None => Ok(rows),
        Some(row) => Err(device_error(&format!("row {row} of {} was chosen", bank.len()))),
    }
}

fn group_tensor(groups: &[u32], shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    // Equality survives the change of sign.
    let groups: Vec<i32> = groups.iter().map(|&group| group as i32).collect();
    Tensor::from_data(TensorData::new(groups, shape), device)
}

fn device_error(error: &dyn std::fmt::Debug) -> Error {
    Error::device(
        format!("the device failed in a nearest-neighbour search: {error:?}"),
        "run with --device cpu, or free memory on the device",
    )
}
