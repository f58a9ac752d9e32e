//! Tables that any program reads: runs, their settings, values by epoch, final metrics.

use std::path::{Path, PathBuf};

use super::Told;
use crate::clock::date_of;
use crate::error::{Error, Result};
use crate::store::write_atomically;

/// A field, in quotes where it needs them.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.into(),
    }
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |fields: Vec<String>| fields.iter().map(|text| field(text)).collect::<Vec<_>>().join(",") + "\n";
    let head = line(head.iter().map(|name| name.to_string()).collect());
    head + &rows.map(line).collect::<String>()
}

/// Writes the tables and the figures of `runs` into `folder`; returns the paths.
///
/// # Errors
/// A folder that cannot be written, a figure that cannot be read.
pub fn write(runs: &[Told], folder: &Path) -> Result<Vec<PathBuf>> {
    let id = |told: &Told| vec![told.experiment.clone(), told.run.clone()];
    let tag = |told: &Told, name: &str| told.tags.get(&format!("dmad.{name}")).cloned().unwrap_or_default();
    let named =
        ["variant", "method", "dataset", "seed", "seen_anomalies", "status", "error", "labels", "device", "revision"];
    let head = [&["experiment", "run"][..], &named, &["ended", "seconds"]].concat();
    let rows = runs.iter().map(|told| {
        let tags = named.map(|name| tag(told, name));
        [id(told), tags.to_vec(), vec![date_of(told.ended), told.seconds.to_string()]].concat()
    });
    let parameters = runs.iter().flat_map(|told| {
        told.parameters.iter().map(move |(key, value)| [id(told), vec![key.clone(), value.clone()]].concat())
    });
    let epochs = runs.iter().flat_map(|told| {
        let rows = told.epochs.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        rows.map(move |(name, (epoch, value))| {
            [id(told), vec![name.clone(), epoch.to_string(), value.to_string()]].concat()
        })
    });
    let metrics = runs.iter().flat_map(|told| {
        let row =
            |(class, metric, value): &(String, String, f64)| vec![class.clone(), metric.clone(), value.to_string()];
        told.metrics.iter().map(move |own| [id(told), row(own)].concat())
    });
    let tables = [
        ("runs.csv", table(&head, rows)),
        ("parameters.csv", table(&["experiment", "run", "key", "value"], parameters)),
        ("epochs.csv", table(&["experiment", "run", "name", "epoch", "value"], epochs)),
        ("metrics.csv", table(&["experiment", "run", "class", "metric", "value"], metrics)),
    ];
    let mut paths = Vec::new();
    for (name, text) in tables {
        let path = folder.join(name);
        write_atomically(&path, text.as_bytes())?;
        paths.push(path);
    }
    let mut figures: Vec<(&str, &PathBuf)> =
        runs.iter().flat_map(|told| told.figures.iter().map(|figure| (told.experiment.as_str(), figure))).collect();
    figures.sort();
    figures.dedup();
    for (experiment, figure) in figures {
        let path = folder.join("figures").join(experiment).join(figure.file_name().unwrap_or_default());
        write_atomically(&path, &std::fs::read(figure).map_err(Error::io("read", figure))?)?;
        paths.push(path);
    }
    Ok(paths)
}
