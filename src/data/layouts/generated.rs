//! Lists the images that the generator (`synthetic`) draws: the catalog says how many, nothing is rendered here.

use super::synthetic::{self, SyntheticSpec};
use crate::data::catalog::Entry;
use crate::data::index::{ClassIndex, Drawing, GOOD, Image, Labelled, MaskSource, Source};
use crate::error::{Error, Result};

/// Classes, or categories of outlier textures.
pub(crate) fn names(entry: &Entry) -> Vec<String> {
    let names = if entry.textures > 0 { synthetic::categories() } else { synthetic::classes() };
    names.into_iter().map(String::from).collect()
}

/// One class of drawings, or one category of textures.
pub(crate) fn read(entry: &Entry, class: &str) -> Result<ClassIndex> {
    if !names(entry).iter().any(|name| name == class) {
        let help = format!("it draws: {}", names(entry).join(", "));
        return Err(Error::usage(format!("the generator draws no class `{class}` (dataset `{}`)", entry.name), help));
    }
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
        for i in 0..entry.test_good {
            let image = image(drawing("test", GOOD, i));
            test.push(Labelled { image, defect: GOOD.into(), anomalous: false, mask: None });
        }
        for &defect in synthetic::defects(class).unwrap_or_default() {
            for i in 0..entry.test_per_defect {
                let drawn = drawing("test", defect, i);
                let mask = Some(MaskSource::Synthetic(drawn.clone()));
                test.push(Labelled { image: image(drawn), defect: defect.into(), anomalous: true, mask });
            }
        }
    }
    test.sort_by_cached_key(Labelled::sort_key);
    Ok(ClassIndex { name: class.into(), train, train_anomalies: Vec::new(), test })
}
