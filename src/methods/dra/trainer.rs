//! One training step of DRA.

use burn::tensor::Tensor;

use super::loss::{Prior, deviation_loss};
use super::network::{HEADS, Heads, Network};
use super::params::Params;
use crate::train::{BETAS, BatchNormMode, Group, Optimizer, OptimizerKind, Parameters, Terms, clip_gradients, product};

/// What an image of a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Without a defect.
    Normal,
    /// A seen anomaly.
    Seen,
    /// A pseudo-anomaly.
    Pseudo,
}

/// The images of a step on the device.
pub struct Batch {
    /// References first, then the labelled images: images × 3 × side × side, full scale first.
    pub scales: Vec<Tensor<4>>,
    /// What the labelled images are.
    pub labels: Vec<Label>,
    /// Weights of the references for each labelled image (labelled × references); those of an image sum up to one.
    pub average: Tensor<2>,
}

/// One model in training.
pub struct Trainer {
    network: Network,
    /// As they stand.
    pub parameters: Parameters,
    optimizer: Optimizer,
    params: Params,
    asks_seen: bool,
}

impl Trainer {
    /// A trainer that starts from given parameters on an autodiff device; with `asks_seen` the head for seen anomalies learns.
    pub fn new(params: &Params, network: Network, parameters: Parameters, asks_seen: bool) -> Self {
        let group = Group {
            prefixes: vec![String::new()], // every name
            kind: OptimizerKind::Adam,
            learning_rate: params.train.lr,
            weight_decay: params.train.weight_decay,
            betas: BETAS,
        };
        Trainer { network, parameters, optimizer: Optimizer::new(group), params: params.clone(), asks_seen }
    }

    /// The optimiser.
    pub fn optimizer(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }

    /// Parameters and optimiser.
    pub fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        (&mut self.parameters, vec![&mut self.optimizer])
    }

    /// What the heads say of the labelled images at every scale, in training mode: running statistics move, once per scale.
    pub fn heads(&mut self, batch: &Batch) -> Vec<Heads> {
        let Trainer { network, parameters, .. } = self;
        let of_scale = |images: &Tensor<4>| {
            let features = network.features(parameters, images.clone(), BatchNormMode::Train);
            let [labelled, references] = batch.average.dims();
            let [_, channels, rows, columns] = features.dims();
            let own = features.clone().narrow(0, references, labelled);
            let values = channels * rows * columns;
            let means = product(batch.average.clone(), features.narrow(0, 0, references).reshape([references, values]));
            network.heads(parameters, own, means.reshape([labelled, channels, rows, columns]), BatchNormMode::Train)
        };
        batch.scales.iter().map(of_scale).collect()
    }

    /// The losses of the heads (1 × 1 each), of which the sum is the step's.
    pub fn losses(&self, heads: &[Heads], labels: &[Label], priors: [Prior; 4]) -> [Tensor<2>; 4] {
        let average = |head: usize| {
            let sum = heads.iter().map(|heads| heads.scores[head].clone()).reduce(|a, b| a + b);
            sum.unwrap_or_else(|| unreachable!("there is a scale")) / heads.len() as f64
        };
        let term = |head: usize| {
            let asked = |label: &Label| target(head, *label).filter(|_| head != 1 || self.asks_seen);
            let targets: Vec<Option<bool>> = labels.iter().map(asked).collect();
            deviation_loss(average(head), &targets, priors[head], self.params.loss.margin)
        };
        std::array::from_fn(term)
    }

    /// One step: its loss before it, that of each head, and the norm of all gradients together before clipping.
    pub fn step(&mut self, batch: &Batch, priors: [Prior; 4]) -> Terms {
        let heads = self.heads(batch);
        let losses = self.losses(&heads, &batch.labels, priors);
        let loss = Tensor::cat(losses.to_vec(), 0).sum_dim(0);
        let mut gradients = loss.backward();
        let norm = clip_gradients(&self.parameters, &mut gradients, self.params.train.clip);
        self.optimizer.step(&mut self.parameters, &gradients, &self.network.zero_gradient());
        let norm = norm.unwrap_or_else(|| loss.zeros_like());
        let ends = ([("loss", loss)], [("gradient_norm", norm)]);
        Terms::new(ends.0.into_iter().chain(HEADS.into_iter().zip(losses)).chain(ends.1).collect())
    }
}

/// What a head is to say of an image: the first one calls normal images out, the second is not asked about pseudo-anomalies,
/// the third not about seen ones.
fn target(head: usize, label: Label) -> Option<bool> {
    match (head, label) {
        (0, label) => Some(label == Label::Normal),
        (1, Label::Pseudo) | (2, Label::Seen) => None,
        (_, label) => Some(label != Label::Normal),
    }
}
