//! PatchCore (CVPR 2022, arXiv 2106.08265): distance to the nearest patch of a coreset of normal patches. Its page,
//! docs/methods/patchcore.md:
//!
#![doc = include_str!("../../../docs/methods/patchcore.md")]

mod trial;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::neighbours::enough;
use super::trial::Trial;
use super::{BankPart, Given, Method, NORMAL_PART, NormalBank, Outputs, Parameters, Scoring, Select};
use crate::bank::neighbours::{Searcher, k_nearest};
use crate::device::precision;
use crate::error::Result;
use crate::matrix::Rows;
use crate::plan::{self, Compute, Computed, Features, Graph, Handle, Inputs, Job, RowsOf, Scores, StageKind, Work};
use crate::spec::{MethodFault, Settings};
use crate::store::TensorDecl;

tables! {
    /// PatchCore's parameters (docs/methods/patchcore.md, Keys).
    Params {
        /// The memory bank.
        bank: Bank = Bank::default(),
        /// From distances to scores.
        score: Score = Score::default(),
    }
    /// The memory bank.
    Bank {
        /// Normal patches.
        normal: NormalBank = NormalBank::default(),
    }
    /// From distances to scores.
    Score {
        /// A patch's score is the mean over this many neighbours.
        #[schemars(range(min = 1, max = 1000))]
        neighbours: usize = 1,
        /// Squared distances, as the released code returns them.
        squared: bool = true,
        /// Neighbours of the nearest bank entry in the paper's re-weighting of the image score (Eq. 7); 0 = off.
        #[schemars(range(max = 1000))]
        reweight: usize = 0,
        /// The image score is the mean of this many largest patch scores (1 = maximum).
        #[schemars(range(min = 1))]
        top_k: usize = 1,
        /// Standard deviation of the Gaussian on the map, in pixels of the evaluation size.
        #[schemars(range(min = 0.0, max = 1000.0))]
        sigma: f64 = 4.0,
    }
}

impl Parameters for Params {
    const NAME: &'static str = "patchcore";
    const ABOUT: &'static str =
        "PatchCore: nearest neighbour in a coreset of normal patches, no training (arXiv 2106.08265)";
    const BACKBONE: &'static str = "wide_resnet50_2";
    const PUBLISHED: &'static [&'static str] = &["bank.normal.scope"];
    const STAGES: &'static [StageKind] = &[StageKind::of::<ScorePatches>()];
    const TRIAL: &'static Trial = &trial::TRIAL;
    const PARTS: &'static [BankPart] = &[NORMAL_PART];

    fn sections() -> Json {
        json!({ "features": { "dim": 1024 } })
    }

    fn check(&self) -> Result<(), MethodFault> {
        match self.score.reweight {
            0 => Ok(()),
            1 => Err(MethodFault::new("score.reweight", "one neighbour makes the weight 0 for every image")
                .help("use 0 (off) or at least 2")),
            _ if self.score.top_k > 1 => {
                Err(MethodFault::new("score.reweight", "re-weights the maximum, so `method.score.top_k` must be 1"))
            }
            _ => Ok(()),
        }
    }
}

impl Method for Params {
    fn check(&self, given: &Given) -> Result<(), MethodFault> {
        self.bank.normal.check("bank.normal", given)
    }

    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let rows = inputs.classes.iter().map(|class| class.train_images * inputs.patches());
        let most = self.bank.normal.most(rows);
        enough("score.neighbours", self.score.neighbours, most, "bank.normal.ratio")?;
        enough("score.reweight", self.score.reweight, most, "bank.normal.ratio")?;
        let bank = self.bank.normal.stage(graph, inputs);
        // What image scores and maps are made of later decides no patch score.
        let shown = Score { top_k: Score::default().top_k, sigma: Score::default().sigma, ..self.score.clone() };
        let score = |tested: &'a plan::Tested| {
            graph.add(ScorePatches {
                score: shown.clone().into(),
                features: tested.pool.clone(),
                bank: bank.clone(),
                test: &tested.images,
                patches: inputs.patches(),
                name: &tested.name,
            })
        };
        let scores = inputs.tested.iter().map(score).collect();
        Ok(Outputs { scores, model: None, banks: vec![RowsOf::from(&bank)] })
    }

    fn scoring(&self) -> Scoring {
        Scoring {
            top_k: self.score.top_k,
            sigma: self.score.sigma,
            align_corners: false,
            select: Select::Last,
            ..Scoring::default()
        }
    }
}

/// Scores the test images of one class.
#[derive(Serialize)]
struct ScorePatches<'a> {
    score: Settings<Score>,
    features: Handle<Features>,
    bank: Handle<plan::OriginRows>,
    test: &'a [usize],
    #[serde(skip)]
    patches: usize,
    #[serde(skip)]
    name: &'a str,
}

impl Compute for ScorePatches<'_> {
    type Output = Scores;
    const KIND: &'static str = "scores";
    const METHOD: &'static str = Params::NAME;
    const VERSION: u32 = 1;

    fn label(&self) -> String {
        format!("{} scores", self.name)
    }

    fn work(&self) -> Work {
        let (rows, bank) = (self.test.len() * self.patches, self.bank.work);
        Work::matrix(rows, 1, 2.0 * (rows * bank.rows * bank.cols) as f64)
    }

    fn compute(&self, job: &Job) -> Result<Computed> {
        let (score, patches) = (&*self.score, self.patches);
        let (features, (bank, _)) = (job.open(&self.features)?, job.open(&self.bank)?);
        let mut tensors = vec![TensorDecl::f32("scores", &[1, self.test.len(), patches])];
        if score.reweight > 0 {
            tensors.push(TensorDecl::f32("image_scores", &[1, self.test.len()]));
        }
        let parts = [bank];
        let searcher = Searcher::new((&job.device()?, precision()), &parts, None)?;
        let mut writer = job.create(tensors)?;
        let mut image_scores = Vec::new();
        for (number, &image) in self.test.iter().enumerate() {
            (job.progress)(number, self.test.len());
            let rows = features.slice(image * patches..(image + 1) * patches);
            let found = match score.neighbours {
                1 => searcher.nearest(rows, None)?,
                several => k_nearest(rows, bank, several)?,
            };
            let power = |distance: f32| if score.squared { distance * distance } else { distance };
            let mean = |near: &[f32]| near.iter().map(|&d| power(d) as f64).sum::<f64>() / near.len() as f64;
            let patch_scores: Vec<f32> = found.distance.chunks(score.neighbours).map(|d| mean(d) as f32).collect();
            if score.reweight > 0 {
                image_scores.push(reweighted(rows, bank, &patch_scores, &found.index, score)?);
            }
            writer.f32(&patch_scores)?;
        }
        writer.f32(&image_scores)?;
        Ok(Computed::new(writer, json!({ "images": self.test.len() })))
    }
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
