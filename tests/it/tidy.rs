//! Rules of the repository, held by a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Modules in the order in which data flows; a module may use those before it. `run`, `report` and `cli` are the rim.
const ORDER: [&str; 25] = [
    "error", "clock", "memory", "random", "matrix", "metrics", "spec", "store", "data", "maps", "paper", "device",
    "backbone", "features", "bank", "embed", "plan", "train", "methods", "record", "run", "report", "cli", "lib",
    "main",
];

/// Edges against the order that are there on purpose: an error carries a diagnostic of `spec`.
const ALLOWED: [(&str, &str); 1] = [("error", "spec")];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("src is there").map(|entry| entry.expect("readable").path()) {
        if entry.is_dir() {
            sources(&entry, out);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            out.push(entry);
        }
    }
}

fn module(path: &Path, root: &Path) -> String {
    let first = path.strip_prefix(root).expect("below src").components().next().expect("a file");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string()
}

fn all() -> BTreeMap<PathBuf, (String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths
        .into_iter()
        .map(|path| (path.clone(), (module(&path, &root), std::fs::read_to_string(&path).expect("text"))))
        .collect()
}

#[test]
fn imports_point_against_the_flow_of_the_data() {
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    for (path, (own, text)) in all() {
        let own_place = place(&own).unwrap_or_else(|| panic!("{} is in no module of the order", path.display()));
        for used in text.lines().filter_map(|line| line.trim().strip_prefix("use crate::")) {
            let heads: Vec<&str> = match used.strip_prefix('{') {
                Some(list) => {
                    list.split(',').map(|item| item.trim().split([':', '}', ' ']).next().unwrap_or("")).collect()
                }
                None => vec![used.split([':', ';', ' ']).next().unwrap_or("")],
            };
            for head in heads.into_iter().filter(|head| place(head).is_some()) {
                let fine = place(head) <= Some(own_place) || ALLOWED.contains(&(own.as_str(), head));
                assert!(fine, "{} uses `{head}`, which comes after `{own}`", path.display());
            }
        }
    }
}

#[test]
fn heavy_crates_have_one_home() {
    let homes: [(&str, &[&str]); 9] = [
        ("burn::", &["backbone", "features", "bank", "embed", "train", "methods", "plan", "run", "device"]),
        ("polars::", &["record"]),
        ("clap::", &["cli", "device"]),
        ("rand_chacha::", &["random"]),
        ("image::", &["data", "cli"]),
        ("comfy_table::", &["report", "cli"]),
        ("maud::", &["report"]),
        ("plotters::", &["report"]),
        ("bhtsne::", &["embed"]),
    ];
    for (path, (own, text)) in all() {
        for (name, allowed) in homes {
            let used = text.lines().any(|line| {
                line.trim_start()
                    .strip_prefix("use ")
                    .is_some_and(|rest| rest.trim_start_matches("::").starts_with(name))
            });
            assert!(!used || allowed.contains(&own.as_str()), "{} uses {name}", path.display());
        }
    }
}

#[test]
fn metrics_know_no_images_and_no_tensors() {
    for (path, (_, text)) in all().into_iter().filter(|(_, (own, _))| own == "metrics") {
        for word in ["burn::", "image::", "polars::", "safetensors::"] {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn every_module_says_what_it_owns() {
    for (path, (_, text)) in all() {
        assert!(text.starts_with("//!"), "{} has no module documentation", path.display());
    }
}
