//! `datasets.toml`.

use super::{catalog, usage_error};
use dmad::data::catalog::{Catalog, Counts};
use dmad::data::layouts::LAYOUTS;
use dmad::error::Error;

/// The fault of a catalog, as the program shows it.
fn fault(text: &str) -> String {
    match catalog(text).map(|_| ()).unwrap_err() {
        Error::Spec(diagnostic) => diagnostic.to_string(),
        other => panic!("another kind of error: {other:?}"),
    }
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_the_nearest_key() {
    let said = fault("[dataset.a]\nlayout = \"mvtec\"\nrot = \"a\"\n");
    assert!(said.contains("datasets.toml:3:1: unknown key `dataset.a.rot` (did you mean `root`? known: "), "{said}");
    let said = fault("[dataset.a]\nlayout = \"mvtec\"\nroot = \"a\"\ncounts = { x = { trian = 3 } }\n");
    assert!(said.contains(":4:18: unknown key") && said.contains("did you mean `train`?"), "{said}");
    let said = fault("[datasets.a]\nlayout = \"mvtec\"\n");
    assert!(said.contains("`datasets`") && said.contains("`dataset`"), "{said}");
}

#[test]
fn a_key_of_another_layout_a_wrong_word_and_broken_toml_are_refused() {
    for (body, expected) in [
        (
            "layout = \"mvtec\"\nroot = \"a\"\nside = 64",
            "4:1: unknown key `dataset.a.side` (it is a key of `layout` synthetic)",
        ),
        (
            "layout = \"mvtec\"\nroot = \"a\"\nimages = \"b\"",
            "4:1: unknown key `dataset.a.images` (it is a key of `layout` visa, real_iad, folder)",
        ),
        ("layout = \"synthetic\"\nroot = \"a\"\nside = 64", "3:1: unknown key `dataset.a.root`"),
        (
            "layout = \"mvtek\"\nroot = \"a\"",
            "did you mean `mvtec`? known: mvtec2, mvtec, visa, btad, real_iad, elpv, folder, synthetic",
        ),
        ("layout = \"visa\"\nroot = \"a\"\nsplit = \"3cls\"", "4:9: `dataset.a.split` cannot be \"3cls\""),
        ("layout = \"synthetic\"\nside = \"64\"", "3:8: `dataset.a.side` must be an integer"),
        ("root = \"a\"", "`dataset.a` lacks `layout`"),
        ("layout = ", ":2:"),
        ("layout = \"mvtec\"", "1:10: dataset `a`: `root` is missing"),
        ("layout = \"mvtec\"\nroot = \"a\"\nclasses = [\"x\", \"x\"]", "twice"),
        ("layout = \"mvtec\"\nroot = \"a\"\nclasses = [\"../x\"]", "`../x`"),
        ("layout = \"mvtec\"\nroot = \"a\"\nclasses = [\"x\", \"mean\"]", "cannot be called `mean`"),
        ("layout = \"mvtec\"\nroot = \"a\"\nclasses = [\"x\"]\ncounts = { y = { train = 1 } }", "`y`"),
        ("layout = \"synthetic\"\nside = 63\ntextures = 1", "64 to 2048"),
        ("layout = \"synthetic\"\nside = 5000000000\ntextures = 1", "3:8: "),
        ("layout = \"synthetic\"\nside = 64\ntrain = 3", "above 0"),
        ("layout = \"mvtec2\"\nroot = \"a\"\nvalidation = \"test\"", "4:14: `dataset.a.validation` cannot be \"test\""),
        ("layout = \"real_iad\"\nroot = \"a\"\nsplit = \"1cls\"", "4:9: `dataset.a.split` cannot be \"1cls\""),
        ("layout = \"elpv\"\nroot = \"a\"\ntrain_share = 1.0", "train_share = 1 is no share"),
        ("layout = \"elpv\"\nroot = \"a\"\nanomalous_from = 0.0", "anomalous_from = 0 is no probability above 0"),
        ("layout = \"elpv\"\nroot = \"a\"\nbetween = \"kept\"", "4:11: `dataset.a.between` cannot be \"kept\""),
    ] {
        let said = fault(&format!("[dataset.a]\n{body}\n"));
        assert!(said.contains(expected), "{body}: {said}");
    }
}

#[test]
fn an_unknown_dataset_is_refused_with_the_known_names_and_the_nearest() {
    let catalog = dmad::data::catalog::Catalog::load(None).unwrap();
    let (what, help) = usage_error(catalog.get("mvtec").unwrap_err());
    assert!(
        what.contains("`mvtec`") && help.contains("did you mean `mvtec_ad`?") && help.contains("visa_1cls"),
        "{help}"
    );
    let missing = dmad::data::catalog::Catalog::load(Some(std::path::Path::new("/nowhere/datasets.toml")));
    assert!(missing.unwrap_err().to_string().contains("/nowhere/datasets.toml"));
}

#[test]
fn a_second_dataset_of_a_known_layout_is_one_entry() {
    let catalog = catalog("[dataset.mine]\nlayout = \"mvtec\"\nroot = \"mine\"\n").unwrap();
    let names: Vec<&str> = catalog.names().collect();
    assert!(names.contains(&"mine") && names.contains(&"mvtec_ad"), "beside those that are built in: {names:?}");
    assert!(catalog.get("mine").unwrap().declared.counts.is_empty());
}

#[test]
fn the_built_in_catalog_names_every_layout() {
    let built_in = include_str!("../../../datasets.toml");
    let known = LAYOUTS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    let built_in = built_in.replace("\n# ", " ");
    assert!(built_in.contains(&format!("a known layout ({known})")), "{known}");
}

#[test]
fn the_built_in_catalog_declares_the_published_totals() {
    let catalog = Catalog::load(None).unwrap();
    for (name, classes, total) in [
        ("mvtec_ad", 15, [3629, 0, 467, 1258]),
        ("visa", 12, [1924, 240, 7697, 960]),
        ("visa_1cls", 12, [8659, 0, 962, 1200]),
        ("visa_2cls_highshot", 12, [5773, 720, 3848, 480]),
        ("mpdd", 6, [888, 0, 176, 282]),
        ("mvtec_ad_2", 8, [2528, 0, 379, 705]),
        ("elpv", 2, [1206, 0, 302, 1116]),
        ("dtd", 47, [5640, 0, 0, 0]),
    ] {
        let entry = catalog.get(name).unwrap();
        let sum = |f: fn(&Counts) -> usize| entry.declared.counts.values().map(f).sum::<usize>();
        assert_eq!((entry.declared.classes.len(), entry.declared.counts.len()), (classes, classes), "{name}");
        let sums = [sum(|c| c.train), sum(|c| c.train_bad), sum(|c| c.test_good), sum(|c| c.test_bad)];
        assert_eq!(sums, total, "{name}");
    }
}

/// What is declared by the program is known by its numbers of images; where it lies is everybody's own affair.
#[test]
fn a_dataset_of_ones_own_under_a_published_name_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("datasets.toml");
    let built_in = include_str!("../../../datasets.toml");
    let moved = built_in.replace("root = \"mvtec_ad\"", "root = \"elsewhere\"");
    assert_ne!(moved, built_in);
    for (text, is_other) in [
        (moved.as_str(), false),
        (&built_in.replace("toothbrush = { train = 60,", "toothbrush = { train = 6,"), true),
        (&built_in.replace("toothbrush = { train = 60, test_good = 12, test_bad = 30 }", ""), true),
        ("[dataset.mvtec_ad]\nlayout = \"mvtec\"\nroot = \"mine\"\nclasses = [\"toothbrush\"]\n", true),
        ("[dataset.mine]\nlayout = \"mvtec\"\nroot = \"mine\"\n", false),
    ] {
        std::fs::write(&path, text).expect("written");
        let catalog = Catalog::load(Some(&path)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(catalog.is_redeclared("mvtec_ad"), is_other, "{text:.300}");
        assert!(!catalog.is_redeclared("mine"));
    }
    assert!(!Catalog::load(None).expect("the program's own").is_redeclared("mvtec_ad"));
}
