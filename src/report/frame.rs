//! Recorded rows as every reader takes them: selected, grouped, averaged, and paired like with like.
//!
//! Owns: which rows a list of names means, the value of a row in a dimension, means and spreads over seeds and samplings.
//! Does not own: intervals (`evidence`), the rule of names (`spec::names_variant`), or any form that is shown.

use std::collections::BTreeMap;
use std::hash::Hash;

use indexmap::IndexMap;

use crate::metrics::{MetricName, mean};
use crate::record::{MEAN, MetricRecord, Recorded, RecordedRun};
use crate::spec::{
    Arm, Dimension, RunSpec, Sampler, Selection, Table, in_words, leaves, lists_variant, to_json, without_swept,
};

/// The different items, in the order in which they come.
pub fn distinct<T: Hash + Eq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    groups(items.into_iter().map(|item| (item, ()))).into_iter().map(|(item, _)| item).collect()
}

/// What has the same key, in the order in which the keys come.
pub fn groups<K: Hash + Eq, T>(items: impl IntoIterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut groups: IndexMap<K, Vec<T>> = IndexMap::new();
    items.into_iter().for_each(|(key, item)| groups.entry(key).or_default().push(item));
    groups.into_iter().collect()
}

/// Whether a list has a name; an empty list has all.
pub fn listed(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|item| item == name)
}

/// The place of [`Dimension::Variant`] among all; that of the method is the next.
const VARIANT: usize = 1;

/// Where a number belongs: a value in every dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// In the order of [`DIMENSIONS`].
    own: [String; 6],
    /// Those settings that something is ordered by.
    settings: Vec<(&'static str, String)>,
}

impl Place {
    /// The place of the numbers of a class of a run.
    pub fn of(run: &RunSpec, class: &str) -> Self {
        let (seen, seed) = (run.protocol.seen.count.to_string(), run.seed.to_string());
        let own = [class.into(), run.variant.clone(), run.method_name().into(), seen, run.dataset.clone(), seed];
        Place { own, settings: Vec::new() }
    }

    /// The place of a recorded row.
    pub fn of_row(row: &MetricRecord) -> Self {
        let (seen, seed) = (row.seen_anomalies.to_string(), row.seed.to_string());
        let own = [row.class.clone(), row.variant.clone(), row.method.clone(), seen, row.dataset.clone(), seed];
        Place { own, settings: Vec::new() }
    }

    /// The same with the settings among `dimensions`, as they are in `run`. What the name of a swept variant says of them
    /// leaves it, so that its points are told apart by their values alone.
    pub fn showing(mut self, dimensions: &[Dimension], run: Option<&RunSpec>) -> Self {
        let keys = dimensions.iter().filter_map(|dimension| match dimension {
            Dimension::Setting(key) => Some(*key),
            _ => None,
        });
        for key in keys {
            let value = run.map(to_json).and_then(|own| Some(in_words(leaves(&own).get(key)?)));
            self.settings.push((key, value.unwrap_or_else(|| "–".into())));
            self.own[VARIANT] = without_swept(&self.own[VARIANT], key);
        }
        self
    }

    /// The same place of another class.
    pub fn of_class(mut self, class: &str) -> Self {
        self.own[0] = class.into();
        self
    }

    /// The same place of another variant, which is a method of its own.
    pub fn of_variant(mut self, name: &str) -> Self {
        (self.own[VARIANT], self.own[VARIANT + 1]) = (name.into(), name.into());
        self
    }

    /// The value in a dimension.
    pub fn get(&self, dimension: Dimension) -> &str {
        let setting =
            || self.settings.iter().find(|(key, _)| *key == dimension.head()).map_or("–", |(_, value)| value);
        dimension.place().map_or_else(setting, |place| &self.own[place])
    }

    /// Whether it has all these values.
    pub fn is(&self, wanted: &[(Dimension, String)]) -> bool {
        wanted.iter().all(|(dimension, value)| self.get(*dimension) == value)
    }
}

/// Which runs and rows are looked at; an empty list lets everything through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Only these datasets.
    pub datasets: &'a [String],
    /// Only these variants, swept ones by their names without the sweep as well.
    pub variants: &'a [String],
    /// Only these methods.
    pub methods: &'a [String],
    /// Only these numbers of seen anomalies.
    pub seen: &'a [usize],
}

impl<'a> Wanted<'a> {
    /// What a table shows.
    pub fn of(spec: &'a Table) -> Self {
        Wanted { datasets: &spec.datasets, variants: &spec.variants, methods: &spec.methods, seen: &[] }
    }

    /// What a figure of all runs shows.
    pub fn shown(selection: &'a Selection) -> Self {
        let Selection { datasets, variants, seen_anomalies: seen, .. } = selection;
        Wanted { datasets, variants, methods: &[], seen }
    }

    /// Whether it lets a place through, of whatever class and seed.
    pub fn has(&self, place: &Place) -> bool {
        let seen = place.get(Dimension::SeenAnomalies);
        listed(self.datasets, place.get(Dimension::Dataset))
            && lists_variant(self.variants, place.get(Dimension::Variant))
            && listed(self.methods, place.get(Dimension::Method))
            && (self.seen.is_empty() || self.seen.iter().any(|count| count.to_string() == seen))
    }

    /// The recorded runs that it lets through and that have numbers.
    pub fn runs(self, recorded: &Recorded) -> impl Iterator<Item = &RecordedRun> {
        let own = move |run: &&RecordedRun| run.failure.is_none() && self.has(&Place::of(&run.spec, MEAN));
        recorded.runs.iter().filter(own)
    }

    /// The recorded rows that it lets through, each with its place.
    pub fn rows(self, recorded: &Recorded) -> impl Iterator<Item = (Place, &MetricRecord)> {
        let rows = recorded.metrics.iter().map(|row| (Place::of_row(row), row));
        rows.filter(move |(place, _)| self.has(place))
    }
}

/// Different values in a dimension: numbers ascending, others in the order in which they come.
pub fn values<'a>(places: impl IntoIterator<Item = &'a Place>, dimension: Dimension) -> Vec<String> {
    let mut values = distinct(places.into_iter().map(|place| place.get(dimension).to_string()));
    if dimension.is_scale(&values) {
        let number = |value: &String| value.parse().unwrap_or(f64::INFINITY);
        values.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    values
}

/// The classes of rows, without their mean.
pub fn classes<'a>(rows: impl IntoIterator<Item = &'a MetricRecord>) -> Vec<&'a str> {
    distinct(rows.into_iter().map(|row| row.class.as_str()).filter(|class| *class != MEAN))
}

/// The recorded runs of an arm that have numbers.
pub fn runs_of<'a>(recorded: &'a Recorded, arm: &Arm) -> Vec<&'a RecordedRun> {
    recorded.runs.iter().filter(|run| run.failure.is_none() && Arm::of(&run.spec) == *arm).collect()
}

/// A recorded value, in [0, 1].
pub fn value(recorded: &Recorded, run: &str, class: &str, metric: MetricName) -> Option<f64> {
    let own = |row: &&MetricRecord| row.class == class && row.metric == metric.as_str();
    recorded.rows(run).iter().find(own)?.value
}

/// A value with its spread, in percent.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Point {
    /// Mean over samplings of the means over seeds.
    pub mean: f64,
    /// Standard deviation over seeds, pooled over samplings; None for one seed.
    pub deviation: Option<f64>,
    /// Least and greatest mean of a sampling; None for one sampling.
    pub range: Option<(f64, f64)>,
    pub seeds: usize,
    pub samplings: usize,
}

impl Point {
    /// Mean and spread of rows that differ in seed and sampling alone, each with its sampling; None where none has a value.
    pub fn of(rows: &[(u64, &MetricRecord)]) -> Option<Self> {
        let mut cells: BTreeMap<u64, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
        for (sampling, row) in rows {
            if let Some(value) = row.value {
                cells.entry(*sampling).or_default().entry(row.seed).or_default().push(100.0 * value);
            }
        }
        let seeds: Vec<Vec<f64>> = cells.values().map(|seeds| seeds.values().map(|v| mean(v)).collect()).collect();
        let means: Vec<f64> = seeds.iter().map(|values| mean(values)).collect();
        let (mut squares, mut degrees) = (0.0, 0);
        for (values, mean) in seeds.iter().zip(&means) {
            squares += values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
            degrees += values.len() - 1;
        }
        let least = means.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (!means.is_empty()).then(|| Point {
            mean: mean(&means),
            deviation: (degrees > 0).then(|| (squares / degrees as f64).sqrt()),
            range: (means.len() > 1).then_some((least, greatest)),
            seeds: seeds.iter().map(Vec::len).max().unwrap_or_default(),
            samplings: means.len(),
        })
    }
}

/// Which sampling of seen anomalies a run belongs to. The `chacha` sampler draws with the run's seed, so there its
/// spread is part of that over seeds.
pub fn sampling(run: &RunSpec) -> u64 {
    match (&run.protocol.seen, run.protocol.seen.sampler) {
        (seen, Sampler::Python) if seen.count > 0 => seen.seed,
        _ => 0,
    }
}
