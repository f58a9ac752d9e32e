//! What a bank of normal patches holds of each class, as bars.

use schemars::JsonSchema;
use serde::Deserialize;

use super::bars::{Chart, chart, margin};
use super::panel::footnote;
use super::{Drawing, Kind, Notes, Shared, columns, grid, titled};
use crate::error::Result;
use crate::record::Recorded;
use crate::report::balance::{self, Held};
use crate::report::frame::{Point, Wanted, distinct, runs_of};
use crate::spec::{Arm, DisplayNames, Selection};

/// What the bank holds of each class: one panel per dataset and bank.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bank {}

impl Kind for Bank {
    const NAME: &'static str = "bank";
    const ABOUT: &'static str = "How much of each class's patches the bank of normal patches holds, as bars.";

    const SHARED: Shared = &[("seen_anomalies", "Numbers of seen anomalies; [] = all.")];

    fn draw(&self, selection: &Selection, recorded: &Recorded, notes: &mut Notes) -> Result<Option<Drawing>> {
        notes.say_missing();
        let held = balance::held(recorded, Wanted::shown(selection));
        let runs = held.iter().flat_map(|(arm, _)| runs_of(recorded, arm));
        runs.for_each(|run| notes.draws(&run.id));
        if held.is_empty() {
            notes.say("no recorded run shown has a bank of normal patches by class");
            return Ok(None);
        }
        let csv = balance::csv(&held);
        let banks = balance::shared(held);
        let mut scene = titled(selection);
        let (columns, shown) = (columns(&scene, 7.5), &recorded.experiment.names);
        let classes: Vec<_> = banks.iter().flat_map(|((_, held), _)| held).map(|own| shown.of(&own.class)).collect();
        scene.margin = margin(classes.iter().map(|class| &**class), &scene, columns);
        grid(&mut scene, &banks, columns, |scene, ((dataset, held), arms)| {
            let classes: Vec<_> = held.iter().map(|own| shown.of(&own.class)).collect();
            let bars: Vec<(&str, &Point)> =
                classes.iter().map(|class| &**class).zip(held.iter().map(|own| &own.share)).collect();
            let highest = bars.iter().map(|(_, own)| own.mean + own.deviation.unwrap_or(0.0)).fold(0.0, f64::max);
            let title =
                if banks.len() > 1 { format!("{}: {}", shown.of(dataset), names(shown, arms)) } else { String::new() };
            let axis = "patches of the class in the bank (%)";
            chart(scene, &Chart { title: &title, axis, from: 0.0, to: highest, bars });
        });
        for ((_, held), arms) in &banks {
            let sum = |of: fn(&Held) -> f64| held.iter().map(of).sum::<f64>();
            let share = 100.0 * sum(|own| own.rows) / sum(|own| own.patches);
            footnote(&mut scene, &format!("{}: {share:.1} % of all patches.", names(shown, arms)));
        }
        Ok(Some(Drawing::new(scene, csv)))
    }
}

fn names(shown: &DisplayNames, arms: &[Arm]) -> String {
    distinct(arms.iter().map(|arm| shown.of(&arm.variant))).join(", ")
}
