//! What is compared, by class and seed: complete, each once, and paired like with like.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};

/// The items of both lists that have the same class and seed, in their order.
pub(super) fn matched<'a, T>(
    first: &'a [T],
    second: &'a [T],
    key: fn(&T) -> (&str, u64),
) -> Result<Vec<(&'a T, &'a T)>> {
    let [left, right] =
        [first, second].map(|items| items.iter().map(|item| (key(item), item)).collect::<BTreeMap<_, _>>());
    let lonely =
        left.keys().find(|key| !right.contains_key(*key)).or(right.keys().find(|key| !left.contains_key(*key)));
    if let Some((class, seed)) = lonely {
        let what = format!("class {class} with seed {seed} is there for one of the two only");
        return Err(Error::method(what, "compare runs of the same classes and seeds"));
    }
    if left.len() != first.len() || right.len() != second.len() {
        return Err(Error::method("a class is there twice with the same seed", "give each class and seed once"));
    }
    Ok(left.into_iter().map(|(key, item)| (item, right[&key])).collect())
}

/// Something for every class and seed.
pub(super) struct Grid<'a, T> {
    pub classes: Vec<&'a str>,
    pub seeds: Vec<u64>,
    /// classes × seeds.
    pub cells: Vec<Vec<T>>,
}

impl<'a, T> Grid<'a, T> {
    pub fn new(items: impl Iterator<Item = (&'a str, u64, T)>) -> Result<Self> {
        let mut rows: BTreeMap<&str, BTreeMap<u64, T>> = BTreeMap::new();
        for (class, seed, item) in items {
            if rows.entry(class).or_default().insert(seed, item).is_some() {
                let what = format!("class {class} is there twice with seed {seed}");
                return Err(Error::method(what, "give each class and seed once"));
            }
        }
        let seeds: BTreeSet<u64> = rows.values().flat_map(|row| row.keys().copied()).collect();
        if seeds.is_empty() {
            return Err(Error::method("there is no class to resample", "give at least one scored class"));
        }
        for (class, row) in &rows {
            if let Some(seed) = seeds.iter().find(|seed| !row.contains_key(seed)) {
                let what = format!("class {class} has no run with seed {seed}, other classes have");
                return Err(Error::method(what, "finish the runs, or leave that seed out everywhere"));
            }
        }
        Ok(Grid {
            classes: rows.keys().copied().collect(),
            seeds: seeds.into_iter().collect(),
            cells: rows.into_values().map(|row| row.into_values().collect()).collect(),
        })
    }
}
