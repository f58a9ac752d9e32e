//! DM-GRD's fusion of maps with what they are compared with (docs/methods/dm_grd.md, Fusion). Level by level maps of twice the
//! teacher's channels become maps of the teacher's.

use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, activation};

use super::params::FusionKind;
use crate::backbone::network::Window;
use crate::backbone::plan::Padding;
use crate::plan::Level;
use crate::train::{BATCH_NORM_EPSILON, BatchNormMode, Parameters, batch_norm_maps, convolution, product, upload};

/// In front of its parameters' names, which are the released code's.
const PREFIX: &str = "msff.";

/// The network's shape: what the parameters alone do not say.
#[derive(Clone, Debug)]
pub struct Fusion {
    kind: FusionKind,
    /// Shallow first.
    levels: Vec<Level>,
}

/// A convolution of the network.
struct Conv {
    name: String,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    /// Side of the maps that it makes.
    side: usize,
}

impl Conv {
    fn size(&self) -> usize {
        self.outputs * (self.inputs * self.kernel.pow(2) + 1)
    }
}

impl Fusion {
    /// The network of this kind for these levels of a teacher, shallow first.
    pub fn new(kind: FusionKind, levels: Vec<Level>) -> Fusion {
        Fusion { kind, levels }
    }

    /// Convolutions of a level's block.
    fn block(&self, number: usize, level: Level) -> Vec<Conv> {
        let (channels, wide, side) = (level.channels, 2 * level.channels, level.side);
        let conv = |part: &str, inputs: usize, outputs: usize, kernel: usize| {
            let name = format!("{PREFIX}blk{}.{part}", number + 1);
            Conv { name, inputs, outputs, kernel, side }
        };
        match self.kind {
            FusionKind::Pointwise => vec![conv("mix", wide, channels, 1)],
            FusionKind::Msff => vec![
                conv("attn.theta", wide, channels, 1),
                conv("attn.phi.0", wide, channels, 1),
                conv("attn.g.0", wide, channels, 1),
                conv("attn.W.0", channels, wide, 1),
                conv("conv1", wide, wide, 3),
                conv("conv2.0", wide, channels, 3),
                conv("conv2.1", channels, channels, 3),
            ],
        }
    }

    /// The convolution from a level to the next shallower one.
    fn upward(&self, from: usize) -> Conv {
        let [inputs, outputs] = [from, from - 1].map(|level| self.levels[level].channels);
        let name = format!("{PREFIX}upconv{}{}.1", from + 1, from);
        Conv { name, inputs, outputs, kernel: 3, side: self.levels[from - 1].side }
    }

    fn attention(&self, side: usize) -> Conv {
        Conv { name: format!("{PREFIX}sam.conv"), inputs: 2, outputs: 1, kernel: 7, side }
    }

    /// All convolutions, those that levels share once.
    fn convolutions(&self) -> Vec<Conv> {
        let mut all: Vec<Conv> =
            self.levels.iter().enumerate().flat_map(|(number, level)| self.block(number, *level)).collect();
        if self.kind == FusionKind::Msff {
            all.push(self.attention(self.levels[0].side));
            all.extend((1..self.levels.len()).map(|from| self.upward(from)));
        }
        all
    }

    /// Adds its parameters, freshly drawn from a seed, or zeros where only names and shapes are wanted. The batch
    /// normalisations behind non-local attention start at 0, so that it starts as the identity.
    pub fn add(&self, parameters: &mut Parameters, seed: Option<u64>, device: &Device) {
        for conv in self.convolutions() {
            let (inputs, outputs) = (conv.inputs * conv.kernel.pow(2), conv.outputs);
            match seed {
                Some(seed) => parameters.add_layer(&conv.name, inputs, outputs, seed, device),
                None => {
                    let weight = vec![0.0; outputs * inputs];
                    parameters.insert(&format!("{}.weight", conv.name), weight, [outputs, inputs], device);
                    parameters.insert(&format!("{}.bias", conv.name), vec![0.0; outputs], [1, outputs], device);
                }
            }
        }
        for norm in self.norms() {
            let width = parameters.get(&norm.replace("W.1", "W.0.bias")).dims()[1];
            parameters.add_batch_norm(&norm, width, device);
            parameters.insert(&format!("{norm}.weight"), vec![0.0; width], [1, width], device);
        }
    }

    /// Batch normalisations.
    fn norms(&self) -> Vec<String> {
        let levels = if self.kind == FusionKind::Msff { self.levels.len() } else { 0 };
        (1..=levels).map(|level| format!("{PREFIX}blk{level}.attn.W.1")).collect()
    }

    /// Biases in front of batch normalisations, which remove them: their true gradient is zero.
    pub fn zero_gradient(&self) -> Vec<String> {
        self.norms().into_iter().map(|norm| norm.replace("W.1", "W.0.bias")).collect()
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        let norms = if self.kind == FusionKind::Msff { 4 } else { 0 };
        let of_norms: usize = self.levels.iter().map(|level| norms * level.channels).sum();
        self.convolutions().iter().map(Conv::size).sum::<usize>() + of_norms
    }

    /// Operations of one forward pass of one image.
    pub fn operations(&self) -> f64 {
        let conv = |conv: &Conv| 2.0 * (conv.size() * conv.side.pow(2)) as f64;
        let attention = |level: &Level| match self.kind {
            // Products of all places with a quarter of them, twice.
            FusionKind::Msff => (level.side.pow(4) * level.channels) as f64,
            FusionKind::Pointwise => 0.0,
        };
        self.convolutions().iter().map(conv).sum::<f64>() + self.levels.iter().map(attention).sum::<f64>()
    }

    /// Values of all maps of one image on the way, roughly.
    pub fn map_values(&self) -> usize {
        let maps: usize = self.levels.iter().map(|level| 12 * level.values()).sum();
        let attention: usize = self.levels.iter().map(|level| level.side.pow(4) / 4).sum();
        maps + if self.kind == FusionKind::Msff { attention } else { 0 }
    }

    /// Fused maps, images × channels × rows × columns, of maps with twice the channels.
    pub fn forward(&self, parameters: &mut Parameters, maps: &[Tensor<4>], mode: BatchNormMode) -> Vec<Tensor<4>> {
        let blocks = maps.iter().zip(1..);
        let fused: Vec<Tensor<4>> = blocks.map(|(x, number)| self.fused(parameters, number, x.clone(), mode)).collect();
        if self.kind == FusionKind::Pointwise {
            return fused;
        }
        let mut sums = fused;
        for from in (1..sums.len()).rev() {
            let side = sums[from - 1].dims()[2];
            let coarse = convolve(parameters, &self.upward(from), enlarged(sums[from].clone(), side));
            sums[from - 1] = sums[from - 1].clone() + coarse;
        }
        let mut weight: Option<Tensor<4>> = None;
        let mut weighed = Vec::with_capacity(sums.len());
        for (x, sum) in maps.iter().zip(sums).rev() {
            let own = self.weights(parameters, x.clone());
            let all = match weight.take() {
                Some(coarse) => own.clone() * enlarged(coarse, own.dims()[2]),
                None => own,
            };
            weighed.push(sum * all.clone());
            weight = Some(all);
        }
        weighed.reverse();
        weighed
    }

    /// What a level's block makes of its maps; blocks count from 1.
    fn fused(&self, parameters: &mut Parameters, number: usize, x: Tensor<4>, mode: BatchNormMode) -> Tensor<4> {
        let convs = self.block(number - 1, self.levels[number - 1]);
        if let [mix] = &convs[..] {
            return convolve(parameters, mix, x);
        }
        let attended = self.attended(parameters, number, x.clone(), mode);
        let y = convolve(parameters, &convs[4], x) * attended;
        let y = convolve(parameters, &convs[5], y);
        convolve(parameters, &convs[6], y)
    }

    /// Non-local attention in its dot-product form: every place gets the mean over the pooled places of their values times the
    /// products with it, and adds that to itself.
    pub fn attended(&self, parameters: &mut Parameters, number: usize, x: Tensor<4>, mode: BatchNormMode) -> Tensor<4> {
        let convs = self.block(number - 1, self.levels[number - 1]);
        let [images, _, rows, columns] = x.dims();
        let pooled = |maps: Tensor<4>| max_pool2d(maps, MaxPoolOptions::new([2, 2]).with_stride([2, 2]));
        let flat = |maps: Tensor<4>| {
            let [images, channels, rows, columns] = maps.dims();
            maps.reshape([images, channels, rows * columns])
        };
        let theta = flat(convolve(parameters, &convs[0], x.clone()));
        let phi = flat(pooled(convolve(parameters, &convs[1], x.clone())));
        let values = flat(pooled(convolve(parameters, &convs[2], x.clone())));
        let [_, channels, keys] = phi.dims();
        let products = product(theta.swap_dims(1, 2), phi) / keys as f64;
        let mixed = product(values, products.swap_dims(1, 2)).reshape([images, channels, rows, columns]);
        let mixed = convolve(parameters, &convs[3], mixed);
        let norm = format!("{PREFIX}blk{number}.attn.W.1");
        x + batch_norm_maps(parameters, &norm, mixed, mode, BATCH_NORM_EPSILON)
    }

    /// Weights of places: of the largest and the mean value of all channels.
    pub fn weights(&self, parameters: &Parameters, x: Tensor<4>) -> Tensor<4> {
        let both = Tensor::cat(vec![x.clone().max_dim(1), x.clone().mean_dim(1)], 1);
        activation::sigmoid(convolve(parameters, &self.attention(x.dims()[2]), both))
    }
}

fn convolve(parameters: &Parameters, conv: &Conv, x: Tensor<4>) -> Tensor<4> {
    let around = conv.kernel / 2;
    let window = Window { padding: Padding::Fixed(around, around), ..Window::POINT };
    let [weight, bias] = ["weight", "bias"].map(|part| format!("{}.{part}", conv.name));
    convolution(parameters, &weight, Some(&bias), (conv.kernel, window), x)
}

/// Square maps enlarged bilinearly with aligned corners, as a product with the same matrix on both sides: its gradient is exact
/// and ordered on every device.
fn enlarged(maps: Tensor<4>, side: usize) -> Tensor<4> {
    let [images, channels, from, _] = maps.dims();
    let mut matrix = vec![0.0; from * side];
    for target in 0..side {
        let place = if side > 1 { (target * (from - 1)) as f64 / (side - 1) as f64 } else { 0.0 };
        let low = (place as usize).min(from - 1);
        let share = place - low as f64;
        matrix[low * side + target] += (1.0 - share) as f32;
        matrix[(low + 1).min(from - 1) * side + target] += share as f32;
    }
    let matrix = upload(matrix, [from, side], &maps.device());
    let wide = product(maps.reshape([images * channels * from, from]), matrix.clone());
    let turned = wide.reshape([images * channels, from, side]).swap_dims(1, 2);
    let tall = product(turned.reshape([images * channels * side, from]), matrix);
    tall.reshape([images * channels, side, side]).swap_dims(1, 2).reshape([images, channels, side, side])
}
