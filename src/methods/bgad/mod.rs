//! BGAD (CVPR 2023, arXiv 2207.01463): normalising flows with a boundary between normal and anomalous likelihoods. Its page,
//! docs/methods/bgad.md:
//!
#![doc = include_str!("../../../docs/methods/bgad.md")]

mod flow;
mod levels;
mod loss;
mod params;
mod sampler;
mod score;
mod train;
mod trainer;
mod trial;

pub use flow::{Flow, position_code, rotation};
pub use levels::level_mask;
pub use loss::{Boundary, StepLoss, abnormal_weights, normal_weights, step_loss};
pub use params::{
    Adam, Anomalies, ClampStyle, Engine, FlowParams, LevelMask, Loss, Params, PastedChanges, Reference, Sampling,
    Score, Train, Warmup,
};
pub use score::fused;
pub use trainer::{Chunk, Trainer};

use serde_json::{Value as Json, json};

use self::score::{FindMaxima, Frozen, Score as ScoreStage};
use self::train::{Seen, Train as TrainStage};
use super::trial::Trial;
use super::{Given, Method, Outputs, Parameters, Scoring, Select, training_labels};
use crate::error::{Error, Result};
use crate::plan::{Graph, Inputs, Pictures, StageKind};
use crate::spec::{MethodContext, MethodFault};
use crate::train::{JudgeImages, Keep};

impl Parameters for Params {
    const NAME: &'static str = "bgad";
    const ABOUT: &'static str =
        "BGAD: flows with a boundary between normal and anomalous likelihoods (arXiv 2207.01463)";
    const BACKBONE: &'static str = "tf_efficientnet_b6";
    const PUBLISHED: &'static [&'static str] = &[
        "flow.blocks",
        "flow.clamp",
        "flow.position",
        "anomalies.repeat",
        "anomalies.pasted",
        "train.epochs",
        "train.sub_epochs",
        "train.batch",
        "train.chunk",
    ];
    const STAGES: &'static [StageKind] =
        &[StageKind::of::<TrainStage>(), StageKind::of::<FindMaxima>(), StageKind::of::<JudgeImages<ScoreStage>>()];
    const TRIAL: &'static Trial = &trial::TRIAL;

    fn sections() -> Json {
        json!({
            "image": { "size": 256 },
            "backbone": { "name": "tf_efficientnet_b6", "layers": ["stride4", "stride8", "stride16"] },
            "features": { "aggregation": "concat", "patch": 1 },
        })
    }

    fn resolve(&mut self, context: &MethodContext) {
        if self.loss.engine == Engine::Auto {
            self.loss.engine = if context.seen_count > 0 { Engine::Anomalies } else { Engine::Normals };
        }
    }

    fn check(&self) -> Result<(), MethodFault> {
        if !self.flow.position.is_multiple_of(4) {
            let message = format!("{} is no multiple of four", self.flow.position);
            let help = "sines and cosines of columns and rows take four values; the publication has 128";
            return Err(MethodFault::new("flow.position", message).help(help));
        }
        if self.train.sampling == Sampling::Balanced && self.train.normal_share() == 0 {
            let message = format!("two thirds of {} are no image", self.train.batch);
            return Err(MethodFault::new("train.batch", message).help("set it to two or more"));
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

    fn frozen<'a>(&self, inputs: &'a Inputs) -> Frozen<'a> {
        Frozen { flow: self.flow.clone().into(), network: inputs.network.clone(), shape: inputs.shape() }
    }

    /// The images over which the largest likelihoods are looked for.
    fn reference(&self, inputs: &Inputs) -> Vec<Pictures> {
        match self.score.logp_ref {
            Reference::Train => inputs.pictures(),
            Reference::Test => inputs.tested.iter().map(|tested| tested.pictures.clone()).collect(),
        }
    }
}

impl Method for Params {
    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        let train = &self.train;
        if self.loss.engine == Engine::Anomalies && given.seen_count == 0 && train.sampling == Sampling::Balanced {
            let message = "there is no seen anomaly to balance batches with";
            let help = "set it to shuffle, or protocol.seen.count to one or more";
            return Err(MethodFault::new("train.sampling", message).help(help));
        }
        Ok(())
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let (images, train) = (inputs.shape().images, &self.train);
        // In the first epoch there is no anomaly in a batch, however batches are made.
        if train.epochs > 0 && train.drop_last && images < train.batch {
            let what = format!("{images} normal images make no batch of {}", train.batch);
            return Err(Error::usage(what, "lower `method.train.batch`, or set `method.train.drop_last` to false"));
        }
        let learned = self.loss.engine != Engine::Normals;
        let seen = inputs.seen().filter(|_| learned);
        let seen = seen.map(|(class, seen)| Seen { class, input: seen });
        let model = graph.add(TrainStage {
            settings: self.of_training().into(),
            seed: inputs.seed,
            normals: inputs.pictures(),
            pictures: if learned { inputs.seen_pictures()? } else { inputs.environment.pictures(&[])? },
            seen: seen.collect(),
            geometry: inputs.image.clone().into(),
            network: inputs.network.clone(),
            device: inputs.device.clone(),
            shape: inputs.shape(),
        });
        let maxima = graph.add(FindMaxima {
            frozen: self.frozen(inputs),
            model: model.clone(),
            pictures: self.reference(inputs),
            device: inputs.device.clone(),
        });
        let scores = JudgeImages::stages(graph, inputs, &model, |_| {
            Ok(ScoreStage { frozen: self.frozen(inputs), maxima: maxima.clone() })
        })?;
        Ok(Outputs { scores, model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        Scoring::of_maps(0.0, true, self.train.select)
    }

    fn labels(&self) -> Vec<String> {
        let mut labels = training_labels(0, self.train.select);
        if self.score.logp_ref == Reference::Test {
            labels.push("likelihoods relative to the largest of the test set".into());
        }
        labels
    }
}
