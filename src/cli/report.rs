//! `dmad report`: tables, claims and the page again, from the records alone.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::Common;
use super::choice::Overrides;
use crate::console::say;
use crate::data::Catalog;
use crate::error::{Error, Result};
use crate::paper::Published;
use crate::paper::settings::PaperSettings;
use crate::record::Recorded;
use crate::report::verdicts::Paper;
use crate::report::{Checked, Exporter, Text};
use crate::store::write_atomically;
use crate::{record, report, run, spec};

/// Print the tables and claims of recorded experiments, and write them as Markdown, CSV, LaTeX and one page.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad report experiments/quickstart.toml
  dmad report experiments/quickstart.toml --set image.size=320     what `run` with the same --set recorded
  dmad report results/quickstart                                    what was run last")]
pub struct Args {
    /// Experiment files, or folders below results/
    #[arg(required = true, value_name = "FILE|DIR")]
    targets: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

/// True when every declared run is recorded and none failed.
pub fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let mut fine = true;
    for target in &args.targets {
        let recorded = match read(target, &args.overrides, common) {
            // One of several that cannot be read keeps nobody from the others.
            Err(fault) if args.targets.len() > 1 => {
                say!("{}: {fault}", target.display());
                fine = false;
                continue;
            }
            read => read?,
        };
        record::rebuild_views(&recorded.folder, &recorded.experiment)?;
        for path in show(&recorded, json)? {
            say!("wrote {}", path.display());
        }
        stale(&recorded);
        if !recorded.others.is_empty() {
            let (count, folder) = (recorded.others.len(), recorded.folder.join("runs"));
            let what = format!("{count} recorded runs of other settings are not shown ({})", folder.display());
            say!("{what}; `dmad run` makes what is declared now");
        }
        fine &= recorded.missing.is_empty()
            && recorded.refused.is_empty()
            && recorded.metrics.iter().all(|row| row.status == "ok");
    }
    Ok(fine)
}

/// The records of an experiment file or of a folder. What a file declares today is shown, whatever its folder was last
/// written for: runs that were recorded before count again, others are missing. Recorded runs of further seeds stay.
pub(super) fn read(target: &Path, overrides: &Overrides, common: &Common) -> Result<Recorded> {
    let kinds = report::kinds();
    if !target.is_file() {
        let recorded = record::read_experiment(&folder(target, overrides, common)?, &kinds)?;
        refused(&recorded);
        return Ok(recorded);
    }
    let declared = spec::load_with(target, &kinds, &[], &overrides.set)?;
    let folder = common.results.join(&declared.name);
    let runs = declared.runs.into_iter().map(|run| run.spec).collect();
    let mut recorded = record::read_declared(&folder, runs, &kinds)?;
    refused(&recorded);
    let experiment = &mut recorded.experiment;
    experiment.title = declared.title;
    experiment.metrics = declared.metrics;
    experiment.tables = declared.tables;
    experiment.figures = declared.figures;
    experiment.claims = declared.claims;
    experiment.tolerances = declared.tolerances;
    experiment.reproduces = declared.reproduces;
    Ok(recorded)
}

/// Names the records that are not shown because they cannot be trusted.
pub(super) fn refused(recorded: &Recorded) {
    for fault in &recorded.refused {
        say!("not readable, so not shown: {fault}\n  help: {}", fault.help().unwrap_or_default());
    }
}

/// Prints what an experiment's records say, writes it below its folder, and returns the paths.
pub(super) fn show(recorded: &Recorded, json: bool) -> Result<Vec<PathBuf>> {
    let tables = report::tables(recorded)?;
    let claims = report::claims::check(recorded)?;
    let mut paths = report::write(recorded, &tables, &claims)?;
    let figures = report::draw_figures(recorded)?;
    paths.extend(report::write_figures(recorded, &figures)?);
    figures.missing.iter().for_each(|what| say!("{what}"));
    if json {
        super::print(&as_json(recorded, &claims))?;
    } else {
        let text = Text { width: width() };
        tables.iter().try_for_each(|table| super::print(&text.table(table)))?;
        if !claims.is_empty() {
            super::print(&text.claims(&claims))?;
        }
    }
    let (published, catalog) = (Published::embedded()?, Catalog::load(None)?);
    let settings = PaperSettings::built_in(&report::kinds())?;
    let paper = Paper { published: &published, settings: &settings, catalog: &catalog };
    let (table, tolerances) = (&recorded.experiment.reproduces, &recorded.experiment.tolerances);
    let verdicts = match table.is_empty() {
        true => Vec::new(),
        // Tables and figures do not depend on what could be held against the printed ones; `dmad verdict` insists.
        false => match report::verdicts::compare(recorded, paper, table, tolerances) {
            Err(fault @ Error::Usage { .. }) => {
                say!("no verdicts: {fault}");
                Vec::new()
            }
            verdicts => verdicts?,
        },
    };
    let path = recorded.folder.join("report.html");
    write_atomically(&path, report::page(recorded, &tables, &figures, &claims, &verdicts).as_bytes())?;
    paths.push(path);
    Ok(paths)
}

/// Characters in a line of the terminal; `None` when the output goes elsewhere. `COLUMNS` wins.
fn width() -> Option<usize> {
    let named = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|&width| width >= 20);
    let terminal = || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    named.or_else(terminal)
}

fn as_json(recorded: &Recorded, claims: &[Checked]) -> String {
    let rows = recorded.metrics.iter().map(|row| {
        json!({
            "run": row.run, "variant": row.variant, "method": row.method, "dataset": row.dataset,
            "class": row.class, "setting": row.setting, "seen_anomalies": row.seen_anomalies, "seed": row.seed,
            "metric": row.metric, "value": row.value, "status": row.status, "error": row.error,
        })
    });
    let (rows, claims): (Json, Json) = (rows.collect(), claims.iter().map(Checked::json).collect());
    let experiment = &recorded.experiment.name;
    json!({ "experiment": experiment, "rows": rows, "claims": claims, "missing": recorded.missing }).to_string()
}

/// Names recorded runs that today's program would give other numbers for: a record tells the version of every stage behind
/// it. Whether data or weights have changed since, `dmad plan` finds out.
fn stale(recorded: &Recorded) {
    for run in &recorded.runs {
        let changed = run.stages.iter().find(|stage| run::is_outdated(&stage.kind, &stage.method, stage.version));
        if let Some(stage) = changed {
            let (id, variant) = (&run.id, &run.spec.variant);
            say!("stale: {id} ({variant}): the code of `{}` has changed; `dmad run` does it again", stage.kind);
        }
    }
}

/// A folder is one; a file names the experiment whose folder is meant.
pub(super) fn folder(target: &Path, overrides: &Overrides, common: &Common) -> Result<PathBuf> {
    if target.is_dir() {
        return Ok(target.into());
    }
    Ok(common.results.join(spec::load_with(target, &report::kinds(), &[], &overrides.set)?.name))
}
