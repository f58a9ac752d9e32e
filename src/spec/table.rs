//! Tables of an experiment: what people may write, and whether the experiment has what they name.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::suggestion;
use super::dimension::Dimension;
use super::run::RunSpec;
use super::sweep::known_variant;
use super::tree::Node;
use crate::error::Result;
use crate::metrics::MetricName;

/// Something that is compared elsewhere and that nobody has built yet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Also {
    /// Its name.
    Name(String),
    /// Its name, with the numbers of seen anomalies where it belongs.
    Where {
        /// Its name.
        name: String,
        /// Seen anomalies per class.
        seen_anomalies: Vec<usize>,
    },
}

impl Also {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Also::Name(name) | Also::Where { name, .. } => name,
        }
    }

    /// Whether it belongs beside runs with so many seen anomalies.
    pub fn belongs(&self, seen: usize) -> bool {
        match self {
            Also::Name(_) => true,
            Also::Where { seen_anomalies, .. } => seen_anomalies.contains(&seen),
        }
    }
}

/// One table of an experiment.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    /// What the rows are: a dimension, or a setting by its dotted key.
    pub rows: Dimension,
    /// What the columns are besides the metrics; [] = metrics alone.
    pub columns: Vec<Dimension>,
    /// Metrics shown; [] = the experiment's.
    pub metrics: Vec<MetricName>,
    /// Only these classes, in this order ("mean" is one); [] = all.
    pub classes: Vec<String>,
    /// Only these datasets, in this order; [] = all.
    pub datasets: Vec<String>,
    /// Only these variants, in this order; [] = all.
    pub variants: Vec<String>,
    /// Only these methods, in this order; [] = all.
    pub methods: Vec<String>,
    /// Methods or variants that nobody has built yet: shown as "not available", never left out.
    pub also: Vec<Also>,
    /// Rank the variants by each metric, with paired bootstrap intervals of the difference to the best.
    pub rank: bool,
    /// Show each variant's paired difference to this one, by each metric, with bootstrap intervals; "" = do not.
    pub against: String,
    /// Title above the table.
    pub title: String,
}

/// Finds tables that name what does not exist, or show something twice.
pub(super) fn check_tables<R: AsRef<RunSpec>>(base: &Node, tables: &[Table], runs: &[R]) -> Result<()> {
    for (item, table) in base.items("table").iter().zip(tables) {
        let is_also = |name: &String| table.also.iter().any(|also| also.name() == name.as_str());
        for name in table.variants.iter().filter(|name| !is_also(name)) {
            known_variant(name, runs, item.place_of("variants"))?;
        }
        if !table.against.is_empty() {
            known_variant(&table.against, runs, item.place_of("against"))?;
        }
        let own = |of: fn(&RunSpec) -> &str| runs.iter().map(AsRef::as_ref).map(of).collect::<BTreeSet<_>>();
        let also = table.also.iter().map(|also| also.name());
        let methods: BTreeSet<&str> = own(RunSpec::method_name).into_iter().chain(also).collect();
        let datasets = own(|run| &run.dataset);
        for (key, listed, known) in [("methods", &table.methods, &methods), ("datasets", &table.datasets, &datasets)] {
            if let Some(name) = listed.iter().find(|name| !known.contains(name.as_str())) {
                let what = format!("`table.{key}`: the experiment has no \"{name}\"");
                return Err(item.place_of(key).fault(what, Some(suggestion(name, known.iter().copied()))));
            }
        }
        let taken = |name: &str| name.trim().is_empty() || runs.iter().any(|run| run.as_ref().variant == name);
        if let Some(also) = table.also.iter().find(|also| taken(also.name())) {
            let what = format!("`also` names what nobody has built, and \"{}\" is not such a name", also.name());
            return Err(item.place_of("also").fault(what, Some("leave it out, or name another method".into())));
        }
        let twice = |number: usize| table.columns[..number].contains(&table.columns[number]);
        if table.columns.contains(&table.rows) || (0..table.columns.len()).any(twice) {
            let what = "a dimension is shown twice among rows and columns";
            return Err(item.place_of("columns").fault(what, Some("name each dimension once".into())));
        }
    }
    Ok(())
}
