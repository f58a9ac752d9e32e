//! The tables with their notes: what holds for several stands once, below all of them.

use maud::{Markup, html};

use crate::record::Recorded;
use crate::report::Rendered;
use crate::report::export::titled;
use crate::report::frame::groups;
use crate::report::labels::common;

/// All tables, numbered.
pub fn tables(recorded: &Recorded, tables: &[Rendered]) -> Markup {
    // What labels all runs stands at the top of the page.
    let said: Vec<String> = common(recorded).iter().map(|label| format!("All runs: {label}.")).collect();
    let all = tables.iter().enumerate().flat_map(|(table, own)| own.notes.iter().map(move |note| (note, table)));
    let all = groups(all.filter(|(note, _)| !said.contains(note)));
    let of = |table: usize| -> Vec<&String> {
        all.iter().filter(|(_, tables)| *tables == [table]).map(|(note, _)| *note).collect()
    };
    let shared: Vec<String> = all
        .iter()
        .filter(|(_, own)| own.len() > 1)
        .map(|(note, own)| match own.len() == tables.len() {
            true => note.to_string(),
            false => format!("{}: {note}", listed(own)),
        })
        .collect();
    html! {
        @for (number, table) in tables.iter().enumerate() {
            (titled(&format!("Table {}: {}", number + 1, table.title), table, &of(number)))
        }
        @if !shared.is_empty() {
            h3 { "Notes on the tables" } "\n"
            ul.notes { @for note in &shared { li { (note) } } } "\n"
        }
    }
}

/// "Tables 1, 2 and 4".
fn listed(places: &[usize]) -> String {
    let numbers: Vec<String> = places.iter().map(|place| (place + 1).to_string()).collect();
    match numbers.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("Tables {} and {last}", rest.join(", ")),
        _ => format!("Table {}", numbers.concat()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn tables_are_listed_as_people_do() {
        assert_eq!(super::listed(&[0, 1, 3]), "Tables 1, 2 and 4");
        assert_eq!(super::listed(&[1]), "Table 2");
    }
}
