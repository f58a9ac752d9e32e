//! One model of DMAD in training: a step, its losses, its optimisers (paper §3.4, Eq. 9–12; docs/methods/dmad.md, Computation).

use std::ops::Range;

use burn::tensor::{Tensor, activation};

use super::descent::{Descent, Kind, Known, descend_known};
use super::network::{Network, PatchRows};
use super::params::{AttentionMode, Params};
use crate::device::column_sums;
use crate::naive;
use crate::train::{
    BETAS, BatchNormMode, GradientOf, Group, NamedGradients, Optimizer, OptimizerKind, Parameters, Terms,
};

/// One model in training.
pub struct Trainer {
    pub(super) network: Network,
    /// As they stand.
    pub parameters: Parameters,
    pub(super) optimizers: Vec<Optimizer>,
    zero_gradient: Vec<String>,
    params: Params,
    /// Hold what the way back needs, instead of making it again.
    keeps: bool,
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
        Trainer { network, parameters, optimizers, zero_gradient, params: params.clone(), keeps: true }
    }

    /// Makes again on the way back what memory is too short to hold; no number changes.
    pub fn sparing(self) -> Self {
        Trainer { keeps: false, ..self }
    }

    /// One step; returns the losses before it.
    pub fn step(&mut self, normal: &PatchRows, noise: Tensor<2>, anomalous: Option<&PatchRows>) -> Terms {
        if naive::is_chosen() {
            let (loss, losses) = self.loss(normal, noise, anomalous);
            self.update(&loss.backward());
            return losses;
        }
        let (gradients, losses) = self.gradients(normal, noise, anomalous);
        self.update(&gradients);
        losses
    }

    fn update(&mut self, gradients: &impl GradientOf) {
        for optimizer in &mut self.optimizers {
            optimizer.step(&mut self.parameters, gradients, &self.zero_gradient);
        }
    }

    /// The gradients of all parameters and the terms of the loss, on all groups of rows together, so that batch statistics see them all
    /// (Eq. 12): what [`Trainer::loss`] and its graph find without holding all of it. Biases in front of a batch
    /// normalisation are given zero. Running statistics move; nothing else does.
    pub fn gradients(
        &mut self,
        normal: &PatchRows,
        noise: Tensor<2>,
        anomalous: Option<&PatchRows>,
    ) -> (NamedGradients, Terms) {
        let (network, parameters) = (&self.network, &mut self.parameters);
        let disturbed = network.disturbed_patches(normal, &noise);
        let groups = [(Kind::Normal, Some(normal)), (Kind::Pseudo, disturbed.as_ref()), (Kind::Seen, anomalous)];
        let groups: Vec<(Kind, &PatchRows)> =
            groups.into_iter().filter_map(|(kind, rows)| Some((kind, rows?))).collect();
        let rows: Vec<&PatchRows> = groups.iter().map(|(_, rows)| *rows).collect();
        let known = network.known_groups(parameters, &rows);
        let plain = |tensor: &Tensor<2>| tensor.clone().inner();
        let given = groups.iter().zip(&known).map(|((kind, _), parts)| Known {
            kind: *kind,
            parts: parts.iter().map(plain).collect(),
            noise: (*kind == Kind::Normal && disturbed.is_none()).then(|| plain(&noise)),
        });
        let (scores, descent) = Descent::ascend(network, parameters, given.collect(), self.keeps);
        let scores = Tensor::from_inner(scores).require_grad();
        let (loss, terms) =
            self.hinges(&scores, [Kind::Normal, Kind::Pseudo, Kind::Seen].map(|kind| descent.scored(kind)));
        let of_scores = scores.grad(&loss.backward()).unwrap_or_else(|| unreachable!("a loss depends on its scores"));
        let mut found = NamedGradients::default();
        let wanted = self.network.learns_knowledge();
        let of_known = descent.descend(&self.parameters, of_scores, wanted, &mut found);
        descend_known(&self.parameters, known, of_known, &mut found);
        for name in &self.zero_gradient {
            // A layer that nothing passes has no gradient at all.
            if found.contains(&name.replace(".bias", ".weight")) {
                found.set(name, self.parameters.plain(name).zeros_like());
            }
        }
        (found, terms)
    }

    /// The loss (1 × 1) with its graph and its terms, on all groups of rows together: the plain twin of [`Trainer::gradients`].
    /// Running statistics move; nothing else does.
    pub fn loss(&mut self, normal: &PatchRows, noise: Tensor<2>, anomalous: Option<&PatchRows>) -> (Tensor<2>, Terms) {
        let network = &self.network;
        let disturbed = network.disturbed_patches(normal, &noise);
        let rows: Vec<&PatchRows> = [Some(normal), disturbed.as_ref(), anomalous].into_iter().flatten().collect();
        let known = network.known_groups(&mut self.parameters, &rows);
        let mut groups: Vec<Tensor<2>> =
            known.into_iter().map(|parts| network.project(&self.parameters, parts)).collect();
        if disturbed.is_none() {
            groups.insert(1, network.disturb(groups[0].clone(), noise));
        }
        let rows = groups[0].dims()[0];
        let total_rows: usize = groups.iter().map(|group| group.dims()[0]).sum();
        let scores = network.judge(&mut self.parameters, Tensor::cat(groups, 0), BatchNormMode::Train);
        let ranges = [0..rows, rows..2 * rows, 2 * rows..total_rows];
        self.hinges(&scores, ranges.map(|range| std::iter::once(range).filter(|range| !range.is_empty()).collect()))
    }

    /// The loss (1 × 1) of scores, and its terms before their weights: "normal", mean relu(m − Ψ) over normals, "noise" and
    /// "anomaly", mean relu(m + Ψ) over pseudo-anomalies and over seen anomalies (none = 0). `ranges` are the rows of each.
    fn hinges(&self, scores: &Tensor<2>, ranges: [Vec<Range<usize>>; 3]) -> (Tensor<2>, Terms) {
        let margin = self.params.loss.margin;
        let hinge = |ranges: &[Range<usize>], sign: f64| {
            let rows: usize = ranges.iter().map(Range::len).sum();
            let parts = ranges.iter().map(|range| scores.clone().slice([range.clone()]));
            let sums = parts.map(|part| column_sums(activation::relu(part * sign + margin)));
            sums.reduce(|all, part| all + part).map(|sum| sum / rows as f64)
        };
        let [normal, noise, seen] = ranges;
        let (Some(normal_term), Some(noise_term)) = (hinge(&normal, -1.0), hinge(&noise, 1.0)) else {
            unreachable!("a step has normal patches, and pseudo-anomalies of them")
        };
        let mut loss = normal_term.clone() + noise_term.clone() * self.params.loss.lambda1.number();
        let mut anomaly_term = loss.zeros_like();
        if let Some(term) = hinge(&seen, 1.0) {
            loss = loss + term.clone() * self.params.loss.lambda2.number();
            anomaly_term = term;
        }
        let terms = [("loss", loss.clone()), ("normal", normal_term), ("noise", noise_term), ("anomaly", anomaly_term)];
        (loss, Terms::new(terms.into()))
    }
}
