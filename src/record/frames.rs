//! Rows as data frames: one home for column names and types.

use std::collections::BTreeSet;
use std::path::Path;

use polars::prelude::*;

use super::ImageRow;
use super::read::damaged;
use crate::error::Result;

macro_rules! record {
    ($($(#[$about:meta])* $name:ident: $type:ty as $column:ident,)*) => {
        /// One row of the metrics table; its fields are the columns of `metrics.parquet` and `metrics.csv`, in order.
        #[derive(Clone, Debug, Default, PartialEq)]
        #[expect(missing_docs, reason = "the names are the documentation")]
        pub struct MetricRecord {
            $($(#[$about])* pub $name: $type,)*
        }

        pub fn metric_frame(rows: &[MetricRecord]) -> Result<DataFrame, PolarsError> {
            let columns = vec![$(Column::new(
                stringify!($name).into(),
                rows.iter().map(|row| row.$name.clone()).collect::<Vec<$type>>(),
            )),*];
            DataFrame::new(rows.len(), columns)
        }

        fn read_metrics(frame: &DataFrame) -> Result<Vec<MetricRecord>, PolarsError> {
            $(let mut $name = frame.column(stringify!($name))?.$column()?.iter();)*
            let row = |_| MetricRecord { $($name: $name.next().flatten().map(Into::into).unwrap_or_default(),)* };
            Ok((0..frame.height()).map(row).collect())
        }
    };
}

record! {
    experiment: String as str,
    run: String as str,
    /// Row of the experiment.
    variant: String as str,
    method: String as str,
    dataset: String as str,
    /// Class, or "mean".
    class: String as str,
    /// `unified` or `per_class`.
    setting: String as str,
    /// Seen anomalies per class.
    seen_anomalies: u32 as u32,
    seed: u64 as u64,
    metric: String as str,
    /// Value in [0, 1]; None when undefined or failed.
    value: Option<f64> as f64,
    n_pos: u64 as u64,
    n_neg: u64 as u64,
    /// `ok` or `error`.
    status: String as str,
    /// Why there is no value.
    error: String as str,
}

/// A frame back to rows; a missing column or another type is an error of that file.
pub fn metric_rows(frame: &DataFrame, path: &Path) -> Result<Vec<MetricRecord>> {
    read_metrics(frame).map_err(|fault| damaged(path, format!("not a metrics table ({fault})")))
}

/// Image rows of one run to a frame.
pub fn image_frame(run: &str, rows: &[&ImageRow]) -> Result<DataFrame, PolarsError> {
    let texts = |of: fn(&ImageRow) -> &str| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
    let columns = vec![
        Column::new("run".into(), vec![run; rows.len()]),
        Column::new("class".into(), texts(|row| &row.class)),
        Column::new("path".into(), texts(|row| &row.path)),
        Column::new("defect".into(), texts(|row| &row.defect)),
        Column::new("label".into(), rows.iter().map(|row| row.label).collect::<Vec<_>>()),
        Column::new("score".into(), rows.iter().map(|row| row.score).collect::<Vec<_>>()),
    ];
    DataFrame::new(rows.len(), columns)
}

/// A frame back to the image rows of `run`; a missing column, another type, an empty cell or another run's row is an
/// error of that file.
pub fn image_rows(frame: &DataFrame, path: &Path, run: &str) -> Result<Vec<ImageRow>> {
    let damaged = |what: String| damaged(path, format!("not a table of images ({what})"));
    let read = || -> Result<Vec<Option<ImageRow>>, PolarsError> {
        let text = |name: &str| frame.column(name)?.str();
        let (own, class, path, defect) = (text("run")?, text("class")?, text("path")?, text("defect")?);
        let (label, score) = (frame.column("label")?.bool()?, frame.column("score")?.f64()?);
        let row = |row: usize| {
            Some(ImageRow {
                class: class.get(row).filter(|_| own.get(row) == Some(run))?.into(),
                path: path.get(row)?.into(),
                defect: defect.get(row)?.into(),
                label: label.get(row)?,
                score: score.get(row).filter(|score| score.is_finite())?,
            })
        };
        Ok((0..frame.height()).map(row).collect())
    };
    let rows = read().map_err(|fault| damaged(fault.to_string()))?;
    let whole = |(number, row): (usize, Option<ImageRow>)| {
        row.ok_or_else(|| damaged(format!("row {} is incomplete, not finite, or of another run", number + 1)))
    };
    rows.into_iter().enumerate().map(whole).collect()
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

/// A frame from the bytes of the file at `path`.
pub fn read_parquet(bytes: Vec<u8>, path: &Path) -> Result<DataFrame> {
    // Small tables, several read at once: handing columns to a pool costs more than reading them.
    let reader = ParquetReader::new(std::io::Cursor::new(bytes)).read_parallel(ParallelStrategy::None);
    reader.finish().map_err(|fault| damaged(path, format!("not readable as Parquet ({fault})")))
}

/// The texts in some columns of a CSV file; none of a file that is not there or cannot be read as one.
pub fn csv_texts(path: &Path, columns: &[&str]) -> BTreeSet<String> {
    // Without rows to infer types from, everything is a text.
    let options = CsvReadOptions::default().with_infer_schema_length(Some(0));
    let frame = options.try_into_reader_with_file_path(Some(path.into())).and_then(|reader| reader.finish());
    let Ok(frame) = frame else { return BTreeSet::new() };
    let texts = |name: &&str| {
        let column = frame.column(name).ok()?.str().ok()?;
        Some(column.iter().flatten().map(str::to_string).collect::<Vec<_>>())
    };
    columns.iter().filter_map(texts).flatten().collect()
}
