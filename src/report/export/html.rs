//! HTML for the page: tables that can be sorted by their columns.

use maud::{Markup, html};

use super::{Exporter, Sheet};
use crate::report::Rendered;
use crate::report::claims::{self, Checked};
use crate::report::marks::{Mark, marks};
use crate::report::pivot::{Cell, Pivot};

pub struct Html;

impl Exporter for Html {
    fn table(&self, table: &Rendered) -> String {
        titled(&table.title, table, &table.notes.iter().collect::<Vec<_>>()).into_string()
    }

    fn claims(&self, checked: &[Checked]) -> String {
        let head = ["claim", "compared", "metric", "claimed", "difference [95 %]", "seeds", "answer", "because"];
        let row = |item: &Checked| {
            let [claim, compared, metric, claimed, difference, _, answer, because] = item.row();
            let class = match answer.as_str() {
                "supported" => "supported",
                "not supported" => "not-supported",
                _ => "",
            };
            let estimate = item.evidence.interval.map(|interval| interval.estimate);
            vec![
                Field::long(claim),
                Field::long(compared),
                Field::text(metric),
                Field::text(claimed),
                Field::number(difference, estimate),
                Field::count(item.evidence.seeds as u64),
                Field { class, ..Field::text(answer) },
                Field::long(because),
            ]
        };
        html! { p { (claims::NOTE) } "\n" (sortable(&head, checked.iter().map(row))) }.into_string()
    }
}

/// A table with its rankings under a title, and these notes below it.
pub fn titled(title: &str, table: &Rendered, notes: &[&String]) -> Markup {
    html! {
        h3 { (title) } "\n"
        (pivot(&table.pivot))
        @for (title, own) in table.rankings.iter().map(|ranking| (ranking.title(), ranking.sheet())) {
            h3 { (title) } "\n"
            (sheet(&own, None))
        }
        @if !notes.is_empty() { ul.notes { @for note in notes { li { (note) } } } "\n" }
    }
}

pub struct Field {
    pub text: String,
    /// What it is sorted by, where that is a number.
    pub value: Option<f64>,
    /// How it looks; empty = plain.
    pub class: &'static str,
}

impl Field {
    pub fn text(text: impl Into<String>) -> Self {
        Field { text: text.into(), value: None, class: "" }
    }

    pub fn number(text: impl Into<String>, value: Option<f64>) -> Self {
        Field { text: text.into(), value, class: "" }
    }

    pub fn count(count: u64) -> Self {
        Field::number(count.to_string(), Some(count as f64))
    }

    pub fn long(text: impl Into<String>) -> Self {
        Field { text: text.into(), value: None, class: "text" }
    }
}

pub fn sortable<S: AsRef<str>>(head: &[S], rows: impl Iterator<Item = Vec<Field>>) -> Markup {
    captioned(None, head, rows)
}

/// Texts as a table; what begins with a number is sorted by it.
pub fn sheet(own: &Sheet, caption: Option<&str>) -> Markup {
    captioned(caption, &own.head, own.rows.iter().cloned().map(ranked))
}

fn captioned<S: AsRef<str>>(caption: Option<&str>, head: &[S], rows: impl Iterator<Item = Vec<Field>>) -> Markup {
    let lines = |label: &S| label.as_ref().split('\n').map(str::to_string).enumerate().collect::<Vec<_>>();
    html! {
        div.scroll { table.sortable {
            @if let Some(caption) = caption { caption { (caption) } }
            thead { tr { @for label in head {
                th scope="col" { @for (number, line) in lines(label) { @if number > 0 { br; } (line) } }
            } } }
            tbody { "\n" @for row in rows { tr { @for Field { text, value, class } in row {
                td class=[(!class.is_empty()).then_some(class)] data-value=[value] { (text) }
            } } "\n" } }
        } } "\n"
    }
}

/// Texts of a ranking; what begins with a number is sorted by it.
fn ranked(cells: Vec<String>) -> Vec<Field> {
    let number = |text: &str| text.split(' ').next().and_then(|first| first.parse().ok());
    cells.into_iter().map(|text| Field::number(text.clone(), number(&text))).collect()
}

fn pivot(pivot: &Pivot) -> Markup {
    let field = |(cell, mark): (&Cell, &Mark)| {
        let class = match (cell, mark) {
            (Cell::Value(..), Mark::Best) => "best",
            (Cell::Value(..), Mark::Second) => "second",
            (Cell::Value(..) | Cell::Partial(..), _) => "",
            _ => "none",
        };
        Field { text: cell.shown(), value: cell.numbers().0, class }
    };
    let marks = marks(pivot);
    let row = |((label, cells), marks): ((&String, &Vec<Cell>), &Vec<Mark>)| {
        let first = Field::number(label.clone(), label.parse().ok());
        std::iter::once(first).chain(cells.iter().zip(marks).map(field)).collect()
    };
    let caption = caption(pivot);
    captioned(Some(&caption), &pivot.sheet().head, pivot.rows.iter().zip(&pivot.cells).zip(&marks).map(row))
}

/// What a table's rows, numbers and marks are.
fn caption(pivot: &Pivot) -> String {
    let several = pivot.cells.iter().flatten().any(|cell| matches!(cell, Cell::Value(_, Some(_), _)));
    let numbers = if several { "Percent, mean ± standard deviation over seeds" } else { "Percent" };
    let marked = marks(pivot).iter().flatten().any(|mark| *mark != Mark::None);
    let marked = if marked { "; the best in bold, the second underlined" } else { "" };
    format!("{numbers}, by {}{marked}. A click on a head sorts.", pivot.dimension.axis())
}
