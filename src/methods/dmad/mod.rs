//! DMAD: dual memory bank (arXiv 2403.12362).
//!
//! Patches of a frozen network; a bank of normal patches M_n and one of abnormal patches M_a (textures M_o; with seen
//! anomalies also their patches M_as and noisy copies of their centre M_p); knowledge = difference to the nearest
//! neighbour in each bank, plus attention; a small network judges [P(q), P(k_n), P(k_a)] and is trained by hinge losses
//! against noise and seen anomalies. Backbone and banks are frozen and nothing is augmented, so features and neighbours
//! are stages computed once.
//!
//! Where paper and released code part, both are reachable. What to know of the released code:
//! - It does not run as shipped (missing files, undefined names); its configuration holds SimpleNet's defaults.
//! - `attention.mode = "token"`: every patch is its own sequence, the softmax of one logit is 1, so A = W_v q + b_v; query
//!   and key layers have no effect, and A is the same for both banks. `image` is what the text describes, `literal` the
//!   formula as printed.
//! - Its attention optimiser is never stepped (`attention.train = false`), and its batch normalisation stays in training
//!   mode at test, which is not offered.
//! - With seen anomalies its normals use attention and its anomalies do not, which makes the two streams separable by
//!   construction; here attention is the same for all streams.
//! - It does not mix outliers with normals (`bank.outlier.beta = 1`), takes 0.015 for the centre's noise
//!   (`bank.center.std`), Adam for the scoring network (`mlp.optimizer`), the maximum for the image score
//!   (`score.top_k = 1`) and the best epoch on the test set (`train.select = "best_test"`).
//! - Every patch of a seen anomaly finds itself in M_as, so d_a = 0 for all of them in training
//!   (`neighbours.exclude_same_image`); 2 % of the normal patches find themselves in M_n (`neighbours.exclude_self`).
//! - `mlp.*.linear.bias`, `proj.bias`, `bn_k.bias` and (in `token` and `image` mode) `attn.value.bias` have a true gradient
//!   of zero: a shift of every row, removed by the next batch normalisation. It is set to zero, since AdamW would turn
//!   rounding noise into steps of the learning rate.
//! - M_p with a standard deviation of 0.01 is in effect one point, |M_as| times (`bank.center.relative` scales it).
//! - `attention.mode = "image"` and `"literal"` attend over those patches of an image that are in the step: all of them
//!   when scoring, `train.patches_per_image` when training.

mod banks;
mod filter;
mod network;
mod params;
mod train;
mod trial;

pub use network::{Network, PatchRows};
pub use params::{AttentionMode, AutoNumber, Params, Switch};
pub use train::{StepLosses, Trainer};

use serde_json::{Value as Json, json};

use self::params::Scope;
use self::train::{Layout, QueryLayout, Setup};
use super::common::{Exclude, NormalBankParams, RowsOf, neighbours, normal_bank};
use super::{Entry, Method, Outputs, Scoring, Select};
use crate::error::Result;
use crate::plan::{Graph, Inputs, Stage, StageId, Work};
use crate::spec::{MethodKind, read_params, schema_of, write_params};

/// Registry row.
pub const ENTRY: Entry = Entry {
    kind: MethodKind {
        name: "dmad",
        about: "DMAD: dual memory bank of normal and abnormal patches (arXiv 2403.12362)",
        schema: schema_of::<Params>,
        sections: || json!({}),
        fill: params::fill,
        resolve: params::resolve,
    },
    build: |json, seed| {
        let params =
            read_params(json.clone()).map_err(|fault| crate::error::Error::method(fault.message, fault.key))?;
        Ok(Box::new(Dmad { params, seed }))
    },
    trial: &trial::TRIAL,
};

/// DMAD with its parameters.
pub struct Dmad {
    params: Params,
    seed: u64,
}

/// The parts of the banks that exist, and how queries find their neighbours in them.
struct Banks {
    normal: StageId,
    /// M_o, then M_as with M_p, as far as they are in use.
    abnormal: Vec<StageId>,
    outlier: Option<StageId>,
    seen: Option<StageId>,
}

impl Dmad {
    fn banks<'a>(&self, graph: &mut Graph<'a>, inputs: &'a Inputs, seen: Option<StageId>) -> Result<Banks> {
        let bank = &self.params.bank;
        let coreset = banks::coreset_params(&self.params);
        let normal_params = NormalBankParams {
            ratio: bank.normal.ratio,
            per_class: bank.normal.scope == Scope::PerClass,
            coreset: coreset.clone(),
        };
        let normal = normal_bank(graph, inputs, &normal_params);
        let outlier = match bank.outlier.enabled {
            true => Some(banks::outlier_bank(graph, inputs, &bank.outlier, &coreset)?),
            false => None,
        };
        let used = bank.seen.enabled || bank.center.enabled;
        let seen = seen.filter(|_| used).map(|seen| banks::seen_bank(graph, inputs, bank, seen, normal));
        let abnormal = [outlier, seen].into_iter().flatten().collect();
        Ok(Banks { normal, abnormal, outlier, seen })
    }

    /// Adds the neighbour searches of a set of queries; `own` tells who must not find itself.
    fn search<'a>(
        &self,
        graph: &mut Graph<'a>,
        banks: &Banks,
        queries: RowsOf,
        own: Own,
        label: &str,
    ) -> (StageId, Vec<StageId>) {
        let rows = |stage| RowsOf { stage, tensor: "rows" };
        let itself = match own {
            Own::Normal { first } if self.params.neighbours.exclude_self => Exclude::Itself { first },
            _ => Exclude::Nothing,
        };
        let normal = neighbours(graph, queries, rows(banks.normal), itself, &format!("{label}: normal neighbours"));
        let label = format!("{label}: abnormal neighbours");
        let mut abnormal = Vec::new();
        if let Some(outlier) = banks.outlier {
            abnormal.push(neighbours(graph, queries, rows(outlier), Exclude::Nothing, &label));
        }
        if let Some(seen) = banks.seen {
            let same_image = self.params.neighbours.exclude_same_image && own == Own::Seen;
            let exclude = if same_image { Exclude::SameImage } else { Exclude::Nothing };
            abnormal.push(neighbours(graph, queries, rows(seen), exclude, &label));
        }
        (normal, abnormal)
    }
}

/// What queries are, as far as finding themselves goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Own {
    Nothing,
    Normal { first: usize },
    Seen,
}

/// Collects the inputs of a stage and remembers where each stands.
#[derive(Default)]
struct InputList(Vec<StageId>);

impl InputList {
    fn push(&mut self, stage: StageId) -> usize {
        self.0.iter().position(|&known| known == stage).unwrap_or_else(|| {
            self.0.push(stage);
            self.0.len() - 1
        })
    }

    fn queries(&mut self, queries: RowsOf, found: (StageId, Vec<StageId>)) -> QueryLayout {
        QueryLayout {
            features: (self.push(queries.stage), queries.tensor),
            normal: self.push(found.0),
            abnormal: found.1.into_iter().map(|stage| self.push(stage)).collect(),
        }
    }

    fn layout(&mut self, banks: &Banks, queries: Vec<QueryLayout>, seen: Option<QueryLayout>) -> Layout {
        Layout {
            normal_bank: self.push(banks.normal),
            abnormal_banks: banks.abnormal.iter().map(|&stage| self.push(stage)).collect(),
            queries,
            seen,
        }
    }
}

impl Method for Dmad {
    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let setup = Setup {
            params: self.params.clone(),
            seed: self.seed,
            patches: inputs.patches(),
            dim: inputs.dim,
            device: inputs.device.clone(),
        };
        let seen = inputs.seen().next().is_some().then(|| banks::seen_patches(graph, inputs, &self.params.filter));
        let banks = self.banks(graph, inputs, seen)?;
        let model = self.training(graph, inputs, &setup, &banks, seen);
        let learned = Network::new(&self.params, true, !banks.abnormal.is_empty()).size(inputs.dim) as f64;
        let mut scores = Vec::new();
        for tested in &inputs.tested {
            let queries = RowsOf { stage: tested.pool, tensor: "features" };
            let found = self.search(graph, &banks, queries, Own::Nothing, &format!("{} test", tested.name));
            let mut list = InputList::default();
            let query = list.queries(queries, found);
            let layout = list.layout(&banks, vec![query], None);
            let mut stages = list.0;
            stages.push(model);
            let rows = tested.images.len() * inputs.patches();
            let scores_work = Work::matrix(rows, 1, 2.0 * rows as f64 * learned);
            let (setup, test) = (setup.clone(), tested.images.clone());
            scores.push(graph.add(Stage {
                kind: "scores",
                version: 1,
                params: json!({ "method": "dmad", "params": scoring_params(&self.params), "test": tested.images }),
                inputs: stages,
                images: String::new(),
                weights: String::new(),
                label: format!("{} scores", tested.name),
                work: scores_work,
                compute: Box::new(move |job| train::score(job, &setup, &layout, &test)),
            }));
        }
        let mut used = vec![banks.normal];
        used.extend(&banks.abnormal);
        Ok(Outputs { scores, model: Some(model), banks: used })
    }

    fn scoring(&self) -> Scoring {
        Scoring {
            top_k: self.params.score.top_k,
            sigma: self.params.score.sigma,
            align_corners: false,
            select: self.params.train.select,
        }
    }

    fn labels(&self) -> Vec<String> {
        let mut labels = Vec::new();
        if self.params.train.patches_per_image > 0 {
            labels.push(format!("{} patches per image in training", self.params.train.patches_per_image));
        }
        if self.params.train.select == Select::BestTest {
            labels.push("oracle: best epoch chosen on the test set".into());
        }
        labels
    }
}

impl Dmad {
    fn training<'a>(
        &self,
        graph: &mut Graph<'a>,
        inputs: &'a Inputs,
        setup: &Setup,
        banks: &Banks,
        seen: Option<StageId>,
    ) -> StageId {
        let mut list = InputList::default();
        let (mut queries, mut first) = (Vec::new(), 0);
        for class in &inputs.classes {
            let rows = RowsOf { stage: class.train, tensor: "features" };
            let found = self.search(graph, banks, rows, Own::Normal { first }, &format!("{} train", class.name));
            first += class.train_images * inputs.patches();
            queries.push(list.queries(rows, found));
        }
        let seen = seen.map(|stage| {
            let rows = RowsOf { stage, tensor: "rows" };
            let found = self.search(graph, banks, rows, Own::Seen, "seen anomalies");
            list.queries(rows, found)
        });
        let layout = list.layout(banks, queries, seen);
        let work = self.training_work(inputs, banks, layout.seen.is_some());
        let setup = setup.clone();
        graph.add(Stage {
            kind: "training",
            version: 1,
            params: json!({ "method": "dmad", "params": training_params(&self.params), "seed": self.seed }),
            inputs: list.0,
            images: String::new(),
            weights: String::new(),
            label: "training".into(),
            work,
            compute: Box::new(move |job| train::train(job, &setup, &layout)),
        })
    }
}

impl Dmad {
    /// Every patch of a step passes forward and backward, once as it is and once with noise.
    fn training_work(&self, inputs: &Inputs, banks: &Banks, seen: bool) -> Work {
        let train = &self.params.train;
        let per_image =
            if train.patches_per_image == 0 { inputs.patches() } else { train.patches_per_image.min(inputs.patches()) };
        let anomalies = if seen { train.anomaly_batch as f64 / train.batch as f64 } else { 0.0 };
        let rows = (inputs.train_images() * per_image * train.epochs) as f64 * (2.0 + anomalies);
        let learned = Network::new(&self.params, true, !banks.abnormal.is_empty()).size(inputs.dim);
        let kept = if train.select == Select::BestTest { train.epochs.max(1) } else { 1 };
        let step_rows = (2 * train.batch + train.anomaly_batch) * per_image;
        let activations = 4 * step_rows * (10 * inputs.dim + 6 * self.params.mlp.blocks * self.params.mlp.hidden);
        Work::matrix(kept, learned, 6.0 * rows * learned as f64).with_memory(activations + 16 * learned)
    }
}

/// The parameters that training uses beyond its inputs: banks and filter are in its inputs' keys, scoring comes after.
fn training_params(params: &Params) -> Json {
    let mut json = write_params(params);
    if let Some(map) = json.as_object_mut() {
        map.retain(|key, _| !["bank", "filter", "neighbours", "score"].contains(&key.as_str()));
    }
    json
}

/// The parameters that the forward pass uses.
fn scoring_params(params: &Params) -> Json {
    let json = write_params(params);
    json!({ "knowledge": json["knowledge"], "attention": json["attention"], "projection": json["projection"], "mlp": json["mlp"] })
}
