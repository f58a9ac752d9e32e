//! AnomalyDINO (WACV 2025, arXiv 2405.14529): cosine distance to the nearest patch of a few normal images, or of all, on tokens of
//! a vision transformer. Its page, docs/methods/anomalydino.md:
//!
#![doc = include_str!("../../../docs/methods/anomalydino.md")]

mod bank;
pub mod mask;
mod params;
pub mod score;
mod trial;

use serde_json::{Value as Json, json};

use super::neighbours::enough;
use super::trial::Trial;
use super::{BankPart, Given, Method, Outputs, Parameters, Scoring, Select};
use crate::error::Result;
use crate::plan::{self, Compute, Features, Graph, Handle, Inputs, RowsOf, StageKind};
use crate::random::{Purpose, name_index, stream};
use crate::spec::MethodFault;
use bank::CollectReferences;
pub use params::{Apply, Bank, Mask, Metric, Params, Pick, Score};
use score::ScorePatches;

/// What the bank holds.
const REFERENCES: BankPart = BankPart {
    name: "normal",
    label: "M (references)",
    normal: true,
    stage: <CollectReferences as Compute>::KIND,
    rows: None,
};

impl Parameters for Params {
    const NAME: &'static str = "anomalydino";
    const ABOUT: &'static str =
        "AnomalyDINO: nearest patch of few normal images, on tokens of DINOv2, no training (arXiv 2405.14529)";
    const BACKBONE: &'static str = "dinov2_vits14";
    const STAGES: &'static [StageKind] = &[StageKind::of::<CollectReferences>(), StageKind::of::<ScorePatches>()];
    const TRIAL: &'static Trial = &trial::TRIAL;
    const PARTS: &'static [BankPart] = &[REFERENCES];

    fn sections() -> Json {
        json!({
            "image": { "size": 448, "filter": "bicubic" },
            "backbone": { "name": "dinov2_vits14" },
            "features": { "aggregation": "concat", "patch": 1 },
        })
    }

    fn check(&self) -> Result<(), MethodFault> {
        let turns = self.bank.rotations;
        if turns > 1 && !360usize.is_multiple_of(turns) {
            let message = format!("{turns} turns are no whole degrees apart");
            return Err(MethodFault::new("bank.rotations", message).help("use a divisor of 360, 8 in the paper"));
        }
        if !self.mask.threshold.is_finite() {
            return Err(MethodFault::new("mask.threshold", "is not finite"));
        }
        Ok(())
    }
}

impl Params {
    /// The images of a list of `count` that are references.
    fn chosen(&self, seed: u64, class: &str, count: usize) -> Vec<usize> {
        let shots = self.bank.shots;
        if shots == 0 || shots >= count {
            return (0..count).collect();
        }
        match self.bank.pick {
            Pick::Chunk => {
                let chunk = (seed % count.div_ceil(shots) as u64) as usize;
                (chunk * shots..count.min((chunk + 1) * shots)).collect()
            }
            Pick::Random => {
                let mut chosen = stream(seed, Purpose::TestReferences, name_index(class)).choose(count, shots);
                chosen.sort_unstable();
                chosen
            }
        }
    }

    /// By how many degrees every reference is turned, unturned first.
    fn degrees(&self) -> Vec<u32> {
        let turns = match (self.bank.rotations, self.bank.shots) {
            (0, 0) => 1,
            (0, _) => params::TURNS,
            (turns, _) => turns,
        };
        (0..turns).map(|turn| (turn * 360 / turns) as u32).collect()
    }

    /// The features of a class's references, and whether there are fewer images than were asked for.
    fn references<'a>(
        &self,
        graph: &mut Graph<'a>,
        inputs: &'a Inputs,
        class: &plan::ClassInputs,
    ) -> Result<(Handle<Features>, usize)> {
        let (count, degrees) = (class.train_images, self.degrees());
        let chosen = self.chosen(inputs.seed, &class.name, count);
        if chosen.len() == count && degrees == [0] {
            return Ok((class.train.clone(), count));
        }
        let label = format!("{} reference features", class.name);
        let features = inputs.environment.turned(graph, &class.pictures, &chosen, &degrees, &label)?;
        Ok((features, chosen.len() * degrees.len()))
    }

    /// The bank of all classes.
    fn collected<'a>(&self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Handle<plan::Bank>> {
        let mut references = Vec::new();
        let mut counts = Vec::new();
        for class in &inputs.classes {
            let (features, count) = self.references(graph, inputs, class)?;
            references.push(features);
            counts.push(count);
        }
        // What is background and left out is not known yet.
        let rows = counts.iter().map(|count| count * inputs.patches());
        let most = if self.coreset.ratio < 1.0 { self.coreset.most(rows) } else { rows.sum() };
        enough("score.neighbours", self.score.neighbours, most, "bank.shots or method.coreset.ratio")?;
        let names: Vec<String> = inputs.classes.iter().map(|class| class.name.clone()).collect();
        let masked = names.iter().map(|name| self.mask.references && self.mask.applies(name)).collect::<Vec<_>>();
        let fewest = inputs.classes.iter().map(|class| class.train_images).min().unwrap_or_default();
        Ok(graph.add(CollectReferences {
            references,
            metric: self.score.metric,
            threshold: masked.contains(&true).then_some(self.mask.threshold),
            masked,
            thinning: bank::Thinning::new(&self.coreset, inputs.seed, &names),
            names,
            grid: inputs.grid,
            images: counts.iter().sum(),
            dim: inputs.dim,
            lacking: self.bank.shots.saturating_sub(fewest),
        }))
    }
}

impl Method for Params {
    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        if self.coreset.ratio < 1.0 { self.coreset.check("coreset", given) } else { Ok(()) }
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let bank = self.collected(graph, inputs)?;
        let only = (inputs.classes.len() == 1).then(|| inputs.classes[0].name.as_str());
        let score = |tested: &'a plan::Tested| {
            let masked = self.mask.applies(only.unwrap_or(&tested.name));
            graph.add(ScorePatches {
                score: Score { sigma: Score::default().sigma, ..self.score.clone() }.into(),
                mask: masked.then_some((self.mask.threshold, self.mask.in_score)),
                features: tested.pool.clone(),
                bank: bank.clone(),
                test: &tested.images,
                grid: inputs.grid,
                name: &tested.name,
            })
        };
        let scores = inputs.tested.iter().map(score).collect();
        Ok(Outputs { scores, model: None, banks: vec![RowsOf::from(&bank)] })
    }

    fn scoring(&self) -> Scoring {
        Scoring::of_maps(self.score.sigma, false, Select::Last)
    }
}
