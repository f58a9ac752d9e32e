//! Distances of test patches from the bank, and what an image's score is made of.

use serde::Serialize;
use serde_json::json;

use super::mask::foreground;
use super::params::{Metric, Score};
use crate::bank::neighbours::{Searcher, k_nearest};
use crate::device::precision;
use crate::error::Result;
use crate::matrix::{Matrix, Rows};
use crate::methods::top_mean;
use crate::plan::{self, Compute, Computed, Features, Handle, Job, Scores, Work};
use crate::spec::Settings;
use crate::store::TensorDecl;

/// Scores the test images of one class.
#[derive(Serialize)]
pub struct ScorePatches<'a> {
    pub score: Settings<Score>,
    /// Threshold, and whether masked patches count in the image score; `None` = no masks.
    pub mask: Option<(f64, bool)>,
    pub features: Handle<Features>,
    pub bank: Handle<plan::Bank>,
    pub test: &'a [usize],
    #[serde(skip)]
    pub grid: (usize, usize),
    #[serde(skip)]
    pub name: &'a str,
}

/// Writes `row` with a length of 1 to `out`; a row of zeros stays one.
pub fn of_length_one(row: &[f32], out: &mut [f32]) {
    let length = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    out.iter_mut().zip(row).for_each(|(out, &value)| *out = (f64::from(value) * scale) as f32);
}

/// Distances of patches from a bank, each the mean over its nearest rows: of rows of length 1 the bank's are 1 − the cosine,
/// half the squared distance. A patch without a direction is at 1.
///
/// # Errors
/// An empty bank, more neighbours than rows, rows that are not finite.
pub fn distances(searcher: &Searcher, bank: Rows, patches: Rows, score: &Score) -> Result<Vec<f32>> {
    let mut own = Matrix::zeros(patches.len(), patches.cols());
    let asked = match score.metric {
        Metric::Euclidean => patches,
        Metric::Cosine => {
            let rows = own.data_mut().chunks_exact_mut(patches.cols());
            rows.enumerate().for_each(|(row, out)| of_length_one(patches.row(row), out));
            own.view()
        }
    };
    let found = match score.neighbours {
        1 => searcher.nearest(asked, None)?,
        several => k_nearest(asked, bank, several)?,
    };
    let of = |distance: f32| match score.metric {
        Metric::Euclidean => f64::from(distance),
        Metric::Cosine => f64::from(distance).powi(2) / 2.0,
    };
    let mean = |near: &[f32]| near.iter().map(|&distance| of(distance)).sum::<f64>() / near.len() as f64;
    let mut out: Vec<f32> = found.distance.chunks(score.neighbours).map(|near| mean(near) as f32).collect();
    if score.metric == Metric::Cosine {
        let aimless = (0..patches.len()).filter(|&row| patches.row(row).iter().all(|&value| value == 0.0));
        aimless.for_each(|row| out[row] = 1.0);
    }
    Ok(out)
}

impl ScorePatches<'_> {
    fn patches(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    /// Scores of an image's patches, and its own.
    fn image(&self, searcher: &Searcher, bank: Rows, patches: Rows) -> Result<(Vec<f32>, f32)> {
        let mut scores = distances(searcher, bank, patches, &self.score)?;
        let share = self.score.top_fraction;
        let Some((threshold, counted)) = self.mask else {
            let image = top_mean(scores.iter().copied(), share);
            return Ok((scores, image as f32));
        };
        let mask = foreground(patches, self.grid, threshold);
        scores.iter_mut().zip(&mask).filter(|(_, inside)| !**inside).for_each(|(score, _)| *score = 0.0);
        let in_image = scores.iter().zip(&mask).filter(|(_, inside)| counted || **inside);
        let image = top_mean(in_image.map(|(&score, _)| score), share);
        Ok((scores, image as f32))
    }
}

impl Compute for ScorePatches<'_> {
    type Output = Scores;
    const KIND: &'static str = "scores";
    const METHOD: &'static str = "anomalydino";
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        format!("{} scores", self.name)
    }

    fn work(&self) -> Work {
        let (rows, bank) = (self.test.len() * self.patches(), self.bank.work);
        let masks = if self.mask.is_some() { 2 * rows * bank.cols * bank.cols } else { 0 };
        Work::matrix(rows, 1, 2.0 * (rows * bank.rows * bank.cols) as f64 + masks as f64)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let (features, bank) = (job.open(&self.features)?, job.open(&self.bank)?);
        let (count, patches) = (self.test.len(), self.patches());
        let parts = [bank];
        let searcher = Searcher::new((&job.device()?, precision()), &parts, None)?;
        let tensors = [TensorDecl::f32("scores", &[1, count, patches]), TensorDecl::f32("image_scores", &[1, count])];
        let mut writer = job.create(tensors.into())?;
        let mut image_scores = Vec::with_capacity(count);
        for (number, &image) in self.test.iter().enumerate() {
            (job.progress)(number, count);
            let rows = features.slice(image * patches..(image + 1) * patches);
            let (scores, own) = self.image(&searcher, bank, rows)?;
            writer.f32(&scores)?;
            image_scores.push(own);
        }
        writer.f32(&image_scores)?;
        Ok(Computed::new(writer, json!({ "images": count })))
    }
}
