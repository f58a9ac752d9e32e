//! The figures that an experiment declares, as PDF, SVG, PNG and the data behind them as CSV.
//!
//! Owns: what each kind shows and how it looks. Does not own: numbers, embeddings and pictures, which `run` has recorded;
//! what is missing of them is said in words and not drawn.

mod bank;
mod bars;
mod canvas;
mod curve;
mod histogram;
mod learning;
mod lines;
mod maps;
mod overlay;
mod panel;
mod pdf;
mod series;
mod style;
mod tsne;

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use self::canvas::{RESOLUTION, Scene};
pub use self::overlay::{Overlay, overlay};
pub use self::style::colour;
use self::style::{FONT_PT, GAP};
use super::export::csv::quoted;
use super::export::latex;
use super::frame::{distinct, groups};
use super::labels::common_of;
use super::remove_others;
use crate::error::Result;
use crate::metrics::MetricName;
use crate::record::{Recorded, RecordedRun};
use crate::spec::{Caption, Figure, FigureKind, Keys, MethodFault, Need, RunSpec, Selection, read_table, schema_of};
use crate::store::write_atomically;

/// One row of the registry.
pub struct Entry {
    /// What experiment files may say of it.
    pub kind: FigureKind,
    draw: fn(&Figure, &Recorded, &mut Notes) -> Result<Option<Drawing>>,
}

/// All kinds of figures.
pub const FIGURES: &[Entry] = &[
    Entry::of::<curve::Curve>(),
    Entry::of::<bars::Bars>(),
    Entry::of::<bank::Bank>(),
    Entry::of::<learning::Learning>(),
    Entry::of::<histogram::Histogram>(),
    Entry::of::<maps::Maps>(),
    Entry::of::<tsne::Tsne>(),
];

/// Keys of [`Selection`], each with its words in the schema.
type Shared = &'static [(&'static str, &'static str)];

/// A kind of figure. The type holds the kind's own keys: those that other kinds share are in [`Selection`].
trait Kind: Debug + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Value of `kind`.
    const NAME: &'static str;
    const ABOUT: &'static str;
    /// See [`FigureKind::shared`].
    const SHARED: Shared = &[];
    /// Variants shown where a figure names none; [] = all.
    const VARIANTS: &'static [&'static str] = &[];

    /// JSON Schema of its own keys.
    fn schema() -> Json {
        schema_of::<Self>()
    }

    /// Refuses keys that do not fit each other.
    fn check(&self) -> std::result::Result<(), MethodFault> {
        Ok(())
    }

    fn need(&self) -> Option<Need> {
        None
    }

    /// Draws the figure; `None` where nothing of it is recorded.
    fn draw(&self, selection: &Selection, recorded: &Recorded, notes: &mut Notes) -> Result<Option<Drawing>>;
}

impl Entry {
    const fn of<K: Kind>() -> Self {
        let (name, about, shared, variants) = (K::NAME, K::ABOUT, K::SHARED, K::VARIANTS);
        let kind = FigureKind { name, about, shared, variants, schema: K::schema, parse: parse::<K> };
        Entry { kind, draw: draw::<K> }
    }
}

fn parse<K: Kind>(json: Json) -> std::result::Result<Keys, MethodFault> {
    let keys: K = read_table(json)?;
    keys.check()?;
    let need = keys.need();
    Ok((Arc::new(keys), need))
}

fn draw<K: Kind>(figure: &Figure, recorded: &Recorded, notes: &mut Notes) -> Result<Option<Drawing>> {
    let keys: &dyn Any = &*figure.keys;
    let Some(keys) = keys.downcast_ref::<K>() else { unreachable!("a figure has the keys of its kind") };
    keys.draw(&figure.selection, recorded, notes)
}

/// Dots of the highest figure that is drawn, about 130 cm: its dots are all in memory at once.
const HIGHEST: f64 = 15_000.0;

/// A figure's contents before they are rendered.
struct Drawing {
    scene: Scene,
    csv: String,
    strips: Vec<Strip>,
    /// What it shows, where that is more than what all of its kind show.
    about: Option<String>,
}

impl Drawing {
    fn new(scene: Scene, csv: String) -> Self {
        Drawing { scene, csv, strips: Vec::new(), about: None }
    }

    fn showing(self, about: String) -> Self {
        Drawing { about: Some(about), ..self }
    }
}

/// Pictures of one test image, to be looked at one by one.
#[derive(Debug)]
pub struct Strip {
    pub class: String,
    /// Path of the image.
    pub path: String,
    /// What the class is called where people read, and the path.
    pub caption: String,
    /// What each picture is, and the picture as PNG.
    pub pictures: Vec<(String, Vec<u8>)>,
}

/// A finished figure.
#[derive(Debug)]
pub struct DrawnFigure {
    /// Its place among the experiment's figures, from 1.
    pub number: usize,
    pub title: String,
    /// What it shows, in a sentence.
    pub about: String,
    pub svg: String,
    /// The same at 300 dots per inch.
    pub png: Vec<u8>,
    /// The same with the letters of its font.
    pub pdf: Vec<u8>,
    /// Whether title and notes are left to its caption.
    pub apart: bool,
    /// The notes that are.
    pub notes: Vec<String>,
    /// The data behind it.
    pub csv: String,
    /// The pictures in it, where it is a grid of maps.
    pub strips: Vec<Strip>,
}

/// The figures of an experiment.
#[derive(Debug, Default)]
pub struct Figures {
    /// Those that can be drawn.
    pub drawn: Vec<DrawnFigure>,
    /// What is missing in which figure, and what makes it.
    pub missing: Vec<String>,
}

/// Draws the declared figures. A figure of which everything is missing is left out.
///
/// # Errors
/// A file of a record that is there and cannot be read.
pub fn draw_figures(recorded: &Recorded) -> Result<Figures> {
    let Figures { mut drawn, mut missing } = Figures::default();
    for (place, figure) in recorded.experiment.figures.iter().enumerate() {
        let mut notes = Notes { recorded, list: Vec::new(), unrecorded: Vec::new(), drawn: BTreeSet::new() };
        let Some(entry) = FIGURES.iter().find(|entry| entry.kind.name == figure.kind) else { continue };
        let drawing = (entry.draw)(figure, recorded, &mut notes)?;
        let number = place + 1;
        let labels = labels(recorded, &notes.drawn);
        missing.extend(notes.told().into_iter().map(|note| format!("figure {number}: {note}")));
        if let Some(Drawing { mut scene, csv, strips, about }) = drawing {
            if let Some(labels) = labels {
                panel::footnote(&mut scene, &labels);
            }
            scene = scene.scaled(figure.selection.font_pt / FONT_PT);
            if scene.height > HIGHEST {
                let cm = scene.height / RESOLUTION * 2.54;
                missing.push(format!("figure {number}: it would be {cm:.0} cm high; show fewer images or classes"));
                continue;
            }
            let (title, svg, png) = (figure.selection.title.clone(), scene.svg()?, scene.png()?);
            let (pdf, apart) = (pdf::pdf(&scene, &title)?, scene.notes.is_some());
            let notes = distinct(scene.notes.unwrap_or_default());
            let about = about.unwrap_or_else(|| entry.kind.about.into());
            drawn.push(DrawnFigure { number, title, about, svg, png, pdf, apart, notes, csv, strips });
        }
    }
    Ok(Figures { drawn, missing })
}

/// What labels the numbers of the runs that a figure draws, for below it.
fn labels(recorded: &Recorded, drawn: &BTreeSet<String>) -> Option<String> {
    let runs: Vec<&RecordedRun> = recorded.runs.iter().filter(|run| drawn.contains(&run.id)).collect();
    let common = common_of(runs.iter().copied());
    let names = &recorded.experiment.names;
    let labelled = |run: &RecordedRun| {
        let own = run.labels.iter().filter(|label| !common.contains(label));
        own.map(|label| (label.clone(), names.of(&run.spec.variant).into_owned())).collect::<Vec<_>>()
    };
    // Which variants carry each; the longest, of settings, are the first to be cut off where there is no room.
    let mut some = groups(runs.into_iter().flat_map(labelled));
    some.sort_by_key(|(label, _)| label.chars().count());
    let some = some.into_iter().map(|(label, who)| (distinct(who).join(", "), label));
    let all = std::iter::once(("All runs".to_string(), common.join("; "))).filter(|(_, labels)| !labels.is_empty());
    let text = all.chain(some).map(|(who, labels)| format!("{who}: {labels}.")).collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

/// Writes the drawn figures below the experiment's folder and returns the paths. Files of figures that are no longer
/// declared or can no longer be drawn go.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_figures(recorded: &Recorded, figures: &Figures) -> Result<Vec<PathBuf>> {
    let folder = recorded.folder.join("figures");
    let mut paths = Vec::new();
    for DrawnFigure { number, title, about, svg, png, pdf, apart, notes, csv, .. } in &figures.drawn {
        let caption = apart.then(|| {
            let use_as = format!("% In a paper: \\caption[Short title]{{\\input{{figure{number}_caption}}}} (without [ ] it does not compile).\n");
            use_as + &latex::notes(title, &[std::slice::from_ref(about), &notes[..]].concat())
        });
        let files = [(".svg", svg.as_bytes()), (".png", png), (".pdf", pdf), (".csv", csv.as_bytes())].into_iter();
        for (ending, bytes) in files.chain(caption.as_ref().map(|text| ("_caption.tex", text.as_bytes()))) {
            let path = folder.join(format!("figure{number}{ending}"));
            write_atomically(&path, bytes)?;
            paths.push(path);
        }
    }
    remove_others(&folder, &["figure"], &paths)?;
    Ok(paths)
}

/// What is missing in a figure, and what is not.
struct Notes<'a> {
    recorded: &'a Recorded,
    list: Vec<String>,
    /// Runs that are shown and not recorded.
    unrecorded: Vec<String>,
    /// Ids of the runs that are drawn.
    drawn: BTreeSet<String>,
}

impl<'a> Notes<'a> {
    /// All of it; of several runs that are not recorded, the first stands for the others.
    fn told(mut self) -> Vec<String> {
        let what = match &self.unrecorded[..] {
            [] => return self.list,
            [one] => format!("run {one} is not recorded"),
            [first, ..] => format!("{} runs are not recorded, such as {first}", self.unrecorded.len()),
        };
        self.run_makes(what);
        self.list
    }

    /// The runs that a figure of single runs shows.
    fn shown(&mut self, selection: &Selection) -> Vec<&'a RunSpec> {
        let shown = selection.of(&self.recorded.experiment.runs);
        if shown.is_empty() {
            self.say("the experiment has no run of that dataset, variant, number of seen anomalies and seed");
        }
        shown
    }

    /// A run that is drawn: what labels its numbers is told below the figure.
    fn draws(&mut self, run: &str) {
        self.drawn.insert(run.into());
    }

    /// Something that running the experiment again would make.
    fn run_makes(&mut self, what: impl std::fmt::Display) {
        let file = self.recorded.folder.join("experiment.toml");
        self.list.push(format!("{what}; `dmad run {}` makes it", file.display()));
    }

    /// A run that is shown and not recorded.
    fn say_not_recorded(&mut self, spec: &RunSpec) {
        self.unrecorded.push(format!("{} ({})", spec.id, spec.variant));
    }

    /// How many runs a figure of all runs lacks.
    fn say_missing(&mut self) {
        if !self.recorded.missing.is_empty() {
            self.run_makes(format!("{} of the experiment's runs are not recorded", self.recorded.missing.len()));
        }
    }

    /// Something that no command makes.
    fn say(&mut self, what: impl Into<String>) {
        self.list.push(what.into());
    }
}

/// An empty drawing below its title, in a measure in which text has [`FONT_PT`] points.
fn titled(selection: &Selection) -> Scene {
    let measure = FONT_PT / selection.font_pt;
    let mut scene = Scene::new(selection.width_cm * measure);
    scene.panel_height = selection.height_cm.map(|cm| cm / 2.54 * RESOLUTION * measure);
    match selection.caption {
        Caption::Figure => panel::heading(&mut scene, &selection.title, GAP),
        Caption::Apart => scene.notes = Some(Vec::new()),
    }
    scene
}

/// How many panels of about `cm` centimetres lie side by side.
fn columns(scene: &Scene, cm: f64) -> usize {
    (scene.width / RESOLUTION * 2.54 / cm) as usize
}

/// The least and the greatest of some values.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// Panels side by side, row after row, from the present end of the scene. Each is drawn by `draw` at the width it gets.
fn grid<T>(scene: &mut Scene, panels: &[T], columns: usize, mut draw: impl FnMut(&mut Scene, &T)) {
    let columns = columns.clamp(1, panels.len().max(1));
    let width = (scene.width - GAP * (columns - 1) as f64) / columns as f64;
    for row in panels.chunks(columns) {
        let mut height = 0.0f64;
        for (column, panel) in row.iter().enumerate() {
            let mut part = scene.part(width);
            draw(&mut part, panel);
            height = height.max(part.height);
            scene.place(part, column as f64 * (width + GAP), scene.height);
        }
        scene.height += height;
    }
}

/// A space at which no label is broken.
const NO_BREAK: char = '\u{a0}';

/// What a figure of metrics shows: which, and what of them, such as "against seen anomalies"; the class, where one is shown.
fn metrics_shown(metrics: &[MetricName], how: &str, class: Option<&str>) -> String {
    let words: Vec<&str> = metrics.iter().map(|metric| metric.kind().words).collect();
    let words = match words.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        one => one.concat(),
    };
    let class = class.map(|class| format!(", class {class}")).unwrap_or_default();
    let sentence = format!("{words} {how}{class}.");
    let (first, rest) = sentence.split_at(sentence.chars().next().map_or(0, char::len_utf8));
    first.to_uppercase() + rest
}

/// A run among the `shown`: its variant, with dataset and seen anomalies where they differ.
fn run_label(recorded: &Recorded, run: &RunSpec, shown: &[&RunSpec]) -> String {
    let names = &recorded.experiment.names;
    let mut label = names.of(&run.variant).into_owned();
    if shown.iter().any(|other| other.protocol.seen.count != run.protocol.seen.count) {
        label += &format!(", {}{NO_BREAK}seen", run.protocol.seen.count);
    }
    if shown.iter().any(|other| other.dataset != run.dataset) {
        label += &format!(", {}", names.of(&run.dataset));
    }
    label
}
