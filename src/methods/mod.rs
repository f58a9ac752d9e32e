//! The compared systems. One folder or file per method, one row in `METHODS`.
//!
//! Owns: what a method must offer, and the registry. Does not own: data, truth, metrics. A method sees images' features,
//! seen anomalies with their masks, and outlier textures; labels and masks of test images have no path to it by type.

mod common;
pub mod dmad;
#[cfg(test)]
#[path = "../../docs/padim.rs"]
mod example; // the README's example of a new method: kept compiling
mod patchcore;
pub mod simplenet;
pub mod trial;
pub mod uniad;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::Result;
use crate::maps::{gaussian, upsample, upsample_corners};
use crate::plan::{Graph, Inputs, StageId};
use crate::spec::MethodKind;
use trial::Trial;

/// A method with its parameters.
pub trait Method: Send + Sync {
    /// Adds the stages of one model (all classes of `inputs` together) to the graph and names what they leave.
    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs>;

    /// How patch scores become image scores and maps.
    fn scoring(&self) -> Scoring;

    /// What labels the numbers besides the setting (subsampled patches, oracle epoch); empty = nothing.
    fn labels(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The stages that evaluation and record need.
pub struct Outputs {
    /// For each entry of `Inputs::tested`: the stage whose artifact holds `scores`, epochs × images × patches, in the
    /// order of `Tested::images`. One epoch unless the method keeps several to choose from or to watch.
    pub scores: Vec<StageId>,
    /// The stage that holds the trained model, if there is training.
    pub model: Option<StageId>,
    /// Banks in use, for the cost of the model.
    pub banks: Vec<StageId>,
}

/// From patch scores to image scores and maps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scoring {
    /// The image score is the mean of this many largest patch scores.
    pub top_k: usize,
    /// Gaussian on the map, in pixels of the evaluation size; 0 = none.
    pub sigma: f64,
    /// The corners of the map are the outermost patches; else patches are areas and their scores stand at the centres.
    pub align_corners: bool,
    /// Which epoch counts where the scores hold several.
    pub select: Select,
}

/// Which epoch of a training counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The last one.
    #[default]
    Last,
    /// The one with the best mean image AUROC on the test set: an oracle, labelled as such.
    BestTest,
}

impl Scoring {
    /// Mean of the `top_k` largest patch scores.
    pub fn image_score(&self, patches: &[f32]) -> f64 {
        let mut sorted = patches.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let top = &sorted[..self.top_k.clamp(1, sorted.len())];
        top.iter().map(|&score| score as f64).sum::<f64>() / top.len() as f64
    }

    /// The anomaly map of a `rows` × `cols` grid of patch scores: enlarged to `height` × `width` and smoothed.
    pub fn map(&self, patches: &[f32], grid: (usize, usize), size: (usize, usize)) -> Vec<f32> {
        let enlarge = if self.align_corners { upsample_corners } else { upsample };
        gaussian(&enlarge(patches, grid, size), size, self.sigma)
    }
}

/// One row of the registry.
pub struct Entry {
    /// What experiment files may say of it.
    pub kind: MethodKind,
    /// Builds it from resolved parameters and the run's seed.
    pub build: fn(&Json, u64) -> Result<Box<dyn Method>>,
    /// Its small study and what each of its keys must change there: what tests hold it to.
    pub trial: &'static Trial,
}

/// All methods.
pub const METHODS: &[Entry] = &[dmad::ENTRY, patchcore::ENTRY, simplenet::ENTRY, uniad::ENTRY];

/// The parser's view of all methods.
pub fn kinds() -> Vec<&'static MethodKind> {
    METHODS.iter().map(|entry| &entry.kind).collect()
}

/// Builds the method of a resolved run.
pub fn build(method: &Json, seed: u64) -> Result<Box<dyn Method>> {
    let name = method["name"].as_str().unwrap_or_default();
    let Some(entry) = METHODS.iter().find(|entry| entry.kind.name == name) else {
        let known: Vec<&str> = METHODS.iter().map(|entry| entry.kind.name).collect();
        return Err(crate::error::Error::method(
            format!("there is no method \"{name}\""),
            format!("known: {}", known.join(", ")),
        ));
    };
    let mut params = method.clone();
    params.as_object_mut().map(|map| map.remove("name"));
    (entry.build)(&params, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_a_new_method_fits_the_registry() {
        let filled =
            (example::ENTRY.kind.fill)(serde_json::json!({ "dims": 7 })).unwrap_or_else(|e| panic!("{}", e.message));
        assert_eq!(filled["sigma"], 4.0);
        let method = (example::ENTRY.build)(&filled, 0).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(method.scoring().top_k, 1);
        let keys: Vec<&str> = example::ENTRY.trial.knobs.iter().map(|knob| knob.key).collect();
        assert_eq!(keys, filled.as_object().expect("a table").keys().collect::<Vec<_>>(), "a row for every key");
    }

    #[test]
    fn maps_are_enlarged_as_the_method_says_and_smoothed() {
        let scoring = |align_corners, sigma| Scoring { top_k: 1, sigma, align_corners, select: Select::Last };
        let patches = [0.0, 3.0, 6.0, 9.0];
        let row = |align_corners| scoring(align_corners, 0.0).map(&patches, (2, 2), (4, 4))[..4].to_vec();
        assert_eq!(row(true), [0.0, 1.0, 2.0, 3.0], "corners are patches");
        assert_eq!(row(false), [0.0, 0.75, 2.25, 3.0], "patches are areas");
        assert_ne!(scoring(true, 1.0).map(&patches, (2, 2), (4, 4))[..4], row(true), "smoothed");
    }
}
