//! Exported models: a folder with all that a recorded run needs to score new images, and nothing of its datasets but names
//! and digests.
//!
//! Owns: which artifacts that is, the folder's layout, opening one. Does not own: the record itself (`record`), what is done
//! with the scores (`cli`).
//!
//! Layout: `model.json` (what it is, and outlines of the datasets), `results/EXPERIMENT/runs/ID` (the record), `store`
//! (artifacts), `weights` (the backbone's file, where it is not part of the program).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::execute::{Executor, Patience};
use super::predict::{Request, current, on_new, own_keys, predict};
use super::progress::Progress;
use super::session::{Resources, Session};
use crate::backbone::weights::{Origin, origin};
use crate::data::outline::Outline;
use crate::data::{Image, Source};
use crate::device::{DeviceKind, Precision};
use crate::error::{Error, Result};
use crate::naive;
use crate::plan::{Graph, Notice, StageId};
use crate::record::{RecordedRun, copy_run};
use crate::store::write_atomically;

const FORMAT: u32 = 1;
const HEAD: &str = "model.json";

/// What an exported model says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    format: u32,
    /// Id of the run.
    pub run: String,
    /// The experiment that it was recorded under.
    pub experiment: String,
    /// Version of the program.
    pub program: String,
    device: String,
    precision: String,
    /// Whether plain twins made it.
    #[serde(default)]
    naive: bool,
    /// By what is asked of a session: dataset and classes.
    datasets: BTreeMap<String, Outline>,
    #[serde(skip)]
    folder: PathBuf,
}

/// Writes the model of a run that is recorded in the folder of an experiment into `folder`, making what the store lacks; returns
/// its bytes.
///
/// # Errors
/// A stale record, whatever can go wrong in a run, weights that would not be found again elsewhere, a folder that cannot be
/// written.
pub fn export(
    session: &Session,
    request: &Request,
    (experiment, recorded): (&Path, &RecordedRun),
    folder: &Path,
) -> Result<u64> {
    let prepared = current(session, request)?;
    let own = own_keys(session, request.run)?;
    let newcomer = [Image { path: "new".into(), source: Source::Absent([0; 32]) }];
    let store = folder.join("store");
    let (mut copied, mut bytes) = (BTreeSet::new(), 0);
    for group in prepared.groups() {
        on_new(session, &prepared, request.run, &group, &newcomer, |graph, scores| {
            let wanted = asked_for(graph, scores, &own);
            let made = Executor::new(session, graph, Patience::Wait).each(wanted.clone())?;
            made.ok_or_else(|| Error::method("another process holds a stage of the run", "try again"))?;
            for stage in wanted.into_iter().map(|id| graph.stage(id)) {
                if copied.insert(stage.key.to_string()) {
                    bytes += session.store.copy(stage.kind, &stage.key, &store)?;
                }
            }
            Ok(())
        })?;
    }
    bytes += copy_weights(session, request, &folder.join("weights"))?;
    bytes += copy_run(experiment, recorded, &folder.join("results"))?;
    let datasets = session.indexes().into_iter().map(|(asked, index)| {
        let outline = Outline::new(&index, &mut session.digests())?;
        Ok((asked, outline))
    });
    let model = Model {
        format: FORMAT,
        run: request.run.spec.id.clone(),
        experiment: experiment.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        program: env!("CARGO_PKG_VERSION").into(),
        device: session.resources.device.kind.name().into(),
        precision: session.resources.precision.name().into(),
        naive: naive::is_chosen(),
        datasets: datasets.collect::<Result<_>>()?,
        folder: PathBuf::new(),
    };
    let text = serde_json::to_string(&model).unwrap_or_else(|fault| unreachable!("a model is plain data: {fault}"));
    write_atomically(&folder.join(HEAD), text.as_bytes())?;
    session.digests().save()?;
    Ok(bytes + text.len() as u64)
}

/// Applies an exported model to a test image of each of its parts, and compares with the record; returns how many images
/// that were.
///
/// # Errors
/// A score that is another, and whatever a method lacks that needs more than a model holds.
pub fn check(session: &Session, model: &Session, request: &Request, recorded: &RecordedRun) -> Result<usize> {
    let prepared = current(session, request)?;
    let mut checked = 0;
    for group in prepared.groups() {
        let classes = group.iter().map(|&class| &prepared.data.split.classes[class]);
        let Some(class) = classes.into_iter().find(|class| !class.test.is_empty()) else { continue };
        let images = [class.pool[class.test[0]].clone()];
        let request = Request {
            class: Some(&class.name),
            images: &images,
            exported: Some(env!("CARGO_PKG_VERSION")),
            ..*request
        };
        let score = predict(model, &request)?.scores[0];
        let known = recorded.images()?.iter().find(|row| row.class == class.name && row.path == images[0].path);
        if known.is_none_or(|row| row.score.to_bits() != score.to_bits()) {
            let what = format!("the exported model scores {} otherwise than is recorded", images[0].path);
            return Err(Error::method(what, "this is a fault of the program; please report it"));
        }
        checked += 1;
    }
    Ok(checked)
}

/// The stages of the run itself that the scores of new images read.
fn asked_for(graph: &Graph, scores: StageId, own: &BTreeSet<String>) -> Vec<StageId> {
    let (mut wanted, mut open) = (BTreeSet::new(), vec![scores]);
    while let Some(id) = open.pop() {
        let stage = graph.stage(id);
        if own.contains(&*stage.key) {
            wanted.insert(id);
        } else {
            open.extend(&stage.inputs);
        }
    }
    wanted.into_iter().collect()
}

/// The file of the backbone's weights, where there is one, under the name by which it will be asked for.
fn copy_weights(session: &Session, request: &Request, folder: &Path) -> Result<u64> {
    let backbone = &request.run.spec.backbone;
    let Origin::File(file) = origin(backbone, &session.resources.weights)? else { return Ok(0) };
    let name = match backbone.weights.as_str() {
        "imagenet" => PathBuf::from(file.file_name().unwrap_or_default()),
        named => PathBuf::from(named),
    };
    if !name.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        let what = format!("backbone.weights = \"{}\" would not be found on another machine", name.display());
        return Err(Error::usage(what, "put the file below the weights folder and name it from there"));
    }
    let target = folder.join(name);
    let parent = target.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    std::fs::copy(&file, &target).map_err(Error::io("copy", &file))
}

impl Model {
    /// Reads what the model in `folder` says of itself.
    ///
    /// # Errors
    /// A folder that is none, or one of another format.
    pub fn open(folder: &Path) -> Result<Model> {
        let path = folder.join(HEAD);
        let help = "name a folder that `dmad export model` has written";
        let text = match std::fs::read_to_string(&path) {
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::data(folder, format!("no exported model: it has no {HEAD}"), help));
            }
            read => read.map_err(Error::io("read", &path))?,
        };
        let format = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|head| head["format"].as_u64());
        if format.is_some_and(|format| format != u64::from(FORMAT)) {
            return Err(Error::data(&path, "is of another format", "export the model again with this program"));
        }
        let model: Model =
            serde_json::from_str(&text).map_err(|fault| Error::data(&path, format!("is damaged: {fault}"), help))?;
        Ok(Model { folder: folder.into(), ..model })
    }

    /// Where its record is found by the run's id.
    pub fn results(&self) -> PathBuf {
        self.folder.join("results")
    }

    /// A session that has the model's artifacts and weights, and writes into `scratch` what is made of new images. Its device
    /// need not be the model's: what was learned is the same, and scores differ by rounding.
    ///
    /// # Errors
    /// A model of no device that is known, or of plain twins where there are none here or the other way round, a digest that is none, a folder that cannot be written.
    pub fn session(&self, resources: Resources, scratch: &Path, progress: Progress) -> Result<Session> {
        let (kind, precision) = self.made_on()?;
        if self.naive != naive::is_chosen() {
            let with = if self.naive { "with" } else { "without" };
            return Err(Error::usage(
                format!("the model was made {with} --naive"),
                format!("predict {with} it as well"),
            ));
        }
        let here = (resources.device.kind, resources.precision);
        let indexes = self.datasets.iter().map(|(asked, outline)| Ok((asked.clone(), Arc::new(outline.index()?))));
        let (weights, results, store) = (self.folder.join("weights"), self.results(), scratch.to_path_buf());
        let resources = Resources { weights, results, store, ..resources };
        let mut session =
            Session::of_model(resources, &self.folder.join("store"), indexes.collect::<Result<_>>()?, progress)?;
        if here != (kind, precision) {
            let (device, cut) = (here.0.name(), here.1.name());
            let made = format!("the model was made on {} in {}", self.device, self.precision);
            let text = format!("{made}; {device} scores here in {cut}, so last digits may differ");
            session.progress.notice(Notice::Remark(text));
            session.device = session.device.in_place_of(kind, precision);
        }
        Ok(session)
    }

    /// Kind of device and precision.
    fn made_on(&self) -> Result<(DeviceKind, Precision)> {
        let kind = DeviceKind::ALL.into_iter().find(|kind| kind.name() == self.device);
        let precision = Precision::ALL.into_iter().find(|precision| precision.name() == self.precision);
        kind.zip(precision).ok_or_else(|| {
            let what = format!("was made on {} in {}, which this program does not know", self.device, self.precision);
            Error::data(self.folder.join(HEAD), what, "use the program that exported it")
        })
    }
}
