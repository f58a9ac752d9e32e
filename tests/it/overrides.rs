//! `--set KEY=VALUE`: as if the file said so, for one command.

use crate::program::{EXPERIMENT, Outcome, Sandbox, finished};

fn json(outcome: &Outcome) -> serde_json::Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", outcome.stdout, outcome.stderr))
}

fn plan(sandbox: &Sandbox, file: &str, set: &[&str]) -> serde_json::Value {
    let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    let plan = sandbox.dmad(&[&["plan", file, "--format", "json"], &set[..]].concat());
    plan.says(0, &[]);
    json(&plan)
}

/// Ids of the planned runs.
fn ids(plan: &serde_json::Value) -> Vec<String> {
    let runs = plan["runs"].as_array().expect("runs");
    runs.iter().map(|run| run["run"].as_str().expect("an id").to_string()).collect()
}

#[test]
fn what_is_set_is_a_setting_as_if_the_file_said_so() {
    let sandbox = Sandbox::new();
    let own = ids(&plan(&sandbox, "experiment.toml", &[]));
    let set = ["image.size=96", "method.train.epochs=2", "method.bank.outlier.dataset=cloth", "protocol.seen.count=2"];
    let overridden = ids(&plan(&sandbox, "experiment.toml", &set));
    assert_ne!(own, overridden);
    let edits = [("size = 64", "size = 96"), ("epochs = 1", "epochs = 2"), ("seen.count = 1", "seen.count = 2")];
    sandbox.edit(&edits);
    assert_eq!(ids(&plan(&sandbox, "experiment.toml", &[])), overridden, "the same settings have the same id");
    // Whatever can be written in a file.
    for set in
        ["seeds=[3]", "classes=[\"disc\"]", "seeds = [ 3 ]", "sweep.\"protocol.seen.count\"=[0, 1]", "image={size=96}"]
    {
        plan(&sandbox, "experiment.toml", &[set]);
    }
    assert_eq!(ids(&plan(&sandbox, "experiment.toml", &["seeds=[3, 4]"])).len(), 2);
    assert_eq!(ids(&plan(&sandbox, "experiment.toml", &["sweep.\"protocol.seen.count\"=[0, 1]"])).len(), 2);
    // The last one counts.
    let twice = ids(&plan(&sandbox, "experiment.toml", &["image.size=128", "image.size=96"]));
    assert_eq!(twice, overridden);
}

#[test]
fn a_report_of_which_nothing_is_recorded_names_what_is() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml", "--set", "image.size=96"]).says(0, &["1 runs done"]);
    let words =
        ["run the experiment first; 1 runs of other settings are recorded", "dmad runs list results/experiment"];
    sandbox.dmad(&["report", "experiment.toml"]).says(2, &words);
    assert!(sandbox.dmad(&["runs", "list", "results/experiment"]).stdout.contains("full"));
}

#[test]
fn runs_of_both_settings_are_recorded_side_by_side_and_each_report_finds_its_own() {
    let sandbox = Sandbox::new();
    let set = ["--set", "image.size=96"];
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["experiment: 1 runs done"]);
    let run = sandbox.dmad(&[&["run", "experiment.toml"], &set[..]].concat());
    run.says(0, &["experiment: 1 runs done, 0 were up to date"]);
    assert!(run.stdout.contains("parts (image.size = 96)"), "the table says what was set: {}", run.stdout);
    assert_eq!(std::fs::read_dir(sandbox.path("results/experiment/runs")).expect("a folder").count(), 2);
    let id = |more: &[&str]| {
        let report = sandbox.dmad(&[&["report", "experiment.toml", "--format", "json"], more].concat());
        report.says(0, &[]);
        let report = json(&report);
        assert_eq!(report["missing"].as_array().map(Vec::len), Some(0), "{report}");
        let rows = report["rows"].as_array().expect("rows");
        assert!(!rows.is_empty() && rows.iter().all(|row| row["run"] == rows[0]["run"]), "one run alone: {report}");
        rows[0]["run"].as_str().expect("an id").to_string()
    };
    assert_eq!(vec![id(&set)], ids(&plan(&sandbox, "experiment.toml", &["image.size=96"])));
    assert_eq!(vec![id(&[])], ids(&plan(&sandbox, "experiment.toml", &[])));
    let again = sandbox.dmad(&["run", "experiment.toml"]);
    assert_eq!(finished(&again.events), (0, 1), "the first run is still up to date");
    let list = json(&sandbox.dmad(&["runs", "list", "--format", "json"]));
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    sandbox
        .dmad(&[&["report", "experiment.toml", "--set", "image.size=128"][..]].concat())
        .says(2, &["none of the 1 runs"]);
    // Another name keeps them apart.
    let named = sandbox.dmad(&["run", "experiment.toml", "--set", "image.size=96", "--set", "name=larger"]);
    named.says(0, &["recorded in results/larger"]);
}

#[test]
fn further_seeds_of_the_same_settings_stay_in_a_report() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml", "--seeds", "0,1"]).says(0, &[]);
    let report = json(&sandbox.dmad(&["report", "experiment.toml", "--format", "json"]));
    let seeds: std::collections::BTreeSet<u64> =
        report["rows"].as_array().expect("rows").iter().map(|row| row["seed"].as_u64().expect("a seed")).collect();
    assert_eq!(seeds, [0, 1].into());
}

#[test]
fn a_key_that_is_wrong_is_named_with_the_nearest() {
    let sandbox = Sandbox::new();
    let refused = |set: &str, words: &[&str]| {
        for command in ["run", "plan", "report", "verdict"] {
            let outcome = sandbox.dmad(&[command, "experiment.toml", "--set", set]);
            assert_eq!(outcome.code, 2, "{command} {set}: {}", outcome.stderr);
            for word in words {
                assert!(outcome.stderr.contains(word), "{command} {set}: {word:?} is not in:\n{}", outcome.stderr);
            }
        }
        assert!(!sandbox.path("results").exists());
    };
    refused("image.siz=96", &["--set", "unknown key `image.siz`", "did you mean `size`?"]);
    refused("methd.name=patchcore", &["unknown key `methd`", "did you mean `method`?"]);
    refused("method.train.epoch=3", &["unknown key `method.train.epoch`", "did you mean `epochs`?"]);
    refused("image.size=large", &["`image.size` must be an integer, not a string"]);
    refused("method.name=dmat", &["there is no method \"dmat\"", "did you mean `dmad`?"]);
    refused("image.size", &["write KEY=VALUE, such as image.size=320"]);
    refused("=3", &["--set"]);
    refused("seeds=[1", &["--set", "a value is TOML"]);
    refused("include=other.toml", &["`include` is read before anything is set"]);
    refused("image.size=1", &["image.size"]);
}

#[test]
fn another_method_takes_its_own_defaults() {
    let sandbox = Sandbox::new();
    let plan = plan(&sandbox, "experiment.toml", &["method.name=patchcore", "protocol.seen.count=0"]);
    assert_eq!(plan["runs"][0]["method"], "patchcore");
}

#[test]
fn a_key_that_every_row_sweeps_would_count_nowhere() {
    let sandbox = Sandbox::new();
    sandbox.write("experiment.toml", format!("{EXPERIMENT}\n[sweep]\n\"method.train.epochs\" = [1, 2]\n"));
    let words = ["`method.train.epochs` would count nowhere", "--set 'sweep.\"method.train.epochs\"=[3]'"];
    sandbox.dmad(&["plan", "experiment.toml", "--set", "method.train.epochs=3"]).says(2, &words);
    assert_eq!(ids(&plan(&sandbox, "experiment.toml", &["sweep.\"method.train.epochs\"=[3]"])).len(), 1);
}

#[test]
fn the_command_for_a_failed_run_says_what_was_set_and_each_process_of_isolate_knows_it() {
    let sandbox = Sandbox::new();
    let whole = std::fs::read(sandbox.path("data/parts/disc/test/cut/000.png")).expect("a picture");
    sandbox.write("data/parts/disc/test/cut/000.png", &whole[..whole.len() / 2]);
    let set = ["--set", "image.size=96", "--set", "title=an apple"];
    let failed = sandbox.dmad(&[&["run", "experiment.toml"], &set[..]].concat());
    failed.says(1, &["--set image.size=96 --set 'title=an apple'"]);
    sandbox.write("data/parts/disc/test/cut/000.png", &whole);
    sandbox.dmad(&[&["run", "experiment.toml", "--isolate"], &set[..2]].concat()).says(0, &["1 runs done"]);
}
