//! The network that judges rows, with its pass in training written out.
//!
//! Owns: its forward pass in a graph (scoring, plain twins, SimpleNet), and the same in training with the backward pass by hand, which keeps
//! one matrix for each block and has all others again when it needs them. Does not own: what the rows are.

use burn::tensor::{Device, Tensor};

use super::gradients::NamedGradients;
use super::layers::{
    BATCH_NORM_EPSILON, BatchNormMode, batch_norm, linear, linear_bias_free, linear_to_norm, remember_statistics,
};
use super::parameters::Parameters;
use crate::device::{Activation, ActivationGradient, leaky_relu, product};

/// What the blocks leave of values below 0.
const SLOPE: f64 = 0.2;

/// A network from rows to one value each: blocks of Linear, BatchNorm and LeakyReLU (slope 0.2), and a last layer without
/// bias. Its parameters are called `prefix.BLOCK.linear`, `prefix.BLOCK.bn` (blocks from 1) and `prefix.out`.
#[derive(Clone, Copy, Debug)]
pub struct Mlp {
    /// In front of its parameters' names.
    pub prefix: &'static str,
    /// Columns of the rows.
    pub inputs: usize,
    /// How many blocks.
    pub blocks: usize,
    /// Their width.
    pub hidden: usize,
    /// Every block but the first adds what it gets.
    pub skips: bool,
}

impl Mlp {
    /// Adds freshly drawn parameters.
    pub fn add(&self, parameters: &mut Parameters, seed: u64, device: &Device) {
        for block in 1..=self.blocks {
            let inputs = if block == 1 { self.inputs } else { self.hidden };
            parameters.add_linear(&self.name(block, "linear"), inputs, self.hidden, true, seed, device);
            parameters.add_batch_norm(&self.name(block, "bn"), self.hidden, device);
        }
        parameters.add_linear(&format!("{}.out", self.prefix), self.hidden, 1, false, seed, device);
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        let block = |inputs: usize| self.hidden * (inputs + 3);
        block(self.inputs) + (self.blocks - 1) * block(self.hidden) + self.hidden
    }

    /// The biases in front of batch normalisations, which remove what all rows share: their true gradient is zero.
    pub fn zero_gradient(&self) -> impl Iterator<Item = String> {
        (1..=self.blocks).map(|block| self.name(block, "linear.bias"))
    }

    /// One value for each row.
    pub fn forward(&self, parameters: &mut Parameters, rows: Tensor<2>, mode: BatchNormMode) -> Tensor<2> {
        let mut hidden = rows;
        for block in 1..=self.blocks {
            let inner = linear(parameters, &self.name(block, "linear"), hidden.clone());
            let out = leaky_relu(batch_norm(parameters, &self.name(block, "bn"), inner, mode), SLOPE);
            hidden = if self.skips && block > 1 { hidden + out } else { out };
        }
        linear_bias_free(parameters, &format!("{}.out", self.prefix), hidden)
    }

    /// The first block's linear layer in training, of some of the rows: rows × hidden, and what a GPU has left out (`linear_to_norm`).
    pub fn enter(&self, parameters: &Parameters, rows: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        linear_to_norm(parameters, &self.name(1, "linear"), rows)
    }

    /// The gradient of some of the rows that entered, where what came of them has `gradient`; that of the layer's weight is added
    /// to `found`.
    pub fn leave(
        &self,
        parameters: &Parameters,
        rows: Tensor<2>,
        gradient: Tensor<2>,
        found: &mut NamedGradients,
    ) -> Tensor<2> {
        let weight = format!("{}.weight", self.name(1, "linear"));
        found.add(&weight, product(gradient.clone().transpose(), rows));
        product(gradient, parameters.plain(&weight))
    }

    /// One value for each row in training, from what `enter` made of all rows and left out of them. Running statistics move;
    /// nothing is tracked. The pass leads back; with `keeps` it holds what lies between the blocks, else that is made again.
    pub fn train(
        &self,
        parameters: &mut Parameters,
        (entered, missing): (Tensor<2>, Option<Tensor<2>>),
        keeps: bool,
    ) -> (Tensor<2>, MlpPass) {
        let mut pass = MlpPass { mlp: *self, blocks: Vec::new(), between: keeps.then(Vec::new) };
        let (mut inner, mut missing) = (entered, missing);
        let mut hidden: Option<Tensor<2>> = None;
        for block in 1..=self.blocks {
            if let Some(hidden) = &hidden {
                (inner, missing) = linear_to_norm(parameters, &self.name(block, "linear"), hidden.clone());
            }
            let activation = self.activate(parameters, block, inner.clone(), missing.take());
            let out = activation.rows(hidden.take().filter(|_| self.skips));
            pass.blocks.push(activation);
            if let Some(between) = &mut pass.between {
                between.push(out.clone());
            }
            hidden = Some(out);
        }
        let weight = parameters.plain(&format!("{}.out.weight", self.prefix));
        let hidden = hidden.unwrap_or_else(|| unreachable!("an MLP has blocks"));
        (product(hidden, weight.transpose()), pass)
    }

    /// Normalises what a block's linear layer made, and remembers the statistics.
    fn activate(
        &self,
        parameters: &mut Parameters,
        block: usize,
        inner: Tensor<2>,
        missing: Option<Tensor<2>>,
    ) -> Activation {
        let name = self.name(block, "bn");
        let [weight, bias] = ["weight", "bias"].map(|part| parameters.plain(&format!("{name}.{part}")));
        let rows = inner.dims()[0];
        let activation = Activation::new(inner, weight, bias, BATCH_NORM_EPSILON, SLOPE);
        let mean = match missing {
            Some(missing) => activation.mean.clone() + missing,
            None => activation.mean.clone(),
        };
        let wide = |row: Tensor<2>| if parameters.are_tracked() { Tensor::from_inner(row) } else { row };
        let (mean, variance) = (wide(mean), wide(activation.variance.clone()));
        remember_statistics(parameters, &name, mean, variance, rows);
        activation
    }

    fn name(&self, block: usize, part: &str) -> String {
        format!("{}.{block}.{part}", self.prefix)
    }
}

/// The way back through an [`Mlp`] that has judged rows in training.
pub struct MlpPass {
    mlp: Mlp,
    blocks: Vec<Activation>,
    /// What came out of each block, skips added, where it was kept.
    between: Option<Vec<Tensor<2>>>,
}

impl MlpPass {
    /// The gradient of what `enter` made, where the values have `gradient` (rows × 1); those of all parameters behind the first linear
    /// layer are added to `found`. Linear biases have none: the normalisations remove what all rows share.
    pub fn backward(mut self, parameters: &Parameters, gradient: Tensor<2>, found: &mut NamedGradients) -> Tensor<2> {
        let mlp = self.mlp;
        let out = format!("{}.out.weight", mlp.prefix);
        found.add(&out, product(self.hidden().transpose(), gradient.clone()).transpose());
        let mut of_hidden = product(gradient, parameters.plain(&out));
        for block in (2..=mlp.blocks).rev() {
            let of_inner = self.through_last(of_hidden.clone(), found);
            let weight = format!("{}.weight", mlp.name(block, "linear"));
            found.add(&weight, product(of_inner.clone().transpose(), self.hidden()));
            let through = product(of_inner, parameters.plain(&weight));
            of_hidden = if mlp.skips { of_hidden + through } else { through };
        }
        self.through_last(of_hidden, found)
    }

    /// Back through the normalisation and the rectifier of the last block that is left, which goes.
    fn through_last(&mut self, of_out: Tensor<2>, found: &mut NamedGradients) -> Tensor<2> {
        let name = self.mlp.name(self.blocks.len(), "bn");
        let Some(activation) = self.blocks.pop() else { unreachable!("there is a block left") };
        if let Some(between) = &mut self.between {
            between.pop();
        }
        let ActivationGradient { x, weight, bias } = activation.gradient(of_out);
        found.add(&format!("{name}.weight"), weight);
        found.add(&format!("{name}.bias"), bias);
        x
    }

    /// What came out of the last block that is left.
    fn hidden(&self) -> Tensor<2> {
        if let Some(out) = self.between.as_ref().and_then(|between| between.last()) {
            return out.clone();
        }
        let first = if self.mlp.skips { 0 } else { self.blocks.len() - 1 };
        let on = |base: Option<Tensor<2>>, block: &Activation| Some(block.rows(base));
        self.blocks[first..].iter().fold(None, on).unwrap_or_else(|| unreachable!("there is a block left"))
    }
}
