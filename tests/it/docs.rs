//! The pages about methods and metrics name every key with its default, and nothing that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

/// The keys of an object's schema, dotted: tables hold `None`, leaves their own schema.
fn keys<'a>(schema: &'a Json, prefix: &str, out: &mut BTreeMap<String, Option<&'a Json>>) {
    for (name, value) in schema["properties"].as_object().expect("an object's schema") {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let table = value["properties"].is_object();
        if table {
            keys(value, &key, out);
        }
        out.insert(key, (!table).then_some(value));
    }
}

/// Keys and defaults (TOML) that the first two columns of a page's tables state.
fn stated(page: &str) -> BTreeMap<String, Json> {
    let cell = |cell: Option<&str>| Some(cell?.trim().strip_prefix('`')?.strip_suffix('`')?.to_string());
    let mut found = BTreeMap::new();
    for line in text(page).lines().filter_map(|line| line.strip_prefix('|')) {
        let mut cells = line.split('|');
        let (Some(key), Some(value)) = (cell(cells.next()), cell(cells.next())) else { continue };
        let table: toml::Table =
            toml::from_str(&format!("it = {value}")).unwrap_or_else(|fault| panic!("{key}: {fault}"));
        let value = serde_json::to_value(&table["it"]).expect("plain data");
        assert!(found.insert(key.clone(), value).is_none(), "{page} states `{key}` twice");
    }
    found
}

/// Dotted names in code spans of a page, with the word that they are set to where there is one.
fn named(page: &str) -> Vec<(String, Option<String>)> {
    let (text, mut found) = (text(page), Vec::new());
    let prose: String = text.split("```").step_by(2).collect();
    for span in prose.split('`').skip(1).step_by(2) {
        let (key, value) = span.split_once(" = ").map_or((span, None), |(key, value)| (key, Some(value)));
        let dotted =
            key.contains('.') && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c));
        if dotted {
            let word = value.and_then(|value| value.strip_prefix('"')?.strip_suffix('"'));
            found.push((key.to_string(), word.map(String::from)));
        }
    }
    found
}

/// Whether a default of the schema and one of a page are the same value.
fn same(a: &Json, b: &Json) -> bool {
    a == b || a.as_f64().is_some_and(|number| b.as_f64() == Some(number))
}

/// Holds a page to the keys that it has to state, and to all keys there are.
fn check(page: &str, own: &BTreeMap<String, Option<&Json>>, all: &BTreeMap<String, Option<&Json>>) {
    let stated = stated(page);
    let leaves: BTreeMap<&String, &Json> = own.iter().filter_map(|(key, leaf)| Some((key, (*leaf)?))).collect();
    let expected: BTreeSet<&String> = leaves.keys().copied().collect();
    assert_eq!(
        stated.keys().collect::<BTreeSet<_>>(),
        expected,
        "keys stated by {page} (left) and in the schema (right)"
    );
    for (key, schema) in leaves {
        assert!(same(&schema["default"], &stated[key]), "{page}: `{key}` is {} in the schema", schema["default"]);
    }
    let sections: BTreeSet<&str> = all.keys().filter_map(|key| key.split('.').next()).collect();
    for (key, word) in named(page) {
        if !sections.contains(key.split('.').next().unwrap_or_default()) {
            continue;
        }
        let leaf = all.get(&key).unwrap_or_else(|| panic!("{page} names `{key}`, which is no key"));
        let words = leaf.and_then(|schema| schema["oneOf"].as_array());
        if let (Some(word), Some(words)) = (word, words) {
            assert!(words.iter().any(|known| known["const"] == word.as_str()), "{page}: `{key}` cannot be \"{word}\"");
        }
    }
}

#[test]
fn every_key_of_a_method_is_on_its_page_with_its_default() {
    let schema: Json = serde_json::from_str(&text("experiments/experiment.schema.json")).expect("JSON");
    let methods = schema["properties"]["method"]["anyOf"].as_array().expect("one schema for each method");
    let (others, mut general) = (schema_without_method(&schema), BTreeMap::new());
    keys(&others, "", &mut general);
    let pages = std::fs::read_dir(root().join("docs/methods")).expect("pages").map(|page| page.expect("a page").path());
    let mut names: Vec<String> = pages.map(|page| page.file_stem().expect("a name").to_string_lossy().into()).collect();
    names.sort();
    assert_eq!(
        names,
        ["anomalydino", "bgad", "dinomaly", "dm_grd", "dmad", "dra", "patchcore", "rd4ad", "simplenet", "uniad"],
        "every method of a publication compared here has its page"
    );
    for name in names {
        let method = methods.iter().find(|method| method["properties"]["name"]["const"] == name.as_str());
        let method = method.unwrap_or_else(|| panic!("docs/methods/{name}.md is about no method"));
        let mut own = BTreeMap::new();
        keys(method, "", &mut own);
        own.remove("name");
        let all = general.clone().into_iter().chain(own.clone()).collect();
        check(&format!("docs/methods/{name}.md"), &own, &all);
    }
}

#[test]
fn every_key_of_evaluation_and_protocol_is_on_the_page_about_metrics() {
    let schema: Json = serde_json::from_str(&text("experiments/experiment.schema.json")).expect("JSON");
    let general = schema_without_method(&schema);
    let mut all = BTreeMap::new();
    keys(&general, "", &mut all);
    let of = |key: &str| ["evaluation.", "protocol."].iter().any(|section| key.starts_with(section));
    let own = all.clone().into_iter().filter(|(key, _)| of(key)).collect();
    check("docs/metrics.md", &own, &all);
}

/// What experiments say besides the method.
fn schema_without_method(schema: &Json) -> Json {
    let mut schema = schema.clone();
    schema["properties"].as_object_mut().expect("an object's schema").remove("method");
    schema
}

/// Sections of the pages that code cites: "docs/PAGE.md, Section", as `page, section`.
fn citations(line: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for (start, _) in line.match_indices("docs/") {
        let Some(end) = line[start..].find(".md") else { continue };
        let (page, rest) = (&line[start..start + end + 3], &line[start + end + 3..]);
        let section =
            rest.strip_prefix(", ").map(|rest| rest.split(['.', ';', ')', ',', ':', '`']).next().unwrap_or(""));
        found.push((page.to_string(), section.map(|section| section.trim().to_string())));
    }
    found
}

#[test]
fn pages_and_sections_that_code_cites_are_there() {
    fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path()) {
            if entry.is_dir() { walk(&entry, out) } else { out.push(entry) }
        }
    }
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        for line in std::fs::read_to_string(file).expect("text").lines() {
            for (page, section) in citations(line) {
                let page_text = text(&page);
                let headings: Vec<&str> = page_text
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(|line| line.trim_start_matches(['#', ' ']))
                    .collect();
                let there = section.as_ref().is_none_or(|section| headings.contains(&section.as_str()));
                assert!(there, "{} cites `{section:?}` of {page}, which has {headings:?}", file.display());
            }
        }
    }
}
