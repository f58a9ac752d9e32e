//! `dmad verdict`: what our recorded numbers say of the numbers that the paper printed.
//!
//! Owns: the printed forms and the scoreboard. Does not own: which rows belong to a printed value (`report::verdicts`),
//! or the rule (`paper::verdict`). Reads records alone; no model is run.

use std::path::{Path, PathBuf};

use comfy_table::{Cell as TextCell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;

use super::Common;
use crate::data::Catalog;
use crate::error::Result;
use crate::paper::Published;
use crate::paper::verdict::{Outcome, Tally, Verdict, tally};
use crate::report::verdicts::{because, compare, doubt, not_run};
use crate::{report, spec};

/// What recorded numbers say of the published ones.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dmad verdict experiments/paper/table4.toml
  dmad verdict results/table4 --table table4 --all --format json

  dmad verdict experiments/paper/*.toml                 and a scoreboard of all of them

Only numbers on the paper's data, with its weights, whole and by its definitions are judged; tolerances in percent: AUROC
1 for a mean over classes and 4 for a class, AP, F1max and PRO 3 and 8, unless the experiment's [tolerance] says otherwise.
An experiment that has no results yet counts as not run. Exit code 1: a judged number is not reproduced.")]
pub struct Args {
    /// Experiment files, or folders below results/
    #[arg(required = true, value_name = "FILE|DIR")]
    targets: Vec<PathBuf>,
    /// Table of the paper [default: the experiment's `reproduces`]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Other printed values than DMAD's
    #[arg(long, value_name = "FILE")]
    published: Option<PathBuf>,
    /// Show values that were not run as well
    #[arg(long)]
    all: bool,
}

/// What the columns mean.
const NOTE: &str = "Percent; ± is the standard deviation over seeds; 95 % intervals by bootstrap over images for image metrics, over classes and seeds for pixel metrics.";

/// Prints the verdicts; true when no judged number is off.
///
/// # Errors
/// A target without records, no or an unknown table, records in which a printed value has several counterparts.
pub(super) fn run(args: &Args, common: &Common, json: bool) -> Result<bool> {
    let published = args.published.as_deref().map_or_else(Published::embedded, Published::read)?;
    // The built-in catalog says what the paper's data are; one that the user writes says what the user's are.
    let catalog = Catalog::load(None)?;
    let mut boards = Vec::new();
    for target in &args.targets {
        match board(target, args, common, &published, &catalog)? {
            Some(board) => boards.push(board),
            None => eprintln!("{}: reproduces no table of the paper, passed over", target.display()),
        }
    }
    if json {
        super::print(&as_json(&boards))?;
    } else {
        for board in &boards {
            super::print(&text(board, &published, args.all))?;
        }
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
}

/// `None` for one of several that reproduces no table. A folder must hold records; an experiment file that was never run has none, and all of its table was not run.
fn board<'a>(
    target: &Path,
    args: &Args,
    common: &Common,
    published: &'a Published,
    catalog: &Catalog,
) -> Result<Option<Board<'a>>> {
    let folder = super::report::folder(target, common)?;
    let named = |own: &str| args.table.clone().unwrap_or_else(|| own.to_string());
    // The names of the paper's tables live as long as its values.
    let place = |table: &str| published.cells().iter().map(|cell| cell.key.table.as_str()).find(|name| *name == table);
    if !target.is_dir() && !folder.is_dir() {
        let experiment = spec::load(target, &report::kinds(), &[])?;
        let table = named(&experiment.reproduces);
        if table.is_empty() && args.targets.len() > 1 {
            return Ok(None);
        }
        let verdicts = match place(&table) {
            Some(known) => not_run(published, known, &experiment.name, &experiment.tolerances)?,
            None => return Err(report::verdicts::unknown_table(published, &table, &experiment.name)),
        };
        return Ok(Some(Board { experiment: experiment.name, table, verdicts }));
    }
    let recorded = super::report::read(target, common)?;
    let table = named(&recorded.experiment.reproduces);
    if table.is_empty() && args.targets.len() > 1 {
        return Ok(None);
    }
    let Some(known) = place(&table) else {
        return Err(report::verdicts::unknown_table(published, &table, &recorded.experiment.name));
    };
    let verdicts = compare(&recorded, published, known, catalog, &recorded.experiment.tolerances)?;
    Ok(Some(Board { experiment: recorded.experiment.name.clone(), table, verdicts }))
}

fn text(board: &Board, published: &Published, all: bool) -> String {
    let verdicts = &board.verdicts;
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "printed value",
        "printed",
        "ours",
        "seeds",
        "95 %",
        "difference",
        "tolerance",
        "verdict",
        "because",
    ]);
    let mut shown = 0;
    for verdict in verdicts.iter().filter(|verdict| all || verdict.outcome != Outcome::NotRun) {
        let right = |text: String| TextCell::new(text).set_alignment(CellAlignment::Right);
        let mean = match (verdict.mean, verdict.sd) {
            (Some(mean), Some(sd)) => format!("{mean:.1} ± {sd:.1}"),
            (Some(mean), None) => format!("{mean:.1}"),
            (None, _) => "–".into(),
        };
        let because = because(verdict).into_iter().chain(doubt(published, verdict.cell)).collect::<Vec<_>>();
        table.add_row([
            TextCell::new(&verdict.cell.key),
            right(verdict.cell.value.to_string()),
            right(mean),
            right(verdict.seeds.to_string()),
            right(verdict.interval.map_or("–".into(), |i| format!("[{:.1}, {:.1}]", i.low, i.high))),
            right(verdict.difference.map_or("–".into(), |difference| format!("{difference:+.1}"))),
            right(format!("{:.1}", verdict.tolerance)),
            TextCell::new(verdict.outcome.as_str()),
            TextCell::new(because.join("\n")),
        ]);
        shown += 1;
    }
    let line = format!("{}: {}", board.table, count(board));
    if shown == 0 { line } else { format!("{}. {NOTE}\n{table}\n{line}", board.experiment) }
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
    format!("Scoreboard\n{}", report::plain(&head, rows.into_iter()))
}

fn as_json(boards: &[Board]) -> String {
    let rows: Vec<_> = boards
        .iter()
        .flat_map(|board| board.verdicts.iter().map(move |verdict| (board, verdict)))
        .map(|(board, verdict)| {
            let key = &verdict.cell.key;
            json!({
                "experiment": board.experiment,
                "table": key.table,
                "dataset": key.dataset,
                "class": key.class,
                "method": key.method,
                "variant": key.variant,
                "anomalies_per_class": key.anomalies_per_class,
                "metric": key.metric.as_str(),
                "printed": verdict.cell.value.text(),
                "mean": verdict.mean,
                "sd": verdict.sd,
                "seeds": verdict.seeds,
                "low": verdict.interval.map(|interval| interval.low),
                "high": verdict.interval.map(|interval| interval.high),
                "difference": verdict.difference,
                "tolerance": verdict.tolerance,
                "verdict": verdict.outcome.as_str(),
                "because": because(verdict),
            })
        })
        .collect();
    format!("{:#}", json!(rows))
}
