//! An experiment's views: the rows of all its runs in one table each, in the experiment's order of runs.
//!
//! Owns: when they are made again. Does not own: rows and columns (`frames`), what a record is (`write`, `read`).

use std::path::Path;

use polars::prelude::{DataFrame, PolarsError};

use super::frames::{MetricRecord, csv_bytes, metric_frame, metric_rows, parquet_bytes, read_parquet};
use super::read::value;
use super::seal::checksum;
use super::write::{RunFolder, unmade};
use crate::error::Result;
use crate::spec::{Experiment, RunSpec};
use crate::store::{remove_if_there, write_atomically};
use crate::threads::side_by_side;

const METRICS: &str = "metrics.parquet";
const CSV: &str = "metrics.csv";
const IMAGES: &str = "images.parquet";

/// What the views were made of and what they are, so that thousands of records that have not changed are not read again.
const MADE_OF: &str = ".views";

/// Makes the views again where a record, or the order of the runs, is not what they were made of.
///
/// # Errors
/// Those of [`rebuild_views`].
pub fn refresh_views<R: AsRef<RunSpec>>(folder: &Path, experiment: &Experiment<R>) -> Result<()> {
    let made_of = std::fs::read_to_string(folder.join(MADE_OF)).ok();
    if made_of.is_some() && made_of == state(folder, &ids(experiment)) {
        return Ok(());
    }
    rebuild_views(folder, experiment)
}

/// Rebuilds the views from the runs' folders. A record that is damaged or of another format is passed over: whoever reads the
/// records names it.
///
/// # Errors
/// A folder that cannot be written.
pub fn rebuild_views<R: AsRef<RunSpec>>(folder: &Path, experiment: &Experiment<R>) -> Result<()> {
    let (mut metrics, mut images): (Vec<MetricRecord>, Option<DataFrame>) = Default::default();
    let (ids, mut whole) = (ids(experiment), true);
    for found in side_by_side(&ids, |id| rows(&RunFolder::new(folder, id))) {
        whole &= found.is_ok();
        let Ok(Some((rows, frame))) = found else { continue };
        metrics.extend(rows);
        match (&mut images, frame) {
            (Some(all), Some(frame)) => drop(all.vstack_mut(&frame).map_err(unmade(folder))?),
            (None, frame) => images = frame,
            (Some(_), None) => {}
        }
    }
    remove_if_there(&folder.join(MADE_OF))?;
    write_frame(&folder.join(METRICS), metric_frame(&metrics), parquet_bytes)?;
    write_frame(&folder.join(CSV), metric_frame(&metrics), csv_bytes)?;
    match images {
        Some(images) => write_frame(&folder.join(IMAGES), Ok(images), parquet_bytes)?,
        None => remove_if_there(&folder.join(IMAGES))?,
    }
    // The sums of a damaged record do not change when the record is mended.
    let state = state(folder, &ids).filter(|_| whole);
    state.map_or(Ok(()), |state| write_atomically(&folder.join(MADE_OF), state.as_bytes()))
}

fn ids<R: AsRef<RunSpec>>(experiment: &Experiment<R>) -> Vec<&str> {
    experiment.runs.iter().map(|run| run.as_ref().id.as_str()).collect()
}

/// The checksums of what the views are made of and of the views; `None` where a view is missing that is always there.
fn state(folder: &Path, ids: &[&str]) -> Option<String> {
    let of = side_by_side(ids, |id| format!("{id}\n{}\n", RunFolder::new(folder, id).sums(&[METRICS, IMAGES])));
    let sum = |name: &str| Some(checksum(&std::fs::read(folder.join(name)).ok()?));
    let images = sum(IMAGES).unwrap_or_default();
    Some(format!("{}\n{}\n{}\n{images}\n", checksum(of.concat().as_bytes()), sum(METRICS)?, sum(CSV)?))
}

type Bytes = fn(&mut DataFrame) -> Result<Vec<u8>, PolarsError>;

fn write_frame(path: &Path, frame: Result<DataFrame, PolarsError>, bytes: Bytes) -> Result<()> {
    write_atomically(path, &frame.and_then(|mut frame| bytes(&mut frame)).map_err(unmade(path))?)
}

/// The rows of a recorded run, and the frame of its images where it did not fail.
fn rows(own: &RunFolder) -> Result<Option<(Vec<MetricRecord>, Option<DataFrame>)>> {
    let Some(table) = own.table()? else { return Ok(None) };
    let frame = |name: &str| read_parquet(own.bytes(&table, name)?, &own.file(name));
    let rows = metric_rows(&frame(METRICS)?, &own.file(METRICS))?;
    let failed = value(&table, &["error"]).is_some();
    Ok(Some((rows, if failed { None } else { Some(frame(IMAGES)?) })))
}
