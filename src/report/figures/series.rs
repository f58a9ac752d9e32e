//! Recorded metrics as points of lines: means, their spread over seeds, their range over samplings of seen anomalies.

use std::collections::BTreeMap;

use super::NO_BREAK;
use crate::record::{MetricRecord, Recorded};
use crate::spec::{self, Dimension, MetricName, Sampler};

/// What a dimension is called on an axis.
pub fn name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Class => "class",
        Dimension::Variant => "variant",
        Dimension::Method => "method",
        Dimension::SeenAnomalies => "seen anomalies per class",
        Dimension::Dataset => "dataset",
        Dimension::Seed => "seed",
    }
}

/// A row's value in a dimension.
pub fn value(row: &MetricRecord, dimension: Dimension) -> String {
    match dimension {
        Dimension::Class => row.class.clone(),
        Dimension::Variant => row.variant.clone(),
        Dimension::Method => row.method.clone(),
        Dimension::SeenAnomalies => row.seen_anomalies.to_string(),
        Dimension::Dataset => row.dataset.clone(),
        Dimension::Seed => row.seed.to_string(),
    }
}

/// Distinct values in the order in which they are recorded; numbers ascending.
pub fn distinct(rows: &[&MetricRecord], dimension: Dimension) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for value in rows.iter().map(|row| value(row, dimension)) {
        if !out.contains(&value) {
            out.push(value);
        }
    }
    if matches!(dimension, Dimension::SeenAnomalies | Dimension::Seed) {
        out.sort_by_key(|value| value.parse::<u64>().unwrap_or(u64::MAX));
    }
    out
}

/// Which rows are looked at.
pub struct Query<'a> {
    /// Metrics; [] = the experiment's first.
    pub metrics: &'a [MetricName],
    /// The class shown where no dimension is the class.
    pub class: &'a str,
    /// Only these datasets; [] = all.
    pub datasets: &'a [String],
    /// Only these variants; [] = all.
    pub variants: &'a [String],
    /// Dimensions that are told apart by name.
    pub shown: &'a [Dimension],
}

/// A value with its spread, in percent.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Mean over samplings of the means over seeds.
    pub mean: f64,
    /// Standard deviation over seeds, pooled over samplings; None for one seed.
    pub deviation: Option<f64>,
    /// Least and greatest mean of a sampling; None for one sampling.
    pub range: Option<(f64, f64)>,
    /// Number of seeds.
    pub seeds: usize,
    /// Number of samplings.
    pub samplings: usize,
}

/// The rows that a query selects.
pub fn select<'a>(recorded: &'a Recorded, query: &Query) -> Vec<&'a MetricRecord> {
    let listed = |list: &[String], value: &String| list.is_empty() || list.contains(value);
    let by_class = query.shown.contains(&Dimension::Class);
    let class = |row: &MetricRecord| if by_class { row.class != "mean" } else { row.class == query.class };
    recorded
        .metrics
        .iter()
        .filter(|row| {
            class(row) && listed(query.datasets, &row.dataset) && spec::lists_variant(query.variants, &row.variant)
        })
        .collect()
}

/// The metrics of a figure: its own, or the experiment's first.
pub fn metrics(recorded: &Recorded, own: &[MetricName]) -> Vec<MetricName> {
    if own.is_empty() { recorded.experiment.metrics.iter().take(1).copied().collect() } else { own.to_vec() }
}

/// Dimensions besides the shown ones, dataset and seed that vary among rows: what they are is added to the labels, since
/// different things must not be averaged. Variants that are further samplings of the seen anomalies are no different
/// thing.
pub fn varying(recorded: &Recorded, rows: &[&MetricRecord], shown: &[Dimension]) -> Vec<Dimension> {
    // A variant says more than its method.
    [Dimension::Variant, Dimension::SeenAnomalies]
        .into_iter()
        .filter(|dimension| !shown.contains(dimension) && distinct(rows, *dimension).len() > 1)
        .filter(|dimension| *dimension != Dimension::Variant || !are_samplings(recorded, rows))
        .collect()
}

/// Whether the runs behind rows differ in the sampling of seen anomalies alone, besides what figures tell apart.
fn are_samplings(recorded: &Recorded, rows: &[&MetricRecord]) -> bool {
    let kept = |row: &&MetricRecord| {
        let mut spec = recorded.run(&row.run)?.spec.clone();
        (spec.variant, spec.dataset, spec.seed) = (String::new(), String::new(), 0);
        (spec.protocol.seen.seed, spec.protocol.seen.count) = (0, 0);
        Some(spec)
    };
    // What is "auto" in a method depends on whether anomalies are seen.
    let mut known = BTreeMap::new();
    rows.iter().all(|row| {
        let spec = kept(row);
        *known.entry(row.seen_anomalies).or_insert_with(|| spec.clone()) == spec
    })
}

/// A row's name in dimensions.
pub fn label(row: &MetricRecord, dimensions: &[Dimension]) -> String {
    let part = |&dimension: &Dimension| match dimension {
        Dimension::SeenAnomalies => format!("{}{NO_BREAK}seen", row.seen_anomalies),
        Dimension::Seed => format!("seed{NO_BREAK}{}", row.seed),
        _ => value(row, dimension),
    };
    dimensions.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Which sampling of seen anomalies a run belongs to. The `chacha` sampler draws with the run's seed, so there its
/// spread is part of that over seeds.
fn sampling(recorded: &Recorded, row: &MetricRecord) -> u64 {
    let run = recorded.experiment.runs.iter().find(|run| run.spec.id() == row.run);
    run.map_or(0, |run| match (&run.spec.protocol.seen, run.spec.protocol.seen.sampler) {
        (seen, Sampler::Python) if seen.count > 0 => seen.seed,
        _ => 0,
    })
}

/// Samplings of all runs, looked up once: ids are digests.
pub fn samplings(recorded: &Recorded, rows: &[&MetricRecord]) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for row in rows {
        if !out.contains_key(&row.run) {
            out.insert(row.run.clone(), sampling(recorded, row));
        }
    }
    out
}

/// One point of rows that differ in seed and sampling alone; None where none has a value.
pub fn point(rows: &[&MetricRecord], samplings: &BTreeMap<String, u64>) -> Option<Point> {
    let mut cells: BTreeMap<u64, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
    for row in rows {
        if let Some(value) = row.value {
            let sampling = samplings.get(&row.run).copied().unwrap_or_default();
            cells.entry(sampling).or_default().entry(row.seed).or_default().push(100.0 * value);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let seeds: Vec<Vec<f64>> = cells.values().map(|seeds| seeds.values().map(|v| mean(v)).collect()).collect();
    let means: Vec<f64> = seeds.iter().map(|values| mean(values)).collect();
    if means.is_empty() {
        return None;
    }
    let (mut squares, mut degrees) = (0.0, 0);
    for (values, mean) in seeds.iter().zip(&means) {
        squares += values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        degrees += values.len() - 1;
    }
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(Point {
        mean: mean(&means),
        deviation: (degrees > 0).then(|| (squares / degrees as f64).sqrt()),
        range: (means.len() > 1).then_some((least, greatest)),
        seeds: seeds.iter().map(Vec::len).max().unwrap_or_default(),
        samplings: means.len(),
    })
}

/// What error bars and bands mean, for a note below a figure; empty where there are none.
pub fn spread_note(points: &[&Point]) -> String {
    let seeds = points.iter().filter(|p| p.deviation.is_some()).map(|p| p.seeds).max();
    let samplings = points.iter().filter(|p| p.range.is_some()).map(|p| p.samplings).max();
    let bars = seeds.map(|count| format!("Bars: ± one standard deviation over {count} seeds."));
    let band = samplings.map(|count| format!("Bands: range over {count} samplings of seen anomalies."));
    bars.into_iter().chain(band).collect::<Vec<_>>().join(" ")
}

/// Columns of a point in CSV files.
pub const POINT_COLUMNS: &str = "mean,sd,seeds,lowest_sampling,highest_sampling,samplings";

/// A point in those columns.
pub fn point_csv(point: &Point) -> String {
    let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    format!(
        "{},{},{},{},{},{}",
        point.mean,
        number(point.deviation),
        point.seeds,
        number(point.range.map(|r| r.0)),
        number(point.range.map(|r| r.1)),
        point.samplings
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run: &str, seed: u64, value: f64) -> MetricRecord {
        MetricRecord { run: run.into(), seed, value: Some(value), ..MetricRecord::default() }
    }

    #[test]
    fn seeds_give_a_deviation_and_samplings_a_range() {
        let rows = [row("a", 0, 0.90), row("b", 1, 0.92), row("c", 0, 0.94), row("d", 1, 0.96)];
        let samplings = [("a", 0), ("b", 0), ("c", 1), ("d", 1)].map(|(run, s)| (run.to_string(), s));
        let found = point(&rows.iter().collect::<Vec<_>>(), &samplings.into()).expect("a point");
        assert!((found.mean - 93.0).abs() < 1e-9, "{found:?}");
        assert!((found.deviation.expect("two seeds") - 2f64.sqrt()).abs() < 1e-9, "{found:?}");
        let (low, high) = found.range.expect("two samplings");
        assert!((low - 91.0).abs() < 1e-9 && (high - 95.0).abs() < 1e-9, "{found:?}");
        assert_eq!(point(&[], &BTreeMap::new()), None);
    }
}
