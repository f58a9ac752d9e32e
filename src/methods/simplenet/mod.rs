//! SimpleNet (CVPR 2023, arXiv 2303.15140): real features against noisy ones. Its page, docs/methods/simplenet.md:
//!
#![doc = include_str!("../../../docs/methods/simplenet.md")]

mod network;
mod params;
mod train;
mod trial;

pub use network::Network;
pub use params::{Params, Schedule, Train};
pub use train::Trainer;

use self::train::{Score, Train as TrainStage};
use super::trial::Trial;
use super::{ImageScore, Method, Outputs, Parameters, Scoring, Select, training_labels};
use crate::error::{Error, Result};
use crate::plan::{Graph, Inputs, StageKind};
use crate::spec::MethodFault;
use crate::train::{Keep, ScoreImages};

impl Parameters for Params {
    const NAME: &'static str = "simplenet";
    const ABOUT: &'static str = "SimpleNet: a discriminator of features and noisy features (arXiv 2303.15140)";
    const BACKBONE: &'static str = "wide_resnet50_2";
    const PUBLISHED: &'static [&'static str] =
        &["train.epochs", "train.batch", "discriminator.blocks", "discriminator.hidden", "noise.std"];
    const STAGES: &'static [StageKind] = &[StageKind::of::<TrainStage>(), StageKind::of::<ScoreImages<Score>>()];
    const TRIAL: &'static Trial = &trial::TRIAL;

    fn check(&self) -> Result<(), MethodFault> {
        self.score.image.check(self.score.top_k)
    }
}

impl Params {
    /// What training uses. Which epoch is reported is none of its business, only whether all are kept.
    fn of_training(&self) -> Params {
        let train = Train { select: Select::Last, curve: self.train.keep() == Keep::Every, ..self.train.clone() };
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
        let (images, train) = (inputs.shape().images, &self.train);
        if images == 0 || (train.drop_last && images < train.batch) {
            let what = format!("{images} training images make no step of {}", train.batch);
            return Err(Error::usage(what, "lower `method.train.batch`, or set `method.train.drop_last` to false"));
        }
        let model = graph.add(TrainStage {
            settings: self.of_training().into(),
            seed: inputs.seed,
            train: inputs.train(),
            device: inputs.device.clone(),
            shape: inputs.shape(),
        });
        let scores = ScoreImages::stages(graph, inputs, &model, |_, tested| Score {
            settings: self.of_scoring().into(),
            features: tested.pool.clone(),
            shape: inputs.shape(),
        });
        Ok(Outputs { scores, model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        Scoring {
            top_k: self.score.top_k,
            sigma: self.score.sigma,
            align_corners: false,
            select: self.train.select,
            ..Scoring::default()
        }
    }

    fn labels(&self) -> Vec<String> {
        training_labels(self.train.patches_per_image, self.train.select)
    }
}
