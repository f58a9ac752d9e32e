//! A metric against the number of seen anomalies, or another dimension.

use schemars::JsonSchema;
use serde::Deserialize;

use super::canvas::{Scene, text_width};
use super::panel::{Axis, Key, Panel, footnote, heading, legend};
use super::series::{self, POINT_COLUMNS, Point, Query, distinct, name, point_csv, value};
use super::style::{GAP, Ink, SMALL, colour, metric_label};
use super::{Drawing, Kind, Notes, grid, quoted};
use crate::error::Result;
use crate::record::{MetricRecord, Recorded};
use crate::spec::{Dimension, MethodFault, MetricName, Selection};

/// One panel: a dataset and a metric, with the points of each line.
struct Part {
    dataset: String,
    metric: MetricName,
    /// Number of the line, and x with the point there.
    lines: Vec<(usize, Vec<(f64, Point)>)>,
}

/// A metric against a dimension: one line per variant, one panel per dataset and metric.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Curve {
    /// One panel each; [] = the first of the experiment's.
    metrics: Vec<MetricName>,
    /// What runs along the horizontal axis.
    x: Dimension,
    /// What a line stands for.
    lines: Dimension,
    /// The class shown, unless `x` or `lines` is "class".
    class: String,
}

impl Default for Curve {
    fn default() -> Self {
        Curve { metrics: Vec::new(), x: Dimension::SeenAnomalies, lines: Dimension::Variant, class: "mean".into() }
    }
}

impl Kind for Curve {
    const NAME: &'static str = "curve";
    const ABOUT: &'static str = "A metric against the number of seen anomalies, or against another dimension.";

    fn check(&self) -> std::result::Result<(), MethodFault> {
        if self.x != self.lines {
            return Ok(());
        }
        let fault = MethodFault::new("lines", "is what `x` is, so every line would be a point");
        Err(MethodFault { help: Some("choose another dimension".into()), ..fault })
    }

    fn draw(&self, selection: &Selection, recorded: &Recorded, notes: &mut Notes) -> Result<Option<Drawing>> {
        let shown = [self.x, self.lines];
        let query = Query {
            metrics: &self.metrics,
            class: &self.class,
            datasets: &selection.datasets,
            variants: &selection.variants,
            shown: &shown,
        };
        let rows = series::select(recorded, &query);
        let mut named = vec![self.lines];
        named.extend(series::varying(recorded, &rows, &shown));
        let lines = labels(&rows, &named);
        let places = distinct(&rows, self.x);
        let metrics = series::metrics(recorded, query.metrics);
        let parts = parts(recorded, &rows, &metrics, self, &named, &lines, &places);
        if !recorded.missing.is_empty() {
            notes.run_makes(format!("{} of the experiment's runs are not recorded", recorded.missing.len()));
        }
        if parts.is_empty() {
            notes.say(format!("no value of class \"{}\" is recorded", self.class));
            return Ok(None);
        }
        let mut scene = Scene::new(selection.width_cm);
        heading(&mut scene, &selection.title, GAP);
        if lines.len() > 1 {
            let key = |number: usize| Key::Line { number, ink: colour(number) };
            legend(&mut scene, &lines.iter().enumerate().map(|(i, l)| (key(i), l.clone())).collect::<Vec<_>>());
        } else {
            scene.height += 0.5 * GAP;
        }
        let several = parts.iter().any(|part| part.dataset != parts[0].dataset);
        grid(&mut scene, &parts, (selection.width_cm / 7.5) as usize, |scene, part| {
            let title = if several { part.dataset.as_str() } else { "" };
            panel(scene, part, self.x, &places, title);
        });
        let points: Vec<&Point> = parts
            .iter()
            .flat_map(|part| &part.lines)
            .flat_map(|(_, line)| line.iter().map(|(_, point)| point))
            .collect();
        footnote(&mut scene, &series::spread_note(&points));
        let csv = csv(&parts, self.x, &places, &lines);
        Ok(Some(Drawing::new(scene, csv)))
    }
}

/// Distinct names in the order in which they are recorded.
fn labels(rows: &[&MetricRecord], dimensions: &[Dimension]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for row in rows {
        let label = series::label(row, dimensions);
        if !out.contains(&label) {
            out.push(label);
        }
    }
    out
}

/// Where a value of the horizontal dimension lies: a number at itself, a name at its number.
fn position(x: Dimension, places: &[String], value: &str) -> f64 {
    let number = matches!(x, Dimension::SeenAnomalies | Dimension::Seed).then(|| value.parse().ok()).flatten();
    number.unwrap_or_else(|| places.iter().position(|place| place == value).unwrap_or_default() as f64)
}

fn parts(
    recorded: &Recorded,
    rows: &[&MetricRecord],
    metrics: &[MetricName],
    figure: &Curve,
    named: &[Dimension],
    lines: &[String],
    places: &[String],
) -> Vec<Part> {
    let samplings = series::samplings(recorded, rows);
    let datasets = distinct(rows, Dimension::Dataset);
    let apart = ![figure.x, figure.lines].contains(&Dimension::Dataset);
    let mut parts = Vec::new();
    for dataset in if apart { datasets } else { vec![String::new()] } {
        for &metric in metrics {
            let own: Vec<&MetricRecord> = rows
                .iter()
                .copied()
                .filter(|row| row.metric == metric.as_str() && (dataset.is_empty() || row.dataset == dataset))
                .collect();
            let line = |label: &String| -> Vec<(f64, Point)> {
                let at = |place: &String| {
                    let here =
                        |row: &&&MetricRecord| value(row, figure.x) == *place && series::label(row, named) == *label;
                    let here: Vec<&MetricRecord> = own.iter().filter(here).copied().collect();
                    Some((position(figure.x, places, place), series::point(&here, &samplings)?))
                };
                places.iter().filter_map(at).collect()
            };
            let drawn: Vec<_> = lines.iter().map(line).enumerate().filter(|(_, line)| !line.is_empty()).collect();
            if !drawn.is_empty() {
                parts.push(Part { dataset: dataset.clone(), metric, lines: drawn });
            }
        }
    }
    parts
}

fn panel(scene: &mut Scene, part: &Part, x: Dimension, places: &[String], title: &str) {
    let points = || part.lines.iter().flat_map(|(_, line)| line.iter());
    let low = |p: &Point| (p.mean - p.deviation.unwrap_or(0.0)).min(p.range.map_or(p.mean, |r| r.0));
    let high = |p: &Point| (p.mean + p.deviation.unwrap_or(0.0)).max(p.range.map_or(p.mean, |r| r.1));
    let least = points().map(|(_, p)| low(p)).fold(f64::INFINITY, f64::min);
    let greatest = points().map(|(_, p)| high(p)).fold(f64::NEG_INFINITY, f64::max);
    let y = (Axis::percent(least, greatest.min(100.0), 5), metric_label(part.metric));
    let height = (scene.width * 0.5).max(220.0);
    let panel = Panel::below(scene, title, height, (axis(x, places, scene.width), name(x)), y);
    // Lines side by side by a hair, so that error bars at one place can be told apart.
    let units = (panel.x.high - panel.x.low) / (panel.right - panel.left);
    let middle = (part.lines.len() - 1) as f64 / 2.0;
    for (place, (number, line)) in part.lines.iter().enumerate() {
        let ink: Ink = colour(*number);
        let spread = line.iter().any(|(_, point)| point.deviation.is_some());
        // All lines together within a fortieth of the panel.
        let step = 7.0f64.min((panel.right - panel.left) / 40.0 / part.lines.len() as f64);
        let shift = if spread { (place as f64 - middle) * step * units } else { 0.0 };
        let band: Vec<(f64, f64, f64)> =
            line.iter().map(|(x, p)| (*x, p.range.map_or(p.mean, |r| r.0), p.range.map_or(p.mean, |r| r.1))).collect();
        if line.iter().any(|(_, point)| point.range.is_some()) {
            panel.band(scene, ink, &band);
        }
        for (x, point) in line {
            if let Some(deviation) = point.deviation {
                panel.error(scene, ink, x + shift, (point.mean - deviation, point.mean + deviation));
            }
        }
        let points: Vec<(f64, f64)> = line.iter().map(|(x, point)| (x + shift, point.mean)).collect();
        panel.series(scene, *number, ink, &points);
    }
}

/// Numbers to scale, with labels where there is room; names side by side.
fn axis(x: Dimension, places: &[String], width: f64) -> Axis {
    if !matches!(x, Dimension::SeenAnomalies | Dimension::Seed) {
        return Axis::labels(places);
    }
    let values: Vec<f64> = places.iter().map(|place| position(x, places, place)).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = (high - low).max(1.0);
    let mut end = f64::NEG_INFINITY;
    let mut ticks = Vec::new();
    for (value, place) in values.iter().zip(places) {
        let (at, half) = ((value - low) / span * width * 0.75, text_width(place, SMALL) / 2.0);
        if at - half > end + GAP * 0.5 {
            end = at + half;
            ticks.push((*value, place.clone()));
        }
    }
    Axis { low: low - 0.04 * span, high: high + 0.04 * span, ticks }
}

fn csv(parts: &[Part], x: Dimension, places: &[String], lines: &[String]) -> String {
    let mut out = format!("dataset,metric,line,{},{POINT_COLUMNS}\n", name(x).replace(' ', "_"));
    for part in parts {
        for (number, line) in &part.lines {
            for (at, point) in line {
                let place = places.iter().find(|place| position(x, places, place) == *at);
                let place = place.map(String::as_str).unwrap_or_default();
                let head = [&part.dataset, &lines[*number]].map(|text| quoted(text));
                out += &format!(
                    "{},{},{},{},{}\n",
                    head[0],
                    part.metric.as_str(),
                    head[1],
                    quoted(place),
                    point_csv(point)
                );
            }
        }
    }
    out
}
