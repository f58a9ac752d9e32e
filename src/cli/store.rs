//! `dmad store`: how large the store is, whether it is whole, and what can go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::choice::Overrides;
use super::{Common, bases};
use crate::console::say;
use crate::error::{Error, Result};
use crate::run::{self, Progress, Session};
use crate::store::{Garbage, Store};
use crate::{report, spec};

/// Look after the store of cached artifacts.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "\
Examples:
  dmad store size
  dmad store verify
  dmad store gc experiments/*.toml              what none of these needs; nothing is removed yet
  dmad store gc experiments/*.toml --delete")]
pub(super) enum StoreCommand {
    /// Bytes and artifacts by kind of stage.
    Size,
    /// Read every artifact and compare it with its checksum.
    Verify,
    /// Find what nobody needs: leftovers of killed processes, other formats, and what the named experiments do not use.
    Gc {
        /// Experiment files whose artifacts are to stay; without any, all whole artifacts stay
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        overrides: Overrides,
        /// Remove it
        #[arg(long)]
        delete: bool,
    },
}

/// True when nothing is wrong.
pub(super) fn run(command: &StoreCommand, common: &Common, as_json: bool) -> Result<bool> {
    if !common.store.is_dir() {
        let help = "name it with --store DIR, or run something first";
        return Err(Error::store(&common.store, "there is no store here", help));
    }
    // Before anything is written there.
    Store::refuse_foreign(&common.store)?;
    match command {
        StoreCommand::Size => size(&Store::open(&common.store)?, as_json).map(|()| true),
        StoreCommand::Verify => verify(&Store::open(&common.store)?, as_json),
        StoreCommand::Gc { files, overrides, delete } => {
            gc((files, overrides), *delete, common, as_json).map(|()| true)
        }
    }
}

fn size(store: &Store, as_json: bool) -> Result<()> {
    let entries = store.entries()?;
    let kinds = sums(entries.iter().map(|entry| (entry.kind.as_str(), entry.bytes)));
    let total = kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
    if as_json {
        let kinds: BTreeMap<_, _> =
            kinds.iter().map(|(kind, (count, bytes))| (kind, json!({ "artifacts": count, "bytes": bytes }))).collect();
        return super::print(&json!({ "kinds": kinds, "artifacts": total.0, "bytes": total.1 }).to_string());
    }
    let row = |name: &str, (count, bytes): (usize, u64)| {
        vec![name.to_string(), count.to_string(), format!("{:.1}", bytes as f64 / 1e6)]
    };
    let rows = kinds.iter().map(|(kind, sums)| row(kind, *sums)).chain([row("all", total)]);
    super::print(&super::terminal::table(&["stages", "artifacts", "MB"], rows))
}

/// How many things of each name there are, and how many bytes they have.
fn sums<'a>(things: impl Iterator<Item = (&'a str, u64)>) -> BTreeMap<&'a str, (usize, u64)> {
    let mut sums: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for (name, bytes) in things {
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + 1, sum.1 + bytes);
    }
    sums
}

fn verify(store: &Store, as_json: bool) -> Result<bool> {
    let faults = store.verify()?;
    let count = store.entries()?.len();
    if as_json {
        super::print(&json!({ "artifacts": count, "faults": faults }).to_string())?;
    } else {
        faults.iter().try_for_each(|fault| super::print(fault))?;
        let advice = match faults.len() {
            0 => "",
            _ => "; `dmad run` makes what it needs of them again, `dmad store gc --delete` removes them",
        };
        super::print(&format!("{count} artifacts, {} damaged{advice}", faults.len()))?;
    }
    Ok(faults.is_empty())
}

fn gc((files, overrides): (&[PathBuf], &Overrides), delete: bool, common: &Common, as_json: bool) -> Result<()> {
    let needed = if files.is_empty() { None } else { Some(needed(files, overrides, common)?) };
    let store = Store::open_alone(&common.store)?;
    let mut garbage = store.garbage(needed.as_ref())?;
    // Manifests first, so that no artifact ever has a manifest and no data.
    garbage.sort_by_key(|file| (file.path.extension().is_none_or(|extension| extension != "json"), file.path.clone()));
    if delete {
        for file in &garbage {
            std::fs::remove_file(&file.path).map_err(Error::io("remove", &file.path))?;
        }
    }
    let total: u64 = garbage.iter().map(|file| file.bytes).sum();
    if as_json {
        let told =
            |file: &Garbage| json!({ "path": file.path.display().to_string(), "bytes": file.bytes, "why": file.why });
        let files: Json = garbage.iter().map(told).collect();
        return super::print(&json!({ "deleted": delete, "bytes": total, "files": files }).to_string());
    }
    for (why, (count, bytes)) in sums(garbage.iter().map(|file| (file.why, file.bytes))) {
        super::print(&format!("{count} files, {:.1} MB: {why}", bytes as f64 / 1e6))?;
    }
    let verb = if delete { "removed" } else { "would be removed (--delete removes them)" };
    super::print(&format!("{} files, {:.1} MB {verb}", garbage.len(), total as f64 / 1e6))
}

/// Artifacts that the experiments use. One that cannot be planned is an error: everything of it would be lost.
fn needed(files: &[PathBuf], overrides: &Overrides, common: &Common) -> Result<BTreeSet<(String, String)>> {
    let kinds = report::kinds();
    let session = Session::open(common.resources(), common.catalog()?, Progress::silent())?;
    let mut needed = BTreeSet::new();
    for file in files {
        let experiment = spec::load_with(file, &kinds, &[], &overrides.set)?;
        let forecast = run::forecast(&session, &experiment, &experiment.runs);
        if let Some(fault) = forecast.runs.iter().find_map(|run| run.fault.as_ref()) {
            if bases::is_base(file, &experiment.name, files, common) {
                say!("{}", bases::passed_over(file, fault));
                continue;
            }
            let what = format!("{} cannot be planned: {fault}", file.display());
            return Err(Error::usage(what, "leave it out only if its artifacts may go"));
        }
        needed.extend(forecast.stages.into_iter().map(|stage| (stage.kind.to_string(), stage.key)));
    }
    Ok(needed)
}
