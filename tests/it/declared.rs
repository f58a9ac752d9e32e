//! What a study declares and what its outputs make of it: sweeps, rows added after the runs, names that do not exist, runs
//! of other settings.

use std::path::Path;

use crate::fixture;
use crate::program::{EXPERIMENT, Sandbox};

/// A sandbox with the made-up records and the file that declared them.
fn judged() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    fixture::copy_to(&sandbox.path("results"));
    let text = std::fs::read_to_string(fixture::study()).expect("the fixture's file");
    sandbox.write("judged.toml", &text);
    (sandbox, text)
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.as_ref().display()))
}

#[test]
fn what_is_swept_names_the_rows_of_a_table() {
    let sandbox = Sandbox::new();
    let more = "\n[sweep]\n\"method.bank.normal.ratio\" = [0.05, 0.5]\n\"protocol.seen.count\" = [0, 1]\n\
                [[table]]\nrows = \"variant\"\nvariants = [\"full\"]\n[[figure]]\nkind = \"bars\"\n";
    sandbox.write("experiment.toml", format!("{EXPERIMENT}{more}"));
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let table = read(sandbox.path("results/experiment/tables/table1.csv"));
    for row in ["\"full[ratio=0.05]\",", "\"full[ratio=0.5]\","] {
        let cells: Vec<&str> = table.lines().filter(|line| line.starts_with(row)).collect();
        assert_eq!(cells.len(), 4, "two metrics, two counts: {table}");
        assert!(cells.iter().all(|cell| cell.ends_with(",,1,")), "one seed behind each: {table}");
    }
    let notes = read(sandbox.path("results/experiment/tables/table1.md"));
    assert!(notes.contains("All runs: not as published: backbone efficientnet_lite0 (wide_resnet50_2)"), "{notes}");
    let bars = read(sandbox.path("results/experiment/figures/figure1.csv"));
    assert_eq!(bars.matches("full[ratio=").count(), 4, "{bars}");
}

#[test]
fn rows_with_other_numbers_of_seen_anomalies_are_never_compared_without_a_word() {
    let (sandbox, text) = judged();
    let more = "\n[[variant]]\nname = \"zero\"\nmethod.score.top_k = 9\nsweep.\"protocol.seen.count\" = [0]\n\
                [[table]]\nrows = \"variant\"\nvariants = [\"near\", \"zero\"]\n";
    sandbox.write("judged.toml", format!("{text}{more}"));
    sandbox.dmad(&["report", "judged.toml"]);
    let table = read(sandbox.path("results/judged/tables/table3.md"));
    assert!(table.contains("0 seen") && table.contains("10 seen"), "{table}");
}

#[test]
fn a_table_shows_every_variants_paired_difference_to_the_one_it_names() {
    let (sandbox, text) = judged();
    let table = |name: &str| format!("{text}\n[[table]]\nrows = \"variant\"\nagainst = \"{name}\"\n");
    sandbox.write("judged.toml", table("full"));
    let out = sandbox.dmad(&["report", "judged.toml"]).stdout;
    assert!(out.contains("Compared with full by image_auroc, mean over classes of mvtec_ad"), "{out}");
    let compared = read(sandbox.path("results/judged/tables/table3_ranking.csv"));
    let fields = |variant: &str| -> Vec<String> {
        let own = |line: &&str| line.contains("image_auroc") && line.contains(variant);
        compared.lines().find(own).unwrap_or_else(|| panic!("{compared}")).split(',').map(str::to_string).collect()
    };
    let (twin, rival) = (fields("twin"), fields("rival"));
    assert_eq!(twin.last().map(String::as_str), Some("\"full\""), "{compared}");
    assert!(rival.iter().filter_map(|field| field.parse::<f64>().ok()).any(|value| value < -5.0), "{rival:?}");
    assert!(rival.contains(&"\"worse than full\"".into()), "{rival:?}");
    assert!(twin.contains(&"\"not told apart from full\"".into()), "{twin:?}");
    let tex = read(sandbox.path("results/judged/tables/table3_ranking.tex"));
    for words in [
        "\\begin{tabular}{lrrll}",
        "Compared with full by image AUROC, mean over",
        "rival, 10 seen",
        "{[}$-",
        "& worse than full \\\\",
    ] {
        assert!(tex.contains(words), "{words} is not in:\n{tex}");
    }
    let claims = read(sandbox.path("results/judged/tables/claims.tex"));
    assert!(claims.contains("$ {[}$"), "signs are mathematics: {claims}");
    sandbox.write("judged.toml", table("fulll"));
    sandbox.dmad(&["report", "judged.toml"]).says(2, &["there is no variant \"fulll\"", "did you mean `full`"]);
}

#[test]
fn rows_and_claims_added_to_a_file_show_before_they_were_run() {
    let (sandbox, text) = judged();
    let before = sandbox.dmad(&["report", "judged.toml"]).stderr;
    let more = "\n[[variant]]\nname = \"later\"\nmethod.score.top_k = 9\nsweep.\"protocol.seen.count\" = [10]\n\
                [[claim]]\ntext = \"later is better\"\nbetter = \"later\"\nthan = \"near\"\nmetric = \"image_auroc\"\n";
    sandbox.write("judged.toml", format!("{text}{more}").replace("title = \"Made-up", "title = \"Newly made-up"));
    let out = sandbox.dmad(&["report", "judged.toml"]);
    assert_eq!(out.code, 1, "runs are missing: {}", out.stderr);
    let ranked = read(sandbox.path("results/judged/tables/table2.md"));
    assert!(ranked.lines().any(|line| line.starts_with("| later") && line.contains("not run")), "{ranked}");
    let claims = read(sandbox.path("results/judged/tables/claims.csv"));
    let line = claims.lines().find(|line| line.contains("later is better")).expect("the claim");
    assert!(line.contains("undecided"), "{line}");
    assert!(read(sandbox.path("results/judged/report.html")).contains("Newly made-up"));
    assert!(!before.contains("other settings"), "{before}");
    // With other settings of all, what was recorded is named and not shown.
    let other = |line: &str| match line.contains("\"variant\":\"full\"") {
        true => line.replacen("\"run\":\"", "\"run\":\"f", 1) + "\n",
        false => format!("{line}\n"),
    };
    let declared: String = read(sandbox.path("results/judged/runs.jsonl")).lines().map(other).collect();
    sandbox.write("results/judged/runs.jsonl", declared);
    let out = sandbox.dmad(&["report", "results/judged"]);
    assert!(out.stderr.contains("recorded runs of other settings are not shown"), "{}", out.stderr);
}

#[test]
fn names_in_tables_that_do_not_exist_are_refused_at_their_place() {
    let sandbox = Sandbox::new();
    let refused = |table: &str, words: &[&str]| {
        sandbox.write("experiment.toml", format!("{EXPERIMENT}\n[[table]]\n{table}\n"));
        sandbox.dmad(&["plan", "experiment.toml"]).says(2, words);
    };
    refused("rows = \"class\"\nmethods = [\"dmat\"]", &["`table.methods`", "\"dmat\"", "did you mean `dmad`"]);
    refused("rows = \"class\"\ndatasets = [\"part\"]", &["`table.datasets`", "did you mean `parts`"]);
    refused("rows = \"class\"\nalso = [\" \"]", &["`also` names what nobody has built"]);
    refused("rows = \"variant\"\nalso = [\"full\"]", &["`also` names what nobody has built"]);
    refused("rows = \"class\"\ncolumns = [\"class\"]", &["a dimension is shown twice"]);
    refused("rows = \"class\"\ncolumns = [\"seed\", \"seed\"]", &["a dimension is shown twice"]);
}

#[test]
fn names_in_a_recorded_copy_that_do_not_exist_are_refused_at_their_place() {
    let (sandbox, _) = judged();
    let copy = read(sandbox.path("results/judged/experiment.toml"));
    let refused = |text: String, words: &str| {
        sandbox.write("results/judged/experiment.toml", text);
        sandbox.dmad(&["report", "results/judged"]).says(2, &["results/judged/experiment.toml:", words]);
    };
    let with = |more: &str| format!("{copy}\n{more}\n");
    refused(with("[[table]]\nrows = \"class\"\nvariants = [\"nobody\"]"), "there is no variant \"nobody\"");
    refused(with("[[table]]\nrows = \"class\"\nmethods = [\"nobody\"]"), "`table.methods`: the experiment has no");
    refused(with("[[table]]\nrows = \"class\"\ncolumns = [\"class\"]"), "a dimension is shown twice");
    let claim = "[[claim]]\ntext = \"x\"\nbetter = \"nobody\"\nthan = \"full\"\nmetric = \"image_auroc\"";
    refused(with(claim), "there is no variant \"nobody\"");
    refused(copy.replacen("name = \"judged\"", "name = \"a/b\"", 1), "\"a/b\" cannot name a folder");
}

#[test]
fn a_figure_that_no_run_could_fill_says_why_it_is_not_there() {
    let (sandbox, text) = judged();
    let figures = "\n[[figure]]\nkind = \"histogram\"\nseed = 9\n[[figure]]\nkind = \"tsne\"\nseen_anomalies = [7]\n\
                   [[figure]]\nkind = \"tsne\"\nvariants = [\"rival\"]\nparts = [\"seen\"]\n";
    sandbox.write("judged.toml", text + figures);
    let said = sandbox.dmad(&["report", "judged.toml"]).stderr;
    for words in ["figure 1: the experiment has no run of that", "figure 2: the experiment has no run of that"] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert!(said.contains("figure 3: run ") && said.contains("has no bank of the wanted parts"), "{said}");
}

#[test]
fn a_mean_over_fewer_classes_is_marked_and_never_the_best() {
    let (sandbox, _) = judged();
    sandbox.dmad(&["report", "results/judged"]);
    let table = read(sandbox.path("results/judged/tables/table2.md"));
    let row = table.lines().find(|line| line.starts_with("| part")).expect("the row");
    assert!(row.contains('*'), "{row}");
    assert!(table.contains("* a mean over 2 of the 3 classes that other runs have."), "{table}");
    let tex = read(sandbox.path("results/judged/tables/table2.tex"));
    let row = tex.lines().find(|line| line.starts_with("part")).expect("the row");
    assert!(!row.contains("textbf") && !row.contains("underline"), "{row}");
}

#[test]
fn one_study_that_cannot_be_read_keeps_nobody_from_the_others() {
    let (sandbox, _) = judged();
    sandbox.write("never.toml", EXPERIMENT);
    let out = sandbox.dmad(&["report", "never.toml", "results/judged"]);
    out.says(1, &["never.toml: ", "holds no recorded experiment"]);
    assert!(sandbox.path("results/judged/report.html").is_file());
    sandbox.dmad(&["report", "never.toml"]).says(2, &["holds no recorded experiment"]);
}

#[test]
fn a_record_without_its_log_or_with_edited_settings_is_refused() {
    let (sandbox, _) = judged();
    let runs = sandbox.path("results/judged/runs");
    let mut folders: Vec<_> = std::fs::read_dir(&runs).expect("runs").flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let log = folders[0].join("log.jsonl");
    let text = read(&log);
    std::fs::remove_file(&log).expect("removed");
    sandbox.dmad(&["report", "results/judged"]).says(1, &["log.jsonl", "is missing"]);
    std::fs::write(&log, text).expect("written");
    let record = folders[0].join("run.toml");
    let text = read(&record);
    // A key that is newer than the record changes nothing; a key that says something else does.
    let older = text.replacen("hidden = 1024\n", "", 1);
    assert_ne!(older, text);
    let sealed = |text: &str| dmad::record::seal(&text[..text.rfind("# ").expect("a seal")]);
    std::fs::write(&record, sealed(&older)).expect("written");
    let out = sandbox.dmad(&["report", "results/judged"]);
    assert!(out.code == 1 && !out.stderr.contains("not readable"), "only runs are missing: {}", out.stderr);
    let edited = text.replacen("hidden = ", "hidden = 1", 1);
    std::fs::write(&record, &edited).expect("written");
    sandbox.dmad(&["report", "results/judged"]).says(1, &["run.toml", "its seal is broken"]);
    std::fs::write(&record, sealed(&edited)).expect("written");
    sandbox.dmad(&["report", "results/judged"]).says(1, &["run.toml", "its settings are not those of the run"]);
}

#[test]
fn an_epoch_whose_metric_is_undefined_does_not_cost_the_run() {
    let sandbox = Sandbox::new();
    // All anomalies are seen, so that none is left to be told from normal images.
    sandbox.edit(&[
        ("seen.count = 1", "seen.count = 3"),
        ("train.epochs = 1", "train.epochs = 2\ntrain.select = \"best_test\""),
    ]);
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    assert!(!out.stderr.contains("panicked"), "{}", out.stderr);
    assert_eq!(out.code, 0, "{}", out.stderr);
    let table = read(sandbox.path("results/experiment/tables/table1.md"));
    assert!(table.contains("undefined"), "{table}");
}

#[test]
fn every_experiment_on_the_real_benchmark_needs_its_data_and_weights_and_nothing_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/real");
    let mut names = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()) {
        let experiment = dmad::spec::load(&file, &dmad::report::kinds(), &[]).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(names.insert(experiment.name.clone()), "two are named {}", experiment.name);
        for run in &experiment.runs {
            let (dataset, backbone) = (run.spec.dataset.as_str(), run.spec.backbone.name.as_str());
            assert_eq!((dataset, backbone), ("mini", "efficientnet_lite0"), "{}", file.display());
        }
    }
    assert!(names.len() > 15, "{names:?}");
}
