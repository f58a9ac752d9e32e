//! A metric against the number of seen anomalies, or another dimension.

use schemars::JsonSchema;
use serde::Deserialize;

use super::canvas::{Scene, text_width};
use super::panel::{Axis, Legend, Panel, footnote, legend};
use super::series::{Panels, Part, Query};
use super::style::{GAP, Ink, SMALL, colour};
use super::{Drawing, Kind, Notes, extent, grid, titled};
use crate::error::Result;
use crate::metrics::MetricName;
use crate::record::Recorded;
use crate::report::frame::Point;
use crate::spec::{Dimension, MethodFault, Selection};

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
        let query = Query { metrics: &self.metrics, class: &self.class, series: self.lines, x: Some(self.x) };
        let Some(panels) = Panels::of(recorded, selection, &query, notes) else { return Ok(None) };
        let mut scene = titled(selection);
        if panels.labels.len() > 1 {
            legend(&mut scene, &Legend::lines(&panels.labels));
        } else {
            scene.height += 0.5 * GAP;
        }
        grid(&mut scene, &panels.parts, (selection.width_cm / 7.5) as usize, |scene, part| {
            panel(scene, part, self.x, &panels.places, panels.title(part));
        });
        footnote(&mut scene, &panels.spread_note());
        Ok(Some(Drawing::new(scene, panels.csv("line"))))
    }
}

/// Where a value of the horizontal dimension lies: a number at itself, a name at its number.
fn position(x: Dimension, places: &[String], value: &str) -> f64 {
    let number = x.is_scale(places).then(|| value.parse().ok()).flatten();
    number.unwrap_or_else(|| places.iter().position(|place| place == value).unwrap_or_default() as f64)
}

fn panel(scene: &mut Scene, part: &Part, x: Dimension, places: &[String], title: &str) {
    let at = |(value, point): &(String, Point)| (position(x, places, value), point.clone());
    let lines: Vec<(usize, Vec<(f64, Point)>)> =
        part.series.iter().map(|(number, points)| (*number, points.iter().map(at).collect())).collect();
    let ends = |(_, p): &(f64, Point)| {
        let (deviation, (low, high)) = (p.deviation.unwrap_or(0.0), p.range.unwrap_or((p.mean, p.mean)));
        [p.mean - deviation, p.mean + deviation, low, high]
    };
    let (least, greatest) = extent(lines.iter().flat_map(|(_, line)| line).flat_map(ends));
    let y = (Axis::percent(least, greatest.min(100.0), 5), part.metric.kind().axis);
    let height = (scene.width * 0.5).max(220.0);
    let panel = Panel::below(scene, title, height, (axis(x, places, scene.width), x.axis()), y);
    // Lines side by side by a hair, so that error bars at one place can be told apart.
    let units = (panel.x.high - panel.x.low) / (panel.right - panel.left);
    let middle = (lines.len() - 1) as f64 / 2.0;
    for (place, (number, line)) in lines.iter().enumerate() {
        let ink: Ink = colour(*number);
        let spread = line.iter().any(|(_, point)| point.deviation.is_some());
        // All lines together within a fortieth of the panel.
        let step = 7.0f64.min((panel.right - panel.left) / 40.0 / lines.len() as f64);
        let shift = if spread { (place as f64 - middle) * step * units } else { 0.0 };
        if line.iter().any(|(_, point)| point.range.is_some()) {
            let range = |p: &Point| p.range.unwrap_or((p.mean, p.mean));
            panel.band(scene, ink, &line.iter().map(|(x, p)| (*x, range(p).0, range(p).1)).collect::<Vec<_>>());
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
    if !x.is_scale(places) {
        return Axis::labels(places);
    }
    let values: Vec<f64> = places.iter().map(|place| position(x, places, place)).collect();
    let (low, high) = extent(values.iter().copied());
    let span = if high > low { high - low } else { 1.0 };
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
