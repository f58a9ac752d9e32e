//! How evenly a bank of normal patches holds the classes that it was selected from: a coreset of all classes together
//! takes what differs most, and leaves little of classes whose patches look alike.

use serde_json::Value as Json;

use super::export::Sheet;
use super::export::csv::{line, optional, quoted};
use super::frame::{Point, Wanted, distinct, groups, runs_of};
use crate::metrics::{deviation, mean};
use crate::record::{Recorded, RecordedRun};
use crate::spec::Arm;

/// What the bank of an arm holds of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The class.
    pub class: String,
    /// Patches of the class that the bank was selected from.
    pub patches: f64,
    /// Rows of the class in the bank, mean over seeds.
    pub rows: f64,
    /// Rows in percent of the patches, over seeds.
    pub share: Point,
}

/// What the banks of wanted runs hold, class by class, for each arm that has such a bank.
pub fn held(recorded: &Recorded, wanted: Wanted) -> Vec<(Arm, Vec<Held>)> {
    let arms = distinct(wanted.runs(recorded).map(|run| Arm::of(&run.spec)));
    let of = |arm: Arm| {
        let counts = groups(runs_of(recorded, &arm).into_iter().flat_map(counts));
        let held = counts.into_iter().map(|(class, counts)| {
            let [rows, patches] = [0, 1].map(|number| counts.iter().map(|own| own[number]).collect::<Vec<f64>>());
            let shares: Vec<f64> = counts.iter().map(|[rows, patches]| 100.0 * rows / patches).collect();
            let (mean_share, deviation) = (mean(&shares), deviation(&shares));
            let share = Point { mean: mean_share, deviation, range: None, seeds: shares.len(), samplings: 1 };
            Held { class: class.into(), patches: mean(&patches), rows: mean(&rows), share }
        });
        let held: Vec<Held> = held.collect();
        (arm, held)
    };
    arms.into_iter().map(of).filter(|(_, held)| !held.is_empty()).collect()
}

/// Rows and patches of each class, from the notes of the stages that selected a bank.
fn counts(run: &RecordedRun) -> Vec<(&str, [f64; 2])> {
    let of = |note: &'_ Json, key: &str, class: &str| note[key][class].as_f64();
    let notes = run.stages.iter().map(|stage| &stage.note);
    let classes = notes.filter_map(|note| Some((note, note["rows_per_class"].as_object()?)));
    let counts = classes.flat_map(|(note, classes)| {
        let own =
            move |class: &String| Some([of(note, "rows_per_class", class)?, of(note, "patches_per_class", class)?]);
        classes.keys().filter_map(move |class| Some((class.as_str(), own(class)?)))
    });
    counts.collect()
}

/// A dataset and what a bank of it holds, with the arms that have that bank.
pub(super) type Shared = ((String, Vec<Held>), Vec<Arm>);

/// Each bank once: variants and numbers of seen anomalies share one more often than not.
pub(super) fn shared(held: Vec<(Arm, Vec<Held>)>) -> Vec<Shared> {
    let mut banks: Vec<Shared> = Vec::new();
    for (arm, held) in held {
        let bank = (arm.dataset.clone(), held);
        match banks.iter_mut().find(|(known, _)| *known == bank) {
            Some((_, arms)) => arms.push(arm),
            None => banks.push((bank, vec![arm])),
        }
    }
    banks
}

/// As tables, each with what it is of: classes of a bank, arms with the same bank once.
pub(super) fn sheets(recorded: &Recorded) -> Vec<(String, Sheet)> {
    let shown = &recorded.experiment.names;
    let table = |((dataset, held), arms): &Shared| {
        let names = distinct(arms.iter().map(|arm| shown.of(&arm.variant))).join(", ");
        let row = |own: &Held| {
            let share = own.share.deviation.map_or(String::new(), |deviation| format!(" ± {deviation:.1}"));
            let share = format!("{:.1}{share}", own.share.mean);
            vec![shown.of(&own.class).into_owned(), format!("{:.0}", own.patches), format!("{:.0}", own.rows), share]
        };
        let head = ["class", "patches", "rows in the bank", "% of its patches"];
        (format!("{}: {names}", shown.of(dataset)), Sheet::new(&head, held.iter().map(row)))
    };
    shared(held(recorded, Wanted::default())).iter().map(table).collect()
}

/// As CSV; empty where no run has such a bank.
pub(super) fn csv(held: &[(Arm, Vec<Held>)]) -> String {
    let mut out = String::new();
    for (arm, held) in held {
        for Held { class, patches, rows, share } in held {
            let names = [&arm.variant, &arm.dataset, class].map(|name| quoted(name)).join(",");
            let numbers = format!("{patches},{rows},{},{},{}", share.mean, optional(share.deviation), share.seeds);
            out += &line([names, arm.seen.to_string(), numbers]);
        }
    }
    let head = "variant,dataset,class,seen_anomalies,patches,rows,percent_of_patches,sd,seeds\n";
    if out.is_empty() { out } else { head.to_string() + &out }
}
