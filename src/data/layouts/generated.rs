//! Lists the images that the generator (`synthetic`) draws: the catalog says how many, nothing is rendered here.

use super::synthetic::{self, SIDES, SyntheticSpec};
use super::{Layout, Wanted};
use crate::data::catalog::Counts;
use crate::data::index::{ClassIndex, Drawing, Findings, GOOD, Image, Labelled, Source};
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// A dataset that is drawn.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Synthetic {
    /// Seed of the drawings.
    seed: u64,
    /// Side in pixels.
    side: u32,
    /// Training images per class; 0, here and below = as `counts` says of the class.
    train: usize,
    /// Normal test images per class.
    test_good: usize,
    /// Test images per defect kind.
    test_per_defect: usize,
    /// When above 0, the set is outlier textures, so many per category, in place of classes.
    textures: usize,
}

impl Layout for Synthetic {
    fn folders(&self) -> Option<[&str; 2]> {
        None
    }

    fn check(&self) -> Result<(), String> {
        if !SIDES.contains(&self.side) {
            return Err(format!("side = {} is outside {} to {} pixels", self.side, SIDES.start(), SIDES.end()));
        }
        let zeros = [self.train, self.test_good, self.test_per_defect].iter().filter(|count| **count == 0).count();
        if self.textures == 0 && zeros > 0 && zeros < 3 {
            let what = "train, test_good and test_per_defect must be above 0, or all 0 where `counts` tells (or textures, for \
                        outliers)";
            return Err(what.into());
        }
        Ok(())
    }

    fn label(&self) -> &'static str {
        "synthetic images"
    }

    fn only_trains(&self) -> bool {
        self.textures > 0
    }

    fn read(&self, _: &Path, wanted: &Wanted, _: &mut Findings) -> Result<Vec<ClassIndex>> {
        let known: Vec<&str> = if self.textures > 0 { synthetic::categories() } else { synthetic::classes() };
        let names = wanted.of(|| Ok(known.iter().map(|name| name.to_string()).collect()))?;
        if let Some(name) = names.iter().find(|name| !known.contains(&look(name).0)) {
            let what = format!("the generator draws no class `{name}` (dataset `{}`)", wanted.entry.name);
            let help = format!("it draws: {} (and more of a kind as {}_2)", known.join(", "), known[0]);
            return Err(Error::usage(what, help));
        }
        let of_class = |name: &String| {
            let kinds = synthetic::defects(look(name).0).unwrap_or_default().len();
            let counts = match self.textures + self.train {
                0 => PerClass::declared(wanted.entry.declared.counts.get(name), kinds),
                _ => Some(PerClass::uniform(self, kinds)),
            };
            let missing = || {
                let what =
                    format!("dataset `{}` does not say how many images of `{name}` are drawn", wanted.entry.name);
                Error::usage(
                    what,
                    "give its `counts` in datasets.toml, or train, test_good and test_per_defect for all classes",
                )
            };
            Ok(read(self, name, &counts.ok_or_else(missing)?))
        };
        names.iter().map(of_class).collect()
    }
}

/// What a class looks like, and which of those that look so it is: `board_2` is the second board, `board` is number 0.
fn look(name: &str) -> (&str, u64) {
    let numbered = name.rsplit_once('_').and_then(|(look, number)| Some((look, number.parse().ok()?)));
    numbered.unwrap_or((name, 0))
}

/// How many images of a class are drawn.
struct PerClass {
    train: usize,
    test_good: usize,
    /// Of each kind of defect.
    test_bad: Vec<usize>,
}

impl PerClass {
    fn uniform(entry: &Synthetic, kinds: usize) -> PerClass {
        PerClass { train: entry.train, test_good: entry.test_good, test_bad: vec![entry.test_per_defect; kinds] }
    }

    /// Anomalies are shared out among the kinds; the first ones get what does not divide.
    fn declared(counts: Option<&Counts>, kinds: usize) -> Option<PerClass> {
        let &Counts { train, test_good, test_bad, .. } = counts?;
        let of_kind = |kind: usize| test_bad / kinds + usize::from(kind < test_bad % kinds);
        Some(PerClass { train, test_good, test_bad: (0..kinds).map(of_kind).collect() })
    }
}

/// One class of drawings, or one category of textures.
fn read(entry: &Synthetic, class: &str, counts: &PerClass) -> ClassIndex {
    let (look, number) = look(class);
    let drawing = |split, defect, index| Drawing {
        // Classes of one look are drawn apart.
        spec: SyntheticSpec { seed: entry.seed + number, side: entry.side },
        class: look.into(),
        split,
        defect,
        index,
    };
    let image = |drawing: Drawing| {
        let Drawing { split, defect, index, .. } = &drawing;
        let path = match *split {
            "texture" => format!("{class}/{index:03}.png"),
            _ => format!("{class}/{split}/{defect}/{index:03}.png"),
        };
        Image { path, source: Source::Synthetic(drawing) }
    };
    let (split, count) = if entry.textures > 0 { ("texture", entry.textures) } else { ("train", counts.train) };
    let train = (0..count).map(|i| image(drawing(split, GOOD, i))).collect();
    let mut test = Vec::new();
    if entry.textures == 0 {
        let kinds = [GOOD].iter().chain(synthetic::defects(look).unwrap_or_default());
        for (&defect, &count) in kinds.zip([counts.test_good].iter().chain(&counts.test_bad)) {
            let anomalous = defect != GOOD;
            for i in 0..count {
                let drawn = drawing("test", defect, i);
                let mask = anomalous.then(|| Source::Synthetic(drawn.clone()));
                test.push(Labelled { image: image(drawn), defect: defect.into(), anomalous, mask });
            }
        }
    }
    test.sort_by_cached_key(Labelled::sort_key);
    ClassIndex { name: class.into(), train, train_anomalies: Vec::new(), test }
}
