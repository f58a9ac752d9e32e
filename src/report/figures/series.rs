//! Recorded metrics as series of points, panel by panel: what curves and bars draw.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{NO_BREAK, Notes};
use crate::metrics::MetricName;
use crate::record::{MEAN, MetricRecord, Recorded};
use crate::report::export::csv::{line, optional, quoted};
use crate::report::frame::{self, Place, Point, Wanted, distinct};
use crate::spec::{Dimension, DisplayNames, Selection};

/// How the rows of a figure are looked at.
pub struct Query<'a> {
    /// Metrics; [] = the experiment's first.
    pub metrics: &'a [MetricName],
    /// The class shown where no dimension is the class.
    pub class: &'a str,
    /// What a series stands for.
    pub series: Dimension,
    /// What its points are told apart by; None = one point each.
    pub x: Option<Dimension>,
}

/// One panel: a dataset (empty where datasets are shown in it) and a metric.
pub struct Part {
    pub dataset: String,
    pub metric: MetricName,
    /// The number of each series that has points, and those with their values of x, in order.
    pub series: Vec<(usize, Vec<(String, Point)>)>,
}

pub struct Panels<'n> {
    /// The panels that show something.
    pub parts: Vec<Part>,
    /// Names of the series, by number.
    pub labels: Vec<String>,
    /// Values of x, in order.
    pub places: Vec<String>,
    x: Option<Dimension>,
    names: &'n DisplayNames,
}

/// A row with all that it is looked up by.
struct Item<'a> {
    place: Place,
    label: String,
    sampling: u64,
    row: &'a MetricRecord,
}

impl<'n> Panels<'n> {
    /// What a figure shows; None where nothing is recorded, which is said, as are runs that are missing.
    pub fn of(recorded: &'n Recorded, selection: &Selection, query: &Query, notes: &mut Notes) -> Option<Self> {
        notes.say_missing();
        let panels = Panels::new(recorded, Wanted::shown(selection), query, notes);
        if panels.parts.is_empty() {
            notes.say(format!("no value of class \"{}\" is recorded", query.class));
        }
        (!panels.parts.is_empty()).then_some(panels)
    }

    /// Finds and averages the rows of a query.
    fn new(recorded: &'n Recorded, wanted: Wanted, query: &Query, notes: &mut Notes) -> Self {
        let names = &recorded.experiment.names;
        let shown: Vec<Dimension> = query.x.into_iter().chain([query.series]).collect();
        let mut items = select(recorded, wanted, query, &shown);
        let named = [&[query.series], &varying(recorded, &items, query.series, &shown)[..]].concat();
        items.iter_mut().for_each(|item| item.label = label(names, &item.place, &named));
        let labels = distinct(items.iter().map(|item| item.label.clone()));
        let values = |dimension| frame::values(items.iter().map(|item| &item.place), dimension);
        let places = query.x.map_or(vec![String::new()], values);
        let apart = !shown.contains(&Dimension::Dataset);
        let metrics = match query.metrics {
            [] => recorded.experiment.metrics.iter().take(1).copied().collect(),
            own => own.to_vec(),
        };
        let mut parts = Vec::new();
        for dataset in if apart { values(Dimension::Dataset) } else { vec![String::new()] } {
            for &metric in &metrics {
                let is_own = |item: &&Item| {
                    item.row.metric == metric.as_str() && (dataset.is_empty() || item.row.dataset == dataset)
                };
                let own: Vec<&Item> = items.iter().filter(is_own).collect();
                own.iter().filter(|item| item.row.value.is_some()).for_each(|item| notes.draws(&item.row.run));
                let points = |label: &String| -> Vec<(String, Point)> {
                    let at = |x: &String| {
                        let here = |item: &&&Item| {
                            item.label == *label && query.x.is_none_or(|dimension| item.place.get(dimension) == x)
                        };
                        let rows: Vec<_> = own.iter().filter(here).map(|item| (item.sampling, item.row)).collect();
                        Some((x.clone(), Point::of(&rows)?))
                    };
                    places.iter().filter_map(at).collect()
                };
                let series = labels.iter().map(points).enumerate().filter(|(_, points)| !points.is_empty());
                parts.push(Part { dataset: dataset.clone(), metric, series: series.collect() });
            }
        }
        parts.retain(|part| !part.series.is_empty());
        Panels { parts, labels, places, x: query.x, names }
    }

    /// The metrics of the panels.
    pub fn metrics(&self) -> Vec<MetricName> {
        distinct(self.parts.iter().map(|part| part.metric))
    }

    /// What the one class that is shown is called; `None` for the mean over classes, or where classes are told apart.
    pub fn class<'a>(&'a self, query: &'a Query) -> Option<Cow<'a, str>> {
        let apart = query.series == Dimension::Class || query.x == Some(Dimension::Class);
        (!apart && query.class != MEAN).then(|| self.names.of(query.class))
    }

    /// What error bars and bands mean, for a note below a figure; empty where there are none.
    pub fn spread_note(&self) -> String {
        let series = self.parts.iter().flat_map(|part| &part.series);
        let points: Vec<&Point> = series.flat_map(|(_, points)| points.iter().map(|(_, point)| point)).collect();
        let seeds = points.iter().filter(|p| p.deviation.is_some()).map(|p| p.seeds).max();
        let samplings = points.iter().filter(|p| p.range.is_some()).map(|p| p.samplings).max();
        let bars = seeds.map(|count| format!("Bars: ± one standard deviation over {count} seeds."));
        let band = samplings.map(|count| format!("Bands: range over {count} samplings of seen anomalies."));
        bars.into_iter().chain(band).collect::<Vec<_>>().join(" ")
    }

    /// All points as CSV; `series` is what a series is called there.
    pub fn csv(&self, series: &str) -> String {
        let x = self.x.map(|x| x.axis().replace(' ', "_") + ",").unwrap_or_default();
        let mut csv = format!("dataset,metric,{series},{x}mean,sd,seeds,lowest_sampling,highest_sampling,samplings\n");
        for Part { dataset, metric, series } in &self.parts {
            let lines =
                series.iter().flat_map(|(number, points)| points.iter().map(|own| (&self.labels[*number], own)));
            for (label, (at, point)) in lines {
                let names = if self.x.is_some() { [quoted(label), quoted(at)].join(",") } else { quoted(label) };
                let [low, high] = [point.range.map(|range| range.0), point.range.map(|range| range.1)].map(optional);
                let means = format!("{},{},{}", point.mean, optional(point.deviation), point.seeds);
                let samplings = [low, high, point.samplings.to_string()].join(",");
                csv += &line([quoted(dataset), metric.as_str().into(), names, means, samplings]);
            }
        }
        csv
    }

    /// What stands above a panel: its dataset, where there are several.
    pub fn title<'a>(&'a self, part: &'a Part) -> Cow<'a, str> {
        if self.parts.iter().any(|other| other.dataset != part.dataset) {
            self.names.of(&part.dataset)
        } else {
            "".into()
        }
    }

    /// What the values of x are called.
    pub fn shown_places(&self) -> Vec<String> {
        self.places.iter().map(|place| self.names.of(place).into_owned()).collect()
    }
}

fn select<'a>(recorded: &'a Recorded, wanted: Wanted, query: &Query, shown: &[Dimension]) -> Vec<Item<'a>> {
    let by_class = shown.contains(&Dimension::Class);
    let class = |row: &MetricRecord| if by_class { row.class != MEAN } else { row.class == query.class };
    let samplings: BTreeMap<&str, u64> =
        recorded.runs.iter().map(|run| (run.id.as_str(), frame::sampling(&run.spec))).collect();
    let item = |(place, row): (Place, &'a MetricRecord)| {
        let sampling = samplings.get(row.run.as_str()).copied().unwrap_or_default();
        let place = place.showing(shown, recorded.run(&row.run).map(|run| &run.spec));
        Item { place, label: String::new(), sampling, row }
    };
    wanted.rows(recorded).filter(|(_, row)| class(row)).map(item).collect()
}

/// Dimensions besides the shown ones, dataset and seed that vary among rows: what they are is added to the labels, since
/// different things must not be averaged. Variants that are further samplings of the seen anomalies are no different
/// thing.
fn varying(recorded: &Recorded, items: &[Item], series: Dimension, shown: &[Dimension]) -> Vec<Dimension> {
    let varies = |dimension| frame::values(items.iter().map(|item| &item.place), dimension).len() > 1;
    // A variant says more than its method.
    [Dimension::Variant, Dimension::SeenAnomalies]
        .into_iter()
        .filter(|dimension| !shown.contains(dimension) && varies(*dimension))
        .filter(|dimension| *dimension != Dimension::Variant || !are_samplings(recorded, items, series))
        .collect()
}

/// Whether the runs behind the rows of each series differ in the sampling of seen anomalies alone, besides what figures tell
/// apart.
fn are_samplings(recorded: &Recorded, items: &[Item], series: Dimension) -> bool {
    let kept = |row: &MetricRecord| {
        let mut spec = recorded.run(&row.run)?.spec.clone();
        (spec.id, spec.variant, spec.dataset, spec.seed) = (String::new(), String::new(), String::new(), 0);
        (spec.protocol.seen.seed, spec.protocol.seen.count) = (0, 0);
        Some(spec)
    };
    // What is "auto" in a method depends on whether anomalies are seen.
    let mut known = BTreeMap::new();
    items.iter().all(|Item { row, place, .. }| {
        let spec = kept(row);
        *known.entry((place.get(series), row.seen_anomalies)).or_insert_with(|| spec.clone()) == spec
    })
}

fn label(names: &DisplayNames, place: &Place, dimensions: &[Dimension]) -> String {
    let part = |&dimension: &Dimension| match (dimension, place.get(dimension)) {
        (Dimension::SeenAnomalies, count) => format!("{count}{NO_BREAK}seen"),
        (Dimension::Seed, seed) => format!("seed{NO_BREAK}{seed}"),
        (_, value) => names.of(value).into_owned(),
    };
    dimensions.iter().map(part).collect::<Vec<_>>().join(", ")
}
