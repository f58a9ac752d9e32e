//! DMAD: dual memory bank (arXiv 2403.12362). Backbone and banks are frozen and nothing is augmented, so features and
//! neighbours are stages computed once. Its page, docs/methods/dmad.md:
//!
#![doc = include_str!("../../../docs/methods/dmad.md")]

mod banks;
mod descent;
mod filter;
mod memory;
mod network;
mod params;
mod score;
mod seen;
mod train;
mod trainer;
mod trial;

pub use network::{Network, PatchRows};
pub use params::{AttentionMode, AutoNumber, Params, Switch};
pub use trainer::Trainer;

use self::banks::OutlierBank;
use self::memory::{Memory, Own};
use self::params::Train;
use self::score::Score;
use self::seen::{SeenBank, SeenPatches};
use self::train::Train as TrainStage;
use super::trial::Trial;
use super::{BankPart, ExtraDataset, Given, ImageScore, Method, Outputs, Parameters, Scoring, Select, training_labels};
use crate::error::Result;
use crate::plan::{Graph, Inputs, RowsOf, StageKind};
use crate::spec::{MethodContext, MethodFault};
use crate::train::{Keep, ScoreImages};

impl Params {
    /// What training uses beyond its inputs: banks, filter and neighbours are in these, scores come after. Which epoch is
    /// reported is none of its business, only whether all are kept.
    pub fn of_training(&self) -> Params {
        let Params { bank, filter, neighbours, score, .. } = Params::default();
        let train = Train { select: Select::Last, curve: self.train.keep() == Keep::Every, ..self.train.clone() };
        Params { bank, filter, neighbours, score, train, ..self.clone() }
    }

    /// What the forward pass uses.
    pub fn of_scoring(&self) -> Params {
        let Params { noise, loss, train, mut score, .. } = Params::default();
        if self.score.image == ImageScore::Map {
            score = params::Score { image: ImageScore::Map, sigma: self.score.sigma, ..score };
        }
        Params { noise, loss, train, score, ..self.of_training() }
    }
}

impl Parameters for Params {
    const NAME: &'static str = "dmad";
    const ABOUT: &'static str = "DMAD: dual memory bank of normal and abnormal patches (arXiv 2403.12362)";
    const BACKBONE: &'static str = "wide_resnet50_2";
    const PUBLISHED: &'static [&'static str] = &[
        "train.epochs",
        "train.batch",
        "mlp.blocks",
        "mlp.hidden",
        "noise.std",
        "noise.relative",
        "bank.normal.scope",
    ];
    const STAGES: &'static [StageKind] = &[
        StageKind::of::<OutlierBank>(),
        StageKind::of::<SeenPatches>(),
        StageKind::of::<SeenBank>(),
        StageKind::of::<TrainStage>(),
        StageKind::of::<ScoreImages<Score>>(),
    ];
    const TRIAL: &'static Trial = &trial::TRIAL;
    const PARTS: &'static [BankPart] = seen::PARTS;

    fn resolve(&mut self, context: &MethodContext) {
        let seen = context.seen_count > 0;
        if self.attention.mode == AttentionMode::Auto {
            self.attention.mode = if seen { AttentionMode::Off } else { AttentionMode::Token };
        }
        if self.knowledge.batch_norm == Switch::Auto {
            let off = self.attention.mode == AttentionMode::Off;
            self.knowledge.batch_norm = if off { Switch::Off } else { Switch::On };
        }
        self.loss.lambda1 = self.loss.lambda1.or(if seen { 0.5 } else { 1.0 });
        self.loss.lambda2 = self.loss.lambda2.or(if seen { 15.0 } else { 0.0 });
    }

    fn check(&self) -> Result<(), MethodFault> {
        self.score.image.check(self.score.top_k)
    }
}

impl Method for Params {
    fn datasets(&self) -> Vec<ExtraDataset> {
        let outlier = &self.bank.outlier;
        let textures = ExtraDataset {
            name: outlier.dataset.clone(),
            key: "bank.outlier.dataset",
            why: "its textures make the outlier bank: `method.bank.outlier.dataset` names another set, \
                  `method.bank.outlier.enabled = false` does without",
            per_class: Some((outlier.images_per_category, "bank.outlier.images_per_category")),
        };
        if outlier.enabled { vec![textures] } else { Vec::new() }
    }

    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        self.bank.normal.check("bank.normal", given)?;
        self.bank.outlier_coreset().check("bank.outlier.coreset", given)
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let memory = Memory::new(graph, inputs, self)?;
        let (mut normals, mut first) = (Vec::new(), 0);
        for class in &inputs.classes {
            let own = Own::Normal { first };
            normals.push(memory.search(graph, &class.train, own, &format!("{} train", class.name)));
            first += class.train_images * inputs.patches();
        }
        let seen = memory.seen.clone().map(|seen| memory.search(graph, &seen, Own::Seen(&seen), "seen anomalies"));
        let model = graph.add(TrainStage {
            settings: self.of_training().into(),
            seed: inputs.seed,
            memory: memory.banks.clone(),
            normals,
            seen_images: seen.as_ref().and(memory.seen.clone()),
            seen,
            device: inputs.device.clone(),
            shape: inputs.shape(),
        });
        let scores = ScoreImages::stages(graph, inputs, &model, |graph, tested| Score {
            settings: self.of_scoring().into(),
            queries: memory.search(graph, &tested.pool, Own::Nothing, &format!("{} test", tested.name)),
            memory: memory.banks.clone(),
            shape: inputs.shape(),
        });
        let banks = [vec![RowsOf::from(&memory.banks.normal)], memory.banks.abnormal].concat();
        Ok(Outputs { scores, model: Some(model), banks })
    }

    fn scoring(&self) -> Scoring {
        let Params { score, train, .. } = self;
        Scoring {
            top_k: score.top_k,
            sigma: score.sigma,
            align_corners: false,
            select: train.select,
            ..Scoring::default()
        }
    }

    fn labels(&self) -> Vec<String> {
        training_labels(self.train.patches_per_image, self.train.select)
    }
}
