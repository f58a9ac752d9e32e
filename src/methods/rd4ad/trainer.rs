//! One training step of RD4AD.

use burn::tensor::Tensor;

use super::params::{Cosine, Params};
use crate::methods::distillation::{Bottleneck, Design, Student, flat_distance, place_distance};
use crate::train::{BatchNormMode, Group, Optimizer, OptimizerKind, Parameters, Terms};

/// How much of Adam's moments stays from step to step.
const BETAS: (f64, f64) = (0.5, 0.999);

/// What the terms of the loss are called in logs, shallow first.
const LEVELS: [&str; 5] = ["level1", "level2", "level3", "level4", "level5"];

/// Bottleneck and student in training.
pub struct Trainer {
    bottleneck: Bottleneck,
    student: Student,
    /// As they stand.
    pub parameters: Parameters,
    optimizer: Optimizer,
    params: Params,
}

impl Trainer {
    /// A trainer that starts from given parameters on an autodiff device.
    pub fn new(params: &Params, design: &Design, parameters: Parameters) -> Self {
        let group = Group {
            prefixes: vec![String::new()], // every name
            kind: OptimizerKind::Adam,
            learning_rate: params.train.lr,
            weight_decay: 0.0,
            betas: BETAS,
        };
        Trainer {
            bottleneck: Bottleneck::new(design),
            student: Student::new(design),
            parameters,
            optimizer: Optimizer::new(group),
            params: params.clone(),
        }
    }

    /// The optimiser.
    pub fn optimizer(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }

    /// Parameters and optimiser.
    pub fn state(&mut self) -> (&mut Parameters, Vec<&mut Optimizer>) {
        (&mut self.parameters, vec![&mut self.optimizer])
    }

    /// The loss of the teacher's maps of some images (1 × 1), and its weighted terms, one for each level. Running statistics
    /// move.
    pub fn loss(&mut self, teacher: &[Tensor<4>]) -> (Tensor<2>, Tensor<2>) {
        let code = self.bottleneck.forward(&mut self.parameters, teacher, BatchNormMode::Train);
        let student = self.student.forward(&mut self.parameters, code, BatchNormMode::Train);
        let loss = &self.params.loss;
        let distance = match loss.cosine {
            Cosine::Flatten => flat_distance,
            Cosine::PerLocation => place_distance,
        };
        let pairs = teacher.iter().zip(student).enumerate();
        let terms = pairs.map(|(level, (t, s))| distance(t.clone(), s) * loss.weight(level));
        let terms = Tensor::cat(terms.collect(), 0);
        (terms.clone().sum_dim(0), terms)
    }

    /// One step; returns its loss before it and the weighted term of each level.
    pub fn step(&mut self, teacher: &[Tensor<4>]) -> Terms {
        let (loss, terms) = self.loss(teacher);
        let gradients = loss.backward();
        self.optimizer.step(&mut self.parameters, &gradients, &[]);
        let of_level = |(level, name): (usize, &&'static str)| (*name, terms.clone().narrow(0, level, 1));
        let levels = LEVELS[..teacher.len()].iter().enumerate().map(of_level);
        Terms::new(std::iter::once(("loss", loss)).chain(levels).collect())
    }
}
