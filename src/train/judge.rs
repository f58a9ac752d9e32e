//! The scoring stage of methods that look at images themselves.
//!
//! Owns: what their artifacts of scores hold, and which images share a forward pass. Does not own: networks or rules.

use burn::tensor::Device;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::fit::{epoch_prefix, kept_epochs};
use super::parameters::Parameters;
use super::score::SCORE_CHUNK_IMAGES;
use crate::device::Chosen;
use crate::error::{Error, Result};
use crate::metrics::deviation;
use crate::plan::{Compute, Computed, Graph, Handle, Inputs, Job, Model, Pictures, Scores, Tested, Work};
use crate::store::TensorDecl;

/// A trained method's way from images to scores: its settings and what it reads besides model and images, which are part of
/// the key.
pub trait Judge: Serialize + Send + Sync {
    /// The method.
    const METHOD: &'static str;

    /// Version of its code: raised with every change that may change its scores.
    const VERSION: u32;

    /// Operations for one image, and bytes of memory for one image that is worked on.
    fn work(&self) -> (f64, usize);

    /// Of the model's names and shapes; their values are never used.
    fn parameters(&self, device: &Device) -> Parameters;

    /// Gets ready to judge images with the parameters of a kept epoch.
    ///
    /// # Errors
    /// Whatever it reads and cannot.
    fn open<'a>(&'a self, job: &'a Job, kept: Kept<'a>, device: &'a Device) -> Result<Sentence<'a>>;
}

/// An epoch whose parameters the model keeps.
#[derive(Clone, Copy)]
pub struct Kept<'a> {
    /// Its number among those that are kept.
    pub number: usize,
    /// The parameters.
    pub parameters: &'a Parameters,
}

/// From images, with their numbers among those to be scored, to what is said of each.
pub type Sentence<'a> = Box<dyn Fn(&Pictures, &[usize]) -> Result<Vec<Judged>> + Sync + 'a>;

/// What is said of an image.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Its score, higher = more abnormal.
    pub image: f32,
    /// Scores of its patches, in the grid of the run's features, row by row.
    pub patches: Vec<f32>,
    /// Its score under other draws, where the method draws something to judge by: for the spread alone.
    pub others: Vec<f32>,
}

/// Scores images with the parameters of every epoch that the model keeps: `scores`, kept epochs × images × patches, and
/// `image_scores`, kept epochs × images. Where the method draws something to judge by, the note says how far scores of the
/// last epoch spread over draws: the mean over images of their standard deviation.
#[derive(Serialize)]
pub struct JudgeImages<'a, J> {
    judge: J,
    model: Handle<Model>,
    pictures: &'a Pictures,
    device: Chosen,
    #[serde(skip)]
    patches: usize,
    #[serde(skip)]
    name: &'a str,
}

impl<'a, J: Judge + 'a> JudgeImages<'a, J> {
    /// Adds the scoring of all that is to be scored; `judge` makes the way to it.
    ///
    /// # Errors
    /// Those of `judge`.
    pub fn stages(
        graph: &mut Graph<'a>,
        inputs: &'a Inputs,
        model: &Handle<Model>,
        judge: impl Fn(&'a Tested) -> Result<J>,
    ) -> Result<Vec<Handle<Scores>>> {
        let add = |tested: &'a Tested| {
            let (judge, model, device) = (judge(tested)?, model.clone(), inputs.device.clone());
            let (patches, pictures, name) = (inputs.patches(), &tested.pictures, tested.name.as_str());
            Ok(graph.add(JudgeImages { judge, model, pictures, device, patches, name }))
        };
        inputs.tested.iter().map(add).collect()
    }
}

impl<J: Judge> Compute for JudgeImages<'_, J> {
    type Output = Scores;
    const KIND: &'static str = "scores";
    const METHOD: &'static str = J::METHOD;
    const VERSION: u32 = J::VERSION;

    fn label(&self) -> String {
        format!("{} scores", self.name)
    }

    fn work(&self) -> Work {
        let (operations, bytes) = self.judge.work();
        let passes = self.model.work.rows * self.pictures.len(); // of every kept epoch
        let at_once = (SCORE_CHUNK_IMAGES * rayon::current_num_threads()).min(self.pictures.len().max(1));
        Work::matrix(passes * self.patches, 1, passes as f64 * operations).with_memory(at_once * bytes)
    }

    /// # Errors
    /// A model of another shape, an image that cannot be read, and whatever the disk reports.
    fn compute(&self, job: &Job) -> Result<Computed> {
        let (model, device) = (job.open(&self.model)?, self.device.get()?);
        let mut parameters = self.judge.parameters(&device);
        let (kept, images) = (kept_epochs(model), self.pictures.len());
        let numbers: Vec<usize> = (0..images).collect();
        let tensors = [("scores", &[kept, images, self.patches][..]), ("image_scores", &[kept, images][..])];
        let mut writer = job.create(tensors.iter().map(|(name, shape)| TensorDecl::f32(name, shape)).collect())?;
        let (mut image_scores, mut note) = (Vec::new(), json!({ "images": images }));
        for number in 0..kept {
            (job.progress)(number, kept);
            parameters.read(model, &epoch_prefix(number))?;
            let sentence = self.judge.open(job, Kept { number, parameters: &parameters }, &device)?;
            let chunks = numbers.par_chunks(SCORE_CHUNK_IMAGES).map(|images| sentence(self.pictures, images));
            let judged = chunks.collect::<Result<Vec<_>>>()?.concat();
            if judged.len() != images || judged.iter().any(|judged| judged.patches.len() != self.patches) {
                return Err(Error::method("not every patch has a score", "this is a fault of the program; report it"));
            }
            judged.iter().try_for_each(|judged| writer.f32(&judged.patches))?;
            image_scores.extend(judged.iter().map(|judged| judged.image));
            if let Some(spread) = spread(&judged) {
                note["spread_over_draws"] = spread.into();
            }
        }
        writer.f32(&image_scores)?;
        Ok(Computed::new(writer, note))
    }
}

/// Mean over images of the standard deviation of their scores under all draws.
fn spread(judged: &[Judged]) -> Option<f64> {
    let of_image = |judged: &Judged| {
        let scores: Vec<f64> = judged.others.iter().chain([&judged.image]).map(|&score| score.into()).collect();
        deviation(&scores)
    };
    let deviations = judged.iter().map(of_image).collect::<Option<Vec<f64>>>()?;
    (!deviations.is_empty()).then(|| crate::metrics::mean(&deviations))
}
