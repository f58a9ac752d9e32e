//! A recorded run applied to new images.
//!
//! Owns: the graph of a run whose tested images are others than its own. Banks, models and whatever else the run was made
//! of come from the store, or are computed again; only features, neighbours and scores of the new images are new. Does not
//! own: files that are written (`cli`).

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::build;
use super::evaluate::image_scores;
use super::execute::{Executor, Patience};
use super::given::Datas;
use super::prepare::{self, Prepared, RunEnvironment};
use super::session::Session;
use crate::data::{Image, load_rgb, mask};
use crate::error::{Error, Result};
use crate::maps::upsample;
use crate::methods::{self, Scoring};
use crate::plan::{Environment, Graph, Inputs, StageId, Tested};
use crate::spec::{Geometry, Run, Setting};
use crate::store::Artifact;

/// What a recorded run says of new images.
pub struct Prediction {
    /// Image scores in the order of the images, higher = more abnormal; by the run's own rule.
    pub scores: Vec<f64>,
    /// Rows and columns of a map.
    pub size: (usize, usize),
    artifact: Arc<Artifact>,
    epoch: usize,
    grid: (usize, usize),
    scoring: Scoring,
    geometry: Geometry,
    /// Maps are evaluated at the images' own sizes, not at one size.
    own_sizes: bool,
}

impl Prediction {
    /// True when the run scores images alone and has no maps.
    pub fn is_mapless(&self) -> bool {
        self.scoring.mapless
    }

    /// The anomaly map of an image, rows × columns of `size`: what the run's pixel metrics are made of.
    ///
    /// # Errors
    /// A damaged artifact.
    pub fn map(&self, image: usize) -> Result<Vec<f32>> {
        Ok(self.scoring.map(self.patches(image)?, self.grid, self.size))
    }

    /// The same in the pixels of the image, which has `width` × `height` of them. Where the network sees a part alone, the rest
    /// has the lowest score of that part.
    ///
    /// # Errors
    /// A damaged artifact.
    pub fn own_map(&self, image: usize, (width, height): (usize, usize)) -> Result<Vec<f32>> {
        let (left, top, (columns, rows)) = mask::original(width, height, &self.geometry)?;
        let inside = match self.own_sizes {
            true => self.scoring.map(self.patches(image)?, self.grid, (rows, columns)),
            false => upsample(&self.map(image)?, self.size, (rows, columns)),
        };
        if (columns, rows) == (width, height) {
            return Ok(inside);
        }
        let lowest = inside.iter().copied().fold(f32::INFINITY, f32::min);
        let mut map = vec![lowest; width * height];
        for (row, line) in inside.chunks_exact(columns).enumerate() {
            map[(top + row) * width + left..][..columns].copy_from_slice(line);
        }
        Ok(map)
    }

    /// The largest magnitude of an image's patch scores, which its map does not exceed.
    ///
    /// # Errors
    /// A damaged artifact.
    pub fn largest(&self, image: usize) -> Result<f32> {
        Ok(self.patches(image)?.iter().fold(0.0, |largest, score| score.abs().max(largest)))
    }

    /// The patch scores of all images.
    ///
    /// # Errors
    /// A damaged artifact.
    pub fn patch_scores(&self) -> Result<&[f32]> {
        let all = self.scores.len() * self.grid.0 * self.grid.1;
        Ok(&self.artifact.f32("scores")?[self.epoch * all..][..all])
    }

    fn patches(&self, image: usize) -> Result<&[f32]> {
        let patches = self.grid.0 * self.grid.1;
        let start = (self.epoch * self.scores.len() + image) * patches;
        Ok(&self.artifact.f32("scores")?[start..start + patches])
    }
}

/// Which run, and what it is applied to.
pub struct Request<'a> {
    /// The run.
    pub run: &'a Run,
    /// Key in its record: what its numbers stand for.
    pub recorded_key: &'a str,
    /// The epoch that its numbers are from.
    pub epoch: usize,
    /// The class whose model is meant, where every class has its own.
    pub class: Option<&'a str>,
    /// The new images.
    pub images: &'a [Image],
    /// Version of the program that exported the model, where the run is that of one.
    pub exported: Option<&'a str>,
}

/// Applies a run to images.
///
/// # Errors
/// A run whose record is stale, an unknown class or none where one is needed, a file that is no image, and whatever can go
/// wrong in a run itself (its dataset and weights are needed, or a session of an exported model).
pub fn predict(session: &Session, request: &Request) -> Result<Prediction> {
    Error::all(readable(request.run, request.images).into_iter().filter_map(Result::err).collect())?;
    let prepared = current(session, request)?;
    let group = group(&prepared, request)?;
    let (artifact, passing) = on_new(session, &prepared, request.run, &group, request.images, |graph, scores| {
        let passing = passing(session, graph, request)?;
        let found = Executor::new(session, graph, Patience::Wait).ensure(scores)?;
        let artifact = found.ok_or_else(|| Error::method("another process holds the scores", "try again"))?;
        Ok((artifact, passing))
    })?;
    session.digests().save()?;
    passing.iter().try_for_each(|(kind, key)| session.store.remove(kind, key))?;
    let epochs = artifact.shape("scores")?[0];
    if request.epoch >= epochs {
        let what = format!("the run's numbers are from epoch {}, its scores hold {epochs}", request.epoch);
        return Err(Error::method(what, "do the run again with `dmad run`"));
    }
    let spec = &request.run.spec;
    let scoring = methods::scoring(request.run);
    Ok(Prediction {
        scores: image_scores(&artifact, request.epoch, &scoring)?,
        size: (spec.map_side(), spec.map_side()),
        artifact,
        epoch: request.epoch,
        grid: (prepared.shape.height, prepared.shape.width),
        scoring,
        geometry: spec.image.clone(),
        own_sizes: spec.evaluation.size == 0,
    })
}

/// A run as it is recorded, with its data.
///
/// # Errors
/// A record that stands for something else than the run would be today.
pub(super) fn current(session: &Session, request: &Request) -> Result<Prepared> {
    let data = prepare::check(session, request.run, &Datas::default())?;
    if build::with(session, request.run, |built| Ok(built.record_key()))? == request.recorded_key {
        return prepare::with_data(session, request.run, data);
    }
    let id = &request.run.spec.id;
    Err(match request.exported {
        None => Error::usage(
            format!("the record of run {id} is stale: today's program, data or weights give others"),
            "do it again with `dmad run`",
        ),
        Some(program) => Error::usage(
            format!("the model of run {id} was made by dmad {program}, whose stages were others, or has been changed"),
            format!("export it again with this one ({})", env!("CARGO_PKG_VERSION")),
        ),
    })
}

/// The graph of one model of a run whose tested images are `images`, and the stage of their scores.
pub(super) fn on_new<T>(
    session: &Session,
    prepared: &Prepared,
    run: &Run,
    group: &[usize],
    images: &[Image],
    work: impl FnOnce(&Graph, StageId) -> Result<T>,
) -> Result<T> {
    let method = methods::of(run);
    let environment = RunEnvironment { session, prepared };
    let inputs: Inputs; // declared before the graph, whose stages borrow it
    let mut graph = Graph::default();
    inputs = {
        let pool = environment.features(&mut graph, images, "features of the new images")?;
        let mut inputs = environment.inputs(&mut graph, group)?;
        let (numbers, pictures) = ((0..images.len()).collect(), environment.pictures(images)?);
        inputs.tested = vec![Tested { name: "new images".into(), pool, images: numbers, pictures }];
        inputs
    };
    let outputs = method.stages(&mut graph, &inputs)?;
    work(&graph, outputs.scores[0].id)
}

/// Keys of the stages of a run that has its own tested images.
pub(super) fn own_keys(session: &Session, run: &Run) -> Result<BTreeSet<String>> {
    build::with(session, run, |built| Ok(built.graph.ids().map(|id| built.graph.stage(id).key.to_string()).collect()))
}

/// Whether each of some files is an image that a run can be applied to; every one is decoded.
pub fn readable(run: &Run, images: &[Image]) -> Vec<Result<()>> {
    images.par_iter().map(|image| load_rgb(image, &run.spec.image).map(drop)).collect()
}

/// The stages that are of the new images alone and not in the store: nobody asks for them again.
fn passing(session: &Session, graph: &Graph, request: &Request) -> Result<Vec<(&'static str, String)>> {
    let own = own_keys(session, request.run)?;
    let stages = graph.ids().map(|id| graph.stage(id)).map(|stage| (stage.kind, stage.key.to_string()));
    Ok(stages.filter(|(kind, key)| !own.contains(key) && !session.store.contains(kind, key)).collect())
}

/// The classes whose model is meant.
fn group(prepared: &Prepared, request: &Request) -> Result<Vec<usize>> {
    let names: Vec<&str> = prepared.data.split.classes.iter().map(|class| class.name.as_str()).collect();
    let place = |class: &str| {
        names.iter().position(|name| *name == class).ok_or_else(|| {
            Error::usage(format!("the run has no class `{class}`"), format!("its classes: {}", names.join(", ")))
        })
    };
    let place = request.class.map(place).transpose()?;
    match (request.run.spec.protocol.setting, place) {
        (Setting::Unified, _) => Ok((0..names.len()).collect()),
        (Setting::PerClass, Some(place)) => Ok(vec![place]),
        (Setting::PerClass, None) if names.len() == 1 => Ok(vec![0]),
        (Setting::PerClass, None) => Err(Error::usage(
            "the run has one model per class, and nothing says which of them is meant",
            format!("name one with --class: {}", names.join(", ")),
        )),
    }
}
