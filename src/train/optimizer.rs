//! Adam and AdamW with every constant explicit, PyTorch's arithmetic; StableAdamW beside them (`stable`).

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gradients::GradientOf;
use super::parameters::Parameters;
use super::stable::{self, StableAdamw};
use crate::device::{AdamRates, adam, download, upload};
use crate::error::Result;
use crate::store::{Artifact, TensorDecl, Writer};

/// How much of the moments stays from step to step: the libraries' default.
pub const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;
const FIRST: &str = "first";
const SECOND: &str = "second";
const LARGEST: &str = "largest";

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

/// What an optimiser remembers of a parameter.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    /// Running mean of its gradients.
    pub first: Tensor<2>,
    /// Running mean of their squares.
    pub second: Tensor<2>,
    /// The largest that `second` ever was, where the optimiser asks for it.
    pub largest: Option<Tensor<2>>,
}

impl Moments {
    /// Before the first gradient.
    fn at_rest(gradient: &Tensor<2>, largest: bool) -> Self {
        let zeros = || gradient.zeros_like();
        Moments { first: zeros(), second: zeros(), largest: largest.then(zeros) }
    }

    /// Takes in a gradient.
    pub fn take(&mut self, gradient: &Tensor<2>, (beta1, beta2): (f64, f64)) {
        self.first = self.first.clone() * beta1 + gradient.clone() * (1.0 - beta1);
        self.second = self.second.clone() * beta2 + gradient.clone() * gradient.clone() * (1.0 - beta2);
        self.largest = self.largest.take().map(|largest| largest.max_pair(self.second.clone()));
    }

    /// All of them with their names.
    fn named(&self) -> impl Iterator<Item = (&'static str, &Tensor<2>)> {
        let largest = self.largest.iter().map(|tensor| (LARGEST, tensor));
        [(FIRST, &self.first), (SECOND, &self.second)].into_iter().chain(largest)
    }
}

/// Moments of every parameter that has had a gradient.
#[derive(Clone, Debug)]
pub struct Optimizer {
    group: Group,
    /// What is done otherwise than in AdamW, if it is.
    stable: Option<StableAdamw>,
    step: i32,
    moments: BTreeMap<String, Moments>,
}

impl Optimizer {
    /// An optimiser at rest.
    pub fn new(group: Group) -> Self {
        Optimizer { group, stable: None, step: 0, moments: BTreeMap::new() }
    }

    /// StableAdamW at rest; the group's kind is not asked.
    pub fn stable(group: Group, stable: StableAdamw) -> Self {
        Optimizer { stable: Some(stable), ..Optimizer::new(group) }
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
        let of = |(name, moments): (&String, &Moments)| {
            let decl = |(moment, tensor): (&str, &Tensor<2>)| {
                TensorDecl::f32(&format!("{prefix}{moment}/{name}"), &tensor.dims())
            };
            moments.named().map(decl).collect::<Vec<_>>()
        };
        self.moments.iter().flat_map(of).collect()
    }

    /// Writes the moments in the order of `declarations`.
    pub fn write(&self, writer: &mut Writer) -> Result<()> {
        let mut tensors = self.moments.values().flat_map(Moments::named);
        tensors.try_for_each(|(_, tensor)| writer.f32(&download(tensor.clone())))
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
            let largest = self.keeps_largest().then(|| moment(LARGEST)).transpose()?;
            self.moments.insert(name.into(), Moments { first: moment(FIRST)?, second: moment(SECOND)?, largest });
        }
        Ok(())
    }

    fn keeps_largest(&self) -> bool {
        self.stable.is_some_and(|stable| stable.amsgrad)
    }

    /// One step. Parameters without a gradient stay; those named in `zero_gradient` (whose true gradient is zero, so
    /// that only rounding noise would move them) get a gradient of exactly zero.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &impl GradientOf, zero_gradient: &[String]) {
        self.step += 1;
        let own = |name: &&str| self.group.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let names: Vec<String> = parameters.learned_names().filter(own).map(str::to_string).collect();
        let mut waiting = Vec::with_capacity(names.len());
        for name in names {
            let value = parameters.get(&name);
            let Some(gradient) = gradients.of(&name, &value) else { continue };
            let gradient = if zero_gradient.contains(&name) { gradient.zeros_like() } else { gradient };
            waiting.push((name, value.inner(), gradient));
        }
        self.update(parameters, waiting);
    }

    /// One step with gradients of zero for all parameters that have had one: moments fade, and move parameters once more.
    /// Before the first step it is none.
    pub fn idle_step(&mut self, parameters: &mut Parameters) {
        self.step += i32::from(!self.moments.is_empty());
        let of = |name: &String| {
            let value = parameters.get(name).inner();
            (name.clone(), value.clone(), value.zeros_like())
        };
        let waiting = self.moments.keys().map(of).collect();
        self.update(parameters, waiting);
    }

    /// Replaces parameters, each given with its value and gradient.
    fn update(&mut self, parameters: &mut Parameters, waiting: Vec<(String, Tensor<2>, Tensor<2>)>) {
        let largest = self.keeps_largest();
        let known = waiting.into_iter().map(|(name, value, gradient)| {
            let moments = self.moments.remove(&name).unwrap_or_else(|| Moments::at_rest(&gradient, largest));
            (name, value, gradient, moments)
        });
        let known: Vec<_> = known.collect();
        let updated = |(name, value, gradient, mut moments): (String, Tensor<2>, Tensor<2>, Moments)| {
            let value = match self.stable {
                None => update(&self.group, self.step, value, gradient, &mut moments),
                Some(stable) => stable::update(&self.group, stable, self.step, value, gradient, &mut moments),
            };
            (name, value, moments)
        };
        // On the processor each of their operations is one thread's; a GPU is given them in their order.
        let updated: Vec<_> = match parameters.are_on_cpu() {
            true => known.into_par_iter().map(updated).collect(),
            false => known.into_iter().map(updated).collect(),
        };
        for (name, value, moments) in updated {
            parameters.update(&name, value);
            self.moments.insert(name, moments);
        }
    }
}

fn update(group: &Group, step: i32, value: Tensor<2>, gradient: Tensor<2>, moments: &mut Moments) -> Tensor<2> {
    let before = [&value, &gradient, &moments.first, &moments.second];
    if let Some([value, first, second]) = adam(before, rates(group, step)) {
        *moments = Moments { first, second, largest: None };
        return value;
    }
    let (value, gradient) = match group.kind {
        OptimizerKind::Adamw => (value * (1.0 - group.learning_rate * group.weight_decay), gradient),
        OptimizerKind::Adam => (value.clone(), gradient + value * group.weight_decay),
    };
    moments.take(&gradient, group.betas);
    let (beta1, beta2) = group.betas;
    let first_corrected = moments.first.clone() / (1.0 - beta1.powi(step));
    let root = (moments.second.clone() / (1.0 - beta2.powi(step))).sqrt() + EPSILON;
    value - first_corrected / root * group.learning_rate
}

/// What a step multiplies with.
fn rates(group: &Group, step: i32) -> AdamRates {
    let (keeps, adds) = match group.kind {
        OptimizerKind::Adamw => (1.0 - group.learning_rate * group.weight_decay, 0.0),
        OptimizerKind::Adam => (1.0, group.weight_decay),
    };
    let (beta1, beta2) = group.betas;
    AdamRates {
        keeps,
        adds,
        betas: group.betas,
        corrections: (1.0 - beta1.powi(step), 1.0 - beta2.powi(step)),
        learning_rate: group.learning_rate,
        epsilon: EPSILON,
    }
}
