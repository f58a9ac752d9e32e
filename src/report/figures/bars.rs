//! A metric by variant, or another dimension, as horizontal bars: names of any length fit beside them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::canvas::{Align, Scene, text_width};
use super::panel::{Axis, fit, footnote, heading};
use super::series::{self, POINT_COLUMNS, Point, Query, distinct, point_csv};
use super::style::{BLACK, Dash, GAP, HAIR, MARKER, PALE, SMALL, TEXT, WHITE, colour, metric_label};
use super::{Drawing, Kind, Notes, grid, quoted};
use crate::error::Result;
use crate::record::{MetricRecord, Recorded};
use crate::spec::{Dimension, MetricName, Selection};

/// Height of a bar.
const BAR: f64 = 34.0;

/// One panel: a dataset and a metric.
struct Part {
    dataset: String,
    metric: MetricName,
    bars: Vec<(String, Point)>,
}

/// A metric as horizontal bars, one panel per dataset and metric.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bars {
    /// One panel each; [] = the first of the experiment's.
    metrics: Vec<MetricName>,
    /// What a bar stands for.
    bars: Dimension,
    /// The class shown, unless `bars` is "class".
    class: String,
    /// Where the axis begins, in percent.
    #[schemars(range(min = 0.0, max = 99.0))]
    from: f64,
}

impl Default for Bars {
    fn default() -> Self {
        Bars { metrics: Vec::new(), bars: Dimension::Variant, class: "mean".into(), from: 0.0 }
    }
}

impl Kind for Bars {
    const NAME: &'static str = "bars";
    const ABOUT: &'static str = "A metric by variant, as bars.";

    fn draw(&self, selection: &Selection, recorded: &Recorded, notes: &mut Notes) -> Result<Option<Drawing>> {
        let shown = [self.bars];
        let query = Query {
            metrics: &self.metrics,
            class: &self.class,
            datasets: &selection.datasets,
            variants: &selection.variants,
            shown: &shown,
        };
        let rows = series::select(recorded, &query);
        let parts = parts(recorded, &rows, self);
        if !recorded.missing.is_empty() {
            notes.run_makes(format!("{} of the experiment's runs are not recorded", recorded.missing.len()));
        }
        if parts.is_empty() {
            notes.say(format!("no value of class \"{}\" is recorded", self.class));
            return Ok(None);
        }
        let mut scene = Scene::new(selection.width_cm);
        heading(&mut scene, &selection.title, GAP);
        let several = parts.iter().any(|part| part.dataset != parts[0].dataset);
        grid(&mut scene, &parts, (selection.width_cm / 7.5) as usize, |scene, part| {
            let title = if several { part.dataset.as_str() } else { "" };
            panel(scene, part, self.from, title);
        });
        let points: Vec<&Point> = parts.iter().flat_map(|part| part.bars.iter().map(|(_, point)| point)).collect();
        footnote(
            &mut scene,
            &series::spread_note(&points).replace("Bars:", "Whiskers:").replace("Bands:", "Pale ends:"),
        );
        if self.from > 0.0 {
            footnote(&mut scene, &format!("The axis begins at {} %.", self.from));
        }
        let mut csv = format!("dataset,metric,bar,{POINT_COLUMNS}\n");
        for part in &parts {
            for (label, point) in &part.bars {
                let (dataset, label) = (quoted(&part.dataset), quoted(label));
                csv += &format!("{dataset},{},{label},{}\n", part.metric.as_str(), point_csv(point));
            }
        }
        Ok(Some(Drawing::new(scene, csv)))
    }
}

fn parts(recorded: &Recorded, rows: &[&MetricRecord], figure: &Bars) -> Vec<Part> {
    let samplings = series::samplings(recorded, rows);
    let mut named = vec![figure.bars];
    named.extend(series::varying(recorded, rows, &named));
    let mut labels: Vec<String> = Vec::new();
    for row in rows {
        let label = series::label(row, &named);
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    let apart = figure.bars != Dimension::Dataset;
    let datasets = if apart { distinct(rows, Dimension::Dataset) } else { vec![String::new()] };
    let mut parts = Vec::new();
    for dataset in datasets {
        for metric in series::metrics(recorded, &figure.metrics) {
            let bar = |label: &String| {
                let own = |row: &&&MetricRecord| {
                    row.metric == metric.as_str()
                        && (dataset.is_empty() || row.dataset == dataset)
                        && series::label(row, &named) == *label
                };
                let own: Vec<&MetricRecord> = rows.iter().filter(own).copied().collect();
                Some((label.clone(), series::point(&own, &samplings)?))
            };
            let bars: Vec<_> = labels.iter().filter_map(bar).collect();
            if !bars.is_empty() {
                parts.push(Part { dataset: dataset.clone(), metric, bars });
            }
        }
    }
    parts
}

fn panel(scene: &mut Scene, part: &Part, from: f64, title: &str) {
    heading(scene, title, GAP);
    let room = scene.width * 0.4;
    let labels: Vec<Vec<String>> = part.bars.iter().map(|(label, _)| fit(label, room, SMALL)).collect();
    let widest = labels.iter().flatten().map(|row| text_width(row, SMALL)).fold(0.0, f64::max);
    let value = |point: &Point| match point.deviation {
        Some(deviation) => format!("{:.1} ± {deviation:.1}", point.mean),
        None => format!("{:.1}", point.mean),
    };
    let beside = part.bars.iter().map(|(_, point)| text_width(&value(point), SMALL)).fold(0.0, f64::max);
    let (left, right) = (GAP + widest + GAP, scene.width - GAP - beside - 2.0 * GAP);
    let axis = Axis::round(from, 100.0, ((right - left) / 90.0) as usize);
    let at = |value: f64| left + ((value - from) / (100.0 - from)).clamp(0.0, 1.0) * (right - left);
    let top = scene.height + GAP;
    let heights: Vec<f64> = labels.iter().map(|rows| (rows.len() as f64 * SMALL).max(BAR) + GAP).collect();
    let bottom = top + heights.iter().sum::<f64>();
    for (tick, label) in axis.ticks.iter().filter(|(tick, _)| *tick >= from && *tick <= 100.0) {
        scene.line(vec![(at(*tick), top), (at(*tick), bottom)], PALE, HAIR, Dash::SOLID);
        scene.text(label, (at(*tick), bottom + GAP + SMALL * 0.4), SMALL, Align::Middle, BLACK);
    }
    let mut y = top;
    for (((_, point), rows), height) in part.bars.iter().zip(&labels).zip(heights) {
        let middle = y + height / 2.0;
        for (number, row) in rows.iter().enumerate() {
            let below = (number as f64 - (rows.len() - 1) as f64 / 2.0) * SMALL;
            scene.text(row, (left - GAP, middle + below), SMALL, Align::Right, BLACK);
        }
        let ink = colour(0);
        scene.rect((left, middle - BAR / 2.0), (at(point.mean), middle + BAR / 2.0), ink.faint(0.75));
        if let Some((low, high)) = point.range {
            scene.rect((at(low), middle - BAR / 2.0), (at(high), middle + BAR / 2.0), ink.faint(0.35));
        }
        let mut end = at(point.mean).max(at(point.range.map_or(point.mean, |range| range.1)));
        if let Some(deviation) = point.deviation {
            let (low, high) = (at(point.mean - deviation), at(point.mean + deviation));
            scene.line(vec![(low, middle), (high, middle)], BLACK, HAIR, Dash::SOLID);
            for x in [low, high] {
                scene.line(vec![(x, middle - MARKER), (x, middle + MARKER)], BLACK, HAIR, Dash::SOLID);
            }
            end = end.max(high);
        }
        let text = value(point);
        let (from, to) = (end + GAP * 0.7, end + GAP * 1.3 + text_width(&text, SMALL));
        scene.rect((from, middle - BAR / 2.0), (to, middle + BAR / 2.0), WHITE);
        scene.text(text, (end + GAP, middle), SMALL, Align::Left, BLACK);
        y += height;
    }
    scene.line(vec![(left, top), (left, bottom), (right, bottom)], BLACK, HAIR, Dash::SOLID);
    let below = bottom + GAP + SMALL + TEXT * 0.6;
    scene.text(metric_label(part.metric), ((left + right) / 2.0, below), TEXT, Align::Middle, BLACK);
    scene.height = below + TEXT * 0.6 + GAP;
}
