//! Numbers of other publications beside the paper's and ours: read strictly, shown with split and training, never mixed
//! across splits, and held against the paper's by `audit`.

use std::collections::BTreeMap;
use std::path::Path;

use dmad::paper::audit::{Audit, Disagreement, audit};
use dmad::paper::statements::Statements;
use dmad::paper::{Published, UNSAID};
use serde_json::Value as Json;

use crate::fixture;
use crate::program::Sandbox;

const HEAD: &str =
    "table,dataset,class,method,variant,anomalies_per_class,metric,value,source,split,setting,epochs,image_size,url";

/// UniAD as published, PatchCore and a short training, on both splits of VisA and on MVTec-AD; all scores made up.
const STUDY: &str = "name = \"beside\"\nreproduces = \"table1\"\nseeds = [0]\nmetrics = [\"image_auroc\"]\n\
    image.size = 224\nmethod.name = \"uniad\"\ndataset = \"visa\"\n\
    [[variant]]\nname = \"bank\"\nmethod.name = \"patchcore\"\n";

fn second(rows: &[&str]) -> String {
    rows.iter().fold(HEAD.to_string(), |text, row| format!("{text}\nother,{row}")) + "\n"
}

/// Made-up records of the study on these datasets.
fn recorded(datasets: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    let study = match datasets {
        [one] => STUDY.replace("\"visa\"", &format!("\"{one}\"")),
        all => format!("{STUDY}[sweep]\ndataset = {all:?}\n"),
    };
    sandbox.write("beside.toml", study);
    fixture::make(&sandbox.path("results"), &sandbox.path("beside.toml"));
    sandbox
}

/// The program's rows, with their sources, of the image AUROC that "dataset method class" names.
fn rows(sandbox: &Sandbox, name: &str, more: &[&str]) -> Vec<Json> {
    let out = sandbox.dmad(&[&["verdict", "results/beside", "--format", "json"], more].concat());
    let json: Vec<Json> = serde_json::from_str(&out.stdout).unwrap_or_else(|_| panic!("{}", out.stderr));
    let named =
        |row: &Json| ["dataset", "method", "class"].map(|key| row[key].as_str().expect("text").to_string()).join(" ");
    let own = |row: &Json| named(row) == name && row["metric"] == "image_auroc";
    json.into_iter().filter(own).collect()
}

fn because(source: &Json) -> Vec<&str> {
    source["because"].as_array().expect("reasons").iter().map(|reason| reason.as_str().expect("words")).collect()
}

#[test]
fn the_built_in_sources_are_read_and_every_value_has_its_conditions() {
    let second = Published::second(None).expect("the built-in sources");
    let mut counts = BTreeMap::new();
    for cell in second.cells() {
        let origin = &cell.origin;
        *counts.entry((cell.key.table.as_str(), origin.source.as_str())).or_insert(0) += 1;
        assert_eq!(origin.split == UNSAID, cell.key.dataset != "visa", "{}", cell.key);
        assert!(origin.setting != UNSAID && origin.url.starts_with("https://"), "{}", cell.key);
    }
    assert_eq!(counts[&("ader_100e", "ADer's benchmark")], 91);
    let found = |table: &str, dataset: &str, metric: &str| {
        let own = |cell: &&dmad::paper::PrintedValue| {
            cell.key.to_string() == format!("{table} {dataset} mean uniad 0 {metric}")
        };
        let cell = second.cells().iter().find(own).unwrap_or_else(|| panic!("{table} {dataset} {metric}"));
        (cell.value.text().to_string(), cell.origin.to_string())
    };
    let ader = "ADer's benchmark (split 1cls, unified setting, 100 epochs, 256 pixels)".to_string();
    assert_eq!(found("ader_100e", "visa", "pixel_pro"), ("86.5".into(), ader));
    let own = "UniAD's paper (one split, unified setting, 1000 epochs, 224 pixels)".to_string();
    assert_eq!(found("uniad_paper", "mvtec_ad", "image_auroc"), ("96.5".into(), own));
    assert_eq!(counts[&("dinomaly_paper", "Dinomaly's paper")], 14);
    let paper = Published::embedded().expect("the paper");
    let split = |dataset: &str| if dataset == "visa" { "2cls_fewshot" } else { UNSAID };
    for cell in paper.cells() {
        assert_eq!((cell.origin.source.as_str(), cell.origin.split.as_str()), ("DMAD", split(&cell.key.dataset)));
        assert_eq!(cell.origin.epochs, if cell.key.method == "dmad" { "48" } else { UNSAID }, "{}", cell.key);
    }
}

#[test]
fn a_broken_source_is_refused_with_file_and_line_and_a_table_without_sources_is_the_papers() {
    let sandbox = Sandbox::new();
    let row = "visa,mean,uniad,full,0,image_auroc,90.0,Some,1cls,unified,100,256,-";
    for (text, words) in [
        (second(&[row, &row.replace(",100,", ",many,")]), "other.csv: line 3: epochs is many, neither a whole number"),
        (second(&[&row.replace(",256,", ",256x256,")]), "line 2: image_size is 256x256"),
        (second(&[&row.replace("unified", "joint")]), "line 2: setting is joint"),
        (second(&[&row.replace("Some", "")]), "line 2: source is []"),
        (second(&[row, row]), "line 3: other visa mean uniad 0 image_auroc is already on line 2"),
        (second(&[row]).replace(",url\n", ",link\n"), "line 1: the header is"),
        (second(&[row]).replace("source,split", "split,source"), "line 1: the header is"),
        (second(&[row]).replace(",-\n", "\n"), "line 2: 13 fields instead of 14"),
        (
            "table,dataset,class,method,variant,anomalies_per_class,metric,value\nt,d,a,m,full,0,image_ap,9\n".into(),
            "line 1: no column \"source\"",
        ),
    ] {
        sandbox.write("other.csv", &text);
        sandbox.dmad(&["audit", "--sources", "other.csv"]).says(2, &["other.csv", words]);
    }
    sandbox.write("other.csv", second(&["visa,mean,uniad,full,0,image_auroc,9o,Some,1cls,unified,100,256,-"]));
    sandbox.dmad(&["verdict", "results", "--sources=other.csv"]).says(2, &["other.csv: line 2: the value is 9o"]);
    let plain = "table,dataset,class,method,variant,anomalies_per_class,metric,value\nt,d,a,m,full,0,image_ap,9\n";
    let plain = Published::parse(plain, Path::new("plain.csv")).expect("a table");
    assert_eq!(
        plain.cells()[0].origin.to_string(),
        "the paper (one split, setting not said, epochs not said, pixels not said)"
    );
}

#[test]
fn a_verdict_shows_other_sources_with_split_and_training_and_never_mixes_splits() {
    let sandbox = recorded(&["visa"]);
    let plain = rows(&sandbox, "visa uniad mean", &[]);
    assert_eq!((plain.len(), plain[0].get("sources")), (1, None), "only where they are asked for");
    let with = rows(&sandbox, "visa uniad mean", &["--sources"]);
    assert_eq!((with.len(), &with[0]["printed"]), (1, &"83.9".into()), "{with:?}");
    let sources = with[0]["sources"].as_array().expect("sources");
    let values: Vec<_> = sources.iter().map(|source| (source["value"].as_str(), source["epochs"].as_str())).collect();
    assert_eq!(values, [(Some("89.0"), Some("100")), (Some("91.4"), Some("300"))]);
    for source in sources {
        assert_eq!((&source["split"], &source["standing"]), (&"1cls".into(), &"not comparable".into()), "{source}");
        let because = because(source);
        assert!(because.contains(&"split 1cls, ours 2cls_fewshot"), "{because:?}");
        assert!(because.contains(&"image size 256, ours 224"), "{because:?}");
        let difference =
            with[0]["mean"].as_f64().expect("ours") - source["value"].as_str().unwrap().parse::<f64>().unwrap();
        assert!((source["difference"].as_f64().expect("a number") - difference).abs() < 1e-9, "{source}");
    }
    // With runs on both, each number stands beside those of its own split.
    let both = recorded(&["visa", "visa_1cls"]);
    let with = rows(&both, "visa uniad mean", &["--sources"]);
    let because = because(&with[0]["sources"][0]);
    assert!(because.iter().all(|reason| !reason.starts_with("split")), "{because:?}");
    assert!(because.iter().any(|reason| reason.starts_with("other data (182 anomalous")), "{because:?}");
    let out = sandbox.dmad(&["verdict", "results/beside", "--sources"]).stdout;
    let beside = &out[out.find("Beside other publications'").expect("a table")..];
    for words in
        ["2cls_fewshot", "unified setting, 100 epochs, 256 pixels", "split 1cls, ours 2cls_fewshot", "ADer's benchmark"]
    {
        assert!(beside.contains(words), "{words:?} is not in:\n{beside}");
    }
    assert!(!sandbox.dmad(&["verdict", "results/beside"]).stdout.contains("Beside"));
}

#[test]
fn a_second_source_is_compared_by_the_tolerance_but_never_judged() {
    let sandbox = recorded(&["mvtec_ad"]);
    let row = |method: &str, class: &str, value: &str, more: &str| {
        format!("mvtec_ad,{class},{method},full,0,image_auroc,{value},Some,{more},-")
    };
    let rows_of = [
        row("uniad", "toothbrush", "92.0", "-,unified,1000,224"),
        row("uniad", "carpet", "50.0", "-,unified,-,-"),
        row("uniad", "bottle", "90.0", "-,per_class,20,224"),
        row("patchcore", "toothbrush", "99.9", "-,unified,-,-"),
    ];
    sandbox.write("other.csv", second(&rows_of.iter().map(String::as_str).collect::<Vec<_>>()));
    let of =
        |method: &str, class: &str| rows(&sandbox, &format!("mvtec_ad {method} {class}"), &["--sources=other.csv"]);
    let standing = |method: &str, class: &str| of(method, class)[0]["sources"][0].clone();
    let near = standing("uniad", "toothbrush");
    assert_eq!(
        (&near["standing"], near["because"].as_array().map(Vec::len)),
        (&"within 4.0".into(), Some(0)),
        "{near}"
    );
    assert_eq!(standing("uniad", "carpet")["standing"], "higher");
    let apart = standing("uniad", "bottle");
    assert_eq!(apart["standing"], "not comparable");
    assert_eq!(because(&apart), ["epochs 20, ours 1000", "setting per_class, ours unified"]);
    // No table of the paper has PatchCore: the run's number is shown, and not judged.
    let only = of("patchcore", "toothbrush");
    assert_eq!((only.len(), &only[0]["printed"], &only[0]["verdict"]), (1, &Json::Null, &"not judged".into()));
    assert_eq!(only[0]["sources"][0]["standing"], "lower", "{only:?}");
    assert_eq!(rows(&sandbox, "mvtec_ad patchcore toothbrush", &[]).len(), 0);
    let text = |more: &[&str]| sandbox.dmad(&[&["verdict", "results/beside", "--sources=other.csv"], more].concat());
    let line = |text: &str, words: &str| text.lines().find(|line| line.contains(words)).expect(words).to_string();
    let (out, before) = (text(&[]), sandbox.dmad(&["verdict", "results/beside"]));
    assert!(line(&out.stdout, "mvtec_ad toothbrush patchcore").contains("lower"), "{}", out.stdout);
    let count = before.stdout.lines().last().expect("a count");
    assert!(out.code == before.code && out.stdout.contains(count), "sources change no verdict: {count}");
    // A study that reproduces no table can be held against them alone.
    sandbox.write("beside.toml", STUDY.replace("reproduces = \"table1\"\n", "").replace("visa", "mvtec_ad"));
    let alone = sandbox.dmad(&["verdict", "beside.toml", "--sources=other.csv"]);
    assert!(alone.code == 0 && alone.stdout.contains("within 4.0"), "{}{}", alone.stdout, alone.stderr);
    sandbox.dmad(&["verdict", "beside.toml"]).says(2, &["does not say which table"]);
}

#[test]
fn a_method_that_is_not_as_published_stands_beside_no_other_source_without_a_word() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let row = |epochs: &str| format!("parts,disc,dmad,full,1,image_auroc,50.0,Some,-,unified,{epochs},-,-");
    let reasons = |epochs: &str| {
        sandbox.write("other.csv", second(&[&row(epochs)]));
        let out = sandbox.dmad(&["verdict", "experiment.toml", "--sources=other.csv", "--format", "json"]);
        let json: Vec<Json> = serde_json::from_str(&out.stdout).unwrap_or_else(|_| panic!("{}", out.stderr));
        assert_eq!(json[0]["sources"][0]["standing"], "not comparable", "{json:?}");
        because(&json[0]["sources"][0]).join("; ")
    };
    let (said, unsaid) = (reasons("9999"), reasons("-"));
    assert!(said.contains("not as published: backbone efficientnet_lite0 (wide_resnet50_2)"), "{said}");
    assert!(said.contains("epochs 9999, ours") && !said.contains("train.epochs"), "{said}");
    assert!(unsaid.contains("not as published: train.epochs"), "{unsaid}");
}

/// What an audit finds in the paper beside `second`.
fn audited(second: &str) -> Audit {
    let published = Published::embedded().expect("the paper");
    let second = Published::parse(second, Path::new("other.csv")).expect("sources");
    audit(&published, &Statements::embedded().expect("statements"), &second, None)
}

#[test]
fn an_audit_finds_what_another_source_contradicts_beyond_the_tolerance_within_one_split() {
    let visa = "visa,mean,uniad,full,0,image_auroc,89.0,Some,1cls,unified,100,256,-";
    let rows = [
        "mvtec_ad,mean,uniad,full,0,image_auroc,95.5,Some,-,unified,100,256,-",
        "mvtec_ad,mean,uniad,full,0,image_ap,95.3,Some,-,unified,100,256,-",
        "mvtec_ad,mean,simplenet,full,0,image_auroc,99.6,Some,-,per_class,160,288,-",
        "mvtec_ad,mean,uniad,full,0,pixel_pro,1.0,Some,-,unified,100,256,-",
        visa,
    ];
    let found = audited(&second(&rows));
    let of_sources: Vec<_> = found.findings.iter().filter(|found| found.kind == Disagreement::Source).collect();
    assert_eq!(
        (found.findings.len(), of_sources.len(), found.checked.sources),
        (12, 1, 2),
        "1.0 is within the tolerance"
    );
    assert_eq!(of_sources[0].place, "table1 mvtec_ad mean uniad 0 image_ap");
    assert!((of_sources[0].difference - 3.1).abs() < 1e-9 && of_sources[0].recomputed == 95.3);
    let origins = "DMAD (one split, unified setting, epochs not said, pixels not said) against Some (one split, \
        unified setting, 100 epochs, 256 pixels)";
    assert_eq!(of_sources[0].evidence, origins);
    let apart: Vec<&str> = found.apart.iter().map(|found| found.place.as_str()).collect();
    assert_eq!(apart, ["table1 mvtec_ad mean simplenet 0 image_auroc", "table1 visa mean uniad 0 image_auroc"]);
    assert!(found.apart[1].evidence.contains("split 2cls_fewshot") && found.apart[1].evidence.contains("split 1cls"));
    // The same number of the paper's own split is a contradiction.
    let same = audited(&second(&[&visa.replace("1cls", "2cls_fewshot")]));
    assert_eq!((same.findings.len(), same.apart.len()), (12, 0));
}

#[test]
fn rd4ad_in_aders_setting_stands_beside_aders_numbers() {
    let (sandbox, file) = (Sandbox::new(), "ader_rd4ad.toml");
    let declared = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/ader/rd4ad.toml");
    let declared = std::fs::read_to_string(declared).expect("an experiment");
    sandbox.write(file, declared.replace("\"mvtec_ad\", \"visa_1cls\"", "\"mvtec_ad\""));
    fixture::make(&sandbox.path("results"), &sandbox.path(file));
    let out = sandbox.dmad(&["verdict", "results/ader_rd4ad", "--sources", "--format", "json"]);
    let rows: Vec<Json> = serde_json::from_str(&out.stdout).unwrap_or_else(|_| panic!("{}", out.stderr));
    let own = |row: &&Json| row["method"] == "rd4ad" && row["class"] == "mean" && row["metric"] == "image_auroc";
    let values: BTreeMap<&str, &Json> = rows
        .iter()
        .filter(own)
        .flat_map(|row| row["sources"].as_array().expect("sources"))
        .map(|source| (source["value"].as_str().expect("a value"), source))
        .collect();
    assert_eq!(values.keys().copied().collect::<Vec<_>>(), ["90.5", "93.6"], "{values:?}");
    let reasons = because(values["93.6"]);
    let apart = |reason: &&str| ["epochs", "setting", "image size", "split"].iter().any(|word| reason.contains(word));
    assert!(!reasons.iter().any(apart), "{reasons:?}");
    assert!(because(values["90.5"]).contains(&"epochs 300, ours 100"));
}

#[test]
fn the_unified_experiment_stands_beside_the_papers_of_its_methods() {
    let sandbox = Sandbox::new();
    let study = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/today/unified.toml");
    fixture::make(&sandbox.path("results"), &study);
    let out = sandbox.dmad(&["verdict", "results/today_unified", "--sources", "--format", "json"]);
    let rows: Vec<Json> = serde_json::from_str(&out.stdout).unwrap_or_else(|_| panic!("{}", out.stderr));
    // Of several variants of one method the one that is called as the method is meant.
    for (method, dataset, source, value) in [
        ("dinomaly", "mvtec_ad", "Dinomaly's paper", "99.6"),
        ("dinomaly", "visa", "Dinomaly's paper", "98.7"),
        ("patchcore", "mvtec_ad", "ADer's benchmark", "98.8"),
        ("rd4ad", "visa", "ADer's benchmark", "90.6"),
    ] {
        let is_meant = |row: &&Json| {
            let own = |key: &str, value: &str| row[key].as_str().is_some_and(|found| found.starts_with(value));
            own("method", method) && own("dataset", dataset) && own("metric", "image_auroc") && row["class"] == "mean"
        };
        let row = rows.iter().find(is_meant).unwrap_or_else(|| panic!("{method} {dataset} is not in {}", out.stdout));
        let sources = row["sources"].as_array().expect("sources");
        let found = sources.iter().find(|own| own["source"] == source).unwrap_or_else(|| panic!("{row}"));
        assert_eq!(found["value"], value, "{method} {dataset}");
        assert!(row["mean"].is_number(), "ours stands beside it: {row}");
    }
}
