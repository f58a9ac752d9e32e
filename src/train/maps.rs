//! Layers over maps (images × channels × rows × columns) as functions of named parameters.

use burn::tensor::Tensor;
use burn::tensor::module;

use super::layers::{BatchNormMode, remember};
use super::parameters::Parameters;
use crate::backbone::network::Window;
use crate::device::{NormalisedMaps, has_own, normalise_maps};

/// A convolution whose kernel, side × side, is the parameter `weight` (outputs × inputs / groups · side · side); `bias` names
/// one value per output.
pub fn convolution(
    parameters: &Parameters,
    weight: &str,
    bias: Option<&str>,
    (side, window): (usize, Window),
    x: Tensor<4>,
) -> Tensor<4> {
    let kernel = parameters.get(weight);
    let [outputs, values] = kernel.dims();
    let kernel = kernel.reshape([outputs, values / (side * side), side, side]);
    window.convolve(x, kernel, bias.map(|bias| parameters.get(bias).reshape([outputs])))
}

/// Batch normalisation of every channel over images and places, as PyTorch defines it: biased variance to normalise,
/// unbiased variance remembered.
pub fn batch_norm_maps(
    parameters: &mut Parameters,
    name: &str,
    x: Tensor<4>,
    mode: BatchNormMode,
    epsilon: f64,
) -> Tensor<4> {
    let [images, channels, rows, columns] = x.dims();
    let key = |part: &str| format!("{name}.{part}");
    let (flat, wide) = ([channels], [1, channels]);
    let [gamma, beta] = ["weight", "bias"].map(|part| parameters.get(&key(part)).reshape(flat));
    if mode == BatchNormMode::Evaluate {
        let [mean, variance] = ["running_mean", "running_var"].map(|part| parameters.get(&key(part)).reshape(flat));
        return module::batch_norm(x, gamma, beta, mean, variance, epsilon);
    }
    if has_own(&x.device()) {
        let (weight, bias) = (gamma.reshape(wide), beta.reshape(wide));
        let NormalisedMaps { maps, mean, variance } = normalise_maps(x, weight, bias, epsilon);
        if mode == BatchNormMode::Train {
            let count = (images * rows * columns) as f64;
            remember(parameters, &key("running_mean"), mean);
            remember(parameters, &key("running_var"), variance * (count / (count - 1.0).max(1.0)));
        }
        return maps;
    }
    let done = module::batch_norm_train(x, gamma, beta, epsilon);
    if mode == BatchNormMode::Train {
        let count = (images * rows * columns) as f64;
        let unbiased = done.variance.detach() * (count / (count - 1.0).max(1.0));
        remember(parameters, &key("running_mean"), done.mean.detach().reshape(wide));
        remember(parameters, &key("running_var"), unbiased.reshape(wide));
    }
    done.output
}
