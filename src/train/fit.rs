//! The training loop that all trained methods share: epochs, log, checkpoints, resume.
//!
//! Owns: the order of epochs, what a checkpoint holds, and stopping on a loss that is not finite. Does not own: batches,
//! losses, schedules (the methods), nor where checkpoints lie (`store`).
//!
//! Everything a learner draws or counts is a function of the epoch's number, so parameters and optimiser state are all
//! there is to resume from: a training that was killed and goes on ends with the same bytes as one that was not.

use serde_json::{Value as Json, json};

use super::optimizer::Optimizer;
use super::parameters::Parameters;
use crate::clock::Clock;
use crate::device::{Traffic, traffic};
use crate::error::{Error, Result};
use crate::plan::{Computed, Job, Notice};
use crate::stop;
use crate::store::{Artifact, Spent};

/// A model in training, as the shared loop sees it. All state besides parameters and optimisers is a function of the
/// epoch number.
pub trait Learner {
    /// Trains one epoch (0-based); returns the mean losses by name, the total under "loss" first.
    fn epoch(&mut self, epoch: usize) -> Result<Vec<(&'static str, f64)>>;

    /// Parameters as they stand, and the optimisers, always in the same order.
    fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>);
}

/// Which epochs' parameters the artifact holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those of the last epoch, as number 0.
    Last,
    /// Those of every epoch.
    Every,
}

impl Keep {
    /// How many epochs' parameters are there after so many epochs.
    pub fn count(self, epochs: usize) -> usize {
        if self == Keep::Every { epochs.max(1) } else { 1 }
    }
}

/// Class of each training image, and its number there; `rows` counts the patches of each class.
pub fn class_images(rows: impl Iterator<Item = usize>, patches: usize) -> Vec<(usize, usize)> {
    rows.enumerate().flat_map(|(class, rows)| (0..rows / patches).map(move |image| (class, image))).collect()
}

/// How many of an image's `patches` enter a step where `wanted` are asked for; 0 = all.
pub fn patches_per_step(wanted: usize, patches: usize) -> usize {
    if wanted == 0 { patches } else { wanted.min(patches) }
}

/// In front of the names of the kept parameters `number`.
pub fn epoch_prefix(number: usize) -> String {
    format!("{number:05}/")
}

/// How many epochs' parameters a model holds.
pub fn kept_epochs(model: &Artifact) -> usize {
    let last = model.tensors().keys().next_back().and_then(|name| name.split_once('/')?.0.parse::<usize>().ok());
    last.map_or(0, |number| number + 1)
}

/// Runs the epochs with progress and a checkpoint after each, from the newest whole checkpoint if there is one. The
/// artifact holds parameters under [`epoch_prefix`]; its note holds `note` (an object), the number of parameters, the losses of
/// every epoch, and on a GPU what the last epoch moved between host and device. With no epochs the initial parameters are kept.
///
/// # Errors
/// A loss that is not finite (with the epoch and all its terms), and whatever the learner or the disk report.
pub fn fit(job: &Job, learner: &mut dyn Learner, epochs: usize, keep: Keep, mut note: Json) -> Result<Computed> {
    let clock = Clock::start();
    let (mut log, earlier) = resume(job, learner, epochs, keep)?;
    let mut moved = Traffic::default();
    for epoch in log.len()..epochs {
        (job.progress)(epoch, epochs);
        let before = traffic();
        log.push(epoch_log(epoch, &learner.epoch(epoch)?)?);
        moved = traffic() - before;
        if keep == Keep::Every || epoch + 1 < epochs {
            let spent = Spent {
                wall_seconds: earlier.wall_seconds + clock.wall_seconds(),
                cpu_seconds: earlier.cpu_seconds + clock.cpu_seconds(),
                ..Spent::default()
            };
            save(job, learner, (epoch, epochs), &log, &spent)?;
            if let (Keep::Last, Some(before)) = (keep, epoch.checked_sub(1)) {
                job.remove_checkpoint(before)?;
            }
            stop::here()?;
        }
    }
    if !learner.state().0.are_on_cpu() {
        let Traffic { up_bytes, down_bytes, waits } = moved;
        note["epoch_traffic"] = json!({ "up_bytes": up_bytes, "down_bytes": down_bytes, "waits": waits });
    }
    note["parameters"] = learner.state().0.count().into();
    note["epochs"] = log.into();
    let kept = if keep == Keep::Every { epochs } else { 0 };
    Ok(Computed { earlier, ..write(job, learner, kept, note)? })
}

/// The artifact: the parameters as they stand, or those of the `checkpoints` epochs.
fn write(job: &Job, learner: &mut dyn Learner, checkpoints: usize, note: Json) -> Result<Computed> {
    let (parameters, _) = learner.state();
    let names = (0..checkpoints.max(1)).flat_map(|number| parameters.declarations(&epoch_prefix(number)));
    let mut writer = job.create(names.collect())?;
    if checkpoints == 0 {
        parameters.write(&mut writer)?;
    }
    for epoch in 0..checkpoints {
        let checkpoint = job.checkpoint(epoch).ok_or_else(|| {
            let what = format!("the checkpoint of epoch {} is gone or damaged", epoch + 1);
            Error::method(what, "run again: training goes on from the last whole one")
        })?;
        for (name, _) in parameters.all() {
            writer.f32(checkpoint.f32(&format!("{PARAMETERS}{name}"))?)?;
        }
    }
    Ok(Computed::new(writer, note))
}

const PARAMETERS: &str = "parameters/";

/// Writes what training would go on from after `epoch` of `epochs`.
fn save(
    job: &Job,
    learner: &mut dyn Learner,
    (epoch, epochs): (usize, usize),
    log: &[Json],
    spent: &Spent,
) -> Result<()> {
    let (parameters, optimizers) = learner.state();
    let mut tensors = parameters.declarations(PARAMETERS);
    let numbered = optimizers.iter().enumerate();
    tensors.extend(numbered.flat_map(|(number, optimizer)| optimizer.declarations(&format!("optimizer{number}/"))));
    let steps: Vec<u64> = optimizers.iter().map(|optimizer| optimizer.steps()).collect();
    let mut writer = job.create_checkpoint(epoch, tensors)?;
    parameters.write(&mut writer)?;
    optimizers.iter().try_for_each(|optimizer| optimizer.write(&mut writer))?;
    writer.finish(json!({ "steps": steps, "epochs": log, "of": epochs }), spent)
}

/// Epochs behind a checkpoint, and of how many, by what its manifest says.
pub fn epochs_done(note: &Json) -> Option<(usize, usize)> {
    Some((note["epochs"].as_array()?.len(), note["of"].as_u64()? as usize))
}

/// Puts the learner where the newest usable checkpoint left it and returns the log up to there, and its cost.
fn resume(job: &Job, learner: &mut dyn Learner, epochs: usize, keep: Keep) -> Result<(Vec<Json>, Spent)> {
    let newest = match keep {
        Keep::Last => (0..epochs).rev().find_map(|epoch| Some((epoch, job.checkpoint(epoch)?))),
        // Every epoch's parameters are needed in the end, so what counts is the unbroken row from the first.
        Keep::Every => (0..epochs).map_while(|epoch| Some((epoch, job.checkpoint(epoch)?))).last(),
    };
    let Some((epoch, checkpoint)) = newest else { return Ok(Default::default()) };
    let note = &checkpoint.manifest().note;
    let log = note["epochs"].as_array().cloned().unwrap_or_default();
    let steps: Vec<u64> = note["steps"].as_array().into_iter().flatten().filter_map(Json::as_u64).collect();
    let (parameters, optimizers) = learner.state();
    if log.len() != epoch + 1 || steps.len() != optimizers.len() {
        return Ok(Default::default());
    }
    parameters.read(&checkpoint, PARAMETERS)?;
    for (number, (optimizer, steps)) in optimizers.into_iter().zip(steps).enumerate() {
        optimizer.read(&checkpoint, &format!("optimizer{number}/"), steps, parameters)?;
    }
    (job.notice)(Notice::Resumed { epoch: epoch + 1, epochs });
    let manifest = checkpoint.manifest();
    let (wall_seconds, cpu_seconds) = (manifest.wall_seconds, manifest.cpu_seconds);
    let earlier = Spent { wall_seconds, cpu_seconds, ..Spent::default() };
    Ok((log, earlier))
}

fn epoch_log(epoch: usize, losses: &[(&'static str, f64)]) -> Result<Json> {
    if let Some((_, total)) = losses.first()
        && !total.is_finite()
    {
        let terms: Vec<String> = losses.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let what = format!("the loss is not finite in epoch {} ({})", epoch + 1, terms.join(", "));
        return Err(Error::method(what, "lower the learning rates or the noise, and check the features' scale"));
    }
    let mut entry = json!({ "epoch": epoch + 1 });
    losses.iter().for_each(|&(name, value)| entry[name] = value.into());
    Ok(entry)
}
