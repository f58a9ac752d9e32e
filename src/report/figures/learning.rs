//! Losses per epoch, and image AUROC per epoch where runs scored every epoch.

use schemars::JsonSchema;
use serde::Deserialize;

use super::canvas::Scene;
use super::panel::{Axis, Legend, Panel, footnote, legend};
use super::style::colour;
use super::{Drawing, Kind, Notes, Shared, extent, quoted, run_label, titled};
use crate::error::Result;
use crate::metrics::{MetricName, mean};
use crate::record::{Recorded, RecordedRun};
use crate::report::frame::{Wanted, distinct, groups};
use crate::spec::{RunSpec, Selection};

/// What one run tells: losses by term, one value per epoch, and image AUROC per epoch.
struct Told {
    label: String,
    losses: Vec<(String, Vec<f64>)>,
    curve: Vec<f64>,
}

/// A line: mean, least and greatest over runs, one entry per epoch.
struct Line {
    name: String,
    epochs: Vec<(f64, f64, f64)>,
}

/// Losses per epoch, and image AUROC per epoch where it is recorded; one line per variant, or one per loss term where
/// there is one variant.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Learning {
    /// Loss terms, as the method names them; [] = all of one variant, the total of several.
    terms: Vec<String>,
    /// Whether the axis of losses is logarithmic, where all losses are above 0: what happens after the first epochs shows.
    log_y: bool,
}

impl Kind for Learning {
    const NAME: &'static str = "learning";
    const ABOUT: &'static str = "Losses per epoch, and image AUROC per epoch where the runs scored every epoch.";
    const SHARED: Shared = &[
        ("variants", "Only these variants; [] = all that train."),
        ("seen_anomalies", "Only these numbers of seen anomalies; [] = all."),
        ("height_cm", ""),
    ];

    fn draw(&self, selection: &Selection, recorded: &Recorded, notes: &mut Notes) -> Result<Option<Drawing>> {
        let runs: Vec<&RecordedRun> = Wanted::shown(selection).runs(recorded).collect();
        let specs: Vec<&RunSpec> = runs.iter().map(|run| &run.spec).collect();
        let mut told = Vec::new();
        for &run in &runs {
            let losses = losses(run);
            if !losses.is_empty() {
                notes.draws(&run.id);
                let curve = run.curve().into_iter().map(|value| 100.0 * value).collect();
                told.push(Told { label: run_label(recorded, &run.spec, &specs), losses, curve });
            }
        }
        notes.say_missing();
        let losses = loss_lines(&told, &self.terms);
        if losses.is_empty() {
            notes.say("no recorded run has a loss per epoch: a method without training leaves none");
            return Ok(None);
        }
        let curves = lines(&told, |told| vec![(told.label.clone(), told.curve.clone())]);
        let log = self.log_y && ends(&losses).0 > 0.0;
        if self.log_y && !log {
            notes.say("a loss of 0 or less has no logarithm, so the axis is linear");
        }
        let scored = if curves.is_empty() { "" } else { ", and image AUROC per epoch" };
        Ok(Some(drawing(selection, &losses, &curves, log).showing(format!("Losses per epoch{scored}."))))
    }
}

/// Mean losses of a run's trainings (one per class in the per-class setting), by term.
fn losses(run: &RecordedRun) -> Vec<(String, Vec<f64>)> {
    let stages = run.stages.iter();
    let epochs = stages.flat_map(|stage| stage.note["epochs"].as_array().into_iter().flatten().enumerate());
    let values = epochs.flat_map(|(number, epoch)| {
        let terms = epoch.as_object().into_iter().flatten().filter(|(term, _)| *term != "epoch");
        // JSON has no NaN: a loss that is none is null there, and a gap in the line.
        terms.map(move |(term, value)| (term.clone(), (number, value.as_f64().unwrap_or(f64::NAN))))
    });
    let means = |values| groups(values).into_iter().map(|(_, values)| mean(&values)).collect();
    groups(values).into_iter().map(|(term, values)| (term, means(values))).collect()
}

/// One line per label that `of` gives, over all runs with it.
fn lines(told: &[Told], of: impl Fn(&Told) -> Vec<(String, Vec<f64>)>) -> Vec<Line> {
    let line = |(name, all): (String, Vec<Vec<f64>>)| {
        let epochs = all.iter().map(Vec::len).max().unwrap_or_default();
        let at = |epoch: usize| {
            let values: Vec<f64> = all.iter().filter_map(|run| run.get(epoch).copied()).collect();
            let (least, greatest) = extent(values.iter().copied());
            (mean(&values), least, greatest)
        };
        Line { name, epochs: (0..epochs).map(at).collect() }
    };
    groups(told.iter().flat_map(of).filter(|(_, values)| !values.is_empty())).into_iter().map(line).collect()
}

/// The terms of one label, or the total (or the named terms) of each of several.
fn loss_lines(told: &[Told], terms: &[String]) -> Vec<Line> {
    let one = told.iter().all(|run| run.label == told[0].label);
    let shown = |number: usize, term: &String| match terms {
        [] => one || number == 0,
        list => list.contains(term),
    };
    lines(told, |run| {
        let kept = run.losses.iter().enumerate().filter(|(number, (term, _))| shown(*number, term));
        let name = |term: &String| match (one, terms.len() > 1) {
            (true, _) => term.clone(),
            (false, true) => format!("{}: {term}", run.label),
            (false, false) => run.label.clone(),
        };
        kept.map(|(_, (term, values))| (name(term), values.clone())).collect()
    })
}

/// The least and the greatest value of some lines.
fn ends(lines: &[Line]) -> (f64, f64) {
    let values = lines.iter().flat_map(|line| &line.epochs).filter(|(mean, ..)| mean.is_finite());
    extent(values.flat_map(|(_, low, high)| [*low, *high]))
}

fn drawing(selection: &Selection, losses: &[Line], curves: &[Line], log: bool) -> Drawing {
    let names: Vec<&str> = distinct(losses.iter().chain(curves).map(|line| line.name.as_str()));
    let number = |name: &str| names.iter().position(|known| *known == name).unwrap_or_default();
    let mut scene = titled(selection);
    legend(&mut scene, &Legend::lines(&names));
    let (low, high) = ends(losses);
    let loss = if log { Axis::logarithmic(low, high) } else { Axis::round(low.min(0.0), high, 4) };
    let mut panels = vec![(losses, loss, "loss")];
    if !curves.is_empty() {
        let (low, high) = ends(curves);
        panels.push((curves, Axis::percent(low, high, 4), MetricName::ImageAuroc.kind().axis));
    }
    scene.margin = panels.iter().map(|(_, axis, name)| Panel::margin(axis, name)).fold(0.0, f64::max);
    panels.into_iter().for_each(|(lines, axis, name)| panel(&mut scene, lines, &number, axis, name));
    if losses.iter().chain(curves).flat_map(|line| &line.epochs).any(|(_, low, high)| low < high) {
        footnote(&mut scene, "Lines: mean over runs that differ in seed or sampling. Bands: their range.");
    }
    let mut csv = String::from("panel,line,epoch,mean,lowest,highest\n");
    for (panel, lines) in [("loss", losses), ("image_auroc", curves)] {
        for line in lines {
            for (epoch, (mean, low, high)) in line.epochs.iter().enumerate() {
                csv += &format!("{panel},{},{},{mean},{low},{high}\n", quoted(&line.name), epoch + 1);
            }
        }
    }
    Drawing::new(scene, csv)
}

fn panel(scene: &mut Scene, lines: &[Line], number: &impl Fn(&str) -> usize, y: Axis, name: &str) {
    let last = lines.iter().map(|line| line.epochs.len()).max().unwrap_or(1) as f64;
    let mut x = Axis::round(0.0, last, 5);
    x.ticks.retain(|(value, _)| *value >= 1.0 && *value <= last && value.fract() == 0.0);
    (x.low, x.high) = (1.0 - 0.02 * last, last * 1.02);
    let panel = Panel::below(scene, "", (scene.width * 0.38).max(180.0), (x, "epoch"), (y, name));
    for line in lines {
        let place = number(&line.name);
        let ink = colour(place);
        let at = |(epoch, v): (usize, &(f64, f64, f64))| ((epoch + 1) as f64, v.0, v.1, v.2);
        let known: Vec<_> = line.epochs.iter().enumerate().map(at).filter(|(_, mean, ..)| mean.is_finite()).collect();
        if known.iter().any(|(_, _, low, high)| low < high) {
            panel.band(scene, ink, &known.iter().map(|&(x, _, low, high)| (x, low, high)).collect::<Vec<_>>());
        }
        let points: Vec<(f64, f64)> = known.iter().map(|&(x, mean, ..)| (x, mean)).collect();
        panel.series(scene, place, ink, &points);
    }
}
