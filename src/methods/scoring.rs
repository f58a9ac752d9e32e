//! From patch scores to what is evaluated: image scores and maps, and of which epoch.
//!
//! Owns: the rules that methods choose from, and the labels that follow from a choice. Does not own: patch scores (each
//! method), or what becomes of maps (`run::evaluate`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::maps::{Border, gaussian, upsample, upsample_corners, windowed};
use crate::plan::Shape;
use crate::spec::MethodFault;
use crate::train::{self, Keep};

/// From patch scores to image scores and maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scoring {
    /// The image score is the mean of this many largest patch scores.
    pub top_k: usize,
    /// Gaussian on the map, in pixels of the evaluation size; 0 = none.
    pub sigma: f64,
    /// The corners of the map are the outermost patches; else patches are areas and their scores stand at the centres.
    pub align_corners: bool,
    /// Which epoch counts where the scores hold several.
    pub select: Select,
    /// The method scores images alone: pixel metrics are undefined.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mapless: bool,
    /// What happens on the way to the map where it is not one enlargement and a Gaussian that is cut at four `sigma`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// A map by way of another size, smoothed with a Gaussian that is cut to a square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Side of the map that patches are enlarged to, which is that of the network's input; from there it goes to its size
    /// without corners aligned.
    pub through: usize,
    /// Side of the square that the Gaussian is cut to, in pixels.
    pub kernel: usize,
    /// What lies beyond the edges.
    pub border: Border,
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

impl Select {
    /// Which epochs' parameters a training has to keep for it, or for a curve over the epochs.
    pub(super) fn keep(self, curve: bool) -> Keep {
        if curve || self == Select::BestTest { Keep::Every } else { Keep::Last }
    }
}

words! {
    /// What an image's score is taken from.
    ImageScore {
        /// The patch scores, before any smoothing.
        Patches,
        /// The maximum of the smoothed map at the size of the network's input (a column of other benchmarks).
        Map,
    }
}

impl ImageScore {
    /// Refuses to count patches where the score is the map's maximum.
    pub(super) fn check(self, top_k: usize) -> Result<(), MethodFault> {
        if self == ImageScore::Patches || top_k == 1 {
            return Ok(());
        }
        let message = "counts patches, but with `method.score.image = \"map\"` the score is the map's maximum";
        Err(MethodFault::new("score.top_k", message).help("set it to 1, or `method.score.image` to patches"))
    }

    /// The rule for scoring stages where it is not that of the patches: maps are smoothed with a Gaussian of `sigma` pixels.
    pub(super) fn rule(self, shape: Shape, sigma: f64) -> Option<train::ImageScore<'static>> {
        let side = (shape.side, shape.side);
        let maximum = move |scores: &[f32]| {
            let map = gaussian(&upsample(scores, shape.grid, side), side, sigma);
            map.into_iter().fold(f32::NEG_INFINITY, f32::max)
        };
        (self == ImageScore::Map).then(|| Box::new(maximum) as _)
    }
}

/// What labels the numbers of a training on so many patches per image (0 = all), by the epoch that counts.
pub(super) fn training_labels(patches_per_image: usize, select: Select) -> Vec<String> {
    let mut labels = Vec::new();
    if patches_per_image > 0 {
        labels.push(format!("{patches_per_image} patches per image in training"));
    }
    if select == Select::BestTest {
        labels.push("oracle: best epoch chosen on the test set".into());
    }
    labels
}

/// The mean of the largest `share` of the scores, their number rounded down; the largest where that is none, 0 of nothing.
pub fn top_mean(scores: impl IntoIterator<Item = f32>, share: f64) -> f64 {
    let scores: Vec<f32> = scores.into_iter().collect();
    let count = (share * scores.len() as f64) as usize;
    mean_of_largest(scores, count)
}

fn mean_of_largest(mut scores: Vec<f32>, count: usize) -> f64 {
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    let top = &scores[..count.max(1).min(scores.len())];
    top.iter().map(|&score| f64::from(score)).sum::<f64>() / top.len().max(1) as f64
}

impl Scoring {
    /// Scoring of a method whose image scores come with its patch scores: `top_k` is never asked.
    pub(super) fn of_maps(sigma: f64, align_corners: bool, select: Select) -> Self {
        Scoring { top_k: 1, sigma, align_corners, select, ..Scoring::default() }
    }

    /// The same for images that the network gets as squares of `side` pixels.
    pub(super) fn of_images(self, side: usize) -> Self {
        Scoring { window: self.window.map(|window| Window { through: side, ..window }), ..self }
    }

    /// Mean of the `top_k` largest patch scores.
    pub fn image_score(&self, patches: &[f32]) -> f64 {
        mean_of_largest(patches.to_vec(), self.top_k)
    }

    /// The anomaly map of a `rows` × `cols` grid of patch scores: enlarged to `height` × `width` and smoothed.
    pub fn map(&self, patches: &[f32], grid: (usize, usize), size: (usize, usize)) -> Vec<f32> {
        let enlarge = if self.align_corners { upsample_corners } else { upsample };
        let Some(Window { through, kernel, border }) = self.window else {
            return gaussian(&enlarge(patches, grid, size), size, self.sigma);
        };
        let through = (through, through);
        let map = upsample(&enlarge(patches, grid, through), through, size);
        windowed(&map, size, self.sigma, kernel, border)
    }
}
