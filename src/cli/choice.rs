//! Which experiments a command is about, and which of their runs: what `run`, `plan` and `submit` take, and refuse, alike.
//!
//! Owns: their common options. Does not own: reading an experiment file (`spec`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Common;
use wildmatch::WildMatchPattern;

use crate::device::DeviceKind;
use crate::error::{Error, Result};
use crate::report;
use crate::run::Resources;
use crate::spec::{self, Experiment, Override, Run};

/// Keys of experiments that are set from outside.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct Overrides {
    /// Set a key of the experiment's base for this command, as if the file said so: image.size=320, method.train.epochs=5,
    /// 'sweep."protocol.seen.count"=[0]'; rows that set the key themselves keep their value
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Override::parse)]
    pub(super) set: Vec<Override>,
}

impl Overrides {
    /// As they were given and as a shell takes them.
    pub(super) fn given(&self) -> String {
        self.set.iter().map(|own| format!(" --set {}", super::quoted(own.given()))).collect()
    }
}

/// Experiment files, and which of their runs.
#[derive(clap::Args, Debug)]
pub(super) struct Selection {
    /// Experiment files
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) overrides: Overrides,
    /// Only these seeds; others than the file's join it
    #[arg(long, value_delimiter = ',', value_name = "N,…", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seeds: Option<Vec<u64>>,
    /// Only runs whose variant or id matches this pattern (* stands for anything)
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
}

/// The same, and what of it one process computes.
#[derive(clap::Args, Debug)]
pub(super) struct Choice {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Only the i-th of n parts of the runs (1-based), for job arrays; parts share results and store
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
    /// Stages computed side by side; results do not depend on it [default: as many as threads on a CPU, 1 on a GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Selection {
    /// As it was given and as a shell takes it, with a space in front of every word.
    pub(super) fn given(&self) -> String {
        let files = self.files.iter().map(|file| format!(" {}", super::quoted(&file.to_string_lossy())));
        let mut given = files.collect::<String>() + &self.overrides.given();
        if let Some(seeds) = &self.seeds {
            let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
            given += &format!(" --seeds {}", seeds.join(","));
        }
        given + &self.only.iter().map(|only| format!(" --only {}", super::quoted(only))).collect::<String>()
    }

    /// Reads the files, which the chosen seeds join: each experiment with its chosen runs, in its order.
    ///
    /// # Errors
    /// A file that is wrong, two experiments of one name, a pattern that no run of any of them matches.
    pub(super) fn load(&self) -> Result<Vec<(Experiment, Vec<Run>)>> {
        let (kinds, seeds) = (report::kinds(), self.seeds.as_deref().unwrap_or_default());
        let load = |file: &PathBuf| {
            let experiment = spec::load_with(file, &kinds, seeds, &self.overrides.set)?;
            let runs = self.select(&experiment);
            Ok((experiment, runs))
        };
        let chosen = self.files.iter().map(load).collect::<Result<Vec<(Experiment, Vec<Run>)>>>()?;
        refuse_namesakes(&chosen)?;
        refuse_long_names(&chosen)?;
        if let (Some(pattern), true) = (&self.only, chosen.iter().all(|(_, runs)| runs.is_empty())) {
            return Err(no_match(pattern, &chosen));
        }
        Ok(chosen)
    }

    /// The runs of these seeds and names.
    fn select(&self, experiment: &Experiment) -> Vec<Run> {
        let named = |run: &Run, pattern: &str| glob(pattern, &run.spec.variant) || glob(pattern, &run.spec.id);
        let wanted = |run: &&Run| {
            self.seeds.as_ref().is_none_or(|seeds| seeds.contains(&run.spec.seed))
                && self.only.as_ref().is_none_or(|pattern| named(run, pattern))
        };
        experiment.runs.iter().filter(wanted).cloned().collect()
    }
}

impl Choice {
    /// The chosen runs of all files, those of this part alone.
    ///
    /// # Errors
    /// As [`Selection::load`].
    pub(super) fn load(&self) -> Result<Vec<(Experiment, Vec<Run>)>> {
        let mut chosen = self.selection.load()?;
        // A part may well be empty where there are more parts than runs.
        if let Some(shard) = self.shard {
            chosen.iter_mut().for_each(|(_, runs)| *runs = shard.of(runs));
        }
        Ok(chosen)
    }

    /// Where things are and what computes how much at once.
    ///
    /// # Errors
    /// Several jobs on a GPU.
    pub(super) fn resources(&self, common: &Common) -> Result<Resources> {
        let resources = common.resources();
        let jobs = match (self.jobs, resources.device.kind) {
            (None, DeviceKind::Cpu) => rayon::current_num_threads(),
            (None, _) => 1,
            (Some(jobs @ 2..), kind @ (DeviceKind::Cuda | DeviceKind::Wgpu)) => {
                let what = format!("--jobs {jobs} does not go with --device {}", kind.name());
                return Err(Error::usage(
                    what,
                    "a GPU computes one stage at a time; with several, run a process for each",
                ));
            }
            (Some(jobs), _) => jobs.into(),
        };
        Ok(Resources { jobs, ..resources })
    }
}

/// One of several parts of the runs.
#[derive(Clone, Copy, Debug)]
struct Shard {
    number: usize,
    parts: usize,
}

fn shard(text: &str) -> Result<Shard, String> {
    let help = || format!("`{text}` is no part such as 2/8 (from 1/8 to 8/8)");
    let (number, parts) = text.split_once('/').ok_or_else(help)?;
    let (number, parts) = (number.parse().map_err(|_| help())?, parts.parse().map_err(|_| help())?);
    if number >= 1 && number <= parts { Ok(Shard { number, parts }) } else { Err(help()) }
}

impl Shard {
    /// Neighbours stay together, since they share most stages.
    fn of<T: Clone>(self, all: &[T]) -> Vec<T> {
        let edge = |number: usize| all.len() * number / self.parts;
        all[edge(self.number - 1)..edge(self.number)].to_vec()
    }
}

fn refuse_namesakes(chosen: &[(Experiment, Vec<Run>)]) -> Result<()> {
    for (number, (second, _)) in chosen.iter().enumerate() {
        if let Some((first, _)) = chosen[..number].iter().find(|(first, _)| first.name == second.name) {
            let (name, first, second) = (&second.name, first.path.display(), second.path.display());
            let what = format!("{first} and {second} are both named \"{name}\", so they would share a results folder");
            return Err(Error::usage(what, "give one of them another `name`"));
        }
    }
    Ok(())
}

/// File systems end names at 255 bytes, and temporary files have longer ones.
fn refuse_long_names(chosen: &[(Experiment, Vec<Run>)]) -> Result<()> {
    const LONGEST: usize = 200;
    let Some((long, _)) = chosen.iter().find(|(experiment, _)| experiment.name.len() > LONGEST) else { return Ok(()) };
    let (file, count) = (long.path.display(), long.name.len());
    let what = format!("the name of {file} has {count} bytes, and a folder's can have {LONGEST}");
    Err(Error::usage(what, "give it a shorter `name`"))
}

/// Says which of the runs are others under another name: the usual slip of an ablation.
pub(super) fn repeats(runs: &[Run]) -> Option<String> {
    let pairs = spec::repeated(runs).into_iter().map(|(variant, other)| format!("{variant} (those of {other})"));
    let pairs: Vec<String> = pairs.collect();
    (!pairs.is_empty())
        .then(|| format!("these variants have the settings of another, key for key: {}", pairs.join(", ")))
}

fn no_match(pattern: &str, chosen: &[(Experiment, Vec<Run>)]) -> Error {
    let runs = chosen.iter().flat_map(|(experiment, _)| &experiment.runs);
    let variants: BTreeSet<&str> = runs.map(|run| run.spec.variant.as_str()).collect();
    let variants = Vec::from_iter(variants).join(", ");
    let help = format!("it is matched against variant names and run ids, * stands for anything; variants: {variants}");
    Error::usage(format!("no run matches --only {pattern}"), help)
}

/// A match in which only * is special: the names of swept variants hold brackets.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    WildMatchPattern::<'*', '\0'>::new(pattern).matches(text)
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("full", "full", true),
            ("full", "fuller", false),
            ("no_*", "no_filter", true),
            ("*_s*n", "no_seen", true),
            ("*", "", true),
            ("a*b", "ac", false),
            ("full[ratio=*]", "full[ratio=0.1]", true),
            ("f?ll", "full", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} against {text}");
        }
    }
}
