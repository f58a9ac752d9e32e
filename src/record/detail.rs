//! What figures read of single runs, and what `run` adds to a record for them.
//!
//! Embeddings of banks and pictures of test images are no part of what a record stands for: they may be missing, and
//! `run` adds them without doing the run again. Each says what it was made from, so that one that has become stale is
//! not shown.

use std::collections::{BTreeSet, HashMap};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::ImageRow;
use super::read::{Recorded, RecordedRun, damaged};
use super::write::unmade;
use crate::error::{Error, Result};
use crate::spec::{Selection, WantedEmbedding, WantedImages, canonical_json};
use crate::store::write_atomically;

impl RecordedRun {
    /// Mean image AUROC of each epoch, NaN where it is undefined; empty where only one epoch was scored.
    pub fn curve(&self) -> Vec<f64> {
        let curve = self.value(&["curve"]).and_then(|value| value.as_array());
        curve.into_iter().flatten().map(|value| value.as_float().unwrap_or(f64::NAN)).collect()
    }

    /// Raw patch scores of a class: images × rows × columns, in the order of [`RecordedRun::images`].
    pub fn patch_scores(&self, class: &str) -> Result<([usize; 3], Vec<f32>)> {
        let path = self.file("scores.safetensors");
        let damaged = |what: String| damaged(&path, what);
        let bytes = self.bytes("scores.safetensors")?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(format!("not a file of tensors ({e})")))?;
        let tensor = file.tensor(class).map_err(|e| damaged(format!("no scores of class `{class}` ({e})")))?;
        match (tensor.shape(), tensor.dtype()) {
            (&[images, rows, columns], Dtype::F32) if images * rows * columns > 0 => {
                Ok(([images, rows, columns], numbers(tensor.data())))
            }
            (shape, kind) => Err(damaged(format!("scores of class `{class}` have shape {shape:?} of {kind:?}"))),
        }
    }
}

fn numbers<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

/// Bank rows of a run as points of a plane.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// x and y of each point.
    pub points: Vec<[f32; 2]>,
    /// Number of each point's part among [`AboutEmbedding::parts`].
    pub parts: Vec<u32>,
    /// Number of each point's row among the rows of all parts.
    pub rows: Vec<u32>,
    /// What else is known of it.
    pub about: AboutEmbedding,
}

/// What an embedding says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AboutEmbedding {
    /// Keys of the banks it was made from.
    pub banks: Vec<String>,
    /// Settings, divergence, counts.
    pub note: Json,
    /// What its method's banks hold.
    pub parts: Vec<EmbeddedPart>,
}

/// Rows of a method's banks that figures tell apart from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddedPart {
    /// Name in experiment files.
    pub name: String,
    /// Name in legends.
    pub label: String,
    /// Whether they are normal patches.
    pub normal: bool,
}

/// Name of the file with the embedding that a figure wants.
pub fn embedding_name(wanted: &WantedEmbedding) -> String {
    let digest = blake3::hash(canonical_json(&json!(wanted)).as_bytes()).to_hex();
    format!("embedding-{}.safetensors", &digest[..8])
}

/// Writes an embedding beside the record.
pub fn write_embedding(run: &RecordedRun, wanted: &WantedEmbedding, embedding: &Embedding) -> Result<()> {
    let path = run.file(&embedding_name(wanted));
    let fault = |fault| unmade(&path)(fault);
    let count = embedding.points.len();
    let points = TensorView::new(Dtype::F32, vec![count, 2], bytemuck::cast_slice(&embedding.points)).map_err(fault)?;
    let parts = TensorView::new(Dtype::U32, vec![count], bytemuck::cast_slice(&embedding.parts)).map_err(fault)?;
    let rows = TensorView::new(Dtype::U32, vec![count], bytemuck::cast_slice(&embedding.rows)).map_err(fault)?;
    // One entry, because the order of several is not fixed.
    let about = HashMap::from([("dmad".to_string(), canonical_json(&json!(embedding.about)))]);
    let tensors = [("parts", parts), ("points", points), ("rows", rows)];
    write_atomically(&path, &safetensors::serialize(tensors, Some(about)).map_err(fault)?)
}

/// The embedding that a figure wants of a run; `None` where there is none, one of banks that the run no longer has, or one
/// that an older program made, which does not say what its parts are.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn read_embedding(run: &RecordedRun, wanted: &WantedEmbedding) -> Result<Option<Embedding>> {
    let path = run.file(&embedding_name(wanted));
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let damaged =
        |what: String| Error::store(&path, format!("not an embedding ({what})"), "remove the file and run again");
    let (_, about) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let about = about.metadata().as_ref().and_then(|map| map.get("dmad")).cloned().unwrap_or_default();
    let Ok(about) = serde_json::from_str::<AboutEmbedding>(&about) else { return Ok(None) };
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let data = |name: &str| file.tensor(name).map(|tensor| tensor.data()).map_err(|e| damaged(e.to_string()));
    let (points, parts, rows) = (numbers(data("points")?), numbers(data("parts")?), numbers(data("rows")?));
    let embedding = Embedding { points, parts, rows, about };
    if embedding.parts.len() != embedding.points.len() || embedding.rows.len() != embedding.points.len() {
        return Err(damaged("its tensors differ in length".into()));
    }
    if embedding.parts.iter().any(|&part| part as usize >= embedding.about.parts.len()) {
        return Err(damaged("it holds points of a part that it does not name".into()));
    }
    let current = embedding.about.banks.iter().all(|key| run.stages.iter().any(|stage| stage.key == *key));
    Ok(current.then_some(embedding))
}

/// A test image as the network sees it, with its truth, as files of a run's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Picture {
    pub class: String,
    /// Path relative to the dataset's root.
    pub path: String,
    /// The image, as the truth a PNG file in the folder of pictures.
    pub image: String,
    pub truth: String,
}

/// All pictures in a run's folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pictures {
    /// Digest of the images that they were made from.
    pub dataset_digest: String,
    /// The pictures, sorted by path.
    pub pictures: Vec<Picture>,
}

/// Folder of pictures below a run's own.
const THUMBNAILS: &str = "thumbnails";

impl RecordedRun {
    /// A file of the folder of pictures.
    pub fn thumbnail(&self, name: &str) -> std::path::PathBuf {
        self.file(THUMBNAILS).join(name)
    }
}

/// The pictures that a run's folder holds; none where they are of other images than the run's.
///
/// # Errors
/// A list that is there and cannot be read.
pub fn read_pictures(run: &RecordedRun) -> Result<Pictures> {
    let path = run.thumbnail("index.json");
    let none = Pictures { dataset_digest: run.dataset_digest.clone(), pictures: Vec::new() };
    if !path.is_file() {
        return Ok(none);
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let mut found: Pictures = serde_json::from_str(&text).map_err(|fault| {
        Error::store(&path, format!("not a list of pictures ({fault})"), "remove the folder it is in and run again")
    })?;
    let there = |picture: &Picture| run.thumbnail(&picture.image).is_file() && run.thumbnail(&picture.truth).is_file();
    found.pictures.retain(there);
    Ok(if found.dataset_digest == none.dataset_digest { found } else { none })
}

/// Writes the list of pictures; the files are there before.
pub fn write_pictures(run: &RecordedRun, pictures: &Pictures) -> Result<()> {
    let text = serde_json::to_string_pretty(pictures).unwrap_or_else(|fault| unreachable!("plain data: {fault}"));
    write_atomically(&run.thumbnail("index.json"), text.as_bytes())
}

/// A run whose folder holds pictures, with class and path of those that a figure shows.
pub type ChosenPictures<'a> = (&'a RecordedRun, Vec<(String, String)>);

/// The images that a grid of maps shows of a dataset, with the run whose folder holds their pictures: the first of the
/// runs shown. Images that are in the test set of all runs shown compete; the first run's scores rank them.
///
/// # Errors
/// A table of images that cannot be read.
pub fn chosen_pictures<'a>(
    recorded: &'a Recorded,
    selection: &Selection,
    wanted: &WantedImages,
) -> Result<Vec<ChosenPictures<'a>>> {
    let shown = selection.of(&recorded.experiment.runs);
    let mut known = BTreeSet::new();
    let datasets = shown.iter().map(|spec| spec.dataset.as_str()).filter(|dataset| known.insert(*dataset));
    let mut out = Vec::new();
    for dataset in datasets {
        let of_dataset = shown.iter().filter(|spec| spec.dataset == dataset);
        let own: Vec<&RecordedRun> = of_dataset.filter_map(|spec| recorded.finished(spec)).collect();
        let images = own.iter().map(|run| run.images()).collect::<Result<Vec<_>>>()?;
        if let Some(first) = own.first() {
            out.push((*first, choose(&images, wanted)));
        }
    }
    Ok(out)
}

/// Class and path of the chosen images; `images` are those of each run.
fn choose(images: &[&[ImageRow]], wanted: &WantedImages) -> Vec<(String, String)> {
    let Some((first, others)) = images.split_first() else { return Vec::new() };
    let named = |row: &ImageRow| (row.class.clone(), row.path.clone());
    if !wanted.images.is_empty() {
        let of = |path: &String| first.iter().find(|row| row.path == *path).map(named);
        return wanted.images.iter().filter_map(of).collect();
    }
    let everywhere: Vec<BTreeSet<&str>> =
        others.iter().map(|rows| rows.iter().map(|row| row.path.as_str()).collect()).collect();
    let mut classes: Vec<&str> = first.iter().map(|row| row.class.as_str()).collect();
    classes.dedup();
    let shown = |class: &&str| wanted.classes.is_empty() || wanted.classes.iter().any(|name| name == class);
    let mut out = Vec::new();
    for class in classes.into_iter().filter(shown) {
        let common = |row: &&ImageRow| everywhere.iter().all(|paths| paths.contains(row.path.as_str()));
        let mut ranked: Vec<&ImageRow> =
            first.iter().filter(|row| row.class == class && row.label).filter(common).collect();
        ranked.sort_by(|a, b| a.score.total_cmp(&b.score).then_with(|| a.path.cmp(&b.path)));
        let count = wanted.per_class.min(ranked.len());
        out.extend((0..count).map(|i| named(ranked[(2 * i + 1) * ranked.len() / (2 * count)])));
    }
    out
}
