//! `dmad verdict`: what our recorded numbers say of the numbers that the paper printed.
//!
//! Owns: the printed forms and the scoreboard. Does not own: which rows belong to a printed value (`report::verdicts`),
//! or the rule (`paper::verdict`). Reads records alone; no model is run.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::Common;
use super::choice::Overrides;
use crate::console::say;
use crate::error::Result;
use crate::paper::Published;
use crate::paper::settings::PaperSettings;
use crate::paper::verdict::{Outcome, Tally, Verdict, tally};
use crate::record::Recorded;
use crate::report::sources;
use crate::report::verdicts::{HEAD, Paper, because, compare, doubt, not_run, texts};
use crate::{report, spec};

/// What recorded numbers say of the published ones.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dmad verdict experiments/paper/table4.toml
  dmad verdict results/table4 --table table4 --all --format json

  dmad verdict experiments/paper/*.toml                 and a scoreboard of all of them
  dmad verdict experiments/paper/table1.toml --sources  beside other publications' numbers as well

Only numbers on the paper's data, with its weights, whole, in its settings (experiments/paper, built in) and by its
definitions are judged. Data are recognised by class names and numbers of images, since nobody has published their
digest; for numbers and data of one's own (--published, --settings) by the `counts` of datasets.toml. Tolerances in percent: AUROC 1 for a mean over classes and 4 for a class, AP, F1max and PRO 3 and 8, unless the experiment's [tolerance] says otherwise.
An experiment that has no results yet counts as not run. Exit code 1: a judged number is not reproduced.")]
pub struct Args {
    /// Experiment files, or folders below results/
    #[arg(required = true, value_name = "FILE|DIR")]
    targets: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Table of the paper [default: the experiment's `reproduces`]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Other printed values than DMAD's
    #[arg(long, value_name = "FILE")]
    published: Option<PathBuf>,
    /// Experiment files that declare the settings behind printed values [default: those of DMAD's paper, for its values]
    #[arg(long, value_name = "FILE")]
    settings: Vec<PathBuf>,
    /// Show other publications' numbers for the same quantities as well, each with its split and training; they are not
    /// judged [default FILE: ADer's benchmark, the methods' papers and code]
    #[arg(long, value_name = "FILE", require_equals = true)]
    sources: Option<Option<PathBuf>>,
    /// Show values that were not run as well
    #[arg(long)]
    all: bool,
}

/// What the columns mean.
const NOTE: &str = "Data are recognised by counts and names. Percent; ± is the standard deviation over seeds; 95 % intervals by bootstrap over images for image metrics, over classes and seeds for pixel metrics.";

/// Prints the verdicts; true when no judged number is off.
pub(super) fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let published = args.published.as_deref().map_or_else(Published::embedded, Published::read)?;
    // The built-in catalog says what the paper's data are; one that the user writes says what others are.
    let catalog = common.catalog()?.with_published()?;
    let kinds = report::kinds();
    let settings = match (&args.published, &args.settings[..]) {
        (None, []) => PaperSettings::built_in(&kinds)?,
        (_, files) => PaperSettings::of(files.iter().map(|file| spec::load(file, &kinds, &[])).collect::<Result<_>>()?),
    };
    let paper = Paper { published: &published, settings: &settings, catalog: &catalog };
    let second = args.sources.as_ref().map(|path| Published::second(path.as_deref())).transpose()?;
    let mut boards = Vec::new();
    for target in &args.targets {
        match board(target, args, common, paper, second.as_ref())? {
            Some(board) => boards.push(board),
            None => say!("{}: reproduces no table of the paper, passed over", target.display()),
        }
    }
    if json {
        super::print(&as_json(&boards))?;
    } else {
        boards.iter().try_for_each(|board| super::print(&text(board, &published, args.all)))?;
        if boards.len() > 1 {
            super::print(&scoreboard(&boards))?;
        }
    }
    let off = |verdict: &Verdict| matches!(verdict.outcome, Outcome::Better | Outcome::Worse);
    Ok(!boards.iter().flat_map(|board| &board.verdicts).any(off))
}

/// The verdicts of one experiment.
struct Board<'a> {
    experiment: String,
    table: String,
    verdicts: Vec<Verdict<'a>>,
    sources: Vec<Verdict<'a>>,
}

/// `None` for one of several that reproduces no table. A folder must hold records; an experiment file that was never run has none, and all of its table was not run.
fn board<'a>(
    target: &Path,
    args: &Args,
    common: &Common,
    paper: Paper<'a>,
    second: Option<&'a Published>,
) -> Result<Option<Board<'a>>> {
    let published = paper.published;
    let is_recorded = target.is_dir() || super::report::folder(target, &args.overrides, common)?.is_dir();
    let mut recorded = is_recorded.then(|| super::report::read(target, &args.overrides, common)).transpose()?;
    for run in recorded.iter_mut().flat_map(|recorded| &mut recorded.runs) {
        let changed = super::report::outdated(run);
        run.labels.extend(changed.map(|kind| format!("stale: the code of `{kind}` has changed")));
    }
    let (name, reproduces, tolerances) = match &recorded {
        Some(Recorded { experiment, .. }) => {
            (experiment.name.clone(), experiment.reproduces.clone(), experiment.tolerances)
        }
        None => {
            let declared = spec::load_with(target, &report::kinds(), &[], &args.overrides.set)?;
            (declared.name, declared.reproduces, declared.tolerances)
        }
    };
    let table = args.table.clone().unwrap_or(reproduces);
    let beside = |second| sources::compare(recorded.as_ref(), second, paper.catalog, &tolerances);
    let sources = second.map(beside).transpose()?.unwrap_or_default();
    if table.is_empty() && sources.iter().any(|source| source.mean.is_some()) {
        return Ok(Some(Board { experiment: name, table, verdicts: Vec::new(), sources }));
    }
    if table.is_empty() && args.targets.len() > 1 {
        return Ok(None);
    }
    // The names of the paper's tables live as long as its values.
    let mut names = published.cells().iter().map(|cell| cell.key.table.as_str());
    let Some(known) = names.find(|name| *name == table) else {
        return Err(report::verdicts::unknown_table(published, &table, &name));
    };
    let verdicts = match &recorded {
        Some(recorded) => compare(recorded, paper, known, &tolerances)?,
        None => not_run(published, known, &name, &tolerances)?,
    };
    Ok(Some(Board { experiment: name, table, verdicts, sources }))
}

fn text(board: &Board, published: &Published, all: bool) -> String {
    let shown = || board.verdicts.iter().filter(|verdict| all || verdict.outcome != Outcome::NotRun);
    let row = |verdict: &Verdict| {
        let because = because(verdict).into_iter().chain(doubt(published, verdict.cell)).collect::<Vec<_>>();
        [&texts(verdict)[..], &[because.join("\n")]].concat()
    };
    let line = match board.table.as_str() {
        "" => format!("{}: reproduces no table of the paper{}", board.experiment, beside(board, all)),
        table => format!("{table}: {}{}", count(board), beside(board, all)),
    };
    match shown().count() {
        0 => line,
        _ => format!("{}. {NOTE}\n{}\n{line}", board.experiment, report::ruled(&HEAD, 1..7, shown().map(row))),
    }
}

/// The paper's values with other publications' below each, and what only these have.
fn beside(board: &Board, all: bool) -> String {
    let mut rows = Vec::new();
    for verdict in board.verdicts.iter().filter(|verdict| all || verdict.outcome != Outcome::NotRun) {
        let others = sources::of(&board.sources, &verdict.cell.key);
        rows.extend((!others.is_empty()).then(|| sources::row(verdict, true)));
        rows.extend(others.into_iter().map(|source| sources::row(source, false)));
    }
    rows.extend(sources::only(&board.sources, &board.verdicts).map(|source| sources::row(source, false)));
    if rows.is_empty() {
        return String::new();
    }
    let head = "Beside other publications' numbers, which are not judged. Percent.";
    format!("\n\n{head}\n{}", report::ruled(&sources::HEAD, 4..7, rows.into_iter()))
}

fn count(board: &Board) -> Tally {
    tally(board.verdicts.iter().map(|verdict| &verdict.outcome))
}

/// One line per experiment, and one for all.
fn scoreboard(boards: &[Board]) -> String {
    let row = |name: String, table: String, count: &Tally| {
        let Tally { reproduced, better, worse, not_comparable, not_run } = *count;
        let numbers = [reproduced, better, worse, not_comparable, not_run];
        let all = numbers.iter().sum::<usize>();
        [vec![name, table, all.to_string()], numbers.map(|number| number.to_string()).to_vec()].concat()
    };
    let mut rows: Vec<Vec<String>> =
        boards.iter().map(|board| row(board.experiment.clone(), board.table.clone(), &count(board))).collect();
    let total = tally(boards.iter().flat_map(|board| &board.verdicts).map(|verdict| &verdict.outcome));
    rows.push(row("all".into(), String::new(), &total));
    let head = ["experiment", "table", "printed", "reproduced", "better", "worse", "not comparable", "not run"];
    format!("Scoreboard\n{}", super::terminal::table(&head, rows.into_iter()))
}

fn as_json(boards: &[Board]) -> String {
    let named = |board: &Board, verdict: &Verdict, others: &[&Verdict]| {
        let key = &verdict.cell.key;
        let mut row = json!({
            "experiment": board.experiment, "table": key.table, "dataset": key.dataset, "class": key.class,
            "method": key.method, "variant": key.variant, "anomalies_per_class": key.anomalies_per_class,
            "metric": key.metric.as_str(), "printed": verdict.cell.value.text(), "mean": verdict.mean,
            "sd": verdict.sd, "seeds": verdict.seeds, "low": verdict.interval.map(|interval| interval.low),
            "high": verdict.interval.map(|interval| interval.high), "difference": verdict.difference,
            "tolerance": verdict.tolerance, "readings": verdict.readings, "verdict": verdict.outcome.as_str(), "because": because(verdict),
        });
        if !board.sources.is_empty() {
            row["sources"] = sources::json(others);
        }
        row
    };
    let of = |board: &Board| -> Vec<Json> {
        let judged =
            board.verdicts.iter().map(|verdict| named(board, verdict, &sources::of(&board.sources, &verdict.cell.key)));
        let only = sources::only(&board.sources, &board.verdicts).map(|source| {
            let mut row = named(board, source, &[source]);
            (row["table"], row["printed"], row["difference"]) = (Json::Null, Json::Null, Json::Null);
            (row["verdict"], row["because"]) = ("not judged".into(), json!([]));
            row
        });
        judged.chain(only).collect()
    };
    format!("{:#}", boards.iter().flat_map(of).collect::<Json>())
}
