//! Does a paper agree with itself, and with others? Means against their rows, values printed twice, differences against
//! their operands, orders against the values, values against those of other publications.
//!
//! Owns: the rules of what counts as a finding. Does not own: reading the paper, or showing what was found.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::statements::{Difference, Order, Statements};
use super::verdict::Tolerances;
use super::{MEAN, Printed, PrintedKey, PrintedValue, Published};
use crate::error::{Error, Result};
use crate::spec::MetricName;

/// How far a printed mean may be from the mean of its rows, in percent, when nothing else is asked for: with one
/// decimal everywhere, rounding the rows and rounding the mean can move it by 0.05 each.
pub const MEAN_THRESHOLD: f64 = 0.1;

/// Far below any printed digit, far above what f64 loses on sums of a few percentages.
const EXACT: f64 = 1e-9;

/// What kind of disagreement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disagreement {
    /// A printed mean is not the mean of its rows.
    Mean,
    /// A value stands in two tables, with different numbers.
    Tables,
    /// A printed difference is not that of its operands, or values do not rise as the text says.
    Statement,
    /// Another publication prints another number for the same quantity.
    Source,
}

impl Disagreement {
    /// The word used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Disagreement::Mean => "mean",
            Disagreement::Tables => "tables",
            Disagreement::Statement => "statement",
            Disagreement::Source => "source",
        }
    }
}

/// One disagreement. Numbers are in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Its kind.
    pub kind: Disagreement,
    /// Where it is printed.
    #[serde(rename = "where")]
    pub place: String,
    /// The number as printed.
    pub printed: String,
    /// What the other printed numbers give; for an order, the value that should be the lower one; for another publication,
    /// its number.
    pub recomputed: f64,
    /// Printed minus recomputed.
    pub difference: f64,
    /// How it was recomputed, and what else is known.
    pub evidence: String,
}

impl Finding {
    fn new(kind: Disagreement, place: impl ToString, printed: &Printed, recomputed: f64, evidence: String) -> Self {
        let difference = printed.value() - recomputed;
        Finding { kind, place: place.to_string(), printed: printed.to_string(), recomputed, difference, evidence }
    }
}

/// What an audit looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Printed means held against their rows.
    pub means: usize,
    /// Printed means without rows for every class, which nothing can be held against.
    pub means_without_rows: usize,
    /// Values that stand in more than one table, each counted once.
    pub repeated: usize,
    /// Printed differences and orders.
    pub statements: usize,
    /// Statements about values that the file does not have.
    pub statements_without_values: usize,
    /// Numbers of other publications held against the same quantity here.
    pub sources: usize,
}

/// Result of an audit.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// What disagrees: means, repeated values, statements, other sources, each in the order of its file.
    pub findings: Vec<Finding>,
    /// Numbers of other publications that are of another split or setting, so that nothing contradicts.
    pub apart: Vec<Finding>,
    /// What was looked at.
    pub checked: Checked,
}

/// Audits `published`, what `statements` say of it, and what `second` prints of the same quantities. `threshold` is how far
/// (percent) a mean may be from the mean of its rows; without it, `MEAN_THRESHOLD` or what rounding can explain, whichever
/// is larger. Another publication's number may be as far away as a reproduced one.
pub fn audit(published: &Published, statements: &Statements, second: &Published, threshold: Option<f64>) -> Audit {
    let mut audit = Audit::default();
    audit.means(published, threshold);
    audit.repeated(published);
    audit.statements(published, statements);
    audit.sources(published, second);
    audit
}

/// Refuses statements, written for this file, of which one speaks of a value that is not there.
pub fn require_all(published: &Published, statements: &Statements) -> Result<()> {
    let differences = statements.differences.iter().flat_map(|said| [&said.of, &said.over]);
    let mut named = differences.chain(statements.orders.iter().flat_map(|said| &said.rising));
    let Some(lost) = named.find(|key| published.find(key).is_none()) else { return Ok(()) };
    let what = format!("speaks of {lost}, which {} does not have", published.source().display());
    Err(Error::data(&statements.source, what, "correct the statement, or audit the tables it belongs to"))
}

/// What a printed mean shares with its rows.
type Column<'a> = (&'a str, &'a str, &'a str, &'a str, u32, MetricName);

fn column(key: &PrintedKey) -> Column<'_> {
    (&key.table, &key.dataset, &key.method, &key.variant, key.anomalies_per_class, key.metric)
}

/// The mean of a column's rows, and how far rounding may have moved it from what was rounded to `printed`.
struct RowMean {
    mean: f64,
    rows: usize,
    rounding: f64,
}

/// Means of the rows of every column that has a row for each class that its table has for the dataset. A mean over
/// fewer classes than the printed one would make a false finding.
fn row_means(published: &Published) -> BTreeMap<Column<'_>, RowMean> {
    let mut classes: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut columns: BTreeMap<Column, Vec<&PrintedValue>> = BTreeMap::new();
    for cell in published.cells().iter().filter(|cell| cell.key.class != MEAN) {
        classes.entry((&cell.key.table, &cell.key.dataset)).or_default().insert(&cell.key.class);
        columns.entry(column(&cell.key)).or_default().push(cell);
    }
    columns.retain(|column, rows| classes[&(column.0, column.1)].len() == rows.len());
    let mean = |rows: Vec<&PrintedValue>| {
        let average =
            |of: &dyn Fn(&PrintedValue) -> f64| rows.iter().map(|row| of(row)).sum::<f64>() / rows.len() as f64;
        let below = rows.iter().filter(|row| row.value.value() < 100.0).map(|row| row.value.half_unit());
        let coarsest = below.reduce(f64::max);
        // "100" is how tables write 100.0: it is rounded like the values around it.
        let rounding = |row: &PrintedValue| match coarsest {
            Some(coarsest) if row.value.value() == 100.0 => coarsest,
            _ => row.value.half_unit(),
        };
        RowMean { mean: average(&|row| row.value.value()), rows: rows.len(), rounding: average(&rounding) }
    };
    columns.into_iter().map(|(column, rows)| (column, mean(rows))).collect()
}

/// The mean of the rows below the printed mean `key`, in percent; `None` when a row is missing.
pub fn mean_of_rows(published: &Published, key: &PrintedKey) -> Option<f64> {
    row_means(published).get(&column(key)).map(|rows| rows.mean)
}

impl Audit {
    fn means(&mut self, published: &Published, threshold: Option<f64>) {
        let columns = row_means(published);
        for cell in published.cells().iter().filter(|cell| cell.key.class == MEAN) {
            let Some(rows) = columns.get(&column(&cell.key)) else {
                self.checked.means_without_rows += 1;
                continue;
            };
            self.checked.means += 1;
            let rounding = rows.rounding + cell.value.half_unit();
            let allowed = threshold.unwrap_or(rounding.max(MEAN_THRESHOLD));
            if (cell.value.value() - rows.mean).abs() > allowed + EXACT {
                let evidence = format!("mean of {} printed rows; rounding explains {rounding:.2} at most", rows.rows);
                self.findings.push(Finding::new(Disagreement::Mean, &cell.key, &cell.value, rows.mean, evidence));
            }
        }
    }

    /// Values that are printed more than once, each held against its first place.
    fn repeated(&mut self, published: &Published) {
        let mut places: BTreeMap<PrintedKey, Vec<&PrintedValue>> = BTreeMap::new();
        for cell in published.cells() {
            places.entry(cell.key.quantity()).or_default().push(cell);
        }
        let mut found = Vec::new();
        for cells in places.values().filter(|cells| cells.len() > 1) {
            self.checked.repeated += 1;
            let first = cells[0];
            for again in &cells[1..] {
                let difference = again.value.value() - first.value.value();
                // Printed with different numbers of decimals, both may be right.
                let rounding = match again.value.decimals() == first.value.decimals() {
                    true => 0.0,
                    false => again.value.half_unit().max(first.value.half_unit()),
                };
                if difference.abs() > rounding + EXACT {
                    let evidence = format!("{} prints {}", first.key, first.value);
                    let finding =
                        Finding::new(Disagreement::Tables, &again.key, &again.value, first.value.value(), evidence);
                    found.push((again.line, finding));
                }
            }
        }
        found.sort_by_key(|(line, _)| *line);
        self.findings.extend(found.into_iter().map(|(_, finding)| finding));
    }

    fn statements(&mut self, published: &Published, statements: &Statements) {
        let differences = statements
            .differences
            .iter()
            .map(|said| Some(check_difference(said, published.find(&said.of)?, published.find(&said.over)?)));
        let orders = statements.orders.iter().map(|said| {
            let cells = said.rising.iter().map(|key| published.find(key)).collect::<Option<Vec<_>>>()?;
            Some(check_order(said, &cells))
        });
        for checked in differences.chain(orders) {
            let count = &mut self.checked;
            *(if checked.is_some() { &mut count.statements } else { &mut count.statements_without_values }) += 1;
            self.findings.extend(checked.flatten());
        }
    }

    /// Every number of another publication against the first place of its quantity.
    fn sources(&mut self, published: &Published, second: &Published) {
        let cells = published.cells().iter().rev().map(|cell| (cell.key.quantity(), cell));
        let first: BTreeMap<PrintedKey, &PrintedValue> = cells.collect();
        for other in second.cells() {
            let Some(cell) = first.get(&other.key.quantity()) else { continue };
            let evidence = format!("{} against {}", cell.origin, other.origin);
            let finding = Finding::new(Disagreement::Source, &cell.key, &cell.value, other.value.value(), evidence);
            let differences = cell.origin.differences(&other.origin);
            if differences.iter().any(|[what, ..]| ["split", "setting"].contains(what)) {
                self.apart.push(finding);
                continue;
            }
            self.checked.sources += 1;
            let allowed = Tolerances::default().of(cell.key.metric, &cell.key.class);
            self.findings.extend((finding.difference.abs() > allowed + EXACT).then_some(finding));
        }
    }
}

/// A printed difference must be that of the printed operands, rounded to its own digits. That it might follow from
/// operands before they were rounded is no excuse: a reader has only what is printed.
fn check_difference(said: &Difference, of: &PrintedValue, over: &PrintedValue) -> Option<Finding> {
    let recomputed = of.value.value() - over.value.value();
    let finer = of.value.decimals().max(over.value.decimals()) > said.printed.decimals();
    let rounding = if finer { said.printed.half_unit() } else { 0.0 };
    if (said.printed.value() - recomputed).abs() <= rounding + EXACT {
        return None;
    }
    let mut evidence = format!("{} − {} in {}", of.value, over.value, of.key.table);
    if over.key.table != of.key.table {
        evidence += &format!(" and {}", over.key.table);
    }
    let operand = [of, over].into_iter().find(|cell| cell.value.value() == said.printed.value());
    if let Some(operand) = operand {
        evidence += &format!("; {} is itself {}", said.printed, operand.key);
    }
    Some(Finding::new(Disagreement::Statement, &said.place, &said.printed, recomputed, evidence))
}

/// The first step that does not rise, or that is not within what is said.
fn check_order(said: &Order, cells: &[&PrintedValue]) -> Option<Finding> {
    let rises = |pair: &[&PrintedValue]| pair[1].value.value() - pair[0].value.value();
    let holds = |pair: &[&PrintedValue]| match said.within {
        Some(margin) => rises(pair).abs() <= margin + EXACT,
        None => rises(pair) > 0.0,
    };
    let step = cells.windows(2).find(|pair| !holds(pair))?;
    let [lower, higher] = [step[0], step[1]];
    let not = said.within.map_or("above".into(), |margin| format!("within {margin} of"));
    let evidence = format!("{}, yet {} is not {not} {}", said.says, higher.key, lower.key);
    Some(Finding::new(Disagreement::Statement, &said.place, &higher.value, lower.value.value(), evidence))
}
