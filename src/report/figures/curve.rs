//! A metric against the number of seen anomalies, or another dimension.

use schemars::JsonSchema;
use serde::Deserialize;

use super::canvas::{Scene, text_width};
use super::panel::{Axis, Legend, Panel, footnote, legend};
use super::series::{Panels, Part, Query};
use super::style::{GAP, Ink, SMALL, colour};
use super::{Drawing, Kind, Notes, Shared, columns, extent, grid, metrics_shown, titled};
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
    /// Whether the horizontal axis is logarithmic, where all that runs along it are numbers above 0.
    log_x: bool,
}

impl Default for Curve {
    fn default() -> Self {
        let (x, lines) = (Dimension::SeenAnomalies, Dimension::Variant);
        Curve { metrics: Vec::new(), x, lines, class: "mean".into(), log_x: false }
    }
}

impl Kind for Curve {
    const NAME: &'static str = "curve";
    const ABOUT: &'static str = "A metric against the number of seen anomalies, or against another dimension.";
    const SHARED: Shared = &[("height_cm", "")];

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
        let way = Way::new(self, &panels);
        if self.log_x && !way.log {
            notes.say("what runs along its axis has no logarithm, so the axis is linear");
        }
        scene.margin = panels.parts.iter().map(margin).fold(0.0, f64::max);
        let columns = columns(&scene, 7.5);
        grid(&mut scene, &panels.parts, columns, |scene, part| panel(scene, part, &way, &panels.title(part)));
        footnote(&mut scene, &panels.spread_note());
        let lines = if panels.labels.len() > 1 { format!(", by {}", self.lines.axis()) } else { String::new() };
        let how = format!("against {}{lines}", self.x.axis());
        let about = metrics_shown(&panels.metrics(), &how, panels.class(&query).as_deref());
        Ok(Some(Drawing::new(scene, panels.csv("line")).showing(about)))
    }
}

/// The horizontal axis that the panels of a figure share.
struct Way<'a> {
    x: Dimension,
    /// Values along it, in order, and what each is called.
    places: &'a [String],
    shown: Vec<String>,
    /// Whether they are numbers.
    scale: bool,
    log: bool,
}

impl<'a> Way<'a> {
    fn new(curve: &Curve, panels: &'a Panels) -> Self {
        let (x, places) = (curve.x, panels.places.as_slice());
        let scale = x.is_scale(places);
        let is_above_zero = |place: &String| place.parse().is_ok_and(|value: f64| value > 0.0);
        Way {
            x,
            places,
            shown: panels.shown_places(),
            scale,
            log: curve.log_x && scale && places.iter().all(is_above_zero),
        }
    }

    /// Where a value lies: a number at itself, a name at its number.
    fn position(&self, value: &str) -> f64 {
        let number = self.scale.then(|| value.parse().ok()).flatten();
        number.unwrap_or_else(|| self.places.iter().position(|place| place == value).unwrap_or_default() as f64)
    }

    /// Numbers to scale, with labels where there is room; names side by side.
    fn axis(&self, width: f64) -> Axis {
        if !self.scale {
            return Axis::labels(&self.shown);
        }
        let values: Vec<f64> = self.places.iter().map(|place| self.position(place)).collect();
        let (low, high) = extent(values.iter().copied());
        let mut axis = match self.log {
            true => Axis::logarithmic(low, high),
            false => {
                let span = if high > low { high - low } else { 1.0 };
                Axis { low: low - 0.04 * span, high: high + 0.04 * span, ticks: Vec::new(), log: false }
            }
        };
        axis.ticks.clear();
        let mut end = f64::NEG_INFINITY;
        for (&value, place) in values.iter().zip(&self.shown) {
            let (at, half) = (axis.share(value) * width * 0.75, text_width(place, SMALL) / 2.0);
            if at - half > end + GAP * 0.5 {
                end = at + half;
                axis.ticks.push((value, place.clone()));
            }
        }
        axis
    }
}

/// The vertical axis of a panel.
fn percent(part: &Part) -> Axis {
    let ends = |p: &Point| {
        let (deviation, (low, high)) = (p.deviation.unwrap_or(0.0), p.range.unwrap_or((p.mean, p.mean)));
        [p.mean - deviation, p.mean + deviation, low, high]
    };
    let points = part.series.iter().flat_map(|(_, points)| points);
    let (least, greatest) = extent(points.flat_map(|(_, point)| ends(point)));
    Axis::percent(least, greatest.min(100.0), 5)
}

fn margin(part: &Part) -> f64 {
    Panel::margin(&percent(part), part.metric.kind().axis)
}

fn panel(scene: &mut Scene, part: &Part, way: &Way, title: &str) {
    let at = |(value, point): &(String, Point)| (way.position(value), point.clone());
    let lines: Vec<(usize, Vec<(f64, Point)>)> =
        part.series.iter().map(|(number, points)| (*number, points.iter().map(at).collect())).collect();
    let (x, y) = ((way.axis(scene.width), way.x.axis()), (percent(part), part.metric.kind().axis));
    let height = (scene.width * 0.5).max(220.0);
    let panel = Panel::below(scene, title, height, x, y);
    // Lines side by side by a hair, so that error bars at one place can be told apart.
    let dot = 1.0 / (panel.right - panel.left);
    let middle = (lines.len() - 1) as f64 / 2.0;
    for (place, (number, line)) in lines.iter().enumerate() {
        let ink: Ink = colour(*number);
        let spread = line.iter().any(|(_, point)| point.deviation.is_some());
        // All lines together within a fortieth of the panel.
        let step = 7.0f64.min((panel.right - panel.left) / 40.0 / lines.len() as f64);
        let shift = if spread { (place as f64 - middle) * step * dot } else { 0.0 };
        if line.iter().any(|(_, point)| point.range.is_some()) {
            let range = |p: &Point| p.range.unwrap_or((p.mean, p.mean));
            panel.band(scene, ink, &line.iter().map(|(x, p)| (*x, range(p).0, range(p).1)).collect::<Vec<_>>());
        }
        for (x, point) in line {
            if let Some(deviation) = point.deviation {
                panel.error(scene, ink, panel.x.moved(*x, shift), (point.mean - deviation, point.mean + deviation));
            }
        }
        let points: Vec<(f64, f64)> = line.iter().map(|(x, point)| (panel.x.moved(*x, shift), point.mean)).collect();
        panel.series(scene, *number, ink, &points);
    }
}
