//! The synthetic dataset: exact masks, pinned bits, variety, difficulty, clear refusals.

use burn::tensor::{Device, Tensor, TensorData};
use dmad::backbone::Backbone;
use dmad::data::layouts::synthetic::{Rendered, SyntheticSpec, categories, classes, defects, render, twin};
use dmad::data::{Catalog, Source, index};
use dmad::error::Error;
use dmad::features::extract;
use dmad::matrix::Matrix;
use dmad::spec;

fn dataset(side: u32) -> SyntheticSpec {
    SyntheticSpec { seed: 0, side }
}

fn image(side: u32, class: &str, split: &str, defect: &str, index: usize) -> Rendered {
    render(&dataset(side), class, split, defect, index).expect("names that exist")
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
                let sound = twin(&dataset(side), class, "test", kind, index).expect("names that exist");
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
    assert_eq!(hasher.finalize().to_hex().as_str(), "7daf0fea92098c75fbdece8162d353fa955f4c374181653590ea3ec724ce5ae4");
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
        match render(&dataset(side), class, split, defect, 0).err() {
            Some(error @ Error::Usage { .. }) => {
                assert!(error.help().is_some_and(|help| help.contains(hint)), "{error}: the help should name {hint}");
            }
            other => panic!("{side} {class}/{split}/{defect}: expected a usage error, got {other:?}"),
        }
    }
}

/// Side of the images in the difficulty test.
const SIDE: u32 = 192;

/// One class's images of the difficulty test: training, good, and defective ones.
fn difficulty_images(class: &'static str) -> Vec<(&'static str, &'static str, &'static str, usize)> {
    let good = |split, count| (0..count).map(move |index| (class, split, "good", index));
    let kinds = defects(class).expect("a class").iter();
    let defective = kinds.flat_map(|kind| (0..4).map(move |index| (class, "test", *kind, index)));
    good("train", 16).chain(good("test", 10)).chain(defective).collect()
}

/// Image scores by 1-NN distance to every second training patch of all classes, as the largest over the patches.
fn nearest_neighbour_auroc(weights: &str) -> f64 {
    let device = Device::flex();
    let spec = spec::Backbone {
        name: "efficientnet_lite0".into(),
        layers: Vec::new(),
        weights: weights.into(),
        ..Default::default()
    };
    let backbone = Backbone::load(&spec, std::path::Path::new("none"), 0, &device).expect("the embedded weights");
    let concat = spec::Features { aggregation: spec::Aggregation::Concat, ..Default::default() };
    let images: Vec<_> = classes().into_iter().flat_map(difficulty_images).collect();
    let pixels = |i: usize| {
        let (class, split, kind, index) = images[i];
        render(&dataset(SIDE), class, split, kind, index).map(|rendered| rendered.rgb.into_raw())
    };
    let mut features = Vec::new();
    let sink = |rows: Matrix| {
        features.push(rows);
        Ok(())
    };
    let shape = extract(&backbone, &concat, SIDE as usize, images.len(), 8, pixels, sink).expect("features");

    let training = images.iter().zip(&features).filter(|((_, split, ..), _)| *split == "train");
    let bank: Vec<f32> =
        training.flat_map(|(_, rows)| rows.view().data().chunks(shape.dim).step_by(2)).flatten().copied().collect();
    let count = bank.len() / shape.dim;
    let bank = Tensor::<2>::from_data(TensorData::new(bank, [count, shape.dim]), &device);
    let lengths = bank.clone().powf_scalar(2.0).sum_dim(1).transpose();
    let bank = bank.transpose();
    let score = |rows: &Matrix| {
        let data = TensorData::new(rows.view().data().to_vec(), [shape.patches(), shape.dim]);
        let query = Tensor::<2>::from_data(data, &device);
        let own = query.clone().powf_scalar(2.0).sum_dim(1);
        let nearest = (lengths.clone() - query.matmul(bank.clone()) * 2.0).min_dim(1) + own;
        nearest.into_data().try_into_vec::<f32>().expect("f32").into_iter().fold(0.0, f32::max)
    };
    let tested = images.iter().zip(&features).filter(|((_, split, ..), _)| *split == "test");
    let scored: Vec<_> = tested.map(|((class, _, kind, _), rows)| (*class, *kind == "good", score(rows))).collect();
    let of = |class: &str, good: bool| -> Vec<f32> {
        scored.iter().filter(|(c, g, _)| *c == class && *g == good).map(|(_, _, score)| *score).collect()
    };
    let per_class: Vec<f64> = classes().iter().map(|class| auroc(&of(class, false), &of(class, true))).collect();
    println!("{weights}: {per_class:.3?}");
    per_class.iter().sum::<f64>() / per_class.len() as f64
}

/// Share of (defective, good) pairs in the right order; ties count half.
fn auroc(defective: &[f32], good: &[f32]) -> f64 {
    let right = |high: f32, low: f32| {
        if high > low {
            1.0
        } else if high == low {
            0.5
        } else {
            0.0
        }
    };
    let pairs = defective.iter().flat_map(|high| good.iter().map(move |low| right(*high, *low)));
    pairs.sum::<f64>() / (defective.len() * good.len()) as f64
}

#[test]
fn the_set_is_neither_too_easy_nor_too_hard_for_nearest_neighbours_and_random_weights_do_worse() {
    let (trained, random) = (nearest_neighbour_auroc("imagenet"), nearest_neighbour_auroc("random"));
    println!("mean image AUROC: trained {trained:.4}, random {random:.4}");
    assert!((0.75..0.97).contains(&trained), "trained weights give {trained:.4}");
    assert!(random <= trained - 0.05, "random weights give {random:.4}, trained ones {trained:.4}");
}

#[test]
fn the_set_of_the_papers_size_has_mvtec_ads_counts_and_classes_of_one_look_differ() {
    let catalog = Catalog::load(Some(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets.toml"))));
    let entry = catalog.expect("a catalog").get("paper_size").expect("an entry").clone();
    let found = index(&entry, std::path::Path::new("nowhere"), None).unwrap_or_else(|e| panic!("{e}"));
    let counts = found.counts();
    assert_eq!((found.classes.len(), counts.train, counts.test_good, counts.test_bad), (15, 3629, 467, 1258));
    let first = |class: &str| {
        let class = found.classes.iter().find(|known| known.name == class).expect("a class");
        assert!(class.train[0].path.starts_with(&format!("{}/", class.name)));
        match &class.train[0].source {
            Source::Synthetic(drawing) => (drawing.class.clone(), drawing.spec.seed),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((first("wood_1"), first("wood_2")), (("wood".into(), 1), ("wood".into(), 2)));
    let [one, two] =
        [1, 2].map(|seed| render(&SyntheticSpec { seed, side: 64 }, "wood", "train", "good", 0).expect("drawn"));
    assert_ne!(one.rgb, two.rgb);
    let bare = "layout = \"synthetic\"\nclasses = [\"wood_3\"]\nseed = 0\nside = 64\n";
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |counts: &str| {
        let path = folder.path().join("datasets.toml");
        std::fs::write(&path, format!("[dataset.bare]\n{bare}{counts}")).expect("written");
        let told =
            Catalog::load(Some(&path)).and_then(|catalog| index(catalog.get("bare")?, folder.path(), None).map(|_| ()));
        told.expect_err("refused").to_string()
    };
    assert!(refused("").contains("does not say how many images of `wood_3`"), "{}", refused(""));
    let untaught = refused("counts = { wood_3 = { test_good = 2, test_bad = 4 } }\n");
    assert!(untaught.contains("class `wood_3` of `bare` has no normal training image"), "{untaught}");
    assert!(refused("train = 3\n").contains("above 0"), "{}", refused("train = 3\n"));
}
