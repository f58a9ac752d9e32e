//! UniAD: a unified model for multi-class anomaly detection (NeurIPS 2022; arXiv 2206.03687). Not the driving one. Its page,
//! docs/methods/uniad.md:
//!
#![doc = include_str!("../../../docs/methods/uniad.md")]

mod network;
mod params;
mod train;
mod trial;

pub use network::{Network, Pass};
pub use params::{ImageScore, Jitter, Mask, NetworkParams, Params, Score, Train};
pub use train::{Trainer, image_score, token_scores};

use serde_json::{Value as Json, json};

use self::train::{Score as ScorePass, Train as TrainStage};
use super::trial::Trial;
use super::{Given, Method, Outputs, Parameters, Scoring, Select, training_labels};
use crate::error::Result;
use crate::plan::{Graph, Inputs, StageKind};
use crate::spec::MethodFault;
use crate::train::{Keep, ScoreImages};

impl Parameters for Params {
    const NAME: &'static str = "uniad";
    const ABOUT: &'static str =
        "UniAD: reconstruction of features by a neighbour-masked transformer (arXiv 2206.03687)";
    const BACKBONE: &'static str = "efficientnet_b4";
    const PUBLISHED: &'static [&'static str] = &[
        "train.epochs",
        "train.batch",
        "network.hidden",
        "network.encoder_layers",
        "network.decoder_layers",
        "mask.size",
        "jitter.scale",
    ];
    const STAGES: &'static [StageKind] = &[StageKind::of::<TrainStage>(), StageKind::of::<ScoreImages<ScorePass>>()];
    const TRIAL: &'static Trial = &trial::TRIAL;

    fn sections() -> Json {
        json!({
            "image": { "size": 224 },
            "backbone": { "name": "efficientnet_b4" },
            "features": { "aggregation": "concat_deepest", "patch": 1 },
        })
    }

    fn check(&self) -> Result<(), MethodFault> {
        let NetworkParams { hidden, heads, .. } = self.network;
        if !hidden.is_multiple_of(heads) || !hidden.is_multiple_of(2) {
            let message = format!("{hidden} is no even multiple of {heads} heads");
            let help = "each head gets hidden / heads values, and rows and columns half of the position each";
            return Err(MethodFault::new("network.hidden", message).help(help));
        }
        if self.mask.size.is_multiple_of(2) {
            let message = format!("a square of {} tokens has no centre", self.mask.size);
            let help = format!("ADer's {} is {} here", self.mask.size, self.mask.size + 1);
            return Err(MethodFault::new("mask.size", message).help(help));
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

    /// What scoring uses: the Gaussian comes later.
    fn of_scoring(&self) -> Params {
        let Params { network, mask, score, .. } = self.clone();
        Params { network, mask, score: Score { sigma: Score::default().sigma, ..score }, ..Params::default() }
    }
}

impl Method for Params {
    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        let ((rows, columns), size, pool, side) = (given.grid, self.mask.size, self.score.pool, given.side);
        if !Network::new(self, given.grid, given.dim).every_position_sees() {
            let what =
                format!("a mask of {size} × {size} hides all {rows} × {columns} tokens from the one in the middle");
            return Err(MethodFault::new("mask.size", what).help("lower it, or use larger images or a finer layer"));
        }
        if self.score.image == ImageScore::MaxPool && pool > side {
            let what = format!("a square of {pool} pixels does not fit into a map of {side} × {side}");
            return Err(MethodFault::new("score.pool", what).help("lower it"));
        }
        Ok(())
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let model = graph.add(TrainStage {
            settings: self.of_training().into(),
            seed: inputs.seed,
            train: inputs.train(),
            device: inputs.device.clone(),
            shape: inputs.shape(),
        });
        let scores = ScoreImages::stages(graph, inputs, &model, |_, tested| ScorePass {
            settings: self.of_scoring().into(),
            features: tested.pool.clone(),
            shape: inputs.shape(),
        });
        Ok(Outputs { scores, model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        Scoring::of_maps(self.score.sigma, self.score.align_corners, self.train.select)
    }

    fn labels(&self) -> Vec<String> {
        training_labels(0, self.train.select)
    }
}
