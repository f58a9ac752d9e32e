//! `dmad plan` and `dmad store`: what they foretell is what happens.

use dmad::run::Event;
use serde_json::Value as Json;

use crate::program::{EXPERIMENT, Outcome, Sandbox, computed, finished};

fn json(outcome: &Outcome) -> Json {
    serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|fault| panic!("{fault}: {} {}", outcome.stdout, outcome.stderr))
}

fn plan(sandbox: &Sandbox, more: &[&str]) -> Json {
    json(&sandbox.dmad(&[&["plan", "experiment.toml", "--format", "json"], more].concat()))
}

fn to_do(plan: &Json) -> Vec<String> {
    let stages = plan["stages"].as_array().expect("an array");
    let named = |stage: &Json| format!("{} {}", stage["kind"].as_str().unwrap(), stage["key"].as_str().unwrap());
    stages.iter().filter(|stage| stage["to_do"] == true).map(named).collect()
}

#[test]
fn a_plan_foretells_exactly_the_stages_that_a_run_computes() {
    let sandbox = Sandbox::new();
    let before = plan(&sandbox, &[]);
    assert!(before["seconds"].as_f64().unwrap() > 0.0 && before["bytes"].as_u64().unwrap() > 0, "{before}");
    assert!(!sandbox.path("results/experiment").exists(), "a plan leaves no results");
    let run = sandbox.dmad(&["run", "experiment.toml"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(computed(&run.events).len(), to_do(&before).len(), "{}", run.stderr);
    let after = plan(&sandbox, &[]);
    assert_eq!(to_do(&after), Vec::<String>::new());
    assert_eq!(after["runs"][0]["record"], "up to date");
    assert_eq!(computed(&sandbox.dmad(&["run", "experiment.toml"]).events), Vec::<&str>::new());
}

#[test]
fn another_seed_or_variant_needs_only_what_is_new() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let seed = plan(&sandbox, &["--seeds", "0,1"]);
    let kinds = |plan: &Json| {
        let mut kinds: Vec<String> = to_do(plan).iter().map(|stage| stage.split(' ').next().unwrap().into()).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    assert!(!kinds(&seed).contains(&"features".to_string()), "features draw nothing: {:?}", kinds(&seed));
    assert!(kinds(&seed).contains(&"training".to_string()));
    let more = "\n[[variant]]\nname = \"wide\"\nmethod.mlp.hidden = 32\n";
    sandbox.write("experiment.toml", format!("{EXPERIMENT}{more}"));
    let variant = plan(&sandbox, &[]);
    assert_eq!(
        kinds(&variant),
        ["metrics", "scores", "training"],
        "a wider network shares features, banks, neighbours"
    );
    assert_eq!(variant["runs"][0]["record"], "up to date");
    let shared = variant["stages"].as_array().unwrap().iter().filter(|stage| stage["runs"] == 2).count();
    assert!(shared > 5, "{variant}");
    let run = sandbox.dmad(&["run", "experiment.toml"]);
    assert_eq!(finished(&run.events), (1, 1));
    assert_eq!(computed(&run.events).len(), to_do(&variant).len(), "{}", run.stderr);
}

#[test]
fn a_plan_knows_what_figures_need() {
    let sandbox = Sandbox::new();
    let figure = |settings: &str| {
        sandbox.write("experiment.toml", format!("{EXPERIMENT}\n[[figure]]\nkind = \"tsne\"\nepochs = 60\n{settings}"));
    };
    figure("");
    let before = plan(&sandbox, &[]);
    assert_eq!(to_do(&before).iter().filter(|stage| stage.starts_with("embedding")).count(), 1);
    let run = sandbox.dmad(&["run", "experiment.toml"]);
    assert_eq!(computed(&run.events).len(), to_do(&before).len(), "{}", run.stderr);
    assert_eq!(to_do(&plan(&sandbox, &[])), Vec::<String>::new());
    figure("perplexity = 5");
    let after = plan(&sandbox, &[]);
    assert_eq!(after["runs"][0]["record"], "up to date");
    assert!(matches!(&to_do(&after)[..], [only] if only.starts_with("embedding")), "{:?}", to_do(&after));
}

#[test]
fn variants_that_change_nothing_are_told_in_one_line() {
    let sandbox = Sandbox::new();
    let variants = "\n[sweep]\n\"protocol.seen.count\" = [0, 1]\n\
        [[variant]]\nname = \"bare\"\n\
        [[variant]]\nname = \"default\"\nsweep.\"protocol.seen.count\" = [1]\nmethod.mlp.hidden = 16\n\
        [[variant]]\nname = \"more\"\nsweep.\"protocol.seen.count\" = [1, 2]\n\
        [[variant]]\nname = \"wide\"\nmethod.mlp.hidden = 20\n";
    sandbox.write("experiment.toml", crate::program::EXPERIMENT.to_string() + variants);
    let note =
        "these variants have the settings of another, key for key: bare (those of full), default (those of full)\n";
    let planned = sandbox.dmad(&["plan", "experiment.toml"]);
    assert!(planned.stdout.contains(&format!("Note: {note}")), "{}", planned.stdout);
    let ran = sandbox.dmad(&["run", "experiment.toml", "--only", "*are"]);
    assert!(!ran.stderr.contains("key for key"), "of one alone nothing is repeated: {}", ran.stderr);
    let ran = sandbox.dmad(&["run", "experiment.toml"]);
    assert_eq!(ran.stderr.matches(&format!("note: {note}")).count(), 1, "{}", ran.stderr);
}

#[test]
fn a_plan_names_what_is_missing() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[
        ("name = \"efficientnet_lite0\"", "name = \"resnet18\""),
        ("layers = [\"stride8\", \"stride16\"]\n", ""),
    ]);
    let outcome = sandbox.dmad(&["plan", "experiment.toml"]);
    assert_eq!(outcome.code, 1, "{} {}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("Missing:") && outcome.stdout.contains("resnet18"), "{}", outcome.stdout);
}

#[test]
fn a_stale_record_is_named_by_plan_and_done_again_by_run() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    std::fs::copy(sandbox.path("data/parts/disc/test/good/000.png"), sandbox.path("data/parts/disc/test/good/001.png"))
        .expect("copied");
    let planned = plan(&sandbox, &[]);
    assert_eq!(planned["runs"][0]["record"], "stale: its images have changed");
    let run = sandbox.dmad(&["run", "experiment.toml"]);
    let stale = |event: &&Event| matches!(event, Event::Stale { why, .. } if why == "its images have changed");
    assert_eq!((run.events.iter().filter(stale).count(), finished(&run.events)), (1, (1, 0)));
    assert!(run.stderr.contains("was stale:"), "{}", run.stderr);
    assert_eq!(plan(&sandbox, &[])["runs"][0]["record"], "up to date");
}

#[test]
fn a_report_needs_no_data_no_store_and_no_device_and_names_records_of_older_code() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let before = sandbox.dmad(&["report", "results/experiment"]);
    for folder in ["data", ".dmad-store"] {
        std::fs::remove_dir_all(sandbox.path(folder)).expect("removed");
    }
    let after = sandbox.dmad(&["report", "results/experiment", "--device", "cuda"]);
    assert_eq!((after.code, &after.stdout), (0, &before.stdout), "{}", after.stderr);
    assert!(!after.stderr.contains("stale") && !sandbox.path(".dmad-store").exists(), "{}", after.stderr);
    let runs = std::fs::read_dir(sandbox.path("results/experiment/runs")).expect("runs");
    let run = runs.flatten().next().expect("a run").path();
    let [log, record] = ["log.jsonl", "run.toml"].map(|name| std::fs::read_to_string(run.join(name)).expect("text"));
    let version = dmad::backbone::CODE_VERSION + dmad::features::CODE_VERSION;
    let old = log.replacen(&format!("\"version\":{version}"), "\"version\":1", 1);
    let sum = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
    let listing = record[..record.rfind("# ").expect("a seal")].replace(&sum(&log), &sum(&old));
    std::fs::write(run.join("log.jsonl"), old).expect("written");
    std::fs::write(run.join("run.toml"), dmad::record::seal(&listing)).expect("written");
    let older = sandbox.dmad(&["report", "results/experiment"]);
    assert!(older.stderr.contains("stale:") && older.stderr.contains("the code of `features`"), "{}", older.stderr);
}

/// What only the stages of a run can tell: no mask of that size leaves a token anything to look at.
#[test]
fn run_stops_before_the_first_stage_at_whatever_plan_calls_wrong() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(sandbox.path("experiment.toml")).expect("an experiment");
    let base = text.split("[method]").next().expect("a base");
    let text = format!("{base}[method]\nname = \"uniad\"\nmask.size = 99\n");
    std::fs::write(sandbox.path("experiment.toml"), text).expect("written");
    let planned = sandbox.dmad(&["plan", "experiment.toml"]);
    assert!(planned.code == 1 && planned.stdout.contains("hides all"), "{} {}", planned.stdout, planned.stderr);
    let run = sandbox.dmad(&["run", "experiment.toml"]);
    run.says(2, &["experiment.toml:", "hides all", "larger images"]);
    assert!(!sandbox.path(".dmad-store/features").exists(), "nothing was computed");
    // The forecast looks for no device; only what computes does. It says what one must hold.
    let planned = Sandbox::new().dmad(&["plan", "experiment.toml", "--device", "cuda"]);
    assert!(planned.code == 0 && planned.stdout.contains("on cuda, 0."), "{}", planned.stdout);
    let json = Sandbox::new().dmad(&["plan", "experiment.toml", "--device", "cuda", "--format", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    // The eight training images have 8 × 8 patches of 152 values each; the banks come on top.
    assert!(json["device_bytes"].as_u64() > Some(1_000_000), "{json}");
    assert!(json["resident_bytes"].as_u64() > Some(8 * 64 * 152 * 4), "{json}");
}

#[test]
fn estimates_stand_beside_what_stages_took() {
    let sandbox = Sandbox::new();
    let run = sandbox.dmad(&["run", "experiment.toml"]);
    assert!(run.stdout.contains("expected s") && run.stdout.contains("actual s"), "{}", run.stdout);
    let guessed = sandbox.dmad(&["plan", "experiment.toml", "--seeds", "1"]);
    assert!(!guessed.stdout.contains('~'), "kinds that were measured are not marked as guesses: {}", guessed.stdout);
}

#[test]
fn memory_bounds_what_is_kept_in_memory_and_changes_no_number() {
    let numbers = |memory: &str| {
        let sandbox = Sandbox::new();
        // 4 images of 16 × 16 patches each: 64 columns of them are more than a quarter of a megabyte.
        sandbox.edit(&[("projection = 0", "projection = 64"), ("[image]\nsize = 64", "[image]\nsize = 128")]);
        let outcome = sandbox.dmad(&["run", "experiment.toml", "--memory", memory]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let plan = sandbox.dmad(&["plan", "experiment.toml", "--memory", memory]).stdout;
        (std::fs::read(sandbox.path("results/experiment/metrics.csv")).expect("a table"), outcome.events, plan)
    };
    let (small, small_events, _) = numbers("1MB");
    let (large, large_events, _) = numbers("1GB");
    assert_eq!(small, large);
    let in_a_file = |event: &Event| matches!(event, Event::Note { text } if text.contains("in a file"));
    assert!(small_events.iter().any(in_a_file) && !large_events.iter().any(in_a_file));
    let sandbox = Sandbox::new();
    let refused = sandbox.dmad(&["run", "experiment.toml", "--memory", "lots"]);
    refused.says(2, &["512MB"]);
}

#[test]
fn a_training_needs_less_memory_where_less_is_allowed() {
    let sandbox = Sandbox::new();
    let of_training = |memory: &str| {
        let paper = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/scale/paper_size.toml");
        let plan = json(&sandbox.dmad(&["plan", paper, "--only", "full", "--memory", memory, "--format", "json"]));
        let stages = plan["stages"].as_array().expect("stages").clone();
        let trainings = stages.iter().filter(|stage| stage["kind"] == "training");
        trainings.map(|stage| stage["memory_bytes"].as_u64().expect("bytes")).max().expect("a training")
    };
    let (much, little) = (of_training("12GB"), of_training("8GB"));
    assert!(much > 8_000_000_000 && little < 8_000_000_000, "{much} {little}: what can be made again is not kept");
}

#[test]
fn a_store_can_be_measured_checked_and_cleaned() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let size = json(&sandbox.dmad(&["store", "size", "--format", "json"]));
    assert!(size["bytes"].as_u64().unwrap() > 10_000 && size["kinds"]["features"]["artifacts"] == 5, "{size}");
    assert_eq!(sandbox.dmad(&["store", "verify"]).code, 0);

    // The experiment now has other features: what it needed before can go.
    sandbox.edit(&[("aggregation = \"concat\"", "aggregation = \"patchcore\"\ndim = 16")]);
    let idle = json(&sandbox.dmad(&["store", "gc", "--format", "json"]));
    assert_eq!(idle["bytes"], 0, "without experiments everything whole stays: {idle}");
    let listed = json(&sandbox.dmad(&["store", "gc", "experiment.toml", "--format", "json"]));
    assert!(listed["bytes"].as_u64().unwrap() > 10_000 && listed["deleted"] == false, "{listed}");
    assert_eq!(
        json(&sandbox.dmad(&["store", "size", "--format", "json"])),
        size,
        "nothing is removed without --delete"
    );
    sandbox.edit(&[]);
    let needed = json(&sandbox.dmad(&["store", "gc", "experiment.toml", "--delete", "--format", "json"]));
    assert_eq!(needed["bytes"], 0, "{needed}");

    let features = sandbox.path(".dmad-store/features");
    let data = std::fs::read_dir(&features).unwrap().flatten().map(|entry| entry.path());
    let victim = data.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).min().expect("an artifact");
    let mut bytes = std::fs::read(&victim).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    std::fs::write(features.join(".tmpkilled"), "half").unwrap();
    let verify = sandbox.dmad(&["store", "verify"]);
    assert_eq!(verify.code, 1);
    assert!(verify.stdout.contains("1 damaged") && verify.stdout.contains("checksum"), "{}", verify.stdout);
    let swept = sandbox.dmad(&["store", "gc", "--delete"]);
    assert!(swept.stdout.contains("left by a process that was killed"), "{}", swept.stdout);
    assert!(!features.join(".tmpkilled").exists());
}

#[test]
fn a_store_in_use_is_not_cleaned() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let user = dmad::store::Store::open(&sandbox.path(".dmad-store")).expect("a store");
    sandbox.dmad(&["store", "gc", "--delete"]).says(2, &["in use by another process"]);
    drop(user);
    assert_eq!(sandbox.dmad(&["store", "gc", "--delete"]).code, 0);
}

#[test]
fn a_plan_counts_the_epochs_that_a_stopped_training_has_behind_it() {
    let sandbox = Sandbox::new();
    sandbox.edit(&[("train.epochs = 1", "train.epochs = 4000")]);
    let whole = plan(&sandbox, &[]);
    let of_kind = |plan: &Json, kind: &str| {
        let stages = plan["stages"].as_array().expect("an array").clone();
        stages.into_iter().find(|stage| stage["kind"] == *kind).expect("a stage of the kind")
    };
    let training = |plan: &Json| of_kind(plan, "training");
    assert_eq!(training(&whole)["epochs_done"], 0);
    let mut child = crate::program::command(sandbox.path(".").as_path(), &["run", "experiment.toml"])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("started");
    let done = || training(&plan(&sandbox, &[]))["epochs_done"].as_u64().expect("a number");
    while done() < 20 {
        assert!(child.try_wait().expect("asked").is_none(), "it ended before it was stopped");
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    let rest = plan(&sandbox, &["--stages"]);
    let done = done() as f64;
    // Nothing of either kind has been measured, so that all are guesses by the same rule, and each process has timed its processor.
    let share = |plan: &Json| {
        let seconds = |kind: &str| of_kind(plan, kind)["seconds"].as_f64().expect("seconds");
        seconds("training") / seconds("metrics")
    };
    let (left, all) = (share(&rest), share(&whole));
    assert!((left - all * (1.0 - done / 4000.0)).abs() < 1e-9 * all, "{left} of {all} after {done} epochs");
    let text = sandbox.dmad(&["plan", "experiment.toml", "--stages"]).stdout;
    assert!(text.contains(&format!("{done} of 4000 epochs done")), "{text}");
}
