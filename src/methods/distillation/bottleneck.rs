//! The bottleneck: maps of all levels brought together at the deepest one, and embedded into a code half as wide.

use burn::tensor::{Device, Tensor};

use super::design::{Design, cost, size};
use crate::backbone::plan::{Activation, BlockSpec, ConvSpec, walk};
use crate::backbone::resnet::{Residual, Resize, conv};
use crate::train::{BatchNormMode, Parameters, add_convolution, convolve, pass_block};

/// In front of the names of its parameters; the rest is what the released code calls them.
const PREFIX: &str = "bottleneck.";

/// Multi-scale fusion and one-class embedding: from the teacher's maps to a code of twice the deepest map's channels and half
/// its sides.
pub struct Bottleneck {
    /// For each level but the deepest: the strided convolutions that bring it there.
    fusion: Vec<Vec<ConvSpec>>,
    embedding: Vec<BlockSpec>,
    design: Design,
}

impl Bottleneck {
    /// The bottleneck behind the teacher of `design`.
    pub fn new(design: &Design) -> Self {
        let (levels, deepest) = (&design.levels, design.deepest().channels);
        let mut number = 0;
        let mut step = |pair: &[crate::plan::Level]| {
            number += 1;
            let channels = [pair[0].channels, pair[1].channels];
            conv("", number, channels, 3, 2, Activation::Relu)
        };
        let branch = |level: usize| levels[level..].windows(2).map(&mut step).collect();
        let fusion = (0..levels.len() - 1).map(branch).collect();
        let depth = if design.kind == Residual::Basic { 2 } else { 3 };
        let block = |index: usize| {
            let (inputs, resize) =
                if index == 0 { (levels.len() * deepest, Resize::Halve) } else { (2 * deepest, Resize::Keep) };
            design.kind.block(&format!("bn_layer.{index}."), [inputs, 2 * deepest], resize)
        };
        Bottleneck { fusion, embedding: (0..depth).map(block).collect(), design: design.clone() }
    }

    fn convolutions(&self) -> impl Iterator<Item = &ConvSpec> {
        self.fusion.iter().flatten().chain(self.embedding.iter().flat_map(BlockSpec::convolutions))
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
        let levels = &self.design.levels;
        let branches = self.fusion.iter().enumerate();
        let fusion = branches.flat_map(|(level, convs)| convs.iter().zip(levels[level..].iter().map(|l| l.side)));
        cost(fusion.chain(walk(&self.embedding, self.design.deepest().side)))
    }

    /// The code (images × channels × rows × columns) of maps, shallow first.
    pub fn forward(&self, parameters: &mut Parameters, maps: &[Tensor<4>], mode: BatchNormMode) -> Tensor<4> {
        let mut brought = Vec::with_capacity(maps.len());
        for (level, map) in maps.iter().enumerate() {
            let steps = self.fusion.get(level).into_iter().flatten();
            brought.push(steps.fold(map.clone(), |x, conv| convolve(parameters, PREFIX, conv, x, mode)));
        }
        let together = Tensor::cat(brought, 1);
        self.embedding.iter().fold(together, |x, block| pass_block(parameters, PREFIX, block, x, mode))
    }
}
