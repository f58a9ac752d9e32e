//! One training step of Dinomaly.

use burn::tensor::Tensor;

use super::loss::{group_distance, mined};
use super::network::Network;
use super::params::Params;
use crate::train::{BETAS, Dropout, Group, Optimizer, OptimizerKind, Parameters, StableAdamw, Terms, clip_gradients};

/// Root mean square of gradient over expected gradient from which on a tensor's step is made smaller.
const STEP_THRESHOLD: f64 = 1.0;

/// Bottleneck and decoder in training.
pub struct Trainer {
    network: Network,
    /// As they stand.
    pub parameters: Parameters,
    optimizer: Optimizer,
    params: Params,
}

impl Trainer {
    /// A trainer that starts from given parameters on an autodiff device.
    pub fn new(params: &Params, network: Network, parameters: Parameters) -> Self {
        let train = &params.train;
        let group = Group {
            prefixes: vec![String::new()], // every name
            kind: OptimizerKind::Adamw,
            learning_rate: train.lr,
            weight_decay: train.weight_decay,
            betas: BETAS,
        };
        let stable = StableAdamw { epsilon: train.epsilon, amsgrad: train.amsgrad, threshold: STEP_THRESHOLD };
        Trainer { network, parameters, optimizer: Optimizer::stable(group, stable), params: params.clone() }
    }

    /// The optimiser, to change its learning rate.
    pub fn optimizer(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }

    /// Parameters and optimiser.
    pub fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        (&mut self.parameters, vec![&mut self.optimizer])
    }

    /// The loss (1 × 1) of the encoder's groups (images · tokens × width each), with this share of places whose gradient is
    /// made small.
    pub fn loss(&self, encoder: &[Tensor<2>], share: f64, mut dropout: Dropout) -> Tensor<2> {
        let decoder = self.network.forward(&self.parameters, encoder, &mut dropout);
        let images = decoder[0].dims()[0] / self.network.design().patches();
        let groups = encoder.iter().zip(decoder).map(|(e, d)| {
            let e = self.network.patches(e.clone());
            let d = mined(&e, d, share, self.params.loss.factor);
            group_distance(e, d, images)
        });
        Tensor::cat(groups.collect(), 0).mean_dim(0)
    }

    /// One step, counted from 0 through all epochs; returns its loss before it, and the norm of all gradients together before
    /// clipping.
    pub fn step(&mut self, encoder: &[Tensor<2>], step: usize, dropout: Dropout) -> Terms {
        let train = &self.params.train;
        self.optimizer.set_learning_rate(train.learning_rate(step));
        self.apply(encoder, self.params.loss.share(step), dropout)
    }

    /// A step at the learning rate as it is, with this share of places whose gradient is made small.
    pub fn apply(&mut self, encoder: &[Tensor<2>], share: f64, dropout: Dropout) -> Terms {
        let loss = self.loss(encoder, share, dropout);
        let mut gradients = loss.backward();
        let norm = clip_gradients(&self.parameters, &mut gradients, self.params.train.clip);
        self.optimizer.step(&mut self.parameters, &gradients, &[]);
        let norm = norm.unwrap_or_else(|| loss.zeros_like());
        Terms::new(vec![("loss", loss), ("gradient_norm", norm)])
    }
}
