//! `dmad report`: the tables again, from the records alone.

use std::path::{Path, PathBuf};

use super::Common;
use crate::error::Result;
use crate::record::Standing;
use crate::run::{Progress, Session};
use crate::{methods, record, report, run, spec};

/// Print the tables of recorded experiments.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad report experiments/quickstart.toml
  dmad report results/quickstart")]
pub struct Args {
    /// Experiment files, or folders below results/
    #[arg(required = true, value_name = "FILE|DIR")]
    targets: Vec<PathBuf>,
}

/// True when every declared run is recorded and none failed.
pub fn run(args: &Args, common: &Common) -> Result<bool> {
    let mut fine = true;
    for target in &args.targets {
        let mut recorded = record::read_experiment(&folder(target, common)?, &methods::kinds())?;
        if target.is_file() {
            // What is shown, and how, may have been edited since the runs were recorded.
            let declared = spec::load(target, &methods::kinds(), &[])?;
            recorded.experiment.tables = declared.tables;
            recorded.experiment.figures = declared.figures;
        }
        record::rebuild_views(&recorded.folder, &recorded.experiment)?;
        let tables = report::tables(&recorded);
        tables.iter().try_for_each(|table| super::print(&table.text))?;
        for path in report::write(&recorded, &tables)? {
            eprintln!("wrote {}", path.display());
        }
        figures(&recorded)?;
        stale(&recorded, common)?;
        fine &= recorded.missing.is_empty() && recorded.metrics.iter().all(|row| row.status == "ok");
    }
    Ok(fine)
}

/// Writes the figures and says what is missing in them.
fn figures(recorded: &record::Recorded) -> Result<()> {
    let figures = report::write_figures(recorded)?;
    figures.paths.iter().for_each(|path| eprintln!("wrote {}", path.display()));
    figures.missing.iter().for_each(|what| eprintln!("{what}"));
    Ok(())
}

/// Names recorded runs that today's program, data or weights would give other numbers for. Where the data are not here,
/// nobody can know.
fn stale(recorded: &record::Recorded, common: &Common) -> Result<()> {
    let settings = common.settings();
    if !settings.store.is_dir() {
        eprintln!("whether the records are up to date was not checked: no store at {}", settings.store.display());
        return Ok(());
    }
    let session = Session::open(settings, common.catalog()?, Progress::silent())?;
    for run in run::forecast(&session, &recorded.experiment, &recorded.experiment.runs).runs {
        match (run.standing, run.missing) {
            (Standing::Stale(why), _) => {
                eprintln!("stale: {} ({}): {why}; `dmad run` does it again", run.id, run.variant)
            }
            (_, Some(fault)) => {
                eprintln!("whether {} ({}) is up to date was not checked: {fault}", run.id, run.variant)
            }
            _ => {}
        }
    }
    Ok(())
}

/// A folder is one; a file names the experiment whose folder is meant.
pub(super) fn folder(target: &Path, common: &Common) -> Result<PathBuf> {
    if target.is_dir() {
        return Ok(target.into());
    }
    Ok(common.results.join(spec::load(target, &methods::kinds(), &[])?.name))
}
