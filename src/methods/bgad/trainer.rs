//! One training step of BGAD: some places of one layer.

use burn::tensor::Tensor;

use super::flow::Flow;
use super::loss::{StepLoss, step_loss};
use super::params::{Adam, Params};
use crate::train::{BETAS, Group, Optimizer, OptimizerKind, Parameters, Terms};

/// The places of a step.
pub struct Chunk {
    /// Number of the layer.
    pub level: usize,
    /// Feature vectors, places × channels.
    pub vectors: Tensor<2>,
    /// Codes of their positions.
    pub condition: Tensor<2>,
    /// Which of them are anomalous.
    pub anomalous: Vec<bool>,
}

/// The flows in training.
pub struct Trainer {
    flows: Vec<Flow>,
    /// As they stand.
    pub parameters: Parameters,
    /// One for each flow.
    optimizers: Vec<Optimizer>,
    params: Params,
}

impl Trainer {
    /// A trainer that starts from given parameters on an autodiff device.
    pub fn new(params: &Params, flows: Vec<Flow>, parameters: Parameters) -> Self {
        let optimizer = |flow: &Flow| {
            Optimizer::new(Group {
                prefixes: vec![flow.prefix()],
                kind: OptimizerKind::Adam,
                learning_rate: params.train.lr,
                weight_decay: 0.0,
                betas: BETAS,
            })
        };
        let optimizers = flows.iter().map(optimizer).collect();
        Trainer { flows, parameters, optimizers, params: params.clone() }
    }

    /// Changes the learning rate from the next step on.
    pub fn set_learning_rate(&mut self, rate: f64) {
        self.optimizers.iter_mut().for_each(|optimizer| optimizer.set_learning_rate(rate));
    }

    /// Parameters and optimisers.
    pub fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        (&mut self.parameters, self.optimizers.iter_mut().collect())
    }

    /// The loss of a step, and a 1 × 1 tensor that has its gradient.
    pub fn loss(&self, chunk: &Chunk, first_epoch: bool) -> (StepLoss, Tensor<2>) {
        let flow = &self.flows[chunk.level];
        let lp = flow.likelihood(&self.parameters, chunk.vectors.clone(), chunk.condition.clone());
        let loss = step_loss(lp.clone(), &chunk.anomalous, first_epoch, &self.params.loss);
        let shares = Tensor::from_inner(loss.gradient.clone());
        (loss, (lp * shares).sum_dim(0))
    }

    /// One step; returns the loss before it and its terms.
    pub fn step(&mut self, chunk: &Chunk, first_epoch: bool) -> Terms {
        let (loss, graph) = self.loss(chunk, first_epoch);
        let gradients = graph.backward();
        for (level, optimizer) in self.optimizers.iter_mut().enumerate() {
            if level == chunk.level {
                optimizer.step(&mut self.parameters, &gradients, &[]);
            } else if self.params.train.adam == Adam::SharedZeroGrad {
                optimizer.idle_step(&mut self.parameters);
            }
        }
        loss.terms
    }
}
