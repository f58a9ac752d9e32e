//! What figures need beyond numbers: embeddings of banks, pictures of test images. Made from the store when the runs are
//! done, and only for experiments whose `[[figure]]` asks for it.
//!
//! Owns: making them and leaving them beside the records. Does not own: which are wanted (`record`), or the drawing
//! (`report`). Nothing here enters a run's id or its record's key.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::build::{self, Built};
use super::evaluate;
use super::event::Event;
use super::execute::{Executor, Patience};
use super::given::Datas;
use super::session::Session;
use crate::data::{Labelled, evaluation_mask, load_rgb, thumbnail};
use crate::embed::{self, Hyperparameters};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::methods::{self, BankPart, Outputs};
use crate::plan::{self, Compute, Computed, Graph, Handle, Job, RowsOf, StageId, Work};
use crate::random::{Purpose, stream};
use crate::record::{self, AboutEmbedding, EmbeddedPart, Embedding, Picture, Recorded, RecordedRun, RunFolder};
use crate::spec::{Experiment, Figure, Need, Run, RunSpec, Selection, WantedEmbedding, WantedImages};
use crate::stop;
use crate::store::{TensorDecl, write_atomically};

/// Adds what the figures of an experiment need to the records that are there. What cannot be made is said and left out,
/// unless the disk is to blame or the process was asked to end: the numbers do not depend on it.
pub fn complete(session: &Session, experiment: &Experiment) -> Result<()> {
    if experiment.figures.iter().all(|figure| figure.need.is_none()) {
        return Ok(());
    }
    let _lock = session.lock_results(experiment, "gallery")?;
    let folder = session.resources.results.join(&experiment.name);
    let recorded = record::read_experiment(&folder, &experiment.kinds)?;
    let gallery = Gallery { session, experiment, recorded, datas: Datas::default() };
    for (number, Figure { need, selection, .. }) in experiment.figures.iter().enumerate() {
        let made = match need {
            Some(Need::Pictures(wanted)) => gallery.pictures(selection, wanted),
            Some(Need::Embedding(wanted)) => gallery.embeddings(selection, wanted),
            None => Ok(()),
        };
        match made {
            Err(fault) if fault.ends_everything() => return Err(fault),
            Err(fault) => {
                let text = format!("figure {} lacks what it shows: {fault}", number + 1);
                session.progress.tell(Event::Note { text });
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// The records of an experiment that is to show more than numbers.
struct Gallery<'a> {
    session: &'a Session,
    experiment: &'a Experiment,
    recorded: Recorded,
    datas: Datas,
}

impl Gallery<'_> {
    /// Leaves the pictures of the chosen images beside the first run shown.
    fn pictures(&self, selection: &Selection, wanted: &WantedImages) -> Result<()> {
        for (run, chosen) in record::chosen_pictures(&self.recorded, selection, wanted)? {
            let mut pictures = record::read_pictures(run)?;
            let known = |path: &String| pictures.pictures.iter().any(|picture| picture.path == *path);
            let new: Vec<&(String, String)> = chosen.iter().filter(|(_, path)| !known(path)).collect();
            if new.is_empty() {
                continue;
            }
            stop::here()?;
            self.session.progress.stage("", "pictures for figures", 0, new.len());
            let data = self.datas.of(self.session, &self.declared(&run.spec)?.spec)?;
            for (class, path) in new {
                if let Some(labelled) = evaluate::truth_of(&data.split, class, path) {
                    pictures.pictures.push(picture(run, class, labelled)?);
                }
            }
            pictures.pictures.sort_by(|a, b| (&a.class, &a.path).cmp(&(&b.class, &b.path)));
            record::write_pictures(run, &pictures)?;
        }
        Ok(())
    }

    /// Leaves the embeddings that a figure shows beside their runs.
    fn embeddings(&self, selection: &Selection, wanted: &WantedEmbedding) -> Result<()> {
        for spec in selection.of(&self.recorded.experiment.runs) {
            let Some(run) = self.recorded.finished(spec) else { continue };
            if record::read_embedding(run, wanted)?.is_none() {
                // A run without such banks has nothing to show, which the figure says; it keeps no other from being shown.
                if let Some(embedding) = embedding(self.session, self.declared(spec)?, wanted)? {
                    record::write_embedding(run, wanted, &embedding)?;
                }
            }
        }
        Ok(())
    }

    /// The experiment's own word on a recorded run.
    fn declared(&self, spec: &RunSpec) -> Result<&Run> {
        let found = self.experiment.runs.iter().find(|run| run.spec == *spec);
        found.ok_or_else(|| Error::usage("the experiment declares no such run", "run the experiment again"))
    }
}

/// Writes image and truth as the network sees them.
fn picture(run: &RecordedRun, class: &str, labelled: &Labelled) -> Result<Picture> {
    let spec = &run.spec;
    let image = load_rgb(&labelled.image, &spec.image)?;
    let mask = evaluation_mask(labelled, &spec.image, spec.image.size, spec.evaluation.mask_resize)?;
    let truth: Vec<u8> = mask.data.iter().map(|&defect| if defect { 255 } else { 0 }).collect();
    let path = labelled.image.path.clone();
    let stem = format!("{class}-{}", &blake3::hash(path.as_bytes()).to_hex()[..12]);
    let picture =
        Picture { class: class.into(), path, image: format!("{stem}.png"), truth: format!("{stem}-truth.png") };
    write_atomically(&run.thumbnail(&picture.image), &thumbnail::png(&image.data, (image.width, image.height), None))?;
    write_atomically(&run.thumbnail(&picture.truth), &thumbnail::png(&truth, (mask.width, mask.height), None))?;
    Ok(picture)
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
        let Some(Need::Embedding(wanted)) = &figure.need else { continue };
        let shows = figure.selection.of(&experiment.runs).contains(&&run.spec);
        if shows && !record.file(&record::embedding_name(wanted)).is_file() {
            stages.extend(stage(graph, outputs, run, wanted).map(|(stage, _)| stage.id));
        }
    }
    stages
}

/// Computes the embedding of a run's banks, from the store where it has them; `None` where it has none of the wanted parts.
fn embedding(session: &Session, run: &Run, wanted: &WantedEmbedding) -> Result<Option<Embedding>> {
    let more = |graph: &mut Graph, outputs: &[Outputs]| stage(graph, outputs, run, wanted);
    build::with_more(session, run, more, |built: &Built, stage: Option<(Handle<plan::Embedding>, Vec<StageId>)>| {
        let Some((stage, banks)) = stage else { return Ok(None) };
        let mut executor = Executor::new(session, built.graph, Patience::Wait);
        let artifact = executor.ensure(stage.id)?.ok_or_else(|| {
            Error::method("another process is computing what the figure needs", "run again when it has finished")
        })?;
        let points = artifact.f32("points")?.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
        let part = |part: &BankPart| {
            let (name, label) = (part.name.into(), part.label.into());
            EmbeddedPart { name, label, normal: part.normal }
        };
        let about = AboutEmbedding {
            banks: banks.iter().map(|&bank| built.graph.stage(bank).key.to_string()).collect(),
            note: artifact.manifest().note.clone(),
            parts: methods::bank_parts(run.spec.method_name()).iter().map(part).collect(),
        };
        let (parts, rows) = (artifact.u32("parts")?.to_vec(), artifact.u32("rows")?.to_vec());
        Ok(Some(Embedding { points, parts, rows, about }))
    })
}

/// Adds the stage of an embedding: the banks of all models together. `None` where there is no bank of the wanted parts.
fn stage(
    graph: &mut Graph,
    outputs: &[Outputs],
    run: &Run,
    wanted: &WantedEmbedding,
) -> Option<(Handle<plan::Embedding>, Vec<StageId>)> {
    let shown = methods::wanted_parts(run.spec.method_name(), &wanted.parts);
    let kind = |bank: &RowsOf| graph.stage(bank.stage.id).kind;
    let holds = |bank: &&RowsOf| shown.iter().any(|part| part.stage == kind(bank));
    let banks: Vec<RowsOf> = outputs.iter().flat_map(|output| &output.banks).filter(holds).cloned().collect();
    if banks.is_empty() {
        return None;
    }
    let ids = banks.iter().map(|bank| bank.stage.id).collect();
    let kinds = banks.iter().map(kind).collect();
    let names = || shown.iter().map(|part| part.name.to_string()).collect();
    let parts = if wanted.parts.is_empty() { names() } else { wanted.parts.clone() };
    let embed = Embed {
        wanted: WantedEmbedding { parts, ..wanted.clone() },
        seed: run.spec.seed,
        banks,
        kinds,
        known: methods::bank_parts(run.spec.method_name()),
    };
    Some((graph.add(embed), ids))
}

/// Embeds rows of banks in a plane.
#[derive(Serialize)]
struct Embed {
    #[serde(flatten)]
    wanted: WantedEmbedding,
    seed: u64,
    banks: Vec<RowsOf>,
    #[serde(skip)]
    kinds: Vec<&'static str>,
    /// All parts that the method has: points tell their parts by number.
    #[serde(serialize_with = "names")]
    known: &'static [BankPart],
}

fn names<S: serde::Serializer>(parts: &&'static [BankPart], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(parts.iter().map(|part| part.name))
}

impl Compute for Embed {
    type Output = plan::Embedding;
    const KIND: &'static str = "embedding";
    const VERSION: u32 = 2;

    fn label(&self) -> String {
        "t-SNE of the banks".into()
    }

    fn work(&self) -> Work {
        let (dim, points) = (self.banks[0].stage.work.cols, self.wanted.points);
        // Neighbours, components, and a few thousand operations per point and step.
        let operations = points as f64 * (dim as f64).powi(2) * 3.0 + (points * self.wanted.epochs) as f64 * 5e3;
        Work::matrix(points, 2, operations).with_memory(8 * points * dim)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let places = self.places(job)?;
        let WantedEmbedding { points, perplexity, epochs, .. } = self.wanted;
        let mut chosen = stream(self.seed, Purpose::Embedding, 2).choose(places.len(), points);
        chosen.sort_unstable();
        let mut rows = Matrix::zeros(0, job.rows(&self.banks[0])?.cols());
        for &number in &chosen {
            let Place { bank, row, .. } = places[number];
            rows.extend(job.rows(&self.banks[bank])?.slice(row..row + 1));
        }
        let found = embed::tsne(rows.view(), &Hyperparameters { perplexity, epochs, seed: self.seed }, job.progress)?;
        let count = found.points.len();
        let mut writer = job.create(vec![
            TensorDecl::f32("points", &[count, 2]),
            TensorDecl::u32("parts", &[count]),
            TensorDecl::u32("rows", &[count]),
        ])?;
        writer.f32(found.points.as_flattened())?;
        writer.u32(&chosen.iter().map(|&number| places[number].part as u32).collect::<Vec<_>>())?;
        writer.u32(&chosen.iter().map(|&number| number as u32).collect::<Vec<_>>())?;
        let rows_of = |part: usize| places.iter().filter(|place| place.part == part).count();
        let parts = self.known.iter().enumerate();
        let parts: Json = parts.map(|(number, part)| json!({ "part": part.name, "rows": rows_of(number) })).collect();
        let note = json!({
            "algorithm": "Barnes-Hut t-SNE (bhtsne 0.7.3, theta 0.5) from PCA", "points": count, "of": places.len(),
            "explained": found.explained, "perplexity": found.perplexity,
            "epochs": epochs, "exaggerated_epochs": epochs / 4, "seed": self.seed,
            "kl_divergence": found.divergence, "parts": parts,
        });
        Ok(Computed::new(writer, note))
    }
}

/// A bank row that may be embedded: of which bank, which of its rows, which of the method's parts.
#[derive(Clone, Copy)]
struct Place {
    bank: usize,
    row: usize,
    part: usize,
}

impl Embed {
    /// Every bank row of the parts shown, bank after bank.
    fn places(&self, job: &Job) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for (bank, (rows, kind)) in self.banks.iter().zip(&self.kinds).enumerate() {
            let first = places.len();
            for (part, declared) in self.known.iter().enumerate() {
                if declared.stage != *kind || !self.wanted.parts.iter().any(|name| name == declared.name) {
                    continue;
                }
                let own = match declared.rows {
                    Some(own) => own(job.artifact(rows.stage.id))?,
                    None => vec![true; job.rows(rows)?.len()],
                };
                let own = own.into_iter().enumerate().filter(|(_, own)| *own);
                places.extend(own.map(|(row, _)| Place { bank, row, part }));
            }
            places[first..].sort_by_key(|place| place.row);
        }
        Ok(places)
    }
}
