//! Killing, resuming, and several processes at once: the same bytes as one undisturbed process leaves, and no work twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dmad::methods::METHODS;
use dmad::random::{Purpose, Stream, stream};
use dmad::run::Event;

use crate::lab::{DATASETS, study as small, train_default, trial, variant, with};
use crate::program::{computed, events, finished};

/// Two seeds with and without seen anomalies, several epochs each, and PatchCore beside them.
fn study() -> String {
    let settings = [("method.train.epochs", "6"), ("seeds", "[0, 1]"), ("metrics", "[\"image_auroc\"]")];
    let variants = r#"
[[variant]]
name = "seen"
protocol.seen.count = 2

[[variant]]
name = "best"
method.train.select = "best_test"
"#;
    with(&format!("{}{variants}{}", small("dmad"), variant("patchcore", trial("patchcore").study)), &settings)
}

/// Half of the study, where it is run many times.
const ONE_SEED: [&str; 2] = ["--seeds", "0"];

/// A folder with the study; results and store are named anew for every attempt.
pub struct Place(tempfile::TempDir);

impl Place {
    /// The study of this file.
    pub fn new() -> Self {
        Place::of(&study())
    }

    /// One training of [`EPOCHS`] epochs.
    pub fn one_training() -> Self {
        Place::of(&with(&small("dmad"), &[("method.train.epochs", &EPOCHS.to_string())]))
    }

    /// The same with a figure that takes a while.
    pub fn with_figure() -> Self {
        let figure = "\n[[figure]]\nkind = \"tsne\"\npoints = 2000\nepochs = 2000\n";
        Place::of(&format!("{}{figure}", with(&small("dmad"), &[("method.train.epochs", &EPOCHS.to_string())])))
    }

    /// One training of `epochs` epochs.
    pub fn long(epochs: usize) -> Self {
        Place::of(&with(&small("dmad"), &[("method.train.epochs", &epochs.to_string())]))
    }

    /// A run that fails: its loss is not finite.
    pub fn failing() -> Self {
        Place::of(&with(&small("dmad"), &[("method.train.lr_mlp", "1e30"), ("method.train.epochs", "3")]))
    }

    fn of(study: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("study.toml"), study).expect("written");
        std::fs::write(folder.path().join("datasets.toml"), DATASETS).expect("written");
        Place(folder)
    }

    /// Begins a run.
    pub fn start(&self, attempt: &str, more: &[&str]) -> Process {
        self.start_by(attempt, more, |command| command)
    }

    /// The same in a group of its own, as a shell starts it.
    #[cfg(unix)]
    pub fn start_group(&self, attempt: &str, more: &[&str]) -> Process {
        self.start_by(attempt, more, |command| std::os::unix::process::CommandExt::process_group(command, 0))
    }

    fn start_by(&self, attempt: &str, more: &[&str], change: impl Fn(&mut Command) -> &mut Command) -> Process {
        let heard = tempfile::NamedTempFile::new().expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmad"));
        command.current_dir(self.0.path()).args(["run", "study.toml"]).args(more);
        command.args(["--results", &format!("{attempt}/results"), "--store", &format!("{attempt}/store")]);
        command.arg("--events").arg(heard.path());
        let child = change(&mut command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        Process { child: child.expect("the program starts"), heard }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs to the end; what happened.
    pub fn finish(&self, attempt: &str, more: &[&str]) -> Vec<Event> {
        self.start(attempt, more).finish()
    }

    fn results(&self, attempt: &str) -> PathBuf {
        self.0.path().join(attempt).join("results/study")
    }

    /// Every result file: path and content, with measurements of time taken out of the logs.
    pub fn recorded(&self, attempt: &str) -> BTreeMap<PathBuf, String> {
        let root = self.results(attempt);
        let mut found = BTreeMap::new();
        collect(&root, &root, &mut found);
        found
    }

    /// The last epoch (from 0) whose checkpoint is in the store.
    pub fn newest_checkpoint(&self, attempt: &str) -> Option<usize> {
        let files = entries(&self.0.path().join(attempt).join("store/checkpoints"));
        let epoch = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".json")?.split_once('.')?.1.parse().ok();
        files.iter().filter_map(epoch).max()
    }

    /// Keys of all artifacts in the store.
    pub fn stage_keys(&self, attempt: &str) -> Vec<String> {
        let store = self.0.path().join(attempt).join("store");
        let mut keys = Vec::new();
        for kind in entries(&store).into_iter().filter(|path| path.is_dir()) {
            let names = entries(&kind).into_iter().filter(|path| path.extension().is_some_and(|e| e == "json"));
            keys.extend(names.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()));
        }
        keys.sort();
        keys
    }
}

/// A process, and the file in which it says what happens.
pub struct Process {
    child: Child,
    heard: tempfile::NamedTempFile,
}

impl Process {
    /// Whether it has.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a state").is_some()
    }

    /// Lets it end well; what happened.
    pub fn finish(self) -> Vec<Event> {
        let output = self.child.wait_with_output().expect("the program ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("panicked"), "{said}");
        events(self.heard.path())
    }

    /// What has happened so far.
    pub fn heard(&self) -> Vec<Event> {
        events(self.heard.path())
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it end; its exit code, and what it said.
    pub fn end(self) -> (Option<i32>, String) {
        let output = self.child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Kills it; what had happened.
    pub fn kill(mut self) -> Vec<Event> {
        self.child.kill().expect("killed");
        self.child.wait().expect("dead");
        events(self.heard.path())
    }
}

/// Epochs of the trainings that went on: how many were done, of how many.
pub fn resumed(events: &[Event]) -> Vec<(usize, usize)> {
    let epochs = |event: &Event| match event {
        Event::Resumed { epoch, epochs } => Some((*epoch, *epochs)),
        _ => None,
    };
    events.iter().filter_map(epochs).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.expect("an entry").path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for path in entries(folder) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            collect(root, &path, found);
        } else if !name.starts_with(".tmp") {
            let bytes = std::fs::read(&path).expect("a file");
            let content = match name.as_str() {
                "run.toml" => timeless_record(std::str::from_utf8(&bytes).expect("UTF-8")),
                "log.jsonl" => std::str::from_utf8(&bytes).expect("UTF-8").lines().map(timeless_stage).collect(),
                "report.html" => "shows the times that were measured".into(),
                "status.json" => "tells of the process".into(),
                _ => blake3::hash(&bytes).to_hex().to_string(),
            };
            found.insert(path.strip_prefix(root).expect("below").into(), content);
        }
    }
}

const TIMES: [&str; 7] = [
    "wall_seconds",
    "cpu_seconds",
    "estimated_seconds",
    "peak_memory_bytes",
    "computed",
    "milliseconds_per_image",
    "jobs",
];

fn timeless_record(text: &str) -> String {
    let mut table: toml::Table = text.parse().expect("TOML");
    // The log is compared by itself.
    table["files"].as_table_mut().expect("a table").remove("log.jsonl");
    // When it was, and what was typed.
    table["environment"].as_table_mut().expect("a table").retain(|key, _| !["date", "command"].contains(&key));
    let provenance = table["provenance"].as_table_mut().expect("a table");
    provenance["cost"].as_table_mut().expect("a table").retain(|key, _| !TIMES.contains(&key));
    for stage in provenance["stages"].as_array_mut().expect("an array") {
        stage.as_table_mut().expect("a table").retain(|key, _| !TIMES.contains(&key));
    }
    provenance.retain(|key, _| !TIMES.contains(&key));
    table.to_string()
}

fn timeless_stage(line: &str) -> String {
    let mut stage: serde_json::Value = serde_json::from_str(line).expect("JSON");
    stage.as_object_mut().expect("an object").retain(|key, _| !TIMES.contains(&key.as_str()));
    stage.to_string()
}

#[test]
fn a_study_killed_at_fifty_random_moments_ends_with_the_bytes_of_an_undisturbed_one() {
    let place = Place::new();
    let began = Instant::now();
    place.finish("undisturbed", &ONE_SEED);
    let whole = began.elapsed();
    let expected = place.recorded("undisturbed");
    assert!(expected.len() > 20, "{:?}", expected.keys());
    let mut draws = stream(0, Purpose::Bootstrap, 0);
    let (mut kills, mut attempt, mut went_on) = (0, 0, 0);
    while kills < 50 {
        let name = format!("killed{attempt}");
        attempt += 1;
        loop {
            let mut process = place.start(&name, &ONE_SEED);
            let moment = whole.mul_f64(draws.below(1000) as f64 / 1000.0);
            let deadline = Instant::now() + moment;
            while Instant::now() < deadline && !process.has_ended() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if kills == 50 || process.has_ended() {
                went_on += usize::from(!resumed(&process.finish()).is_empty());
                break;
            }
            process.kill();
            kills += 1;
        }
        assert!(place.recorded(&name) == expected, "{}", difference(&place.recorded(&name), &expected));
        assert_eq!(place.stage_keys(&name), place.stage_keys("undisturbed"), "checkpoints or half-made artifacts stay");
    }
    // That it can go on within a training is shown below; here it depends on the moments.
    eprintln!("{kills} kills in {attempt} studies, {went_on} of them finished from a checkpoint");
}

/// The first file that differs.
pub fn difference(found: &BTreeMap<PathBuf, String>, expected: &BTreeMap<PathBuf, String>) -> String {
    let missing: Vec<_> = expected.keys().filter(|path| !found.contains_key(*path)).collect();
    let more: Vec<_> = found.keys().filter(|path| !expected.contains_key(*path)).collect();
    let other = expected.iter().find(|(path, content)| found.get(*path).is_some_and(|found| found != *content));
    let other = other.map(|(path, content)| format!("{}:\n{}\nexpected\n{content}", path.display(), found[path]));
    format!("missing {missing:?}, more {more:?}, other {}", other.unwrap_or_default())
}

/// So many that a process is dead long before they are all done.
pub const EPOCHS: usize = 36;

/// Kills the training of the only run of a study three times, each somewhere in or after a drawn epoch; then lets it end.
/// Every process but the first must have gone on where the one before was killed.
fn kill_in_training(place: &Place, attempt: &str, draws: &mut Stream, more: &[&str]) {
    let mut before = None;
    let check = |events: &[Event], before: Option<usize>| {
        let expected: Vec<(usize, usize)> = before.map(|epoch| (epoch + 1, EPOCHS)).into_iter().collect();
        assert_eq!(resumed(events), expected, "{events:?}");
    };
    for kill in 0..3 {
        let target = kill * EPOCHS / 6 + draws.below(EPOCHS / 6);
        let mut process = place.start(attempt, more);
        while place.newest_checkpoint(attempt).is_none_or(|epoch| epoch < target) {
            assert!(!process.has_ended(), "it ended before epoch {target} was seen");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(draws.below(3000) as u64));
        check(&process.kill(), before);
        before = place.newest_checkpoint(attempt);
        assert!(before.is_some_and(|epoch| epoch + 1 < EPOCHS), "killed too late: {before:?}");
    }
    check(&place.finish(attempt, more), before);
}

#[test]
fn the_killed_training_of_every_method_goes_on_from_its_last_checkpoint_and_ends_with_the_same_bytes() {
    let mut draws = stream(0, Purpose::Bootstrap, 1);
    let names = METHODS.iter().map(|entry| entry.kind.name);
    for name in names.filter(|name| train_default(name, "epochs").is_some()) {
        // The parameters of the last epoch are kept, or of all.
        for select in ["\"last\"", "\"best_test\""] {
            let mut settings = vec![("method.train.epochs", EPOCHS.to_string())];
            settings.extend(train_default(name, "select").map(|_| ("method.train.select", select.to_string())));
            let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
            let place = Place::of(&with(&small(name), &settings));
            place.finish("undisturbed", &[]);
            kill_in_training(&place, "killed", &mut draws, &[]);
            let (found, expected) = (place.recorded("killed"), place.recorded("undisturbed"));
            assert!(found == expected, "{name}, {select}: {}", difference(&found, &expected));
            assert_eq!(place.stage_keys("killed"), place.stage_keys("undisturbed"), "{name}: checkpoints stay");
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_training_that_is_killed_on_a_gpu_ends_with_the_same_bytes() {
    let mut draws = stream(0, Purpose::Bootstrap, 2);
    let epochs = EPOCHS.to_string();
    let settings = [("method.train.epochs", epochs.as_str()), ("protocol.seen.count", "2")];
    let name = crate::gpu::device_name();
    let (place, device) = (Place::of(&with(&small("dmad"), &settings)), ["--device", name.as_str()]);
    place.finish("undisturbed", &device);
    kill_in_training(&place, "killed", &mut draws, &device);
    let (found, expected) = (place.recorded("killed"), place.recorded("undisturbed"));
    assert!(found == expected, "{}", difference(&found, &expected));
}

#[test]
fn four_processes_share_a_study_and_compute_nothing_twice() {
    let place = Place::new();
    place.finish("alone", &[]);
    let processes: Vec<Process> = (0..4).map(|_| place.start("shared", &[])).collect();
    let events: Vec<Vec<Event>> = processes.into_iter().map(Process::finish).collect();
    assert!(place.recorded("shared") == place.recorded("alone"), "{}", {
        difference(&place.recorded("shared"), &place.recorded("alone"))
    });
    let mut keys: Vec<&str> = events.iter().flat_map(|events| computed(events)).collect();
    keys.sort_unstable();
    assert_eq!(keys, place.stage_keys("alone"), "every stage once");
    let busy = events.iter().filter(|events| !computed(events).is_empty()).count();
    assert!(busy >= 2, "the work was not shared: {events:#?}");
}

#[test]
fn shards_divide_a_study_and_their_results_merge() {
    let place = Place::new();
    place.finish("whole", &[]);
    for part in ["1/2", "2/2"] {
        assert_eq!(finished(&place.finish("parts", &["--shard", part])), (4, 0), "{part}");
    }
    assert!(place.recorded("parts") == place.recorded("whole"), "{}", {
        difference(&place.recorded("parts"), &place.recorded("whole"))
    });
}

#[test]
fn a_second_run_does_nothing_and_a_lost_record_is_written_again_from_the_store() {
    let place = Place::new();
    place.finish("once", &[]);
    let expected = place.recorded("once");
    let again = place.finish("once", &[]);
    assert_eq!((finished(&again), computed(&again)), ((0, 8), Vec::new()));
    std::fs::remove_dir_all(entries(&place.results("once").join("runs"))[0].clone()).expect("removed");
    let restored = place.finish("once", &[]);
    assert_eq!((finished(&restored), computed(&restored)), ((1, 7), Vec::new()));
    assert!(place.recorded("once") == expected, "{}", difference(&place.recorded("once"), &expected));
}

#[test]
fn isolated_runs_leave_the_same_bytes() {
    let place = Place::new();
    place.finish("together", &["--seeds", "0"]);
    assert_eq!(finished(&place.finish("apart", &["--seeds", "0", "--isolate"])), (4, 0));
    assert!(place.recorded("apart") == place.recorded("together"), "{}", {
        difference(&place.recorded("apart"), &place.recorded("together"))
    });
}
