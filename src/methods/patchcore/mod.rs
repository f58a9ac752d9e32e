//! PatchCore (CVPR 2022, arXiv 2106.08265): distance to the nearest patch of a coreset of normal patches.
//!
//! Without training, this is also the 1-nearest-neighbour baseline of every other method's features. The released code
//! returns squared distances and has no re-weighting of image scores; the paper's Eq. 7 is `score.reweight`.

mod trial;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::common::{CoresetParams, NormalBankParams, normal_bank};
use super::{Entry, Method, Outputs, Scoring, Select};
use crate::bank::neighbours::k_nearest;
use crate::bank::project::Kind;
use crate::error::{Error, Result};
use crate::matrix::Rows;
use crate::plan::{Computed, Graph, Inputs, Job, Stage, Work};
use crate::spec::{MethodFault, MethodKind, read_params, schema_of, write_params};
use crate::store::TensorDecl;

/// Registry row.
pub const ENTRY: Entry = Entry {
    kind: MethodKind {
        name: "patchcore",
        about: "PatchCore: nearest neighbour in a coreset of normal patches, no training (arXiv 2106.08265)",
        schema: schema_of::<Params>,
        sections: || json!({ "features": { "dim": 1024 } }),
        fill: |json| read_params::<Params>(json).map(|params| write_params(&params)),
        resolve: |json, _| resolve(json),
    },
    build: |json, seed| {
        let params = read_params(json.clone()).map_err(|fault| Error::method(fault.message, fault.key))?;
        Ok(Box::new(PatchCore { params, seed }))
    },
    trial: &trial::TRIAL,
};

/// PatchCore's parameters (sheet §2, §6, §7).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The memory bank.
    pub bank: Bank,
    /// From distances to scores.
    pub score: Score,
}

/// The memory bank.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bank {
    /// Normal patches.
    pub normal: Normal,
}

/// Which rows compete for a place in the bank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All classes together.
    #[default]
    Joint,
    /// Every class gives its share.
    PerClass,
}

/// Greedy coreset semantics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The released code's: distances start as the mean to random rows, which are no members.
    #[default]
    Approximate,
    /// Textbook k-centre from a random row.
    Plain,
}

/// Normal patches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Normal {
    /// Share of all normal patches that is kept.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub ratio: f64,
    /// Which rows compete.
    pub scope: Scope,
    /// Random projection before the coreset; 0 = none.
    #[schemars(range(max = 16384))]
    pub projection: usize,
    /// How its weights are drawn.
    pub projection_kind: Kind,
    /// Greedy coreset semantics.
    pub selection: Selection,
    /// Random start rows of the `approximate` selection.
    #[schemars(range(min = 1, max = 1000))]
    pub starts: usize,
}

impl Default for Normal {
    fn default() -> Self {
        Normal {
            ratio: 0.1,
            scope: Scope::Joint,
            projection: 128,
            projection_kind: Kind::Uniform,
            selection: Selection::Approximate,
            starts: 10,
        }
    }
}

/// From distances to scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Score {
    /// A patch's score is the mean over this many neighbours.
    #[schemars(range(min = 1, max = 1000))]
    pub neighbours: usize,
    /// Squared distances, as the released code returns them.
    pub squared: bool,
    /// Neighbours of the nearest bank entry in the paper's re-weighting of the image score (Eq. 7); 0 = off.
    #[schemars(range(max = 1000))]
    pub reweight: usize,
    /// The image score is the mean of this many largest patch scores (1 = maximum).
    #[schemars(range(min = 1))]
    pub top_k: usize,
    /// Standard deviation of the Gaussian on the map, in pixels of the evaluation size.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub sigma: f64,
}

impl Default for Score {
    fn default() -> Self {
        Score { neighbours: 1, squared: true, reweight: 0, top_k: 1, sigma: 4.0 }
    }
}

fn resolve(json: Json) -> Result<Json, MethodFault> {
    let params: Params = read_params(json)?;
    if params.score.reweight == 1 {
        let message = "one neighbour makes the weight 0 for every image";
        return Err(MethodFault {
            help: Some("use 0 (off) or at least 2".into()),
            ..MethodFault::new("score.reweight", message)
        });
    }
    if params.score.reweight > 0 && params.score.top_k > 1 {
        return Err(MethodFault::new("score.reweight", "re-weights the maximum, so `method.score.top_k` must be 1"));
    }
    Ok(write_params(&params))
}

/// PatchCore with its parameters.
struct PatchCore {
    params: Params,
    seed: u64,
}

impl Method for PatchCore {
    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        debug_assert_eq!(self.seed, inputs.seed);
        let normal = &self.params.bank.normal;
        let bank = normal_bank(
            graph,
            inputs,
            &NormalBankParams {
                ratio: normal.ratio,
                per_class: normal.scope == Scope::PerClass,
                coreset: CoresetParams {
                    projection: normal.projection,
                    kind: normal.projection_kind,
                    approximate: normal.selection == Selection::Approximate,
                    starts: normal.starts,
                },
            },
        );
        let (patches, bank_rows) = (inputs.patches(), graph.stage(bank).work.rows);
        let scores = inputs.tested.iter().map(|tested| {
            let (test, score) = (tested.images.clone(), self.params.score.clone());
            let own = json!({ "neighbours": score.neighbours, "squared": score.squared, "reweight": score.reweight });
            let rows = test.len() * patches;
            graph.add(Stage {
                kind: "scores",
                version: 1,
                params: json!({ "method": "patchcore", "score": own, "test": tested.images }),
                inputs: vec![tested.pool, bank],
                images: String::new(),
                weights: String::new(),
                label: format!("{} scores", tested.name),
                work: Work::matrix(rows, 1, 2.0 * (rows * bank_rows * inputs.dim) as f64),
                compute: Box::new(move |job| compute_scores(job, &score, &test, patches)),
            })
        });
        Ok(Outputs { scores: scores.collect(), model: None, banks: vec![bank] })
    }

    fn scoring(&self) -> Scoring {
        Scoring {
            top_k: self.params.score.top_k,
            sigma: self.params.score.sigma,
            align_corners: false,
            select: Select::Last,
        }
    }
}

fn compute_scores(job: &Job, score: &Score, test: &[usize], patches: usize) -> Result<Computed> {
    let (features, bank) = (job.inputs[0].rows("features")?, job.inputs[1].rows("rows")?);
    let mut tensors = vec![TensorDecl::f32("scores", &[1, test.len(), patches])];
    if score.reweight > 0 {
        tensors.push(TensorDecl::f32("image_scores", &[1, test.len()]));
    }
    let mut writer = job.create(tensors)?;
    let mut image_scores = Vec::new();
    for (number, &image) in test.iter().enumerate() {
        (job.progress)(number, test.len());
        let rows = features.slice(image * patches..(image + 1) * patches);
        let found = k_nearest(rows, bank, score.neighbours)?;
        let power = |distance: f32| if score.squared { distance * distance } else { distance };
        let mean = |distances: &[f32]| distances.iter().map(|&d| power(d) as f64).sum::<f64>() / distances.len() as f64;
        let patch_scores: Vec<f32> = found.distance.chunks(score.neighbours).map(|d| mean(d) as f32).collect();
        if score.reweight > 0 {
            image_scores.push(reweighted(rows, bank, &patch_scores, &found.index, score)?);
        }
        writer.f32(&patch_scores)?;
    }
    writer.f32(&image_scores)?;
    Ok(Computed::new(writer, json!({ "images": test.len() })))
}

/// s = (1 − exp‖x* − m*‖ / Σ exp‖x* − m‖ over the b bank entries nearest to m*)·s*, for the worst patch x* (Eq. 7).
fn reweighted(rows: Rows, bank: Rows, patch_scores: &[f32], nearest: &[u32], score: &Score) -> Result<f32> {
    let worst = (0..patch_scores.len()).rev().max_by(|&a, &b| patch_scores[a].total_cmp(&patch_scores[b])).unwrap_or(0);
    let entry = nearest[worst * score.neighbours] as usize;
    let around = k_nearest(bank.slice(entry..entry + 1), bank, score.reweight)?;
    let distance = |row: usize| {
        let pairs = rows.row(worst).iter().zip(bank.row(row));
        pairs.map(|(&a, &b)| (a as f64 - b as f64).powi(2)).sum::<f64>().sqrt()
    };
    // Relative to the nearest, so that the exponentials of large distances stay finite.
    let own = distance(entry);
    let total: f64 = around.index.iter().map(|&row| (distance(row as usize) - own).exp()).sum();
    Ok(((1.0 - 1.0 / total) * own) as f32)
}
