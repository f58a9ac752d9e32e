//! Full disks, damaged and foreign artifacts, read-only stores, vanishing results: finished work stays, and every fault is
//! said in words.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dmad::run::Event;
use dmad::store::{Lookup, Store, disk};

use crate::lab::{Lab, study as small, with};
use crate::program::{Outcome, Sandbox, command};

/// One run of two classes with seen anomalies, two epochs.
fn study() -> String {
    with(&small("dmad"), &[("protocol.seen.count", "1"), ("classes", "[\"wood\"]")])
}

/// Paths of all files of the store with this extension.
fn artifacts(store: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for kind in std::fs::read_dir(store).expect("a store").flatten().filter(|entry| entry.path().is_dir()) {
        let files = std::fs::read_dir(kind.path()).expect("a folder").flatten().map(|entry| entry.path());
        found.extend(files.filter(|path| path.extension().is_some_and(|found| found == extension)));
    }
    found.sort();
    found
}

fn csv(lab: &Lab, experiment: &dmad::spec::Experiment) -> Vec<u8> {
    std::fs::read(lab.results(experiment).join("metrics.csv")).expect("a table")
}

#[test]
fn a_disk_that_is_full_at_any_write_loses_nothing_that_was_finished() {
    let reference = Lab::new();
    let (experiment, _) = reference.run("study", &study());
    let expected = csv(&reference, &experiment);
    let lab = Lab::new();
    let mut writes = 0;
    loop {
        let before = artifacts(lab.store(), "json");
        let full = disk::full_after(writes);
        let outcome = lab.try_run("study", &study());
        let hit = full.was_hit();
        drop(full);
        if !hit {
            assert!(outcome.is_ok(), "{outcome:?}");
            break;
        }
        let fault = outcome.expect_err("the disk was full").to_string();
        assert!(fault.contains("no space left"), "write {writes}: {fault}");
        let after = artifacts(lab.store(), "json");
        assert!(
            before.iter().all(|path| after.contains(path) || is_checkpoint(path)),
            "write {writes} lost an artifact"
        );
        // Every write gets its turn as the first that fails, on top of what the attempts before it have finished.
        writes += 1;
        assert!(writes < 1000, "there is no end to the writes");
    }
    assert!(writes > 20, "only {writes} writes were ever tried");
    assert_eq!(csv(&lab, &experiment), expected);
    let leftovers = artifacts(lab.store(), "json").into_iter().filter(|path| is_checkpoint(path)).count();
    assert_eq!(leftovers, 0, "checkpoints of a finished training stay");
}

fn is_checkpoint(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("checkpoints"))
}

/// Damages one artifact file, runs again, and demands the same numbers from an artifact made anew.
fn mended(extension: &str, damage: impl Fn(&Path), words: &str) {
    let lab = Lab::new();
    let (experiment, _) = lab.run("study", &study());
    let expected = csv(&lab, &experiment);
    for path in artifacts(lab.store(), extension) {
        let kind = path.parent().and_then(Path::file_name).expect("a kind").to_string_lossy().into_owned();
        let key = path.file_stem().expect("a key").to_string_lossy().into_owned();
        let whole = std::fs::read(&path).expect("a file");
        damage(&path);
        match Store::open(lab.store()).expect("a store").lookup(&kind, &key) {
            Lookup::Damaged(reason) => assert!(reason.contains(words), "{kind}: {reason}"),
            Lookup::Absent => assert_eq!(words, "absent", "{kind}"),
            Lookup::Found(_) => panic!("{kind}: the damage was not seen"),
        }
        // A process of its own, since this one has the artifact open already.
        std::fs::remove_dir_all(lab.results(&experiment)).expect("removed");
        let again = lab.again();
        let (experiment, summary) = again.run("study", &study());
        assert_eq!((summary.done, summary.failed.len()), (1, 0), "{kind}");
        assert_eq!(csv(&again, &experiment), expected, "{kind}");
        // What the numbers did not need stays damaged until something needs it.
        let remade = std::fs::read(&path).is_ok_and(|bytes| extension == "safetensors" && bytes == whole);
        if kind == "metrics" {
            assert!(remade || extension != "safetensors", "{kind}");
            let said = |event: &Event| matches!(event, Event::Damaged { reason } if reason.contains(words));
            assert!(again.heard().iter().any(said) || words == "absent", "{:?}", again.heard());
        }
    }
}

#[test]
fn a_truncated_artifact_is_made_again() {
    mended(
        "safetensors",
        |path| {
            let bytes = std::fs::read(path).expect("a file");
            std::fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
        },
        "bytes where its manifest says",
    );
}

#[test]
fn one_flipped_bit_in_an_artifact_is_seen() {
    mended("safetensors", |path| flip(path, 0.7), "checksum");
}

#[test]
fn one_flipped_bit_in_a_manifest_is_seen() {
    mended("json", |path| flip(path, 0.5), "manifest");
}

fn flip(path: &Path, place: f64) {
    let mut bytes = std::fs::read(path).expect("a file");
    let at = (bytes.len() as f64 * place) as usize;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn an_artifact_of_another_format_is_never_read() {
    let format = format!("\"format\": {}", dmad::store::FORMAT);
    mended(
        "json",
        |path| {
            let text = std::fs::read_to_string(path).expect("a manifest");
            assert!(text.contains(&format), "{text}");
            std::fs::write(path, text.replace(&format, "\"format\": 1")).expect("written");
        },
        "artifact format 1 is not this program's",
    );
}

#[test]
fn an_artifact_without_manifest_does_not_exist() {
    mended("json", |path| std::fs::remove_file(path).expect("removed"), "absent");
}

#[test]
fn the_lock_of_a_dead_process_holds_nobody_up() {
    let lab = Lab::new();
    let (experiment, _) = lab.run("study", &study());
    let expected = csv(&lab, &experiment);
    let metrics = artifacts(lab.store(), "json").into_iter().find(|path| path.parent().unwrap().ends_with("metrics"));
    let key = metrics.expect("metrics").file_stem().expect("a key").to_string_lossy().into_owned();
    std::fs::remove_dir_all(lab.store().join("metrics")).expect("removed");
    std::fs::remove_dir_all(lab.results(&experiment)).expect("removed");
    std::fs::create_dir_all(lab.store().join("locks")).expect("a folder");
    std::fs::write(lab.store().join("locks").join(format!("metrics-{key}")), "process 999999999\n").expect("written");
    let again = lab.again();
    let (experiment, summary) = again.run("study", &study());
    assert_eq!(summary.done, 1);
    assert_eq!(csv(&again, &experiment), expected);
}

#[test]
fn results_removed_while_running_are_written_again() {
    let lab = Lab::new();
    let (experiment, _) = lab.run("study", &study());
    let expected = csv(&lab, &experiment);
    std::fs::remove_dir_all(lab.results(&experiment).join("runs")).expect("removed");
    let (_, summary) = lab.run("study", &study());
    assert_eq!(summary.done, 1);
    assert_eq!(csv(&lab, &experiment), expected);
}

/// As on a disk that takes no file of the size: the system says so by a signal that ends whoever does not expect it.
#[cfg(unix)]
#[test]
fn a_limit_on_the_size_of_files_ends_a_study_in_words_and_is_no_failed_run() {
    let sandbox = Sandbox::new();
    let limited = |bytes: libc::rlim_t| {
        let mut limited = command(&sandbox.path("."), &["run", "experiment.toml"]);
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        let lower = move || match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        };
        // SAFETY: a single system call.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut limited, lower) };
        limited.output().expect("the program starts")
    };
    let output = limited(16_384);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("File too large") && said.contains("run the same command again"), "{said}");
    assert!(!sandbox.path("results/experiment/metrics.csv").exists(), "a failure was recorded");
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
}

#[test]
fn a_store_that_cannot_be_written_is_refused_in_words() {
    let sandbox = Sandbox::new();
    sandbox.write("sealed", "a file where a folder should be");
    let outcome = sandbox.dmad(&["run", "experiment.toml", "--store", "sealed"]);
    outcome.refuses(&sandbox, &["sealed", "--store"]);
}

#[test]
fn the_command_for_a_report_that_could_not_be_made_says_where_things_are() {
    let sandbox = Sandbox::new();
    sandbox.write("in here/experiment.toml", crate::program::EXPERIMENT);
    // A folder where a table should be.
    sandbox.write("my results/experiment/metrics.csv/file", "");
    let arguments = ["run", "in here/experiment.toml", "--results", "my results", "--store", "kept"];
    let command = "`dmad report 'in here/experiment.toml' --results 'my results' --store kept`";
    sandbox.dmad(&arguments).says(1, &["1 runs done", command]);
}

#[test]
fn what_a_killed_process_has_left_among_results_goes_after_a_day() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dmad(&["run", "experiment.toml"]).code, 0);
    let below = |name: &str| sandbox.path(&format!("results/experiment/{name}"));
    let run = std::fs::read_dir(below("runs")).expect("runs").flatten().next().expect("a run").file_name();
    let run = run.to_string_lossy();
    let leftovers = [below(".tmph00USQ"), below(&format!("runs/{run}/.tmpAbc123"))];
    let others = [below(".tmpyoung1"), below(".tmpnotes.txt"), below("notes")];
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100_000);
    for path in leftovers.iter().chain(&others) {
        std::fs::write(path, "half").expect("written");
        if !path.ends_with(".tmpyoung1") {
            std::fs::File::options().append(true).open(path).and_then(|file| file.set_modified(old)).expect("aged");
        }
    }
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 were up to date"]);
    assert!(!leftovers.iter().any(|path| path.exists()) && others.iter().all(|path| path.exists()));
}

#[test]
fn the_first_failure_ends_a_study_that_asks_for_it() {
    let study = |mode: &[&str]| {
        let sandbox = Sandbox::new();
        // A broken image that headers do not show fails both variants; the second is only reached without --fail-fast.
        let path = "data/parts/disc/test/cut/000.png";
        let bytes = std::fs::read(sandbox.path(path)).expect("a picture");
        sandbox.write(path, &bytes[..bytes.len() / 2]);
        let more = "\n[[variant]]\nname = \"other\"\nmethod.mlp.hidden = 8\n";
        sandbox.write("experiment.toml", format!("{}{more}", crate::program::EXPERIMENT));
        sandbox.dmad(&[&["run", "experiment.toml"], mode].concat())
    };
    let ended = |outcome: &Outcome| match outcome.events.last() {
        Some(Event::Finished { failed, skipped, .. }) => (*failed, *skipped),
        other => panic!("the study did not end: {other:?}"),
    };
    let all = study(&[]);
    all.says(1, &["again: dmad run experiment.toml --seeds 0 --only"]);
    assert_eq!(ended(&all), (2, 0));
    // One after the other: runs that are under way are brought to their end.
    let first = study(&["--fail-fast", "--jobs", "1"]);
    first.says(1, &["1 runs were not begun"]);
    assert_eq!(ended(&first), (1, 1));
}

#[test]
fn a_run_whose_process_dies_is_a_recorded_failure_and_the_others_go_on() {
    let sandbox = Sandbox::new();
    let more = "\n[[variant]]\nname = \"other\"\nmethod.mlp.hidden = 8\n";
    sandbox.write("experiment.toml", format!("{}{more}", crate::program::EXPERIMENT));
    let mut command = command(&sandbox.path("."), &["run", "experiment.toml", "--isolate", "--jobs", "1"]);
    let mut parent = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let first = loop {
        assert!(parent.try_wait().expect("a state").is_none(), "no run had a process of its own");
        if let Some(child) = child_of(parent.id()) {
            break child;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    // As the system does when memory runs out.
    assert!(Command::new("kill").args(["-9", &first]).status().expect("kill").success());
    let output = parent.wait_with_output().expect("the program ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["1 runs done", "1 failed", "its process died (signal: 9", "again: dmad run experiment.toml"] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    let csv = std::fs::read_to_string(sandbox.path("results/experiment/metrics.csv")).expect("a table");
    assert!(csv.lines().any(|line| line.contains("full") && line.contains("its process died")), "{csv}");
    assert!(csv.lines().any(|line| line.contains("other") && line.contains(",ok,")), "{csv}");
}

#[test]
fn a_run_that_fails_when_it_is_done_again_keeps_the_record_it_had() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    let results = sandbox.path("results/experiment");
    let only = |folder: &str| {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(results.join(folder)).expect(folder).flatten().map(|entry| entry.path()).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    };
    let files = |folder: &Path| {
        let names = std::fs::read_dir(folder).expect("a record").flatten().filter(|entry| entry.path().is_file());
        let read = |entry: std::fs::DirEntry| (entry.file_name(), std::fs::read(entry.path()).expect("a file"));
        names.map(read).collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = files(&only("runs"));
    let damage = |path: &str| {
        let bytes = std::fs::read(sandbox.path(path)).expect("a picture");
        sandbox.write(path, &bytes[..bytes.len() / 2]);
        bytes
    };
    // A broken image that headers do not show, found before any work and, in a process of its own, again.
    let path = "data/parts/disc/test/cut/000.png";
    let bytes = damage(path);
    for more in [&[][..], &["--isolate"]] {
        let failed = sandbox.dmad(&[&["run", "experiment.toml"], more].concat());
        failed.says(1, &["is kept in results/experiment/replaced/"]);
        assert_eq!(failed.stderr.matches("failed: ").count(), 1, "{}", failed.stderr);
        let told = failed.stderr.lines().find(|line| line.contains("  failed: ")).expect("a line");
        assert_eq!(told.matches("is kept in").count(), 1, "{told}");
        assert!(files(&only("replaced")) == before, "the record is as it was");
        assert!(std::fs::read_to_string(only("runs").join("run.toml")).expect("a record").contains("is kept in"));
    }
    // Whoever reads records sees the failure, and nothing twice.
    sandbox.dmad(&["report", "experiment.toml"]).says(1, &[]);
    let listed = sandbox.dmad(&["runs", "list", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!((rows.as_array().map(Vec::len), &rows[0]["state"]), (Some(1), &"failed".into()), "{rows}");
    // The same numbers again, and again a failure: one record of them is kept.
    sandbox.write(path, &bytes);
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["1 runs done"]);
    damage(path);
    sandbox.dmad(&["run", "experiment.toml"]).says(1, &["is kept in results/experiment/replaced/"]);
    assert!(only("replaced").join("scores.safetensors").is_file());
}

/// The process of a run that `parent` has started.
fn child_of(parent: u32) -> Option<String> {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let is_child = |folder: &Path| {
        let stat = std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
        let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let arguments = std::fs::read_to_string(folder.join("cmdline")).unwrap_or_default();
        after.split_whitespace().nth(1) == Some(&parent.to_string()) && arguments.contains("--child")
    };
    let child = processes.map(|entry| entry.path()).find(|folder| is_child(folder))?;
    Some(child.file_name()?.to_string_lossy().into_owned())
}
