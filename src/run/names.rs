//! Names that an experiment file has for what its datasets hold, looked up before any work.
//!
//! Owns: asking the datasets. Does not own: which names there are (`spec`).

use std::collections::BTreeMap;

use super::session::Session;
use crate::error::{Error, Result};
use crate::spec::Experiment;

/// Holds names that must be classes against those of the experiment's datasets. Of a dataset that is not there nothing is
/// known; that it is not is told by its runs.
///
/// # Errors
/// Every name that no dataset has a class of, at its place in the experiment file.
pub fn check_names(session: &Session, experiment: &Experiment) -> Result<()> {
    let mut read: BTreeMap<&str, Option<Vec<String>>> = BTreeMap::new();
    let mut faults = Vec::new();
    for named in &experiment.named {
        for dataset in &named.datasets {
            read.entry(dataset).or_insert_with(|| session.classes(dataset));
        }
        let known: Option<Vec<&Vec<String>>> = named.datasets.iter().map(|own| read[own.as_str()].as_ref()).collect();
        let Some(known) = known else { continue };
        if !known.iter().any(|classes| classes.contains(&named.name)) {
            faults.push(named.fault(known.iter().copied().flatten().map(String::as_str)));
        }
    }
    Error::all(faults)
}
