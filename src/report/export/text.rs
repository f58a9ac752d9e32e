//! Text for terminals.

use std::ops::Range;

use comfy_table::{Cell as TextCell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};

use super::{Exporter, Sheet};
use crate::console::folded;
use crate::report::Rendered;
use crate::report::claims::{self, Checked};
use crate::report::frame::distinct;
use crate::report::pivot::Pivot;

/// Lines above, below the head, and below; none between rows.
const LINES: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// The form, for a terminal of `width` characters; `None` = of any width.
pub struct Text {
    /// Characters in a line.
    pub width: Option<usize>,
}

impl Exporter for Text {
    fn table(&self, table: &Rendered) -> String {
        self.table_but(table, &[])
    }

    /// A block per claim, which fits any width.
    fn claims(&self, checked: &[Checked]) -> String {
        let mut out = format!("Claims. {}\n", claims::NOTE);
        let mut last = "";
        for item in checked {
            if item.claim.text != last {
                out += &format!("\n{}\n", item.claim.text);
                last = &item.claim.text;
            }
            let [_, compared, metric, claimed, difference, seeds, answer, because] = item.row();
            let because = if because.is_empty() { because } else { format!(" ({because})") };
            out += &format!("  {answer}{because}\n    {compared}: {metric} {difference}, ");
            out += &format!("claimed {claimed}, seeds: {seeds}\n");
        }
        out
    }
}

impl Text {
    /// A table without the notes that stand below an earlier one.
    pub fn table_but(&self, table: &Rendered, told: &[&String]) -> String {
        let rankings = table.rankings.iter().map(|own| format!("{}\n{}\n\n", own.title(), whole(&own.sheet())));
        let (cells, rankings) = (pivot(&table.pivot, self.width), rankings.collect::<String>());
        let new: Vec<&String> = table.notes.iter().filter(|note| !told.contains(note)).collect();
        let mut notes: Vec<String> = new.iter().map(|note| folded(note, self.width)).collect();
        notes.extend((new.len() < table.notes.len()).then(|| "Other notes as above.".into()));
        format!("{}\n{cells}\n{rankings}{}\n", table.title, notes.join("\n"))
    }
}

/// Whole where it fits; else one block per metric, and those in as many parts as they need.
fn pivot(pivot: &Pivot, width: Option<usize>) -> String {
    let block = whole(&pivot.sheet());
    if fits(&block, width) {
        return block;
    }
    let metrics = distinct(pivot.columns.iter().map(|column| column.metric));
    let of = |metric| (0..pivot.columns.len()).filter(move |&c| pivot.columns[c].metric == metric);
    let blocks = metrics.into_iter().flat_map(|metric| parts(pivot, &of(metric).collect::<Vec<_>>(), width));
    blocks.collect::<Vec<_>>().join("\n")
}

/// As many columns in each part as fit, at least one.
fn parts(pivot: &Pivot, columns: &[usize], width: Option<usize>) -> Vec<String> {
    let part_of = |columns: &[usize]| whole(&pivot.with_columns(columns).sheet());
    let mut parts = Vec::new();
    let mut rest = columns;
    while !rest.is_empty() {
        let most = (1..=rest.len()).rev().find(|&count| fits(&part_of(&rest[..count]), width));
        let (part, after) = rest.split_at(most.unwrap_or(1));
        parts.push(part_of(part));
        rest = after;
    }
    parts
}

fn fits(block: &str, width: Option<usize>) -> bool {
    width.is_none_or(|width| block.lines().all(|line| line.trim_end().chars().count() <= width))
}

fn whole(sheet: &Sheet) -> String {
    plain(&sheet.head.iter().map(String::as_str).collect::<Vec<_>>(), sheet.rows.iter().cloned(), None)
}

/// A table of texts: a column of names, then numbers. Where its lines would be longer than `width`, it comes in as many parts as it
/// needs, each behind the first column, so that nothing that somebody wants to copy is broken.
pub fn plain(head: &[&str], rows: impl Iterator<Item = Vec<String>>, width: Option<usize>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    let part = |columns: &[usize]| {
        let chosen = |row: &[String]| columns.iter().map(|&column| row[column].clone()).collect::<Vec<_>>();
        let head: Vec<String> = head.iter().map(|label| label.to_string()).collect();
        let rows = rows.iter().map(|row| aligned(chosen(row), |column| column > 0));
        set(LINES, aligned(chosen(&head), |column| column > 0), rows).to_string()
    };
    let all: Vec<usize> = (0..head.len()).collect();
    let whole = part(&all);
    if fits(&whole, width) {
        return whole;
    }
    let (mut parts, mut rest) = (Vec::new(), &all[1..]);
    while !rest.is_empty() {
        let behind = |count: usize| [&all[..1], &rest[..count]].concat();
        let most = (1..=rest.len()).rev().find(|&count| fits(&part(&behind(count)), width)).unwrap_or(1);
        parts.push(part(&behind(most)));
        rest = &rest[most..];
    }
    parts.join("\n")
}

/// A table of texts with a line between all rows; the columns of `numbers` are on the right, the others on the left.
pub fn ruled(head: &[&str], numbers: Range<usize>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(TextCell::new).collect();
    let rows = rows.map(|row| aligned(row, |column| numbers.contains(&column)));
    set(presets::UTF8_HORIZONTAL_ONLY, head, rows).to_string()
}

fn aligned(row: Vec<String>, on_the_right: impl Fn(usize) -> bool) -> Vec<TextCell> {
    let side = |column| if on_the_right(column) { CellAlignment::Right } else { CellAlignment::Left };
    row.into_iter().enumerate().map(|(column, text)| TextCell::new(text).set_alignment(side(column))).collect()
}

fn set(style: TableStyle, head: Vec<TextCell>, rows: impl Iterator<Item = Vec<TextCell>>) -> Table {
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Disabled).set_header(head).add_rows(rows);
    table
}
