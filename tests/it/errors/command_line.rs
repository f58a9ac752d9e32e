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
    let words = ["experiment.toml and other/experiment.toml are both named \"experiment\"", "another `name`"];
    for command in ["run", "plan"] {
        sandbox.dmad(&[command, "experiment.toml", "other/experiment.toml"]).refuses(&sandbox, &words);
    }
}

#[test]
fn a_pattern_that_no_run_matches_is_refused() {
    let sandbox = Sandbox::new();
    for command in ["run", "plan"] {
        let outcome = sandbox.dmad(&[command, "experiment.toml", "--only", "no_*"]);
        outcome.refuses(&sandbox, &["no run matches --only no_*", "variants: full"]);
    }
}

#[test]
fn a_part_without_a_run_is_no_pattern_without_a_match() {
    let sandbox = Sandbox::new();
    for command in ["plan", "run"] {
        sandbox.dmad(&[command, "experiment.toml", "--only", "full", "--shard", "1/8"]).says(0, &[]);
    }
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
    // Nine metrics of two classes and their mean.
    assert_eq!(rows["rows"].as_array().map(Vec::len), Some(27), "{}", outcome.stdout);
    let list = sandbox.dmad(&["data", "list", "--format", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).expect("JSON alone");
    let names = list.as_array().expect("a list").iter().map(|entry| &entry["name"]);
    assert!(names.into_iter().any(|name| name == "parts"), "{list}");
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

#[test]
fn a_report_that_cannot_be_written_is_told_and_the_other_studies_go_on() {
    // The page, a table of the report, and the experiment's own table cannot replace a folder.
    for name in ["report.html", "tables", "metrics.csv"] {
        let sandbox = Sandbox::new();
        sandbox.write("other.toml", EXPERIMENT);
        match name {
            "tables" => sandbox.write("results/experiment/tables", "a file"),
            _ => sandbox.write(&format!("results/experiment/{name}/file"), ""),
        }
        let outcome = sandbox.dmad(&["run", "experiment.toml", "other.toml"]);
        outcome.says(1, &[name, "the runs of experiment stay recorded", "dmad report experiment.toml"]);
        outcome.says(1, &["other: 1 runs done, 0 were up to date, 0 failed"]);
        assert!(sandbox.path("results/other/report.html").is_file());
        let path = sandbox.path(&format!("results/experiment/{name}"));
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.expect("removed");
        let again = sandbox.dmad(&["run", "experiment.toml", "other.toml"]);
        again.says(0, &["experiment: 0 runs done, 1 were up to date"]);
    }
}

#[test]
fn an_experiment_that_cannot_be_recorded_keeps_nobody_from_the_others() {
    let sandbox = Sandbox::new();
    sandbox.write("other.toml", EXPERIMENT);
    sandbox.write("results/experiment/runs", "a file");
    let outcome = sandbox.dmad(&["run", "experiment.toml", "other.toml"]);
    outcome.says(1, &["results/experiment/runs", "other: 1 runs done, 0 were up to date, 0 failed"]);
    sandbox.dmad(&["run", "experiment.toml"]).says(2, &["results/experiment/runs"]);
}

#[test]
fn runs_are_chosen_by_patterns_in_which_only_a_star_is_special() {
    let sandbox = Sandbox::new();
    sandbox.write("experiment.toml", format!("{EXPERIMENT}\n[sweep]\n\"method.train.epochs\" = [1, 2]\n"));
    for (pattern, runs) in [("full[*]", 2), ("full[epochs=2]", 1), ("*", 2)] {
        let plan = sandbox.dmad(&["plan", "experiment.toml", "--only", pattern, "--format", "json"]);
        plan.says(0, &[]);
        let plan: serde_json::Value = serde_json::from_str(&plan.stdout).expect("JSON");
        assert_eq!(plan["runs"].as_array().map(Vec::len), Some(runs), "{pattern}: {plan}");
    }
}

#[test]
fn sizes_are_read_with_their_units() {
    let sandbox = Sandbox::new();
    for size in ["512MB", "1.5GiB", "2 gb", "1000000"] {
        sandbox.dmad(&["data", "list", "--memory", size]).says(0, &[]);
    }
    sandbox.dmad(&["data", "list", "--memory", "512"]).says(2, &["at least 1MB"]);
    for size in ["much", "2 parsecs", "-1GB"] {
        let option = format!("--memory={size}");
        sandbox.dmad(&["data", "list", &option]).says(2, &["a number and a unit, such as 512MB or 2GB"]);
    }
}

#[test]
fn the_command_that_is_printed_for_a_failed_run_works_when_it_is_pasted() {
    let sandbox = Sandbox::new();
    let picture = "my data/parts/disc/test/cut/000.png";
    std::fs::rename(sandbox.path("data"), sandbox.path("my data")).expect("renamed");
    std::fs::rename(sandbox.path("datasets.toml"), sandbox.path("it's mine.toml")).expect("renamed");
    let whole = std::fs::read(sandbox.path(picture)).expect("a picture");
    sandbox.write(picture, &whole[..whole.len() / 2]);
    let global = ["--data", "my data", "--datasets", "it's mine.toml", "--results", "out", "--threads", "1"];
    let failed =
        sandbox.dmad(&[&["run", "experiment.toml", "--store", "cache", "--memory", "2GB"], &global[..]].concat());
    failed.says(1, &["1 failed", "again: dmad run experiment.toml --seeds 0 --only"]);
    let again = failed.stderr.lines().find_map(|line| line.trim().strip_prefix("again: dmad ")).expect("a command");
    sandbox.write(picture, whole);
    let script = format!("{} {again}", env!("CARGO_BIN_EXE_dmad"));
    let shell = std::process::Command::new("sh").args(["-c", &script]).current_dir(sandbox.path(".")).output();
    let shell = shell.expect("a shell");
    let said = String::from_utf8_lossy(&shell.stderr);
    assert!(shell.status.success() && said.contains("1 runs done"), "{script}: {said}");
    assert!(said.contains("recorded in out/experiment"), "{said}");
    assert!(sandbox.path("cache").is_dir() && !sandbox.path(".dmad-store").exists(), "another store was used");
}
