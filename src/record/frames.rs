//! Rows as data frames: one home for column names and types.

use std::path::Path;

use polars::prelude::*;

use super::ImageRow;
use crate::error::{Error, Result};

/// Columns of `metrics.parquet` and `metrics.csv`, in order.
pub const METRIC_COLUMNS: [&str; 15] = [
    "experiment",
    "run",
    "variant",
    "method",
    "dataset",
    "class",
    "setting",
    "seen_anomalies",
    "seed",
    "metric",
    "value",
    "n_pos",
    "n_neg",
    "status",
    "error",
];

/// One row of the metrics table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricRecord {
    /// Experiment name.
    pub experiment: String,
    /// Run id.
    pub run: String,
    /// Row of the experiment.
    pub variant: String,
    /// Method name.
    pub method: String,
    /// Dataset name.
    pub dataset: String,
    /// Class, or "mean".
    pub class: String,
    /// `unified` or `per_class`.
    pub setting: String,
    /// Seen anomalies per class.
    pub seen_anomalies: u32,
    /// Seed.
    pub seed: u64,
    /// Metric name.
    pub metric: String,
    /// Value in [0, 1]; None when undefined or failed.
    pub value: Option<f64>,
    /// Positives.
    pub n_pos: u64,
    /// Negatives.
    pub n_neg: u64,
    /// `ok` or `error`.
    pub status: String,
    /// Why there is no value.
    pub error: String,
}

fn texts<'a>(name: &str, values: impl Iterator<Item = &'a str>) -> Column {
    Column::new(name.into(), values.collect::<Vec<_>>())
}

/// Rows to a frame with exactly `METRIC_COLUMNS`.
pub fn metric_frame(rows: &[MetricRecord]) -> Result<DataFrame, PolarsError> {
    let text = |name: &str, of: fn(&MetricRecord) -> &str| texts(name, rows.iter().map(of));
    let number =
        |name: &str, of: fn(&MetricRecord) -> u64| Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>());
    DataFrame::new(
        rows.len(),
        vec![
            text("experiment", |r| &r.experiment),
            text("run", |r| &r.run),
            text("variant", |r| &r.variant),
            text("method", |r| &r.method),
            text("dataset", |r| &r.dataset),
            text("class", |r| &r.class),
            text("setting", |r| &r.setting),
            Column::new("seen_anomalies".into(), rows.iter().map(|r| r.seen_anomalies).collect::<Vec<_>>()),
            number("seed", |r| r.seed),
            text("metric", |r| &r.metric),
            Column::new("value".into(), rows.iter().map(|r| r.value).collect::<Vec<_>>()),
            number("n_pos", |r| r.n_pos),
            number("n_neg", |r| r.n_neg),
            text("status", |r| &r.status),
            text("error", |r| &r.error),
        ],
    )
}

/// A frame back to rows; a missing column or another type is an error of that file.
pub fn metric_rows(frame: &DataFrame, path: &Path) -> Result<Vec<MetricRecord>> {
    let damaged = |fault: PolarsError| {
        Error::store(path, format!("not a metrics table ({fault})"), "remove the run's folder and run again")
    };
    let read = || -> Result<Vec<MetricRecord>, PolarsError> {
        let text = |name: &str| frame.column(name)?.str();
        let number = |name: &str| frame.column(name)?.u64();
        let (experiment, run, variant, method) = (text("experiment")?, text("run")?, text("variant")?, text("method")?);
        let (dataset, class, setting, metric) = (text("dataset")?, text("class")?, text("setting")?, text("metric")?);
        let (status, error) = (text("status")?, text("error")?);
        let (seen, seed) = (frame.column("seen_anomalies")?.u32()?, number("seed")?);
        let (value, n_pos, n_neg) = (frame.column("value")?.f64()?, number("n_pos")?, number("n_neg")?);
        let own = |column: &StringChunked, row: usize| column.get(row).unwrap_or_default().to_string();
        Ok((0..frame.height())
            .map(|row| MetricRecord {
                experiment: own(experiment, row),
                run: own(run, row),
                variant: own(variant, row),
                method: own(method, row),
                dataset: own(dataset, row),
                class: own(class, row),
                setting: own(setting, row),
                seen_anomalies: seen.get(row).unwrap_or_default(),
                seed: seed.get(row).unwrap_or_default(),
                metric: own(metric, row),
                value: value.get(row),
                n_pos: n_pos.get(row).unwrap_or_default(),
                n_neg: n_neg.get(row).unwrap_or_default(),
                status: own(status, row),
                error: own(error, row),
            })
            .collect())
    };
    read().map_err(damaged)
}

/// Image rows of one run to a frame.
pub fn image_frame(run: &str, rows: &[&ImageRow]) -> Result<DataFrame, PolarsError> {
    DataFrame::new(
        rows.len(),
        vec![
            texts("run", rows.iter().map(|_| run)),
            texts("class", rows.iter().map(|r| r.class.as_str())),
            texts("path", rows.iter().map(|r| r.path.as_str())),
            texts("defect", rows.iter().map(|r| r.defect.as_str())),
            Column::new("label".into(), rows.iter().map(|r| r.label).collect::<Vec<_>>()),
            Column::new("score".into(), rows.iter().map(|r| r.score).collect::<Vec<_>>()),
        ],
    )
}

/// Parquet bytes. Uncompressed pages in one row group: the same frame gives the same bytes.
pub fn parquet_bytes(frame: &mut DataFrame) -> Result<Vec<u8>, PolarsError> {
    let mut bytes = Vec::new();
    let rows = frame.height().max(1);
    frame.align_chunks_par();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Uncompressed)
        .with_row_group_size(Some(rows))
        .finish(frame)?;
    Ok(bytes)
}

/// CSV bytes with a header; numbers in full precision.
pub fn csv_bytes(frame: &mut DataFrame) -> Result<Vec<u8>, PolarsError> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).include_header(true).finish(frame)?;
    Ok(bytes)
}

/// Reads a Parquet file.
pub fn read_parquet(path: &Path) -> Result<DataFrame> {
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    ParquetReader::new(file).finish().map_err(|fault| {
        Error::store(path, format!("not readable as Parquet ({fault})"), "remove the run's folder and run again")
    })
}
