//! Recorded rows into cells.
//!
//! A dimension that varies among the rows and is neither shown nor averaged over would mix different things in one
//! cell; it is added to the columns instead. Only seeds are averaged over.

use crate::record::{MetricRecord, Recorded};
use crate::spec::{Dimension, MetricName, Table};

/// One cell: mean and spread over seeds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Mean, standard deviation (None for one seed), number of seeds.
    Value(f64, Option<f64>, usize),
    /// Recorded, but without value: the reason.
    Undefined(String),
    /// Not recorded.
    Missing,
}

/// A table of cells.
#[derive(Debug)]
pub struct Pivot {
    /// Name of the rows' dimension.
    pub row_name: &'static str,
    /// Row labels.
    pub rows: Vec<String>,
    /// Column labels: the column dimensions' values, then the metric.
    pub columns: Vec<String>,
    /// rows × columns.
    pub cells: Vec<Vec<Cell>>,
}

const DIMENSIONS: [Dimension; 6] = [
    Dimension::Dataset,
    Dimension::Variant,
    Dimension::Method,
    Dimension::SeenAnomalies,
    Dimension::Class,
    Dimension::Seed,
];

fn name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Class => "class",
        Dimension::Variant => "variant",
        Dimension::Method => "method",
        Dimension::SeenAnomalies => "seen",
        Dimension::Dataset => "dataset",
        Dimension::Seed => "seed",
    }
}

fn value(row: &MetricRecord, dimension: Dimension) -> String {
    match dimension {
        Dimension::Class => row.class.clone(),
        Dimension::Variant => row.variant.clone(),
        Dimension::Method => row.method.clone(),
        Dimension::SeenAnomalies => row.seen_anomalies.to_string(),
        Dimension::Dataset => row.dataset.clone(),
        Dimension::Seed => row.seed.to_string(),
    }
}

/// Distinct values in the order in which they are recorded, "mean" last; numbers ascending.
fn distinct(rows: &[&MetricRecord], dimension: Dimension) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for row in rows {
        let value = value(row, dimension);
        if !out.contains(&value) {
            out.push(value);
        }
    }
    match dimension {
        Dimension::SeenAnomalies | Dimension::Seed => out.sort_by_key(|v| v.parse::<u64>().unwrap_or(u64::MAX)),
        _ => out.sort_by_key(|v| v == "mean"),
    }
    out
}

impl Pivot {
    /// The table that `spec` declares.
    pub fn new(recorded: &Recorded, spec: &Table) -> Self {
        let shows_class = spec.rows == Dimension::Class || spec.columns.contains(&Dimension::Class);
        let keep = |row: &&MetricRecord| {
            let listed = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
            let class = if shows_class { listed(&spec.classes, &row.class) } else { row.class == "mean" };
            class && listed(&spec.datasets, &row.dataset) && listed(&spec.variants, &row.variant)
        };
        let kept: Vec<&MetricRecord> = recorded.metrics.iter().filter(keep).collect();
        let mut columns = spec.columns.clone();
        for dimension in DIMENSIONS {
            let free = dimension != Dimension::Seed && dimension != spec.rows && !columns.contains(&dimension);
            // A variant says more than its method, so the method is not shown beside it.
            let told = dimension == Dimension::Method
                && (spec.rows == Dimension::Variant || columns.contains(&Dimension::Variant));
            if free && !told && distinct(&kept, dimension).len() > 1 {
                columns.push(dimension);
            }
        }
        let metrics = if spec.metrics.is_empty() { &recorded.experiment.metrics } else { &spec.metrics };
        let heads = combinations(&kept, &columns);
        let rows = distinct(&kept, spec.rows);
        let cells = rows
            .iter()
            .map(|row| {
                let own: Vec<&MetricRecord> = kept.iter().copied().filter(|r| value(r, spec.rows) == *row).collect();
                heads
                    .iter()
                    .flat_map(|head| {
                        metrics.iter().map(|&metric| cell(&own, &columns, head, metric)).collect::<Vec<_>>()
                    })
                    .collect()
            })
            .collect();
        let column_label = |head: &Vec<String>, metric: MetricName| {
            let parts = columns.iter().zip(head).map(|(&dimension, value)| match dimension {
                Dimension::SeenAnomalies => format!("{value} seen"),
                Dimension::Seed => format!("seed {value}"),
                Dimension::Variant => labelled(recorded, value),
                _ => value.clone(),
            });
            parts.chain([metric.as_str().to_string()]).collect::<Vec<_>>().join("\n")
        };
        let columns =
            heads.iter().flat_map(|head| metrics.iter().map(|&m| column_label(head, m)).collect::<Vec<_>>()).collect();
        let rows = match spec.rows {
            Dimension::Variant => rows.iter().map(|variant| labelled(recorded, variant)).collect(),
            _ => rows,
        };
        Pivot { row_name: name(spec.rows), rows, columns, cells }
    }
}

/// Combinations of the column dimensions that are recorded at all.
fn combinations(rows: &[&MetricRecord], columns: &[Dimension]) -> Vec<Vec<String>> {
    let mut heads = vec![Vec::new()];
    for &dimension in columns {
        let values = distinct(rows, dimension);
        heads = heads
            .iter()
            .flat_map(|head: &Vec<String>| values.iter().map(|v| [head.clone(), vec![v.clone()]].concat()))
            .collect();
    }
    heads.retain(|head| rows.iter().any(|row| matches(row, columns, head)));
    heads
}

fn matches(row: &MetricRecord, columns: &[Dimension], head: &[String]) -> bool {
    columns.iter().zip(head).all(|(&dimension, wanted)| value(row, dimension) == *wanted)
}

fn cell(rows: &[&MetricRecord], columns: &[Dimension], head: &[String], metric: MetricName) -> Cell {
    let found: Vec<&&MetricRecord> =
        rows.iter().filter(|row| row.metric == metric.as_str() && matches(row, columns, head)).collect();
    let values: Vec<f64> = found.iter().filter_map(|row| row.value).collect();
    match (found.first(), values.len()) {
        (None, _) => Cell::Missing,
        (Some(row), 0) => Cell::Undefined(row.error.clone()),
        (_, count) => {
            let mean = values.iter().sum::<f64>() / count as f64;
            let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
            Cell::Value(mean, (count > 1).then(|| (squares / (count - 1) as f64).sqrt()), count)
        }
    }
}

/// Labels that every recorded run carries.
pub fn common_labels(recorded: &Recorded) -> Vec<String> {
    let Some((_, first)) = recorded.labels.first() else { return Vec::new() };
    first.iter().filter(|label| recorded.labels.iter().all(|(_, own)| own.contains(label))).cloned().collect()
}

/// A variant with whatever labels its numbers and not everyone's.
fn labelled(recorded: &Recorded, variant: &str) -> String {
    let common = common_labels(recorded);
    let mut own: Vec<&String> = recorded
        .labels
        .iter()
        .filter(|(name, _)| name == variant)
        .flat_map(|(_, labels)| labels)
        .filter(|l| !common.contains(l))
        .collect();
    own.sort();
    own.dedup();
    match own.is_empty() {
        true => variant.to_string(),
        false => format!("{variant} ({})", own.iter().map(|l| l.as_str()).collect::<Vec<_>>().join("; ")),
    }
}
