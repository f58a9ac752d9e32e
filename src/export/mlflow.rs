//! Runs for an MLflow server, through its REST API; where it is away, they wait in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value as Json, json};

use super::{Told, metric_name};
use crate::error::{Error, Result};
use crate::fetch::{Answer, exchange};
use crate::store::write_atomically;

/// A tracking server.
#[derive(Clone, Debug)]
pub struct Server {
    url: String,
    authorization: Option<String>,
}

/// Why a run is not on the server.
#[derive(Debug)]
pub enum Fault {
    /// Nobody answers, or the server cannot now: later it may.
    Away(String),
    /// It will not take it, or it cannot be sent.
    Refused(Error),
}

impl From<Error> for Fault {
    fn from(fault: Error) -> Self {
        Fault::Refused(fault)
    }
}

/// What has become of a run that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is there now; figures that could not be sent, and why.
    New(Vec<String>),
    /// It was there already, from the same record.
    There,
}

/// Where runs wait for a server that is away, below the results.
pub const SPOOL: &str = "mlflow-spool";

/// Tries before a server counts as away.
const TRIES: u32 = 3;
/// Wait before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// The most that the API takes in one request.
const METRICS: usize = 1000;
const PARAMETERS: usize = 100;
/// Longest values of parameters and tags that every store takes.
const PARAMETER_LETTERS: usize = 500;
const TAG_LETTERS: usize = 5000;

impl Server {
    /// The server at `url`, with who we are from MLflow's own variables (`MLFLOW_TRACKING_TOKEN`, or
    /// `MLFLOW_TRACKING_USERNAME` and `_PASSWORD`).
    pub fn new(url: &str) -> Server {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let basic = || {
            let (name, word) = (variable("MLFLOW_TRACKING_USERNAME")?, variable("MLFLOW_TRACKING_PASSWORD")?);
            Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{word}"))))
        };
        let token = variable("MLFLOW_TRACKING_TOKEN").map(|token| format!("Bearer {token}"));
        Server { url: url.trim_end_matches('/').into(), authorization: token.or_else(basic) }
    }

    /// Sends a run, unless the same record was sent before. One that was sent of an older record, or not wholly, goes.
    pub fn send(&self, told: &Told) -> Result<Sent, Fault> {
        let experiment = self.experiment(&told.experiment)?;
        let filter = format!("tags.`dmad.run` = '{}'", told.run);
        let found = self.post("runs/search", &json!({ "experiment_ids": [experiment], "filter": filter }))?;
        let found = found["runs"].as_array().cloned().unwrap_or_default();
        let (whole, others): (Vec<_>, Vec<_>) = found.iter().partition(|run| is_whole(run, told));
        for other in others {
            self.post("runs/delete", &json!({ "run_id": other["info"]["run_id"] }))?;
        }
        if let Some(run) = whole.first() {
            self.add_figures(told, &run["info"])?;
            return Ok(Sent::There);
        }
        let (start, end) = (1000 * told.ended - (1000.0 * told.seconds) as i64, 1000 * told.ended);
        let tags = pairs(&told.tags, TAG_LETTERS);
        let body = json!({ "experiment_id": experiment, "run_name": told.name, "start_time": start, "tags": tags });
        let run = self.post("runs/create", &body)?;
        let id = run["run"]["info"]["run_id"].clone();
        for parameters in pairs(&told.parameters, PARAMETER_LETTERS).chunks(PARAMETERS) {
            self.post("runs/log-batch", &json!({ "run_id": id, "params": parameters }))?;
        }
        for metrics in metrics(told, (start, end)).chunks(METRICS) {
            self.post("runs/log-batch", &json!({ "run_id": id, "metrics": metrics }))?;
        }
        let unsent = self.figures(&told.figures, &run["run"]["info"])?;
        let status = if told.failure.is_some() { "FAILED" } else { "FINISHED" };
        self.post("runs/update", &json!({ "run_id": id, "status": status, "end_time": end }))?;
        Ok(Sent::New(unsent))
    }

    /// The id of an experiment, which is made where it is not there.
    fn experiment(&self, name: &str) -> Result<Json, Fault> {
        let query = format!("experiments/get-by-name?experiment_name={}", escaped(name));
        let answer = self.ask("GET", &self.api(&query), None)?;
        if answer.status == 200 {
            return Ok(parsed(&answer)["experiment"]["experiment_id"].clone());
        }
        if answer.status != 404 {
            return Err(self.refused(&query, &answer));
        }
        Ok(self.post("experiments/create", &json!({ "name": name }))?["experiment_id"].clone())
    }

    /// Sends figures that a run on the server lacks: they may have been drawn since.
    fn add_figures(&self, told: &Told, info: &Json) -> Result<(), Fault> {
        if told.figures.is_empty() {
            return Ok(());
        }
        let path = format!("artifacts/list?run_id={}&path=figures", info["run_id"].as_str().unwrap_or_default());
        let listed = parsed(&self.ask("GET", &self.api(&path), None)?);
        let is_there = |figure: &Path| {
            let name = figure.file_name().unwrap_or_default().to_string_lossy();
            let path = format!("figures/{name}");
            listed["files"].as_array().into_iter().flatten().any(|file| file["path"] == path.as_str())
        };
        let lacking: Vec<PathBuf> = told.figures.iter().filter(|figure| !is_there(figure)).cloned().collect();
        self.figures(&lacking, info).map(drop)
    }

    /// Sends figures to the server's own store of artifacts; any other is not reached through the server.
    fn figures(&self, figures: &[PathBuf], info: &Json) -> Result<Vec<String>, Fault> {
        let place = info["artifact_uri"].as_str().unwrap_or_default();
        let Some(place) = place.strip_prefix("mlflow-artifacts:/") else {
            let unsent = format!("its artifacts lie at {place}, which the server does not take them for");
            return Ok(if figures.is_empty() { Vec::new() } else { vec![unsent] });
        };
        let mut unsent = Vec::new();
        for figure in figures {
            let name = figure.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(bytes) = std::fs::read(figure) else {
                unsent.push(format!("{} is gone", figure.display()));
                continue;
            };
            let path = escaped(&format!("{}/figures/{name}", place.trim_matches('/')));
            let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{path}", self.url);
            let answer = self.ask("PUT", &url, Some((&bytes, false)))?;
            if answer.status != 200 {
                unsent.push(format!("{name}: the server answers {}", answer.status));
            }
        }
        Ok(unsent)
    }

    fn api(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.url)
    }

    fn post(&self, path: &str, body: &Json) -> Result<Json, Fault> {
        let answer = self.ask("POST", &self.api(path), Some((body.to_string().as_bytes(), true)))?;
        if answer.status == 200 { Ok(parsed(&answer)) } else { Err(self.refused(path, &answer)) }
    }

    fn refused(&self, path: &str, answer: &Answer) -> Fault {
        let told = parsed(answer);
        let why = told["message"].as_str().map_or_else(|| format!("status {}", answer.status), str::to_string);
        let help = "is this the address of an MLflow tracking server, and may you write there?";
        Fault::Refused(Error::usage(format!("{} refuses {path}: {why}", self.url), help))
    }

    /// Asks, and asks again where nobody answers or the server says that it cannot now.
    fn ask(&self, method: &str, url: &str, body: Option<(&[u8], bool)>) -> Result<Answer, Fault> {
        let mut why = String::new();
        for number in 0..TRIES {
            if number > 0 {
                std::thread::sleep(PAUSE * 2u32.pow(number - 1));
            }
            why = match exchange(method, url, self.authorization.as_deref(), body) {
                Ok(answer) if answer.status < 500 && answer.status != 429 => return Ok(answer),
                Ok(answer) => format!("it answers {}", answer.status),
                Err(why) => why,
            };
        }
        Err(Fault::Away(format!("{}: {why}", self.url)))
    }
}

/// Whether a run on the server is all of the same record.
fn is_whole(run: &Json, told: &Told) -> bool {
    let ended = ["FINISHED", "FAILED"].contains(&run["info"]["status"].as_str().unwrap_or_default());
    let own = ["dmad.key", "dmad.status"].iter().all(|name| {
        let tags = run["data"]["tags"].as_array().into_iter().flatten();
        let there = tags.into_iter().find(|tag| tag["key"] == *name).and_then(|tag| tag["value"].as_str());
        there == told.tags.get(*name).map(String::as_str)
    });
    ended && own
}

fn parsed(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

fn pairs(all: &BTreeMap<String, String>, letters: usize) -> Vec<Json> {
    let short = |value: &String| match value.chars().count() > letters {
        true => value.chars().take(letters - 1).chain(['…']).collect(),
        false => value.clone(),
    };
    all.iter().map(|(key, value)| json!({ "key": plain(key), "value": short(value) })).collect()
}

/// All values by epoch, spread over the run's time, and the final metrics at the last epoch.
fn metrics(told: &Told, (start, end): (i64, i64)) -> Vec<Json> {
    let last = told.last_epoch();
    let time = |epoch: u64| start + (end - start) * epoch as i64 / last.max(1) as i64;
    let finals: Vec<(String, f64)> =
        told.metrics.iter().map(|(class, metric, value)| (metric_name(class, metric), *value)).collect();
    let names = told_apart(told.epochs.iter().map(|(name, _)| name).chain(finals.iter().map(|(name, _)| name)));
    let by_epoch = told.epochs.iter().flat_map(|(name, values)| {
        let value = |(epoch, value): &(u64, f64)| {
            json!({ "key": names[name], "value": value, "timestamp": time(*epoch), "step": epoch })
        };
        values.iter().map(value).collect::<Vec<_>>()
    });
    let finals = finals
        .iter()
        .map(|(name, value)| json!({ "key": names[name], "value": value, "timestamp": end, "step": last }));
    by_epoch.chain(finals).collect()
}

/// Names of letters that the API takes, by what they stand for: of two that would be one, each that has lost letters has a
/// digest of them.
fn told_apart<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<&'a String, String> {
    let names: BTreeSet<&String> = names.collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    names.iter().for_each(|name| *counts.entry(plain(name)).or_default() += 1);
    let name = |name: &'a String| match plain(name) {
        own if counts[&own] > 1 && own != *name => {
            (name, format!("{own}_{}", &blake3::hash(name.as_bytes()).to_hex()[..8]))
        }
        own => (name, own),
    };
    names.into_iter().map(name).collect()
}

/// A name of letters that the API takes.
fn plain(name: &str) -> String {
    name.chars().map(|c| if is_taken(c) || "_-. /".contains(c) { c } else { '_' }).collect()
}

/// Whether a letter or digit is one for the server as well. In other scripts some signs are letters here and none there, and
/// one of them would have the whole run refused; a colon is refused by servers on Windows.
fn is_taken(c: char) -> bool {
    let latin_greek_cyrillic = matches!(c, '\0'..='\u{2ff}' | '\u{370}'..='\u{482}' | '\u{48a}'..='\u{52f}');
    let east_asian = matches!(c, '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}');
    c.is_alphanumeric() && (latin_greek_cyrillic || east_asian || matches!(c, '\u{1e00}'..='\u{1fff}'))
}

/// Text as a part of an address.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Keeps a run until the server is there again.
///
/// # Errors
/// A folder that cannot be written.
pub fn keep(folder: &Path, told: &Told) -> Result<PathBuf> {
    let path = folder.join(format!("{}-{}.json", told.experiment, told.run));
    write_atomically(&path, json!(told).to_string().as_bytes())?;
    Ok(path)
}

/// The runs that are kept, with their files; none where there is no such folder.
///
/// # Errors
/// A file that is no kept run.
pub fn kept(folder: &Path) -> Result<Vec<(PathBuf, Told)>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let told = serde_json::from_slice(&bytes);
        let fault = |fault| {
            Error::store(
                &path,
                format!("is no run that waits to be sent ({fault})"),
                "remove it, and export the run again",
            )
        };
        Ok((path.clone(), told.map_err(fault)?))
    };
    paths.into_iter().map(read).collect()
}

/// What has become of runs that were handed to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Sent now.
    pub new: usize,
    /// There already.
    pub there: usize,
    /// Kept until the server is there again.
    pub waiting: usize,
}

/// Sends runs, those that waited with the files in which they did; while the server is away, they are kept in `spool`.
/// `note` hears what is worth a word.
///
/// # Errors
/// A server that will not take a run, a folder that cannot be written: runs after that one are not sent.
pub fn deliver(
    server: &Server,
    spool: &Path,
    runs: &[(Option<PathBuf>, Told)],
    note: impl Fn(String),
) -> Result<Delivered> {
    let (mut done, mut is_away) = (Delivered::default(), false);
    for (path, told) in runs {
        // A server that was just away is not asked for every run.
        let sent = if is_away { Err(Fault::Away(String::new())) } else { server.send(told) };
        match sent {
            Ok(Sent::There) => done.there += 1,
            Ok(Sent::New(unsent)) => {
                done.new += 1;
                unsent.iter().for_each(|why| note(format!("{}: figures were not sent: {why}", told.run)));
            }
            Err(Fault::Refused(fault)) => return Err(fault),
            Err(Fault::Away(why)) => {
                if !is_away {
                    note(format!("the server is away: {why}"));
                }
                is_away = true;
                done.waiting += 1;
                keep(spool, told)?;
                continue;
            }
        }
        if let Some(path) = path {
            std::fs::remove_file(path).map_err(Error::io("remove", path))?;
        }
    }
    if done.waiting > 0 {
        let place = spool.display();
        note(format!("{} runs wait in {place}; `dmad export mlflow --spool` sends them", done.waiting));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_stay_what_they_are_where_the_server_takes_them_and_never_become_one() {
        for (name, expected) in [
            ("image_auroc/größe", "image_auroc/größe"),
            ("image_auroc/螺丝", "image_auroc/螺丝"),
            ("loss of part 1", "loss of part 1"),
            ("a(1)", "a_1_"),
            // A sign that counts as a letter here, and not for the server.
            ("कि", "__"),
        ] {
            assert_eq!(plain(name), expected);
        }
        let names = ["a(1)", "a[1]", "a_1_", "b(1)"].map(String::from);
        let told = told_apart(names.iter().chain(&names));
        assert_eq!((&*told[&names[2]], &*told[&names[3]]), ("a_1_", "b_1_"));
        assert!(told[&names[0]].starts_with("a_1__") && told[&names[1]].starts_with("a_1__"), "{told:?}");
        assert_eq!(told.values().collect::<BTreeSet<_>>().len(), names.len(), "{told:?}");
    }
}
