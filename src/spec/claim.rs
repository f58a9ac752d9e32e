//! Statements that an experiment checks, and the tolerances of its verdicts: what people may write, and whether the
//! experiment has the runs that it would take.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::suggestion;
use super::file::Table;
use super::run::RunSpec;
use super::sweep::names_variant;
use super::tree::Node;
use crate::error::Result;
use crate::metrics::MetricName;

/// A statement that one variant is better than another, or as good, checked by `report`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The statement in words.
    pub text: String,
    /// The variant that is said to be better, or as good: its name ("full" is the base), or its name with its seen anomalies.
    pub better: Side,
    /// The variant it is compared with.
    pub than: Side,
    /// By which metric.
    pub metric: MetricName,
    /// By more than this, in percent.
    #[serde(default)]
    #[schemars(range(min = -100.0, max = 100.0))]
    pub gain: f64,
    /// As good, up to this in percent either way; default: better.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub within: Option<f64>,
    /// Only with this number of seen anomalies; default: every number that both have, each for itself.
    #[serde(default)]
    pub seen_anomalies: Option<usize>,
    /// Only on this dataset; default: every dataset that both have, each for itself.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Only these classes; [] = all.
    #[serde(default)]
    pub classes: Vec<String>,
}

/// What a claim says of the difference, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said {
    /// More than this; 0 for plain "better".
    MoreThan(f64),
    /// At most this, either way: "on par".
    Within(f64),
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Said::MoreThan(0.0) => f.write_str("better"),
            Said::MoreThan(gain) => write!(f, "by more than {gain}"),
            Said::Within(margin) => write!(f, "within {margin}"),
        }
    }
}

/// One side of a claim.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Side {
    /// A variant.
    Variant(String),
    /// A variant with one number of seen anomalies.
    Narrowed {
        /// The variant.
        variant: String,
        /// Its seen anomalies per class.
        seen_anomalies: usize,
    },
}

impl Side {
    /// The variant.
    pub fn variant(&self) -> &str {
        let (Side::Variant(variant) | Side::Narrowed { variant, .. }) = self;
        variant
    }

    fn seen(&self) -> Option<usize> {
        match self {
            Side::Variant(_) => None,
            Side::Narrowed { seen_anomalies, .. } => Some(*seen_anomalies),
        }
    }
}

/// Runs that differ in nothing but their seeds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arm {
    /// Row of the experiment.
    pub variant: String,
    /// Dataset.
    pub dataset: String,
    /// Seen anomalies per class.
    pub seen: usize,
}

impl Arm {
    /// The arm that a run belongs to.
    pub fn of(run: &RunSpec) -> Self {
        Arm { variant: run.variant.clone(), dataset: run.dataset.clone(), seen: run.protocol.seen.count }
    }
}

impl Claim {
    /// What it says of the difference.
    pub fn said(&self) -> Said {
        self.within.map_or(Said::MoreThan(self.gain), Said::Within)
    }

    /// What is compared with what, the better side first: every swept variant that a side names, every dataset and every
    /// number of seen anomalies that both sides declare, as far as the claim does not say which.
    pub fn comparisons<R: AsRef<RunSpec>>(&self, runs: &[R]) -> Vec<[Arm; 2]> {
        let of = |side: &Side| {
            let mut found = Vec::new();
            for arm in runs.iter().map(|run| Arm::of(run.as_ref())) {
                let wanted = names_variant(side.variant(), &arm.variant)
                    && self.dataset.as_ref().is_none_or(|name| *name == arm.dataset)
                    && side.seen().or(self.seen_anomalies).is_none_or(|wanted| wanted == arm.seen);
                if wanted && !found.contains(&arm) {
                    found.push(arm);
                }
            }
            found
        };
        let (better, than) = (of(&self.better), of(&self.than));
        // Where a side names its own number, the two are meant to differ.
        let free = self.better.seen().is_none() && self.than.seen().is_none();
        let alike = |[left, right]: &[Arm; 2]| {
            left.dataset == right.dataset && (!free || left.seen == right.seen) && self.swept_alike(left, right)
        };
        let pairs = better.iter().flat_map(|left| than.iter().map(move |right| [left.clone(), right.clone()]));
        pairs.filter(|pair| pair[0] != pair[1] && alike(pair)).collect()
    }

    /// Whether two arms have the same value of everything that was swept in both; names with the sweep in them are meant
    /// as they are.
    fn swept_alike(&self, better: &Arm, than: &Arm) -> bool {
        let meant = self.better.variant() == better.variant && self.than.variant() == than.variant;
        let other = swept(&than.variant);
        let agrees = |(key, value)| other.iter().all(|(known, own)| *known != key || *own == value);
        meant || swept(&better.variant).into_iter().all(agrees)
    }
}

/// What was swept in a variant, from its name: keys with their values.
fn swept(variant: &str) -> Vec<(&str, &str)> {
    let inside = variant.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']')).unwrap_or_default();
    inside.split(", ").filter_map(|part| part.split_once('=')).collect()
}

/// How far (percent) our mean may be from a published value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerances {
    /// AUROC, mean over classes.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub auroc_mean: f64,
    /// AUROC of one class.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub auroc_class: f64,
    /// AP, F1max and PRO, mean over classes.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub other_mean: f64,
    /// AP, F1max and PRO of one class.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub other_class: f64,
}

impl Default for Tolerances {
    fn default() -> Self {
        Tolerances { auroc_mean: 1.0, auroc_class: 4.0, other_mean: 3.0, other_class: 8.0 }
    }
}

fn variants<R: AsRef<RunSpec>>(runs: &[R]) -> Vec<&str> {
    let mut names: Vec<&str> = runs.iter().map(|run| run.as_ref().variant.as_str()).collect();
    names.dedup();
    names
}

/// Finds claims that no run of the experiment could ever answer.
pub(super) fn check_claims<R: AsRef<RunSpec>>(base: &Node, claims: &[Claim], runs: &[R]) -> Result<()> {
    let names = variants(runs);
    for (item, claim) in base.items("claim").iter().zip(claims) {
        for (key, side) in [("better", &claim.better), ("than", &claim.than)] {
            if !names.iter().any(|known| names_variant(side.variant(), known)) {
                let what = format!("there is no variant \"{}\"", side.variant());
                return Err(item.place_of(key).fault(what, Some(suggestion(side.variant(), names.iter().copied()))));
            }
        }
        if claim.within.is_some() && claim.gain != 0.0 {
            let what = "a claim is of a `gain`, or of being as good `within` a margin";
            return Err(item.place_of("within").fault(what, Some("leave one of them out".into())));
        }
        if claim.comparisons(runs).is_empty() {
            let (better, than) = (claim.better.variant(), claim.than.variant());
            let what = format!("no run of \"{better}\" can be compared with one of \"{than}\"");
            let help = "both need the same dataset and number of seen anomalies; where they differ on purpose, write { variant = \"…\", seen_anomalies = N }";
            return Err(item.place.fault(what, Some(help.into())));
        }
    }
    Ok(())
}

/// Finds tables that name what does not exist, or show something twice.
pub(super) fn check_tables<R: AsRef<RunSpec>>(base: &Node, tables: &[Table], runs: &[R]) -> Result<()> {
    let names = variants(runs);
    for (item, table) in base.items("table").iter().zip(tables) {
        let unknown = |name: &&String| {
            !names.iter().any(|known| names_variant(name, known))
                && !table.also.iter().any(|also| also.name() == name.as_str())
        };
        if let Some(name) = table.variants.iter().find(unknown) {
            let what = format!("there is no variant \"{name}\"");
            return Err(item.place_of("variants").fault(what, Some(suggestion(name, names.iter().copied()))));
        }
        if !table.against.is_empty() && !names.iter().any(|known| names_variant(&table.against, known)) {
            let what = format!("there is no variant \"{}\"", table.against);
            return Err(item.place_of("against").fault(what, Some(suggestion(&table.against, names.iter().copied()))));
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
        let taken = |name: &str| name.trim().is_empty() || names.contains(&name);
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
