//! Dinomaly (CVPR 2025, arXiv 2405.14325): one simple reconstruction model for all classes. Its page,
//! docs/methods/dinomaly.md:
//!
#![doc = include_str!("../../../docs/methods/dinomaly.md")]

mod attention;
mod encoder;
mod loss;
mod network;
mod params;
mod score;
mod train;
mod trainer;
mod trial;

pub use attention::attend;
pub use encoder::Design;
pub use loss::{group_distance, mined, place_distances, threshold};
pub use network::Network;
pub use params::{Attention, EncoderParams, Layers, Loss, NetworkParams, Params, Score, Tokens, Train};
pub use score::image_map;
pub use trainer::Trainer;

use serde_json::{Value as Json, json};

use self::score::Score as ScoreStage;
use self::train::Train as TrainStage;
use super::trial::Trial;
use super::{Method, Outputs, Parameters, Scoring, Select, Window, training_labels};
use crate::error::{Error, Result};
use crate::plan::{Graph, Inputs, Shape, StageKind};
use crate::spec::MethodFault;
use crate::train::{JudgeImages, Keep};

impl Parameters for Params {
    const NAME: &'static str = "dinomaly";
    const ABOUT: &'static str =
        "Dinomaly: a decoder that rebuilds groups of a frozen transformer's layers (arXiv 2405.14325)";
    const BACKBONE: &'static str = "dinov2_vitb14_reg";
    const PUBLISHED: &'static [&'static str] =
        &["network.blocks", "network.groups", "train.epochs", "train.steps", "train.batch"];
    const STAGES: &'static [StageKind] = &[StageKind::of::<TrainStage>(), StageKind::of::<JudgeImages<ScoreStage>>()];
    const TRIAL: &'static Trial = &trial::TRIAL;

    fn sections() -> Json {
        let layers: Vec<String> = (2..=9).map(|block| format!("block{block}")).collect();
        json!({
            "image": { "resize": 448, "size": 392, "keep_aspect": false },
            "backbone": { "name": "dinov2_vitb14_reg", "layers": layers },
            "features": { "aggregation": "concat", "patch": 1 },
        })
    }

    fn check(&self) -> Result<(), MethodFault> {
        let NetworkParams { blocks, groups, neighbour_mask, .. } = self.network;
        if !blocks.is_multiple_of(groups) {
            let message = format!("{blocks} blocks cannot be divided into {groups} equal groups");
            return Err(MethodFault::new("network.blocks", message).help("change it or `method.network.groups`"));
        }
        let odd = [("network.neighbour_mask", neighbour_mask), ("score.kernel", self.score.kernel)];
        if let Some((key, side)) = odd.into_iter().find(|(_, side)| *side > 0 && side.is_multiple_of(2)) {
            let message = format!("a square of {side} has no centre");
            return Err(MethodFault::new(key, message).help("use an odd number"));
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

    /// What scoring uses of the networks: nothing is dropped there.
    fn of_scoring(&self) -> NetworkParams {
        NetworkParams { dropout: NetworkParams::default().dropout, ..self.network.clone() }
    }

    /// What else cannot be done with tokens and images like these.
    fn check_inputs(&self, design: &Design, shape: Shape) -> Result<()> {
        let (images, batch) = (shape.images, self.train.batch);
        if self.train.epochs > 0 && images < batch {
            let what = format!("{images} training images do not fill a batch of {batch}, and rests are left out");
            return Err(Error::usage(what, "lower `method.train.batch`"));
        }
        if !attention::every_token_sees(&self.network, design) {
            let what = format!("a neighbour mask of {} hides all tokens from one", self.network.neighbour_mask);
            return Err(Error::usage(what, "lower `method.network.neighbour_mask`, or use larger images"));
        }
        Ok(())
    }
}

impl Method for Params {
    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let (shape, network) = (inputs.shape(), &inputs.network);
        let design = Design::of(network, shape.side, &self.encoder, &self.network)?;
        self.check_inputs(&design, shape)?;
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
                encoder: self.encoder.clone().into(),
                settings: self.of_scoring().into(),
                score: Score { smooth_maps: true, ..self.score.clone() }.into(),
                network: network.clone(),
                design: design.clone(),
                shape,
            })
        })?;
        Ok(Outputs { scores, model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        let &Score { align_corners, sigma, kernel, border, smooth_maps, .. } = &self.score;
        let sigma = if smooth_maps { sigma } else { 0.0 };
        let window = Some(Window { kernel, border, ..Window::default() });
        Scoring { window, ..Scoring::of_maps(sigma, align_corners, self.train.select) }
    }

    fn labels(&self) -> Vec<String> {
        let mut labels = training_labels(0, self.train.select);
        if self.encoder.layers == Layers::Concat {
            labels.push("not the published encoder: maps of several strides side by side".into());
        }
        labels
    }
}
