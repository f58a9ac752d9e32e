//! `dmad plan`: what a run would do, before it does it.

use serde_json::json;

use super::faults::once;
use super::{
    Common,
    choice::{Choice, repeats},
};
use crate::device::DeviceKind;
use crate::error::{Error, Result};
use crate::record::Standing;
use crate::report::frame::distinct;
use crate::run::{self, Forecast, Progress, RunForecast, Session, StageForecast, duration};
use crate::spec::Experiment;

/// Show what a run would do.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad plan experiments/quickstart.toml
  dmad plan experiments/real/mini.toml --seeds 0,1,2,3 --stages
  dmad plan experiments/quickstart.toml --set image.size=320
Times come from what stages of the same kind have taken on this machine; a ~ marks kinds not measured yet.")]
pub struct Args {
    #[command(flatten)]
    choice: Choice,
    /// List every stage, not only their sums by kind
    #[arg(long)]
    stages: bool,
}

/// True when nothing is missing.
pub fn run(args: &Args, common: &Common, as_json: bool) -> Result<bool> {
    let chosen = args.choice.load()?;
    let catalog = common.catalog()?.beside(&args.choice.selection.files);
    let session = Session::open(args.choice.resources(common)?, catalog, Progress::silent())?;
    let mut fine = true;
    for (experiment, runs) in &chosen {
        run::check_names(&session, experiment)?;
        let forecast = run::forecast(&session, experiment, runs);
        fine &= forecast.runs.iter().all(|run| run.fault.is_none());
        match as_json {
            true => super::print(&as_json_text(experiment, &forecast))?,
            false => {
                let note = repeats(runs).map(|note| format!("Note: {note}\n")).unwrap_or_default();
                super::print(&(text(&session, experiment, &forecast, args.stages) + &note))?;
            }
        }
    }
    Ok(fine)
}

fn text(session: &Session, experiment: &Experiment, forecast: &Forecast, every_stage: bool) -> String {
    let runs = super::terminal::table(
        &["run", "variant", "method", "dataset", "seen", "seed", "record", "stages to do"],
        forecast.runs.iter().map(|run| {
            let RunForecast { spec, to_do, stages, .. } = run;
            let names = [&spec.id, &spec.variant, spec.method_name(), &spec.dataset].map(str::to_string);
            let numbers = [spec.protocol.seen.count as u64, spec.seed].map(|number| number.to_string());
            [&names[..], &numbers, &[record(run), format!("{to_do} of {}", stages.len())]].concat()
        }),
    );
    let head = ["stages", "distinct", "cached", "to do", "uses", "Gop to do", "MB to write", "peak MB", "seconds"];
    let kinds = distinct(forecast.stages.iter().map(|stage| stage.kind));
    let stages = super::terminal::table(&head, kinds.into_iter().map(|kind| sums(session, forecast, kind)));
    let mut out = match forecast.runs.iter().all(|run| run.fault.is_some()) {
        true => format!("{}\n", experiment.title),
        false => format!("{}\n{runs}\n{stages}\n", experiment.title),
    };
    if every_stage {
        let head = ["stage", "kind", "key", "state", "runs", "seconds"];
        out += &super::terminal::table(
            &head,
            forecast.stages.iter().map(|stage| {
                let seconds = if stage.to_do { format!("{:.1}", stage.seconds) } else { String::new() };
                let texts = [&stage.label, stage.kind, &stage.key[..12], &state(stage)].map(str::to_string);
                [&texts[..], &[stage.runs.to_string(), seconds]].concat()
            }),
        );
        out += "\n";
    }
    out + &closing(session, forecast)
}

/// What is wrong with a run, with what to do about it.
fn faults(run: &RunForecast) -> Vec<String> {
    let parts = run.fault.iter().flat_map(Error::parts);
    let told = parts.map(|fault| match fault.help() {
        Some(help) => format!("{fault} ({help})"),
        None => fault.to_string(),
    });
    told.collect()
}

/// How a run's record stands, in words.
fn record(run: &RunForecast) -> String {
    match (&run.fault, run.standing) {
        (Some(_), _) => "cannot be planned".into(),
        (None, Standing::Absent) => "to do".into(),
        (None, Standing::Failed) => "failed, to do".into(),
        (None, Standing::Current) => "up to date".into(),
        (None, Standing::Stale(why)) => format!("stale: {why}"),
    }
}

fn state(stage: &StageForecast) -> String {
    match (stage.cached, stage.to_do, stage.epochs_done) {
        (true, ..) => "cached".into(),
        (false, true, Some((done, epochs))) => format!("{done} of {epochs} epochs done"),
        (false, true, None) => "to do".into(),
        (false, false, _) => "not needed".into(),
    }
}

/// One row of the table of kinds.
fn sums(session: &Session, forecast: &Forecast, kind: &'static str) -> Vec<String> {
    let all: Vec<&StageForecast> = forecast.stages.iter().filter(|stage| stage.kind == kind).collect();
    let to_do: Vec<&StageForecast> = all.iter().copied().filter(|stage| stage.to_do).collect();
    let operations: f64 = to_do.iter().map(|stage| stage.work.operations).sum();
    let bytes: u64 = to_do.iter().map(|stage| stage.work.bytes).sum();
    let memory = to_do.iter().map(|stage| stage.work.memory_bytes).max().unwrap_or(0);
    let seconds: f64 = to_do.iter().map(|stage| stage.seconds).sum();
    let guessed = if session.rates.is_measured(kind) { "" } else { "~" };
    vec![
        kind.into(),
        all.len().to_string(),
        all.iter().filter(|stage| stage.cached).count().to_string(),
        to_do.len().to_string(),
        all.iter().map(|stage| stage.runs).sum::<usize>().to_string(),
        format!("{:.1}", operations / 1e9 + 0.0), // an empty sum of floats is −0
        format!("{:.1}", bytes as f64 / 1e6),
        format!("{:.0}", memory as f64 / 1e6),
        if to_do.is_empty() { String::new() } else { format!("{guessed}{seconds:.1}") },
    ]
}

/// What a GPU must hold.
fn on_device(session: &Session, forecast: &Forecast) -> String {
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    match (session.resources.device.kind, forecast.device_bytes()) {
        (DeviceKind::Cpu, _) => String::new(),
        (_, (needed, resident)) => {
            format!(", {:.2} GB there, and {:.2} GB more where there is room", gigabytes(needed), gigabytes(resident))
        }
    }
}

/// Totals, and what is missing.
fn closing(session: &Session, forecast: &Forecast) -> String {
    let count = forecast.to_do().count();
    let unplanned = forecast.runs.iter().filter(|run| run.fault.is_some()).count();
    let mut out = if count == 0 && unplanned == 0 {
        "Nothing to compute.\n".to_string()
    } else if count == 0 {
        let rest = if unplanned < forecast.runs.len() { "; the others need no stage" } else { "" };
        format!("{unplanned} of {} runs cannot be planned{rest}.\n", forecast.runs.len())
    } else {
        let free = fs4::available_space(session.store.root()).ok();
        let free = free.map(|free| format!(" of {:.1} GB free", free as f64 / 1e9));
        format!(
            "To do: {count} stages, about {}, {:.2} GB of disk{}, at most {:.2} GB of memory in a stage ({:.2} GB allowed) on {}{}.\n",
            duration(forecast.seconds()),
            forecast.bytes() as f64 / 1e9,
            free.unwrap_or_default(),
            forecast.memory_bytes() as f64 / 1e9,
            session.resources.memory_bytes as f64 / 1e9,
            session.resources.device,
            on_device(session, forecast),
        )
    };
    // What is wrong in the file is shown there.
    let told = |fault: &Error| match (fault, fault.help()) {
        (Error::Spec(diagnostic), _) => format!("Wrong: {}\n", diagnostic.render()),
        (fault, Some(help)) => format!("Missing: {fault} ({help})\n"),
        (fault, None) => format!("Missing: {fault}\n"),
    };
    let faults = forecast.runs.iter().filter_map(|run| run.fault.as_ref()).flat_map(Error::parts);
    out += &once(faults.map(told)).concat();
    let read = distinct(forecast.runs.iter().map(|run| (&run.spec.dataset, &run.spec.classes)));
    let unread = read.into_iter().filter_map(|(dataset, classes)| session.index(dataset, classes).ok()?.unread());
    for note in distinct(unread) {
        out += &format!("Note: {note}\n");
    }
    out
}

fn as_json_text(experiment: &Experiment, forecast: &Forecast) -> String {
    let runs: Vec<_> = forecast.runs.iter().map(|run| json!({
        "run": run.spec.id, "variant": run.spec.variant, "method": run.spec.method_name(), "dataset": run.spec.dataset,
        "seen_anomalies": run.spec.protocol.seen.count, "seed": run.spec.seed,
        "record": record(run), "stages": run.stages, "stages_to_do": run.to_do, "missing": run.fault.as_ref().map(|_| faults(run).join("\n")),
    })).collect();
    let stages: Vec<_> = forecast.stages.iter().map(|stage| json!({
        "kind": stage.kind, "key": stage.key, "label": stage.label, "cached": stage.cached, "to_do": stage.to_do,
        "runs": stage.runs, "operations": stage.work.operations, "bytes": stage.work.bytes,
        "memory_bytes": stage.work.memory_bytes, "seconds": stage.seconds,
        "device_bytes": stage.work.device_bytes, "resident_bytes": stage.work.resident_bytes,
        "epochs_done": stage.epochs_done.map_or(0, |(done, _)| done),
    })).collect();
    json!({
        "experiment": experiment.name, "runs": runs, "stages": stages, "seconds": forecast.seconds(),
        "bytes": forecast.bytes(), "memory_bytes": forecast.memory_bytes(),
        "device_bytes": forecast.device_bytes().0, "resident_bytes": forecast.device_bytes().1,
    })
    .to_string()
}
