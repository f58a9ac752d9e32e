//! t-SNE of the rows of a run's banks, coloured by part.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::canvas::Scene;
use super::panel::{Legend, footnote, heading, legend};
use super::style::{Color, GAP, Ink, MARKER, SMALL, colour, marker};
use super::{Drawing, Kind, Notes, Shared, columns, extent, grid, quoted, run_label, titled};
use crate::error::Result;
use crate::methods::{METHODS, wanted_parts};
use crate::record::{self, AboutEmbedding, EmbeddedPart, Embedding, Recorded, RecordedRun};
use crate::report::frame::groups;
use crate::spec::{BASE_VARIANT, Need, Selection, WantedEmbedding, schema_of};

/// t-SNE of bank rows, one panel per run.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tsne {
    /// Parts of the banks that are embedded; [] = all but normal patches.
    parts: Vec<String>,
    /// At most this many rows, drawn at random.
    #[schemars(range(min = 10, max = 5000))]
    points: usize,
    /// Effective number of neighbours.
    #[schemars(range(min = 2.0, max = 200.0))]
    perplexity: f64,
    /// Steps of gradient descent, the first quarter with exaggerated affinities.
    #[schemars(range(min = 50, max = 20000))]
    epochs: usize,
}

impl Default for Tsne {
    fn default() -> Self {
        Tsne { parts: Vec::new(), points: 5000, perplexity: 30.0, epochs: 1000 }
    }
}

/// One panel: the embedding of a run.
struct Part {
    title: String,
    /// Which run it is of, in words.
    of: String,
    run: String,
    embedding: Embedding,
}

/// Parts by their names, each once, in the order in which they come.
fn by_name<'a, T>(parts: impl Iterator<Item = &'a T>, name: fn(&T) -> &str) -> Vec<&'a T> {
    groups(parts.map(|part| (name(part), part))).into_iter().map(|(_, parts)| parts[0]).collect()
}

/// Number of a part's colour and of its marker: normal patches are black, the others take the colours in their order.
fn look(all: &[&EmbeddedPart], part: &EmbeddedPart) -> (usize, usize) {
    const MARKERS: [usize; 4] = [0, 2, 1, 4];
    if part.normal {
        return (6, 3);
    }
    let place = all.iter().filter(|part| !part.normal).position(|known| known.name == part.name).unwrap_or_default();
    (place, MARKERS[place % MARKERS.len()])
}

/// Whether a run made a bank that may hold some of the parts of these names: whether an embedding can be made of it.
fn has_banks(run: &RecordedRun, names: &[String]) -> bool {
    let parts = wanted_parts(run.spec.method_name(), names);
    run.stages.iter().any(|stage| parts.iter().any(|part| part.stage == stage.kind))
}

impl Kind for Tsne {
    const NAME: &'static str = "tsne";
    const ABOUT: &'static str = "t-SNE of the rows of a run's banks, coloured by part.";
    const SHARED: Shared = &[
        ("variants", "Variants shown, one panel each; [] = the base."),
        ("seen_anomalies", "Numbers of seen anomalies, one panel each; [] = each variant's largest."),
        ("seed", ""),
    ];
    const VARIANTS: &'static [&'static str] = &[BASE_VARIANT];

    fn schema() -> Json {
        let mut schema = schema_of::<Self>();
        let known = by_name(METHODS.iter().flat_map(|entry| entry.parts), |part| part.name).into_iter();
        let words = known.map(|part| json!({ "description": part.label, "type": "string", "const": part.name }));
        let words: Vec<Json> = words.collect();
        schema["properties"]["parts"]["items"] = json!({ "description": "A part of a run's banks.", "oneOf": words });
        schema
    }

    fn need(&self) -> Option<Need> {
        Some(Need::Embedding(self.wanted()))
    }

    fn draw(&self, selection: &Selection, recorded: &Recorded, notes: &mut Notes) -> Result<Option<Drawing>> {
        let panels = self.panels(selection, recorded, notes)?;
        if panels.is_empty() {
            return Ok(None);
        }
        let all = by_name(panels.iter().flat_map(|panel| &panel.embedding.about.parts), |part| &part.name);
        let mut scene = titled(selection);
        let present = |part: &&&EmbeddedPart| panels.iter().any(|panel| panel.rows_of(part).next().is_some());
        let item = |part: &&EmbeddedPart| {
            let (ink, number) = look(&all, part);
            (Legend::Marker { number, ink: colour(ink) }, part.label.clone())
        };
        legend(&mut scene, &all.iter().filter(present).map(item).collect::<Vec<_>>());
        let columns = columns(&scene, 5.5);
        grid(&mut scene, &panels, columns, |scene, part| panel(scene, part, &all));
        let mut csv = String::from("run,part,row,x,y,kl_divergence\n");
        for panel in &panels {
            let (run, Embedding { points, parts, rows, about }) = (quoted(&panel.run), &panel.embedding);
            for ((point, &part), row) in points.iter().zip(parts).zip(rows) {
                let (name, divergence) = (&about.parts[part as usize].name, &about.note["kl_divergence"]);
                csv += &format!("{run},{name},{row},{},{},{divergence}\n", point[0], point[1]);
            }
        }
        Ok(Some(Drawing::new(scene, csv)))
    }
}

impl Tsne {
    fn wanted(&self) -> WantedEmbedding {
        let Tsne { parts, points, perplexity, epochs } = self.clone();
        WantedEmbedding { parts, points, perplexity, epochs }
    }

    fn panels(&self, selection: &Selection, recorded: &Recorded, notes: &mut Notes) -> Result<Vec<Part>> {
        let shown = notes.shown(selection);
        let mut panels = Vec::new();
        for &spec in &shown {
            let (run, id) = (recorded.finished(spec), spec.id.clone());
            let found = run.map(|run| record::read_embedding(run, &self.wanted())).transpose()?.flatten();
            match found {
                Some(embedding) => {
                    let title = if shown.len() > 1 { run_label(recorded, spec, &shown) } else { String::new() };
                    let (dataset, variant) = (recorded.experiment.names.of(&spec.dataset), &spec.variant);
                    let variant = recorded.experiment.names.of(variant);
                    let seen = spec.protocol.seen.count;
                    let of = format!("{variant} on {dataset}, {seen} seen, seed {} (run {id})", spec.seed);
                    notes.draws(&id);
                    panels.push(Part { title, of, run: id, embedding });
                }
                None if run.is_some_and(|run| !has_banks(run, &self.parts)) => {
                    notes.say(format!("run {id} ({}) has no bank of the wanted parts", spec.variant));
                }
                None => notes.run_makes(format!("the embedding of run {id} ({}) is not recorded", spec.variant)),
            }
        }
        Ok(panels)
    }
}

impl Part {
    fn rows_of(&self, part: &EmbeddedPart) -> impl Iterator<Item = &[f32; 2]> {
        let Embedding { points, parts, about, .. } = &self.embedding;
        let number = about.parts.iter().position(|own| own.name == part.name);
        points.iter().zip(parts).filter(move |(_, own)| Some(**own as usize) == number).map(|(point, _)| point)
    }
}

fn panel(scene: &mut Scene, part: &Part, all: &[&EmbeddedPart]) {
    heading(scene, &part.title, GAP);
    let Embedding { points, about: AboutEmbedding { note, .. }, .. } = &part.embedding;
    let (left, top) = (GAP, scene.height + GAP);
    let (wide, high) = (scene.width - 2.0 * GAP, (scene.width - 2.0 * GAP) * 0.8);
    let range = |axis: usize| extent(points.iter().map(|p| f64::from(p[axis])));
    let ((x_low, x_high), (y_low, y_high)) = (range(0), range(1));
    // One scale for both directions, since distances are what is shown.
    let margin = 2.0 * MARKER;
    let scale =
        ((wide - 2.0 * margin) / (x_high - x_low).max(1e-9)).min((high - 2.0 * margin) / (y_high - y_low).max(1e-9));
    let middle = ((x_low + x_high) / 2.0, (y_low + y_high) / 2.0);
    scene.frame((left, top), (wide, high));
    let half = (180.0 / (points.len() as f64).sqrt()).clamp(4.0, MARKER);
    // Small parts lie over large ones.
    let mut order = all.to_vec();
    order.sort_by_key(|own| std::cmp::Reverse(part.rows_of(own).count()));
    for own in order {
        let (ink, shape) = look(all, own);
        let ink: Ink = colour(ink).mix(0.7);
        for point in part.rows_of(own) {
            let x = left + wide / 2.0 + (f64::from(point[0]) - middle.0) * scale;
            let y = top + high / 2.0 - (f64::from(point[1]) - middle.1) * scale;
            marker(scene, shape, (x, y), half, ink);
        }
    }
    scene.height = top + high + GAP * 0.5;
    let number = |key: &str| note[key].as_f64().unwrap_or(f64::NAN);
    let [shown, all] = ["points", "of"].map(|key| &note[key]);
    let algorithm = note["algorithm"].as_str().unwrap_or("t-SNE");
    let explained = format!("{:.0} % of variance", 100.0 * number("explained"));
    let fit = format!("perplexity {}, KL divergence {:.3}", number("perplexity"), number("kl_divergence"));
    footnote(scene, &format!("{}: {shown} of {all} rows, {algorithm} ({explained}), {fit}.", part.of));
    scene.height += SMALL * 0.2;
}
