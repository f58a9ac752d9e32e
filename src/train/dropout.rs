//! Dropout with masks from named streams.

use burn::tensor::Tensor;

use crate::device::draws;
use crate::random::Stream;

/// Dropout masks of one training step, drawn on the host in the order in which the network needs them, each image's from
/// its own stream: however a batch is divided, an image gets the same ones.
pub struct Dropout {
    rate: f64,
    draws: Vec<Stream>,
}

impl Dropout {
    /// Nothing is dropped.
    pub fn none() -> Self {
        Dropout { rate: 0.0, draws: Vec::new() }
    }

    /// Drops a share of `rate` of the values of as many images as there are streams.
    pub fn new(rate: f64, draws: Vec<Stream>) -> Self {
        Dropout { rate, draws }
    }

    /// Takes the masks of the first `images` images out.
    pub fn split_off(&mut self, images: usize) -> Dropout {
        let first = self.draws.drain(..images.min(self.draws.len())).collect();
        Dropout { rate: self.rate, draws: first }
    }

    /// Drops values of `x` (image-major) and scales the others up, so that the mean stays.
    pub fn apply<const D: usize>(&mut self, x: Tensor<D>) -> Tensor<D> {
        if self.rate == 0.0 || self.draws.is_empty() {
            return x;
        }
        let mask = draws::dropout(&mut self.draws, self.rate, x.dims(), &x.device());
        x * mask
    }
}
