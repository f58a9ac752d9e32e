//! One page with everything: tables that can be sorted, bars by class, rankings, claims, verdicts, figures, a gallery of test
//! images, settings, costs, provenance, and what is missing. It needs no network and no other file; beside it may lie the small
//! pictures of the gallery, and while a study runs the file that says how far it is.
//!
//! Owns: the page. Does not own: anything on it. The same records give the same bytes, but for a page that is made while a
//! study runs: no clock, no order of listing.

mod classes;
mod figures;
mod gallery;
mod live;
mod notes;
mod provenance;
mod settings;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::claims::Checked;
use super::export::{Exporter, Field, Html, sheet, sortable};
use super::figures::Figures;
use super::verdicts::{HEAD, because, texts};
use super::{Rendered, balance, costs, labels};
use crate::clock;
use crate::error::Result;
use crate::paper::verdict::{Outcome, Verdict, tally};
use crate::record::{Recorded, Status};

const STYLE: &str = include_str!("page.css");
const KEEP: &str = include_str!("keep.js");
const TABLES: &str = include_str!("tables.js");
const GALLERY: &str = include_str!("gallery.js");
const LIVE: &str = include_str!("live.js");

/// What stands on a page.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Contents<'a> {
    pub recorded: &'a Recorded,
    pub tables: &'a [Rendered],
    pub figures: &'a Figures,
    pub claims: &'a [Checked<'a>],
    /// Those on the table that it reproduces; empty = none.
    pub verdicts: &'a [Verdict<'a>],
    /// How far the processes are that are at work; `None` = nobody is, and the page is not made again.
    pub live: Option<&'a Status>,
}

/// The page of an experiment.
///
/// # Errors
/// A damaged table of images.
pub fn page(contents: &Contents) -> Result<String> {
    let Contents { recorded, live, .. } = *contents;
    let experiment = &recorded.experiment;
    let sections = sections(contents)?;
    let has_gallery = sections.iter().any(|(title, content)| *title == "Gallery" && !content.0.is_empty());
    let scripts = [(KEEP, true), (TABLES, true), (GALLERY, has_gallery), (LIVE, live.is_some())];
    // Nothing is no section.
    let sections = || sections.iter().filter(|(_, content)| !content.0.is_empty());
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
                (provenance::summary(recorded))
                @for label in labels::common(recorded) { p.label { "All runs: " (label) } }
                @if let Some(status) = live { (live::panel(recorded, status, clock::milliseconds())) }
                nav aria-label="Sections" { @for (title, _) in sections() { a href={ "#" (anchor(title)) } { (title) } "\n" } }
                @for (title, content) in sections() {
                    "\n" section id=(anchor(title)) { "\n" h2 { (title) } "\n" (content) }
                }
                dialog #large aria-label="The figure, large" { img alt=""; }
                script {
                    "\n" @for (script, _) in scripts.iter().filter(|(_, wanted)| *wanted) { (PreEscaped(script)) }
                    "keep.back();\n"
                }
            }
        }
        "\n"
    };
    Ok(whole.into_string())
}

fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

fn sections(contents: &Contents) -> Result<Vec<(&'static str, Markup)>> {
    let Contents { recorded, tables, figures, claims, verdicts, live } = *contents;
    let claims = if claims.is_empty() { String::new() } else { Html.claims(claims) };
    Ok(vec![
        ("Missing", missing(recorded, figures, live.is_some())),
        ("Tables", notes::tables(recorded, tables)),
        ("By class", classes::bars(recorded)),
        ("Figures", figures::list(figures)),
        ("Claims", PreEscaped(claims)),
        ("Verdicts", verdicts_table(verdicts)),
        ("Gallery", gallery::gallery(recorded)?),
        ("Maps", figures::strips(figures)),
        ("Settings", settings::settings(recorded)),
        ("Bank", bank(recorded)),
        ("Costs", costs(recorded)),
        ("Provenance", provenance::table(recorded)),
    ])
}

fn missing(recorded: &Recorded, figures: &Figures, is_live: bool) -> Markup {
    let mut what = Vec::new();
    // While a study runs they are to come, which its panel says.
    for spec in recorded.lacking().filter(|_| !is_live) {
        what.push(format!("{}: not run ({})", provenance::named(spec), spec.id));
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

fn bank(recorded: &Recorded) -> Markup {
    html! {
        @for (title, own) in balance::sheets(recorded) {
            h3 { (title) } "\n"
            (sheet(&own, Some("How much of each class's patches the bank holds.")))
        }
    }
}

fn costs(recorded: &Recorded) -> Markup {
    let stages = costs::stages(recorded);
    html! {
        @if !stages.rows.is_empty() {
            h3 { "Stages" } "\n"
            (sheet(&stages, Some("Seconds that stages took when they were computed, beside those that were expected. A stage that several runs use was computed once.")))
        }
        @if !recorded.runs.is_empty() {
            h3 { "In use" } "\n"
            (sheet(&costs::in_use(recorded), Some("What the models of each variant cost in use, by the first run of each.")))
            @if let Some(note) = costs::crowded(recorded) { p.small { (note) } }
        }
    }
}
