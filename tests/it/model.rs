//! `dmad export model`: a folder that scores images where neither dataset nor weights nor store are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dmad::methods::METHODS;
use dmad::record::{RecordedRun, read_experiment};
use dmad::report::kinds;

use crate::lab::{BASE, DATASETS, study, variant};
use crate::program::Sandbox;

fn recorded(sandbox: &Sandbox, experiment: &str) -> Vec<RecordedRun> {
    let folder = sandbox.path("results").join(experiment);
    read_experiment(&folder, &kinds()).unwrap_or_else(|e| panic!("{e}")).runs
}

/// All files below a folder with their bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let inside = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let own = inside.flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => [(path.clone(), std::fs::read(&path).expect("a file"))].into(),
    });
    own.collect()
}

/// Cells of `found/scores.csv` by image, as text.
fn scores(sandbox: &Sandbox) -> BTreeMap<String, Vec<String>> {
    let csv = std::fs::read_to_string(sandbox.path("found/scores.csv")).expect("scores");
    let cells = |line: &str| line.split(',').map(|cell| cell.trim_matches('"').to_string()).collect::<Vec<_>>();
    csv.lines().skip(1).map(cells).map(|row| (row[0].clone(), row)).collect()
}

#[test]
fn an_exported_model_judges_photographs_alone_as_its_run_does() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[]);
    let id = recorded(&sandbox, "experiment")[0].id.clone();
    for name in ["disc/test/good/000.png", "plate/test/cut/001.png"] {
        let photo = std::fs::read(sandbox.path("data/parts").join(name)).expect("an image");
        sandbox.write(&format!("photos/{}", name.replace('/', "_")), photo);
    }
    let judge = |from: &[&str]| {
        let rest = ["photos", "--out", "found", "--overlay", "--false-alarms", "25"];
        sandbox.dmad(&[&["predict"], from, &rest].concat()).says(0, &["normal test images of run"]);
        (scores(&sandbox), files(&sandbox.path("found")))
    };
    let by_run = judge(&["--run", &id]);
    sandbox.dmad(&["export", "model", &id[..8], "--out", "model"]).says(0, &[]);
    let model = files(&sandbox.path("model"));
    let ending = |path: &PathBuf| path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let endings: BTreeSet<String> = model.keys().map(ending).collect();
    let known = ["json", "jsonl", "parquet", "safetensors", "toml"].map(String::from);
    assert!(endings.iter().all(|ending| known.contains(ending)), "no image is handed on: {endings:?}");

    // Another machine: the program and the model, and nothing else.
    for gone in ["data", "results", ".dmad-store", "datasets.toml", "experiment.toml", "found"] {
        let path = sandbox.path(gone);
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.unwrap_or_else(|fault| panic!("{gone}: {fault}"));
    }
    let before = std::fs::read_dir(sandbox.path(".")).expect("a folder").count();
    assert_eq!(judge(&["--model", "model"]), by_run, "pictures and scores are those of the run");
    assert_eq!(files(&sandbox.path("model")), model, "a model is read and never written");
    let after = std::fs::read_dir(sandbox.path(".")).expect("a folder").count();
    assert_eq!(after, before + 1, "nothing is left but what was asked for");

    // What is wrong with a model is said.
    let refused = |words: &[&str]| {
        sandbox.dmad(&["predict", "--model", "model", "photos", "--out", "found"]).says(2, words);
    };
    let head = std::fs::read_to_string(sandbox.path("model/model.json")).expect("a head");
    sandbox.write("model/model.json", head.replacen("\"format\":1", "\"format\":7", 1));
    refused(&["model.json: is of another format", "export the model again"]);
    sandbox.write("model/model.json", &head[..head.len() / 2]);
    refused(&["model.json: is damaged"]);
    sandbox.write("model/model.json", head.replacen("\"device\":\"cpu\"", "\"device\":\"cuda\"", 1));
    refused(&["whose stages were others, or has been changed"]);
    sandbox.write("model/model.json", head.replacen("\"device\":\"cpu\"", "\"device\":\"abacus\"", 1));
    refused(&["model.json", "made on abacus in f32, which this program does not know"]);
    let digest = head.split('"').find(|word| word.len() == 64).expect("a digest").to_string();
    sandbox.write(
        "model/model.json",
        head.replace(&digest, &digest.replace(&digest[..1], if &digest[..1] == "0" { "1" } else { "0" })),
    );
    refused(&["whose stages were others, or has been changed"]);
    sandbox.write("model/model.json", &head);
    let bank =
        model.keys().find(|path| path.to_string_lossy().contains("normal_bank") && ending(path) == "safetensors");
    let bank = bank.expect("a bank");
    let mut bytes = model[bank].clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(bank, bytes).expect("written");
    refused(&["an exported model does not hold this image"]);
    sandbox.dmad(&["predict", "--model", "photos", "photos", "--out", "found"]).says(2, &["no exported model"]);
    sandbox.dmad(&["predict", "photos", "--out", "found"]).says(2, &["--run"]);
}

#[test]
fn every_method_is_exported_or_says_what_it_lacks() {
    let sandbox = Sandbox::new();
    sandbox.write("datasets.toml", DATASETS);
    let rows = METHODS
        .iter()
        .map(|entry| variant(entry.kind.name, study(entry.kind.name).strip_prefix(BASE).expect("a study")));
    sandbox.write("all.toml", format!("{}{}", study("patchcore"), rows.collect::<String>()));
    sandbox.dmad(&["run", "all.toml"]).says(0, &[]);
    sandbox.dmad(&["data", "synthesize", "--dataset", "tiny", "drawn"]).says(0, &[]);
    let runs = recorded(&sandbox, "all");
    assert!(runs.len() > METHODS.len(), "every method has a run, and the base: {}", runs.len());
    let mut lacking = BTreeSet::new();
    for run in &runs {
        let folder = format!("models/{}", run.id);
        let out = sandbox.dmad(&["export", "model", &run.id, "--out", &folder]);
        if out.code == 2 {
            out.says(2, &["does not hold this image", "its method compares images with training images"]);
            assert!(!sandbox.path(&folder).exists(), "{}", run.spec.variant);
            lacking.insert(run.spec.method_name().to_string());
            continue;
        }
        out.says(0, &[]);
        let row = &run.images().expect("images")[1];
        let image = format!("drawn/{}", row.path);
        let class = ["--class", &row.class];
        let class = if run.spec.protocol.setting == dmad::spec::Setting::PerClass { &class[..] } else { &[] };
        let rest = ["--model", &folder, &image, "--out", "found"];
        sandbox.dmad(&[&["predict"], &rest[..], class].concat()).says(0, &[]);
        let score: f64 = scores(&sandbox)[&image][1].parse().expect("a number");
        assert_eq!(score.to_bits(), row.score.to_bits(), "{} of {image}", run.spec.variant);
    }
    let left: Vec<String> = files(&sandbox.path("models")).keys().map(|path| path.display().to_string()).collect();
    assert!(left.iter().all(|path| !path.contains(".dmad-")), "{left:?}");
    assert_eq!(lacking, BTreeSet::from(["dra".to_string()]), "DRA compares images with training images");
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
#[test]
fn a_model_of_one_device_serves_another() {
    let sandbox = Sandbox::new();
    sandbox.write("datasets.toml", DATASETS);
    sandbox.write("tiny.toml", study("dmad"));
    sandbox.dmad(&["data", "synthesize", "--dataset", "tiny", "drawn"]).says(0, &[]);
    let device = crate::gpu::device_name();
    let gpu = ["--device", &device];
    for (made_on, other) in [(&[][..], &gpu[..]), (&gpu[..], &[][..])] {
        sandbox.dmad(&[&["run", "tiny.toml"][..], made_on].concat()).says(0, &[]);
        let run = &recorded(&sandbox, "tiny")[0];
        let export = ["export", "model", &run.id, "--out", "model"];
        let refused = sandbox.dmad(&[&export[..], other].concat());
        refused
            .says(2, &[&format!("run {} was made with --device", run.id), "say the same here", "serves every device"]);
        let predict = ["predict", "--run", &run.id, "drawn/tile/test", "--class", "tile", "--out", "found"];
        sandbox.dmad(&[&predict[..], other].concat()).says(2, &["was made with --device", "export model"]);
        sandbox.dmad(&[&export[..], made_on].concat()).says(0, &[]);
        let judge = |device: &[&str], words: &[&str]| {
            let predict = ["predict", "--model", "model", "drawn/tile/test", "--class", "tile", "--out", "found"];
            sandbox.dmad(&[&predict[..], device].concat()).says(0, words);
            scores(&sandbox).into_values().map(|row| row[1].parse().expect("a score")).collect::<Vec<f64>>()
        };
        let predict =
            ["predict", "--model", "model", "drawn/tile/test", "--class", "tile", "--out", "found", "--naive"];
        sandbox.dmad(&predict).says(2, &["made without --naive"]);
        if !made_on.is_empty() {
            let cut = [&export[..4], &["elsewhere", "--precision", "tf32"], made_on].concat();
            sandbox.dmad(&cut).says(2, &["--precision f32, and its stages"]);
        }
        let (there, here) = (judge(made_on, &[]), judge(other, &["the model was made on", "last digits may differ"]));
        assert!(there.len() > 4 && there != here, "they round otherwise");
        let largest = there.iter().fold(0.0f64, |largest, score| largest.max(score.abs()));
        let apart = there.iter().zip(&here).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-5 * largest, "{apart} of {largest}");
        std::fs::remove_dir_all(sandbox.path("model")).expect("removed");
    }
}

#[test]
fn weights_of_a_file_go_with_the_model_where_they_would_be_found_again() {
    let sandbox = Sandbox::new();
    sandbox.write("datasets.toml", DATASETS);
    let study = |weights: &str| study("patchcore").replace("\"imagenet\"", &format!("\"{weights}\""));
    let weights = || {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/efficientnet_lite0_stride16.safetensors");
        sandbox.write("weights/own/lite.safetensors", std::fs::read(file).expect("the weights"));
    };
    weights();
    sandbox.write("below.toml", study("own/lite.safetensors"));
    sandbox.write("beside.toml", study("./weights/own/lite.safetensors"));
    sandbox.dmad(&["run", "below.toml", "beside.toml"]).says(0, &[]);
    let export = |experiment: &str| {
        let id = recorded(&sandbox, experiment)[0].id.clone();
        sandbox.dmad(&["export", "model", &format!("{experiment}/{id}"), "--out", experiment])
    };
    export("below").says(0, &[]);
    assert!(sandbox.path("below/weights/own/lite.safetensors").is_file());
    sandbox.dmad(&["data", "synthesize", "--dataset", "tiny", "drawn"]).says(0, &[]);
    std::fs::remove_dir_all(sandbox.path("weights")).expect("removed");
    sandbox.dmad(&["predict", "--model", "below", "drawn/tile/test/good", "--out", "found"]).says(0, &[]);
    weights();
    export("beside").says(2, &["would not be found on another machine", "name it from there"]);
    assert!(!sandbox.path("beside").exists());
    sandbox.write("full/note.txt", "mine");
    let id = recorded(&sandbox, "below")[0].id.clone();
    sandbox.dmad(&["export", "model", &id, "--out", "full"]).says(2, &["full is not empty"]);
}

#[test]
fn a_model_of_normal_images_alone_draws_maps_of_others() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["init", "data/cloth", "--name", "cloths"]).says(0, &[]);
    sandbox.dmad(&["run", "cloths.toml", "--set", "method.train.epochs=1", "--no-gallery"]).says(0, &[]);
    let run = recorded(&sandbox, "cloths").into_iter().find(|run| run.spec.variant == "nearest_normal").expect("a run");
    let out = sandbox.dmad(&["export", "model", &run.id, "--out", "model"]);
    assert!(out.code == 0 && out.stdout.contains("has no test image to be tried on"), "{} {}", out.stdout, out.stderr);
    for from in [["--run", &run.id], ["--model", "model"]] {
        let rest = ["data/parts/disc/test/cut", "--out", "found", "--overlay"];
        sandbox.dmad(&[&["predict"], &from[..], &rest].concat()).says(0, &["colours are those of these images alone"]);
        assert_eq!(files(&sandbox.path("found")).len(), 1 + 2 * 3, "a list, and a map and an overlay of each");
    }
}
