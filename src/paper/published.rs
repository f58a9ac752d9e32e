//! The tables of the paper, one printed value per row; those of other publications have the same form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Printed;
use super::origin::{self, Origin};
use crate::error::{Error, Result};
use crate::spec::MetricName;

/// The values of DMAD (arXiv 2403.12362v1), as they are in the repository.
pub const EMBEDDED: &str = include_str!("../../paper/published.csv");
/// The same quantities from other publications.
const SECOND: &str = include_str!("../../paper/second_sources.csv");
/// Class of the printed means over classes.
pub const MEAN: &str = "mean";

const COLUMNS: [&str; 8] = ["table", "dataset", "class", "method", "variant", "anomalies_per_class", "metric", "value"];

/// What names a printed value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrintedKey {
    /// `table1` to `table5`, or what a table of another publication is called.
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

impl PrintedKey {
    /// What is measured: the name without its table. Table 5 has names of its own for columns of Tables 1 and 3:
    /// "unsupervised" is the method without anomalies, "supervised" is the method with all classes' anomalies.
    pub fn quantity(&self) -> PrintedKey {
        let variant = match (self.variant.as_str(), self.anomalies_per_class) {
            ("unsupervised", 0) | ("supervised", 1..) => "full",
            (other, _) => other,
        };
        PrintedKey { table: String::new(), variant: variant.into(), ..self.clone() }
    }
}

impl std::fmt::Display for PrintedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PrintedKey { table, dataset, class, method, variant, anomalies_per_class, metric } = self;
        let variant = if variant == "full" { String::new() } else { format!(" {variant}") };
        let table = if table.is_empty() { String::new() } else { format!("{table} ") };
        write!(f, "{table}{dataset} {class} {method}{variant} {anomalies_per_class} {}", metric.as_str())
    }
}

/// One printed value.
#[derive(Clone, Debug, PartialEq)]
pub struct PrintedValue {
    /// Where it is printed.
    pub key: PrintedKey,
    /// The value in percent.
    pub value: Printed,
    /// Who printed it, and under which conditions.
    pub origin: Origin,
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

    /// The same quantities from other publications: those of a file, or those that come with the program. Each must have
    /// its source; other errors are as `parse`'s.
    pub fn second(path: Option<&Path>) -> Result<Self> {
        let second = path.map_or_else(|| Self::parse(SECOND, Path::new("paper/second_sources.csv")), Self::read)?;
        match second.cells.iter().any(|cell| cell.origin.source == origin::PAPER) {
            true => Err(Error::data(&second.source, "line 1: no column \"source\"", "say who published each value")),
            false => Ok(second),
        }
    }

    /// Reads the text of `source`: a header with exactly these columns, and in their order any of those of `Origin`, then
    /// one value a row, plain, without quotes.
    ///
    /// # Errors
    /// Another header, a row with more or fewer fields, empty or padded fields, an unknown metric or setting, a number that
    /// is none, a value above 100, the same key twice. The message names file and line.
    pub fn parse(text: &str, source: &Path) -> Result<Self> {
        let mut lines = text.lines().enumerate();
        let header = lines.next().map_or("", |(_, line)| line);
        let columns: Vec<&str> = header.split(',').collect();
        let known = |more: &[&str]| origin::COLUMNS.iter().filter(|column| more.contains(column)).eq(more);
        if !columns.strip_prefix(&COLUMNS).is_some_and(known) {
            let what = format!("line 1: the header is \"{header}\"");
            let help = format!("the columns are {}, then any of {}", COLUMNS.join(","), origin::COLUMNS.join(","));
            return Err(Error::data(source, what, help));
        }
        let mut published = Published { source: source.into(), cells: Vec::new(), places: BTreeMap::new() };
        for (number, line) in lines {
            published.add(parse_row(source, &columns, number + 1, line)?)?;
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

fn parse_row(source: &Path, columns: &[&str], number: usize, line: &str) -> Result<PrintedValue> {
    let wrong = |what: String, help: &str| Error::data(source, format!("line {number}: {what}"), help);
    let fields: Vec<&str> = line.split(',').collect();
    let wanted = columns.len();
    let (&[table, dataset, class, method, variant, count, metric, value, ref origin @ ..], true) =
        (&fields[..], fields.len() == wanted)
    else {
        return Err(wrong(format!("{} fields instead of {wanted}", fields.len()), "write one value per row"));
    };
    for (name, field) in columns.iter().zip(&fields) {
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
    let origin = Origin::parse(&columns[COLUMNS.len()..], origin)
        .map_err(|what| wrong(what, "write - where nothing is said"))?;
    let [table, dataset, class, method, variant] = [table, dataset, class, method, variant].map(str::to_string);
    let key = PrintedKey { table, dataset, class, method, variant, anomalies_per_class, metric };
    Ok(PrintedValue { key, value, origin, line: number })
}

pub(super) fn metric_name(text: &str) -> Option<MetricName> {
    MetricName::ALL.into_iter().find(|metric| metric.as_str() == text)
}
