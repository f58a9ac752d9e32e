//! CSV for programs: everything in full precision, and the one way in which our files quote.

use super::Exporter;
use crate::metrics::bootstrap::Interval;
use crate::report::Rendered;
use crate::report::claims::Checked;
use crate::report::pivot::Cell;
use crate::report::ranking::{Ranked, Ranking};

/// A field of a CSV file.
pub trait Field {
    fn written(&self) -> String;
}

/// A word of ours, which needs no quotes.
pub struct Word<'a>(pub &'a str);

impl Field for Word<'_> {
    fn written(&self) -> String {
        self.0.into()
    }
}

impl Field for str {
    fn written(&self) -> String {
        quoted(self)
    }
}

impl Field for String {
    fn written(&self) -> String {
        quoted(self)
    }
}

impl<T: Field + ?Sized> Field for &T {
    fn written(&self) -> String {
        (*self).written()
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    fn written(&self) -> String {
        self.each_ref().map(Field::written).join(",")
    }
}

/// Nothing where there is no value.
impl<T: Field> Field for Option<T> {
    fn written(&self) -> String {
        self.as_ref().map(Field::written).unwrap_or_default()
    }
}

macro_rules! number {
    ($($number:ty),*) => {
        $(impl Field for $number {
            fn written(&self) -> String {
                self.to_string()
            }
        })*
    };
}
number!(f64, u64, usize);

pub fn line(fields: &[&dyn Field]) -> String {
    fields.iter().map(|field| field.written()).collect::<Vec<_>>().join(",") + "\n"
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
                let reason: &dyn Field = match cell {
                    Cell::Value(..) => &Word(""),
                    Cell::Partial(.., reason) | Cell::Undefined(reason) => reason,
                    Cell::Missing => &Word("not run"),
                    Cell::Undeclared => &Word("not declared"),
                    Cell::Unavailable => &Word("not available"),
                };
                out += &line(&[row, &column.label(), &mean, &sd, &seeds, reason]);
            }
        }
        out
    }

    /// All rankings of the table; differences in percent.
    fn beside(&self, table: &Rendered) -> Option<(&'static str, String)> {
        let mut out = "dataset,metric,rank,variant,mean,sd,seeds,difference,low,high,remark\n".to_string();
        for Ranking { dataset, metric, places } in &table.rankings {
            for (number, place) in places.iter().enumerate() {
                let to_best = ends(place.to_best.as_ref().and_then(|evidence| evidence.interval));
                let Ranked { label, mean, sd, seeds, .. } = place;
                let (metric, rank, remark) = (Word(metric.as_str()), number + 1, place.remark());
                out += &line(&[dataset, &metric, &rank, label, mean, sd, seeds, &to_best, &remark]);
            }
        }
        (!table.rankings.is_empty()).then_some(("_ranking.csv", out))
    }

    fn claims(&self, checked: &[Checked]) -> String {
        let head =
            "text,better,than,dataset,better_seen,than_seen,metric,gain,difference,low,high,seeds,answer,because\n";
        let row = |Checked { claim, arms: [better, than], evidence, answer }: &Checked| {
            let texts = [&claim.text, &better.variant, &than.variant, &better.dataset];
            let (metric, said, because) = (Word(claim.metric.as_str()), Word(answer.as_str()), answer.because());
            let (seen, difference) = ([better.seen, than.seen], ends(evidence.interval));
            line(&[&texts, &seen, &metric, &claim.gain, &difference, &evidence.seeds, &said, &because])
        };
        head.to_string() + &checked.iter().map(row).collect::<String>()
    }
}

/// Estimate, lower and upper end.
fn ends(interval: Option<Interval>) -> [Option<f64>; 3] {
    [interval.map(|i| i.estimate), interval.map(|i| i.low), interval.map(|i| i.high)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_and_numbers_whole() {
        let none: Option<f64> = None;
        let fields = line(&[&Word("image_ap"), &"a \"b\"\nc\u{a0}d", &0.1f64, &none, &Some(3usize)]);
        assert_eq!(fields, "image_ap,\"a \"\"b\"\" · c d\",0.1,,3\n");
    }
}
