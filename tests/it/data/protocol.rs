//! Subsets, seen anomalies, and what leaves the test set.

use super::{copy_of, entry, real, usage_error};
use crate::util;
use dmad::data::digest::Digests;
use dmad::data::index::{self, Image, Index};
use dmad::data::protocol::{ClassSplit, Split, split};
use dmad::spec::{Budget, Protocol, Sampler, Seen};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The protocol of `experiments/mini.toml` with `count` seen anomalies.
fn mini(count: usize, sampler: Sampler) -> Protocol {
    Protocol {
        train_per_class: 64,
        test_good_per_class: 24,
        test_per_defect: 8,
        test_defects_min: 24,
        seen: Seen { count, sampler, ..Seen::default() },
        ..Protocol::default()
    }
}

fn all(count: usize) -> Protocol {
    Protocol { seen: Seen { count, ..Seen::default() }, ..Protocol::default() }
}

fn divide(index: &Index, protocol: &Protocol, seed: u64) -> Split {
    split(index, protocol, seed, &mut Digests::open(None)).unwrap()
}

fn class<'a>(split: &'a Split, name: &str) -> &'a ClassSplit {
    split.classes.iter().find(|class| class.name == name).unwrap()
}

fn paths<'a>(images: impl IntoIterator<Item = &'a Image>) -> Vec<&'a str> {
    images.into_iter().map(|image| image.path.as_str()).collect()
}

fn seen(class: &ClassSplit) -> Vec<&str> {
    paths(class.seen.iter().map(|seen| &seen.image))
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn the_python_sampler_picks_what_the_released_code_would() {
    let data = util::data();
    let found = divide(&real("mini", &data), &mini(5, Sampler::Python), 7);
    // CPython: random.seed(0), shuffle of the sorted "type/file" list, for each class anew.
    for (name, expected) in [
        (
            "screw",
            ["manipulated_front/000", "thread_side/003", "scratch_head/004", "scratch_neck/005", "thread_side/005"],
        ),
        ("magnetic_tile", ["blowhole/000", "fray/003", "break/004", "crack/005", "fray/005"]),
        ("paper_zpb01_rl", ["impurity/014", "impurity/000", "impurity/017", "impurity/007", "impurity/006"]),
    ] {
        let expected = expected.map(|item| format!("{name}/test/{item}.png"));
        assert_eq!(seen(class(&found, name)), expected);
    }
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn one_five_and_ten_seen_anomalies_are_nested_leave_the_test_set_and_share_the_pool() {
    let data = util::data();
    let index = real("mini", &data);
    for sampler in [Sampler::Python, Sampler::Chacha] {
        let splits = [0, 1, 5, 10].map(|count| divide(&index, &mini(count, sampler), 3));
        let full = &splits[3];
        for (count, found) in [0, 1, 5, 10].into_iter().zip(&splits) {
            assert_eq!(found.duplicates, 0);
            for (class, full) in found.classes.iter().zip(&full.classes) {
                assert_eq!((class.seen.len(), &class.pool), (count, &full.pool));
                assert_eq!(class.seen[..], full.seen[..count]);
                assert_eq!(
                    (class.test.len(), class.truth.images().len()),
                    (class.pool.len() - count, class.test.len())
                );
                let tested = paths(class.test.iter().map(|&i| &class.pool[i]));
                assert_eq!(tested, paths(class.truth.images().iter().map(|l| &l.image)));
                assert!(seen(class).iter().all(|path| !tested.contains(path)));
                assert!(class.test.is_sorted());
            }
        }
    }
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn a_budget_counts_anomalies_of_a_class_or_evenly_by_kind_or_of_each_kind() {
    let data = util::data();
    let index = real("mini", &data);
    let of = |budget: Budget, count: usize| {
        let plain = mini(count, Sampler::Python);
        let protocol = Protocol { seen: Seen { budget, ..plain.seen.clone() }, ..plain };
        split(&index, &protocol, 0, &mut Digests::open(None))
    };
    let kinds = |budget, count| {
        let found = of(budget, count).expect("a split");
        let screw = class(&found, "screw");
        assert!(seen(screw).iter().all(|path| !paths(screw.test.iter().map(|&i| &screw.pool[i])).contains(path)));
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        screw.seen.iter().for_each(|seen| *kinds.entry(seen.defect.clone()).or_default() += 1);
        kinds.into_values().collect::<Vec<_>>()
    };
    // Five kinds. A permutation of all of them is not even.
    assert_eq!(kinds(Budget::Class, 5), [1, 1, 1, 2]);
    assert_eq!(kinds(Budget::ClassEven, 5), [1; 5]);
    assert_eq!(kinds(Budget::ClassEven, 10), [2; 5]);
    let seven = kinds(Budget::ClassEven, 7);
    assert!(seven.iter().sum::<usize>() == 7 && seven.iter().all(|count| *count >= 1), "{seven:?}");
    assert_eq!(kinds(Budget::ClassEven, 1), [1]);
    assert_eq!(kinds(Budget::Defect, 2), [2; 5]);
    assert_eq!(kinds(Budget::Defect, 0), [0; 0]);
    let (message, _) = usage_error(of(Budget::Defect, 9).unwrap_err());
    assert!(message.contains("defect `") && message.contains("9 seen anomalies are wanted, 8 are"), "{message}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn subsets_have_the_sizes_that_the_experiment_asks_for() {
    let data = util::data();
    let found = divide(&real("mini", &data), &mini(0, Sampler::Python), 0);
    for (name, train, good, bad) in
        [("screw", 64, 24, 40), ("magnetic_tile", 64, 24, 40), ("paper_brg01_rl", 32, 16, 24)]
    {
        let class = class(&found, name);
        let anomalous = class.truth.labels().iter().filter(|label| **label).count();
        assert_eq!((class.train.len(), class.test.len() - anomalous, anomalous), (train, good, bad), "{name}");
        assert!(class.train.is_sorted_by_key(|image| &image.path));
        assert_eq!(class.train[0].file_name(), "000.png");
    }
    let whole = divide(&real("mini", &data), &all(0), 0);
    assert_eq!(class(&whole, "screw").test.len(), 160);
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn the_split_does_not_depend_on_the_order_of_the_listing_or_on_the_other_classes() {
    let data = util::data();
    let index = real("mini", &data);
    let mut mixed = index.clone();
    mixed.classes.iter_mut().for_each(|class| class.test.reverse());
    let alone = index::index(&entry("mini"), &data, Some(&["screw".into()])).unwrap();
    for sampler in [Sampler::Python, Sampler::Chacha] {
        let protocol = mini(5, sampler);
        let expected = divide(&index, &protocol, 1);
        assert_eq!(expected, divide(&mixed, &protocol, 1));
        assert_eq!(class(&expected, "screw"), &divide(&alone, &protocol, 1).classes[0]);
    }
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn the_seed_of_the_run_moves_chacha_alone() {
    let data = util::data();
    let index = real("mini", &data);
    let picks = |sampler, seed| {
        let found = divide(&index, &mini(5, sampler), seed);
        found.classes.iter().flat_map(seen).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(picks(Sampler::Python, 0), picks(Sampler::Python, 1));
    assert_eq!(picks(Sampler::Chacha, 0), picks(Sampler::Chacha, 0));
    assert_ne!(picks(Sampler::Chacha, 0), picks(Sampler::Chacha, 1));
    // Classes of equal size draw from streams of their own.
    let found = divide(&index, &mini(5, Sampler::Chacha), 0);
    let files = |name: &str| seen(class(&found, name)).iter().map(|p| p.replace(name, "")).collect::<Vec<_>>();
    assert_ne!(files("paper_brg01_rl"), files("paper_brg02_rl"));
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn too_many_seen_anomalies_are_refused_and_all_of_them_are_allowed() {
    let data = util::data();
    let index = real("smoke", &data);
    let (what, _) = usage_error(split(&index, &all(12), 0, &mut Digests::open(None)).unwrap_err());
    assert!(what.contains("`leather`") && what.contains("12 seen") && what.contains("11 are available"), "{what}");
    let found = divide(&index, &all(11), 0);
    assert_eq!(found.classes[0].test.len(), 4);
    assert!(found.classes[0].truth.labels().iter().all(|label| !label));
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn excluded_classes_give_no_seen_anomalies_and_must_exist() {
    let data = util::data();
    let index = real("mini", &data);
    let mut protocol = mini(5, Sampler::Chacha);
    protocol.seen.exclude_classes = vec!["screw".into()];
    let found = divide(&index, &protocol, 0);
    assert_eq!((class(&found, "screw").seen.len(), class(&found, "magnetic_tile").seen.len()), (0, 5));
    assert_eq!(class(&found, "screw").test.len(), class(&found, "screw").pool.len());
    protocol.seen.exclude_classes = vec!["scrwe".into()];
    let (what, help) = usage_error(split(&index, &protocol, 0, &mut Digests::open(None)).unwrap_err());
    assert!(what.contains("`scrwe`") && help.contains("`screw`"), "{what}: {help}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn copies_of_a_seen_anomaly_leave_the_test_set_under_any_name() {
    let data = util::data();
    let folder = copy_of("smoke", &data);
    let leather = folder.path().join("smoke/leather");
    let seen_path = divide(&real("smoke", folder.path()), &all(1), 0).classes[0].seen[0].image.path.clone();
    let seen_file = folder.path().join("smoke").join(&seen_path);
    fs::write(leather.join("test/good/003.png"), fs::read(seen_file).unwrap()).unwrap();
    let index = real("smoke", folder.path());
    let found = divide(&index, &all(1), 0);
    assert_eq!((found.duplicates, found.classes[0].test.len()), (1, 13));
    assert!(!paths(found.classes[0].truth.images().iter().map(|l| &l.image)).contains(&"leather/test/good/003.png"));
    assert_eq!(divide(&index, &all(0), 0).classes[0].test.len(), 15, "nothing leaves when nothing is seen");
}

/// A dataset in VisA's two-class layout: the real paper images of `visa_layout`, 20 of its anomalies for training.
fn two_class(data: &Path) -> (tempfile::TempDir, Index) {
    let folder = copy_of("visa_layout", data);
    let csv = folder.path().join("visa_layout/split_csv");
    let text = fs::read_to_string(csv.join("1cls.csv")).unwrap();
    let mut left = 20;
    let lines = text.lines().map(|line| {
        let moves = line.contains("test,anomaly") && left > 0;
        left -= usize::from(moves);
        if moves { line.replace("test,anomaly", "train,anomaly") + "\n" } else { format!("{line}\n") }
    });
    fs::write(csv.join("2cls_fewshot.csv"), lines.collect::<String>()).unwrap();
    let entry = "[dataset.two]\nlayout = \"visa\"\nroot = \"visa_layout\"\n";
    let index = index::index(super::catalog(entry).unwrap().get("two").unwrap(), folder.path(), None).unwrap();
    (folder, index)
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn visa_two_class_splits_take_seen_anomalies_from_training_and_keep_the_test_set() {
    let data = util::data();
    let (_folder, index) = two_class(&data);
    let counts = index.classes[0].counts();
    assert_eq!((counts.train, counts.train_bad, counts.test_good, counts.test_bad), (32, 20, 16, 28));
    let tests: Vec<_> = [0, 1, 5, 10].map(|count| divide(&index, &all(count), 0).classes.remove(0)).into();
    for class in &tests {
        assert_eq!((class.test.len(), &class.truth), (44, &tests[0].truth));
        assert!(seen(class).iter().all(|path| !paths(&class.pool).contains(path)));
    }
    assert_eq!(tests[3].seen.len(), 10);
    let (what, _) = usage_error(split(&index, &all(21), 0, &mut Digests::open(None)).unwrap_err());
    assert!(what.contains("20 are available"), "{what}");
}

#[test]
fn drawings_split_without_touching_the_disk() {
    let index = index::index(&entry("synthetic"), Path::new("/nowhere"), None).unwrap();
    let found = divide(&index, &all(4), 0);
    assert!(found.duplicates == 0 && found.classes.iter().all(|class| class.seen.len() == 4));
}
