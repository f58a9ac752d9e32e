//! What an experiment cost: expected and actual seconds of its stages, and what its models cost in use.

use std::collections::BTreeSet;

use super::export::csv::{line, quoted};
use super::export::{Sheet, plain};
use super::frame::{distinct, groups};
use crate::record::{Recorded, RecordedRun};
use crate::spec::Arm;

/// For a terminal: one line per kind of stage, one per variant, dataset and number of seen anomalies.
pub fn text(recorded: &Recorded) -> String {
    let plain = |sheet: Sheet| {
        let head: Vec<&str> = sheet.head.iter().map(String::as_str).collect();
        plain(&head, sheet.rows.into_iter(), None)
    };
    let crowded = crowded(recorded).map(|note| note + "\n").unwrap_or_default();
    format!("{}\n{}\n{crowded}", plain(stages(recorded)), plain(in_use(recorded)))
}

/// Expected and actual seconds of every kind of stage.
pub(super) fn stages(recorded: &Recorded) -> Sheet {
    let kinds = groups(recorded.runs.iter().flat_map(|run| &run.stages).map(|stage| (stage.kind.as_str(), stage)));
    let rows = kinds.into_iter().map(|(kind, stages)| {
        let mut seen = BTreeSet::new();
        let computed: Vec<_> = stages.iter().filter(|stage| seen.insert(&stage.key)).collect();
        let expected: f64 = computed.iter().map(|stage| stage.estimated_seconds).sum();
        let actual: f64 = computed.iter().map(|stage| stage.wall_seconds).sum();
        let [computed, used] = [computed.len(), stages.len()].map(|count| count.to_string());
        vec![kind.to_string(), computed, used, format!("{expected:.1}"), format!("{actual:.1}")]
    });
    Sheet::new(&["stages", "computed", "used", "expected s", "actual s"], rows)
}

/// What the models of every variant, dataset and number of seen anomalies cost in use.
pub(super) fn in_use(recorded: &Recorded) -> Sheet {
    let arms = distinct(recorded.runs.iter().map(|run| Arm::of(&run.spec)));
    let first = arms.iter().filter_map(|arm| recorded.runs.iter().find(|run| Arm::of(&run.spec) == *arm));
    let rows = first.filter_map(|run| {
        let (cost, spec, names) = (run.cost.as_ref()?, &run.spec, &recorded.experiment.names);
        Some(vec![
            names.of(&spec.variant).into_owned(),
            names.of(&spec.dataset).into_owned(),
            spec.protocol.seen.count.to_string(),
            format!("{:.2}", cost.parameters as f64 / 1e6),
            format!("{:.1}", cost.bank_bytes as f64 / 1e6),
            format!("{:.1}", cost.milliseconds_per_image),
        ])
    });
    Sheet::new(&["in use", "dataset", "seen", "M parameters", "MB of banks", "ms per image"], rows)
}

/// What times mean where stages were computed side by side.
pub(super) fn crowded(recorded: &Recorded) -> Option<String> {
    let jobs = |run: &RecordedRun| run.toml.get("provenance")?.get("jobs")?.as_integer();
    let most = recorded.runs.iter().filter_map(jobs).max().filter(|jobs| *jobs > 1)?;
    Some(format!("Up to {most} stages ran side by side; with --jobs 1 each is timed alone."))
}

/// Numbers in backbone and model, and bytes of banks, by run. Times are left out: tables are the same for everyone.
pub(super) fn csv(recorded: &Recorded) -> String {
    let mut out = "run,variant,seen_anomalies,seed,parameters,bank_bytes\n".to_string();
    for run in &recorded.runs {
        let (Some(cost), spec) = (&run.cost, &run.spec) else { continue };
        let numbers = [spec.protocol.seen.count as u64, spec.seed, cost.parameters, cost.bank_bytes];
        out += &line([run.id.clone(), quoted(&spec.variant), numbers.map(|number| number.to_string()).join(",")]);
    }
    out
}
