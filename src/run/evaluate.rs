//! The one place where scores meet the truth.
//!
//! Owns: maps from patch scores, masks at the evaluation resolution, metrics by class and their means, and the choice of
//! an epoch when a method offers several (an oracle, labelled as such by the method). Does not own: definitions
//! (`metrics`).

use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::given::Data;
use super::prepare::Prepared;
use crate::data::{ClassSplit, Digest, Source, Split, known_evaluation_mask, mask};
use crate::error::{Error, Result};
use crate::methods::{Scoring, Select};
use crate::metrics::{self, Metric, MetricName, PixelImage, PixelReport, PixelSource, image_metrics, pixel_metrics};
use crate::plan::{Compute, Computed, Handle, Job, Metrics, Scores, Work};
use crate::record::{ClassResult, ImageRow, MetricRow, RESULTS_VERSION, Results};
use crate::spec::{self, Geometry, Settings};
use crate::store::{Artifact, TensorDecl};

/// Reads all mask files, so that a bad one is found before hours of work and not after.
///
/// # Errors
/// A mask that is unreadable, all zero, or of another size than its image.
pub fn check_truth(split: &Split) -> Result<()> {
    let tested =
        split.classes.iter().flat_map(|class| class.truth.images()).filter_map(|l| Some((&l.image, l.mask.as_ref()?)));
    let seen = split.classes.iter().flat_map(|class| &class.seen).map(|seen| (&seen.image, &seen.mask));
    let files = tested.chain(seen).filter(|(_, source)| matches!(source, Source::File(_))).collect::<Vec<_>>();
    let faults: Vec<Error> = files.par_iter().filter_map(|(image, source)| mask::load(image, source).err()).collect();
    faults.into_iter().next().map_or(Ok(()), Err)
}

/// The truth of a test image, `None` where it is not in the test set: for pictures beside a record that is finished.
pub fn truth_of<'a>(split: &'a Split, class: &str, path: &str) -> Option<&'a crate::data::Labelled> {
    let class = split.classes.iter().find(|own| own.name == class)?;
    class.truth.images().iter().find(|labelled| labelled.image.path == path)
}

/// Raised when evaluation changes any number.
const EVALUATION_VERSION: u32 = 2;

/// Why pixel metrics of a method that scores images alone have no value.
const NO_MAP: &str = "the method scores images, not pixels";

/// Why those of a class have none whose anomalies are labelled, but not outlined: their defects would count as normal.
const NO_MASK: &str = "the dataset labels images, not pixels: an anomaly has no mask";

/// Computes all metrics of a run; the artifact holds them as JSON (see [`read`]).
#[derive(Serialize)]
pub(super) struct Evaluate<'a> {
    evaluation: Settings<spec::Evaluation>,
    geometry: Settings<Geometry>,
    classes: Vec<&'a str>,
    scoring: Settings<Scoring>,
    /// Scores of the split's classes.
    scores: Vec<Handle<Scores>>,
    /// Digest of labels and masks.
    truth: &'a str,
    #[serde(skip)]
    prepared: &'a Prepared,
}

impl<'a> Evaluate<'a> {
    /// The evaluation of a run's scores.
    pub fn new(prepared: &'a Prepared, scoring: Scoring, scores: Vec<Handle<Scores>>) -> Self {
        Evaluate {
            evaluation: prepared.spec.evaluation.clone().into(),
            geometry: prepared.spec.image.clone().into(),
            classes: prepared.data.split.classes.iter().map(|class| class.name.as_str()).collect(),
            scoring: scoring.into(),
            scores,
            truth: &prepared.data.truth_digest,
            prepared,
        }
    }
}

impl Compute for Evaluate<'_> {
    type Output = Metrics;
    const KIND: &'static str = "metrics";
    // Raised by what is computed as by the form that it is kept in.
    const VERSION: u32 = EVALUATION_VERSION + RESULTS_VERSION;

    fn label(&self) -> String {
        "evaluation".into()
    }

    fn work(&self) -> Work {
        let images = self.prepared.data.split.classes.iter().map(|class| class.test.len()).sum::<usize>();
        let pixels = self.prepared.spec.map_side().pow(2) * images;
        // Upsampling, Gaussian and a sort of all scores.
        Work::matrix(images, 16, 150.0 * pixels as f64).with_memory(16 * pixels)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let mut evaluation = Evaluation { stage: self, classes: Vec::new() };
        let Data { split, lists, .. } = &*self.prepared.data;
        for ((class, lists), scores) in split.classes.iter().zip(lists).zip(&self.scores) {
            let scores = job.open(scores)?;
            let shape = scores.shape("scores")?;
            if shape.len() != 3 || shape[1] != class.test.len() || shape[2] != self.prepared.shape.patches() {
                let what = format!("scores of class `{}` have shape {shape:?}", class.name);
                return Err(Error::method(what, "remove the store and run again"));
            }
            evaluation.classes.push((class, &lists.masks, scores));
        }
        let results = evaluation.finish(job)?;
        let json = serde_json::to_vec(&results).unwrap_or_else(|fault| unreachable!("plain data: {fault}"));
        let mut writer = job.create(vec![TensorDecl::u8("results", json.len())])?;
        writer.u8(&json)?;
        Ok(Computed::new(writer, json!({ "classes": results.classes.len() })))
    }
}

/// The results in the artifact of [`Evaluate`].
pub fn read(artifact: &Artifact) -> Result<Results> {
    serde_json::from_slice(artifact.u8("results")?).map_err(|fault| {
        let what = format!("the results of a metrics stage cannot be read ({fault})");
        Error::method(what, "remove the store and run again")
    })
}

/// Image scores of one epoch in an artifact of scores: the method's own where it leaves them.
pub(super) fn image_scores(artifact: &Artifact, epoch: usize, scoring: &Scoring) -> Result<Vec<f64>> {
    let shape = artifact.shape("scores")?;
    let (images, patches) = (shape[1], shape[2]);
    if artifact.tensors().contains_key("image_scores") {
        let scores = &artifact.f32("image_scores")?[epoch * images..(epoch + 1) * images];
        return Ok(scores.iter().map(|&score| score as f64).collect());
    }
    let scores = &artifact.f32("scores")?[epoch * images * patches..(epoch + 1) * images * patches];
    Ok(scores.chunks(patches).map(|image| scoring.image_score(image)).collect())
}

/// The classes of a run.
struct Evaluation<'a> {
    stage: &'a Evaluate<'a>,
    classes: Vec<(&'a ClassSplit, &'a [Option<Digest>], &'a Artifact)>,
}

impl Evaluation<'_> {
    /// All metrics of the epoch that counts.
    fn finish(&self, job: &Job) -> Result<Results> {
        let curve = self.curve()?;
        let epoch = self.epoch(&curve)?;
        let mut classes = Vec::new();
        for (number, (class, masks, artifact)) in self.classes.iter().enumerate() {
            (job.progress)(number, self.classes.len());
            classes.push(self.class((class, masks), artifact, epoch)?);
        }
        let means = MetricName::ALL.iter().map(|name| mean_row(name.as_str(), &classes)).collect();
        Ok(Results { classes, means, epoch, curve })
    }

    /// How many epochs the scores hold.
    fn epochs(&self) -> Result<usize> {
        self.classes.first().map_or(Ok(1), |(.., artifact)| artifact.shape("scores").map(|shape| shape[0]))
    }

    /// Mean image AUROC of every epoch, where the scores hold several; what training too long does is seen here.
    fn curve(&self) -> Result<Vec<Option<f64>>> {
        let epochs = self.epochs()?;
        let of_epoch = |epoch: usize| {
            let mut aurocs = Vec::new();
            for (class, _, artifact) in &self.classes {
                let scores = self.image_scores(class, artifact, epoch)?;
                let metrics = image_metrics(&scores, &class.truth.labels(), &self.stage.evaluation.definitions())?;
                aurocs.push(metrics[0].value.ok());
            }
            Ok(metrics::class_mean(aurocs).mean)
        };
        if epochs > 1 { (0..epochs).map(of_epoch).collect() } else { Ok(Vec::new()) }
    }

    /// The epoch that counts: the last, or the first of those with the best image AUROC.
    fn epoch(&self, curve: &[Option<f64>]) -> Result<usize> {
        let last = self.epochs()?.saturating_sub(1);
        Ok(match self.stage.scoring.select {
            Select::Last => last,
            Select::BestTest => {
                let value = |epoch: usize| curve.get(epoch).copied().flatten().unwrap_or(f64::NEG_INFINITY);
                (0..=last).rev().max_by(|&a, &b| value(a).total_cmp(&value(b))).unwrap_or(last)
            }
        })
    }

    /// The images' scores after an epoch, which are numbers.
    fn image_scores(&self, class: &ClassSplit, artifact: &Artifact, epoch: usize) -> Result<Vec<f64>> {
        let scores = image_scores(artifact, epoch, &self.stage.scoring)?;
        refuse_infinite(class, scores.iter().copied(), 1, &format!("score after epoch {} is", epoch + 1))?;
        Ok(scores)
    }

    fn class(
        &self,
        (class, masks): (&ClassSplit, &[Option<Digest>]),
        artifact: &Artifact,
        epoch: usize,
    ) -> Result<ClassResult> {
        let patches = self.stage.prepared.shape.patches();
        let all = artifact.f32("scores")?;
        let scores = &all[epoch * class.test.len() * patches..(epoch + 1) * class.test.len() * patches];
        refuse_infinite(class, scores.iter().map(|&score| score.into()), patches, "patch scores are")?;
        let image_scores = self.image_scores(class, artifact, epoch)?;
        let definitions = self.stage.evaluation.definitions();
        let unmasked = class.truth.images().iter().any(|labelled| labelled.anomalous && labelled.mask.is_none());
        let pixels = match (self.stage.scoring.mapless, unmasked) {
            (true, _) => PixelReport::undefined(NO_MAP),
            (false, true) => PixelReport::undefined(NO_MASK),
            (false, false) => pixel_metrics(&ClassMaps { stage: self.stage, class, masks, scores }, &definitions)?,
        };
        let found =
            image_metrics(&image_scores, &class.truth.labels(), &definitions)?.into_iter().chain(pixels.metrics);
        let images = class.truth.images().iter().zip(&image_scores).map(|(labelled, &score)| ImageRow {
            class: class.name.clone(),
            path: labelled.image.path.clone(),
            defect: labelled.defect.clone(),
            label: labelled.anomalous,
            score,
        });
        Ok(ClassResult {
            name: class.name.clone(),
            metrics: found.map(metric_row).collect(),
            images: images.collect(),
            regions: pixels.regions,
            empty_masks: pixels.empty_masks,
        })
    }
}

/// Refuses scores that are no numbers by the name of the first such image; each has so many.
fn refuse_infinite(class: &ClassSplit, scores: impl Iterator<Item = f64>, each: usize, what: &str) -> Result<()> {
    let Some((position, _)) = scores.enumerate().find(|(_, score)| !score.is_finite()) else { return Ok(()) };
    let place = class.truth.images()[position / each].image.place();
    let help = "check the training log of this run for diverging losses";
    Err(Error::data(place, format!("its {what} not finite"), help))
}

fn metric_row(metric: Metric) -> MetricRow {
    MetricRow {
        metric: metric.name.as_str().into(),
        value: metric.value.ok(),
        reason: metric.value.err().unwrap_or_default().into(),
        positives: metric.n_pos,
        negatives: metric.n_neg,
    }
}

/// Unweighted mean over the classes in which the metric is defined.
fn mean_row(name: &str, classes: &[ClassResult]) -> MetricRow {
    let rows: Vec<&MetricRow> =
        classes.iter().filter_map(|class| class.metrics.iter().find(|row| row.metric == name)).collect();
    let mean = metrics::class_mean(rows.iter().map(|row| row.value));
    let reason = match mean.undefined {
        0 => String::new(),
        // Nothing is left out of a mean that no class could have, for the one reason of all.
        all if all == rows.len() && rows.iter().all(|row| row.reason == rows[0].reason) => rows[0].reason.clone(),
        left_out => format!("{left_out} of {} classes are undefined and left out", rows.len()),
    };
    MetricRow {
        metric: name.into(),
        value: mean.mean,
        reason,
        positives: rows.iter().map(|row| row.positives).sum(),
        negatives: rows.iter().map(|row| row.negatives).sum(),
    }
}

/// Maps and masks of one class, made when asked for, so that memory does not grow with the class.
struct ClassMaps<'a> {
    stage: &'a Evaluate<'a>,
    class: &'a ClassSplit,
    /// What the masks held when the run began.
    masks: &'a [Option<Digest>],
    scores: &'a [f32],
}

impl PixelSource for ClassMaps<'_> {
    type Score = f32;

    fn len(&self) -> usize {
        self.class.test.len()
    }

    fn name(&self, image: usize) -> String {
        self.class.truth.images()[image].image.path.clone()
    }

    fn load(&self, image: usize) -> Result<PixelImage<'_, f32>> {
        let Evaluate { evaluation, geometry, scoring, prepared: Prepared { shape, .. }, .. } = self.stage;
        let labelled = &self.class.truth.images()[image];
        let content = self.masks[image].as_ref();
        let mask = known_evaluation_mask(labelled, content, geometry, evaluation.size, evaluation.mask_resize)?;
        let patches = &self.scores[image * shape.patches()..(image + 1) * shape.patches()];
        let size = (mask.height, mask.width);
        let map = scoring.map(patches, (shape.height, shape.width), size);
        Ok(PixelImage {
            width: mask.width,
            height: mask.height,
            scores: map.into(),
            mask: mask.data.into_iter().map(u8::from).collect::<Vec<_>>().into(),
            anomalous: labelled.anomalous,
        })
    }
}
