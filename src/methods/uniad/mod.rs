//! UniAD: a unified model for multi-class anomaly detection (NeurIPS 2022; arXiv 2206.03687). Not the driving one.
//!
//! Patches of a frozen network are tokens; a transformer reconstructs those of normal images from noisy ones; a token's
//! score is its distance to its reconstruction. It cannot copy its input, because no token may look at its neighbourhood
//! or itself, and because every decoder layer starts from a learned query. Seen anomalies play no role.
//!
//! The method's own features are EfficientNet-B4's stages of strides 2 to 16 on the coarsest grid; any backbone and any
//! `[features]` will do, but is then a variant. What to know of the released code:
//! - It scales gradients to a norm of 0.1, so almost every step is clipped and Adam's ε counts.
//! - Its learning rate drops one epoch later than its configuration says (`train.lr_drop_epoch = 801` for 800).
//! - It reports the epoch with the best pixel AUROC on the test set; `train.select = "best_test"` takes the image AUROC.
//! - It turns an AUROC below 0.5 into one minus itself; that is not offered.
//! - Its image labels come from masks resized with nearest neighbours, where small defects vanish; here the lists decide.
//! - `*.key.bias` has a true gradient of zero (it shifts all logits of a query alike). It is set to zero, since AdamW would
//!   turn rounding noise into steps of the learning rate.
//! - ADer's benchmark differs: 256 pixels, a mask of 9, 100 or 300 epochs with a drop after 80 % of them.

mod network;
mod params;
mod train;

pub use network::{Dropout, Network, Pass, Place};
pub use params::{ImageScore, Jitter, Mask, NetworkParams, Params, Score, Train};
pub use train::{StepReport, Trainer, image_score, token_scores};

use std::sync::Arc;

use serde_json::{Value as Json, json};

use self::train::{Score as ScoreStage, Train as TrainStage};
use super::{Given, Method, Outputs, Parameters, Scoring, Select};
use crate::error::Result;
use crate::plan::{Graph, Inputs, StageKind};
use crate::spec::MethodFault;

impl Parameters for Params {
    const NAME: &'static str = "uniad";
    const ABOUT: &'static str =
        "UniAD: reconstruction of features by a neighbour-masked transformer (arXiv 2206.03687)";
    const BACKBONE: &'static str = "efficientnet_b4 imagenet";
    const STAGES: &'static [StageKind] = &[StageKind::of::<TrainStage>(), StageKind::of::<ScoreStage>()];

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

    fn build(self, _: Self) -> Arc<dyn Method> {
        Arc::new(self)
    }
}

impl Params {
    /// What training uses.
    fn of_training(&self) -> Params {
        Params { score: Score::default(), ..self.clone() }
    }

    /// What scoring uses: the Gaussian comes later.
    fn of_scoring(&self) -> Params {
        let Params { network, mask, score, .. } = self.clone();
        Params { network, mask, score: Score { sigma: Score::default().sigma, ..score }, ..Params::default() }
    }
}

impl Method for Params {
    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        let (rows, columns) = given.grid;
        if !Network::new(self, given.grid, given.dim).every_position_sees() {
            let what = format!(
                "a mask of {} × {0} hides all {rows} × {columns} tokens from the one in the middle",
                self.mask.size
            );
            return Err(MethodFault::new("mask.size", what).help("lower it, or use larger images or a finer layer"));
        }
        if self.score.image == ImageScore::MaxPool && self.score.pool > given.side {
            let what =
                format!("a square of {} pixels does not fit into a map of {} × {1}", self.score.pool, given.side);
            return Err(MethodFault::new("score.pool", what).help("lower it"));
        }
        Ok(())
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let model = graph.add(TrainStage {
            settings: self.of_training().into(),
            grid: inputs.grid,
            seed: inputs.seed,
            train: inputs.train(),
            device: inputs.device.clone(),
            dim: inputs.dim,
            images: inputs.train_images(),
        });
        let scores = inputs.tested.iter().map(|tested| {
            graph.add(ScoreStage {
                settings: self.of_scoring().into(),
                grid: inputs.grid,
                side: inputs.image.size,
                features: tested.pool.clone(),
                model: model.clone(),
                test: &tested.images,
                device: inputs.device.clone(),
                dim: inputs.dim,
                name: &tested.name,
            })
        });
        let scores = scores.collect();
        Ok(Outputs { scores, model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        // Image scores come with the patch scores, so `top_k` is never asked.
        Scoring {
            top_k: 1,
            sigma: self.score.sigma,
            align_corners: self.score.align_corners,
            select: self.train.select,
        }
    }

    fn labels(&self) -> Vec<String> {
        let train = &self.train;
        let mut labels = Vec::new();
        // Training a tenth as long costs points (sheet §6), so short runs must not pass for the published setting.
        if train.epochs < Train::default().epochs {
            labels.push(format!("{} of {} epochs", train.epochs, Train::default().epochs));
        }
        if train.select == Select::BestTest {
            labels.push("oracle: best epoch chosen on the test set".into());
        }
        labels
    }
}
