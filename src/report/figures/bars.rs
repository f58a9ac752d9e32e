//! A metric by variant, or another dimension, as horizontal bars: names of any length fit beside them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::canvas::{Align, Scene, text_width};
use super::lines::fit;
use super::panel::{Axis, footnote, heading};
use super::series::{Panels, Part, Query};
use super::style::{BLACK, Color, Dash, GAP, HAIR, MARKER, PALE, SMALL, TEXT, WHITE, colour};
use super::{Drawing, Kind, Notes, columns, grid, metrics_shown, titled};
use crate::error::Result;
use crate::metrics::MetricName;
use crate::record::Recorded;
use crate::report::frame::Point;
use crate::spec::{Dimension, Selection};

const BAR: f64 = 34.0;

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
        let query = Query { metrics: &self.metrics, class: &self.class, series: self.bars, x: None };
        let Some(panels) = Panels::of(recorded, selection, &query, notes) else { return Ok(None) };
        let mut scene = titled(selection);
        let columns = columns(&scene, 7.5);
        scene.margin = margin(panels.labels.iter().map(String::as_str), &scene, columns);
        grid(&mut scene, &panels.parts, columns, |scene, part| {
            let (title, axis, bars) = (panels.title(part), part.metric.kind().axis, bars(&panels, part));
            chart(scene, &Chart { title: &title, axis, from: self.from, to: 100.0, bars });
        });
        footnote(&mut scene, &panels.spread_note().replace("Bars:", "Whiskers:").replace("Bands:", "Pale ends:"));
        if self.from > 0.0 {
            footnote(&mut scene, &format!("The axis begins at {} %.", self.from));
        }
        let how = format!("by {}, as bars", self.bars.axis());
        let about = metrics_shown(&panels.metrics(), &how, panels.class(&query).as_deref());
        Ok(Some(Drawing::new(scene, panels.csv("bar")).showing(about)))
    }
}

fn bars<'a>(panels: &'a Panels, part: &'a Part) -> Vec<(&'a str, &'a Point)> {
    part.series.iter().map(|(number, points)| (panels.labels[*number].as_str(), &points[0].1)).collect()
}

/// Labelled bars on one axis.
pub(super) struct Chart<'a> {
    pub title: &'a str,
    /// What the axis is called.
    pub axis: &'a str,
    /// Where it begins.
    pub from: f64,
    /// Where it ends, or soon after.
    pub to: f64,
    pub bars: Vec<(&'a str, &'a Point)>,
}

/// What labels may take of the width of a chart.
fn room(width: f64) -> f64 {
    width * 0.4
}

fn width(rows: &[String]) -> f64 {
    rows.iter().map(|row| text_width(row, SMALL)).fold(0.0, f64::max)
}

/// What labels take in each of so many columns, so that bars begin at one line in all charts.
pub(super) fn margin<'a>(labels: impl Iterator<Item = &'a str>, scene: &Scene, columns: usize) -> f64 {
    let room = room(scene.width / columns.max(1) as f64 - GAP);
    labels.map(|label| width(&fit(label, room, SMALL))).fold(0.0, f64::max)
}

/// Draws a chart below what is there.
pub(super) fn chart(scene: &mut Scene, chart: &Chart) {
    let (bars, from) = (&chart.bars, chart.from);
    heading(scene, chart.title, GAP);
    let labels: Vec<Vec<String>> = bars.iter().map(|(label, _)| fit(label, room(scene.width), SMALL)).collect();
    let widest = labels.iter().map(|rows| width(rows)).fold(0.0, f64::max).max(scene.margin);
    let value = |point: &Point| match point.deviation {
        Some(deviation) => format!("{:.1} ± {deviation:.1}", point.mean),
        None => format!("{:.1}", point.mean),
    };
    let beside = bars.iter().map(|(_, point)| text_width(&value(point), SMALL)).fold(0.0, f64::max);
    let (left, right) = (GAP + widest + GAP, scene.width - GAP - beside - 2.0 * GAP);
    let axis = Axis::round(from, chart.to, ((right - left) / 90.0) as usize);
    let to = axis.high.min(100.0);
    let at = |value: f64| left + ((value - from) / (to - from)).clamp(0.0, 1.0) * (right - left);
    let top = scene.height + GAP;
    let heights: Vec<f64> = labels.iter().map(|rows| (rows.len() as f64 * SMALL).max(BAR) + GAP).collect();
    let bottom = top + heights.iter().sum::<f64>();
    for (tick, label) in axis.ticks.iter().filter(|(tick, _)| *tick >= from && *tick <= to) {
        scene.line(vec![(at(*tick), top), (at(*tick), bottom)], PALE, HAIR, Dash::SOLID);
        scene.text(label, (at(*tick), bottom + GAP + SMALL * 0.4), SMALL, Align::Center, BLACK);
    }
    let mut y = top;
    for (((_, point), rows), height) in bars.iter().zip(&labels).zip(heights) {
        let middle = y + height / 2.0;
        for (number, row) in rows.iter().enumerate() {
            let below = (number as f64 - (rows.len() - 1) as f64 / 2.0) * SMALL;
            scene.text(row, (left - GAP, middle + below), SMALL, Align::Right, BLACK);
        }
        let ink = colour(0);
        scene.rect((left, middle - BAR / 2.0), (at(point.mean), middle + BAR / 2.0), ink.mix(0.75));
        if let Some((low, high)) = point.range {
            scene.rect((at(low), middle - BAR / 2.0), (at(high), middle + BAR / 2.0), ink.mix(0.35));
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
    scene.text(chart.axis, ((left + right) / 2.0, below), TEXT, Align::Center, BLACK);
    scene.height = below + TEXT * 0.6 + GAP;
}
