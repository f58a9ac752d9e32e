//! What a device must get right before it runs a network.
//!
//! Owns: small computations with every kind of convolution, and with what transformers are made of. Does not own: who asks, and how far devices may be apart
//! (`device::check`).

use burn::tensor::Device;
use burn::tensor::ops::ConvOptions;

use super::convolve::convolve;
use super::vit::{Form, Transformer};
use super::weights::draw;
use crate::device::check::{Family, drawn, values};
use crate::random::{Purpose, stream};
use crate::spec::Positions;

/// The families of this module.
pub const CHECKS: &[Family] = &[
    Family { name: "convolution", run: checked, tolerance: 1e-5 },
    Family { name: "attention", run: attended, tolerance: 2e-5 },
];

/// Dense and depthwise, with and without a stride, and the gradients of input and kernel.
fn checked(device: &Device) -> Vec<f32> {
    let device = device.clone().autodiff();
    let mut out = Vec::new();
    for (kernel, stride, groups) in
        [([5, 6, 3, 3], 1, 1), ([5, 6, 3, 3], 2, 1), ([6, 1, 3, 3], 1, 6), ([8, 6, 1, 1], 1, 1)]
    {
        let options = ConvOptions::new([stride; 2], [kernel[2] / 2; 2], [1, 1], groups);
        let image = drawn(0, [2, 6, 19, 17], 1.0, &device).require_grad();
        let kernel = drawn(1, kernel, 0.3, &device).require_grad();
        let y = convolve(image.clone(), kernel.clone(), None, options);
        let found = (y.clone() * y.clone()).sum_dim(0).sum_dim(1).sum_dim(2).sum_dim(3).backward();
        out.extend(values(y));
        for learned in [image, kernel] {
            out.extend(learned.grad(&found).map(values).unwrap_or_default());
        }
    }
    out
}

/// Tokens of two images behind the first block and behind the final normalisation of a small transformer.
fn attended(device: &Device) -> Vec<f32> {
    let form = Form { width: 48, depth: 2, heads: 3, registers: 2, grid: 3 };
    let state = draw(&form.tensors(form.depth), 0);
    let network = Transformer::new(&form, &[0, form.depth], Positions::SizeAa, &state, device);
    let size = [28, 42];
    let mut planes = vec![0.0; 2 * 3 * size[0] * size[1]];
    stream(0, Purpose::InitialWeights, 2).fill_normal(&mut planes, 1.0);
    network.tokens(planes, size).into_iter().flat_map(values).collect()
}
