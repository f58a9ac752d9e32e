//! t-SNE of the rows of a run's banks, coloured by part.

use super::canvas::Scene;
use super::panel::{Key, footnote, heading, legend};
use super::style::{Dash, GAP, HAIR, Ink, MARKER, PALE, SMALL, colour, marker};
use super::{Drawing, Notes, grid, quoted, run_label};
use crate::error::Result;
use crate::record::{self, Embedding, Recorded, RecordedRun};
use crate::spec::{BankPart, Tsne};

/// One panel: the embedding of a run.
struct Part {
    title: String,
    run: String,
    embedding: Embedding,
}

fn name(part: BankPart) -> &'static str {
    match part {
        BankPart::Normal => "M_n (normal)",
        BankPart::Outlier => "M_o (outliers)",
        BankPart::Seen => "M_as (seen anomalies)",
        BankPart::Center => "M_p (around their centre)",
    }
}

/// Number of a part's colour and of its marker.
fn look(part: BankPart) -> (usize, usize) {
    match part {
        BankPart::Normal => (6, 3),
        BankPart::Outlier => (0, 0),
        BankPart::Seen => (1, 2),
        BankPart::Center => (2, 1),
    }
}

/// Whether a run made a bank that may hold some of the parts.
fn has_banks(run: &RecordedRun, parts: &[BankPart]) -> bool {
    run.stages.iter().any(|stage| BankPart::of_stage(&stage.kind).iter().any(|part| parts.contains(part)))
}

/// Draws the figure; None where no embedding is recorded.
pub fn draw(recorded: &Recorded, figure: &Tsne, notes: &mut Notes) -> Result<Option<Drawing>> {
    let shown = figure.choice().of(&recorded.experiment.runs);
    if shown.is_empty() {
        notes.say("the experiment has no run of that dataset, variant, number of seen anomalies and seed");
    }
    let mut parts = Vec::new();
    for &spec in &shown {
        let found = match recorded.finished(spec) {
            Some(run) => record::read_embedding(run, figure)?,
            None => None,
        };
        let id = spec.id();
        match found {
            Some(embedding) => {
                let title = if shown.len() > 1 { run_label(spec, &shown) } else { String::new() };
                parts.push(Part { title, run: id, embedding });
            }
            None if recorded.finished(spec).is_some_and(|run| !has_banks(run, &figure.parts)) => {
                notes.say(format!("run {id} ({}) has no bank of the wanted parts", spec.variant));
            }
            None => notes.run_makes(format!("the embedding of run {id} ({}) is not recorded", spec.variant)),
        }
    }
    if parts.is_empty() {
        return Ok(None);
    }
    let mut scene = Scene::new(figure.width_cm);
    heading(&mut scene, &figure.title, GAP);
    let present = |part: &BankPart| {
        let number = *part as u32;
        figure.parts.contains(part) && parts.iter().any(|p| p.embedding.parts.contains(&number))
    };
    let key = |part: &BankPart| {
        let (ink, number) = look(*part);
        (Key::Marker { number, ink: colour(ink) }, name(*part).to_string())
    };
    legend(&mut scene, &BankPart::ALL.iter().filter(|part| present(part)).map(key).collect::<Vec<_>>());
    grid(&mut scene, &parts, (figure.width_cm / 5.5) as usize, panel);
    let mut csv = String::from("run,part,row,x,y,kl_divergence\n");
    for part in &parts {
        let Embedding { points, parts: numbers, rows, note, .. } = &part.embedding;
        for ((point, &number), row) in points.iter().zip(numbers).zip(rows) {
            let name = BankPart::ALL.get(number as usize).map(|part| format!("{part:?}").to_lowercase());
            let (run, name) = (quoted(&part.run), name.unwrap_or_default());
            csv += &format!("{run},{name},{row},{},{},{}\n", point[0], point[1], note["kl_divergence"]);
        }
    }
    Ok(Some(Drawing::new(scene, csv)))
}

fn panel(scene: &mut Scene, part: &Part) {
    heading(scene, &part.title, GAP);
    let Embedding { points, parts: numbers, note, .. } = &part.embedding;
    let (left, top) = (GAP, scene.height + GAP);
    let (wide, high) = (scene.width - 2.0 * GAP, (scene.width - 2.0 * GAP) * 0.8);
    let range = |axis: usize| {
        let low = points.iter().map(|p| f64::from(p[axis])).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(|p| f64::from(p[axis])).fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    };
    let ((x_low, x_high), (y_low, y_high)) = (range(0), range(1));
    // One scale for both directions, since distances are what is shown.
    let margin = 2.0 * MARKER;
    let scale =
        ((wide - 2.0 * margin) / (x_high - x_low).max(1e-9)).min((high - 2.0 * margin) / (y_high - y_low).max(1e-9));
    let middle = ((x_low + x_high) / 2.0, (y_low + y_high) / 2.0);
    let corners = [(left, top), (left + wide, top), (left + wide, top + high), (left, top + high), (left, top)];
    scene.line(corners.to_vec(), PALE, HAIR, Dash::SOLID);
    let half = (180.0 / (points.len() as f64).sqrt()).clamp(4.0, MARKER);
    // Small parts lie over large ones.
    let mut order = BankPart::ALL;
    order.sort_by_key(|part| std::cmp::Reverse(numbers.iter().filter(|n| **n == *part as u32).count()));
    for own in order {
        let (ink, shape) = look(own);
        let ink: Ink = colour(ink).faint(0.7);
        for (point, _) in points.iter().zip(numbers).filter(|(_, number)| **number == own as u32) {
            let x = left + wide / 2.0 + (f64::from(point[0]) - middle.0) * scale;
            let y = top + high / 2.0 - (f64::from(point[1]) - middle.1) * scale;
            marker(scene, shape, (x, y), half, ink);
        }
    }
    scene.height = top + high + GAP * 0.5;
    let number = |key: &str| note[key].as_f64().unwrap_or(f64::NAN);
    footnote(
        scene,
        &format!(
            "{} of {} rows, PCA to {} dimensions ({:.0} % of variance), perplexity {}, KL divergence {:.3}",
            note["points"],
            note["of"],
            note["components"],
            100.0 * number("explained"),
            number("perplexity"),
            number("kl_divergence"),
        ),
    );
    scene.height += SMALL * 0.2;
}
