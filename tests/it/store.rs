//! The store: which of its files nobody needs.

use std::path::Path;

use dmad::store::{CHECKPOINTS, Spent, Store, checkpoint_key};

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
    let write = |kind: &str, key: &str| {
        let writer = store.create(kind, key, Vec::new()).expect("a writer");
        writer.finish(serde_json::json!({}), &Spent::default()).expect("written");
    };
    write("adapting", "a1");
    for (kind, key) in [("adapting", "a1"), ("adapting", "b2"), ("training", "c3")] {
        write(CHECKPOINTS, &checkpoint_key(kind, key, 0));
        write(CHECKPOINTS, &checkpoint_key(kind, key, 11));
    }
    write(CHECKPOINTS, "b2.00000");
    let idle = |needed: &[(&str, &str)]| {
        let needed = needed.iter().map(|(kind, key)| (kind.to_string(), key.to_string())).collect();
        let mut names: Vec<String> = Vec::new();
        for file in store.garbage(Some(&needed)).expect("a list") {
            let (kind, key) = artifact_of(&file.path).expect("an artifact");
            names.push(if kind == CHECKPOINTS { key } else { kind });
        }
        names.dedup();
        names
    };
    let (finished, open, other) = (
        ["adapting-a1.00000", "adapting-a1.00011"],
        ["adapting-b2.00000", "adapting-b2.00011"],
        ["training-c3.00000", "training-c3.00011"],
    );
    let nameless = "b2.00000".to_string();
    let of = |lists: &[[&str; 2]]| -> Vec<String> { lists.concat().into_iter().map(str::to_string).collect() };
    let expected = [of(&[finished]), vec![nameless.clone()]].concat();
    assert_eq!(idle(&[("adapting", "a1"), ("adapting", "b2"), ("training", "c3")]), expected);
    let expected = [of(&[finished, open]), vec![nameless], of(&[other])].concat();
    assert_eq!(idle(&[("adapting", "a1"), ("training", "b2")]), expected, "the key alone is not enough");

    store.remove_checkpoints("training", "b2").expect("nothing to remove");
    store.remove_checkpoints("adapting", "b2").expect("removed");
    let mut left = store.some_keys(64).remove(CHECKPOINTS).expect("checkpoints");
    left.sort();
    assert_eq!(left, ["adapting-a1.00000", "adapting-a1.00011", "b2.00000", "training-c3.00000", "training-c3.00011"]);
    assert_eq!(store.some_keys(2)[CHECKPOINTS].len(), 2, "no more than asked for");
}
