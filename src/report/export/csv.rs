//! CSV for programs: everything in full precision, and the one way in which our files quote.

use super::Exporter;
use crate::metrics::bootstrap::Interval;
use crate::report::Rendered;
use crate::report::claims::Checked;
use crate::report::pivot::Cell;
use crate::report::ranking::{Ranked, Ranking};

/// A line of fields as they are written: texts [`quoted`], numbers and our own words plain.
pub fn line<const N: usize>(fields: [String; N]) -> String {
    fields.join(",") + "\n"
}

/// Nothing where there is no value.
pub fn optional(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A text as one field: always in quotes, in one line, with plain spaces.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\"").replace('\n', " · ").replace('\u{a0}', " "))
}

pub struct Csv;

impl Exporter for Csv {
    fn ending(&self) -> Option<&'static str> {
        Some("csv")
    }

    /// Long form: row, column, mean, sd, n.
    fn table(&self, table: &Rendered) -> String {
        let pivot = &table.pivot;
        let mut out = format!("{},column,mean,sd,seeds,reason\n", pivot.dimension.head());
        for (row, cells) in pivot.rows.iter().zip(&pivot.cells) {
            for (column, cell) in pivot.columns.iter().zip(cells) {
                let (mean, sd, seeds) = cell.numbers();
                let reason = match cell {
                    Cell::Value(..) => String::new(),
                    Cell::Partial(.., reason) | Cell::Undefined(reason) | Cell::Failed(reason) => quoted(reason),
                    Cell::Missing => "not run".into(),
                    Cell::Undeclared => "not declared".into(),
                    Cell::Unavailable => "not available".into(),
                };
                let numbers = [optional(mean), optional(sd), seeds.to_string()].join(",");
                out += &line([quoted(row), quoted(&column.label()), numbers, reason]);
            }
        }
        out
    }

    /// All rankings of the table, with what is compared with one variant where the table names one; differences in percent.
    fn beside(&self, table: &Rendered) -> Vec<(&'static str, String)> {
        let names_one = table.rankings.iter().any(|ranking| ranking.against.is_some());
        let mut out = "dataset,metric,rank,variant,mean,sd,seeds,difference,low,high,remark".to_string();
        out += if names_one { ",against\n" } else { "\n" };
        for ranking in &table.rankings {
            let Ranking { dataset, metric, against, places } = ranking;
            for (number, place) in places.iter().enumerate() {
                let difference = ends(place.difference.as_ref().and_then(|evidence| evidence.interval));
                let Ranked { label, mean, sd, seeds, .. } = place;
                let numbers = format!("{mean},{},{seeds}", optional(*sd));
                let rank = if against.is_none() { (number + 1).to_string() } else { String::new() };
                let (metric, remark) = (metric.as_str().into(), quoted(&ranking.remark(place)));
                let mut fields = vec![quoted(dataset), metric, rank, quoted(label), numbers, difference, remark];
                let base = if against.is_some() { ranking.base_of(place) } else { "" };
                fields.extend(names_one.then(|| quoted(base)));
                out += &(fields.join(",") + "\n");
            }
        }
        if table.rankings.is_empty() { Vec::new() } else { vec![("_ranking.csv", out)] }
    }

    fn claims(&self, checked: &[Checked]) -> String {
        let head =
            "text,better,than,dataset,better_seen,than_seen,metric,claimed,difference,low,high,seeds,answer,because\n";
        let row = |Checked { claim, arms: [better, than], evidence, answer, names: _ }: &Checked| {
            let texts =
                [&claim.text, &better.variant, &than.variant, &better.dataset].map(|text| quoted(text)).join(",");
            let seen = format!("{},{}", better.seen, than.seen);
            let (metric, said) = (claim.metric.as_str().into(), answer.as_str().into());
            let numbers =
                format!("{},{},{}", quoted(&claim.said().to_string()), ends(evidence.interval), evidence.seeds);
            line([texts, seen, metric, numbers, said, quoted(&answer.because())])
        };
        head.to_string() + &checked.iter().map(row).collect::<String>()
    }
}

/// Estimate, lower and upper end.
fn ends(interval: Option<Interval>) -> String {
    [interval.map(|i| i.estimate), interval.map(|i| i.low), interval.map(|i| i.high)].map(optional).join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_numbers_whole() {
        let fields = line(["image_ap".into(), quoted("a \"b\"\nc\u{a0}d"), optional(Some(0.1)), optional(None)]);
        assert_eq!(fields, "image_ap,\"a \"\"b\"\" · c d\",0.1,\n");
    }
}
