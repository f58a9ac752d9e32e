//! Rules of the repository, held by a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Modules in the order in which data flows; a module may use those before it. `run`, `report` and `cli` are the rim.
const ORDER: [&str; 32] = [
    "error", "console", "clock", "memory", "naive", "stop", "threads", "random", "matrix", "metrics", "spec", "store",
    "fetch", "data", "augment", "maps", "paper", "device", "backbone", "features", "bank", "embed", "plan", "train",
    "methods", "record", "run", "report", "export", "cli", "lib", "main",
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

/// The text without comments and documentation.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// First names of all paths of this crate: in `use` lines and lists, and written out where they are used.
fn named(text: &str) -> Vec<String> {
    let text: String = code(text).flat_map(|line| [line.trim(), " "]).collect();
    let name = |path: &str| path.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(String::from);
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::").filter(|(at, _)| !text[..*at].ends_with(['$', '_', ':'])) {
        let path = &text[at + "crate::".len()..];
        match path.strip_prefix('{') {
            None => names.extend(name(path)),
            Some(list) => names.extend(items(list).into_iter().filter_map(name)),
        }
    }
    names
}

/// The items of a list of imports that has just been opened, nested lists left whole.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => {
                items.push(&list[start..at]);
                return items;
            }
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

#[test]
fn imports_point_against_the_flow_of_the_data() {
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    for (path, (own, text)) in all() {
        let own_place = place(&own).unwrap_or_else(|| panic!("{} is in no module of the order", path.display()));
        for head in named(&text).iter().filter(|head| place(head).is_some()) {
            let fine = place(head) <= Some(own_place) || ALLOWED.contains(&(own.as_str(), head));
            assert!(fine, "{} uses `{head}`, which comes after `{own}`", path.display());
        }
    }
}

#[test]
fn paths_are_seen_in_lists_and_where_they_are_used() {
    let text = "use crate::{a::{x, y}, b, c::z};\nuse crate::d;\n// crate::e\nfn f() -> crate::g::H { crate::i::j() }";
    assert_eq!(named(text), ["a", "b", "c", "d", "g", "i"]);
}

/// A file that can be read in one go.
const FILE_LINES: usize = 400;

/// A function that can be seen at once.
const FUNCTION_LINES: usize = 60;

#[test]
fn no_file_and_no_function_is_longer_than_can_be_read() {
    let mut long = Vec::new();
    for (path, (_, text)) in all() {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES {
            long.push(format!("{}: {} lines", path.display(), lines.len()));
        }
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
            // The formatter closes a function where it began.
            let close = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            let length = lines[start..].iter().position(|line| *line == close).map_or(1, |last| last + 1);
            if length > FUNCTION_LINES && !line.ends_with([';', '}']) {
                long.push(format!("{}:{}: {length} lines: {}", path.display(), start + 1, line.trim()));
            }
        }
    }
    assert!(long.is_empty(), "more than {FILE_LINES} lines or {FUNCTION_LINES} in a function:\n{}", long.join("\n"));
}

fn begins_function(line: &str) -> bool {
    let words = line.trim_start().split(' ');
    let mut words =
        words.skip_while(|word| word.starts_with("pub") || ["const", "unsafe", "async", "in"].contains(word));
    words.next() == Some("fn")
}

#[test]
fn heavy_crates_have_one_home() {
    let homes: [(&str, &[&str]); 15] = [
        ("cubecl::", &["device", "bank", "backbone", "features"]),
        ("burn::", &["backbone", "bank", "features", "embed", "train", "methods", "plan", "run", "device"]),
        ("polars::", &["record"]),
        ("clap::", &["cli", "device"]),
        ("rand_chacha::", &["random"]),
        ("image::", &["data", "cli"]),
        ("comfy_table::", &["report", "cli"]),
        ("maud::", &["report"]),
        ("plotters::", &["report"]),
        ("bhtsne::", &["embed"]),
        ("ureq::", &["fetch"]),
        ("tar::", &["fetch"]),
        ("flate2::", &["fetch", "report"]),
        ("pdf_writer::", &["report"]),
        ("indicatif::", &["console", "run"]),
    ];
    for (path, (own, text)) in all() {
        for (name, allowed) in homes {
            let used = code(&text).any(|line| line.match_indices(name).any(|(at, _)| begins_path(&line[..at])));
            assert!(!used || allowed.contains(&own.as_str()), "{} uses {name}", path.display());
        }
    }
}

/// Whether a path that comes after `before` begins there: no name and no path is continued.
fn begins_path(before: &str) -> bool {
    !before.trim_end_matches("::").ends_with(|c: char| c.is_alphanumeric() || "_>".contains(c))
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
