//! Strict reading of an experiment's records: whatever is doubtful is refused with words, never averaged.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::frames::{MetricRecord, image_rows, metric_rows, read_parquet};
use super::write::{DECLARED, FILES, RunFolder};
use super::{Cost, ImageRow, StageLog};
use crate::error::{Error, Result};
use crate::methods::Scoring;
use crate::spec::{Experiment, Kinds, RunSpec, difference, id_of, load_recorded, to_json};
use crate::threads::side_by_side;

/// An experiment as recorded.
#[derive(Debug)]
pub struct Recorded {
    pub folder: PathBuf,
    /// The experiment, read back from what it left in the folder.
    pub experiment: Experiment<RunSpec>,
    /// The recorded runs, failed ones included, in the experiment's order.
    pub runs: Vec<RecordedRun>,
    /// Rows of all recorded runs, in the experiment's order.
    pub metrics: Vec<MetricRecord>,
    /// Runs that are declared but not recorded, or whose record is refused.
    pub missing: Vec<String>,
    /// Why records are refused: damaged, of another format, under a wrong name. `run` makes those that are declared again.
    pub refused: Vec<Error>,
    /// Runs that are recorded and no longer declared: the experiment's settings, or the program's defaults, were others.
    pub others: Vec<String>,
    /// Where in `runs` and in `metrics` each run is.
    places: HashMap<String, (usize, Range<usize>)>,
}

/// One recorded run without its rows.
#[derive(Debug)]
pub struct RecordedRun {
    pub id: String,
    /// Everything that decides its numbers.
    pub spec: RunSpec,
    /// Why it failed, if it did; such a run has no numbers and no provenance.
    pub failure: Option<String>,
    /// What labels its numbers.
    pub labels: Vec<String>,
    /// Digest of the images it used; empty for a failed run.
    pub dataset_digest: String,
    /// Digest of its backbone's weights; empty for a failed run.
    pub weights_digest: String,
    /// What its model costs in use; `None` for a failed run.
    pub cost: Option<Cost>,
    /// The stages behind it, from its log.
    pub stages: Vec<StageLog>,
    /// The whole `run.toml`.
    pub toml: toml::Table,
    folder: RunFolder,
    images: OnceLock<Vec<ImageRow>>,
}

impl Recorded {
    /// The recorded run of this id.
    pub fn run(&self, id: &str) -> Option<&RecordedRun> {
        self.places.get(id).map(|(place, _)| &self.runs[*place])
    }

    /// The rows of the recorded run of this id.
    pub fn rows(&self, id: &str) -> &[MetricRecord] {
        self.places.get(id).map_or(&[], |(_, rows)| &self.metrics[rows.clone()])
    }

    /// The declared runs that are not recorded, or whose record is refused.
    pub fn lacking(&self) -> impl Iterator<Item = &RunSpec> {
        self.experiment.runs.iter().filter(|run| !self.places.contains_key(&run.id))
    }

    /// The run with these settings, if it is recorded and did not fail.
    pub fn finished(&self, spec: &RunSpec) -> Option<&RecordedRun> {
        self.run(&spec.id).filter(|run| run.spec == *spec && run.failure.is_none())
    }
}

impl RecordedRun {
    /// The scored test images, in the order of the record; read when first asked for. A failed run has none.
    ///
    /// # Errors
    /// A table that is damaged, of another run, with an image twice, or with a score that is no number.
    pub fn images(&self) -> Result<&[ImageRow]> {
        if self.failure.is_some() {
            return Ok(&[]);
        }
        if let Some(rows) = self.images.get() {
            return Ok(rows);
        }
        let path = self.folder.file("images.parquet");
        let rows = image_rows(&read_parquet(self.bytes("images.parquet")?, &path)?, &path, &self.id)?;
        let mut known = BTreeSet::new();
        if let Some(twice) = rows.iter().find(|row| !known.insert((&row.class, &row.path))) {
            return Err(damaged(&path, format!("image {} of class {} is there twice", twice.path, twice.class)));
        }
        Ok(self.images.get_or_init(|| rows))
    }

    /// How its patch scores became image scores and maps.
    ///
    /// # Errors
    /// A record that does not say.
    pub fn scoring(&self) -> Result<Scoring> {
        let own = self.value(&["scoring"]).and_then(|scoring| scoring.clone().try_into().ok());
        own.ok_or_else(|| damaged(&self.file("run.toml"), "does not say how maps are made"))
    }

    /// A file in the run's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// The bytes of a file of the record, once their checksum has been compared.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        self.folder.bytes(&self.toml, name)
    }

    /// A value of `run.toml`, such as `["provenance", "device"]`.
    pub fn value(&self, path: &[&str]) -> Option<&toml::Value> {
        value(&self.toml, path)
    }
}

/// A value of a `run.toml`.
pub(super) fn value<'a>(table: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, name| value.as_table()?.get(*name))
}

pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Error {
    Error::store(path, what, "run again: the record is made anew")
}

/// Reads the records in `folder` (`results/<experiment>`).
///
/// # Errors
/// A folder without experiment, or without any recorded run that is not refused.
pub fn read_experiment(folder: &Path, kinds: &Kinds) -> Result<Recorded> {
    some(read_so_far(folder, kinds)?)
}

/// Reads the records of an experiment that is under way: perhaps no run is recorded yet.
///
/// # Errors
/// A folder without experiment.
pub fn read_so_far(folder: &Path, kinds: &Kinds) -> Result<Recorded> {
    let (there, strangers) = refuse_strangers(folder);
    let mut recorded = read(folder, kinds, Ok)?;
    recorded.refused.extend(strangers);
    let declared: BTreeSet<String> = recorded.experiment.runs.iter().map(|run| run.id.clone()).collect();
    recorded.others = there.into_iter().filter(|id| !declared.contains(id)).collect();
    Ok(recorded)
}

/// Reads the records in `folder` of `declared` runs, whether or not the folder was last written for them, and of those
/// that were recorded with the same settings and other seeds.
///
/// # Errors
/// As of [`read_experiment`].
pub fn read_declared(folder: &Path, declared: Vec<RunSpec>, kinds: &Kinds) -> Result<Recorded> {
    let (there, strangers) = refuse_strangers(folder);
    let mut recorded = read(folder, kinds, |last| {
        let known: HashSet<&str> = declared.iter().map(|run| run.id.as_str()).collect();
        let mut wanted = last;
        wanted.retain(|run| known.contains(run.id.as_str()) || declared.iter().any(|own| own.is_but_for_its_seed(run)));
        let old: HashSet<String> = wanted.iter().map(|run| run.id.clone()).collect();
        wanted.extend(declared.into_iter().filter(|run| !old.contains(&run.id)));
        Ok(wanted)
    })?;
    recorded.refused.extend(strangers);
    let shown: BTreeSet<&str> = recorded.experiment.runs.iter().map(|run| run.id.as_str()).collect();
    recorded.others = there.into_iter().filter(|id| !shown.contains(id.as_str())).collect();
    some(recorded)
}

/// Reads one recorded run in `folder`, whatever may be wrong with the others, and whether or not the experiment still
/// declares it.
pub fn read_run_of(folder: &Path, id: &str, kinds: &Kinds) -> Result<Recorded> {
    some(read(folder, kinds, |last| match last.into_iter().find(|run| run.id == id) {
        Some(run) => Ok(vec![run]),
        None => Ok(vec![undeclared(folder, id)?]),
    })?)
}

/// Reads the recorded runs in `folder` of these ids, which the experiment no longer declares; those whose record is refused
/// are left out.
///
/// # Errors
/// A folder without experiment.
pub fn read_earlier(folder: &Path, ids: &[String], kinds: &Kinds) -> Result<Recorded> {
    read(folder, kinds, |_| {
        Ok(side_by_side(ids, |id| undeclared(folder, id)).into_iter().filter_map(Result::ok).collect())
    })
}

/// How it begins, where nothing is recorded.
const NONE: &str = "none of the";

/// Records of which at least one can be shown.
fn some(mut recorded: Recorded) -> Result<Recorded> {
    if !recorded.runs.is_empty() {
        return Ok(recorded);
    }
    if !recorded.refused.is_empty() {
        return Err(recorded.refused.swap_remove(0));
    }
    let what = format!("{NONE} {} runs of the experiment is recorded", recorded.missing.len());
    let others = match recorded.others.len() {
        0 => String::new(),
        count => {
            let folder = recorded.folder.display();
            format!("; {count} runs of other settings are recorded (`dmad runs list {folder}`)")
        }
    };
    Err(Error::store(&recorded.folder, what, format!("run the experiment first{others}")))
}

/// Whether a fault says that nothing is recorded yet, and nothing else.
pub fn is_none_recorded(fault: &Error) -> bool {
    matches!(fault, Error::Store { what, .. } if what.starts_with(NONE))
}

/// Reads the runs that `choose` makes of those that the folder was last written for.
fn read(folder: &Path, kinds: &Kinds, choose: impl FnOnce(Vec<RunSpec>) -> Result<Vec<RunSpec>>) -> Result<Recorded> {
    let copy = folder.join("experiment.toml");
    if !copy.is_file() {
        let what = "holds no recorded experiment (no experiment.toml)";
        return Err(Error::store(folder, what, "name a folder below results/, or run the experiment first"));
    }
    let mut experiment = load_recorded(&copy, declared(&folder.join(DECLARED))?, kinds)?;
    experiment.runs = choose(experiment.runs)?;
    // Thousands of small files: whoever waits for one keeps nobody else from reading.
    let found = side_by_side(&experiment.runs, |run| read_run(RunFolder::new(folder, &run.id), &run.id, run));
    let ids: Vec<String> = experiment.runs.iter().map(|run| run.id.clone()).collect();
    let (runs, metrics, missing, refused, others, places) = Default::default();
    let mut recorded = Recorded { folder: folder.into(), experiment, runs, metrics, missing, refused, others, places };
    for (id, found) in ids.into_iter().zip(found) {
        match found {
            Ok(Some((run, metrics))) => {
                let first = recorded.metrics.len();
                recorded.metrics.extend(metrics);
                recorded.places.insert(id, (recorded.runs.len(), first..recorded.metrics.len()));
                recorded.runs.push(run);
                continue;
            }
            Ok(None) => {}
            Err(fault) => recorded.refused.push(fault),
        }
        recorded.missing.push(id);
    }
    Ok(recorded)
}

/// The settings of a run that is recorded and that the experiment no longer declares.
fn undeclared(folder: &Path, id: &str) -> Result<RunSpec> {
    let own = RunFolder::new(folder, id);
    let table = own.table()?.unwrap_or_default();
    let spec: Option<RunSpec> = table.get("spec").and_then(|spec| spec.clone().try_into().ok());
    let spec = spec.ok_or_else(|| damaged(&own.file("run.toml"), "does not say its settings"))?;
    Ok(RunSpec { id: id.into(), ..spec })
}

/// The runs that an experiment declared when it was recorded.
fn declared(path: &Path) -> Result<Vec<RunSpec>> {
    #[derive(serde::Deserialize)]
    struct Line {
        run: String,
        spec: RunSpec,
    }
    let text = std::fs::read_to_string(path).map_err(|fault| {
        let what = format!("the list of declared runs cannot be read ({fault}), so the record is older or not whole");
        Error::store(path, what, "run the experiment again: what is up to date is kept")
    })?;
    let read = |line: &&str| {
        let line: Line = serde_json::from_str(line)
            .map_err(|fault| Error::store(path, format!("not a list of runs ({fault})"), "run the experiment again"))?;
        Ok(RunSpec { id: line.run, ..line.spec })
    };
    side_by_side(&text.lines().collect::<Vec<_>>(), read).into_iter().collect()
}

/// The ids of all runs that are recorded in an experiment's folder, declared today or not.
pub fn run_ids(folder: &Path) -> Vec<String> {
    refuse_strangers(folder).0
}

/// The ids of all runs that are there, and what is said of folders that hold another run than their name says: copies,
/// which are not read. Folders of runs that the experiment no longer declares do no harm.
fn refuse_strangers(folder: &Path) -> (Vec<String>, Vec<Error>) {
    let (mut there, mut strangers) = (Vec::new(), Vec::new());
    let runs = folder.join("runs");
    let Ok(entries) = std::fs::read_dir(&runs) else { return (there, strangers) };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for (path, head) in paths.iter().zip(side_by_side(&paths, |path| RunFolder::at(path).head())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(own) = head.as_ref().and_then(|head| head.get("run")?.as_str()) else { continue };
        if own == name {
            there.push(name);
        } else {
            let what = format!("holds run {own}, so that run is there twice or under a wrong name");
            strangers.push(Error::store(path, what, "remove the folder that does not belong there"));
        }
    }
    (there, strangers)
}

fn read_run(folder: RunFolder, id: &str, spec: &RunSpec) -> Result<Option<(RecordedRun, Vec<MetricRecord>)>> {
    let path = folder.file("run.toml");
    let Some(table) = folder.table()? else { return Ok(None) };
    let identity = table.get("identity").and_then(|identity| serde_json::to_value(identity).ok());
    // Keys that are newer than the record are not in it: what it does say must be what is declared.
    let written: Option<RunSpec> = table.get("spec").and_then(|spec| spec.clone().try_into().ok());
    let same = written.is_some_and(|written| {
        let written = RunSpec { id: id.into(), ..written };
        written == *spec || difference(&to_json(&written), &to_json(spec)) == serde_json::json!({})
    });
    if identity.is_none_or(|identity| id_of(&identity) != id) || !same {
        return Err(damaged(&path, "its settings are not those of the run that the folder is named after"));
    }
    let failure = match table.get("status").and_then(toml::Value::as_str) {
        Some("ok") => None,
        Some("error") => Some(value(&table, &["error"]).and_then(|e| e.as_str()).unwrap_or("without a message").into()),
        other => return Err(damaged(&path, format!("the record has status {other:?}"))),
    };
    let (metrics, log) = ("metrics.parquet", "log.jsonl");
    match failure {
        Some(_) => folder.check(&table, &[metrics], &[metrics])?,
        None => folder.check(&table, &FILES, &[metrics, log])?,
    }
    let metrics = read_metrics(folder.bytes(&table, metrics)?, &folder.file(metrics), id)?;
    let stages = if failure.is_some() { Vec::new() } else { stages(&folder, &table)? };
    let told = |name: &str| value(&table, &["provenance", name]);
    let text = |name: &str| told(name).and_then(toml::Value::as_str).unwrap_or_default().to_string();
    let labels = told("labels").and_then(toml::Value::as_array);
    let run = RecordedRun {
        id: id.into(),
        spec: spec.clone(),
        failure,
        labels: labels.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_string)).collect(),
        dataset_digest: text("dataset_digest"),
        weights_digest: text("weights_digest"),
        cost: told("cost").and_then(|cost| cost.clone().try_into().ok()),
        stages,
        toml: table,
        folder,
        images: OnceLock::new(),
    };
    Ok(Some((run, metrics)))
}

fn read_metrics(bytes: Vec<u8>, path: &Path, id: &str) -> Result<Vec<MetricRecord>> {
    let rows = metric_rows(&read_parquet(bytes, path)?, path)?;
    let mut known = BTreeSet::new();
    for row in &rows {
        if row.run != id {
            return Err(damaged(path, format!("holds a row of run {}", row.run)));
        }
        if !known.insert((&row.class, &row.metric)) {
            return Err(damaged(path, format!("{} of class {} is there twice", row.metric, row.class)));
        }
        if row.value.is_some_and(|value| !value.is_finite()) {
            return Err(damaged(path, format!("{} of class {} is no number", row.metric, row.class)));
        }
    }
    if rows.is_empty() {
        return Err(damaged(path, "holds no row"));
    }
    Ok(rows)
}

/// The stages of a finished run, from its log.
fn stages(folder: &RunFolder, table: &toml::Table) -> Result<Vec<StageLog>> {
    let bytes = folder.bytes(table, "log.jsonl")?;
    let damaged = |fault| damaged(&folder.file("log.jsonl"), format!("not a log of stages ({fault})"));
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(damaged)).collect()
}
