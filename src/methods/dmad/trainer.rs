//! One model of DMAD in training: a step, its losses, its optimisers (paper §3.4, Eq. 9–12; docs/methods/dmad.md, Computation).

use burn::tensor::{Tensor, activation};

use super::network::{Network, PatchRows};
use super::params::{AttentionMode, Params};
use crate::train::{BETAS, BatchNormMode, Group, Optimizer, OptimizerKind, Parameters, download};

/// One model in training.
pub struct Trainer {
    pub(super) network: Network,
    /// As they stand.
    pub parameters: Parameters,
    pub(super) optimizers: Vec<Optimizer>,
    zero_gradient: Vec<String>,
    params: Params,
}

/// The three hinge terms of a step, before their weights, and their weighted sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepLosses {
    /// mean relu(m − Ψ) over normals.
    pub normal: f64,
    /// mean relu(m + Ψ) over pseudo-anomalies.
    pub noise: f64,
    /// mean relu(m + Ψ) over seen anomalies.
    pub anomaly: f64,
    /// normal + λ1·noise + λ2·anomaly.
    pub total: f64,
}

impl Trainer {
    /// A trainer that starts from given parameters (on an autodiff device).
    pub fn new(params: &Params, network: Network, parameters: Parameters) -> Self {
        let train = &params.train;
        // The knowledge's batch normalisation belongs to the attention's group where there is attention (docs/methods/dmad.md, Training).
        let mut front: Vec<String> = vec!["proj".into()];
        if params.attention.train {
            front.push("attn.".into());
        }
        if params.attention.train || params.attention.mode == AttentionMode::Off {
            front.push("bn_k".into());
        }
        let optimizer = |prefixes, kind, learning_rate, weight_decay| {
            Optimizer::new(Group { prefixes, kind, learning_rate, weight_decay, betas: BETAS })
        };
        let adamw = OptimizerKind::Adamw;
        let optimizers = vec![
            optimizer(front, adamw, train.lr_projection, train.weight_decay_projection),
            optimizer(vec!["mlp.".into()], params.mlp.optimizer, train.lr_mlp, train.weight_decay_mlp),
        ];
        let zero_gradient = network.zero_gradient();
        Trainer { network, parameters, optimizers, zero_gradient, params: params.clone() }
    }

    /// One step; returns the losses before it.
    pub fn step(&mut self, normal: &PatchRows, noise: Tensor<2>, anomalous: Option<&PatchRows>) -> StepLosses {
        let (loss, losses) = self.loss(normal, noise, anomalous);
        let gradients = loss.backward();
        for optimizer in &mut self.optimizers {
            optimizer.step(&mut self.parameters, &gradients, &self.zero_gradient);
        }
        losses
    }

    /// The loss (1 × 1) on all three groups of rows together, so that batch statistics see them all (Eq. 12), and its
    /// terms. Running statistics move; nothing else does.
    pub fn loss(
        &mut self,
        normal: &PatchRows,
        noise: Tensor<2>,
        anomalous: Option<&PatchRows>,
    ) -> (Tensor<2>, StepLosses) {
        let network = &self.network;
        let disturbed = network.disturbed_patches(normal, &noise);
        let described_rows: Vec<&PatchRows> =
            [Some(normal), disturbed.as_ref(), anomalous].into_iter().flatten().collect();
        let mut groups = network.describe_groups(&mut self.parameters, &described_rows);
        if disturbed.is_none() {
            groups.insert(1, network.disturb(groups[0].clone(), noise));
        }
        let rows = groups[0].dims()[0];
        let total_rows: usize = groups.iter().map(|group| group.dims()[0]).sum();
        let scores = network.judge(&mut self.parameters, Tensor::cat(groups, 0), BatchNormMode::Train);
        let margin = self.params.loss.margin;
        let hinge = |range: std::ops::Range<usize>, sign: f64| {
            activation::relu(scores.clone().slice([range]) * sign + margin).mean_dim(0)
        };
        let normal_term = hinge(0..rows, -1.0);
        let noise_term = hinge(rows..2 * rows, 1.0);
        let mut loss = normal_term.clone() + noise_term.clone() * self.params.loss.lambda1.number();
        let mut losses = StepLosses { normal: value(&normal_term), noise: value(&noise_term), ..StepLosses::default() };
        if total_rows > 2 * rows {
            let term = hinge(2 * rows..total_rows, 1.0);
            losses.anomaly = value(&term);
            loss = loss + term * self.params.loss.lambda2.number();
        }
        losses.total = value(&loss);
        (loss, losses)
    }
}

fn value(tensor: &Tensor<2>) -> f64 {
    download(tensor.clone())[0] as f64
}
