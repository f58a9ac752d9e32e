//! `dmad submission`: a recorded run applied to images whose truth a server keeps.
//!
//! Owns: this command's arguments and output, and the rules of thresholds. Does not own: the scores (`run`), what the server
//! takes (`export::mvtec_ad_2`).

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rayon::prelude::*;
use serde_json::{Value as Json, json};

use super::Common;
use super::predict::Chosen;
use crate::console::insist;
use crate::data::image;
use crate::data::index::{Findings, Image, first_fault};
use crate::error::{Error, Result};
use crate::export::mvtec_ad_2::{self as server, Sizes};
use crate::run::{self, Prediction, Session};
use crate::store::write_atomically;

/// Write a recorded run's anomaly maps for the server of its dataset.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad submission --run 3f2a91c0de77 --out patchcore
  dmad submission --run 3f2a --out patchcore --threshold 1.25
  tar -czf patchcore.tar.gz patchcore                      what the server takes

Writes, for every image of MVTec AD 2's two private test sets, OUT/anomaly_images/CLASS/SET/NAME.tiff (16-bit floats) and
OUT/anomaly_images_thresholded/CLASS/SET/NAME.png (0 and 255), in the image's own size, and checks all as the publisher's own
check does; what the server would refuse is listed, and the exit code is 1. The run's dataset and weights must be here.")]
pub struct Args {
    /// Id of the run (`dmad runs list`), its beginning, or EXPERIMENT/ID
    #[arg(long = "run", value_name = "ID")]
    id: String,
    /// Folder to write; it must be new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Pixels with higher scores are anomalous, in all classes
    #[arg(long, value_name = "SCORE", conflicts_with = "rule", allow_negative_numbers = true, value_parser = super::score)]
    threshold: Option<f64>,
    /// What sets the threshold of each class where none is given
    #[arg(long, value_enum, default_value_t)]
    rule: Rule,
}

/// How normal images that no model has seen set a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Rule {
    /// Mean and three standard deviations of all pixels of the class's validation images.
    #[default]
    #[value(name = "mean-3std")]
    MeanAndDeviations,
    /// The highest pixel of the class's validation images.
    Highest,
}

/// What was written of a class.
struct Told {
    class: String,
    images: usize,
    threshold: f64,
    factor: f32,
}

/// Writes all files and checks them; true = the server would take them.
///
/// # Errors
/// A dataset without such images, a run that scores images alone, a folder that is not empty, and whatever can go wrong in
/// `dmad predict`.
pub(super) fn run(args: &Args, common: &Common, as_json: bool) -> Result<bool> {
    let chosen = Chosen::find(&args.id, &common.results)?;
    let out = &args.out;
    super::is_new(out)?;
    let session = chosen.own_session(common)?;
    let spec = &chosen.run.spec;
    let classes = session.index(&spec.dataset, &spec.classes)?;
    let (mut told, mut sizes) = (Vec::new(), Sizes::new());
    for class in classes.classes.iter().map(|class| class.name.as_str()) {
        let work = Work::new(&session, &chosen, class, args)?;
        told.push(work.write(args, &mut sizes)?);
    }
    let faults = server::check(out, &sizes)?;
    match as_json {
        true => super::print(&format!("{:#}", in_json(&told, &faults)))?,
        false => super::print(&in_words(&told, out))?,
    }
    for fault in &faults {
        insist!("{fault}");
    }
    Ok(faults.is_empty())
}

/// One class.
struct Work {
    class: String,
    prediction: Prediction,
    /// `CLASS/SET/NAME` and size of what is written, which come behind the normal images.
    images: Vec<(String, (usize, usize))>,
    /// Sizes of the normal images.
    normals: Vec<(usize, usize)>,
}

impl Work {
    /// Scores the images of a class.
    fn new(session: &Session, chosen: &Chosen, class: &str, args: &Args) -> Result<Work> {
        let entry = session.catalog.get(&chosen.run.spec.dataset)?;
        let mut findings = Findings::default();
        let Some(judged) = entry.layout.judged(&session.resources.data, class, &mut findings) else {
            let what = format!("no server judges images of `{}`", entry.name);
            return Err(Error::usage(what, "use a run on a dataset of layout mvtec2"));
        };
        if let Some(fault) = first_fault(&entry.name, findings.faults) {
            return Err(fault);
        }
        let normals = match (args.threshold, judged.normals) {
            (Some(_), _) => Vec::new(),
            (None, Some(normals)) => normals,
            (None, None) => {
                let what =
                    format!("the validation images of `{}` have been trained on and set no threshold", entry.name);
                return Err(Error::usage(what, "give one with --threshold, or use a run with `validation` unused"));
            }
        };
        let named = |set: &str, image: &Image| {
            let name = image.file_name();
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            Ok((format!("{class}/{set}/{stem}"), image::size(image)?))
        };
        let sets = judged.sets.iter().flat_map(|(set, images)| images.iter().map(move |image| (*set, image)));
        let images: Vec<Image> = normals.iter().chain(sets.clone().map(|(_, image)| image)).cloned().collect();
        let prediction = run::predict(session, &chosen.request(Some(class), &images))?;
        if prediction.is_mapless() {
            let what = format!("run {} scores images, not pixels", chosen.run.spec.id);
            return Err(Error::usage(what, "choose one of a method with maps"));
        }
        Ok(Work {
            class: class.into(),
            prediction,
            images: sets.map(|(set, image)| named(set, image)).collect::<Result<_>>()?,
            normals: normals.iter().map(image::size).collect::<Result<_>>()?,
        })
    }

    /// Writes both files of every image.
    fn write(&self, args: &Args, sizes: &mut Sizes) -> Result<Told> {
        let threshold = args.threshold.map_or_else(|| self.threshold(args.rule), Ok)?;
        let numbers = self.normals.len()..self.normals.len() + self.images.len();
        let largest = numbers.clone().map(|number| self.prediction.largest(number));
        let largest = largest.collect::<Result<Vec<f32>>>()?.into_iter().fold(0.0, f32::max);
        let factor = server::factor(largest);
        let write = |(number, (name, size)): (usize, &(String, (usize, usize)))| {
            let mut map = self.prediction.own_map(number, *size)?;
            let [scores, above] = server::places(&args.out, name);
            write_atomically(&above, &server::above(&map, *size, threshold))?;
            map.iter_mut().for_each(|score| *score *= factor);
            write_atomically(&scores, &server::tiff(&map, *size))
        };
        numbers.into_par_iter().zip(&self.images).map(write).collect::<Result<()>>()?;
        sizes.extend(self.images.iter().cloned());
        Ok(Told { class: self.class.clone(), images: self.images.len(), threshold, factor })
    }

    /// The threshold that the normal images set.
    fn threshold(&self, rule: Rule) -> Result<f64> {
        // Pixels, sum, sum of squares, highest: of each image, then of all.
        let of_image = |(number, size): (usize, &(usize, usize))| {
            let map = self.prediction.own_map(number, *size)?;
            let wide = || map.iter().map(|&score| f64::from(score));
            Ok((
                map.len(),
                wide().sum::<f64>(),
                wide().map(|v| v * v).sum::<f64>(),
                wide().fold(f64::NEG_INFINITY, f64::max),
            ))
        };
        let parts = self.normals.par_iter().enumerate().map(of_image).collect::<Result<Vec<_>>>()?;
        let (mut count, mut sum, mut squares, mut highest) = (0, 0.0, 0.0, f64::NEG_INFINITY);
        for part in parts {
            (count, sum, squares, highest) = (count + part.0, sum + part.1, squares + part.2, highest.max(part.3));
        }
        let mean = sum / count.max(1) as f64;
        let deviation = (squares / count.max(1) as f64 - mean * mean).max(0.0).sqrt();
        Ok(match rule {
            Rule::MeanAndDeviations => mean + 3.0 * deviation,
            Rule::Highest => highest,
        })
    }
}

fn in_words(told: &[Told], out: &Path) -> String {
    let row = |told: &Told| {
        let factor = if told.factor == 1.0 { String::new() } else { format!("× {}", told.factor) };
        vec![told.class.clone(), told.images.to_string(), told.threshold.to_string(), factor]
    };
    let table = super::terminal::table(&["class", "images", "threshold", "scores"], told.iter().map(row));
    let name = super::quoted(&out.to_string_lossy());
    format!("{table}\nWrote {name}. To be uploaded: tar -czf {name}.tar.gz {name}")
}

fn in_json(told: &[Told], faults: &[Error]) -> Json {
    let class = |told: &Told| json!({ "class": told.class, "images": told.images, "threshold": told.threshold, "factor": told.factor });
    let faults: Vec<String> = faults.iter().map(Error::to_string).collect();
    json!({ "classes": told.iter().map(class).collect::<Json>(), "ok": faults.is_empty(), "faults": faults })
}
