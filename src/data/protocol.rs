//! Which images train, which are seen anomalies, which are tested.
//!
//! Owns: subsets, the choice of seen anomalies, and the wall between test images and their truth: [`Truth`] is a type of
//! its own, so code that is given images and seen anomalies cannot reach a test label. Does not own: pixels, scores.

use crate::data::digest::{Digest, Digests};
use crate::data::index::{ClassIndex, Image, Index, Labelled, Source};
use crate::data::python_random::PythonRandom;
use crate::error::{Error, Result};
use crate::random::{Purpose, name_index, stream};
use crate::spec::{Budget, Protocol, Sampler, Seen};
use std::collections::{BTreeMap, BTreeSet};

/// An anomaly that training may use, with its mask.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct SeenAnomaly {
    pub image: Image,
    pub mask: Source,
    pub defect: String,
}

/// Labels and masks of the test images, parallel to [`ClassSplit::test`]. For the evaluation alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    images: Vec<Labelled>,
}

impl Truth {
    /// The test images with label, kind of defect and mask.
    pub fn images(&self) -> &[Labelled] {
        &self.images
    }

    /// Image labels: true = anomalous.
    pub fn labels(&self) -> Vec<bool> {
        self.images.iter().map(|labelled| labelled.anomalous).collect()
    }
}

/// One class, split.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassSplit {
    /// Class name.
    pub name: String,
    /// Normal training images, sorted by file name.
    pub train: Vec<Image>,
    /// All test images of the (sub)set, sorted by "type/file", before seen anomalies leave: the same for every count of
    /// seen anomalies, so that features can be shared.
    pub pool: Vec<Image>,
    /// Seen anomalies in the order they were drawn: the first k are those of a smaller count k.
    pub seen: Vec<SeenAnomaly>,
    /// Which images of the pool are tested, ascending.
    pub test: Vec<usize>,
    /// Their truth.
    pub truth: Truth,
}

/// All classes, split.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// In the order of the index.
    pub classes: Vec<ClassSplit>,
    /// Test images that left because their content equals that of a seen anomaly, beyond the seen ones themselves.
    pub duplicates: usize,
}

/// Splits `index` by `protocol`; `seed` is the run's, used by the `chacha` sampler.
///
/// Seen anomalies come from the test images and leave them; where a dataset has training anomalies (VisA's two-class
/// splits) they come from those, and the test images stay. A class may be left without anomalies.
///
/// # Errors
/// More seen anomalies wanted than there are, an unknown class in `seen.exclude_classes`, an unreadable image.
pub fn split(index: &Index, protocol: &Protocol, seed: u64, digests: &mut Digests) -> Result<Split> {
    let Seen { exclude_classes, .. } = &protocol.seen;
    if let Some(name) = exclude_classes.iter().find(|name| index.class(name).is_none()) {
        let kind = format!("class of dataset `{}` (seen.exclude_classes) called", index.dataset);
        return Err(Error::unknown(&kind, name, index.classes.iter().map(|class| class.name.as_str())));
    }
    let mut drafts = Vec::with_capacity(index.classes.len());
    for class in &index.classes {
        let pool = test_subset(class, protocol);
        let excluded = exclude_classes.contains(&class.name);
        let seen = if excluded { Vec::new() } else { pick_seen(&index.dataset, class, &pool, &protocol.seen, seed)? };
        drafts.push((class, pool, seen));
    }
    let leaving = leaving(&drafts, digests)?;
    let mut duplicates = 0;
    let classes = drafts
        .into_iter()
        .zip(leaving)
        .map(|((class, pool, seen), leaving)| {
            let test: Vec<usize> = (0..pool.len()).filter(|i| !leaving.contains(i)).collect();
            let own = pool.iter().filter(|l| seen.iter().any(|s| s.image.path == l.image.path)).count();
            duplicates += leaving.len() - own;
            ClassSplit {
                name: class.name.clone(),
                train: first(&class.train, protocol.train_per_class).to_vec(),
                truth: Truth { images: test.iter().map(|&i| pool[i].clone()).collect() },
                pool: pool.into_iter().map(|labelled| labelled.image).collect(),
                seen,
                test,
            }
        })
        .collect();
    Ok(Split { classes, duplicates })
}

/// The first `count` items; all of them for 0.
fn first<T>(items: &[T], count: usize) -> &[T] {
    if count == 0 { items } else { &items[..count.min(items.len())] }
}

/// The first normal images and the first of each kind of defect, sorted by "type/file".
fn test_subset(class: &ClassIndex, protocol: &Protocol) -> Vec<Labelled> {
    let mut kinds: BTreeMap<(bool, &str), Vec<&Labelled>> = BTreeMap::new();
    for labelled in &class.test {
        kinds.entry((labelled.anomalous, &labelled.defect)).or_default().push(labelled);
    }
    let defects = kinds.keys().filter(|(anomalous, _)| *anomalous).count();
    let per_defect = match protocol.test_per_defect {
        0 => 0,
        count => count.max(protocol.test_defects_min.div_ceil(defects.max(1))),
    };
    let mut kept: Vec<Labelled> = Vec::new();
    for ((anomalous, _), mut images) in kinds {
        images.sort_by_cached_key(|labelled| labelled.sort_key());
        let count = if anomalous { per_defect } else { protocol.test_good_per_class };
        kept.extend(first(&images, count).iter().map(|&labelled| labelled.clone()));
    }
    kept.sort_by_cached_key(Labelled::sort_key);
    kept
}

/// Draws the seen anomalies of one class: the first of one permutation that the budget allows.
fn pick_seen(dataset: &str, class: &ClassIndex, pool: &[Labelled], seen: &Seen, seed: u64) -> Result<Vec<SeenAnomaly>> {
    let count = seen.count;
    if count == 0 {
        return Ok(Vec::new());
    }
    let source = if class.train_anomalies.is_empty() { pool } else { &class.train_anomalies };
    let mut anomalies: Vec<&Labelled> = source.iter().filter(|labelled| labelled.anomalous).collect();
    anomalies.sort_by_cached_key(|labelled| labelled.sort_key());
    let kinds = counts(anomalies.iter().map(|labelled| labelled.defect.as_str()));
    let (scarcest, there) = match seen.budget {
        Budget::Class | Budget::ClassEven => (String::new(), anomalies.len()),
        Budget::Defect => {
            let scarcest = kinds.iter().min_by_key(|(_, count)| **count);
            scarcest.map_or(Default::default(), |(kind, count)| (format!(", defect `{kind}`"), *count))
        }
    };
    if count > there {
        let name = &class.name;
        let what = format!(
            "class `{name}` of `{dataset}`{scarcest}: {count} seen anomalies are wanted, {there} are available"
        );
        return Err(Error::usage(what, "lower protocol.seen.count, or raise protocol.test_per_defect"));
    }
    match seen.sampler {
        Sampler::Python => PythonRandom::new(seen.seed).shuffle(&mut anomalies),
        Sampler::Chacha => stream(seed, Purpose::SeenAnomalies, name_index(&class.name)).shuffle(&mut anomalies),
    }
    let picked = within_budget(anomalies, seen).into_iter().map(|labelled| {
        let Labelled { image, defect, mask, .. } = labelled.clone();
        let help = "restore its mask; where a dataset has labels without masks, set protocol.seen.count = 0";
        let missing = || Error::data(image.place(), "a seen anomaly needs a mask", help);
        Ok(SeenAnomaly { mask: mask.ok_or_else(missing)?, image, defect })
    });
    picked.collect()
}

/// The first of a permutation that a budget allows.
fn within_budget<'a>(permutation: Vec<&'a Labelled>, seen: &Seen) -> Vec<&'a Labelled> {
    let kinds = counts(permutation.iter().map(|labelled| labelled.defect.as_str()));
    let (quota, all) = match seen.budget {
        Budget::Class => (0, seen.count),
        Budget::ClassEven => (seen.count / kinds.len().max(1), seen.count),
        Budget::Defect => (seen.count, seen.count * kinds.len()),
    };
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut picked, rest): (Vec<_>, Vec<_>) = permutation.into_iter().partition(|labelled| {
        let own = taken.entry(&labelled.defect).or_default();
        *own += 1;
        *own <= quota
    });
    picked.extend(rest.into_iter().take(all.saturating_sub(picked.len())));
    picked
}

fn counts<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    counts
}

type Draft<'a> = (&'a ClassIndex, Vec<Labelled>, Vec<SeenAnomaly>);

/// For each class the pool positions that may not be tested: seen anomalies and images of equal content, of any class.
fn leaving(drafts: &[Draft], digests: &mut Digests) -> Result<Vec<BTreeSet<usize>>> {
    let seen: Vec<&Image> = drafts.iter().flat_map(|(_, _, seen)| seen.iter().map(|s| &s.image)).collect();
    if seen.is_empty() {
        return Ok(vec![BTreeSet::new(); drafts.len()]);
    }
    let seen: BTreeSet<Digest> = digests.of(seen)?.into_iter().collect();
    drafts
        .iter()
        .map(|(_, pool, _)| {
            let contents = digests.of(pool.iter().map(|labelled| &labelled.image))?;
            Ok((0..pool.len()).filter(|&i| seen.contains(&contents[i])).collect())
        })
        .collect()
}
