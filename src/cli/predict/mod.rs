//! `dmad predict`: a recorded run applied to new images.
//!
//! Owns: the files that are written, and what the run's normal test images say of a score. Does not own: the numbers (`run`),
//! how pictures look (`report`).

mod chosen;
mod files;
mod rows;

use std::path::PathBuf;

use serde_json::Value as Json;

pub(super) use self::chosen::{Chosen, scratch_in};
use self::files::{find, names, remove_others};
use self::rows::{Row, with_faults};
use super::Common;
use crate::console::say;
use crate::data::thumbnail::png;
use crate::data::{Image, Source, image};
use crate::error::{Error, Result};
use crate::maps::{coloured, shown_range};
use crate::record::RecordedRun;
use crate::report::{self, Overlay};
use crate::run::{self, Prediction};
use crate::store::write_atomically;

/// Apply a recorded run to new images.
#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("applied").required(true).args(["id", "model"])))]
#[command(after_help = "\
Examples:
  dmad predict --run 3f2a91c0de77 photos/*.jpg --out found
  dmad predict --run 3f2a photos --out found --class screw --overlay
  dmad predict --run 3f2a photos --out found --false-alarms 1
  dmad predict --model screws photos --out found                 what `dmad export model` has written

Writes OUT/scores.csv and OUT/maps/*.png (squares of the run's evaluation.size), and OUT/overlays/*.png (images in their own
size); those of an earlier call in the same OUT are replaced. For images that the run was tested on, the numbers are those of
the run (of an exported model on another device, up to rounding).
Colours reach from the 2nd to the 99.8th percentile of the run's own scores, so that pictures of several calls can be
compared; where the run has tested no image, of the scores at hand. An image that cannot be read is a row that says why; the exit code is then 1. The run's dataset and weights must be
here; banks and models come from the store, or are made again. An exported model needs neither.")]
pub struct Args {
    /// Id of the run (`dmad runs list`), its beginning, or EXPERIMENT/ID
    #[arg(long = "run", value_name = "ID")]
    id: Option<String>,
    /// The folder of an exported model instead
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Image files, or folders of them
    #[arg(required = true, value_name = "IMAGES")]
    images: Vec<PathBuf>,
    /// Folder for scores and pictures
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The class whose model is meant, where the run has one model per class; where all classes have one model, whose normal
    /// test images set threshold and colours [default: those of all classes]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Draw each image beside its map, with a bar of the colours and what is said of the score
    #[arg(long)]
    overlay: bool,
    /// Images with higher scores are anomalous
    #[arg(long, value_name = "SCORE", conflicts_with = "false_alarms", allow_negative_numbers = true, value_parser = super::score)]
    threshold: Option<f64>,
    /// The same by the share of the run's normal test images, in percent, that may be called anomalous
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = super::percent)]
    false_alarms: f64,
}

/// Writes scores and pictures, and prints the scores. True when every image could be read.
pub(super) fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let chosen = match &args.model {
        Some(folder) => Chosen::exported(folder)?,
        None => Chosen::find(args.id.as_deref().unwrap_or_default(), &common.results)?,
    };
    let found = find(&args.images)?;
    if let Some(first) = found.passed_over.first() {
        say!("note: {} files are no images by their names, such as {}", found.passed_over.len(), first.display());
    }
    let all: Vec<Image> = found.images.iter().map(|path| Image::at(path)).collect();
    let looked_at: Vec<Result<()>> = run::readable(&chosen.run, &all);
    let images: Vec<Image> = good(&all, &looked_at);
    if images.is_empty() {
        return Error::all(looked_at.into_iter().filter_map(Result::err).collect()).map(|()| true);
    }
    let (_scratch, session) = chosen.session(common, &args.out)?;
    let prediction = run::predict(&session, &chosen.request(args.class.as_deref(), &images))?;
    if let Some(note) = super::turned(&images.iter().filter(|image| is_turned(image)).collect::<Vec<_>>()) {
        say!("note: {note}");
    }
    let known = Known::of(&chosen.recorded, args)?.coloured_at_least(&prediction)?;
    let rows = write(args, &prediction, &images, &known)?;
    let rows = with_faults(rows, &found.images, &looked_at);
    let csv = Row::HEAD.to_string() + &rows.iter().map(Row::csv).collect::<String>();
    write_atomically(&args.out.join("scores.csv"), csv.as_bytes())?;
    match json {
        true => super::print(&format!("{:#}", rows.iter().map(Row::json).collect::<Json>()))?,
        false => super::print(csv.trim_end())?,
    }
    known.tell(&chosen.recorded, &rows);
    for fault in looked_at.iter().filter_map(|looked| looked.as_ref().err()) {
        super::print_error(fault);
    }
    say!(
        "wrote {} and {} pictures",
        args.out.join("scores.csv").display(),
        rows.iter().map(Row::pictures).sum::<usize>()
    );
    Ok(looked_at.iter().all(Result::is_ok))
}

/// The images that can be read.
fn good(images: &[Image], looked_at: &[Result<()>]) -> Vec<Image> {
    images.iter().zip(looked_at).filter(|(_, looked)| looked.is_ok()).map(|(image, _)| image.clone()).collect()
}

fn is_turned(image: &Image) -> bool {
    matches!(&image.source, Source::File(path) if crate::data::decode::is_turned(path))
}

/// What the run's own test images say of scores.
struct Known {
    /// Scores of its normal test images, the highest first.
    normals: Vec<f64>,
    /// Images with higher scores are anomalous.
    threshold: Option<f64>,
    /// Classes that the threshold is of; 0 where it was given.
    classes: usize,
    /// Scores of the darkest and the brightest colour; `None` where the run has no maps.
    colours: Option<(f64, f64)>,
}

impl Known {
    fn of(recorded: &RecordedRun, args: &Args) -> Result<Known> {
        let images = recorded.images()?;
        let is_meant = |class: &str| args.class.as_deref().is_none_or(|own| own == class);
        let own = || images.iter().filter(|row| is_meant(&row.class));
        let mut normals: Vec<f64> =
            own().filter(|row| !row.label && row.score.is_finite()).map(|row| row.score).collect();
        normals.sort_by(|a, b| b.total_cmp(a));
        // The highest score that is not one of the allowed false alarms.
        let allowed = (normals.len() as f64 * args.false_alarms / 100.0) as usize;
        let threshold = args.threshold.or_else(|| normals.get(allowed.min(normals.len().saturating_sub(1))).copied());
        let mut classes: Vec<&str> = own().map(|row| row.class.as_str()).collect();
        classes.dedup();
        let count = if args.threshold.is_some() { 0 } else { classes.len() };
        let mut colours: Option<(f64, f64)> = None;
        if !recorded.scoring()?.mapless {
            for class in classes {
                let (low, high) = shown_range(&recorded.patch_scores(class)?.1);
                let (least, greatest) = colours.unwrap_or((low, high));
                colours = Some((least.min(low), greatest.max(high)));
            }
        }
        Ok(Known { normals, threshold, classes: count, colours })
    }

    /// The same, with the colours of the images at hand where the run has tested none.
    fn coloured_at_least(self, prediction: &Prediction) -> Result<Known> {
        if self.colours.is_some() || prediction.is_mapless() {
            return Ok(self);
        }
        say!("note: the run has tested no image, so colours are those of these images alone");
        Ok(Known { colours: Some(shown_range(prediction.patch_scores()?)), ..self })
    }

    /// Share of the normal test images with lower scores, in percent.
    fn below(&self, score: f64) -> Option<f64> {
        let below = self.normals.iter().filter(|normal| **normal < score).count();
        (!self.normals.is_empty()).then(|| 100.0 * below as f64 / self.normals.len() as f64)
    }

    /// Whether a score is that of an anomaly.
    fn is_anomalous(&self, score: f64) -> Option<bool> {
        self.threshold.map(|threshold| score > threshold)
    }

    /// Says where the threshold comes from, and what it says of the images.
    fn tell(&self, recorded: &RecordedRun, rows: &[Row]) {
        let Some(threshold) = self.threshold else {
            say!(
                "run {} has no normal test image, so nothing says which scores are high; give one with --threshold",
                recorded.id
            );
            return;
        };
        let anomalous = rows.iter().filter(|row| row.anomalous == Some(true)).count();
        let higher = self.normals.iter().filter(|normal| **normal > threshold).count();
        // Scores of one class may be twice those of another.
        let over = match self.classes {
            0 | 1 => String::new(),
            count => format!(", over its {count} classes; --class NAME takes one's"),
        };
        say!(
            "{anomalous} of {} images are above {threshold:.6}, as {higher} of the {} normal test images of run {} are{over}",
            rows.iter().filter(|row| row.score.is_some()).count(),
            self.normals.len(),
            recorded.id
        );
    }
}

/// Writes the pictures of the images, in one scale of colours, and says what is in them.
fn write(args: &Args, prediction: &Prediction, images: &[Image], known: &Known) -> Result<Vec<Row>> {
    let paths: Vec<PathBuf> = images.iter().map(|image| PathBuf::from(&image.path)).collect();
    let mut rows = Vec::new();
    for (number, (image, name)) in images.iter().zip(names(&paths)).enumerate() {
        let score = prediction.scores[number];
        let mut row = Row {
            image: image.path.clone(),
            score: Some(score),
            threshold: known.threshold,
            anomalous: known.is_anomalous(score),
            below: known.below(score),
            ..Row::default()
        };
        // A method that scores images alone has no maps; its cells are empty.
        if let Some(colours) = known.colours.filter(|_| !prediction.is_mapless()) {
            let map = prediction.map(number)?;
            row.lowest = map.iter().copied().reduce(f32::min);
            row.highest = map.iter().copied().reduce(f32::max);
            row.map = format!("maps/{name}");
            let (height, width) = prediction.size;
            write_atomically(&args.out.join(&row.map), &png(&coloured(&map, colours), (width, height), None))?;
            if args.overlay {
                row.overlay = format!("overlays/{name}");
                write_atomically(&args.out.join(&row.overlay), &overlay(prediction, number, image, known, colours)?)?;
            }
        }
        rows.push(row);
    }
    let written: Vec<String> = rows.iter().flat_map(|row| [row.map.clone(), row.overlay.clone()]).collect();
    match remove_others(&args.out, &written) {
        0 => {}
        removed => say!("note: {removed} pictures of an earlier call are removed from {}", args.out.display()),
    }
    Ok(rows)
}

/// The image beside itself under its map.
fn overlay(
    prediction: &Prediction,
    number: usize,
    image: &Image,
    known: &Known,
    colours: (f64, f64),
) -> Result<Vec<u8>> {
    let pixels = image::load(image)?.into_rgb();
    let map = prediction.own_map(number, (pixels.width, pixels.height))?;
    let score = prediction.scores[number];
    let verdict = match known.is_anomalous(score) {
        Some(true) => "anomalous",
        Some(false) => "normal",
        None => "",
    };
    report::overlay(&Overlay {
        name: &image.path,
        size: (pixels.width, pixels.height),
        image: &pixels.data,
        map: &map,
        colours,
        score,
        threshold: known.threshold,
        verdict,
    })
}
