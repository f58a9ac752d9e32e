//! Image scores of normal and anomalous test images.

use schemars::JsonSchema;
use serde::Deserialize;

use super::canvas::{Mark, Scene};
use super::panel::{Axis, Legend, Panel, legend};
use super::style::{Color, Dash, HAIR, Ink, colour};
use super::{Drawing, Kind, Notes, Shared, columns, extent, grid, quoted, run_label, titled};
use crate::error::Result;
use crate::record::{Recorded, RecordedRun};
use crate::report::frame::listed;
use crate::spec::{BASE_VARIANT, RunSpec, Selection};

/// One panel: the images of a class in a run.
struct Part {
    title: String,
    class: String,
    run: String,
    edges: Vec<f64>,
    /// Normal and anomalous images in each bin.
    counts: [Vec<usize>; 2],
}

const NAMES: [&str; 2] = ["normal", "anomalous"];

/// Image scores of normal and anomalous test images, one panel per run and class.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Histogram {
    /// Classes shown; [] = all.
    classes: Vec<String>,
    /// Number of bins.
    #[schemars(range(min = 2, max = 200))]
    bins: usize,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { classes: Vec::new(), bins: 20 }
    }
}

impl Kind for Histogram {
    const NAME: &'static str = "histogram";
    const ABOUT: &'static str = "Image scores of normal and anomalous test images of a class.";
    const SHARED: Shared =
        &[("variants", "Variants shown; [] = the base."), ("seen_anomalies", ""), ("seed", ""), ("height_cm", "")];
    const VARIANTS: &'static [&'static str] = &[BASE_VARIANT];

    fn draw(&self, selection: &Selection, recorded: &Recorded, notes: &mut Notes) -> Result<Option<Drawing>> {
        let shown = notes.shown(selection);
        let mut parts = Vec::new();
        for &spec in &shown {
            match recorded.finished(spec) {
                Some(run) => parts.extend(of_run(recorded, run, self)?),
                None => notes.say_not_recorded(spec),
            }
        }
        for class in self.classes.iter().filter(|class| !parts.iter().any(|part| part.class == **class)) {
            notes.say(format!("no recorded run shown has images of class \"{class}\""));
        }
        if parts.is_empty() {
            return Ok(None);
        }
        parts.iter().for_each(|part| notes.draws(&part.run));
        let mut scene = titled(selection);
        legend(&mut scene, &[0, 1].map(|i| (Legend::Field { ink: fill(i) }, NAMES[i].to_string())));
        let columns = columns(&scene, 4.2);
        scene.margin = parts.iter().map(|part| Panel::margin(&count_axis(part), "images")).fold(0.0, f64::max);
        grid(&mut scene, &parts, columns, panel);
        let mut csv = String::from("run,class,from,to,normal,anomalous\n");
        for part in &parts {
            for (bin, edges) in part.edges.windows(2).enumerate() {
                let (normal, anomalous) = (part.counts[0][bin], part.counts[1][bin]);
                let (run, class) = (quoted(&part.run), quoted(&part.class));
                csv += &format!("{run},{class},{},{},{normal},{anomalous}\n", edges[0], edges[1]);
            }
        }
        Ok(Some(Drawing::new(scene, csv)))
    }
}

fn fill(number: usize) -> Ink {
    colour(number).mix(if number == 0 { 0.45 } else { 0.55 })
}

fn of_run(recorded: &Recorded, run: &RecordedRun, figure: &Histogram) -> Result<Vec<Part>> {
    // Among all, so that a run says which it is where the figure shows no other.
    let all: Vec<&RunSpec> = recorded.experiment.runs.iter().collect();
    let images = run.images()?;
    let mut classes: Vec<&str> = images.iter().map(|row| row.class.as_str()).collect();
    classes.dedup();
    classes.retain(|class| listed(&figure.classes, class));
    let of_class = |class: &str| {
        let own: Vec<_> = images.iter().filter(|row| row.class == class && row.score.is_finite()).collect();
        let (low, high) = extent(own.iter().map(|row| row.score));
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let edges = (0..=figure.bins).map(|bin| low + (high - low) * bin as f64 / figure.bins as f64).collect();
        let mut counts = [vec![0; figure.bins], vec![0; figure.bins]];
        for row in own {
            let bin = ((row.score - low) / (high - low) * figure.bins as f64) as usize;
            counts[usize::from(row.label)][bin.min(figure.bins - 1)] += 1;
        }
        let mut title = recorded.experiment.names.of(class).into_owned();
        if all.len() > 1 {
            title += &format!(" · {}", run_label(recorded, &run.spec, &all));
        }
        Part { title, class: class.into(), run: run.id.clone(), edges, counts }
    };
    Ok(classes.into_iter().map(of_class).collect())
}

/// The vertical axis of a panel.
fn count_axis(part: &Part) -> Axis {
    let most = part.counts.iter().flatten().copied().max().unwrap_or(1).max(1);
    let mut y = Axis::round(0.0, most as f64, 3);
    y.ticks.retain(|(value, _)| value.fract() == 0.0);
    y.ticks.iter_mut().for_each(|(value, label)| *label = format!("{value:.0}"));
    y
}

fn panel(scene: &mut Scene, part: &Part) {
    let (low, high) = (part.edges[0], part.edges[part.edges.len() - 1]);
    let mut x = Axis::round(low, high, 5);
    x.ticks.retain(|(value, _)| *value >= low && *value <= high);
    (x.low, x.high) = (low, high);
    let panel =
        Panel::below(scene, &part.title, (scene.width * 0.5).max(150.0), (x, "score"), (count_axis(part), "images"));
    for (number, counts) in part.counts.iter().enumerate() {
        for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (left, right) = (part.edges[bin], part.edges[bin + 1]);
            let corners = [(left, 0.0), (right, 0.0), (right, count as f64), (left, count as f64)];
            let points = corners.iter().map(|&(x, y)| panel.at(x, y)).collect();
            scene.marks.push(Mark::Area { points, ink: fill(number) });
        }
        let step = |(bin, &count): (usize, &usize)| [bin, bin + 1].map(|edge| panel.at(part.edges[edge], count as f64));
        let outline = counts.iter().enumerate().flat_map(step).collect();
        scene.line(outline, colour(number), HAIR + 1.0, Dash::of(number));
    }
}
