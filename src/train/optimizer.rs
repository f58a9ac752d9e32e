//! Adam and AdamW with every constant explicit, PyTorch's arithmetic.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use burn::tensor::{Gradients, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parameters::Parameters;
use crate::device::{download, upload};
use crate::error::Result;
use crate::store::{Artifact, TensorDecl, Writer};

/// How much of the moments stays from step to step: the libraries' default.
pub const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;
const FIRST: &str = "first";
const SECOND: &str = "second";

/// How weight decay enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Decay apart from the gradient step.
    Adamw,
    /// Decay added to the gradient.
    Adam,
}

/// The parameters of an optimiser, with their settings: those whose name starts with one of `prefixes`.
#[derive(Clone, Debug)]
pub struct Group {
    /// Name prefixes.
    pub prefixes: Vec<String>,
    /// How weight decay enters.
    pub kind: OptimizerKind,
    /// Learning rate.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// How much of the first and of the second moment stays from step to step.
    pub betas: (f64, f64),
}

/// Moments of every parameter that has had a gradient.
#[derive(Clone, Debug)]
pub struct Optimizer {
    group: Group,
    step: i32,
    moments: BTreeMap<String, (Tensor<2>, Tensor<2>)>,
}

impl Optimizer {
    /// An optimiser at rest.
    pub fn new(group: Group) -> Self {
        Optimizer { group, step: 0, moments: BTreeMap::new() }
    }

    /// Changes the learning rate from the next step on.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.group.learning_rate = learning_rate;
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.step as u64
    }

    /// What an artifact must declare to hold the moments, names prefixed.
    pub fn declarations(&self, prefix: &str) -> Vec<TensorDecl> {
        let of = |moment: &str, name: &str, tensor: &Tensor<2>| {
            TensorDecl::f32(&format!("{prefix}{moment}/{name}"), &tensor.dims())
        };
        let pairs = self.moments.iter();
        pairs.flat_map(|(name, (first, second))| [of(FIRST, name, first), of(SECOND, name, second)]).collect()
    }

    /// Writes the moments in the order of `declarations`.
    pub fn write(&self, writer: &mut Writer) -> Result<()> {
        self.moments.values().try_for_each(|(first, second)| {
            writer.f32(&download(first.clone()))?;
            writer.f32(&download(second.clone()))
        })
    }

    /// Takes the moments from an artifact, as they were after `steps` steps on the parameters' device.
    pub fn read(&mut self, artifact: &Artifact, prefix: &str, steps: u64, parameters: &Parameters) -> Result<()> {
        self.step = steps as i32;
        self.moments.clear();
        let first = format!("{prefix}{FIRST}/");
        for name in artifact.tensors().keys().filter_map(|name| name.strip_prefix(&first)) {
            let shape = parameters.get(name).dims();
            let device = parameters.get(name).inner().device();
            let moment = |moment: &str| -> Result<Tensor<2>> {
                let values = artifact.f32(&format!("{prefix}{moment}/{name}"))?;
                Ok(upload(values.to_vec(), shape, &device))
            };
            self.moments.insert(name.into(), (moment(FIRST)?, moment(SECOND)?));
        }
        Ok(())
    }

    /// One step. Parameters without a gradient stay; those named in `zero_gradient` (whose true gradient is zero, so
    /// that only rounding noise would move them) get a gradient of exactly zero.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &Gradients, zero_gradient: &[String]) {
        self.step += 1;
        let own = |name: &&str| self.group.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let names: Vec<String> = parameters.learned_names().filter(own).map(str::to_string).collect();
        for name in names {
            let value = parameters.get(&name);
            let Some(gradient) = value.grad(gradients) else { continue };
            let gradient = if zero_gradient.contains(&name) { gradient.zeros_like() } else { gradient };
            let updated = update(&self.group, self.step, value.inner(), gradient, self.moments.entry(name.clone()));
            parameters.update(&name, updated);
        }
    }

    /// One step with gradients of zero for all parameters that have had one: moments fade, and move parameters once more.
    /// Before the first step it is none.
    pub fn idle_step(&mut self, parameters: &mut Parameters) {
        self.step += i32::from(!self.moments.is_empty());
        for name in self.moments.keys().cloned().collect::<Vec<_>>() {
            let value = parameters.get(&name).inner();
            let moments = self.moments.entry(name.clone());
            parameters.update(&name, update(&self.group, self.step, value.clone(), value.zeros_like(), moments));
        }
    }
}

fn update(
    group: &Group,
    step: i32,
    value: Tensor<2>,
    gradient: Tensor<2>,
    moments: Entry<String, (Tensor<2>, Tensor<2>)>,
) -> Tensor<2> {
    let (value, gradient) = match group.kind {
        OptimizerKind::Adamw => (value * (1.0 - group.learning_rate * group.weight_decay), gradient),
        OptimizerKind::Adam => (value.clone(), gradient + value * group.weight_decay),
    };
    let (first, second) = moments.or_insert_with(|| (gradient.zeros_like(), gradient.zeros_like()));
    let (beta1, beta2) = group.betas;
    *first = first.clone() * beta1 + gradient.clone() * (1.0 - beta1);
    *second = second.clone() * beta2 + gradient.clone() * gradient * (1.0 - beta2);
    let first_corrected = first.clone() / (1.0 - beta1.powi(step));
    let root = (second.clone() / (1.0 - beta2.powi(step))).sqrt() + EPSILON;
    value - first_corrected / root * group.learning_rate
}
