//! `dmad metrics`: metrics of anomaly maps that any program saved as NumPy arrays.
//!
//! Owns: the command line, reading the arrays image by image, the printed forms. Does not own: the metrics.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, pod_collect_to_vec};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::metrics::{self, Ap, Definitions, Metric, PixelImage, PixelReport, PixelSource, Pro, Score};

const EXAMPLES: &str = "\
Examples:
  dmad metrics maps.npy masks.npy
  dmad metrics maps.npy masks.npy --labels labels.npy --format json
  dmad metrics maps.npy masks.npy --ap trapezoid --pro ader   (to check a published table)

Maps are ranked in the precision they are stored in: float64 is not rounded to float32. An image scores the maximum of its map.";

/// Image and pixel metrics of anomaly maps saved with numpy.save.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Anomaly maps: N×H×W, float32 or float64, higher = more anomalous.
    #[arg(value_name = "MAPS.npy")]
    pub maps: PathBuf,
    /// Truth: N×H×W, boolean, integer or float, non-zero = defect.
    #[arg(value_name = "MASKS.npy")]
    pub masks: PathBuf,
    /// Image labels: N, non-zero = anomalous. Default: an image with a defect pixel is anomalous.
    #[arg(long, value_name = "L.npy")]
    pub labels: Option<PathBuf>,
    /// Average precision: sum of steps, or area under the precision-recall polyline.
    #[arg(long, default_value = "step", value_parser = PossibleValuesParser::new(["step", "trapezoid"]).map(|name| named::<Ap>(&name)))]
    pub ap: Ap,
    /// Per-region overlap: AUPRO, or the form of another code base.
    #[arg(long, default_value = "exact", value_parser = PossibleValuesParser::new(["exact", "simplenet", "ader", "rd4ad"]).map(|name| named::<Pro>(&name)))]
    pub pro: Pro,
    /// False positive rate up to which it is integrated.
    #[arg(long, default_value_t = 0.3, value_name = "RATE", value_parser = rate)]
    pub pro_limit: f64,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= 1.0);
    rate.ok_or_else(|| format!("`{text}` is no rate above 0 and at most 1"))
}

/// A definition by its name in experiment files; clap has looked at the name.
fn named<T: DeserializeOwned + Default>(name: &str) -> T {
    serde_json::from_value(name.into()).unwrap_or_default()
}

/// Computes and prints to standard output: a table in percent, or (`json`) one object keyed by the metric names, in
/// [0, 1], null with an entry in `reasons` where a metric is undefined.
pub fn run(args: &Args, json: bool) -> Result<()> {
    super::print(render(args, json)?.trim_end_matches('\n'))
}

/// What the command prints.
///
/// # Errors
/// A file that is missing, broken, cut off, of another type or shape than the command reads, labels that contradict the
/// masks, and scores that are NaN or infinite.
pub fn render(args: &Args, as_json: bool) -> Result<String> {
    let (maps, masks) = (Array::open(&args.maps)?, Array::open(&args.masks)?);
    check_shapes(&maps, &masks)?;
    let labels = args.labels.as_deref().map(|path| read_labels(path, &maps)).transpose()?;
    let definitions = Definitions { ap: args.ap, pro: args.pro, pro_limit: args.pro_limit };
    let (image, pixel) = match (maps.kind, maps.item_bytes) {
        (TypeChar::Float, 4) => compute(&Files::<f32> { maps, masks, labels, score: PhantomData }, &definitions)?,
        (TypeChar::Float, 8) => compute(&Files::<f64> { maps, masks, labels, score: PhantomData }, &definitions)?,
        _ => {
            let what = format!("maps of type {}", maps.type_name);
            return Err(Error::data(&args.maps, what, "save them as float32 or float64: maps.astype(numpy.float32)"));
        }
    };
    let all: Vec<Metric> = image.iter().chain(&pixel.metrics).copied().collect();
    Ok(if as_json { json(&all, &pixel, &definitions) } else { text(&all, &pixel, &definitions) })
}

fn compute<S: Score + Pod>(files: &Files<S>, definitions: &Definitions) -> Result<(Vec<Metric>, PixelReport)> {
    let pixel = metrics::pixel_metrics(files, definitions)?;
    let (scores, labels): (Vec<f64>, Vec<bool>) =
        pixel.images.iter().map(|facts| (facts.highest, facts.anomalous)).unzip();
    let contradiction = pixel.images.iter().position(|facts| facts.defect_pixels > 0 && !facts.anomalous);
    if let Some(image) = contradiction {
        let what = format!("image {image} has defect pixels, but its label says normal");
        return Err(Error::data(&files.masks.path, what, "check that labels and masks are in the same order"));
    }
    Ok((metrics::image_metrics(&scores, &labels, definitions)?, pixel))
}

fn text(all: &[Metric], pixel: &PixelReport, definitions: &Definitions) -> String {
    let name_width = all.iter().map(|metric| metric.name.as_str().len()).max().unwrap_or(0);
    let (positives, negatives) = (all[0].n_pos, all[0].n_neg);
    let (defects, normals) = (all[all.len() - 1].n_pos, all[all.len() - 1].n_neg);
    let mut lines = vec![
        format!("images  {positives} anomalous, {negatives} normal"),
        format!("pixels  {defects} defect in {} regions, {normals} normal", pixel.regions),
    ];
    if pixel.empty_masks > 0 {
        lines.push(format!("        {} anomalous images have an empty mask and no region", pixel.empty_masks));
    }
    lines.push(String::new());
    for metric in all {
        let value = match metric.value {
            Ok(value) => format!("{:8.4} %", 100.0 * value),
            Err(_) => format!("{:>8}  ", "–"),
        };
        let definition = metric.name.definition(definitions);
        let note = metric.value.err().map_or(definition.to_string(), |reason| format!("undefined: {reason}"));
        lines.push(format!("{:<name_width$}  {value}  {note}", metric.name.as_str()));
    }
    lines.join("\n") + "\n"
}

fn json(all: &[Metric], pixel: &PixelReport, definitions: &Definitions) -> String {
    let named = |metric: &Metric, value| (metric.name.as_str().to_string(), value);
    let mut object: Json = all.iter().map(|metric| named(metric, json!(metric.value.ok()))).collect();
    let reasons = all.iter().filter_map(|metric| Some(named(metric, metric.value.err()?.into())));
    object["reasons"] = reasons.collect();
    let (images, pixels) = (all[0], all[all.len() - 1]);
    object["counts"] = json!({
        "anomalous_images": images.n_pos, "normal_images": images.n_neg, "defect_pixels": pixels.n_pos,
        "normal_pixels": pixels.n_neg, "regions": pixel.regions, "empty_masks": pixel.empty_masks,
    });
    object["options"] = json!({ "ap": definitions.ap, "pro": definitions.pro, "pro_limit": definitions.pro_limit });
    format!("{object:#}\n")
}

fn check_shapes(maps: &Array, masks: &Array) -> Result<()> {
    let [images, height, width] = maps.shape[..] else {
        let help = "save an array with the axes image, row, column; numpy.squeeze drops axes of length 1";
        return Err(Error::data(&maps.path, format!("shape {:?} instead of N×H×W", maps.shape), help));
    };
    if images == 0 || height == 0 || width == 0 {
        return Err(Error::data(&maps.path, format!("shape {:?} holds no pixel", maps.shape), "save at least one map"));
    }
    if masks.shape != maps.shape {
        let what = format!("masks of shape {:?} for maps of shape {:?}", masks.shape, maps.shape);
        let help = "bring maps and masks to the same resolution and order before saving them";
        return Err(Error::data(&masks.path, what, help));
    }
    Ok(())
}

fn read_labels(path: &Path, maps: &Array) -> Result<Vec<bool>> {
    let labels = Array::open(path)?;
    if labels.shape[..] != maps.shape[..1] {
        let what = format!("labels of shape {:?} for {} maps", labels.shape, maps.shape[0]);
        return Err(Error::data(path, what, "save one label per map, as a one-dimensional array"));
    }
    Ok(labels.read_truth(0, labels.shape[0])?.iter().map(|&label| label != 0).collect())
}

/// Maps and masks on disk, one image in memory per thread.
struct Files<S> {
    maps: Array,
    masks: Array,
    labels: Option<Vec<bool>>,
    score: PhantomData<fn() -> S>,
}

impl<S: Score + Pod> PixelSource for Files<S> {
    type Score = S;

    fn len(&self) -> usize {
        self.maps.shape[0]
    }

    fn name(&self, image: usize) -> String {
        format!("{}: image {image} (counted from 0)", self.maps.path.display())
    }

    fn load(&self, image: usize) -> Result<PixelImage<'_, S>> {
        let (height, width) = (self.maps.shape[1], self.maps.shape[2]);
        let bytes = self.maps.read(image * height * width, height * width)?;
        let scores = pod_collect_to_vec::<u8, S>(&bytes);
        let mask = self.masks.read_truth(image * height * width, height * width)?;
        let anomalous = self.labels.as_ref().map_or_else(|| mask.iter().any(|&m| m != 0), |labels| labels[image]);
        Ok(PixelImage { width, height, scores: scores.into(), mask: mask.into(), anomalous })
    }
}

/// A .npy file whose header has been read and whose length agrees with it.
struct Array {
    path: PathBuf,
    shape: Vec<usize>,
    kind: TypeChar,
    item_bytes: usize,
    /// Whether the bytes of each value have to be turned round.
    foreign_order: bool,
    type_name: String,
    data_start: u64,
}

impl Array {
    fn open(path: &Path) -> Result<Array> {
        let broken = |what: String| Error::data(path, what, "save the array again with numpy.save");
        let mut file = BufReader::new(File::open(path).map_err(Error::io("open", path))?);
        let header = NpyHeader::from_reader(&mut file).map_err(|e| broken(format!("not a .npy array ({e})")))?;
        let data_start = file.stream_position().map_err(Error::io("read", path))?;
        let found_bytes = file.get_ref().metadata().map_err(Error::io("read", path))?.len().saturating_sub(data_start);
        let DType::Plain(item) = header.dtype() else {
            return Err(broken("a structured array instead of plain numbers".into()));
        };
        let numeric = matches!(item.type_char(), TypeChar::Bool | TypeChar::Int | TypeChar::Uint | TypeChar::Float);
        let (true, Some(item_bytes @ (1 | 2 | 4 | 8))) = (numeric, item.num_bytes()) else {
            return Err(Error::data(path, format!("values of type {item}"), "save booleans, integers or floats"));
        };
        if header.order() == Order::Fortran && header.shape().len() > 1 {
            let help = "save it row by row: numpy.save(path, numpy.ascontiguousarray(array))";
            return Err(Error::data(path, "the array is stored column by column (Fortran order)", help));
        }
        let expected = header.shape().iter().try_fold(item_bytes as u64, |bytes, &side| bytes.checked_mul(side));
        if expected != Some(found_bytes) {
            let wanted = expected.map_or("more than 2^64".into(), |bytes| bytes.to_string());
            let shape = header.shape();
            return Err(broken(format!(
                "shape {shape:?} of {item} takes {wanted} bytes, the file holds {found_bytes}"
            )));
        }
        Ok(Array {
            path: path.to_path_buf(),
            shape: header.shape().iter().map(|&side| side as usize).collect(),
            kind: item.type_char(),
            item_bytes,
            foreign_order: (item.endianness() == Endianness::Big) != cfg!(target_endian = "big"),
            type_name: item.to_string(),
            data_start,
        })
    }

    /// Bytes of `count` values from value `first` on, in the machine's order. Opens the file anew, so that threads do not
    /// share a position.
    fn read(&self, first: usize, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count * self.item_bytes];
        let start = self.data_start + first as u64 * self.item_bytes as u64;
        let mut file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        file.seek(SeekFrom::Start(start)).map_err(Error::io("read", &self.path))?;
        file.read_exact(&mut bytes).map_err(Error::io("read", &self.path))?;
        if self.foreign_order {
            bytes.chunks_exact_mut(self.item_bytes).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }

    /// `count` truth values from value `first` on, 1 where the array is not zero.
    fn read_truth(&self, first: usize, count: usize) -> Result<Vec<u8>> {
        let mut bytes = self.read(first, count)?;
        if self.kind == TypeChar::Float {
            self.clear_negative_zeros(first, &mut bytes)?;
        }
        Ok(match self.item_bytes {
            1 => bytes.iter().map(|&byte| u8::from(byte != 0)).collect(),
            size => bytes.chunks_exact(size).map(|item| u8::from(item.iter().any(|&byte| byte != 0))).collect(),
        })
    }

    /// Makes every zero of a float array all zero bits; refuses NaN, which is neither zero nor not.
    fn clear_negative_zeros(&self, first: usize, bytes: &mut [u8]) -> Result<()> {
        // Without the sign bit floats are ordered like integers, and what lies above infinity is NaN.
        let infinity: u64 = match self.item_bytes {
            2 => 0x7C00,
            4 => f32::INFINITY.to_bits().into(),
            _ => f64::INFINITY.to_bits(),
        };
        for (index, item) in bytes.chunks_exact_mut(self.item_bytes).enumerate() {
            let big = cfg!(target_endian = "big");
            item[if big { 0 } else { self.item_bytes - 1 }] &= 0x7F;
            let join = |bits: u64, &byte: &u8| bits << 8 | u64::from(byte);
            let bits = if big { item.iter().fold(0, join) } else { item.iter().rev().fold(0, join) };
            if bits > infinity {
                let what = format!("value {} (counted from 0) is NaN", first + index);
                return Err(Error::data(&self.path, what, "truth is zero or not; find out where the NaN comes from"));
            }
        }
        Ok(())
    }
}
