//! DM-GRD's networks: fusion, then the bottleneck and the student of reverse distillation.

use burn::tensor::{Device, Tensor};

use super::fusion::Fusion;
use super::params::FusionParams;
use crate::methods::distillation::{Bottleneck, Design, Student};
use crate::train::{BatchNormMode, Parameters};

/// The networks that learn. Maps are images × channels × rows × columns, one for each level of the teacher, shallow first.
pub struct Network {
    /// What they are made after.
    pub design: Design,
    /// The first of them.
    pub fusion: Fusion,
    bottleneck: Bottleneck,
    student: Student,
    scale: f64,
}

impl Network {
    /// Fusion, bottleneck and student as `design` has them after a teacher.
    pub fn new(params: &FusionParams, design: Design) -> Network {
        Network {
            fusion: Fusion::new(params.kind, design.levels.clone()),
            scale: params.scale,
            bottleneck: Bottleneck::new(&design),
            student: Student::new(&design),
            design,
        }
    }

    /// Parameters, freshly drawn from a seed, or zeros where only names and shapes are wanted.
    pub fn initial(&self, seed: Option<u64>, device: &Device) -> Parameters {
        let mut parameters = self.design.parameters(seed, device);
        self.fusion.add(&mut parameters, seed, device);
        parameters
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        self.fusion.size() + self.bottleneck.size() + self.student.size()
    }

    /// Operations for one image that passes the fusion so often and the rest once, and values of all its maps.
    pub fn cost(&self, fusions: usize) -> (f64, usize) {
        let (fusion, values) = (self.fusion.operations(), self.fusion.map_values());
        let [(bottleneck, narrow), (student, rebuilt)] = [self.bottleneck.cost(), self.student.cost()];
        (fusions as f64 * fusion + bottleneck + student, fusions * values + narrow + rebuilt)
    }

    /// What the student makes of fused maps.
    pub fn rebuild(&self, parameters: &mut Parameters, fused: &[Tensor<4>], mode: BatchNormMode) -> Vec<Tensor<4>> {
        let code = self.bottleneck.forward(parameters, fused, mode);
        self.student.forward(parameters, code, mode)
    }

    /// Maps beside their squared differences from others; without others the differences are 0.
    pub fn compared(&self, maps: &[Tensor<4>], others: Option<&[Tensor<4>]>) -> Vec<Tensor<4>> {
        let of_level = |(level, own): (usize, &Tensor<4>)| {
            let own = own.clone() / self.scale;
            let square = match others {
                Some(others) => {
                    let difference = others[level].clone() / self.scale - own.clone();
                    difference.clone() * difference
                }
                None => own.zeros_like(),
            };
            Tensor::cat(vec![own, square], 1)
        };
        maps.iter().enumerate().map(of_level).collect()
    }
}
