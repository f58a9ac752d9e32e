//! `datasets.toml`.

use super::{catalog, data_error, usage_error};

#[test]
fn an_unknown_key_is_refused_with_file_line_and_the_nearest_key() {
    let (path, what, help) = data_error(catalog("[dataset.a]\nlayout = \"mvtec\"\nrot = \"a\"\n").unwrap_err());
    assert!(path.ends_with("datasets.toml") && what.contains("line 3, column 1") && what.contains("`rot`"), "{what}");
    assert!(help.contains("did you mean `root`?"), "{help}");
    let text = "[dataset.a]\nlayout = \"mvtec\"\nroot = \"a\"\ncounts = { x = { trian = 3 } }\n";
    let (_, what, help) = data_error(catalog(text).unwrap_err());
    assert!(what.contains("line 4, column 18") && help.contains("`train`"), "{what}: {help}");
    let (_, what, help) = data_error(catalog("[datasets.a]\nlayout = \"mvtec\"\n").unwrap_err());
    assert!(what.contains("`datasets`") && help.contains("`dataset`"), "{what}: {help}");
}

#[test]
fn a_key_of_another_layout_a_wrong_word_and_broken_toml_are_refused() {
    let text = "[dataset.a]\nlayout = \"mvtec\"\nroot = \"a\"\nside = 64\n";
    let (_, what, help) = data_error(catalog(text).unwrap_err());
    assert!(what.contains("line 4, column 1: unknown key `side` in [dataset.a] (layout mvtec)"), "{what}");
    assert!(help.contains("`side` is a key of layout synthetic"), "{help}");
    for (body, expected) in [
        ("layout = \"mvtec\"\nroot = \"a\"\nside = 64", "`side`"),
        ("layout = \"synthetic\"\nroot = \"a\"\nside = 64", "`root`"),
        ("layout = \"mvtek\"\nroot = \"a\"", "mvtek"),
        ("layout = \"visa\"\nroot = \"a\"\nsplit = \"3cls\"", "line 4, column 9: unknown variant `3cls`"),
        ("layout = \"synthetic\"\nside = \"64\"", "line 3, column 8"),
        ("layout = \"mvtec\"\nroot = \"a\"\nclasses = 3", "line 4, column 11"),
        ("root = \"a\"", "layout"),
        ("layout = ", "line 2"),
        ("layout = \"mvtec\"", "`root` is missing"),
        ("layout = \"mvtec\"\nroot = \"a\"\nclasses = [\"x\", \"x\"]", "twice"),
        ("layout = \"mvtec\"\nroot = \"a\"\nclasses = [\"../x\"]", "`../x`"),
        ("layout = \"mvtec\"\nroot = \"a\"\nclasses = [\"x\"]\ncounts = { y = { train = 1 } }", "`y`"),
        ("layout = \"synthetic\"\nside = 8\ntextures = 1", "32 to 4096"),
        ("layout = \"synthetic\"\nside = 64\ntrain = 3", "above 0"),
    ] {
        let (_, what, _) = data_error(catalog(&format!("[dataset.a]\n{body}\n")).unwrap_err());
        assert!(what.contains(expected), "{body}: {what}");
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
    assert_eq!(catalog.names().collect::<Vec<_>>(), ["mine"]);
    assert!(catalog.get("mine").unwrap().declared.counts.is_empty());
}
