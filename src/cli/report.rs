//! `dmad report`: tables, claims and the page again, from the records alone.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::choice::Overrides;
use super::{Common, terminal};
use crate::console::{insist, say};
use crate::data::Catalog;
use crate::error::{Error, Result};
use crate::paper::Published;
use crate::paper::settings::PaperSettings;
use crate::paper::verdict::Verdict;
use crate::record::{Recorded, RecordedRun, Status};
use crate::report::frame::groups;
use crate::report::verdicts::Paper;
use crate::report::{Checked, Contents, Exporter, Figures, Rendered, Text};
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

/// True when every declared run is recorded, none failed, and everything could be written.
pub fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let mut fine = true;
    for target in &args.targets {
        let recorded = match read(target, &args.overrides, common) {
            // One of several that cannot be read keeps nobody from the others.
            Err(fault) if args.targets.len() > 1 => {
                insist!("{}: {fault}", target.display());
                fine = false;
                continue;
            }
            read => read?,
        };
        // What was never run with these settings has nothing that is worth the files of what was.
        let is_worth_it = args.overrides.set.is_empty() || recorded.missing.is_empty();
        fine &= tell(&recorded, is_worth_it, json)?;
        if !is_worth_it {
            continue;
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
        // The command is at its end: taking thousands of tables apart piece by piece would only be waited for.
        std::mem::forget(recorded);
    }
    Ok(fine)
}

/// Prints what an experiment's records say and, where that is worth it, writes it below its folder. False where it is not
/// written: a folder of somebody else can be looked at all the same.
fn tell(recorded: &Recorded, is_worth_it: bool, json: bool) -> Result<bool> {
    let printed = Printed::of(recorded)?;
    let made = Made::of(recorded, printed.as_ref())?;
    print(&made, recorded, json)?;
    let folder = recorded.folder.display();
    if !is_worth_it {
        let count = recorded.missing.len();
        say!("{count} runs are not recorded with what --set says, so the files below {folder} stay as they are");
        return Ok(false);
    }
    // What a record that is refused says of its files has not changed where only they are damaged.
    let views = if recorded.refused.is_empty() { record::refresh_views } else { record::rebuild_views };
    match views(&recorded.folder, &recorded.experiment).and_then(|()| made.write(recorded)) {
        Ok(paths) => say!("wrote {} files below {folder}; the page is {folder}/report.html", paths.len()),
        Err(fault) => {
            super::print_error(&fault);
            insist!("  what is printed is whole; files below {folder} are missing, or as they were");
            return Ok(false);
        }
    }
    Ok(true)
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
    let runs = declared.runs.iter().map(|run| run.spec.clone()).collect();
    let mut recorded = record::read_declared(&folder, runs, &kinds)?;
    refused(&recorded);
    recorded.experiment.restate(declared);
    Ok(recorded)
}

/// Names the records that are not shown because they cannot be trusted.
pub(super) fn refused(recorded: &Recorded) {
    for fault in &recorded.refused {
        insist!("not readable, so not shown: {fault}\n  help: {}", fault.help().unwrap_or_default());
    }
}

/// Prints what an experiment's records say, writes it below its folder, and returns the paths.
pub(super) fn show(recorded: &Recorded, json: bool) -> Result<Vec<PathBuf>> {
    let printed = Printed::of(recorded)?;
    let made = Made::of(recorded, printed.as_ref())?;
    print(&made, recorded, json)?;
    made.write(recorded)
}

/// Prints tables and claims, and says what is missing.
fn print(made: &Made, recorded: &Recorded, json: bool) -> Result<()> {
    made.figures.missing.iter().chain(&made.unjudged).for_each(|what| say!("{what}"));
    for (name, meant) in report::unused_names(recorded) {
        say!("note: [names] has `{name}`, and no variant, method, dataset or class is called so ({meant})");
    }
    if json {
        return super::print(&as_json(recorded, &made.claims));
    }
    let text = Text { width: terminal::width() };
    let mut told: Vec<&String> = Vec::new();
    for table in &made.tables {
        super::print(&text.table_but(table, &told))?;
        told.extend(&table.notes);
    }
    if !made.claims.is_empty() {
        super::print(&text.claims(&made.claims))?;
    }
    Ok(())
}

/// Makes the page of an experiment that is under way, and nothing else.
pub(super) fn renew(folder: &Path, kinds: &spec::Kinds) -> Result<()> {
    let recorded = record::read_so_far(folder, kinds)?;
    let printed = Printed::of(&recorded)?;
    Made::of(&recorded, printed.as_ref())?.write_page(&recorded).map(drop)
}

/// What numbers are held against.
struct Printed {
    published: Published,
    settings: PaperSettings,
    catalog: Catalog,
}

impl Printed {
    /// Read only for an experiment that is held against something: that takes longer than most reports.
    fn of(recorded: &Recorded) -> Result<Option<Self>> {
        if recorded.experiment.reproduces.is_empty() || recorded.runs.is_empty() {
            return Ok(None);
        }
        let settings = PaperSettings::built_in(&report::kinds())?;
        Ok(Some(Printed { published: Published::embedded()?, settings, catalog: Catalog::load(None)? }))
    }
}

/// What an experiment's records say.
#[derive(Default)]
struct Made<'a> {
    tables: Vec<Rendered>,
    claims: Vec<Checked<'a>>,
    figures: Figures,
    verdicts: Vec<Verdict<'a>>,
    /// Why there are no verdicts.
    unjudged: Option<String>,
}

impl<'a> Made<'a> {
    fn of(recorded: &'a Recorded, printed: Option<&'a Printed>) -> Result<Self> {
        if recorded.runs.is_empty() {
            return Ok(Made::default());
        }
        let (verdicts, unjudged) = verdicts(recorded, printed)?;
        Ok(Made {
            tables: report::tables(recorded)?,
            claims: report::claims::check(recorded)?,
            figures: report::draw_figures(recorded)?,
            verdicts,
            unjudged,
        })
    }

    /// Writes everything below the experiment's folder, and returns the paths.
    fn write(&self, recorded: &Recorded) -> Result<Vec<PathBuf>> {
        let mut paths = report::write(recorded, &self.tables, &self.claims)?;
        paths.extend(report::write_figures(recorded, &self.figures)?);
        paths.push(self.write_page(recorded)?);
        Ok(paths)
    }

    /// Writes the page: one that keeps itself up to date while somebody is at work on the experiment.
    fn write_page(&self, recorded: &Recorded) -> Result<PathBuf> {
        let status = record::read_status(&recorded.folder).filter(Status::is_live);
        let contents = Contents {
            recorded,
            tables: &self.tables,
            figures: &self.figures,
            claims: &self.claims,
            verdicts: &self.verdicts,
            live: status.as_ref(),
        };
        let path = recorded.folder.join("report.html");
        write_atomically(&path, report::page(&contents)?.as_bytes())?;
        if status.is_none() {
            record::end_live(&recorded.folder)?;
        }
        Ok(path)
    }
}

/// Verdicts, or why there are none.
type Judged<'a> = (Vec<Verdict<'a>>, Option<String>);

/// The verdicts on the table that an experiment reproduces.
fn verdicts<'a>(recorded: &'a Recorded, printed: Option<&'a Printed>) -> Result<Judged<'a>> {
    let Some(Printed { published, settings, catalog }) = printed else { return Ok((Vec::new(), None)) };
    let paper = Paper { published, settings, catalog };
    let (table, tolerances) = (&recorded.experiment.reproduces, &recorded.experiment.tolerances);
    // Tables and figures do not depend on what could be held against the printed ones; `dmad verdict` insists.
    match report::verdicts::compare(recorded, paper, table, tolerances) {
        Err(fault @ Error::Usage { .. }) => Ok((Vec::new(), Some(format!("no verdicts: {fault}")))),
        verdicts => Ok((verdicts?, None)),
    }
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
    let changed =
        recorded.runs.iter().filter_map(|run| Some((outdated(run)?, format!("{} ({})", run.id, run.spec.variant))));
    for (kind, runs) in groups(changed) {
        let which = match runs.len() {
            0..=3 => runs.join(", "),
            count => format!("{count} runs, such as {}", runs[0]),
        };
        say!("stale: {which}: the code of `{kind}` has changed; `dmad run` does it again");
    }
}

/// The first kind of a run's stages whose code has changed since.
pub(super) fn outdated(run: &RecordedRun) -> Option<String> {
    let mut stages = run.stages.iter();
    let changed = stages.find(|stage| run::is_outdated(&stage.kind, &stage.method, stage.version))?;
    Some(changed.kind.clone())
}

/// A folder is one; a file names the experiment whose folder is meant.
pub(super) fn folder(target: &Path, overrides: &Overrides, common: &Common) -> Result<PathBuf> {
    if target.is_dir() {
        return Ok(target.into());
    }
    Ok(common.results.join(spec::load_with(target, &report::kinds(), &[], &overrides.set)?.name))
}
