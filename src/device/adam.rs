//! Steps of Adam and AdamW on a GPU: one kernel for each tensor that is learned.
//!
//! Of the tensor library's operations a step is fifteen of them, each of which reads and writes all values.

use burn::tensor::Tensor;

/// What a step multiplies with, all of it known before.
#[derive(Clone, Copy, Debug)]
pub struct AdamRates {
    /// The value's share that weight decay leaves (AdamW), or 1.
    pub keeps: f64,
    /// The value's share that is added to the gradient (Adam), or 0.
    pub adds: f64,
    /// How much of the first and of the second moment stays.
    pub betas: (f64, f64),
    /// What they are divided by, as both began at zero.
    pub corrections: (f64, f64),
    /// Learning rate.
    pub learning_rate: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

/// Value, first and second moment after a step, of value, gradient and both moments before it, all of one shape; none on the CPU, and
/// where plain twins were asked for.
pub fn adam([value, gradient, first, second]: [&Tensor<2>; 4], rates: AdamRates) -> Option<[Tensor<2>; 3]> {
    #[cfg(feature = "gpu")]
    if !super::is_cpu(&value.device()) && !crate::naive::is_chosen() {
        return Some(super::kernels::adam([value, gradient, first, second].map(Clone::clone), rates));
    }
    let _ = (value, gradient, first, second, rates);
    None
}
