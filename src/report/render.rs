//! Tables as text, Markdown and CSV.

use comfy_table::{Cell as TextCell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::pivot::{Cell, Pivot, name};

/// Lines above, below the head, and below; none between rows.
const LINES: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// A cell in percent with one decimal, or why there is no number.
pub fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Value(mean, Some(sd), _) => format!("{:.1} ± {:.1}", mean * 100.0, sd * 100.0),
        Cell::Value(mean, None, _) => format!("{:.1}", mean * 100.0),
        Cell::Partial(mean, sd, count, _) => format!("{}*", shown(&Cell::Value(*mean, *sd, *count))),
        Cell::Undefined(_) => "undefined".into(),
        Cell::Missing => "not run".into(),
        Cell::Undeclared => "–".into(),
        Cell::Unavailable => "not available".into(),
    }
}

/// The table for a terminal of `width` characters: whole where it fits; else one block per metric, and those in as many
/// parts as they need.
pub fn text(pivot: &Pivot, width: Option<usize>) -> String {
    let whole = block(pivot);
    if fits(&whole, width) {
        return whole;
    }
    let mut metrics = Vec::new();
    for column in &pivot.columns {
        if !metrics.contains(&column.metric) {
            metrics.push(column.metric);
        }
    }
    let of = |metric| (0..pivot.columns.len()).filter(move |&c| pivot.columns[c].metric == metric);
    metrics
        .into_iter()
        .flat_map(|metric| parts(pivot, &of(metric).collect::<Vec<_>>(), width))
        .collect::<Vec<_>>()
        .join("\n")
}

/// As many columns in each part as fit, at least one.
fn parts(pivot: &Pivot, columns: &[usize], width: Option<usize>) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = columns;
    while !rest.is_empty() {
        let most = (1..=rest.len()).rev().find(|&count| fits(&block(&pivot.with_columns(&rest[..count])), width));
        let (part, after) = rest.split_at(most.unwrap_or(1));
        parts.push(block(&pivot.with_columns(part)));
        rest = after;
    }
    parts
}

fn fits(block: &str, width: Option<usize>) -> bool {
    width.is_none_or(|width| block.lines().all(|line| line.trim_end().chars().count() <= width))
}

fn block(pivot: &Pivot) -> String {
    let labels: Vec<String> = pivot.columns.iter().map(|column| column.label()).collect();
    let head: Vec<&str> = std::iter::once(name(pivot.dimension)).chain(labels.iter().map(String::as_str)).collect();
    let rows = pivot.rows.iter().zip(&pivot.cells);
    plain(&head, rows.map(|(row, cells)| std::iter::once(row.clone()).chain(cells.iter().map(shown)).collect()))
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

/// A Markdown table: the first column left, the others right.
pub fn aligned_markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let row = |cells: Vec<&str>| {
        format!("| {} |\n", cells.iter().map(|c| c.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
    };
    let mut out = row(head.to_vec());
    out += &format!("|---|{}\n", "---:|".repeat(head.len() - 1));
    rows.iter().for_each(|cells| out += &row(cells.iter().map(String::as_str).collect()));
    out
}

/// The table for a document.
pub fn markdown(pivot: &Pivot, title: &str, notes: &[String]) -> String {
    let labels: Vec<String> = pivot.columns.iter().map(|column| column.label().replace('\n', " · ")).collect();
    let head: Vec<&str> = std::iter::once(name(pivot.dimension)).chain(labels.iter().map(String::as_str)).collect();
    let rows: Vec<Vec<String>> = pivot
        .rows
        .iter()
        .zip(&pivot.cells)
        .map(|(label, cells)| std::iter::once(label.clone()).chain(cells.iter().map(shown)).collect())
        .collect();
    let mut out = format!("### {}\n\n{}\n", title.replace('\n', " "), aligned_markdown(&head, &rows));
    notes.iter().for_each(|note| out += &format!("- {note}\n"));
    out
}

/// A text as one field of a CSV file.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\"").replace('\n', " · "))
}

/// Long form: row, column, mean, sd, n, in full precision.
pub fn csv(pivot: &Pivot) -> String {
    let mut out = format!("{},column,mean,sd,seeds,reason\n", name(pivot.dimension));
    for (row, cells) in pivot.rows.iter().zip(&pivot.cells) {
        for (column, cell) in pivot.columns.iter().zip(cells) {
            let rest = match cell {
                Cell::Value(mean, sd, count) => {
                    format!("{mean},{},{count},", sd.map(|sd| sd.to_string()).unwrap_or_default())
                }
                Cell::Partial(mean, sd, count, reason) => {
                    let sd = sd.map(|sd| sd.to_string()).unwrap_or_default();
                    format!("{mean},{sd},{count},{}", quoted(reason))
                }
                Cell::Undefined(reason) => format!(",,0,{}", quoted(reason)),
                Cell::Missing => ",,0,not run".into(),
                Cell::Undeclared => ",,0,not declared".into(),
                Cell::Unavailable => ",,0,not available".into(),
            };
            out += &format!("{},{},{rest}\n", quoted(row), quoted(&column.label()));
        }
    }
    out
}
