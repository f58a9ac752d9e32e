//! One model of DMAD in training: a step, its losses, its optimisers (paper §3.4, Eq. 9–12; docs/methods/dmad.md, Computation).

use burn::tensor::{Tensor, activation};

use super::network::{Network, PatchRows};
use super::params::{AttentionMode, Params};
use crate::device::column_means;
use crate::train::{BETAS, BatchNormMode, Group, Optimizer, OptimizerKind, Parameters, Terms};

/// One model in training.
pub struct Trainer {
    pub(super) network: Network,
    /// As they stand.
    pub parameters: Parameters,
    pub(super) optimizers: Vec<Optimizer>,
    zero_gradient: Vec<String>,
    params: Params,
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
    pub fn step(&mut self, normal: &PatchRows, noise: Tensor<2>, anomalous: Option<&PatchRows>) -> Terms {
        let (loss, losses) = self.loss(normal, noise, anomalous);
        let gradients = loss.backward();
        for optimizer in &mut self.optimizers {
            optimizer.step(&mut self.parameters, &gradients, &self.zero_gradient);
        }
        losses
    }

    /// The loss (1 × 1) on all three groups of rows together, so that batch statistics see them all (Eq. 12), and its
    /// terms before their weights: "normal", mean relu(m − Ψ) over normals, "noise" and "anomaly", mean relu(m + Ψ) over
    /// pseudo-anomalies and over seen anomalies (none = 0). Running statistics move; nothing else does.
    pub fn loss(&mut self, normal: &PatchRows, noise: Tensor<2>, anomalous: Option<&PatchRows>) -> (Tensor<2>, Terms) {
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
            column_means(activation::relu(scores.clone().slice([range]) * sign + margin))
        };
        let normal_term = hinge(0..rows, -1.0);
        let noise_term = hinge(rows..2 * rows, 1.0);
        let mut loss = normal_term.clone() + noise_term.clone() * self.params.loss.lambda1.number();
        let mut anomaly_term = loss.zeros_like();
        if total_rows > 2 * rows {
            anomaly_term = hinge(2 * rows..total_rows, 1.0);
            loss = loss + anomaly_term.clone() * self.params.loss.lambda2.number();
        }
        let terms = [("loss", loss.clone()), ("normal", normal_term), ("noise", noise_term), ("anomaly", anomaly_term)];
        (loss, Terms::new(terms.into()))
    }
}
