//! Experiment files from text to runs: includes, variants, sweeps, defaults, `auto`, run ids, the resolved copy, and the
//! schema that editors read.

use std::path::{Path, PathBuf};

use dmad::error::Error;
use dmad::report;
use dmad::spec::{Experiment, RunSpec, canonical_json, difference, load, names_variant, schema};
use serde_json::{Value as Json, json};

use crate::program::Sandbox;

/// Files in a folder of their own.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        Files(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, name: &str) -> Experiment {
        load(&self.path(name), &report::kinds(), &[]).unwrap_or_else(|fault| panic!("{fault}"))
    }
}

fn experiment(text: &str) -> Experiment {
    Files::new(&[("e.toml", text)]).load("e.toml")
}

fn refused(text: &str) -> String {
    let files = Files::new(&[("e.toml", text)]);
    load(&files.path("e.toml"), &report::kinds(), &[])
        .err()
        .unwrap_or_else(|| panic!("this passed:\n{text}"))
        .to_string()
}

fn ids(experiment: &Experiment) -> Vec<String> {
    experiment.runs.iter().map(|run| run.spec.id.clone()).collect()
}

/// The runs of one variant.
fn of<'a>(experiment: &'a Experiment, variant: &str) -> Vec<&'a RunSpec> {
    experiment.runs.iter().map(|run| &run.spec).filter(|spec| names_variant(variant, &spec.variant)).collect()
}

const BASE: &str = "dataset = \"mini\"\n[method]\nname = \"dmad\"\n";

#[test]
fn an_include_merges_tables_deeply_and_replaces_arrays() {
    let base = "name = \"base\"\ndataset = \"mini\"\nseeds = [0, 1, 2]\n[protocol]\ntrain_per_class = 5\nseen.count = 3\n\
                [method]\nname = \"dmad\"\nbank.normal.ratio = 0.5\nbank.normal.starts = 7\n";
    let top =
        "include = \"sub/base.toml\"\nseeds = [4]\n[protocol]\nseen.seed = 9\n[method]\nbank.normal.ratio = 0.25\n";
    let files = Files::new(&[("top.toml", top), ("sub/base.toml", base)]);
    let found = files.load("top.toml");
    assert_eq!(found.name, "top", "an including file is another experiment");
    let [run] = &found.runs[..] else { panic!("{} runs", found.runs.len()) };
    assert_eq!((run.spec.seed, run.spec.protocol.train_per_class), (4, 5));
    assert_eq!((run.spec.protocol.seen.count, run.spec.protocol.seen.seed), (3, 9));
    let bank = &run.spec.method["bank"]["normal"];
    assert_eq!((&bank["ratio"], &bank["starts"]), (&json!(0.25), &json!(7)));
}

#[test]
fn of_several_includes_the_later_wins_and_the_file_itself_wins_over_all() {
    let first = "dataset = \"mini\"\nseeds = [1]\n[method]\nname = \"dmad\"\ntrain.epochs = 1\ntrain.batch = 1\n";
    let second = "seeds = [2]\n[method]\ntrain.batch = 2\ntrain.anomaly_batch = 2\n";
    let top = "include = [\"first.toml\", \"second.toml\"]\n[method]\ntrain.anomaly_batch = 3\n";
    let files = Files::new(&[("top.toml", top), ("first.toml", first), ("second.toml", second)]);
    let found = files.load("top.toml");
    let [run] = &found.runs[..] else { panic!("{} runs", found.runs.len()) };
    let train = &run.spec.method["train"];
    assert_eq!(
        (run.spec.seed, &train["epochs"], &train["batch"], &train["anomaly_batch"]),
        (2, &json!(1), &json!(2), &json!(3))
    );
    let files = Files::new(&[("top.toml", "include = [\"first.toml\", 3]\n"), ("first.toml", first)]);
    let Err(fault) = load(&files.path("top.toml"), &report::kinds(), &[]) else { panic!("3 is no file") };
    assert!(fault.to_string().contains("top.toml:1:26"), "{fault}");
}

#[test]
fn a_file_that_is_included_in_very_many_ways_is_read_once() {
    const FILES: usize = 60;
    let names: Vec<String> = (0..=FILES).map(|number| format!("{number}.toml")).collect();
    let texts: Vec<String> =
        (1..=FILES).map(|next| format!("include = [\"{next}.toml\", \"{next}.toml\"]\n")).collect();
    let mut files: Vec<(&str, &str)> = names.iter().zip(&texts).map(|(name, text)| (&**name, &**text)).collect();
    files.push((&names[FILES], BASE));
    assert_eq!(Files::new(&files).load("0.toml").runs.len(), 1);
    // Another file by the same name from another folder is another file.
    let (one, other) = ("include = \"base.toml\"\n", "include = [\"a/one.toml\", \"b/one.toml\"]\n");
    let second = "[method]\ntrain.epochs = 7\n";
    let files =
        [("top.toml", other), ("a/one.toml", one), ("b/one.toml", one), ("a/base.toml", BASE), ("b/base.toml", second)];
    assert_eq!(Files::new(&files).load("top.toml").runs[0].spec.method["train"]["epochs"], json!(7));
}

#[test]
fn faults_found_after_merging_name_the_file_that_wrote_the_key() {
    let base = "dataset = \"mini\"\n[method]\nname = \"dmad\"\ntrain.epochs = 2\n";
    let top = "include = \"sub/base.toml\"\n\n[image]\nsize = 64\n";
    let files = Files::new(&[("top.toml", top), ("sub/base.toml", base)]);
    let run = &files.load("top.toml").runs[0];
    for (key, file, place) in [
        ("method.train.epochs", "sub/base.toml", "4:16"),
        ("image.size", "top.toml", "4:8"),
        // Not written anywhere: the deepest table above it that is.
        ("image.resize", "top.toml", "3:2"),
        ("method.bank.normal.ratio", "sub/base.toml", "2:2"),
    ] {
        let fault = run.fault(key, "message", None).to_string();
        let expected = format!("{}:{place}: message", files.path(file).display());
        assert_eq!(fault, expected, "{key}");
    }
}

#[test]
fn a_variant_of_another_method_starts_from_that_methods_defaults_and_keeps_the_files_sections() {
    let text = "dataset = \"mini\"\nseeds = [7]\n[protocol]\nseen.count = 2\n[image]\nsize = 128\n[features]\npatch = 5\n\
                [method]\nname = \"dmad\"\nbank.normal.ratio = 0.5\n\
                [[variant]]\nname = \"other\"\nmethod.name = \"patchcore\"\n\
                [[variant]]\nname = \"same\"\nmethod.name = \"dmad\"\nmethod.bank.normal.starts = 3\n";
    let found = experiment(text);
    let (full, other, same) = (of(&found, "full")[0], of(&found, "other")[0], of(&found, "same")[0]);
    assert_eq!((full.features.dim, other.features.dim), (0, 1024), "PatchCore's own default");
    assert_eq!((other.features.patch, other.image.size, other.seed, other.protocol.seen.count), (5, 128, 7, 2));
    assert_eq!(other.method["bank"]["normal"]["ratio"], json!(0.1), "the base's ratio belongs to DMAD");
    assert!(other.method.get("train").is_none(), "{}", other.method);
    assert_eq!(
        same.method["bank"]["normal"],
        json!({
            "ratio": 0.5, "scope": "joint", "projection": 128, "projection_kind": "uniform", "selection": "approximate", "starts": 3
        })
    );
}

#[test]
fn a_sweep_is_a_cross_product_whose_last_key_runs_fastest() {
    let sweep = "[sweep]\n\"protocol.seen.count\" = [5, 1]\n\"method.train.epochs\" = [2, 3]\n";
    let found = experiment(&format!("seeds = [0, 1]\n{BASE}{sweep}"));
    let points: Vec<(i64, usize, u64)> = found
        .runs
        .iter()
        .map(|run| {
            (run.spec.method["train"]["epochs"].as_i64().unwrap_or(-1), run.spec.protocol.seen.count, run.spec.seed)
        })
        .collect();
    let expected = [(2, 5, 0), (2, 5, 1), (2, 1, 0), (2, 1, 1), (3, 5, 0), (3, 5, 1), (3, 1, 0), (3, 1, 1)];
    assert_eq!(points, expected);
}

#[test]
fn a_variants_own_sweep_replaces_the_bases_and_other_variants_keep_it() {
    let text = format!(
        "{BASE}[sweep]\n\"protocol.seen.count\" = [1, 5]\n[[variant]]\nname = \"a\"\nmethod.train.epochs = 9\n\
         [[variant]]\nname = \"b\"\nsweep.\"image.size\" = [64, 96, 128]\n[[variant]]\nname = \"c\"\nsweep = {{}}\n"
    );
    let found = experiment(&text);
    let counts = |variant: &str| of(&found, variant).iter().map(|spec| spec.protocol.seen.count).collect::<Vec<_>>();
    assert_eq!((counts("full"), counts("a"), counts("b"), counts("c")), (vec![1, 5], vec![1, 5], vec![0; 3], vec![0]));
    assert_eq!(of(&found, "b").iter().map(|spec| spec.image.size).collect::<Vec<_>>(), [64, 96, 128]);
    assert_eq!(ids(&reread(&found)), ids(&found));
}

#[test]
fn auto_values_follow_the_number_of_seen_anomalies_after_the_sweep() {
    let found = experiment(&format!("{BASE}[sweep]\n\"protocol.seen.count\" = [0, 5]\n"));
    let values = |spec: &RunSpec| {
        let method = &spec.method;
        json!([
            method["attention"]["mode"],
            method["knowledge"]["batch_norm"],
            method["loss"]["lambda1"],
            method["loss"]["lambda2"]
        ])
    };
    let runs = of(&found, "full");
    assert_eq!(values(runs[0]), json!(["token", "on", 1.0, 0.0]));
    assert_eq!(values(runs[1]), json!(["off", "off", 0.5, 15.0]));
    let given = format!("{BASE}attention.mode = \"image\"\nloss.lambda2 = 3\n[protocol]\nseen.count = 5\n");
    let given = experiment(&given);
    assert_eq!(values(&given.runs[0].spec), json!(["image", "on", 0.5, 3.0]));
    assert!(found.resolved.contains("mode = \"auto\""), "the resolved copy is swept again: {}", found.resolved);
}

#[test]
fn run_ids_are_distinct_and_do_not_depend_on_order_comments_or_whitespace() {
    let plain = "dataset = \"mini\"\nseeds = [0, 1]\n[image]\nsize = 64\n[method]\nname = \"dmad\"\nbank.normal.ratio = 0.5\n\
                 train.epochs = 2\n[protocol]\nseen.count = 3\n";
    let shuffled = "# A comment.\r\n\r\nseeds = [ 0 ,\r\n  1, ] # another\r\ndataset   =   'mini'\r\nname = \"e\"\r\n[protocol.seen]\r\n\
                    count = 0x3\r\n[method.train]\r\nepochs = 2\r\n[method]\r\nbank = { normal = { ratio = 5e-1 } }\r\n\
                    name = \"dmad\"\r\n[image]\r\nsize=64";
    let found = experiment(plain);
    assert_eq!(ids(&experiment(shuffled)), ids(&found));
    let defaults =
        format!("{plain}[evaluation]\nsize = 256\npro = \"exact\"\n[backbone]\nname = \"wide_resnet50_2\"\n");
    assert_eq!(ids(&experiment(&defaults)), ids(&found), "a default that is written down is no other run");
    let mut all = ids(&found);
    for (from, to) in [
        ("0.5", "0.25"),
        ("size = 64", "size = 96"),
        ("count = 3", "count = 4"),
        ("[0, 1]", "[2, 3]"),
        ("mini", "smoke"),
    ] {
        all.extend(ids(&experiment(&plain.replace(from, to))));
    }
    assert!(all.iter().all(|id| id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit())), "{all:?}");
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "two runs share an id");
}

/// The id is a contract: recorded results are found by it.
#[test]
fn the_id_of_a_run_is_the_hash_of_what_differs_from_the_defaults() {
    let id = |identity: &str| blake3::hash(identity.as_bytes()).to_hex()[..12].to_string();
    let found = experiment("dataset = \"mini\"\n[method]\nname = \"patchcore\"\n");
    let plain = "{\"classes\":[],\"dataset\":\"mini\",\"method\":{\"name\":\"patchcore\"},\
        \"seed\":0,\"variant\":\"full\",\"version\":1}";
    assert_eq!(canonical_json(&found.runs[0].identity), plain);
    assert_eq!(found.runs[0].spec.id, id(plain));
    // What is written and is the default anyway makes no other run, be it the method's, a section's or an `auto` resolved.
    let spelled = "dataset = \"mini\"\nfeatures.dim = 1024\nimage.size = 256\n\
        [method]\nname = \"patchcore\"\nbank.normal.ratio = 0.1\n";
    assert_eq!(experiment(spelled).runs[0].spec.id, id(plain));
    let dmad = |rest: &str| {
        let text = format!("dataset = \"mini\"\nprotocol.seen.count = 1\n[method]\nname = \"dmad\"\n{rest}");
        experiment(&text).runs[0].spec.id.clone()
    };
    assert_eq!(dmad("loss.lambda2 = 15.0\nattention.mode = \"off\"\n"), dmad(""));
    assert_ne!(dmad("loss.lambda2 = 14.0\n"), dmad(""));
    let other = "{\"backbone\":{\"weights\":\"random\"},\"classes\":[],\"dataset\":\"mini\",\
        \"method\":{\"bank\":{\"normal\":{\"ratio\":0.2}},\"name\":\"patchcore\"},\
        \"seed\":0,\"variant\":\"full\",\"version\":1}";
    let text =
        "dataset = \"mini\"\nbackbone.weights = \"random\"\n[method]\nname = \"patchcore\"\nbank.normal.ratio = 0.2\n";
    assert_eq!(experiment(text).runs[0].spec.id, id(other));
}

/// The experiment as read from its own resolved copy.
fn reread(found: &Experiment) -> Experiment {
    let files = Files::new(&[("experiment.toml", &found.resolved)]);
    let again = files.load("experiment.toml");
    assert_eq!((&again.name, &again.title, &again.metrics), (&found.name, &found.title, &found.metrics));
    assert_eq!(again.tables.len(), found.tables.len());
    assert_eq!(again.resolved, found.resolved, "resolving twice changes nothing");
    again
}

#[test]
fn the_resolved_copy_gives_the_same_runs() {
    let mut paths = Vec::new();
    toml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments"), &mut paths);
    assert!(
        paths.iter().any(|p| p.ends_with("mini.toml")) && paths.iter().any(|p| p.ends_with("quickstart.toml")),
        "{paths:?}"
    );
    for path in paths {
        let found = load(&path, &report::kinds(), &[]).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(ids(&reread(&found)), ids(&found), "{}", path.display());
    }
    let rivals = "dataset = [\"mini\", \"smoke\"]\n[features]\npatch = 5\n[method]\nname = \"dmad\"\n[sweep]\n\"protocol.seen.count\" = [0, 1]\n\
                  [[variant]]\nname = \"patchcore\"\nmethod.name = \"patchcore\"\nsweep.\"method.bank.normal.ratio\" = [0.1, 0.01]\n\
                  [[variant]]\nname = \"small\"\nbackbone.name = \"resnet18\"\nmethod.attention.mode = \"token\"\n";
    let found = experiment(rivals);
    assert_eq!(found.runs.len(), 4 + 4 + 4);
    assert_eq!(ids(&reread(&found)), ids(&found));
}

fn toml_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        match entry.is_dir() {
            true => toml_files(&entry, out),
            false if entry.extension().is_some_and(|e| e == "toml") => out.push(entry),
            false => {}
        }
    }
}

#[test]
fn a_sweep_over_methods_gives_each_its_own_defaults_and_its_swept_keys() {
    let text = "dataset = \"mini\"\n[method]\nname = \"dmad\"\ntrain.epochs = 3\n\
                [sweep]\n\"method.name\" = [\"dmad\", \"patchcore\"]\n\"method.bank.normal.ratio\" = [0.5, 0.25]\n\
                [[variant]]\nname = \"wide\"\nfeatures.pretrain_dim = 512\n[[variant]]\nname = \"one\"\nsweep = {}\n";
    let found = experiment(text);
    let runs: Vec<(&str, &Json, usize)> = of(&found, "full")
        .iter()
        .map(|s| (s.method_name(), &s.method["bank"]["normal"]["ratio"], s.features.dim))
        .collect();
    let (half, quarter) = (json!(0.5), json!(0.25));
    assert_eq!(
        runs,
        [("dmad", &half, 0), ("patchcore", &half, 1024), ("dmad", &quarter, 0), ("patchcore", &quarter, 1024)]
    );
    assert_eq!(of(&found, "full")[2].method["train"]["epochs"], json!(3));
    assert_eq!(of(&found, "wide").len(), 4);
    assert_eq!(ids(&reread(&found)), ids(&found));
}

#[test]
fn contradicting_parameters_of_a_method_are_told_at_the_swept_value() {
    let text = format!("{BASE}score.image = \"map\"\n[sweep]\n\"method.score.top_k\" = [1, 5]\n");
    let fault = refused(&text);
    assert!(fault.contains("e.toml:6:28") && fault.contains("is the map's maximum"), "{fault}");
    let fault = refused("dataset = \"mini\"\n[method]\nname = \"patchcore\"\nscore.reweight = 1\n");
    assert!(fault.contains("e.toml:4:18") && fault.contains("use 0 (off) or at least 2"), "{fault}");
    let fault = refused(&format!("{BASE}[open]\n\"method.noise.sdt\" = [0.1]\n"));
    assert!(fault.contains("no run has a key \"method.noise.sdt\"") && fault.contains("`method.noise.std`"), "{fault}");
    let fault = refused("dataset = \"mini\"\n");
    assert!(
        fault.contains("`method.name` is missing") && fault.contains("one of: anomalydino, bgad, dinomaly, dm_grd, "),
        "{fault}"
    );
    let fault = refused("[method]\nname = \"dmad\"\n");
    assert!(fault.contains("`dataset` is missing"), "{fault}");
}

#[test]
fn a_file_that_cannot_be_is_refused_without_a_stop() {
    for text in [
        "",
        "\u{feff}",
        "dataset = \"mini\"\nname = \"a/b\"\n[method]\nname = \"dmad\"\n",
        "dataset = \"mini\"\nname = \"..\"\n[method]\nname = \"dmad\"\n",
        "dataset = []\n[method]\nname = \"dmad\"\n",
        "dataset = \"mini\"\nmethod = 3\n",
        "dataset = \"mini\"\n[method]\nname = 3\n",
        "dataset = \"mini\"\nvariant = 3\n[method]\nname = \"dmad\"\n",
        "dataset = \"mini\"\nsweep = 3\n[method]\nname = \"dmad\"\n",
        "dataset = \"mini\"\n[method]\nname = \"dmad\"\n[sweep]\n\"method\" = [3]\n",
        "dataset = \"mini\"\n[method]\nname = \"dmad\"\n[sweep]\n\"\" = [3]\n",
        "dataset = \"mini\"\n[method]\nname = \"dmad\"\n[sweep]\n\"image..size\" = [64]\n",
        "dataset = \"mini\"\n[method]\nname = \"dmad\"\n[sweep]\n\"image.size\" = [1979-05-27]\n",
        "dataset = \"mini\"\n[method]\nname = \"dmad\"\n[[table]]\ncolumns = []\n",
        "dataset = \"mini\"\ninclude = 3\n[method]\nname = \"dmad\"\n",
        "dataset = \"mini\"\ninclude = \".\"\n[method]\nname = \"dmad\"\n",
    ] {
        let fault = refused(text);
        assert!(fault.contains("e.toml:"), "{text:?}: {fault}");
    }
    let deep = format!("dataset = \"mini\"\nclasses = {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refused(&deep).contains("e.toml:2"));
    assert!(matches!(load(Path::new("none.toml"), &report::kinds(), &[]), Err(Error::Usage { .. })));
}

/// Walks the properties of a schema: dotted path and schema of each, tables before what they hold.
fn walk(schema: &Json, path: &mut Vec<String>, visit: &mut dyn FnMut(&[String], &Json)) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        path.push(key.clone());
        visit(path, property);
        walk(property, path, visit);
        path.pop();
    }
}

/// The schema with the table of one method in place of the choice.
fn schema_of_method(full: &Json, method: &Json) -> Json {
    let mut one = full.clone();
    one["properties"]["method"] = method.clone();
    one["properties"]["variant"]["items"]["properties"]["method"] = method.clone();
    one
}

fn toml_at(path: &[String], value: &Json) -> String {
    let key: Vec<String> = path.iter().map(|part| format!("\"{part}\"")).collect();
    let text = toml::Value::try_from(value).expect("plain data").to_string();
    format!("{} = {text}\n", key.join("."))
}

#[test]
fn every_property_of_the_schema_is_accepted_with_its_default() {
    let full = schema(&report::kinds());
    let choices = full["properties"]["method"]["anyOf"].as_array().expect("a choice of methods").clone();
    assert_eq!(choices.len(), report::kinds().methods.len());
    for method in &choices {
        let name = method["properties"]["name"]["const"].as_str().expect("a name");
        let one = schema_of_method(&full, method);
        let mut tried = 0;
        let mut attempt = |text: String| {
            let files = Files::new(&[("e.toml", &text)]);
            if let Err(fault) = load(&files.path("e.toml"), &report::kinds(), &[]) {
                panic!("the schema allows what the parser refuses: {fault}\n{text}");
            }
            tried += 1;
        };
        let head = format!("dataset = \"mini\"\n\"method\".\"name\" = \"{name}\"\n");
        walk(&one, &mut Vec::new(), &mut |path, property| {
            let default = &property["default"];
            let is_leaf = property.get("properties").is_none() && !default.is_null();
            // The empty dataset and the empty list of seeds are only defaults of absence.
            if is_leaf && path != ["dataset"] && path != ["seeds"] {
                attempt(head.clone() + &toml_at(path, default));
            }
        });
        let variant = &one["properties"]["variant"]["items"];
        walk(variant, &mut Vec::new(), &mut |path, property| {
            let default = &property["default"];
            if property.get("properties").is_none() && !default.is_null() && path != ["name"] && path != ["dataset"] {
                attempt(format!("{head}[[variant]]\nname = \"v\"\n{}", toml_at(path, default)));
            }
        });
        let table = &one["properties"]["table"]["items"];
        walk(table, &mut Vec::new(), &mut |path, property| {
            if !property["default"].is_null() {
                attempt(format!("{head}[[table]]\nrows = \"class\"\n{}", toml_at(path, &property["default"])));
            }
        });
        assert!(tried > 40, "{name}: only {tried} properties have defaults");
    }
}

#[test]
fn every_key_of_a_resolved_experiment_is_in_the_schema_and_described() {
    let full = schema(&report::kinds());
    assert!(
        full["$schema"].as_str().is_some_and(|s| s.starts_with("https://json-schema.org/draft/2020-12")),
        "{}",
        full["$schema"]
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/real/mini.toml");
    let mini = load(&path, &report::kinds(), &[]).unwrap_or_else(|fault| panic!("{fault}"));
    let resolved: Json = serde_json::to_value(mini.resolved.parse::<toml::Table>().expect("TOML")).expect("JSON");
    for method in full["properties"]["method"]["anyOf"].as_array().expect("methods") {
        let one = schema_of_method(&full, method);
        walk(&one, &mut Vec::new(), &mut |path, property| {
            let described = property["description"].is_string() || property["const"].is_string() || path == ["method"];
            assert!(described, "{} has no description", path.join("."));
        });
        if method["properties"]["name"]["const"] == resolved["method"]["name"] {
            let mut keys = 0;
            contained(&resolved, &one, "", &mut keys);
            assert!(keys > 60, "{keys} keys");
        }
    }
}

/// Every key of `value` must be a property of `schema`; free-form tables (the sweep) end the walk.
fn contained(value: &Json, schema: &Json, path: &str, keys: &mut usize) {
    for (key, below) in value.as_object().into_iter().flatten() {
        let Some(properties) = schema["properties"].as_object() else { return };
        let Some(property) = properties.get(key) else { panic!("{path}.{key} is not in the schema") };
        *keys += 1;
        contained(below, property, &format!("{path}.{key}"), keys);
        for item in below.as_array().into_iter().flatten() {
            contained(item, &property["items"], &format!("{path}.{key}[]"), keys);
        }
    }
}

#[test]
fn the_schema_that_the_program_prints_is_that_of_the_library() {
    let sandbox = Sandbox::new();
    let printed = sandbox.dmad(&["schema"]);
    printed.says(0, &[]);
    let printed: Json = serde_json::from_str(&printed.stdout).expect("JSON");
    assert_eq!(printed, schema(&report::kinds()));
}

#[test]
fn the_committed_schema_is_the_one_that_the_program_prints() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/experiment.schema.json");
    let committed: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("the schema is there")).expect("JSON");
    let printed = dmad::spec::schema(&dmad::report::kinds());
    assert_eq!(committed, printed, "run `dmad schema > experiments/experiment.schema.json`");
}

#[test]
fn a_new_key_with_a_default_changes_no_difference() {
    let (own, default) = (json!({ "a": 1, "b": { "c": [1], "d": 2 } }), json!({ "a": 0, "b": { "c": [1], "d": 2 } }));
    let (mut newer, mut newer_default) = (own.clone(), default.clone());
    for json in [&mut newer, &mut newer_default] {
        json["b"]["new"] = json!(true);
        json["other"] = json!({ "new": "word" });
    }
    assert_eq!(difference(&own, &default), json!({ "a": 1 }));
    assert_eq!(difference(&newer, &newer_default), difference(&own, &default));
    newer["b"]["new"] = json!(false);
    assert_eq!(difference(&newer, &newer_default), json!({ "a": 1, "b": { "new": false } }));
}
