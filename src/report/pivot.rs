//! Declared runs and recorded rows into cells.
//!
//! What a table shows is what the experiment declares, so that a run that was left out is a cell that says so. A dimension
//! that is not shown and would mix different things in one cell is added to the columns. Only seeds are averaged over.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{MEAN, MetricRecord, Recorded, RecordedRun};
use crate::spec::{Declared, Dimension, MetricName, Table, lists_variant, names_variant};

/// One cell: mean and spread over seeds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Mean, standard deviation (None for one seed), number of seeds.
    Value(f64, Option<f64>, usize),
    /// The same where some classes are undefined and left out of the mean; the reason.
    Partial(f64, Option<f64>, usize, String),
    /// Recorded, but without value: the reason.
    Undefined(String),
    /// Declared and not recorded.
    Missing,
    /// Not declared: other rows have this column.
    Undeclared,
    /// Nobody has built it.
    Unavailable,
}

/// A column: what it shows of which runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The dimensions above the metric with their values.
    pub head: Vec<(Dimension, String)>,
    /// The same in words.
    pub labels: Vec<String>,
    /// The metric.
    pub metric: MetricName,
}

impl Column {
    /// Everything above the numbers, one line each.
    pub fn label(&self) -> String {
        self.labels.iter().map(String::as_str).chain([self.metric.as_str()]).collect::<Vec<_>>().join("\n")
    }
}

/// A table of cells.
#[derive(Clone, Debug)]
pub struct Pivot {
    /// The rows' dimension.
    pub dimension: Dimension,
    /// Row labels.
    pub rows: Vec<String>,
    /// Columns.
    pub columns: Vec<Column>,
    /// rows × columns.
    pub cells: Vec<Vec<Cell>>,
    /// Labels of some runs alone: the first is tagged `[a]` where its numbers are, the second `[b]`.
    pub labels: Vec<String>,
}

const DIMENSIONS: [Dimension; 6] = [
    Dimension::Dataset,
    Dimension::Variant,
    Dimension::Method,
    Dimension::SeenAnomalies,
    Dimension::Class,
    Dimension::Seed,
];

/// What a dimension is called above its column.
pub fn name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Class => "class",
        Dimension::Variant => "variant",
        Dimension::Method => "method",
        Dimension::SeenAnomalies => "seen",
        Dimension::Dataset => "dataset",
        Dimension::Seed => "seed",
    }
}

/// Something that a table may have a cell of: a class of a declared run, or of a method that nobody has built.
#[derive(Clone, Debug, PartialEq)]
struct Point {
    variant: String,
    method: String,
    dataset: String,
    seen: String,
    seed: String,
    class: String,
    available: bool,
}

impl Point {
    fn value(&self, dimension: Dimension) -> &str {
        match dimension {
            Dimension::Class => &self.class,
            Dimension::Variant => &self.variant,
            Dimension::Method => &self.method,
            Dimension::SeenAnomalies => &self.seen,
            Dimension::Dataset => &self.dataset,
            Dimension::Seed => &self.seed,
        }
    }

    fn is(&self, wanted: &[(Dimension, String)]) -> bool {
        wanted.iter().all(|(dimension, value)| self.value(*dimension) == value)
    }

    fn of_row(row: &MetricRecord) -> Self {
        Point {
            variant: row.variant.clone(),
            method: row.method.clone(),
            dataset: row.dataset.clone(),
            seen: row.seen_anomalies.to_string(),
            seed: row.seed.to_string(),
            class: row.class.clone(),
            available: true,
        }
    }
}

/// The classes of a declared run: its own where they are known, else those of other runs of its dataset.
fn classes(recorded: &Recorded, run: &Declared) -> Vec<String> {
    let of = |wanted: &dyn Fn(&MetricRecord) -> bool| {
        let mut found: Vec<String> = Vec::new();
        for row in recorded.metrics.iter().filter(|row| row.class != MEAN && wanted(row)) {
            if !found.contains(&row.class) {
                found.push(row.class.clone());
            }
        }
        found
    };
    let id = run.spec.id();
    let mut found = of(&|row| row.run == id);
    if found.is_empty() {
        found = run.spec.classes.clone();
    }
    if found.is_empty() {
        found = of(&|row| row.dataset == run.spec.dataset);
    }
    found.push(MEAN.into());
    found
}

/// All points of the declared runs that `spec` lets through, then those of what is not built.
fn points(recorded: &Recorded, spec: &Table, every_class: bool) -> Vec<Point> {
    let listed = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
    let mut points = Vec::new();
    for run in &recorded.experiment.runs {
        let own = Point {
            variant: run.spec.variant.clone(),
            method: run.spec.method_name().into(),
            dataset: run.spec.dataset.clone(),
            seen: run.spec.protocol.seen.count.to_string(),
            seed: run.spec.seed.to_string(),
            class: String::new(),
            available: true,
        };
        let wanted = listed(&spec.datasets, &own.dataset)
            && lists_variant(&spec.variants, &own.variant)
            && listed(&spec.methods, &own.method);
        if wanted {
            let shown = |class: &String| if every_class { listed(&spec.classes, class) } else { class == MEAN };
            let classes = classes(recorded, run).into_iter().filter(shown);
            points.extend(classes.map(|class| Point { class, ..own.clone() }));
        }
    }
    let built = points.clone();
    for also in &spec.also {
        for point in built.iter().filter(|point| point.seen.parse().is_ok_and(|seen| also.belongs(seen))) {
            let name = also.name().to_string();
            let absent = Point { variant: name.clone(), method: name, available: false, ..point.clone() };
            if !points.contains(&absent) {
                points.push(absent);
            }
        }
    }
    points
}

/// Distinct values: as `spec` lists them, else in the order in which they are declared, "mean" last; numbers ascending.
fn distinct(points: &[Point], dimension: Dimension, spec: &Table) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for point in points {
        let value = point.value(dimension);
        if !out.iter().any(|known| known == value) {
            out.push(value.into());
        }
    }
    let listed: &[String] = match dimension {
        Dimension::Class => &spec.classes,
        Dimension::Dataset => &spec.datasets,
        Dimension::Variant => &spec.variants,
        Dimension::Method => &spec.methods,
        Dimension::SeenAnomalies | Dimension::Seed => {
            out.sort_by_key(|v| v.parse::<u64>().unwrap_or(u64::MAX));
            return out;
        }
    };
    let is = |item: &String, value: &String| match dimension {
        Dimension::Variant => names_variant(item, value),
        _ => item == value,
    };
    let place = |value: &String| listed.iter().position(|item| is(item, value)).unwrap_or(listed.len());
    out.sort_by_key(|value| (place(value), listed.is_empty() && value == MEAN));
    out
}

impl Pivot {
    /// The table that `spec` declares.
    pub fn new(recorded: &Recorded, spec: &Table) -> Self {
        let shows = |dimension: Dimension| spec.rows == dimension || spec.columns.contains(&dimension);
        // Named classes are shown wherever the table has room for them: it is their numbers that are wanted.
        let points = points(recorded, spec, shows(Dimension::Class) || !spec.classes.is_empty());
        let mut dimensions = spec.columns.clone();
        // What is not built needs a row or a column to be named in.
        if !spec.also.is_empty() && !shows(Dimension::Method) && !shows(Dimension::Variant) {
            dimensions.push(Dimension::Method);
        }
        for dimension in DIMENSIONS {
            let shown = [&dimensions[..], &[spec.rows, Dimension::Seed]].concat();
            if !shown.contains(&dimension) && mixes(&points, &dimensions, spec.rows, dimension) {
                dimensions.push(dimension);
            }
        }
        let metrics = if spec.metrics.is_empty() { &recorded.experiment.metrics } else { &spec.metrics };
        let mut tags = Tags::new(recorded);
        let columns: Vec<Column> = combinations(&points, &dimensions, spec)
            .into_iter()
            .flat_map(|head| {
                let labels: Vec<String> = head.iter().map(|(d, value)| in_words(&mut tags, *d, value)).collect();
                metrics.iter().map(move |&metric| Column { head: head.clone(), labels: labels.clone(), metric })
            })
            .collect();
        let rows = distinct(&points, spec.rows, spec);
        let recorded_points: Vec<(Point, &MetricRecord)> =
            recorded.metrics.iter().map(|row| (Point::of_row(row), row)).collect();
        let classes = Classes::new(recorded);
        let cells = rows
            .iter()
            .map(|row| {
                let own = (spec.rows, row.clone());
                let wanted = |column: &Column| -> Vec<(Dimension, String)> {
                    [&column.head[..], std::slice::from_ref(&own)].concat()
                };
                columns.iter().map(|c| cell(&recorded_points, &points, &classes, &wanted(c), c.metric)).collect()
            })
            .collect();
        let rows = rows.iter().map(|row| tags.tagged(spec.rows, row)).collect();
        Pivot { dimension: spec.rows, rows, columns, cells, labels: tags.labels }
    }

    /// Whether a row or a column is called so.
    pub fn names(&self, name: &str) -> bool {
        self.rows.iter().chain(self.columns.iter().flat_map(|column| &column.labels)).any(|label| label == name)
    }

    /// The same with these columns alone.
    pub fn with_columns(&self, kept: &[usize]) -> Self {
        Pivot {
            dimension: self.dimension,
            rows: self.rows.clone(),
            columns: kept.iter().map(|&column| self.columns[column].clone()).collect(),
            cells: self.cells.iter().map(|row| kept.iter().map(|&column| row[column].clone()).collect()).collect(),
            labels: self.labels.clone(),
        }
    }

    /// Fewest and most seeds behind a value.
    pub fn seeds(&self) -> Option<(usize, usize)> {
        let counts: Vec<usize> = self
            .cells
            .iter()
            .flatten()
            .filter_map(|cell| match cell {
                Cell::Value(_, _, count) | Cell::Partial(_, _, count, _) => Some(*count),
                _ => None,
            })
            .collect();
        Some((*counts.iter().min()?, *counts.iter().max()?))
    }
}

/// True when some cell of these rows and columns would hold points that differ in `dimension`.
fn mixes(points: &[Point], columns: &[Dimension], rows: Dimension, dimension: Dimension) -> bool {
    let mut known: BTreeMap<Vec<&str>, &str> = BTreeMap::new();
    points.iter().any(|point| {
        let place = columns.iter().chain([&rows]).map(|&shown| point.value(shown)).collect();
        *known.entry(place).or_insert(point.value(dimension)) != point.value(dimension)
    })
}

fn in_words(tags: &mut Tags, dimension: Dimension, value: &str) -> String {
    match dimension {
        Dimension::SeenAnomalies => format!("{value} seen"),
        Dimension::Seed => format!("seed {value}"),
        _ => tags.tagged(dimension, value),
    }
}

/// Combinations of the column dimensions that are declared at all.
fn combinations(points: &[Point], columns: &[Dimension], spec: &Table) -> Vec<Vec<(Dimension, String)>> {
    let mut heads = vec![Vec::new()];
    for &dimension in columns {
        let values = distinct(points, dimension, spec);
        heads = heads
            .iter()
            .flat_map(|head: &Vec<(Dimension, String)>| {
                values.iter().map(|v| [head.clone(), vec![(dimension, v.clone())]].concat())
            })
            .collect();
    }
    heads.retain(|head| points.iter().any(|point| point.is(head)));
    heads
}

fn cell(
    rows: &[(Point, &MetricRecord)],
    points: &[Point],
    classes: &Classes,
    wanted: &[(Dimension, String)],
    metric: MetricName,
) -> Cell {
    let found: Vec<&MetricRecord> = rows
        .iter()
        .filter(|(point, row)| row.metric == metric.as_str() && point.is(wanted) && points.contains(point))
        .map(|(_, row)| *row)
        .collect();
    let values: Vec<f64> = found.iter().filter_map(|row| row.value).collect();
    match (found.first(), values.len()) {
        (None, _) if points.iter().any(|point| !point.available && point.is(wanted)) => Cell::Unavailable,
        (None, _) if points.iter().any(|point| point.is(wanted)) => Cell::Missing,
        (None, _) => Cell::Undeclared,
        (Some(row), 0) => Cell::Undefined(row.error.clone()),
        (_, count) => {
            let mean = values.iter().sum::<f64>() / count as f64;
            let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
            let sd = (count > 1).then(|| (squares / (count - 1) as f64).sqrt());
            let told =
                found.iter().find(|row| row.value.is_some() && !row.error.is_empty()).map(|row| row.error.clone());
            match told.or_else(|| found.iter().find_map(|row| classes.lacking(row))) {
                Some(reason) => Cell::Partial(mean, sd, count, reason),
                None => Cell::Value(mean, sd, count),
            }
        }
    }
}

/// Which classes each run has: a mean over fewer than others of its dataset have is not comparable with theirs.
struct Classes<'a> {
    of_run: BTreeMap<&'a str, BTreeSet<&'a str>>,
    of_dataset: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Classes<'a> {
    fn new(recorded: &'a Recorded) -> Self {
        let mut classes = Classes { of_run: BTreeMap::new(), of_dataset: BTreeMap::new() };
        for row in recorded.metrics.iter().filter(|row| row.class != MEAN) {
            classes.of_run.entry(&row.run).or_default().insert(&row.class);
            classes.of_dataset.entry(&row.dataset).or_default().insert(&row.class);
        }
        classes
    }

    /// What a mean leaves out that other runs of its dataset have, in words.
    fn lacking(&self, row: &MetricRecord) -> Option<String> {
        let (own, all) = (self.of_run.get(row.run.as_str())?, self.of_dataset.get(row.dataset.as_str())?);
        let fewer = row.class == MEAN && own.len() < all.len();
        fewer.then(|| format!("a mean over {} of the {} classes that other runs have", own.len(), all.len()))
    }
}

/// Labels that every recorded run with numbers carries.
pub fn common_labels(recorded: &Recorded) -> Vec<String> {
    let with_numbers = || recorded.runs.iter().filter(|run| run.failure.is_none());
    let Some(first) = with_numbers().next() else { return Vec::new() };
    first.labels.iter().filter(|label| with_numbers().all(|run| run.labels.contains(label))).cloned().collect()
}

/// Letters for the labels that not all runs carry, in the order in which a table meets them.
struct Tags<'a> {
    recorded: &'a Recorded,
    common: Vec<String>,
    labels: Vec<String>,
}

impl<'a> Tags<'a> {
    fn new(recorded: &'a Recorded) -> Self {
        Tags { recorded, common: common_labels(recorded), labels: Vec::new() }
    }

    /// A variant or method with the letters of whatever labels its numbers and not everyone's.
    fn tagged(&mut self, dimension: Dimension, value: &str) -> String {
        let is_own = |run: &&RecordedRun| match dimension {
            Dimension::Variant => run.spec.variant == value,
            Dimension::Method => run.spec.method_name() == value,
            _ => false,
        };
        let labels = self.recorded.runs.iter().filter(is_own).flat_map(|run| &run.labels);
        let own: BTreeSet<&String> = labels.filter(|label| !self.common.contains(label)).collect();
        let mut letters = Vec::new();
        for label in own {
            let known = self.labels.iter().position(|known| known == label);
            let place = known.unwrap_or_else(|| {
                self.labels.push(label.clone());
                self.labels.len() - 1
            });
            letters.push(letter(place));
        }
        if letters.is_empty() { value.into() } else { format!("{value} [{}]", letters.join(",")) }
    }
}

/// a to z, then a1 and so on.
pub fn letter(place: usize) -> String {
    let letter = char::from(b'a' + (place % 26) as u8);
    if place < 26 { letter.into() } else { format!("{letter}{}", place / 26) }
}
