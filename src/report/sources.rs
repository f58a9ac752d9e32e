//! What our recorded numbers are beside those that other publications print of the same quantities.
//!
//! Owns: which recorded runs stand beside another publication's number, what keeps them apart, and how it is shown. Nothing
//! here is a verdict: what is reproduced or not are the paper's numbers (`verdicts`).

use serde_json::{Value as Json, json};

use super::verdicts::{because, ours, paper_conditions, texts};
use crate::data::Catalog;
use crate::error::Result;
use crate::methods::NOT_AS_PUBLISHED;
use crate::paper::verdict::{Conditions, Ours, Outcome, PaperConditions, Reason, Tolerances, Verdict, judge, reasons};
use crate::paper::{Origin, PrintedKey, PrintedValue, Published, UNSAID};
use crate::record::{Recorded, RecordedRun};
use crate::spec::{Evaluation, to_json};

/// Ours beside every number of `second`; `None` = nothing is recorded.
///
/// # Errors
/// Several variants that a number could be held against.
pub fn compare<'a>(
    recorded: Option<&Recorded>,
    second: &'a Published,
    catalog: &Catalog,
    tolerances: &Tolerances,
) -> Result<Vec<Verdict<'a>>> {
    let beside = |cell| -> Result<_> {
        let ours = recorded.map(|recorded| beside(recorded, cell, catalog)).transpose()?.flatten();
        Ok(judge(cell, ours.as_ref(), tolerances))
    };
    second.cells().iter().map(beside).collect()
}

/// Our numbers for another publication's: of its own split where we have it, else of another one, which is then a reason.
fn beside(recorded: &Recorded, cell: &PrintedValue, catalog: &Catalog) -> Result<Option<Ours>> {
    let dataset = cell.key.dataset.as_str();
    let is_split = |name: &&str| name.strip_prefix(dataset) == Some(&format!("_{}", split(catalog, name)));
    let mut names: Vec<&str> = std::iter::once(dataset).chain(catalog.names().filter(is_split)).collect();
    names.sort_by_key(|name| split(catalog, name) != cell.origin.split);
    let own = PrintedKey { dataset: names[0].into(), ..cell.key.clone() };
    let expected = paper_conditions(&own, catalog, None);
    let hold = |run: &RecordedRun, found: &Conditions, ours: &mut Ours| {
        let origin = origin(run, catalog);
        let differences = cell.origin.differences(&origin);
        let word = |[what, theirs, own]: &[&str; 3]| Reason::OtherSetting(format!("{what} {theirs}, ours {own}"));
        ours.reasons.extend(differences.iter().map(word));
        // Another split has other images; its name says so.
        let is_told = differences.iter().any(|[what, ..]| *what == "split");
        let told = PaperConditions { test_images: Some(found.test_images), weights: None };
        ours.reasons.extend(reasons(found, if is_told { &told } else { &expected }));
        let labels = run.labels.iter().filter_map(|label| label.strip_prefix(NOT_AS_PUBLISHED));
        // Epochs are compared with the source's own, where it says them.
        let is_compared = |part: &&str| cell.origin.epochs != UNSAID && part.starts_with("train.epochs ");
        let own = labels.flat_map(|label| label.split(", ")).filter(|part| !is_compared(part));
        ours.reasons.extend(own.map(|part| Reason::Labelled(format!("{NOT_AS_PUBLISHED}{part}"))));
    };
    for name in names {
        let key = PrintedKey { dataset: name.into(), ..cell.key.clone() };
        if let Some(found) = ours(recorded, &key, &Evaluation::default(), &hold)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The official split that a dataset of the catalog is.
fn split<'a>(catalog: &'a Catalog, dataset: &str) -> &'a str {
    let split = catalog.get(dataset).map_or("", |entry| entry.layout.split());
    if split.is_empty() { UNSAID } else { split }
}

/// Under which conditions a run of ours was made.
fn origin(run: &RecordedRun, catalog: &Catalog) -> Origin {
    let spec = &run.spec;
    Origin {
        source: "ours".into(),
        split: split(catalog, &spec.dataset).into(),
        setting: to_json(&spec.protocol.setting).as_str().unwrap_or(UNSAID).into(),
        epochs: spec.method["train"]["epochs"].as_u64().map_or(UNSAID.into(), |epochs| epochs.to_string()),
        image_size: spec.image.size.to_string(),
        url: UNSAID.into(),
    }
}

/// The numbers of other publications, out of `sources`, that are of the quantity of `key`.
pub fn of<'a, 'b>(sources: &'b [Verdict<'a>], key: &PrintedKey) -> Vec<&'b Verdict<'a>> {
    let quantity = key.quantity();
    sources.iter().filter(|source| source.cell.key.quantity() == quantity).collect()
}

/// The numbers of other publications, out of `sources`, that we have one for while no verdict is on the same quantity.
pub fn only<'a, 'b>(sources: &'b [Verdict<'a>], verdicts: &'b [Verdict]) -> impl Iterator<Item = &'b Verdict<'a>> {
    let keys: Vec<PrintedKey> = verdicts.iter().map(|verdict| verdict.cell.key.quantity()).collect();
    sources.iter().filter(move |source| source.mean.is_some() && !keys.contains(&source.cell.key.quantity()))
}

/// What the columns below are.
pub const HEAD: [&str; 9] =
    ["quantity", "source", "split", "training", "its value", "ours", "difference", "ours is", "because"];

/// A number and ours below `HEAD`; `is_paper` = it is judged.
pub fn row(verdict: &Verdict, is_paper: bool) -> Vec<String> {
    let [_, printed, ours, _, _, difference, ..] = texts(verdict);
    let Origin { source, split, .. } = &verdict.cell.origin;
    let (quantity, training) = (verdict.cell.key.quantity().to_string(), verdict.cell.origin.training());
    let standing = if is_paper { verdict.outcome.as_str().into() } else { standing(verdict) };
    let because = because(verdict).join("\n");
    vec![quantity, source.clone(), split.clone(), training, printed, ours, difference, standing, because]
}

/// Where ours stands beside another publication's number; no verdict.
fn standing(verdict: &Verdict) -> String {
    match &verdict.outcome {
        Outcome::Reproduced => format!("within {:.1}", verdict.tolerance),
        Outcome::Better => "higher".into(),
        Outcome::Worse => "lower".into(),
        other => other.as_str().into(),
    }
}

/// Numbers of other publications beside ours, for programs: a list of objects.
pub fn json(sources: &[&Verdict]) -> Json {
    let one = |source: &&Verdict| {
        let mut entry = json!(source.cell.origin);
        entry["value"] = source.cell.value.text().into();
        entry["mean"] = source.mean.into();
        entry["difference"] = source.difference.into();
        entry["tolerance"] = source.tolerance.into();
        entry["standing"] = standing(source).into();
        entry["because"] = because(source).into();
        entry
    };
    sources.iter().map(one).collect()
}
