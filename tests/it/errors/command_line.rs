//! Faults of the command line and of the folders it names.

use crate::program::{EXPERIMENT, Sandbox};

#[test]
fn results_and_store_below_a_file_are_refused_before_any_work() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    for (option, folder, what) in [
        ("--results", "file/results", "the results cannot be written"),
        ("--store", "file/store", "the store cannot be written"),
    ] {
        let outcome = sandbox.dmad(&["run", "experiment.toml", option, folder]);
        outcome.refuses(&sandbox, &[folder, what, "Not a directory", &format!("with {option} DIR")]);
    }
    assert!(!sandbox.path(".dmad-store/features").exists(), "features were computed");
}

#[test]
fn a_folder_in_which_nothing_can_be_made_is_refused() {
    // Nobody, root included, makes folders there.
    if !std::path::Path::new("/proc/self").exists() {
        return;
    }
    let sandbox = Sandbox::new();
    let outcome = sandbox.dmad(&["run", "experiment.toml", "--results", "/proc/dmad"]);
    outcome.refuses(&sandbox, &["/proc/dmad/experiment", "cannot be written", "--results DIR"]);
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_is_not_compiled_in_is_refused_with_the_way_to_have_it() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.dmad(&["run", "experiment.toml", "--device", "cuda"]);
    outcome.refuses(&sandbox, &["built without `cuda`", "--features cuda", "--device cpu"]);
    sandbox.dmad(&["run", "experiment.toml", "--device", "gpu"]).refuses(&sandbox, &["'gpu'", "cpu, cuda, wgpu"]);
}

#[test]
fn two_experiments_of_one_name_are_refused_with_both_files() {
    let sandbox = Sandbox::new();
    sandbox.write("other/experiment.toml", EXPERIMENT);
    let outcome = sandbox.dmad(&["run", "experiment.toml", "other/experiment.toml"]);
    let words = ["experiment.toml and other/experiment.toml are both named \"experiment\"", "another `name`"];
    outcome.refuses(&sandbox, &words);
}

#[test]
fn a_pattern_that_no_run_matches_is_refused() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.dmad(&["run", "experiment.toml", "--only", "no_*"]);
    outcome.refuses(&sandbox, &["no run matches --only no_*", "variants: full"]);
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml", "--threads", "0"]).refuses(&sandbox, &["--threads", "1..=1024"]);
    let outcome = sandbox.dmad(&["run", "experiment.toml", "--seeds", "0,18446744073709551615"]);
    outcome.refuses(&sandbox, &["18446744073709551615", "--seeds"]);
    sandbox.dmad(&["run", "experiment.toml", "--seeds", "1,x"]).refuses(&sandbox, &["'x'", "--seeds"]);
}

#[test]
fn files_and_folders_that_are_no_experiments_are_called_that() {
    let sandbox = Sandbox::new();
    for name in ["none.toml", "data"] {
        sandbox.dmad(&["run", name]).refuses(&sandbox, &[&format!("there is no experiment file {name}"), "quickstart"]);
    }
    sandbox.dmad(&["report", "none.toml"]).says(2, &["there is no experiment file none.toml"]);
    sandbox.dmad(&["report", "data"]).says(2, &["data: holds no recorded experiment"]);
    sandbox.dmad(&["report", "experiment.toml"]).says(2, &["results/experiment", "holds no recorded experiment"]);
    sandbox.dmad(&["run"]).says(2, &["<FILE>..."]);
    sandbox.dmad(&["rum"]).says(2, &["'rum'", "'run'"]);
    sandbox.dmad(&["data", "verify", "part"]).says(2, &["did you mean `parts`?"]);
}

#[test]
fn a_reader_that_stops_reading_is_no_fault() {
    let sandbox = Sandbox::new();
    for arguments in [&["schema"][..], &["data", "list"], &["weights", "list"], &["run", "experiment.toml"]] {
        let outcome = sandbox.dmad_unread(arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn results_go_to_standard_output_and_messages_elsewhere() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.dmad(&["run", "experiment.toml", "--format", "json"]);
    outcome.says(0, &[]);
    let rows: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON alone");
    assert_eq!(rows["experiment"], "experiment");
    // Seven metrics of two classes and their mean.
    assert_eq!(rows["rows"].as_array().map(Vec::len), Some(21), "{}", outcome.stdout);
    let list = sandbox.dmad(&["data", "list", "--format", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).expect("JSON alone");
    assert_eq!(list[1]["name"], "parts");
}

#[test]
fn a_dataset_of_which_only_a_part_is_there_is_listed_as_such() {
    let sandbox = Sandbox::new();
    let row = |sandbox: &Sandbox| {
        let list = sandbox.dmad(&["data", "list"]).stdout;
        list.lines().find(|line| line.contains("parts")).unwrap_or_else(|| panic!("{list}")).to_string()
    };
    assert!(row(&sandbox).contains("yes"), "{}", row(&sandbox));
    std::fs::remove_dir_all(sandbox.path("data/parts/disc")).expect("removed");
    assert!(row(&sandbox).contains("in part"), "{}", row(&sandbox));
}
