//! The figures that an experiment declares, as SVG, PNG and the data behind them as CSV.
//!
//! Owns: what each kind shows and how it looks. Does not own: numbers, embeddings and pictures, which `run` has recorded;
//! what is missing of them is said in words and not drawn.

mod bars;
mod canvas;
mod curve;
mod histogram;
mod learning;
mod maps;
mod panel;
mod series;
mod style;
mod tsne;

use std::path::PathBuf;

use self::canvas::Scene;
use self::style::GAP;
use crate::error::{Error, Result};
use crate::record::Recorded;
use crate::spec::{Figure, RunSpec};
use crate::store::write_atomically;

/// A figure's contents before they are rendered.
struct Drawing {
    scene: Scene,
    csv: String,
}

/// A finished figure.
#[derive(Debug)]
pub struct DrawnFigure {
    /// Its place among the experiment's figures, from 1.
    pub number: usize,
    /// Vector graphics.
    pub svg: String,
    /// The same at 300 dots per inch.
    pub png: Vec<u8>,
    /// The data behind it.
    pub csv: String,
}

/// What became of the figures of an experiment.
#[derive(Debug, Default)]
pub struct Figures {
    /// Files written.
    pub paths: Vec<PathBuf>,
    /// What is missing in which figure, and what makes it.
    pub missing: Vec<String>,
}

/// Draws the declared figures; the second list says what is missing. A figure of which everything is missing is left out.
///
/// # Errors
/// A file of a record that is there and cannot be read.
pub fn draw_figures(recorded: &Recorded) -> Result<(Vec<DrawnFigure>, Vec<String>)> {
    let (mut drawn, mut missing) = (Vec::new(), Vec::new());
    for (place, figure) in recorded.experiment.figures.iter().enumerate() {
        let mut notes = Notes { recorded, list: Vec::new() };
        let drawing = match figure {
            Figure::Curve(figure) => curve::draw(recorded, figure, &mut notes)?,
            Figure::Bars(figure) => bars::draw(recorded, figure, &mut notes)?,
            Figure::Learning(figure) => learning::draw(recorded, figure, &mut notes)?,
            Figure::Histogram(figure) => histogram::draw(recorded, figure, &mut notes)?,
            Figure::Maps(figure) => maps::draw(recorded, figure, &mut notes)?,
            Figure::Tsne(figure) => tsne::draw(recorded, figure, &mut notes)?,
        };
        let number = place + 1;
        missing.extend(notes.list.into_iter().map(|note| format!("figure {number}: {note}")));
        if let Some(Drawing { scene, csv }) = drawing {
            drawn.push(DrawnFigure { number, svg: scene.svg()?, png: scene.png()?, csv });
        }
    }
    Ok((drawn, missing))
}

/// Writes the declared figures below the experiment's folder. Files of a figure that can no longer be drawn go.
///
/// # Errors
/// A file of a record that is there and cannot be read, and the disk's.
pub fn write_figures(recorded: &Recorded) -> Result<Figures> {
    let folder = recorded.folder.join("figures");
    let (drawn, missing) = draw_figures(recorded)?;
    let mut figures = Figures { missing, ..Figures::default() };
    for number in 1..=recorded.experiment.figures.len() {
        let figure = drawn.iter().find(|figure| figure.number == number);
        for extension in ["svg", "png", "csv"] {
            let path = folder.join(format!("figure{number}.{extension}"));
            let Some(figure) = figure else {
                remove(&path)?;
                continue;
            };
            let bytes = match extension {
                "svg" => figure.svg.as_bytes(),
                "png" => &figure.png,
                _ => figure.csv.as_bytes(),
            };
            write_atomically(&path, bytes)?;
            figures.paths.push(path);
        }
    }
    Ok(figures)
}

fn remove(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(fault)),
        _ => Ok(()),
    }
}

/// What is missing in a figure.
struct Notes<'a> {
    recorded: &'a Recorded,
    list: Vec<String>,
}

impl Notes<'_> {
    /// Something that running the experiment again would make.
    fn run_makes(&mut self, what: impl std::fmt::Display) {
        let file = self.recorded.folder.join("experiment.toml");
        self.list.push(format!("{what}; `dmad run {}` makes it", file.display()));
    }

    /// Something that no command makes.
    fn say(&mut self, what: impl Into<String>) {
        self.list.push(what.into());
    }
}

/// Panels side by side, row after row, from the present end of the scene. Each is drawn by `draw` at the width it gets.
fn grid<T>(scene: &mut Scene, panels: &[T], columns: usize, mut draw: impl FnMut(&mut Scene, &T)) {
    let columns = columns.clamp(1, panels.len().max(1));
    let width = (scene.width - GAP * (columns - 1) as f64) / columns as f64;
    for row in panels.chunks(columns) {
        let mut height = 0.0f64;
        for (column, panel) in row.iter().enumerate() {
            let mut part = Scene { width, ..Scene::default() };
            draw(&mut part, panel);
            height = height.max(part.height);
            scene.place(part, column as f64 * (width + GAP), scene.height);
        }
        scene.height += height;
    }
}

/// A space at which no label is broken.
const NO_BREAK: char = '\u{a0}';

/// A field of a CSV file.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\"").replace(NO_BREAK, " "))
}

/// A run among the `shown`: its variant, with dataset and seen anomalies where they differ.
fn run_label(run: &RunSpec, shown: &[&RunSpec]) -> String {
    let mut label = run.variant.clone();
    if shown.iter().any(|other| other.protocol.seen.count != run.protocol.seen.count) {
        label += &format!(", {}{NO_BREAK}seen", run.protocol.seen.count);
    }
    if shown.iter().any(|other| other.dataset != run.dataset) {
        label += &format!(", {}", run.dataset);
    }
    label
}
