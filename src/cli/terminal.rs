//! What is known of the terminal, and tables that fit it.

use crate::report;

/// Characters in a line of the terminal; `None` when the output goes elsewhere. `COLUMNS` wins.
pub fn width() -> Option<usize> {
    let named = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|&width| width >= 20);
    let terminal = || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    named.or_else(terminal)
}

/// A table of texts, a column of names and then numbers, in parts where its lines would be longer than the terminal's.
pub fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    report::plain(head, rows, width())
}
