//! Lists the images that the generator (`synthetic`) draws: the catalog says how many, nothing is rendered here.

use super::synthetic::{self, SIDES, SyntheticSpec};
use super::{Layout, Wanted};
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
    /// Training images per class.
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
        if self.textures == 0 && (self.train == 0 || self.test_good == 0 || self.test_per_defect == 0) {
            return Err("train, test_good and test_per_defect must be above 0 (or textures, for outliers)".into());
        }
        Ok(())
    }

    fn label(&self) -> &'static str {
        "synthetic images"
    }

    fn read(&self, _: &Path, wanted: &Wanted, _: &mut Findings) -> Result<Vec<ClassIndex>> {
        let known: Vec<&str> = if self.textures > 0 { synthetic::categories() } else { synthetic::classes() };
        let names = wanted.of(|| Ok(known.iter().map(|name| name.to_string()).collect()))?;
        if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
            let what = format!("the generator draws no class `{name}` (dataset `{}`)", wanted.entry.name);
            return Err(Error::usage(what, format!("it draws: {}", known.join(", "))));
        }
        Ok(names.iter().map(|name| read(self, name)).collect())
    }
}

/// One class of drawings, or one category of textures.
fn read(entry: &Synthetic, class: &str) -> ClassIndex {
    let drawing = |split, defect, index| Drawing {
        spec: SyntheticSpec { seed: entry.seed, side: entry.side },
        class: class.into(),
        split,
        defect,
        index,
    };
    let image = |drawing: Drawing| {
        let Drawing { class, split, defect, index, .. } = &drawing;
        let path = match *split {
            "texture" => format!("{class}/{index:03}.png"),
            _ => format!("{class}/{split}/{defect}/{index:03}.png"),
        };
        Image { path, source: Source::Synthetic(drawing) }
    };
    let (split, count) = if entry.textures > 0 { ("texture", entry.textures) } else { ("train", entry.train) };
    let train = (0..count).map(|i| image(drawing(split, GOOD, i))).collect();
    let mut test = Vec::new();
    if entry.textures == 0 {
        for &defect in [GOOD].iter().chain(synthetic::defects(class).unwrap_or_default()) {
            let anomalous = defect != GOOD;
            for i in 0..if anomalous { entry.test_per_defect } else { entry.test_good } {
                let drawn = drawing("test", defect, i);
                let mask = anomalous.then(|| Source::Synthetic(drawn.clone()));
                test.push(Labelled { image: image(drawn), defect: defect.into(), anomalous, mask });
            }
        }
    }
    test.sort_by_cached_key(Labelled::sort_key);
    ClassIndex { name: class.into(), train, train_anomalies: Vec::new(), test }
}
