//! DRA (CVPR 2022, arXiv 2203.14506): disentangled representations of seen, pseudo and unseen anomalies. Its page,
//! docs/methods/dra.md:
//!
#![doc = include_str!("../../../docs/methods/dra.md")]

mod loss;
mod network;
mod params;
mod sampler;
mod train;
mod trainer;
mod trial;

pub use loss::{Prior, Targets, deviation_loss};
pub use network::{HEADS, Heads, Network, top_count};
pub use params::{
    Loss, Map, NetworkParams, Params, Pseudo, PseudoSource, Pyramid, ReferenceScope, References, Schedule, Score,
    SeenHead, TestReferences, Train, TrainReferences,
};
pub use sampler::{Draft, Planes, Pool};
pub use trainer::{Batch, Label, Trainer};

use serde_json::{Value as Json, json};

use self::train::{Material, Score as ScoreStage, Train as TrainStage};
use super::trial::Trial;
use super::{ExtraDataset, Given, Method, Outputs, Parameters, Scoring, Select};
use crate::backbone::Kind;
use crate::error::{Error, Result};
use crate::plan::{Graph, Inputs, Pictures, StageKind, Tested};
use crate::spec::MethodFault;
use crate::train::JudgeImages;

impl Parameters for Params {
    const NAME: &'static str = "dra";
    const ABOUT: &'static str =
        "DRA: a trained network with heads for seen, pseudo and unseen anomalies (arXiv 2203.14506)";
    const BACKBONE: &'static str = "resnet18";
    const NETWORK: Option<Kind> = Some(Kind::Convolutions);
    const PUBLISHED: &'static [&'static str] = &[
        "network.scales",
        "network.frozen_blocks",
        "network.top_k",
        "references.count",
        "pseudo.source",
        "augment.rotation",
        "augment.flip",
        "augment.colour",
        "train.epochs",
        "train.steps",
        "train.batch",
    ];
    const STAGES: &'static [StageKind] = &[StageKind::of::<TrainStage>(), StageKind::of::<JudgeImages<ScoreStage>>()];
    const TRIAL: &'static Trial = &trial::TRIAL;

    fn sections() -> Json {
        json!({
            "image": { "size": 448 },
            "backbone": { "name": "resnet18", "layers": ["layer4"] },
            "features": { "aggregation": "concat", "patch": 1 },
        })
    }

    fn check(&self) -> Result<(), MethodFault> {
        let [low, high] = self.pseudo.cut.area;
        if !(0.0 < low && low <= high && high < 1.0) {
            let message = format!("[{low}, {high}] are no shares of an area, the smaller one first");
            return Err(MethodFault::new("pseudo.cut.area", message).help("the publication's are [0.02, 0.15]"));
        }
        if !self.score.weights.iter().all(|weight| weight.is_finite()) {
            return Err(MethodFault::new("score.weights", "a weight is not finite"));
        }
        Ok(())
    }
}

impl Params {
    /// What training uses.
    fn of_training(&self) -> Params {
        let references = References { test: References::default().test, ..self.references.clone() };
        Params { references, score: Score::default(), ..self.clone() }
    }

    /// What scoring uses: maps are smoothed later, and images are changed only where references are.
    fn of_scoring(&self) -> Params {
        let default = Params::default();
        let references = References { train: default.references.train, ..self.references.clone() };
        let score = Score { weights: self.score.weights, ..default.score };
        let network = NetworkParams { frozen_blocks: default.network.frozen_blocks, ..self.network.clone() };
        let changed = if references.test == TestReferences::RandomMixed { self } else { &default };
        let train = Train { batch: changed.train.batch, ..default.train.clone() };
        let (pseudo, augment) = (changed.pseudo.clone(), changed.augment.clone());
        Params { network, references, pseudo, augment, train, score, loss: default.loss }
    }

    /// The images of the external dataset by category, where pseudo-anomalies are made of them.
    fn externals(&self, inputs: &Inputs) -> Result<Vec<Pictures>> {
        if self.pseudo.source != PseudoSource::External {
            return Ok(Vec::new());
        }
        let categories = inputs.environment.outliers(&self.pseudo.dataset)?;
        categories.iter().map(|category| inputs.environment.pictures(&category.images)).collect()
    }

    fn material<'a>(&self, settings: Params, inputs: &'a Inputs) -> Result<Material<'a>> {
        Ok(Material {
            externals: settings.externals(inputs)?,
            settings: settings.into(),
            seed: inputs.seed,
            normals: inputs.pictures(),
            network: inputs.network.clone(),
            shape: inputs.shape(),
        })
    }

    /// The class whose references tested images are compared with; `None` where all classes' are.
    fn reference_class(&self, inputs: &Inputs, tested: &Tested) -> Result<Option<usize>> {
        if self.references.scope == ReferenceScope::Any {
            return Ok(None);
        }
        let known = inputs.classes.iter().position(|class| class.name == tested.name);
        match known.or((inputs.classes.len() == 1).then_some(0)) {
            Some(class) => Ok(Some(class)),
            None => Err(Error::usage(
                "with method.references.scope = \"class\" the class of every tested image has to be known",
                "use a run with method.references.scope = \"any\", or one model per class",
            )),
        }
    }
}

impl Method for Params {
    fn datasets(&self) -> Vec<ExtraDataset> {
        let external = ExtraDataset {
            name: self.pseudo.dataset.clone(),
            key: "pseudo.dataset",
            why: "its images are pseudo-anomalies; do without them with method.pseudo.source = \"cutmix\"",
            per_class: None,
        };
        if self.pseudo.source == PseudoSource::External { vec![external] } else { Vec::new() }
    }

    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        let smallest = given.side >> (self.network.scales - 1);
        if smallest < 32 {
            let message = format!("images of {} pixels are {smallest} wide at the smallest scale", given.side);
            return Err(
                MethodFault::new("network.scales", message).help("32 is the least: lower it, or raise image.size")
            );
        }
        Ok(())
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let seen = inputs.seen_pictures()?;
        let asks_seen = self.asks_seen(!seen.is_empty());
        let model = graph.add(TrainStage {
            material: self.material(self.of_training(), inputs)?,
            seen,
            seen_classes: inputs.seen().map(|(class, _)| class).collect(),
            device: inputs.device.clone(),
        });
        let scores = JudgeImages::stages(graph, inputs, &model, |tested| {
            let (material, class) = (self.material(self.of_scoring(), inputs)?, self.reference_class(inputs, tested)?);
            Ok(ScoreStage { material, asks_seen, class })
        })?;
        Ok(Outputs { scores, model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        let mapless = self.score.map == Map::None;
        Scoring { mapless, ..Scoring::of_maps(self.score.sigma, false, Select::Last) }
    }

    fn labels(&self) -> Vec<String> {
        let scope =
            (self.references.scope == ReferenceScope::Class).then(|| "classes of tested images are known".into());
        let map = (self.score.map == Map::Heads).then(|| "pixel scores of our own, from the heads' maps".into());
        scope.into_iter().chain(map).collect()
    }
}
