//! The store: which of its files nobody needs.

use std::path::Path;

use dmad::store::{CHECKPOINTS, Spent, Store, checkpoint_key};

use crate::program::Sandbox;

/// Kind and key of the artifact that a file belongs to.
fn artifact_of(path: &Path) -> Option<(String, String)> {
    let folder = path.parent()?.file_name()?.to_str()?;
    // Keys of checkpoints have a dot of their own.
    Some((folder.into(), path.file_stem()?.to_str()?.into()))
}

#[test]
fn checkpoints_know_their_stage_whatever_its_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    // Keys as the store gives them, of which two letters are enough here.
    let long = |key: &str| format!("{}{}", "0".repeat(30), key);
    let short = |name: &str| name.replace(&"0".repeat(30), "");
    let write = |kind: &str, key: &str| {
        let writer = store.create(kind, key, Vec::new()).expect("a writer");
        writer.finish(serde_json::json!({}), &Spent::default()).expect("written");
    };
    write("adapting", &long("a1"));
    for (kind, key) in [("adapting", "a1"), ("adapting", "b2"), ("training", "c3")] {
        write(CHECKPOINTS, &checkpoint_key(kind, &long(key), 0));
        write(CHECKPOINTS, &checkpoint_key(kind, &long(key), 11));
    }
    let idle = |needed: &[(&str, &str)]| {
        let needed = needed.iter().map(|(kind, key)| (kind.to_string(), long(key))).collect();
        let mut names: Vec<String> = Vec::new();
        for file in store.garbage(Some(&needed)).expect("a list") {
            let (kind, key) = artifact_of(&file.path).expect("an artifact");
            names.push(if kind == CHECKPOINTS { short(&key) } else { kind });
        }
        names.dedup();
        names
    };
    let (finished, open, other) = (
        ["adapting-a1.00000", "adapting-a1.00011"],
        ["adapting-b2.00000", "adapting-b2.00011"],
        ["training-c3.00000", "training-c3.00011"],
    );
    let of = |lists: &[[&str; 2]]| -> Vec<String> { lists.concat().into_iter().map(str::to_string).collect() };
    let expected = of(&[finished]);
    assert_eq!(idle(&[("adapting", "a1"), ("adapting", "b2"), ("training", "c3")]), expected);
    let expected = of(&[finished, open, other]);
    assert_eq!(idle(&[("adapting", "a1"), ("training", "b2")]), expected, "the key alone is not enough");

    store.remove_checkpoints("training", &long("b2")).expect("nothing to remove");
    store.remove_checkpoints("adapting", &long("b2")).expect("removed");
    let mut left = store.some_keys(64).remove(CHECKPOINTS).expect("checkpoints");
    left.sort();
    let left: Vec<String> = left.iter().map(|key| short(key)).collect();
    assert_eq!(left, ["adapting-a1.00000", "adapting-a1.00011", "training-c3.00000", "training-c3.00011"]);
    assert_eq!(store.some_keys(2)[CHECKPOINTS].len(), 2, "no more than asked for");
}

#[test]
fn a_folder_that_is_no_store_is_neither_listed_nor_cleaned() {
    let sandbox = Sandbox::new();
    for name in ["package.json", "sub/data.json", "sub/model.safetensors", "locks/yarn.lock", "sub/.tmpnotes.txt"] {
        sandbox.write(&format!("project/{name}"), "{}");
    }
    for arguments in [&["gc", "--delete"][..], &["gc", "experiment.toml", "--delete"], &["size"], &["verify"]] {
        let arguments = [&["store"], arguments, &["--store", "project"]].concat();
        sandbox.dmad(&arguments).says(2, &["this is no store of dmad", "--store DIR"]);
    }
    assert!(!sandbox.path("project/in-use").exists(), "something was written there");
}

#[test]
fn cleaning_a_store_leaves_what_others_have_put_there() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let key = "0123456789abcdef0123456789abcdef";
    let foreign = ["notes.json", "features/notes.json", "mine/model.safetensors", "locks/yarn.lock", ".tmpfolder.txt"];
    let own = [format!("features/{key}.safetensors"), format!("locks/features-{key}"), ".tmpAbcdef".into()];
    for name in foreign.iter().copied().chain(own.iter().map(String::as_str)) {
        sandbox.write(&format!(".dmad-store/{name}"), "{}");
    }
    // As a store was before it said what it is.
    std::fs::remove_file(sandbox.path(".dmad-store/dmad-store.txt")).expect("it says what it is");
    assert_eq!(sandbox.dmad(&["store", "gc", "--delete"]).code, 0);
    let there = |name: &str| sandbox.path(&format!(".dmad-store/{name}")).exists();
    assert!(foreign.iter().all(|name| there(name)) && !own.iter().any(|name| there(name)));
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[]);
    assert!(there("dmad-store.txt"));
}
