//! Tables as text, Markdown and CSV.

use comfy_table::{Cell as TextCell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::Rendered;
use super::pivot::{Cell, Pivot};

/// Lines above, below the head, and below; none between rows.
const LINES: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Renders a table with its title and notes.
pub fn render(pivot: &Pivot, title: &str, notes: &[String]) -> Rendered {
    Rendered { text: text(pivot, title, notes), markdown: markdown(pivot, title, notes), csv: csv(pivot) }
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Value(mean, Some(sd), _) => format!("{:.1} ± {:.1}", mean * 100.0, sd * 100.0),
        Cell::Value(mean, None, _) => format!("{:.1}", mean * 100.0),
        Cell::Undefined(_) => "undefined".into(),
        Cell::Missing => "not run".into(),
    }
}

fn text(pivot: &Pivot, title: &str, notes: &[String]) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Disabled);
    let head = std::iter::once(pivot.row_name.to_string()).chain(pivot.columns.iter().cloned());
    table.set_header(head.enumerate().map(|(i, label)| aligned(i, label)).collect::<Vec<_>>());
    for (row, cells) in pivot.rows.iter().zip(&pivot.cells) {
        let cells = std::iter::once(row.clone()).chain(cells.iter().map(shown));
        table.add_row(cells.enumerate().map(|(i, label)| aligned(i, label)).collect::<Vec<_>>());
    }
    format!("{title}\n{table}\n{}\n", notes.join("\n"))
}

/// A table of texts: a column of names, then numbers.
pub fn plain(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().enumerate().map(|(i, label)| aligned(i, label.to_string())).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row.into_iter().enumerate().map(|(i, label)| aligned(i, label)).collect::<Vec<_>>());
    }
    table.to_string()
}

fn aligned(column: usize, label: String) -> TextCell {
    TextCell::new(label).set_alignment(if column == 0 { CellAlignment::Left } else { CellAlignment::Right })
}

fn markdown(pivot: &Pivot, title: &str, notes: &[String]) -> String {
    let row = |cells: Vec<String>| {
        format!("| {} |\n", cells.iter().map(|c| c.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
    };
    let mut out = format!("### {title}\n\n");
    let columns = pivot.columns.iter().map(|label| label.replace('\n', " · "));
    out += &row(std::iter::once(pivot.row_name.to_string()).chain(columns).collect());
    out += &format!("|---|{}\n", "---:|".repeat(pivot.columns.len()));
    for (label, cells) in pivot.rows.iter().zip(&pivot.cells) {
        out += &row(std::iter::once(label.clone()).chain(cells.iter().map(shown)).collect());
    }
    out += "\n";
    notes.iter().for_each(|note| out += &format!("- {note}\n"));
    out
}

/// Long form: row, column, mean, sd, n, in full precision.
fn csv(pivot: &Pivot) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\"").replace('\n', " · "));
    let mut out = format!("{},column,mean,sd,seeds,reason\n", pivot.row_name);
    for (row, cells) in pivot.rows.iter().zip(&pivot.cells) {
        for (column, cell) in pivot.columns.iter().zip(cells) {
            let rest = match cell {
                Cell::Value(mean, sd, count) => {
                    format!("{mean},{},{count},", sd.map(|sd| sd.to_string()).unwrap_or_default())
                }
                Cell::Undefined(reason) => format!(",,0,{}", quoted(reason)),
                Cell::Missing => ",,0,not run".into(),
            };
            out += &format!("{},{},{rest}\n", quoted(row), quoted(column));
        }
    }
    out
}
