//! SimpleNet (CVPR 2023, arXiv 2303.15140): real features against noisy ones.
//!
//! Patches of a frozen network pass a linear adaptor; Gaussian noise on the adapted features makes fake ones; a small
//! discriminator D learns to tell them apart with a truncated L1 loss. A patch's anomaly score is −D. No synthetic images,
//! no memory bank, no seen anomalies: where a study has some, they only leave the test set, as they do for every method.
//! Backbone features are stages computed once.
//!
//! Where paper and released code part, both are reachable. What to know:
//! - The released code crops (`image = { size = 288, resize = 329 }`) and trains one model per class for 160 epochs with
//!   batches of 8 (the paper's text: 4), reporting the best epoch on the test set (`train.select = "best_test"`; it looks
//!   at every fourth epoch, here at each). Multi-class baselines use 256 × 256 and batches of 32: the defaults here.
//! - Its command line has other defaults (noise 0.05, margin 0.8) than its run script (0.015, 0.5), whose are the defaults.
//! - Trained longer on several classes it can collapse (published: 95.4 image AUROC after 100 epochs, 79.2 after 300), so
//!   runs with different `train.epochs` are not comparable; `train.curve` makes the course visible.
//! - The cosine schedule, off by default, is the discriminator's alone.
//! - A reimplementation steps adaptor and discriminator after a backward pass each, but both passes go through the graph
//!   of one forward pass: the gradients, and so the steps, are those of the one pass here.
//! - Its own scaling of scores and maps over the test set is one increasing map for all images, and changes no ranking.
//! - `adaptor.*.bias` and `discriminator.*.linear.bias` have a true gradient of zero: a shift of all rows, removed by the
//!   next batch normalisation. It is set to zero, since Adam would turn rounding noise into steps of the learning rate.
//!   Adam's coupled weight decay still moves the latter by almost the learning rate in every step.

mod network;
mod params;
mod train;

pub use network::Network;
pub use params::{Params, Schedule, Train};
pub use train::{StepLosses, Trainer};

use std::sync::Arc;

use self::params::ImageScore;
use self::train::{Score, Train as TrainStage};
use super::{Method, Outputs, Parameters, Scoring, Select};
use crate::error::Result;
use crate::plan::{Graph, Inputs, StageKind};
use crate::spec::MethodFault;

impl Parameters for Params {
    const NAME: &'static str = "simplenet";
    const ABOUT: &'static str = "SimpleNet: a discriminator of features and noisy features (arXiv 2303.15140)";
    const BACKBONE: &'static str = "wide_resnet50_2 imagenet";
    const STAGES: &'static [StageKind] = &[StageKind::of::<TrainStage>(), StageKind::of::<Score>()];

    fn check(&self) -> Result<(), MethodFault> {
        if self.score.image != ImageScore::Map || self.score.top_k == 1 {
            return Ok(());
        }
        let message = "counts patches, but with `method.score.image = \"map\"` the score is the map's maximum";
        Err(MethodFault::new("score.top_k", message).help("set it to 1, or `method.score.image` to patches"))
    }

    fn build(self, _: Self) -> Arc<dyn Method> {
        Arc::new(self)
    }
}

impl Params {
    /// What training uses. Which epoch is reported is none of its business, only whether all are kept.
    fn of_training(&self) -> Params {
        let train = Train { select: Select::Last, curve: self.train.keeps_every_epoch(), ..self.train.clone() };
        Params { train, score: Params::default().score, ..self.clone() }
    }

    /// What scoring uses.
    fn of_scoring(&self) -> Params {
        let Params { adaptor, discriminator, .. } = self.clone();
        let mut score = Params::default().score;
        if self.score.image == ImageScore::Map {
            score = params::Score { image: ImageScore::Map, sigma: self.score.sigma, ..score };
        }
        Params { adaptor, discriminator, score, ..Params::default() }
    }
}

impl Method for Params {
    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let model = graph.add(TrainStage {
            settings: self.of_training().into(),
            seed: inputs.seed,
            train: inputs.train(),
            device: inputs.device.clone(),
            patches: inputs.patches(),
            dim: inputs.dim,
            images: inputs.train_images(),
        });
        let scores = inputs.tested.iter().map(|tested| {
            graph.add(Score {
                settings: self.of_scoring().into(),
                map: (self.score.image == ImageScore::Map).then_some((inputs.grid, inputs.image.size)),
                features: tested.pool.clone(),
                model: model.clone(),
                test: &tested.images,
                device: inputs.device.clone(),
                kept: if self.train.keeps_every_epoch() { self.train.epochs } else { 1 },
                patches: inputs.patches(),
                dim: inputs.dim,
                name: &tested.name,
            })
        });
        let scores = scores.collect();
        Ok(Outputs { scores, model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        Scoring { top_k: self.score.top_k, sigma: self.score.sigma, align_corners: false, select: self.train.select }
    }

    fn labels(&self) -> Vec<String> {
        let (mut labels, train) = (Vec::new(), &self.train);
        if train.patches_per_image > 0 {
            labels.push(format!("{} patches per image in training", train.patches_per_image));
        }
        if train.select == Select::BestTest {
            labels.push("oracle: best epoch chosen on the test set".into());
        }
        labels
    }
}
