//! Bars by class: each metric in each class, the variants below each other.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::metrics::MetricName;
use crate::record::{MEAN, MetricRecord, Recorded};
use crate::report::figures::colour;
use crate::report::frame::{Point, distinct, sampling};
use crate::spec::{Arm, DisplayNames};

/// The rows of one bar, each with its sampling.
type Rows<'a> = Vec<(u64, &'a MetricRecord)>;

/// All bars of a metric on a dataset.
struct Chart<'a> {
    metric: MetricName,
    dataset: &'a str,
    /// Classes with their bars: number of the arm, and what it reaches.
    classes: Vec<(&'a str, Vec<(usize, Point)>)>,
}

pub fn bars(recorded: &Recorded) -> Markup {
    let finished = || recorded.runs.iter().filter(|run| run.failure.is_none());
    let arms = distinct(finished().map(|run| Arm::of(&run.spec)));
    let charts = charts(recorded, &arms);
    let several = |of: fn(&Arm) -> String| distinct(arms.iter().map(of)).len() > 1;
    let counts = several(|arm| arm.seen.to_string());
    let shown = &recorded.experiment.names;
    let name = |arm: &Arm| {
        let variant = shown.of(&arm.variant);
        if counts { format!("{variant}, {} seen", arm.seen) } else { variant.into_owned() }
    };
    let names: Vec<String> = arms.iter().map(name).collect();
    let datasets = several(|arm| arm.dataset.clone());
    html! {
        @for (number, chart) in charts.iter().enumerate() {
            details open[number == 0] {
                summary {
                    (chart.metric.as_str()) @if datasets { ", " (shown.of(chart.dataset)) }
                }
                (drawn(chart, &names, shown))
            }
            "\n"
        }
    }
}

fn charts<'a>(recorded: &'a Recorded, arms: &[Arm]) -> Vec<Chart<'a>> {
    let runs: BTreeMap<&str, (usize, u64)> = recorded
        .runs
        .iter()
        .filter_map(|run| {
            let arm = arms.iter().position(|arm| *arm == Arm::of(&run.spec))?;
            Some((run.id.as_str(), (arm, sampling(&run.spec))))
        })
        .collect();
    let mut found: BTreeMap<(&str, &str, &str), BTreeMap<usize, Rows>> = BTreeMap::new();
    let shown = |row: &&MetricRecord| recorded.experiment.metrics.iter().any(|metric| metric.as_str() == row.metric);
    for row in recorded.metrics.iter().filter(shown) {
        let Some(&(arm, sampling)) = runs.get(row.run.as_str()) else { continue };
        let bars = found.entry((&row.dataset, &row.metric, &row.class)).or_default();
        bars.entry(arm).or_default().push((sampling, row));
    }
    let datasets = distinct(recorded.metrics.iter().map(|row| row.dataset.as_str()));
    let mut charts = Vec::new();
    for metric in &recorded.experiment.metrics {
        for dataset in &datasets {
            let own = recorded.metrics.iter().filter(|row| row.dataset == *dataset);
            let classes = distinct(own.map(|row| row.class.as_str()));
            // The mean comes last.
            let (mean, classes): (Vec<_>, Vec<_>) = classes.into_iter().partition(|class| *class == MEAN);
            let bars = classes.into_iter().chain(mean).filter_map(|class| {
                let arms = found.get(&(*dataset, metric.as_str(), class))?;
                let points = arms.iter().filter_map(|(arm, rows)| Some((*arm, Point::of(rows)?)));
                let points: Vec<(usize, Point)> = points.collect();
                (!points.is_empty()).then_some((class, points))
            });
            let classes: Vec<_> = bars.collect();
            if !classes.is_empty() {
                charts.push(Chart { metric: *metric, dataset, classes });
            }
        }
    }
    charts
}

/// Bars begin at the ten below the least value, so that differences are seen; the caption says where.
fn drawn(chart: &Chart, names: &[String], shown: &DisplayNames) -> Markup {
    let points = || chart.classes.iter().flat_map(|(_, points)| points);
    let least = points().map(|(_, point)| point.mean - point.deviation.unwrap_or(0.0)).fold(100.0, f64::min);
    let from = ((least / 10.0).floor() * 10.0).clamp(0.0, 90.0);
    let at = |value: f64| (100.0 * (value - from) / (100.0 - from)).clamp(0.0, 100.0);
    let spread = points().any(|(_, point)| point.deviation.is_some());
    let text = |point: &Point| match point.deviation {
        Some(deviation) => format!("{:.1} ± {deviation:.1}", point.mean),
        None => format!("{:.1}", point.mean),
    };
    let line = |point: &Point| {
        let deviation = point.deviation?;
        let (low, high) = (at(point.mean - deviation), at(point.mean + deviation));
        Some(format!("left:{low:.2}%;width:{:.2}%", high - low))
    };
    let ink = |arm: usize| {
        let ink = colour(arm);
        if (ink.0, ink.1, ink.2) == (0, 0, 0) {
            // Black is not seen on a dark page.
            return "CanvasText".into();
        }
        format!("#{:02x}{:02x}{:02x}", ink.0, ink.1, ink.2)
    };
    html! {
        div.scroll { table.bars {
            caption {
                "Percent; bars begin at " (from) @if spread { ", lines are standard deviations over seeds" } "."
            }
            @for (class, points) in &chart.classes { tbody {
                tr { th scope="rowgroup" colspan="3" { (shown.of(class)) } } "\n"
                @for (arm, point) in points { tr {
                    td.who { (names[*arm]) }
                    td.bar { span.track style={ "--own:" (ink(*arm)) } {
                        i style={ "width:" (format!("{:.2}%", at(point.mean))) } {}
                        @if let Some(line) = line(point) { i.spread style=(line) {} }
                    } }
                    td { (text(point)) }
                } "\n" }
            } }
        } }
    }
}
