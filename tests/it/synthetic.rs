//! The synthetic dataset: exact masks, pinned bits, variety, clear refusals.

use dmad::data::layouts::synthetic::{Rendered, SyntheticSpec, categories, classes, defects, render, twin};
use dmad::error::Error;

fn spec(side: u32) -> SyntheticSpec {
    SyntheticSpec { seed: 0, side }
}

fn image(side: u32, class: &str, split: &str, defect: &str, index: usize) -> Rendered {
    render(&spec(side), class, split, defect, index).expect("names that exist")
}

/// Every class with each of its defects.
fn all_defects() -> Vec<(&'static str, &'static str)> {
    classes()
        .into_iter()
        .flat_map(|class| defects(class).expect("a class").iter().map(move |kind| (class, *kind)))
        .collect()
}

#[test]
fn there_are_textures_and_objects_with_three_or_more_defects_and_eight_or_more_outlier_categories() {
    assert!(classes().len() >= 4);
    for class in classes() {
        assert!(defects(class).expect("a class").len() >= 3, "{class}");
        assert!(!categories().contains(&class), "{class} must not be an outlier category too");
    }
    assert!(categories().len() >= 8);
    assert_eq!(defects("no such class"), None);
}

#[test]
fn a_defective_image_equals_its_twin_outside_the_mask_and_differs_inside() {
    for side in [96, 256] {
        for (class, kind) in all_defects() {
            for index in 0..if side == 256 { 6 } else { 3 } {
                let Rendered { rgb, mask } = image(side, class, "test", kind, index);
                let mask = mask.expect("a defective image has a mask");
                let sound = twin(&spec(side), class, "test", kind, index).expect("names that exist");
                let (mut covered, mut changed) = (0u32, 0u32);
                for ((pixel, before), level) in rgb.pixels().zip(sound.pixels()).zip(mask.pixels()) {
                    assert!(level[0] == 0 || level[0] == 255, "{class}/{kind}/{index}: masks hold 0 and 255");
                    let differs = pixel != before;
                    assert!(level[0] == 255 || !differs, "{class}/{kind}/{index} changed a pixel outside its mask");
                    covered += u32::from(level[0] == 255);
                    changed += u32::from(differs);
                }
                let share = f64::from(covered) / f64::from(side * side);
                assert!((0.002..0.2).contains(&share), "{class}/{kind}/{index} at {side}: mask covers {share:.4}");
                // A misprinted letter shares ink with the right one and a bare spot its ground, so not every pixel does.
                assert!(changed * 8 >= covered, "{class}/{kind}/{index}: {changed} of {covered} mask pixels changed");
            }
        }
    }
}

#[test]
fn good_images_and_outlier_textures_have_no_mask() {
    for class in classes() {
        for split in ["train", "test"] {
            assert!(image(64, class, split, "good", 0).mask.is_none(), "{class}");
        }
    }
    for category in categories() {
        let texture = image(64, category, "texture", "good", 0);
        assert!(texture.mask.is_none() && texture.rgb.dimensions() == (64, 64), "{category}");
    }
}

#[test]
fn every_image_differs_from_every_other_and_repeats_exactly() {
    let mut seen = std::collections::BTreeSet::new();
    let mut remember =
        |rendered: Rendered, what: String| assert!(seen.insert(rendered.rgb.into_raw()), "{what} is not new");
    for class in classes() {
        for (split, index) in [("train", 0), ("train", 1), ("test", 0), ("test", 1)] {
            remember(image(64, class, split, "good", index), format!("{class}/{split}/{index}"));
        }
        let reseeded = SyntheticSpec { seed: 1, side: 64 };
        remember(render(&reseeded, class, "train", "good", 0).expect("a class"), format!("{class} of seed 1"));
        assert_eq!(image(64, class, "train", "good", 0).rgb, image(64, class, "train", "good", 0).rgb);
    }
    for (class, kind) in all_defects() {
        remember(image(64, class, "test", kind, 0), format!("{class}/{kind}"));
    }
    for category in categories() {
        remember(image(64, category, "texture", "good", 0), category.to_string());
    }
}

/// The generator is a contract: results of other versions of the program are compared on these images. When this
/// fails on purpose, raise `synthetic::VERSION` and write the new digest here.
#[test]
fn the_bits_of_the_generator_are_pinned() {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&dmad::data::layouts::synthetic::VERSION.to_le_bytes());
    let mut add = |rendered: Rendered| {
        hasher.update(rendered.rgb.as_raw());
        if let Some(mask) = rendered.mask {
            hasher.update(mask.as_raw());
        }
    };
    for class in classes() {
        add(image(128, class, "train", "good", 0));
    }
    for (class, kind) in all_defects() {
        (0..2).for_each(|index| add(image(128, class, "test", kind, index)));
    }
    for category in categories() {
        add(image(128, category, "texture", "good", 0));
    }
    assert_eq!(hasher.finalize().to_hex().as_str(), "008f2768570d5cb7fa519ed9cc86ad73c51910b05d50eb2656d0d06bcf27def8");
}

#[test]
fn names_and_sides_that_do_not_exist_are_refused_with_the_choices() {
    for (side, class, split, defect, hint) in [
        (64, "carpet", "train", "good", "fabric"),
        (64, "wood", "train", "hole", "good"),
        (64, "wood", "test", "squeeze", "liquid"),
        (64, "wood", "validation", "good", "texture"),
        (64, "wood", "texture", "good", "banded"),
        (64, "banded", "texture", "hole", "good"),
        (64, "banded", "train", "good", "fabric"),
        (0, "wood", "train", "good", "64"),
        (100_000, "wood", "train", "good", "2048"),
    ] {
        match render(&spec(side), class, split, defect, 0).err() {
            Some(error @ Error::Usage { .. }) => {
                assert!(error.help().is_some_and(|help| help.contains(hint)), "{error}: the help should name {hint}");
            }
            other => panic!("{side} {class}/{split}/{defect}: expected a usage error, got {other:?}"),
        }
    }
}
