//! DM-GRD (ACCV 2024): reverse distillation guided by a memory of normal images and one of synthetic anomalies. Its page,
//! docs/methods/dm_grd.md:
//!
#![doc = include_str!("../../../docs/methods/dm_grd.md")]

mod fusion;
mod loss;
mod memory;
mod network;
mod params;
mod sampler;
mod score;
mod select;
mod train;
mod trainer;
mod trial;

pub use fusion::Fusion;
pub use loss::{contrast, fused_triplet, memory_triplet, transport, whole_cosines};
pub use memory::MemoryView;
pub use network::Network;
pub use params::{
    FusionKind, FusionParams, Loss, MemoryParams, Order, Params, Score, Selection, SynthesisParams, Target, Train,
    Transport, Triplet,
};
pub use select::{Selected, select};
pub use trainer::{Batch, Losses, Trainer};

use serde_json::{Value as Json, json};

use self::memory::{FillMemory, Memory, MemoryKind, abnormal_rows, normal_rows};
use self::score::Score as ScoreStage;
use self::train::Train as TrainStage;
use super::distillation::Design;
use super::trial::Trial;
use super::{BankPart, ExtraDataset, Given, Method, Outputs, Parameters, Scoring, Select, training_labels};
use crate::backbone::Kind;
use crate::error::Result;
use crate::plan::{Compute, Graph, Handle, Inputs, Pictures, RowsOf, StageKind};
use crate::spec::MethodFault;
use crate::train::{JudgeImages, Keep};

impl Parameters for Params {
    const NAME: &'static str = "dm_grd";
    const ABOUT: &'static str =
        "DM-GRD: reverse distillation guided by a normal and an abnormal memory, with synthetic anomalies (ACCV 2024)";
    const BACKBONE: &'static str = "wide_resnet50_2";
    const NETWORK: Option<Kind> = Some(Kind::Convolutions);
    const PUBLISHED: &'static [&'static str] = &[
        "synthesis.anomaly.mix",
        "synthesis.anomaly.blend",
        "synthesis.probability",
        "memory.size",
        "memory.normal",
        "memory.abnormal",
        "fusion.kind",
        "fusion.scale",
        "loss.kd_target",
        "train.epochs",
        "train.steps",
        "train.batch",
        "train.lr",
        "train.warmup_steps",
        "score.top_k",
    ];
    const STAGES: &'static [StageKind] =
        &[StageKind::of::<FillMemory>(), StageKind::of::<TrainStage>(), StageKind::of::<JudgeImages<ScoreStage>>()];
    const PARTS: &'static [BankPart] = &[
        BankPart {
            name: "normal_memory",
            label: "memory of normal images",
            normal: true,
            stage: FillMemory::KIND,
            rows: Some(normal_rows),
        },
        BankPart {
            name: "abnormal_memory",
            label: "memory of anomalies",
            normal: false,
            stage: FillMemory::KIND,
            rows: Some(abnormal_rows),
        },
    ];
    const TRIAL: &'static Trial = &trial::TRIAL;

    fn sections() -> Json {
        json!({
            "image": { "size": 256 },
            "backbone": { "name": "wide_resnet50_2", "layers": ["layer1", "layer2", "layer3"] },
            "features": { "aggregation": "concat", "patch": 1 },
        })
    }

    fn check(&self) -> Result<(), MethodFault> {
        let (memory, loss) = (&self.memory, &self.loss);
        let needs = |what: &str| {
            let help = "set it to off, or turn on what it needs";
            Err(MethodFault::new("loss.triplet", format!("needs {what}")).help(help))
        };
        match loss.triplet {
            Triplet::LogOnly if memory.select != Selection::Code => {
                needs("the table of `method.memory.select = \"code\"`, whose columns it takes for channels")
            }
            Triplet::LogOnly if !(memory.normal && memory.abnormal) => needs("both memories"),
            Triplet::OnMsff if !memory.abnormal => needs("`method.memory.abnormal = true`"),
            _ => Ok(()),
        }
    }
}

impl Params {
    /// Whether any training image becomes an anomaly.
    fn trains_on_anomalies(&self) -> bool {
        self.synthesis.order == Order::Alternate || self.synthesis.probability > 0.0
    }

    /// What training uses besides the memories.
    fn of_training(&self) -> Params {
        let default = Params::default();
        let train = Train { select: Select::Last, curve: self.train.keep() == Keep::Every, ..self.train.clone() };
        let memory = MemoryParams { select: self.memory.select, ..default.memory };
        let changes = if self.trains_on_anomalies() { self.synthesis.clone() } else { default.synthesis };
        let synthesis = SynthesisParams {
            dataset: SynthesisParams::default().dataset,
            probability: self.synthesis.probability,
            order: self.synthesis.order,
            ..changes
        };
        Params { synthesis, memory, train, score: default.score, ..self.clone() }
    }

    /// What scoring uses besides the memory.
    fn of_scoring(&self) -> Params {
        let memory = MemoryParams { select: self.memory.select, ..MemoryParams::default() };
        Params { memory, fusion: self.fusion.clone(), score: self.score.clone(), ..Params::default() }
    }

    /// The images of the dataset of textures, by category.
    fn textures(&self, inputs: &Inputs) -> Result<Vec<Pictures>> {
        let categories = inputs.environment.outliers(&self.synthesis.dataset)?;
        categories.iter().map(|category| inputs.environment.pictures(&category.images)).collect()
    }

    /// Adds a memory to a graph.
    fn memory<'a>(&self, graph: &mut Graph<'a>, inputs: &'a Inputs, kind: MemoryKind) -> Result<Handle<Memory>> {
        let abnormal = kind == MemoryKind::Abnormal;
        let (anomaly, default) = (self.synthesis.anomaly.clone(), SynthesisParams::default());
        Ok(graph.add(FillMemory {
            kind,
            settings: MemoryParams { size: self.memory.size, ..MemoryParams::default() }.into(),
            synthesis: if abnormal { SynthesisParams { anomaly, ..default } } else { default }.into(),
            seed: inputs.seed,
            normals: inputs.pictures(),
            textures: if abnormal { self.textures(inputs)? } else { Vec::new() },
            network: inputs.network.clone(),
            device: inputs.device.clone(),
            shape: inputs.shape(),
        }))
    }
}

impl Method for Params {
    fn datasets(&self) -> Vec<ExtraDataset> {
        let textures = ExtraDataset {
            name: self.synthesis.dataset.clone(),
            key: "synthesis.dataset",
            why: "its images are mixed into synthetic anomalies; do without them with method.synthesis.probability = 0 \
                  and method.memory.abnormal = false",
            per_class: None,
        };
        if self.trains_on_anomalies() || self.memory.abnormal { vec![textures] } else { Vec::new() }
    }

    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        if self.memory.select == Selection::Code && !self.memory.size.is_multiple_of(given.layers) {
            let message = format!("{} images are no multiple of {} layers", self.memory.size, given.layers);
            let help =
                "with `method.memory.select = \"code\"` the last images could never be chosen; the publication has 30";
            return Err(MethodFault::new("memory.size", message).help(help));
        }
        Ok(())
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let design = Design::of(&inputs.network, inputs.image.size)?;
        let wanted = [(self.memory.normal, MemoryKind::Normal), (self.memory.abnormal, MemoryKind::Abnormal)];
        let mut memory =
            |(wanted, kind): (bool, MemoryKind)| wanted.then(|| self.memory(graph, inputs, kind)).transpose();
        let [normal, abnormal] = [memory(wanted[0])?, memory(wanted[1])?];
        let model = graph.add(TrainStage {
            settings: self.of_training().into(),
            seed: inputs.seed,
            normals: inputs.pictures(),
            textures: if self.trains_on_anomalies() { self.textures(inputs)? } else { Vec::new() },
            normal: normal.clone(),
            abnormal: abnormal.clone(),
            network: inputs.network.clone(),
            device: inputs.device.clone(),
            design: design.clone(),
            shape: inputs.shape(),
        });
        let scores = JudgeImages::stages(graph, inputs, &model, |_| {
            Ok(ScoreStage {
                settings: self.of_scoring().into(),
                memory: normal.clone(),
                network: inputs.network.clone(),
                design: design.clone(),
                shape: inputs.shape(),
            })
        })?;
        let banks = normal.iter().chain(&abnormal).map(RowsOf::from).collect();
        Ok(Outputs { scores, model: Some(model), banks })
    }

    fn scoring(&self) -> Scoring {
        Scoring::of_maps(self.score.sigma, true, self.train.select)
    }

    fn labels(&self) -> Vec<String> {
        let mut labels = training_labels(0, self.train.select);
        if self.memory.select != Selection::Code {
            labels.push("memory searched by distance, which the released code does not do".into());
        }
        if self.loss.triplet == Triplet::OnMsff {
            labels.push("margin between memories of our own, on fused maps".into());
        }
        labels
    }
}
