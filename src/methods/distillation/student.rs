//! The student: a decoder that mirrors the teacher, from the code back to its maps.

use burn::tensor::{Device, Tensor};

use super::design::{Design, cost, size};
use crate::backbone::plan::{Activation, BlockSpec, ConvSpec, walk};
use crate::backbone::resnet::{Residual, Resize};
use crate::train::{BatchNormMode, Parameters, add_convolution, pass_block};

/// In front of the names of its parameters; the rest is what the released code calls them.
const PREFIX: &str = "student.";

/// Blocks of the stages of a decoder of bottlenecks, deepest first: those of a ResNet-50, in its order.
const DEPTHS: [usize; 4] = [3, 4, 6, 3];

/// A decoder with one stage for each of the teacher's levels; the first block of each doubles the sides.
pub struct Student {
    /// Deepest first.
    stages: Vec<Vec<BlockSpec>>,
    /// Side of the code.
    side: usize,
}

impl Student {
    /// The student that mirrors the teacher of `design`.
    pub fn new(design: &Design) -> Self {
        let mut inputs = 2 * design.deepest().channels;
        let stage = |(number, level): (usize, &crate::plan::Level)| {
            let depth = if design.kind == Residual::Basic { 2 } else { DEPTHS[number % DEPTHS.len()] };
            let block = |index: usize| {
                let (from, resize) = if index == 0 { (inputs, Resize::Double) } else { (level.channels, Resize::Keep) };
                let prefix = format!("layer{}.{index}.", number + 1);
                let block = design.kind.block(&prefix, [from, level.channels], resize);
                let last = index + 1 == depth;
                BlockSpec { activation: if last { design.activation } else { Activation::Relu }, ..block }
            };
            let blocks = (0..depth).map(block).collect();
            inputs = level.channels;
            blocks
        };
        Student { stages: design.levels.iter().rev().enumerate().map(stage).collect(), side: design.deepest().side / 2 }
    }

    fn convolutions(&self) -> impl Iterator<Item = &ConvSpec> {
        self.stages.iter().flatten().flat_map(BlockSpec::convolutions)
    }

    /// Adds its parameters, freshly drawn from a seed, or zeros.
    pub fn add(&self, parameters: &mut Parameters, seed: Option<u64>, device: &Device) {
        self.convolutions().for_each(|conv| add_convolution(parameters, PREFIX, conv, seed, device));
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        size(self.convolutions())
    }

    /// Operations for one image, and values of all its maps.
    pub fn cost(&self) -> (f64, usize) {
        let stages = self.stages.iter().enumerate();
        cost(stages.flat_map(|(number, blocks)| walk(blocks, self.side << number)))
    }

    /// What it makes of a code: maps (images × channels × rows × columns) like the teacher's, shallow first.
    pub fn forward(&self, parameters: &mut Parameters, code: Tensor<4>, mode: BatchNormMode) -> Vec<Tensor<4>> {
        let mut x = code;
        let mut maps = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            x = stage.iter().fold(x, |x, block| pass_block(parameters, PREFIX, block, x, mode));
            maps.push(x.clone());
        }
        maps.reverse();
        maps
    }
}
