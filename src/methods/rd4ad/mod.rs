//! RD4AD (CVPR 2022, arXiv 2201.10703): reverse distillation from a one-class embedding. Its page, docs/methods/rd4ad.md:
//!
#![doc = include_str!("../../../docs/methods/rd4ad.md")]

mod params;
mod score;
mod train;
mod trainer;
mod trial;

pub use params::{Cosine, Loss, Params, Score, Train};
pub use trainer::Trainer;

use serde_json::{Value as Json, json};

use self::score::Score as ScoreStage;
use self::train::Train as TrainStage;
use super::distillation::Design;
use super::trial::Trial;
use super::{Given, Method, Outputs, Parameters, Scoring, Select, training_labels};
use crate::backbone::Kind;
use crate::error::Result;
use crate::plan::{Graph, Inputs, StageKind};
use crate::spec::MethodFault;
use crate::train::{JudgeImages, Keep};

impl Parameters for Params {
    const NAME: &'static str = "rd4ad";
    const ABOUT: &'static str =
        "RD4AD: a student that rebuilds a frozen network's maps from a narrow code (arXiv 2201.10703)";
    const BACKBONE: &'static str = "wide_resnet50_2";
    const NETWORK: Option<Kind> = Some(Kind::Convolutions);
    const PUBLISHED: &'static [&'static str] = &["train.epochs", "train.batch"];
    const STAGES: &'static [StageKind] = &[StageKind::of::<TrainStage>(), StageKind::of::<JudgeImages<ScoreStage>>()];
    const TRIAL: &'static Trial = &trial::TRIAL;

    fn sections() -> Json {
        json!({
            "image": { "size": 256 },
            "backbone": { "name": "wide_resnet50_2", "layers": ["layer1", "layer2", "layer3"] },
            "features": { "aggregation": "concat", "patch": 1 },
        })
    }

    fn check(&self) -> Result<(), MethodFault> {
        let weights = &self.loss.level_weights;
        if !weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
            || (!weights.is_empty() && weights.iter().all(|weight| *weight == 0.0))
        {
            let message = "weights are finite, none is negative and one is positive";
            return Err(MethodFault::new("loss.level_weights", message).help("[] is 1 for each level"));
        }
        Ok(())
    }
}

impl Params {
    /// What training uses. Which epoch is reported is none of its business, only whether all are kept.
    fn of_training(&self) -> Params {
        let train = Train { select: Select::Last, curve: self.train.keep() == Keep::Every, ..self.train.clone() };
        Params { train, score: Score::default(), ..self.clone() }
    }
}

impl Method for Params {
    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        let (weights, layers) = (self.loss.level_weights.len(), given.layers);
        if weights != 0 && weights != layers {
            let message = format!("{weights} weights for {layers} levels");
            let help = "give one for each of `backbone.layers`, or [] for 1 each";
            return Err(MethodFault::new("loss.level_weights", message).help(help));
        }
        Ok(())
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let (shape, network) = (inputs.shape(), &inputs.network);
        let design = Design::of(network, shape.side)?;
        let model = graph.add(TrainStage {
            settings: self.of_training().into(),
            seed: inputs.seed,
            normals: inputs.pictures(),
            network: network.clone(),
            device: inputs.device.clone(),
            design: design.clone(),
            shape,
        });
        let scores = JudgeImages::stages(graph, inputs, &model, |_| {
            Ok(ScoreStage {
                settings: self.score.clone().into(),
                network: network.clone(),
                design: design.clone(),
                shape,
            })
        })?;
        Ok(Outputs { scores, model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        Scoring::of_maps(self.score.sigma, self.score.align_corners, self.train.select)
    }

    fn labels(&self) -> Vec<String> {
        training_labels(0, self.train.select)
    }
}
