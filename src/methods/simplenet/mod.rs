//! SimpleNet (CVPR 2023, arXiv 2303.15140): real features against noisy ones.
//!
//! Patches of a frozen network pass a linear adaptor; Gaussian noise on the adapted features makes fake ones; a small
//! discriminator D learns to tell them apart with a truncated L1 loss. A patch's anomaly score is −D. No synthetic images,
//! no memory bank, no seen anomalies: where a study has some, they only leave the test set, as they do for every method.
//! Backbone features are stages computed once.
//!
//! Where paper and released code part, both are reachable. What to know:
//! - The released code crops (`image = { size = 288, resize = 329 }`) and trains one model per class for 160 epochs with
//!   batches of 8 (the paper's text: 4), reporting the best epoch on the test set (`train.select = "best_test"`; it looks
//!   at every fourth epoch, here at each). Multi-class baselines use 256 × 256 and batches of 32: the defaults here.
//! - Its command line has other defaults (noise 0.05, margin 0.8) than its run script (0.015, 0.5), whose are the defaults.
//! - Trained longer on several classes it can collapse (published: 95.4 image AUROC after 100 epochs, 79.2 after 300), so
//!   runs with different `train.epochs` are not comparable; `train.curve` makes the course visible.
//! - The cosine schedule, off by default, is the discriminator's alone.
//! - A reimplementation steps adaptor and discriminator after a backward pass each, but both passes go through the graph
//!   of one forward pass: the gradients, and so the steps, are those of the one pass here.
//! - Its own scaling of scores and maps over the test set is one increasing map for all images, and changes no ranking.
//! - `adaptor.*.bias` and `discriminator.*.linear.bias` have a true gradient of zero: a shift of all rows, removed by the
//!   next batch normalisation. It is set to zero, since Adam would turn rounding noise into steps of the learning rate.
//!   Adam's coupled weight decay still moves the latter by almost the learning rate in every step.

mod network;
mod params;
mod train;
mod trial;

pub use network::Network;
pub use params::{Params, Schedule, Train};
pub use train::{StepLosses, Trainer};

use serde_json::{Value as Json, json};

use self::params::ImageScore;
use self::train::Setup;
use super::{Entry, Method, Outputs, Scoring, Select};
use crate::error::{Error, Result};
use crate::plan::{Graph, Inputs, Stage, StageId, Work};
use crate::spec::{MethodKind, read_params, schema_of, write_params};

/// Registry row.
pub const ENTRY: Entry = Entry {
    kind: MethodKind {
        name: "simplenet",
        about: "SimpleNet: a discriminator of features and noisy features (arXiv 2303.15140)",
        schema: schema_of::<Params>,
        sections: || json!({}),
        fill: |json| read_params::<Params>(json).map(|params| write_params(&params)),
        resolve: |json, _| params::resolve(json),
    },
    build: |json, seed| {
        let params = read_params(json.clone()).map_err(|fault| Error::method(fault.message, fault.key))?;
        Ok(Box::new(SimpleNet { params, seed }))
    },
    trial: &trial::TRIAL,
};

/// SimpleNet with its parameters.
struct SimpleNet {
    params: Params,
    seed: u64,
}

impl Method for SimpleNet {
    fn stages<'a>(&'a self, graph: &mut Graph<'a>, inputs: &'a Inputs) -> Result<Outputs> {
        let setup = Setup {
            params: self.params.clone(),
            seed: self.seed,
            grid: inputs.grid,
            image_size: inputs.image.size,
            dim: inputs.dim,
            device: inputs.device.clone(),
        };
        let model = self.training(graph, inputs, &setup);
        let learned = Network::new(&self.params).size(inputs.dim) as f64;
        let kept = self.kept_epochs();
        let scores = inputs.tested.iter().map(|tested| {
            let (setup, test) = (setup.clone(), tested.images.clone());
            let rows = kept * test.len() * inputs.patches();
            graph.add(Stage {
                kind: "scores",
                version: 1,
                params: json!({ "method": "simplenet", "params": self.scoring_params(inputs), "test": tested.images }),
                inputs: vec![tested.pool, model],
                images: String::new(),
                weights: String::new(),
                label: format!("{} scores", tested.name),
                work: Work::matrix(rows, 1, 2.0 * rows as f64 * learned),
                compute: Box::new(move |job| train::score(job, &setup, &test)),
            })
        });
        Ok(Outputs { scores: scores.collect(), model: Some(model), banks: Vec::new() })
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
        let (mut labels, train) = (Vec::new(), &self.params.train);
        if train.patches_per_image > 0 {
            labels.push(format!("{} patches per image in training", train.patches_per_image));
        }
        if train.select == Select::BestTest {
            labels.push("oracle: best epoch chosen on the test set".into());
        }
        labels
    }
}

impl SimpleNet {
    fn training<'a>(&self, graph: &mut Graph<'a>, inputs: &'a Inputs, setup: &Setup) -> StageId {
        let setup = setup.clone();
        graph.add(Stage {
            kind: "training",
            version: 1,
            params: json!({ "method": "simplenet", "params": self.training_params(), "seed": self.seed }),
            inputs: inputs.classes.iter().map(|class| class.train).collect(),
            images: String::new(),
            weights: String::new(),
            label: "training".into(),
            work: self.training_work(inputs),
            compute: Box::new(move |job| train::train(job, &setup)),
        })
    }

    /// How many epochs' parameters, and so scores, are kept.
    fn kept_epochs(&self) -> usize {
        if self.params.train.keeps_every_epoch() { self.params.train.epochs } else { 1 }
    }

    /// Every patch of a step passes forward and backward, once as it is and once with noise.
    fn training_work(&self, inputs: &Inputs) -> Work {
        let Params { train, discriminator, adaptor, .. } = &self.params;
        let per_image = match train.patches_per_image {
            0 => inputs.patches(),
            wanted => wanted.min(inputs.patches()),
        };
        let rows = (2 * inputs.train_images() * per_image * train.epochs) as f64;
        let learned = Network::new(&self.params).size(inputs.dim);
        let width = (2 + adaptor.layers) * inputs.dim + 6 * discriminator.blocks * discriminator.hidden;
        let activations = 4 * 2 * train.batch * per_image * width;
        Work::matrix(self.kept_epochs(), learned, 6.0 * rows * learned as f64).with_memory(activations + 16 * learned)
    }

    /// The parameters that training uses. Which epoch is reported is none of its business, only which are kept.
    fn training_params(&self) -> Json {
        let mut json = write_params(&self.params);
        if let Some(map) = json.as_object_mut() {
            map.remove("score");
        }
        if let Some(train) = json["train"].as_object_mut() {
            train.retain(|key, _| !["select", "curve"].contains(&key.as_str()));
            train.insert("every_epoch".into(), self.params.train.keeps_every_epoch().into());
        }
        json
    }

    /// The parameters that scoring uses.
    fn scoring_params(&self, inputs: &Inputs) -> Json {
        let mut json = json!({ "adaptor": self.params.adaptor, "discriminator": self.params.discriminator });
        if self.params.score.image == ImageScore::Map {
            json["map"] = json!({ "size": inputs.image.size, "grid": inputs.grid, "sigma": self.params.score.sigma });
        }
        json
    }
}
