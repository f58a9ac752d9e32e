//! One training step of DM-GRD.

use burn::tensor::Tensor;

use super::loss::{contrast, fused_triplet, transport, whole_cosines};
use super::network::Network;
use super::params::{Params, Transport, Triplet};
use crate::methods::distillation::flat_distance;
use crate::train::{BatchNormMode, Group, Optimizer, OptimizerKind, Parameters, Terms};

/// How much of Adam's moments stays from step to step.
const BETAS: (f64, f64) = (0.5, 0.999);

/// The images of a step on the device: maps of the teacher and of the memories, level by level.
pub struct Batch {
    /// What the teacher says of the images.
    pub maps: Vec<Tensor<4>>,
    /// What the student is to say, where that is something else.
    pub targets: Option<Vec<Tensor<4>>>,
    /// What the images are compared with; none = without a memory.
    pub normal: Option<Vec<Tensor<4>>>,
    /// The anomalies that they are compared with.
    pub abnormal: Option<Vec<Tensor<4>>>,
    /// The released triplet loss, which is a number.
    pub triplet: Option<f64>,
    /// Another order of the images, for the transport.
    pub order: Vec<usize>,
}

/// Losses of a step, before it changes anything: each 1 × 1, where there is such a loss.
pub struct Losses {
    /// All together.
    pub total: Tensor<2>,
    /// Distance between teacher and student, summed up over levels.
    pub distillation: Tensor<2>,
    /// Transport between the fused maps and themselves in another order, summed up over levels.
    pub transport: Option<Tensor<2>>,
    /// Contrast of the fused maps, summed up over levels.
    pub contrast: Option<Tensor<2>>,
    /// The margin.
    pub triplet: Option<Tensor<2>>,
    /// One minus the cosine between fused maps against one memory and the other: mean over images and levels.
    pub memory_distance: Option<Tensor<2>>,
}

/// The networks in training.
pub struct Trainer {
    network: Network,
    /// As they stand.
    pub parameters: Parameters,
    optimizer: Optimizer,
    params: Params,
    zero_gradient: Vec<String>,
}

impl Trainer {
    /// A trainer that starts from given parameters on an autodiff device.
    pub fn new(params: &Params, network: Network, parameters: Parameters) -> Self {
        let group = Group {
            prefixes: vec![String::new()], // every name
            kind: OptimizerKind::Adam,
            learning_rate: params.train.lr_min,
            weight_decay: 0.0,
            betas: BETAS,
        };
        let zero_gradient = network.fusion.zero_gradient();
        Trainer { network, parameters, optimizer: Optimizer::new(group), params: params.clone(), zero_gradient }
    }

    /// Changes the learning rate from the next step on.
    pub fn set_learning_rate(&mut self, rate: f64) {
        self.optimizer.set_learning_rate(rate);
    }

    /// Parameters and optimiser.
    pub fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        (&mut self.parameters, vec![&mut self.optimizer])
    }

    /// Fused maps against the memory of normal images, and against that of anomalies where there is one, in training mode: the
    /// running statistics of the fusion move once for each.
    pub fn fused(&mut self, batch: &Batch) -> (Vec<Tensor<4>>, Option<Vec<Tensor<4>>>) {
        let Trainer { network, parameters, .. } = self;
        let mut fuse = |others: Option<&[Tensor<4>]>| {
            let compared = network.compared(&batch.maps, others);
            network.fusion.forward(parameters, &compared, BatchNormMode::Train)
        };
        let normal = fuse(batch.normal.as_deref());
        (normal, batch.abnormal.as_deref().map(|others| fuse(Some(others))))
    }

    /// The losses of a step.
    pub fn losses(&mut self, batch: &Batch) -> Losses {
        let (normal, abnormal) = self.fused(batch);
        let rebuilt = self.network.rebuild(&mut self.parameters, &normal, BatchNormMode::Train);
        let targets = batch.targets.as_ref().unwrap_or(&batch.maps);
        let pairs = targets.iter().zip(rebuilt);
        let distillation = sum(pairs.map(|(target, own)| flat_distance(target.clone(), own)));
        let loss = &self.params.loss;
        let transport = (loss.ot == Transport::Sinkhorn)
            .then(|| sum(normal.iter().map(|maps| transport(maps.clone(), &batch.order))));
        let pairs = |abnormal: Vec<Tensor<4>>| normal.clone().into_iter().zip(abnormal);
        let cosines = abnormal
            .clone()
            .map(|abnormal| pairs(abnormal).map(|(own, other)| whole_cosines(other, own)).collect::<Vec<_>>());
        let contrast = cosines
            .clone()
            .map(|cosines| sum(cosines.into_iter().map(|cosines| contrast(cosines, loss.contrast_margin))));
        let memory_distance = cosines.map(|cosines| -Tensor::cat(cosines, 1).detach().mean_dim(1).mean_dim(0) + 1.0);
        let constant = batch.triplet.map(|value| distillation.zeros_like() + value);
        let triplet = match (loss.triplet, abnormal) {
            (Triplet::OnMsff, Some(abnormal)) => {
                Some(sum(pairs(abnormal).map(|(own, other)| fused_triplet(own, other, loss.triplet_margin))))
            }
            _ => constant,
        };
        let separation = [transport.clone(), contrast.clone().map(|contrast| contrast * loss.contrast)];
        let separation = separation.into_iter().flatten().map(|term| term * loss.separation);
        let margin = triplet.clone().map(|triplet| triplet * loss.triplet_weight);
        let total = sum(std::iter::once(distillation.clone()).chain(separation).chain(margin));
        Losses { total, distillation, transport, contrast, triplet, memory_distance }
    }

    /// One step; returns the losses before it, the total first.
    pub fn step(&mut self, batch: &Batch) -> Terms {
        let losses = self.losses(batch);
        let gradients = losses.total.clone().backward();
        self.optimizer.step(&mut self.parameters, &gradients, &self.zero_gradient);
        let Losses { total, distillation, transport, contrast, triplet, memory_distance } = losses;
        let terms = [
            ("loss", Some(total)),
            ("distillation", Some(distillation)),
            ("transport", transport),
            ("contrast", contrast),
            ("triplet", triplet),
            ("memory_distance", memory_distance),
        ];
        Terms::new(terms.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

fn sum(terms: impl Iterator<Item = Tensor<2>>) -> Tensor<2> {
    terms.reduce(|a, b| a + b).unwrap_or_else(|| unreachable!("there is a level"))
}
