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
mod trial;

pub use network::{Dropout, Network, Pass, Place};
pub use params::{ImageScore, Jitter, Mask, NetworkParams, Params, Score, Train};
pub use train::{StepReport, Trainer, image_score, token_scores};

use serde_json::{Value as Json, json};

use self::train::Setup;
use super::{Entry, Method, Outputs, Scoring, Select};
use crate::error::{Error, Result};
use crate::plan::{Graph, Inputs, Stage, Work};
use crate::spec::{MethodKind, read_params, schema_of, write_params};

/// Registry row.
pub const ENTRY: Entry = Entry {
    kind: MethodKind {
        name: "uniad",
        about: "UniAD: reconstruction of features by a neighbour-masked transformer (arXiv 2206.03687)",
        schema: schema_of::<Params>,
        sections: || {
            json!({
                "image": { "size": 224 },
                "backbone": { "name": "efficientnet_b4" },
                "features": { "aggregation": "concat_deepest", "patch": 1 },
            })
        },
        fill: params::fill,
        resolve: params::resolve,
    },
    build: |json, seed| {
        let params = read_params(json.clone()).map_err(|fault| Error::method(fault.message, fault.key))?;
        Ok(Box::new(UniAd { params, seed }))
    },
    trial: &trial::TRIAL,
};

/// UniAD with its parameters.
struct UniAd {
    params: Params,
    seed: u64,
}

impl Method for UniAd {
    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let setup = Setup {
            params: self.params.clone(),
            seed: self.seed,
            grid: inputs.grid,
            dim: inputs.dim,
            side: inputs.image.size,
            device: inputs.device.clone(),
        };
        check(&setup)?;
        let (training, grid) = (setup.clone(), [inputs.grid.0, inputs.grid.1]);
        let model = graph.add(Stage {
            kind: "training",
            version: 1,
            params: json!({
                "method": "uniad", "params": training_params(&self.params), "grid": grid, "seed": self.seed,
            }),
            inputs: inputs.classes.iter().map(|class| class.train).collect(),
            images: String::new(),
            weights: String::new(),
            label: "training".into(),
            work: self.training_work(&setup.network(), inputs.train_images()),
            compute: Box::new(move |job| train::train(job, &training)),
        });
        let scores = inputs.tested.iter().map(|tested| {
            let (setup, test) = (setup.clone(), tested.images.clone());
            let rows = test.len() * inputs.patches();
            let work = Work::matrix(rows, 1, test.len() as f64 * setup.network().operations())
                .with_memory(train::score_memory_bytes(&setup.network()));
            let params = write_params(&self.params);
            graph.add(Stage {
                kind: "scores",
                version: 1,
                params: json!({
                    "method": "uniad", "network": params["network"], "mask": params["mask"], "score": params["score"],
                    "grid": grid, "side": setup.side, "test": tested.images,
                }),
                inputs: vec![tested.pool, model],
                images: String::new(),
                weights: String::new(),
                label: format!("{} scores", tested.name),
                work,
                compute: Box::new(move |job| train::score(job, &setup, &test)),
            })
        });
        Ok(Outputs { scores: scores.collect(), model: Some(model), banks: Vec::new() })
    }

    fn scoring(&self) -> Scoring {
        // Image scores come with the patch scores, so `top_k` is never asked.
        Scoring {
            top_k: 1,
            sigma: self.params.score.sigma,
            align_corners: self.params.score.align_corners,
            select: self.params.train.select,
        }
    }

    fn labels(&self) -> Vec<String> {
        let train = &self.params.train;
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

impl UniAd {
    /// Every image passes forward once and backward once, which is twice the work, in every epoch.
    fn training_work(&self, network: &Network, images: usize) -> Work {
        let train = &self.params.train;
        let kept = if train.select == Select::BestTest { train.epochs.max(1) } else { 1 };
        let operations = 3.0 * (images * train.epochs) as f64 * network.operations();
        // Each thread has one image and its gradients; parameters and moments are there once.
        let at_once = train.batch.min(rayon::current_num_threads());
        let bytes = 4 * at_once * (network.activations() + 2 * network.size()) + 16 * network.size();
        Work::matrix(kept, network.size(), operations).with_memory(bytes)
    }
}

/// What can only be checked once the grid is known.
fn check(setup: &Setup) -> Result<()> {
    let (rows, columns) = setup.grid;
    if !setup.network().every_position_sees() {
        let what = format!(
            "a mask of {} × {0} hides all {rows} × {columns} tokens from the one in the middle",
            setup.params.mask.size
        );
        return Err(Error::method(what, "lower `method.mask.size`, or use larger images or a finer layer"));
    }
    let pool = setup.params.score.pool;
    if setup.params.score.image == ImageScore::MaxPool && pool > setup.side {
        let what = format!("a square of {pool} pixels does not fit into a map of {} × {0}", setup.side);
        return Err(Error::method(what, "lower `method.score.pool`"));
    }
    Ok(())
}

/// The parameters that training uses.
fn training_params(params: &Params) -> Json {
    let mut json = write_params(params);
    json.as_object_mut().map(|map| map.remove("score"));
    json
}
