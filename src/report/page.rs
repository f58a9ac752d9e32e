//! One page with everything: tables that can be sorted, rankings, claims, verdicts, figures, maps, costs, provenance,
//! and what is missing. It needs no network and no other file.
//!
//! Owns: the page. Does not own: anything on it. The same records give the same bytes: no clock, no order of listing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::claims::Checked;
use super::export::{Exporter, Field, Html, sortable};
use super::figures::{DrawnFigure, Figures};
use super::verdicts::{HEAD, because, texts};
use super::{Rendered, balance, costs, labels};
use crate::paper::verdict::{Outcome, Verdict, tally};
use crate::record::{Recorded, RecordedRun};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of an experiment. `verdicts` are those on the table that it reproduces; empty = none.
pub fn page(
    recorded: &Recorded,
    tables: &[Rendered],
    figures: &Figures,
    checked: &[Checked],
    verdicts: &[Verdict],
) -> String {
    let experiment = &recorded.experiment;
    let claims = if checked.is_empty() { String::new() } else { Html.claims(checked) };
    let sections = [
        ("Missing", missing(recorded, figures).0),
        ("Tables", tables.iter().map(|table| Html.table(table)).collect()),
        ("Figures", figure_list(figures).0),
        ("Claims", claims),
        ("Verdicts", verdicts_table(verdicts).0),
        ("Maps", gallery(figures).0),
        (
            "Bank",
            match balance::text(recorded) {
                none if none.is_empty() => none,
                text => html! { div.scroll { pre { (text) } } }.0,
            },
        ),
        ("Costs", html! { div.scroll { pre { (costs::text(recorded)) } } }.0),
        ("Provenance", provenance(recorded).0),
    ];
    // Nothing is no section.
    let sections = || sections.iter().filter(|(_, content)| !content.is_empty());
    let whole = html! {
        (DOCTYPE) "\n"
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (experiment.title) }
                style { "\n" (PreEscaped(STYLE)) }
            }
            body {
                h1 { (experiment.title) }
                p { "Experiment " code { (experiment.name) } ": " (recorded.runs.len()) " of " (experiment.runs.len()) " runs recorded." }
                @for label in labels::common(recorded) { p.label { "All runs: " (label) } }
                nav { @for (title, _) in sections() { a href={ "#" (title.to_lowercase()) } { (title) } "\n" } }
                @for (title, content) in sections() {
                    "\n" section id=(title.to_lowercase()) { "\n" h2 { (title) } "\n" (PreEscaped(content)) }
                }
                dialog { img alt=""; }
                script { "\n" (PreEscaped(SCRIPT)) }
            }
        }
        "\n"
    };
    whole.into_string()
}

fn missing(recorded: &Recorded, figures: &Figures) -> Markup {
    let mut what = Vec::new();
    for spec in recorded.experiment.runs.iter().filter(|spec| recorded.missing.contains(&spec.id)) {
        let seen = spec.protocol.seen.count;
        let name = format!("{}, {}, {seen} seen, seed {}", spec.variant, spec.dataset, spec.seed);
        what.push(format!("{name}: not run ({})", spec.id));
    }
    for (run, message) in recorded.runs.iter().filter_map(|run| Some((run, run.failure.as_ref()?))) {
        what.push(format!("{}, seed {}: failed ({}): {message}", run.spec.variant, run.spec.seed, run.id));
    }
    if !recorded.others.is_empty() {
        let others = recorded.others.join(", ");
        what.push(format!("Recorded with other settings than the experiment's, and not shown: {others}"));
    }
    html! { @for what in what.iter().chain(&figures.missing) { p.missing { (what) } "\n" } }
}

fn verdicts_table(verdicts: &[Verdict]) -> Markup {
    let row = |verdict: &&Verdict| {
        let [key, printed, ours, _, interval, difference, tolerance, outcome] = texts(verdict);
        let class = match verdict.outcome {
            Outcome::Reproduced | Outcome::Better => "reproduced",
            Outcome::Worse => "worse",
            _ => "none",
        };
        vec![
            Field::text(key),
            Field::number(printed, Some(verdict.cell.value.value())),
            Field::number(ours, verdict.mean),
            Field::count(verdict.seeds as u64),
            Field::text(interval),
            Field::number(difference, verdict.difference),
            Field::number(tolerance, Some(verdict.tolerance)),
            Field { class, ..Field::text(outcome) },
            Field::long(because(verdict).join("; ")),
        ]
    };
    let (run, not_run): (Vec<&Verdict>, Vec<&Verdict>) = verdicts.iter().partition(|v| v.outcome != Outcome::NotRun);
    html! {
        @if !verdicts.is_empty() {
            p { (tally(verdicts.iter().map(|verdict| &verdict.outcome))) } "\n"
            @if !run.is_empty() { (sortable(&HEAD, run.iter().map(row))) }
            @if !not_run.is_empty() {
                details {
                    summary { "The " (not_run.len()) " that were not run" } "\n"
                    (sortable(&HEAD, not_run.iter().map(row)))
                }
            }
        }
    }
}

/// An image inside the page, which opens large.
fn embedded(bytes: &[u8], kind: &str, caption: &str) -> Markup {
    html! {
        figure {
            button { img alt=(caption) src={ "data:image/" (kind) ";base64," (BASE64.encode(bytes)) }; }
            figcaption { (caption) }
        }
        "\n"
    }
}

fn figure_list(figures: &Figures) -> Markup {
    let caption = |figure: &DrawnFigure| match figure.title.as_str() {
        "" => format!("Figure {}", figure.number),
        title => format!("Figure {}: {title}", figure.number),
    };
    html! {
        @if !figures.drawn.is_empty() {
            div.grid { "\n" @for own in &figures.drawn { (embedded(own.svg.as_bytes(), "svg+xml", &caption(own))) } }
        }
    }
}

/// The pictures of all grids of maps, one strip for each test image.
fn gallery(figures: &Figures) -> Markup {
    html! {
        @for strip in figures.drawn.iter().flat_map(|figure| &figure.strips) {
            h3 { (strip.caption) } "\n"
            div.gallery { "\n" @for (label, png) in &strip.pictures { (embedded(png, "png", label)) } } "\n"
        }
    }
}

fn provenance(recorded: &Recorded) -> Markup {
    let head = "run,variant,dataset,seen,seed,labels,version,revision,device,processor,threads,jobs,seconds,peak GB,dataset digest,weights digest";
    let head: Vec<&str> = head.split(',').collect();
    let row = |run: &RecordedRun| {
        let text = |path: &[&str]| match run.value(path) {
            Some(toml::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "–".into(),
        };
        let number = |path: &[&str]| run.value(path).and_then(|v| v.as_float().or(v.as_integer().map(|i| i as f64)));
        let scaled = |path: &[&str], scale: f64| match number(path) {
            Some(value) => Field::number(format!("{:.1}", value * scale), Some(value)),
            None => Field::text("–"),
        };
        let digest = |text: &str| Field::text(text.chars().take(16).collect::<String>());
        let dirty = run.value(&["environment", "git_dirty"]).and_then(toml::Value::as_bool) == Some(true);
        let revision: String = text(&["environment", "git_revision"]).chars().take(12).collect();
        vec![
            Field::text(&run.id),
            Field::text(&run.spec.variant),
            Field::text(&run.spec.dataset),
            Field::count(run.spec.protocol.seen.count as u64),
            Field::count(run.spec.seed),
            Field::long(run.failure.as_ref().map_or_else(|| run.labels.join("; "), |why| format!("failed: {why}"))),
            Field::text(text(&["environment", "crate_version"])),
            Field::text(if dirty { format!("{revision} with changes") } else { revision }),
            Field::text(text(&["provenance", "device"])),
            Field::text(text(&["environment", "cpu"])),
            Field::number(text(&["provenance", "threads"]), number(&["provenance", "threads"])),
            Field::number(text(&["provenance", "jobs"]), number(&["provenance", "jobs"])),
            scaled(&["provenance", "wall_seconds"], 1.0),
            scaled(&["provenance", "peak_memory_bytes"], 1e-9),
            digest(&run.dataset_digest),
            digest(&run.weights_digest),
        ]
    };
    sortable(&head, recorded.runs.iter().map(row))
}
