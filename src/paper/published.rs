//! The tables of the paper, one printed value per row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Printed;
use crate::error::{Error, Result};
use crate::spec::MetricName;

/// The values of DMAD (arXiv 2403.12362v1), as they are in the repository.
pub const EMBEDDED: &str = include_str!("../../paper/published.csv");
/// Class of the printed means over classes.
pub const MEAN: &str = "mean";

const COLUMNS: [&str; 8] = ["table", "dataset", "class", "method", "variant", "anomalies_per_class", "metric", "value"];

/// What names a printed value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrintedKey {
    /// `table1` to `table5`.
    pub table: String,
    /// Dataset, as the catalog calls it.
    pub dataset: String,
    /// Class, or "mean".
    pub class: String,
    /// Method.
    pub method: String,
    /// `full`, an ablation (Table 4), or the kind of supervision (Table 5).
    pub variant: String,
    /// Seen anomalies per class.
    pub anomalies_per_class: u32,
    /// Metric.
    pub metric: MetricName,
}

impl std::fmt::Display for PrintedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PrintedKey { table, dataset, class, method, variant, anomalies_per_class, metric } = self;
        let variant = if variant == "full" { String::new() } else { format!(" {variant}") };
        write!(f, "{table} {dataset} {class} {method}{variant} {anomalies_per_class} {}", metric.as_str())
    }
}

/// One printed value.
#[derive(Clone, Debug, PartialEq)]
pub struct PrintedValue {
    /// Where it is printed.
    pub key: PrintedKey,
    /// The value in percent.
    pub value: Printed,
    /// Line of the file, from 1.
    pub line: usize,
}

/// All printed values of a paper.
#[derive(Clone, Debug)]
pub struct Published {
    source: PathBuf,
    cells: Vec<PrintedValue>,
    places: BTreeMap<PrintedKey, usize>,
}

impl Published {
    /// The values that come with the program.
    pub fn embedded() -> Result<Self> {
        Self::parse(EMBEDDED, Path::new("paper/published.csv"))
    }

    /// Reads a file of the same form; errors are as `parse`'s.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&std::fs::read_to_string(path).map_err(Error::io("read", path))?, path)
    }

    /// Reads the text of `source`: a header with exactly these columns, then one value a row, plain, without quotes.
    ///
    /// # Errors
    /// Another header, a row with more or fewer fields, empty or padded fields, an unknown metric, a count or a value
    /// that is no number, a value above 100, the same key twice. The message names file and line.
    pub fn parse(text: &str, source: &Path) -> Result<Self> {
        let mut lines = text.lines().enumerate();
        let header = lines.next().map_or("", |(_, line)| line);
        if header.split(',').ne(COLUMNS) {
            let what = format!("line 1: the header is \"{header}\"");
            return Err(Error::data(source, what, format!("the columns are {}", COLUMNS.join(","))));
        }
        let mut published = Published { source: source.into(), cells: Vec::new(), places: BTreeMap::new() };
        for (number, line) in lines {
            published.add(parse_row(source, number + 1, line)?)?;
        }
        if published.cells.is_empty() {
            return Err(Error::data(source, "holds no value", "add one row per printed value"));
        }
        Ok(published)
    }

    fn add(&mut self, cell: PrintedValue) -> Result<()> {
        if let Some(before) = self.places.insert(cell.key.clone(), self.cells.len()) {
            let what = format!("line {}: {} is already on line {}", cell.line, cell.key, self.cells[before].line);
            return Err(Error::data(&self.source, what, "keep one row per table, class, method, variant and metric"));
        }
        self.cells.push(cell);
        Ok(())
    }

    /// The file that was read.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// All values in the order of the file.
    pub fn cells(&self) -> &[PrintedValue] {
        &self.cells
    }

    /// The value printed at `key`.
    pub fn find(&self, key: &PrintedKey) -> Option<&PrintedValue> {
        self.places.get(key).map(|&index| &self.cells[index])
    }

    /// All values of one table, in the order of the file.
    pub fn table<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a PrintedValue> {
        self.cells.iter().filter(move |cell| cell.key.table == table)
    }
}

fn parse_row(source: &Path, number: usize, line: &str) -> Result<PrintedValue> {
    let wrong = |what: String, help: &str| Error::data(source, format!("line {number}: {what}"), help);
    let fields: Vec<&str> = line.split(',').collect();
    let [table, dataset, class, method, variant, count, metric, value] = fields[..] else {
        return Err(wrong(format!("{} fields instead of {}", fields.len(), COLUMNS.len()), "write one value per row"));
    };
    for (name, field) in COLUMNS.iter().zip(&fields) {
        if field.is_empty() || field.trim() != *field || field.contains('"') {
            let help = "write every field, without quotes and spaces around it";
            return Err(wrong(format!("{name} is [{field}]"), help));
        }
    }
    let metric = metric_name(metric).ok_or_else(|| {
        wrong(format!("{metric} is no metric"), "the metrics are those of an experiment file, such as image_auroc")
    })?;
    let anomalies_per_class = count
        .parse()
        .map_err(|_| wrong(format!("anomalies_per_class is {count}"), "write a whole number; 0 = unsupervised"))?;
    let value = Printed::parse(value)
        .filter(|printed| (0.0..=100.0).contains(&printed.value()))
        .ok_or_else(|| wrong(format!("the value is {value}"), "write it in percent as printed, such as 98.1"))?;
    let [table, dataset, class, method, variant] = [table, dataset, class, method, variant].map(str::to_string);
    let key = PrintedKey { table, dataset, class, method, variant, anomalies_per_class, metric };
    Ok(PrintedValue { key, value, line: number })
}

pub(super) fn metric_name(text: &str) -> Option<MetricName> {
    MetricName::ALL.into_iter().find(|metric| metric.as_str() == text)
}
