//! Event files for TensorBoard: `OUT/EXPERIMENT/RUN/events.out.tfevents.…`.

use std::path::{Path, PathBuf};

use super::tfrecord::{Message, append};
use super::{Told, metric_name};
use crate::error::{Error, Result};
use crate::store::write_atomically;

/// How names of event files begin: TensorBoard looks for it.
const BEGINNING: &str = "events.out.tfevents.";

/// Writes a file of events for each run, in place of what was written of it before; returns the paths.
///
/// # Errors
/// A folder that cannot be written, a figure that cannot be read.
pub fn write(runs: &[Told], folder: &Path) -> Result<Vec<PathBuf>> {
    let path = |told: &Told| {
        let own = folder.join(&told.experiment).join(&told.run);
        let path = own.join(format!("{BEGINNING}{:010}.dmad", told.ended));
        // A second file in the folder would be read as more of the same run.
        for other in std::fs::read_dir(&own).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(BEGINNING) && other != path {
                std::fs::remove_file(&other).map_err(Error::io("remove", &other))?;
            }
        }
        write_atomically(&path, &events(told)?)?;
        Ok(path)
    };
    runs.iter().map(path).collect()
}

/// All events of a run.
fn events(told: &Told) -> Result<Vec<u8>> {
    let start = told.ended as f64 - told.seconds;
    let (mut out, last) = (Vec::new(), told.last_epoch());
    append(&mut out, &Message::default().double(1, start).bytes(3, b"brain.Event:2"));
    let mut event = |share: f64, step: u64, value: Message| {
        let time = start + told.seconds * share;
        let event = Message::default().double(1, time).integer(2, step as i64);
        append(&mut out, &event.message(5, Message::default().message(1, value)));
    };
    for (name, text) in texts(told) {
        event(0.0, 0, text_value(name, &text));
    }
    for (name, values) in &told.epochs {
        for (epoch, value) in values {
            event(*epoch as f64 / last.max(1) as f64, *epoch, scalar(name, *value));
        }
    }
    for (class, metric, value) in &told.metrics {
        event(1.0, last, scalar(&metric_name(class, metric), *value));
    }
    for figure in &told.figures {
        let bytes = std::fs::read(figure).map_err(Error::io("read", figure))?;
        let name = figure.file_stem().unwrap_or_default().to_string_lossy();
        event(1.0, last, picture(&format!("figures/{name}"), &bytes));
    }
    Ok(out)
}

/// What is told in words: what failed, tags and settings as tables.
fn texts(told: &Told) -> Vec<(&'static str, String)> {
    let row =
        |(key, value): (&String, &String)| format!("| {key} | {} |\n", value.replace('|', "\\|").replace('\n', " "));
    let table = |head: &str, rows: String| format!("| {head} | |\n|---|---|\n{rows}");
    let failure = told.failure.iter().map(|message| ("failed", message.clone()));
    let tables = [
        ("tags", table("tag", told.tags.iter().map(row).collect())),
        ("parameters", table("parameter", told.parameters.iter().map(row).collect())),
    ];
    failure.chain(tables).collect()
}

fn scalar(name: &str, value: f64) -> Message {
    Message::default().bytes(1, name.as_bytes()).float(2, value as f32)
}

fn text_value(name: &str, text: &str) -> Message {
    const STRING: i64 = 7;
    let shape = Message::default().message(2, Message::default().integer(1, 1));
    let tensor = Message::default().integer(1, STRING).message(2, shape).bytes(8, text.as_bytes());
    let plugin = Message::default().message(1, Message::default().bytes(1, b"text"));
    Message::default().bytes(1, name.as_bytes()).message(8, tensor).message(9, plugin)
}

fn picture(name: &str, png: &[u8]) -> Message {
    let side = |place: usize| {
        png.get(place..place + 4)
            .map_or(0, |bytes| i64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
    };
    // A PNG begins with its width and height, after the signature and the head of its first piece.
    let image = Message::default().integer(1, side(20)).integer(2, side(16)).integer(3, 3).bytes(4, png);
    Message::default().bytes(1, name.as_bytes()).message(4, image)
}
