//! `dmad predict`: a recorded run applied to new images.
//!
//! Owns: the files that are written and the colours of heat maps. Does not own: the numbers (`run`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value as Json, json};

use super::Common;
use crate::console::say;
use crate::data::layouts::IMAGE_ENDINGS;
use crate::error::{Error, Result};
use crate::run::{self, Prediction, Request, Session};
use crate::spec::{BASE_VARIANT, Kinds, Run, RunSpec, to_json};
use crate::store::write_atomically;
use crate::{record, report, spec};

/// Colours from the lowest to the highest score: dark to bright, in print and for colour-blind readers as well.
const COLOURS: [[f32; 3]; 5] =
    [[0.0, 0.0, 4.0], [87.0, 16.0, 110.0], [188.0, 55.0, 84.0], [249.0, 142.0, 9.0], [252.0, 255.0, 164.0]];

/// Apply a recorded run to new images.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad predict --run 3f2a91c0de77 photos/*.jpg --out found
  dmad predict --run 3f2a photos --out found --class screw

Writes OUT/scores.csv and OUT/maps/*.png. For images that the run was tested on, the numbers are those of the run. The run's
dataset and weights must be here; banks and models come from the store, or are made again.")]
pub struct Args {
    /// Id of the run (`dmad runs list`), its beginning, or EXPERIMENT/ID
    #[arg(long = "run", value_name = "ID")]
    id: String,
    /// Image files, or folders of them
    #[arg(required = true, value_name = "IMAGES")]
    images: Vec<PathBuf>,
    /// Folder for scores and heat maps
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The class whose model is meant, where the run has one model per class
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
}

/// Writes scores and maps, and prints the scores.
pub(super) fn run(args: &Args, common: &Common, json: bool) -> Result<()> {
    let chosen = Chosen::find(&args.id, common)?;
    let paths = files(&args.images)?;
    let session = Session::open(common.resources(), common.catalog()?, common.progress()?)?;
    let prediction = run::predict(&session, &chosen.request(args.class.as_deref(), &paths))?;
    // A method that scores images alone has no maps; its cells are empty.
    let maps = if prediction.is_mapless() { vec![String::new(); paths.len()] } else { names(&paths) };
    let csv = write(&prediction, &paths, &maps, &args.out)?;
    if json {
        let row = |(image, path): (usize, &PathBuf)| json!({ "image": path.display().to_string(), "score": prediction.scores[image], "map": maps[image] });
        super::print(&format!("{:#}", paths.iter().enumerate().map(row).collect::<Json>()))?;
    } else {
        super::print(csv.trim_end())?;
    }
    let written = maps.iter().filter(|map| !map.is_empty()).count();
    say!("wrote {} and {written} heat maps", args.out.join("scores.csv").display());
    Ok(())
}

/// A recorded run that is applied to other images than its own.
pub(super) struct Chosen {
    /// The run.
    pub run: Run,
    key: String,
    epoch: usize,
}

impl Chosen {
    /// The run that `id` names.
    ///
    /// # Errors
    /// None of this name or several, one that failed, or one that this program would not make so.
    pub fn find(id: &str, common: &Common) -> Result<Chosen> {
        let kinds = report::kinds();
        let recorded = record::find_run(&common.results, id, &kinds)?;
        let found = &recorded.runs[0];
        if let Some(message) = &found.failure {
            return Err(Error::usage(format!("run {} failed: {message}", found.id), "choose one that did not"));
        }
        Ok(Chosen {
            run: declared(&found.spec, &kinds)?,
            key: found.value(&["key"]).and_then(toml::Value::as_str).unwrap_or_default().into(),
            epoch: found.value(&["epoch"]).and_then(toml::Value::as_integer).unwrap_or_default() as usize,
        })
    }

    /// Its application to images, of a class where one is named.
    pub fn request<'a>(&'a self, class: Option<&'a str>, images: &'a [PathBuf]) -> Request<'a> {
        Request { run: &self.run, recorded_key: &self.key, epoch: self.epoch, class, images }
    }
}

/// The run of recorded settings, whatever its experiment declares today.
fn declared(spec: &RunSpec, kinds: &Kinds) -> Result<Run> {
    let mut file = to_json(spec);
    file["seeds"] = json!([spec.seed]);
    file["variant"] = match spec.variant.as_str() {
        BASE_VARIANT => json!([]),
        name => json!([{ "name": name }]),
    };
    file.as_object_mut().map(|file| file.remove("seed"));
    let text = toml::to_string(&file).unwrap_or_else(|fault| unreachable!("a record is plain data: {fault}"));
    let experiment = spec::load_built_in(Path::new("run.toml"), &[("run.toml", &text)], kinds)?;
    experiment.runs.into_iter().find(|run| run.spec.id == spec.id).ok_or_else(|| {
        let what = format!("run {} is recorded, but this program's defaults make another run of its settings", spec.id);
        Error::usage(what, "do it again with `dmad run`")
    })
}

/// Files as they are named; a folder stands for the images in it, sorted.
fn files(images: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for path in images {
        if !path.is_dir() {
            out.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
        let mut inside: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        inside.retain(|file| {
            let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            file.is_file() && IMAGE_ENDINGS.contains(&extension.as_str())
        });
        if inside.is_empty() {
            return Err(Error::data(path, "holds no image", format!("images end in {}", IMAGE_ENDINGS.join(", "))));
        }
        inside.sort();
        out.extend(inside);
    }
    Ok(out)
}

/// A path in the folder for every map: the image's own name, with its number where several images have the same.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    paths.iter().for_each(|path| *counts.entry(stem(path)).or_default() += 1);
    let name = |(number, path): (usize, &PathBuf)| match stem(path) {
        own if counts[&own] == 1 => format!("maps/{own}.png"),
        own => format!("maps/{number:04}_{own}.png"),
    };
    paths.iter().enumerate().map(name).collect()
}

/// Writes the maps, all in one scale of colours, then the scores.
fn write(prediction: &Prediction, paths: &[PathBuf], names: &[String], out: &Path) -> Result<String> {
    let mut csv = "image,score,map,map_lowest,map_highest\n".to_string();
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    if prediction.is_mapless() {
        let rows = paths.iter().zip(&prediction.scores);
        csv.extend(rows.map(|(path, score)| format!("{},{score},,,\n", quoted(&path.display().to_string()))));
        write_atomically(&out.join("scores.csv"), csv.as_bytes())?;
        return Ok(csv);
    }
    let ends = |map: &[f32]| {
        map.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
    };
    let range = |image| Ok(ends(&prediction.map(image)?));
    let ranges = (0..paths.len()).map(range).collect::<Result<Vec<(f32, f32)>>>()?;
    let low = ranges.iter().fold(f32::INFINITY, |low, range| low.min(range.0));
    let high = ranges.iter().fold(f32::NEG_INFINITY, |high, range| high.max(range.1));
    for (image, name) in names.iter().enumerate() {
        let bytes = heat_map(&prediction.map(image)?, prediction.size, (low, high))
            .map_err(|fault| Error::data(&paths[image], format!("its map cannot be written: {fault}"), ""))?;
        write_atomically(&out.join(name), &bytes)?;
        let (path, map) = (quoted(&paths[image].display().to_string()), quoted(name));
        csv += &format!("{path},{},{map},{},{}\n", prediction.scores[image], ranges[image].0, ranges[image].1);
    }
    write_atomically(&out.join("scores.csv"), csv.as_bytes())?;
    say!("colours of all maps: {low} is darkest, {high} is brightest");
    Ok(csv)
}

fn heat_map(map: &[f32], (rows, columns): (usize, usize), (low, high): (f32, f32)) -> image::ImageResult<Vec<u8>> {
    let span = if high > low { high - low } else { 1.0 };
    let picture = RgbImage::from_fn(columns as u32, rows as u32, |x, y| {
        colour((map[y as usize * columns + x as usize] - low) / span)
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// The colour of a share of the scale.
fn colour(share: f32) -> Rgb<u8> {
    let place = share.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f32;
    let below = (place as usize).min(COLOURS.len() - 2);
    let part = place - below as f32;
    let mix = |channel: usize| COLOURS[below][channel] * (1.0 - part) + COLOURS[below + 1][channel] * part;
    Rgb([0, 1, 2].map(|channel| mix(channel).round() as u8))
}
