//! Whether our numbers support a claim that one variant is better than another, or as good.
//!
//! Owns: the rule. A claim stands or falls when the 95 % interval of the paired difference lies wholly on one side of
//! the claimed gain, or within the claimed margin or wholly beyond it, and only when both variants have the same classes and at least two seeds; otherwise it is
//! undecided, with the reason. Does not own: how intervals are drawn (`metrics::bootstrap`), or where the numbers come
//! from.
//!
//! Differences and gains here are in percent.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::metrics::bootstrap::{
    ClassValue, ImageStatistic, Interval, Resampling, ScoredClass, paired_class_interval, paired_image_interval,
};
use crate::spec::Said;

/// Fewer seeds say nothing of how much a training run varies.
const FEWEST_SEEDS: usize = 2;

/// What the numbers say of a difference "better minus than".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The paired difference in percent; `None` when nothing can be compared or resampled.
    pub interval: Option<Interval>,
    /// Seeds that both variants have.
    pub seeds: usize,
    /// What is missing of the claimed classes and of seeds, in words.
    pub missing: Vec<String>,
    /// Test images that only one of the two was tested on.
    pub left_out: usize,
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Why {
    /// Nothing that both have can be compared.
    #[error("nothing that both variants have can be compared")]
    NothingInCommon,
    /// Classes or seeds are missing.
    #[error("missing: {}", .0.join("; "))]
    Missing(Vec<String>),
    /// One class and one seed: nothing can be resampled.
    #[error("one class and one seed: nothing says how much the difference varies")]
    NoSpread,
    /// Fewer than `FEWEST_SEEDS` seeds.
    #[error("one seed: the interval does not know how much a training run varies")]
    OneSeed,
    /// The difference is at the edge of the claim in every resample.
    #[error("a tie in every resample")]
    Tie,
    /// The interval is on both sides of what is claimed.
    #[error("the interval contains the claimed gain")]
    Straddles,
}

/// What is said of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The whole interval is what is claimed.
    Supported,
    /// None of it is.
    NotSupported,
    /// Neither.
    Undecided(Why),
}

impl Answer {
    /// The words used in output.
    pub fn as_str(&self) -> &'static str {
        match self {
            Answer::Supported => "supported",
            Answer::NotSupported => "not supported",
            Answer::Undecided(_) => "undecided",
        }
    }

    /// Why it is undecided; empty otherwise.
    pub fn because(&self) -> String {
        match self {
            Answer::Undecided(why) => why.to_string(),
            _ => String::new(),
        }
    }
}

/// Decides a claim.
pub fn decide(evidence: &Evidence, said: Said) -> Answer {
    let (low, high) = match said {
        Said::MoreThan(gain) => (gain, f64::INFINITY),
        Said::Within(margin) => (-margin, margin),
    };
    let undecided = match evidence.interval {
        _ if evidence.seeds == 0 => Why::NothingInCommon,
        _ if !evidence.missing.is_empty() => Why::Missing(evidence.missing.clone()),
        None => Why::NoSpread,
        _ if evidence.seeds < FEWEST_SEEDS => Why::OneSeed,
        Some(interval) if interval.low > low && interval.high < high => return Answer::Supported,
        Some(interval) if interval.high < low || interval.low > high => return Answer::NotSupported,
        Some(interval) if interval.low == interval.high => Why::Tie,
        Some(_) => Why::Straddles,
    };
    Answer::Undecided(undecided)
}

/// Evidence from an image metric, images resampled. `classes` are those that the claim is about; what else is given is
/// left out.
///
/// # Errors
/// Whatever is wrong with the scores themselves (see `bootstrap::image_interval`). Missing runs are evidence, not
/// errors.
pub fn image_evidence(
    classes: &[&str],
    better: &[ScoredClass],
    than: &[ScoredClass],
    statistic: ImageStatistic,
    resampling: Resampling,
) -> Result<Evidence> {
    let key = |run: &ScoredClass| (run.class.to_string(), run.seed);
    let (better, than) = (&comparable(better, than), &comparable(than, better));
    let common = Common::of(classes, better.iter().map(key), than.iter().map(key));
    if common.is_empty() {
        return Ok(common.evidence(None, 0));
    }
    let kept = [better, than].map(|runs| runs.iter().filter(|run| common.has(&key(run))).cloned().collect::<Vec<_>>());
    let paired = paired_image_interval(&kept[0], &kept[1], statistic, resampling)?;
    Ok(common.evidence(Some(paired.interval), paired.left_out))
}

/// The classes of runs without those of which the other side has no anomalous or no normal image that both were tested
/// on: with other seen anomalies a class may have none in common, and is missing then.
fn comparable<'a>(runs: &[ScoredClass<'a>], others: &[ScoredClass]) -> Vec<ScoredClass<'a>> {
    let fits = |run: &&ScoredClass| {
        let Some(other) = others.iter().find(|other| (other.class, other.seed) == (run.class, run.seed)) else {
            return true;
        };
        let paths: BTreeSet<&str> = other.images.iter().map(|image| image.path).collect();
        let has = |anomalous| run.images.iter().any(|i| i.anomalous == anomalous && paths.contains(i.path));
        has(true) && has(false)
    };
    runs.iter().filter(fits).cloned().collect()
}

/// Evidence from any metric by classes, classes and seeds resampled; otherwise as `image_evidence`. Values are
/// in [0, 1].
///
/// # Errors
/// A value that is not finite, a class given twice with the same seed.
pub fn class_evidence(
    classes: &[&str],
    better: &[ClassValue],
    than: &[ClassValue],
    resampling: Resampling,
) -> Result<Evidence> {
    let key = |value: &ClassValue| (value.class.to_string(), value.seed);
    let common = Common::of(classes, better.iter().map(key), than.iter().map(key));
    if common.is_empty() {
        return Ok(common.evidence(None, 0));
    }
    let kept = [better, than].map(|values| values.iter().filter(|v| common.has(&key(v))).copied().collect::<Vec<_>>());
    Ok(common.evidence(paired_class_interval(&kept[0], &kept[1], resampling)?, 0))
}

/// Classes and seeds that both variants have, and what they lack.
struct Common {
    classes: BTreeSet<String>,
    seeds: BTreeSet<u64>,
    missing: Vec<String>,
}

impl Common {
    fn of(
        classes: &[&str],
        better: impl Iterator<Item = (String, u64)>,
        than: impl Iterator<Item = (String, u64)>,
    ) -> Self {
        let mut sides: [BTreeMap<String, BTreeSet<u64>>; 2] = Default::default();
        better.for_each(|(class, seed)| sides[0].entry(class).or_default().extend([seed]));
        than.for_each(|(class, seed)| sides[1].entry(class).or_default().extend([seed]));
        let mut common = Common { classes: BTreeSet::new(), seeds: BTreeSet::new(), missing: Vec::new() };
        let (mut every, mut some): (Option<BTreeSet<u64>>, BTreeSet<u64>) = (None, BTreeSet::new());
        for &class in classes {
            let [Some(left), Some(right)] = [&sides[0], &sides[1]].map(|side| side.get(class)) else {
                common.missing.push(format!("class {class} is not there for both"));
                continue;
            };
            let both: BTreeSet<u64> = left & right;
            some.extend(left | right);
            every = Some(every.map_or(both.clone(), |every| &every & &both));
            common.classes.insert(class.into());
        }
        common.seeds = every.unwrap_or_default();
        let lost = &some - &common.seeds;
        common.missing.extend(lost.iter().map(|seed| format!("seed {seed} is not there for both in every class")));
        common
    }

    fn is_empty(&self) -> bool {
        self.classes.is_empty() || self.seeds.is_empty()
    }

    fn has(&self, (class, seed): &(String, u64)) -> bool {
        self.classes.contains(class) && self.seeds.contains(seed)
    }

    fn evidence(self, interval: Option<Interval>, left_out: usize) -> Evidence {
        let seeds = if self.classes.is_empty() { 0 } else { self.seeds.len() };
        Evidence { interval: interval.map(|interval| interval.times(100.0)), seeds, missing: self.missing, left_out }
    }
}
