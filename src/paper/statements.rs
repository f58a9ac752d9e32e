//! What the paper says of its numbers: printed differences, and orders that its text claims.
//!
//! Owns: the strict reading of `paper/statements.toml`. Does not own: whether they hold (`audit`).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::published::metric_name;
use super::{Printed, PrintedKey};
use crate::error::{Error, Result};
use crate::spec::{Place, Source};

/// The statements of DMAD's paper, as they are in the repository.
pub const EMBEDDED: &str = include_str!("../../paper/statements.toml");

/// A difference of two printed values that is printed as well.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Where in the paper.
    pub place: String,
    /// What it says, in our words.
    pub says: String,
    /// The printed difference.
    pub printed: Printed,
    /// The value it is a gain of.
    pub of: PrintedKey,
    /// The value it is a gain over.
    pub over: PrintedKey,
}

/// Values that rise in the order in which they are named, as the text has it.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where in the paper.
    pub place: String,
    /// What it says, in our words.
    pub says: String,
    /// The values, lowest first; two at least.
    pub rising: Vec<PrintedKey>,
    /// They do not rise, but differ by no more than this: "on par".
    pub within: Option<f64>,
}

/// All statements of a paper.
#[derive(Clone, Debug)]
pub struct Statements {
    /// The file that was read.
    pub source: PathBuf,
    /// Printed differences, in the order of the file.
    pub differences: Vec<Difference>,
    /// Claimed orders, in the order of the file.
    pub orders: Vec<Order>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    difference: Vec<DifferenceEntry>,
    #[serde(default)]
    order: Vec<OrderEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DifferenceEntry {
    place: String,
    says: String,
    printed: Spanned<String>,
    of: Spanned<KeyEntry>,
    over: Spanned<KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderEntry {
    place: String,
    says: String,
    rising: Spanned<Vec<Spanned<KeyEntry>>>,
    within: Option<f64>,
}

/// A key, or what differs from another one.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeyEntry {
    table: Option<String>,
    dataset: Option<String>,
    class: Option<String>,
    method: Option<String>,
    variant: Option<String>,
    anomalies_per_class: Option<u32>,
    metric: Option<String>,
}

impl Statements {
    /// The statements that come with the program.
    pub fn embedded() -> Result<Self> {
        Self::parse(EMBEDDED, Path::new("paper/statements.toml"))
    }

    /// Reads a file of the same form; errors are as `parse`'s.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&std::fs::read_to_string(path).map_err(Error::io("read", path))?, path)
    }

    /// Reads the text of `source`.
    ///
    /// # Errors
    /// Text that is no TOML, unknown or missing keys, a printed number that is none, an unknown metric, a value that is
    /// named incompletely, an order of fewer than two values. The message names file, line and column.
    pub fn parse(text: &str, source: &Path) -> Result<Self> {
        let reader = Reader(std::sync::Arc::new(Source { path: source.into(), text: text.into() }));
        let file: File = toml::from_str(text)
            .map_err(|fault| reader.fault(fault.span().unwrap_or_default(), fault.message().to_string()))?;
        Ok(Statements {
            source: source.into(),
            differences: file.difference.into_iter().map(|entry| reader.difference(entry)).collect::<Result<_>>()?,
            orders: file.order.into_iter().map(|entry| reader.order(entry)).collect::<Result<_>>()?,
        })
    }
}

/// The file being read, for faults that point at the line.
struct Reader(std::sync::Arc<Source>);

impl Reader {
    fn fault(&self, range: std::ops::Range<usize>, message: impl Into<String>) -> Error {
        Place { source: self.0.clone(), range }.fault(message, None)
    }

    fn difference(&self, entry: DifferenceEntry) -> Result<Difference> {
        let printed = Printed::parse(entry.printed.get_ref()).ok_or_else(|| {
            self.fault(entry.printed.span(), "`printed` is the number as printed, as text, such as \"+1.2\"")
        })?;
        Ok(Difference {
            of: self.key(&entry.of, &KeyEntry::default())?,
            over: self.key(&entry.over, entry.of.get_ref())?,
            place: entry.place,
            says: entry.says,
            printed,
        })
    }

    fn order(&self, entry: OrderEntry) -> Result<Order> {
        let (span, cells) = (entry.rising.span(), entry.rising.into_inner());
        let base = match &cells[..] {
            [first, _, ..] => first.get_ref().clone(),
            _ => return Err(self.fault(span, "an order needs two values or more")),
        };
        let rising = cells.iter().map(|cell| self.key(cell, &base)).collect::<Result<_>>()?;
        Ok(Order { place: entry.place, says: entry.says, rising, within: entry.within })
    }

    /// The key of `entry`; what it does not say is as in `base`, and the variant is "full" where neither says it.
    fn key(&self, entry: &Spanned<KeyEntry>, base: &KeyEntry) -> Result<PrintedKey> {
        let own = entry.get_ref();
        let missing = |name: &str| self.fault(entry.span(), format!("the value has no `{name}`"));
        let text = |name: &str, own: &Option<String>, base: &Option<String>| {
            own.as_ref().or(base.as_ref()).cloned().ok_or_else(|| missing(name))
        };
        let metric = text("metric", &own.metric, &base.metric)?;
        Ok(PrintedKey {
            table: text("table", &own.table, &base.table)?,
            dataset: text("dataset", &own.dataset, &base.dataset)?,
            class: text("class", &own.class, &base.class)?,
            method: text("method", &own.method, &base.method)?,
            variant: own.variant.as_ref().or(base.variant.as_ref()).cloned().unwrap_or_else(|| "full".into()),
            anomalies_per_class: own
                .anomalies_per_class
                .or(base.anomalies_per_class)
                .ok_or_else(|| missing("anomalies_per_class"))?,
            metric: metric_name(&metric).ok_or_else(|| self.fault(entry.span(), format!("{metric} is no metric")))?,
        })
    }
}
