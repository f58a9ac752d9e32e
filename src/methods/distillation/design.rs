//! How bottleneck and student follow from a teacher: same widths, same strides, the same kind of blocks.

use burn::tensor::Device;

use super::{Bottleneck, Student};
use crate::backbone::plan::{Activation, ConvSpec, Plan, Tap};
use crate::backbone::resnet::Residual;
use crate::error::{Error, Result};
use crate::plan::{Level, NetworkInput};
use crate::train::Parameters;

/// What bottleneck and student are made after.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Their blocks: those of a residual network, basic ones for every other teacher.
    pub kind: Residual,
    /// The teacher's maps, shallow first; each half as wide as the one before.
    pub levels: Vec<Level>,
    /// What follows the teacher's blocks, hence the last block of each of the student's stages.
    pub activation: Activation,
}

impl Design {
    /// The design that follows from a teacher, a network for square images of `side` pixels.
    ///
    /// # Errors
    /// Images that are too small, layers that are not one halving apart, a deepest map of an odd side.
    pub fn of(network: &NetworkInput, side: usize) -> Result<Design> {
        let levels = network.levels(side)?;
        let halved = levels.windows(2).all(|pair| pair[0].side == 2 * pair[1].side);
        let deepest = levels.last().map_or(0, |level| level.side);
        if !halved || deepest % 2 == 1 {
            let sides: Vec<String> = levels.iter().map(|level| level.side.to_string()).collect();
            let what = format!("maps of {} places a side are not each half of the one before", sides.join(", "));
            let help = "name layers of consecutive strides in `backbone.layers`, and let `image.size` be a multiple of \
                        twice the deepest stride";
            return Err(Error::usage(what, help));
        }
        let plan = network.architecture().plan();
        let (kind, activation) = mirrored(&plan, network.taps());
        Ok(Design { kind, levels, activation })
    }

    /// Parameters of bottleneck and student, freshly drawn from a seed, or zeros where only names and shapes are wanted.
    pub fn parameters(&self, seed: Option<u64>, device: &Device) -> Parameters {
        let mut parameters = Parameters::default();
        Bottleneck::new(self).add(&mut parameters, seed, device);
        Student::new(self).add(&mut parameters, seed, device);
        parameters
    }

    /// How many numbers both learn.
    pub fn size(&self) -> usize {
        Bottleneck::new(self).size() + Student::new(self).size()
    }

    /// Operations of both for one image, and values of all their maps.
    pub fn cost(&self) -> (f64, usize) {
        let [bottleneck, student] = [Bottleneck::new(self).cost(), Student::new(self).cost()];
        (bottleneck.0 + student.0, bottleneck.1 + student.1)
    }

    /// The deepest map.
    pub(super) fn deepest(&self) -> Level {
        *self.levels.last().unwrap_or_else(|| unreachable!("a network has a tap"))
    }
}

/// The kind of blocks in front of a network's deepest tap, and what follows them.
fn mirrored(plan: &Plan, taps: &[Tap]) -> (Residual, Activation) {
    let block = &plan.blocks[taps.last().map_or(0, |tap| tap.block)];
    let bottleneck = block.convs.len() == 3 && block.convs.iter().all(|conv| conv.groups == 1);
    (if bottleneck { Residual::WideBottleneck } else { Residual::Basic }, block.activation)
}

/// Numbers that learn in convolutions with their normalisations.
pub(super) fn size<'a>(convs: impl Iterator<Item = &'a ConvSpec>) -> usize {
    convs.map(|conv| conv.shape().iter().product::<usize>() + 2 * conv.outputs).sum()
}

/// Operations and values of all maps of convolutions, each with the side of the map that it gets.
pub(super) fn cost<'a>(convs: impl Iterator<Item = (&'a ConvSpec, usize)>) -> (f64, usize) {
    convs.fold((0.0, 0), |(operations, values), (conv, side)| {
        (operations + conv.operations(side), values + conv.map_values(side))
    })
}
