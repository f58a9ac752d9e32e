//! Which numbers of a table are the best and the second of those that compete.

use super::frame::groups;
use super::pivot::{Cell, Column, Pivot};
use crate::spec::Dimension;

/// The place of a number among those that compete with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The highest, or equal to it as shown.
    Best,
    /// The next.
    Second,
    /// None of these, or alone.
    None,
}

/// Which numbers compete: methods or variants under one metric and otherwise equal conditions. Where they are the rows,
/// down each column; else along each row, seen anomalies apart when methods are beside them. What is shown as equal is
/// marked alike.
pub fn marks(pivot: &Pivot) -> Vec<Vec<Mark>> {
    let mut marks = vec![vec![Mark::None; pivot.columns.len()]; pivot.rows.len()];
    let value = |row: usize, column: usize| match pivot.cells[row][column] {
        // As shown, so that what is shown as equal is marked alike.
        Cell::Value(mean, ..) => format!("{:.1}", 100.0 * mean).parse().ok().map(|s: f64| (10.0 * s).round() as i64),
        _ => None,
    };
    let down = match pivot.dimension {
        Dimension::Method | Dimension::Variant => true,
        Dimension::SeenAnomalies | Dimension::Setting(_) => !are_beside(pivot),
        _ => false,
    };
    let groups: Vec<Vec<(usize, usize)>> = if down {
        (0..pivot.columns.len()).map(|column| (0..pivot.rows.len()).map(|row| (row, column)).collect()).collect()
    } else {
        (0..pivot.rows.len())
            .flat_map(|row| column_groups(pivot).into_iter().map(move |g| g.into_iter().map(|c| (row, c)).collect()))
            .collect()
    };
    for group in groups {
        let mut ranked: Vec<i64> = group.iter().filter_map(|&(row, column)| value(row, column)).collect();
        if ranked.len() < 2 {
            continue;
        }
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        ranked.dedup();
        for (row, column) in group {
            marks[row][column] = match value(row, column) {
                Some(own) if own == ranked[0] => Mark::Best,
                Some(own) if ranked.get(1) == Some(&own) => Mark::Second,
                _ => Mark::None,
            };
        }
    }
    marks
}

/// Whether methods or variants are in the columns.
fn are_beside(pivot: &Pivot) -> bool {
    let is = |(dimension, _): &(Dimension, String)| matches!(dimension, Dimension::Method | Dimension::Variant);
    pivot.columns.iter().any(|column| column.head.iter().any(is))
}

/// Columns that compete with each other.
fn column_groups(pivot: &Pivot) -> Vec<Vec<usize>> {
    let by_method = are_beside(pivot);
    let held = |dimension: &Dimension| match dimension {
        Dimension::Method | Dimension::Variant => false,
        Dimension::SeenAnomalies => by_method,
        _ => true,
    };
    let conditions = |column: &Column| {
        let kept = column.head.iter().filter(|(dimension, _)| held(dimension)).cloned();
        (column.metric, kept.collect::<Vec<_>>())
    };
    let columns = pivot.columns.iter().enumerate().map(|(number, column)| (conditions(column), number));
    groups(columns).into_iter().map(|(_, numbers)| numbers).collect()
}
