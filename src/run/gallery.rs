//! What figures need beyond numbers: embeddings of banks, pictures of test images. Made from the store when the runs are
//! done, and only for experiments whose `[[figure]]` asks for it.
//!
//! Owns: making them and leaving them beside the records. Does not own: which are wanted (`record`), or the drawing
//! (`report`). Nothing here enters a run's id or its record's key.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::build::{self, Built};
use super::evaluate;
use super::execute::{Executor, Patience};
use super::prepare;
use super::session::Session;
use crate::data::{Labelled, evaluation_mask, load_rgb, thumbnail};
use crate::embed::{self, Settings};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::methods::Outputs;
use crate::plan::{Compute, Computed, Graph, Handle, Job, RowsOf, StageId, Work};
use crate::random::{Purpose, stream};
use crate::record::{self, Embedding, Picture, Recorded, RecordedRun, RunFolder};
use crate::spec::{BankPart, Experiment, Figure, Maps, Run, RunSpec, Tsne};
use crate::store::{TensorDecl, write_atomically};

/// Adds what the figures of an experiment need to the records that are there. What cannot be made is said and left out,
/// unless the disk is to blame: the numbers do not depend on it.
pub fn complete(session: &Session, experiment: &Experiment) -> Result<()> {
    let wants = |figure: &&Figure| matches!(figure, Figure::Maps(_) | Figure::Tsne(_));
    if !experiment.figures.iter().any(|figure| wants(&figure)) {
        return Ok(());
    }
    let _lock = session.wait_for(&session.results_lock(experiment, "gallery"))?;
    let folder = session.settings.results.join(&experiment.name);
    let recorded = record::read_experiment(&folder)?;
    for (number, figure) in experiment.figures.iter().enumerate() {
        let made = match figure {
            Figure::Maps(figure) => pictures(session, experiment, &recorded, figure),
            Figure::Tsne(figure) => embeddings(session, experiment, &recorded, figure),
            _ => Ok(()),
        };
        match made {
            Err(fault @ Error::Io { .. }) if fault.is_of_the_disk() => return Err(fault),
            Err(fault) => session.progress.note(&format!("figure {} lacks what it shows: {fault}", number + 1)),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Leaves the pictures of the chosen images beside the first run shown.
fn pictures(session: &Session, experiment: &Experiment, recorded: &Recorded, figure: &Maps) -> Result<()> {
    for (run, chosen) in record::chosen_pictures(recorded, figure)? {
        let mut pictures = record::read_pictures(run)?;
        let new: Vec<&(String, String)> =
            chosen.iter().filter(|(_, path)| !pictures.pictures.iter().any(|picture| picture.path == *path)).collect();
        if new.is_empty() {
            continue;
        }
        session.progress.stage("", "pictures for figures", 0, new.len());
        let prepared = prepare::prepare(session, declared(experiment, &run.spec)?)?;
        for (class, path) in new {
            if let Some(labelled) = evaluate::truth_of(&prepared.split, class, path) {
                pictures.pictures.push(picture(run, class, labelled)?);
            }
        }
        pictures.pictures.sort_by(|a, b| (&a.class, &a.path).cmp(&(&b.class, &b.path)));
        record::write_pictures(run, &pictures)?;
    }
    Ok(())
}

/// Writes image and truth as the network sees them.
fn picture(run: &RecordedRun, class: &str, labelled: &Labelled) -> Result<Picture> {
    let spec = &run.spec;
    let image = load_rgb(&labelled.image, &spec.image)?;
    let mask = evaluation_mask(labelled, &spec.image, image.side, spec.evaluation.mask_resize)?;
    let truth: Vec<u8> = mask.data.iter().map(|&defect| if defect { 255 } else { 0 }).collect();
    let path = labelled.image.path.clone();
    let stem = format!("{class}-{}", &blake3::hash(path.as_bytes()).to_hex()[..12]);
    let picture =
        Picture { class: class.into(), path, image: format!("{stem}.png"), truth: format!("{stem}-truth.png") };
    write_atomically(&run.thumbnail(&picture.image), &thumbnail::png(&image.data, (image.side, image.side), None))?;
    write_atomically(&run.thumbnail(&picture.truth), &thumbnail::png(&truth, (mask.width, mask.height), None))?;
    Ok(picture)
}

/// Leaves the embeddings that a figure shows beside their runs.
fn embeddings(session: &Session, experiment: &Experiment, recorded: &Recorded, figure: &Tsne) -> Result<()> {
    for spec in figure.choice().of(&recorded.experiment.runs) {
        let Some(run) = recorded.finished(spec) else { continue };
        if record::read_embedding(run, figure)?.is_none() {
            let embedding = embedding(session, declared(experiment, spec)?, figure)?;
            record::write_embedding(run, figure, &embedding)?;
        }
    }
    Ok(())
}

/// The experiment's own word on a recorded run.
fn declared<'a>(experiment: &'a Experiment, spec: &RunSpec) -> Result<&'a Run> {
    let found = experiment.runs.iter().find(|run| run.spec == *spec);
    found.ok_or_else(|| Error::usage("the experiment declares no such run", "run the experiment again"))
}

/// Adds the stages of the embeddings that figures show of a run and its record has not: what a forecast needs.
pub(super) fn lacking(
    graph: &mut Graph,
    outputs: &[Outputs],
    experiment: &Experiment,
    run: &Run,
    record: &RunFolder,
) -> Vec<StageId> {
    let mut stages = Vec::new();
    for figure in &experiment.figures {
        let Figure::Tsne(figure) = figure else { continue };
        let shows = figure.choice().of(&experiment.runs).contains(&&run.spec);
        if shows && !record.file(&record::embedding_name(figure)).is_file() {
            stages.extend(stage(graph, outputs, run, figure).map(|(stage, _)| stage.id()));
        }
    }
    stages
}

/// Computes the embedding of a run's banks, from the store where it has them.
fn embedding(session: &Session, run: &Run, figure: &Tsne) -> Result<Embedding> {
    let more = |graph: &mut Graph, outputs: &[Outputs]| stage(graph, outputs, run, figure);
    build::with_more(
        session,
        run,
        more,
        |built: &Built, stage: Option<(Handle<crate::plan::Embedding>, Vec<StageId>)>| {
            let Some((stage, banks)) = stage else {
                let what = format!("method `{}` has no bank of the wanted parts", run.spec.method_name());
                return Err(Error::method(what, "name other `parts` or `variants` in the figure"));
            };
            let mut executor = Executor::new(session, built.graph, Patience::Wait);
            let artifact = executor.ensure(stage.id())?.ok_or_else(|| {
                Error::method("another process is computing what the figure needs", "run again when it has finished")
            })?;
            let points = artifact.f32("points")?.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
            Ok(Embedding {
                points,
                parts: artifact.u32("parts")?.to_vec(),
                rows: artifact.u32("rows")?.to_vec(),
                note: artifact.manifest().note.clone(),
                banks: banks.iter().map(|&bank| built.graph.stage(bank).key.to_string()).collect(),
            })
        },
    )
}

/// Adds the stage of an embedding: the banks of all models together. `None` where there is no bank of the wanted parts.
fn stage(
    graph: &mut Graph,
    outputs: &[Outputs],
    run: &Run,
    figure: &Tsne,
) -> Option<(Handle<crate::plan::Embedding>, Vec<StageId>)> {
    let kind = |bank: &RowsOf| graph.stage(bank.id()).kind;
    let wanted = |bank: &&RowsOf| BankPart::of_stage(kind(bank)).iter().any(|part| figure.parts.contains(part));
    let banks: Vec<RowsOf> = outputs.iter().flat_map(|output| &output.banks).filter(wanted).cloned().collect();
    let ids = banks.iter().map(RowsOf::id).collect();
    let kinds = banks.iter().map(kind).collect();
    (!banks.is_empty()).then(|| (graph.add(Embed { figure: figure.clone(), seed: run.spec.seed, banks, kinds }), ids))
}

/// Embeds rows of banks in a plane.
#[derive(Serialize)]
struct Embed {
    #[serde(serialize_with = "drawn")]
    figure: Tsne,
    seed: u64,
    banks: Vec<RowsOf>,
    #[serde(skip)]
    kinds: Vec<&'static str>,
}

/// What of a figure decides its points.
fn drawn<S: serde::Serializer>(figure: &Tsne, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    (&figure.parts, figure.points, figure.perplexity, figure.epochs).serialize(serializer)
}

impl Compute for Embed {
    type Output = crate::plan::Embedding;
    const KIND: &'static str = "embedding";
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        "t-SNE of the banks".into()
    }

    fn work(&self) -> Work {
        let (figure, dim) = (&self.figure, self.banks[0].work().cols);
        // Neighbours, components, and a few thousand operations per point and step.
        let operations =
            figure.points as f64 * (dim as f64).powi(2) * 3.0 + (figure.points * figure.epochs) as f64 * 5e3;
        Work::matrix(figure.points, 2, operations).with_memory(8 * figure.points * dim)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let Tsne { points, perplexity, epochs, .. } = self.figure;
        let places = self.places(job)?;
        let mut chosen = stream(self.seed, Purpose::Embedding, 2).choose(places.len(), points);
        chosen.sort_unstable();
        let mut rows = Matrix::zeros(0, job.rows(&self.banks[0])?.cols());
        for &number in &chosen {
            let (bank, row, _) = places[number];
            rows.extend(job.rows(&self.banks[bank])?.slice(row..row + 1));
        }
        let settings = Settings { perplexity, epochs, seed: self.seed };
        let found = embed::tsne(rows.view(), &settings, job.progress)?;
        let count = found.points.len();
        let mut writer = job.create(vec![
            TensorDecl::f32("points", &[count, 2]),
            TensorDecl::u32("parts", &[count]),
            TensorDecl::u32("rows", &[count]),
        ])?;
        writer.f32(found.points.as_flattened())?;
        writer.u32(&chosen.iter().map(|&number| places[number].2 as u32).collect::<Vec<_>>())?;
        writer.u32(&chosen.iter().map(|&number| number as u32).collect::<Vec<_>>())?;
        let note = json!({
            "algorithm": "Barnes-Hut t-SNE (bhtsne 0.7.3, theta 0.5) after PCA", "points": count, "of": places.len(),
            "components": found.components, "explained": found.explained, "perplexity": perplexity,
            "epochs": epochs, "exaggerated_epochs": epochs / 4, "seed": self.seed,
            "kl_divergence": found.divergence, "parts": counts(&places),
        });
        Ok(Computed::new(writer, note))
    }
}

impl Embed {
    /// Bank, row and part of every bank row that may be embedded.
    fn places(&self, job: &Job) -> Result<Vec<(usize, usize, BankPart)>> {
        let mut places = Vec::new();
        for (number, (bank, kind)) in self.banks.iter().zip(&self.kinds).enumerate() {
            let parts = match *kind {
                "seen_bank" => seen_parts(job.images(bank)?),
                other => vec![BankPart::of_stage(other)[0]; job.rows(bank)?.len()],
            };
            let own = parts.into_iter().enumerate().filter(|(_, part)| self.figure.parts.contains(part));
            places.extend(own.map(|(row, part)| (number, row, part)));
        }
        Ok(places)
    }
}

/// The bank of seen anomalies says which image a row came from; rows around a centre came from none.
fn seen_parts(images: &[u32]) -> Vec<BankPart> {
    let part = |&image: &u32| if image == u32::MAX { BankPart::Center } else { BankPart::Seen };
    images.iter().map(part).collect()
}

fn counts(places: &[(usize, usize, BankPart)]) -> Json {
    let count = |part: BankPart| places.iter().filter(|(_, _, own)| *own == part).count();
    BankPart::ALL.iter().map(|&part| json!({ "part": part, "rows": count(part) })).collect()
}
