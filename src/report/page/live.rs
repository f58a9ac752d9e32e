//! The panel of a page that is made while a study runs.

use maud::{Markup, html};

use super::provenance::named;
use crate::record::{ProcessStatus, Recorded, Status};

/// How far the processes are, as of when the page was `made` (milliseconds since 1970); the page's script keeps it up to date.
pub fn panel(recorded: &Recorded, status: &Status, made: u64) -> Markup {
    html! {
        div #live role="region" aria-label="Progress" data-made=(made) {
            h2 { @if status.is_live() { "Running" } @else { "Not at its end" } }
            div.told { @for process in &status.processes { (told(process)) } }
            p.small.renews { @if status.is_live() { "The page renews itself while the study runs." } @else {
                "Nobody is at work. The same command goes on where it was, and this page with it."
            } }
            @if !recorded.missing.is_empty() {
                details { summary { "Runs to come" }
                    ul { @for spec in recorded.lacking() { li { (named(spec)) " (" (spec.id) ")" } } }
                }
            }
        }
        "\n"
    }
}

/// Until the script has heard more.
fn told(process: &ProcessStatus) -> Markup {
    let runs = process.runs;
    let ended = runs.done + runs.current + runs.failed;
    html! {
        p.counts { (ended) " of " (runs.total) " runs" @if runs.failed > 0 { " · " (runs.failed) " failed" } }
        progress max=(runs.total.max(1)) value=(ended) aria-label="runs that have ended" {}
        p.small { "dmad " (process.command) " · " (process.host) " · since " (process.started) }
    }
}
