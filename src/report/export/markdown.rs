//! Markdown for documents.

use super::{Exporter, Sheet};
use crate::report::Rendered;
use crate::report::claims::{self, Checked};

pub struct Markdown;

impl Exporter for Markdown {
    fn ending(&self) -> Option<&'static str> {
        Some("md")
    }

    fn table(&self, table: &Rendered) -> String {
        let mut sheet = table.pivot.sheet();
        sheet.head.iter_mut().for_each(|label| *label = label.replace('\n', " · "));
        let mut out = format!("### {}\n\n{}\n", table.title.replace('\n', " "), aligned(&sheet));
        table.notes.iter().for_each(|note| out += &format!("- {note}\n"));
        for ranking in &table.rankings {
            out += &format!("\n#### {}\n\n{}", ranking.title(), aligned(&ranking.sheet()));
        }
        out
    }

    fn claims(&self, checked: &[Checked]) -> String {
        format!("### Claims\n\n{}\n{}\n", aligned(&claims::sheet(checked)), claims::NOTE)
    }
}

/// The first column left, the others right.
fn aligned(sheet: &Sheet) -> String {
    let row = |cells: &Vec<String>| {
        let plain = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        format!("| {} |\n", plain.collect::<Vec<_>>().join(" | "))
    };
    let rule = format!("|---|{}\n", "---:|".repeat(sheet.head.len() - 1));
    row(&sheet.head) + &rule + &sheet.rows.iter().map(row).collect::<String>()
}
