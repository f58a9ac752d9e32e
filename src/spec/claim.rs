//! Statements that an experiment checks: what people may write, and whether the experiment has the runs that it would take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run::RunSpec;
use super::sweep::{known_variant, names_variant};
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

    /// Whether both have the same value of everything that was swept in both.
    pub fn is_swept_as(&self, other: &Arm) -> bool {
        let theirs = swept(&other.variant);
        let agrees = |(key, value)| theirs.iter().all(|(known, own)| *known != key || *own == value);
        swept(&self.variant).into_iter().all(agrees)
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

    /// Whether two arms are points of the same sweep; names with the sweep in them are meant as they are.
    fn swept_alike(&self, better: &Arm, than: &Arm) -> bool {
        let meant = self.better.variant() == better.variant && self.than.variant() == than.variant;
        meant || better.is_swept_as(than)
    }
}

/// What was swept in a variant, from its name: keys with their values.
fn swept(variant: &str) -> Vec<(&str, &str)> {
    let inside = variant.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']')).unwrap_or_default();
    inside.split(", ").filter_map(|part| part.split_once('=')).collect()
}

/// Finds claims that no run of the experiment could ever answer.
pub(super) fn check_claims<R: AsRef<RunSpec>>(base: &Node, claims: &[Claim], runs: &[R]) -> Result<()> {
    for (item, claim) in base.items("claim").iter().zip(claims) {
        known_variant(claim.better.variant(), runs, item.place_of("better"))?;
        known_variant(claim.than.variant(), runs, item.place_of("than"))?;
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
