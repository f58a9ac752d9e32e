//! Declared runs and recorded rows into cells.
//!
//! What a table shows is what the experiment declares, so that a run that was left out is a cell that says so. A dimension
//! that is not shown and would mix different things in one cell is added to the columns, and so are datasets and numbers of
//! seen anomalies where rows differ in them. Only seeds are averaged over.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::export::Sheet;
use super::frame::{self, Place, Wanted, distinct, groups, listed};
use super::labels::Tags;
use crate::metrics::{MetricName, deviation, mean};
use crate::record::{MEAN, MetricRecord, Recorded};
use crate::spec::{Dimension, RunSpec, Table, names_variant};

/// One cell: mean and spread over seeds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Mean, standard deviation (None for one seed), number of seeds.
    Value(f64, Option<f64>, usize),
    /// The same where some classes are undefined and left out of the mean; the reason.
    Partial(f64, Option<f64>, usize, String),
    /// Recorded, but without value: the reason.
    Undefined(String),
    /// The run failed: why.
    Failed(String),
    /// Declared and not recorded.
    Missing,
    /// Not declared: other rows have this column.
    Undeclared,
    /// Nobody has built it.
    Unavailable,
}

impl Cell {
    /// Mean, standard deviation and number of seeds, as far as there are any.
    pub fn numbers(&self) -> (Option<f64>, Option<f64>, usize) {
        match self {
            Cell::Value(mean, sd, seeds) | Cell::Partial(mean, sd, seeds, _) => (Some(*mean), *sd, *seeds),
            _ => (None, None, 0),
        }
    }

    /// In percent with one decimal, or why there is no number.
    pub fn shown(&self) -> String {
        match self {
            Cell::Value(mean, Some(sd), _) => format!("{:.1} ± {:.1}", mean * 100.0, sd * 100.0),
            Cell::Value(mean, None, _) => format!("{:.1}", mean * 100.0),
            Cell::Partial(mean, sd, seeds, _) => format!("{}*", Cell::Value(*mean, *sd, *seeds).shown()),
            Cell::Undefined(_) => "undefined".into(),
            Cell::Failed(_) => "failed".into(),
            Cell::Missing => "not run".into(),
            Cell::Undeclared => "–".into(),
            Cell::Unavailable => "not available".into(),
        }
    }
}

/// A column: what it shows of which runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The dimensions above the metric with their values.
    pub head: Vec<(Dimension, String)>,
    pub labels: Vec<String>,
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

/// What is added to the columns where cells would mix it, in this order; seeds are averaged over.
const ADDED: [Dimension; 5] =
    [Dimension::Dataset, Dimension::Variant, Dimension::Method, Dimension::SeenAnomalies, Dimension::Class];

/// The metrics that a table shows.
pub fn metrics_of<'a>(recorded: &'a Recorded, spec: &'a Table) -> &'a [MetricName] {
    if spec.metrics.is_empty() { &recorded.experiment.metrics } else { &spec.metrics }
}

/// What a table says it is ordered by.
fn dimensions(spec: &Table) -> Vec<Dimension> {
    [&spec.columns[..], &[spec.rows]].concat()
}

/// Where a table may have cells: classes of declared runs, and of what nobody has built.
struct Places {
    declared: Vec<Place>,
    absent: Vec<Place>,
}

impl Places {
    fn new(recorded: &Recorded, spec: &Table, every_class: bool) -> Self {
        let wanted = Wanted::of(spec);
        let shown = |class: &String| if every_class { listed(&spec.classes, class) } else { class == MEAN };
        let runs = recorded.experiment.runs.iter().filter(|run| wanted.has(&Place::of(run, MEAN)));
        let (dimensions, known) = (dimensions(spec), Classes::new(recorded));
        let of_run = |run| {
            let place = Place::of(run, MEAN).showing(&dimensions, Some(run));
            known.of(run).into_iter().filter(shown).map(move |class| place.clone().of_class(&class))
        };
        let declared: Vec<Place> = runs.flat_map(of_run).collect();
        let absent = spec.also.iter().flat_map(|also| {
            let name = also.name();
            let seen = |place: &Place| place.get(Dimension::SeenAnomalies).parse();
            let there = declared.iter().filter(move |place| seen(place).is_ok_and(|seen| also.belongs(seen)));
            there.map(move |place| place.clone().of_variant(name))
        });
        Places { absent: distinct(absent), declared }
    }

    fn all(&self) -> impl Iterator<Item = &Place> {
        self.declared.iter().chain(&self.absent)
    }

    /// Distinct values: as `spec` lists them, else in the order in which they are declared, "mean" last; numbers ascending.
    fn values(&self, dimension: Dimension, spec: &Table) -> Vec<String> {
        let mut values = frame::values(self.all(), dimension);
        let listed: &[String] = match dimension {
            Dimension::Class => &spec.classes,
            Dimension::Dataset => &spec.datasets,
            Dimension::Variant => &spec.variants,
            Dimension::Method => &spec.methods,
            Dimension::SeenAnomalies | Dimension::Seed | Dimension::Setting(_) => return values,
        };
        let place = |value: &str| listed.iter().position(|item| names_variant(item, value)).unwrap_or(listed.len());
        values.sort_by_key(|value| (place(value), listed.is_empty() && value == MEAN));
        values
    }

    /// True when some cell of these rows and columns would hold places that differ in `dimension`; in what rows must have in
    /// common to be compared at all, when any two places differ.
    fn mix(&self, columns: &[Dimension], rows: Dimension, dimension: Dimension) -> bool {
        let is_common = matches!(dimension, Dimension::Dataset | Dimension::SeenAnomalies);
        let mut known: BTreeMap<Vec<&str>, &str> = BTreeMap::new();
        self.all().any(|place| {
            let shown = columns.iter().chain([&rows]).filter(|_| !is_common);
            let cell = shown.map(|&shown| place.get(shown)).collect();
            *known.entry(cell).or_insert(place.get(dimension)) != place.get(dimension)
        })
    }

    /// Combinations of the column dimensions that are declared at all.
    fn combinations(&self, columns: &[Dimension], spec: &Table) -> Vec<Vec<(Dimension, String)>> {
        let orders: Vec<Vec<String>> = columns.iter().map(|&dimension| self.values(dimension, spec)).collect();
        let head =
            |place: &Place| columns.iter().map(|&shown| (shown, place.get(shown).to_string())).collect::<Vec<_>>();
        let number = |(order, (_, value)): (&Vec<String>, &_)| order.iter().position(|known| known == value);
        let mut heads = distinct(self.all().map(head));
        heads.sort_by_key(|head| orders.iter().zip(head).map(number).collect::<Vec<_>>());
        heads
    }
}

impl Pivot {
    /// The table that `spec` declares.
    pub fn new(recorded: &Recorded, spec: &Table) -> Self {
        let shows = |dimension: Dimension| spec.rows == dimension || spec.columns.contains(&dimension);
        // Named classes are shown wherever the table has room for them: it is their numbers that are wanted.
        let places = Places::new(recorded, spec, shows(Dimension::Class) || !spec.classes.is_empty());
        let mut dimensions = spec.columns.clone();
        // What is not built needs a row or a column to be named in.
        if !spec.also.is_empty() && !shows(Dimension::Method) && !shows(Dimension::Variant) {
            dimensions.push(Dimension::Method);
        }
        for dimension in ADDED {
            let shown = spec.rows == dimension || dimensions.contains(&dimension);
            if !shown && places.mix(&dimensions, spec.rows, dimension) {
                dimensions.push(dimension);
            }
        }
        let metrics = metrics_of(recorded, spec);
        let mut tags = Tags::new(recorded);
        let columns: Vec<Column> = places
            .combinations(&dimensions, spec)
            .into_iter()
            .flat_map(|head| {
                let labels: Vec<String> = head.iter().map(|(d, value)| in_words(&mut tags, *d, value)).collect();
                metrics.iter().map(move |&metric| Column { head: head.clone(), labels: labels.clone(), metric })
            })
            .collect();
        let rows = places.values(spec.rows, spec);
        let of = |row: &MetricRecord| {
            Place::of_row(row).showing(&self::dimensions(spec), recorded.run(&row.run).map(|run| &run.spec))
        };
        let shown = |row: &&MetricRecord| metrics.iter().any(|metric| metric.as_str() == row.metric);
        let own = recorded.metrics.iter().filter(shown).map(|row| (of(row), row));
        let declared: HashSet<&Place> = places.declared.iter().collect();
        let own: Vec<_> = own.filter(|(place, _)| declared.contains(place)).collect();
        let known = Classes::new(recorded);
        let cells_of = |row: &String| {
            let wanted = |column: &Column| [&column.head[..], &[(spec.rows, row.clone())]].concat();
            columns.iter().map(|column| cell(&own, &places, &known, &wanted(column), column.metric)).collect()
        };
        let cells = rows.iter().map(cells_of).collect();
        let rows = rows.iter().map(|row| tags.tagged(spec.rows, row)).collect();
        Pivot { dimension: spec.rows, rows, columns, cells, labels: tags.labels }
    }

    /// Whether a row or a column is called so.
    pub fn names(&self, name: &str) -> bool {
        self.rows.iter().chain(self.columns.iter().flat_map(|column| &column.labels)).any(|label| label == name)
    }

    /// The same with these columns alone.
    pub fn with_columns(&self, kept: &[usize]) -> Self {
        let columns = kept.iter().map(|&column| self.columns[column].clone()).collect();
        let cells = self.cells.iter().map(|row| kept.iter().map(|&column| row[column].clone()).collect()).collect();
        Pivot { columns, cells, ..self.clone() }
    }

    /// Fewest and most seeds behind a value.
    pub fn seeds(&self) -> Option<(usize, usize)> {
        let counts = || self.cells.iter().flatten().map(|cell| cell.numbers().2).filter(|&count| count > 0);
        Some((counts().min()?, counts().max()?))
    }

    /// Everything as texts.
    pub fn sheet(&self) -> Sheet {
        let labels = self.columns.iter().map(Column::label);
        let row = |(label, cells): (&String, &Vec<Cell>)| {
            std::iter::once(label.clone()).chain(cells.iter().map(Cell::shown)).collect()
        };
        Sheet {
            head: std::iter::once(self.dimension.head().to_string()).chain(labels).collect(),
            rows: self.rows.iter().zip(&self.cells).map(row).collect(),
        }
    }
}

fn in_words(tags: &mut Tags, dimension: Dimension, value: &str) -> String {
    match dimension {
        Dimension::SeenAnomalies => format!("{value} seen"),
        Dimension::Seed => format!("seed {value}"),
        Dimension::Setting(key) => format!("{} {value}", key.rsplit('.').next().unwrap_or(key)),
        _ => tags.tagged(dimension, value),
    }
}

fn cell(
    rows: &[(Place, &MetricRecord)],
    places: &Places,
    classes: &Classes,
    wanted: &[(Dimension, String)],
    metric: MetricName,
) -> Cell {
    let own = rows.iter().filter(|(place, row)| row.metric == metric.as_str() && place.is(wanted));
    let found: Vec<&MetricRecord> = own.map(|(_, row)| *row).collect();
    let values: Vec<f64> = found.iter().filter_map(|row| row.value).collect();
    let there = |places: &[Place]| places.iter().any(|place| place.is(wanted));
    // A failed run is recorded as a mean without value, and stands for all its classes.
    let failed = rows.iter().find(|(place, row)| {
        let of_class =
            |(dimension, class): &(Dimension, String)| *dimension == Dimension::Class || place.get(*dimension) == class;
        row.status == "error" && wanted.iter().all(of_class)
    });
    if let (true, Some((_, row))) = (values.is_empty(), failed) {
        return Cell::Failed(row.error.clone());
    }
    match found.first() {
        None if there(&places.absent) => Cell::Unavailable,
        None if there(&places.declared) => Cell::Missing,
        None => Cell::Undeclared,
        Some(row) if values.is_empty() => Cell::Undefined(row.error.clone()),
        Some(_) => {
            let (mean, sd, seeds) = (mean(&values), deviation(&values), values.len());
            let told = found.iter().find(|row| row.value.is_some() && !row.error.is_empty());
            let told = told.map(|row| row.error.clone());
            match told.or_else(|| found.iter().find_map(|row| classes.lacking(row))) {
                Some(reason) => Cell::Partial(mean, sd, seeds, reason),
                None => Cell::Value(mean, sd, seeds),
            }
        }
    }
}

/// Which classes each run has, in the order of its rows: a mean over fewer than others of its dataset have is not comparable
/// with theirs.
struct Classes<'a> {
    of_run: HashMap<&'a str, Vec<&'a str>>,
    of_dataset: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Classes<'a> {
    fn new(recorded: &'a Recorded) -> Self {
        let of_run = recorded.runs.iter().map(|run| (run.id.as_str(), frame::classes(recorded.rows(&run.id))));
        let of_run: HashMap<_, _> = of_run.filter(|(_, classes)| !classes.is_empty()).collect();
        let all =
            recorded.runs.iter().filter_map(|run| Some((run.spec.dataset.as_str(), of_run.get(run.id.as_str())?)));
        let of_dataset =
            groups(all).into_iter().map(|(dataset, own)| (dataset, distinct(own.into_iter().flatten().copied())));
        Classes { of_dataset: of_dataset.collect(), of_run }
    }

    /// The classes of a declared run and their mean: its own where they are known, else those of other runs of its dataset.
    fn of(&self, run: &RunSpec) -> Vec<String> {
        let known = |classes: Option<&Vec<&str>>| -> Vec<String> {
            classes.into_iter().flatten().map(|class| class.to_string()).collect()
        };
        let own = [known(self.of_run.get(run.id.as_str())), run.classes.clone()];
        let found = own.into_iter().find(|classes| !classes.is_empty());
        [found.unwrap_or_else(|| known(self.of_dataset.get(run.dataset.as_str()))), vec![MEAN.into()]].concat()
    }

    /// What a mean leaves out that other runs of its dataset have, in words.
    fn lacking(&self, row: &MetricRecord) -> Option<String> {
        let (own, all) = (self.of_run.get(row.run.as_str())?, self.of_dataset.get(row.dataset.as_str())?);
        let fewer = row.class == MEAN && own.len() < all.len();
        fewer.then(|| format!("a mean over {} of the {} classes that other runs have", own.len(), all.len()))
    }
}
