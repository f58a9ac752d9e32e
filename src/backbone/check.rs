//! What a device must get right before it runs a network.
//!
//! Owns: a small computation with every kind of convolution. Does not own: who asks, and how far devices may be apart
//! (`device::check`).

use burn::tensor::Device;
use burn::tensor::ops::ConvOptions;

use super::convolve::convolve;
use crate::device::check::{Family, drawn, values};

/// The families of this module.
pub const CHECKS: &[Family] = &[Family { name: "convolution", run: checked, tolerance: 1e-5 }];

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
