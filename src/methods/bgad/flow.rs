//! Conditional normalising flows (docs/methods/bgad.md, Computation): one for each layer, from a feature vector and the code
//! of its position to a vector that is normally distributed, and back.

use burn::tensor::{Device, Tensor, activation};

use super::params::{ClampStyle, FlowParams};
use crate::random::{Purpose, stream};
use crate::train::{Parameters, linear, product};

/// ½·ln 2π.
const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_7;
/// Share of a subnet's output that becomes shift and scale.
const OUTPUT_SCALE: f64 = 0.1;
/// Start of the global scale: its softplus is one.
const START_SCALE: f32 = 9.986_48;

/// The flow of one layer.
#[derive(Clone, Debug)]
pub struct Flow {
    params: FlowParams,
    level: usize,
    channels: usize,
}

impl Flow {
    /// The flow of layer number `level`, whose maps have so many channels.
    pub fn new(params: &FlowParams, level: usize, channels: usize) -> Flow {
        Flow { params: params.clone(), level, channels }
    }

    /// In front of the names of its parameters.
    pub fn prefix(&self) -> String {
        format!("level{}.", self.level)
    }

    fn name(&self, block: usize, part: &str) -> String {
        format!("{}block{block}.{part}", self.prefix())
    }

    /// Channels that stay in a block, and those that change.
    fn halves(&self) -> (usize, usize) {
        (self.channels.div_ceil(2), self.channels / 2)
    }

    /// Inputs, hidden values and outputs of a subnet.
    fn subnet(&self) -> [usize; 3] {
        let (kept, changed) = self.halves();
        let inputs = kept + self.params.position;
        [inputs, 2 * inputs, 2 * changed]
    }

    /// How many numbers are learned.
    pub fn size(&self) -> usize {
        let [inputs, hidden, outputs] = self.subnet();
        self.params.blocks * (hidden * (inputs + 1) + outputs * (hidden + 1) + 2 * self.channels)
    }

    /// Adds its parameters, freshly drawn, and the rotations, which stay.
    pub fn add(&self, parameters: &mut Parameters, seed: u64, device: &Device) {
        let [inputs, hidden, outputs] = self.subnet();
        let row = [1, self.channels];
        for block in 0..self.params.blocks {
            parameters.add_layer(&self.name(block, "subnet.0"), inputs, hidden, seed, device);
            parameters.add_layer(&self.name(block, "subnet.2"), hidden, outputs, seed, device);
            parameters.insert(&self.name(block, "offset"), vec![0.0; self.channels], row, device);
            parameters.insert(&self.name(block, "scale"), vec![START_SCALE; self.channels], row, device);
            let index = (self.level * self.params.blocks + block) as u64;
            let values = rotation(self.channels, seed, index);
            parameters.insert_buffer(&self.name(block, "rotation"), values, [self.channels; 2], device);
        }
    }

    /// Names and shapes alone: what a model's values are read into.
    pub fn declare(&self, parameters: &mut Parameters, device: &Device) {
        let [inputs, hidden, outputs] = self.subnet();
        let (row, square) = ([1, self.channels], [self.channels; 2]);
        for block in 0..self.params.blocks {
            let parts = [
                ("subnet.0.weight", [hidden, inputs]),
                ("subnet.0.bias", [1, hidden]),
                ("subnet.2.weight", [outputs, hidden]),
                ("subnet.2.bias", [1, outputs]),
                ("offset", row),
                ("scale", row),
            ];
            for (part, shape) in parts {
                parameters.insert(&self.name(block, part), vec![0.0; shape[0] * shape[1]], shape, device);
            }
            let zeros = vec![0.0; square[0] * square[1]];
            parameters.insert_buffer(&self.name(block, "rotation"), zeros, square, device);
        }
    }

    /// Logarithm of the scale and the shift (rows × changed channels) that a block makes of the channels that stay.
    fn coupling(
        &self,
        parameters: &Parameters,
        block: usize,
        kept: Tensor<2>,
        condition: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        let both = Tensor::cat(vec![kept, condition], 1);
        let hidden = activation::relu(linear(parameters, &self.name(block, "subnet.0"), both));
        let raw = linear(parameters, &self.name(block, "subnet.2"), hidden) * OUTPUT_SCALE;
        let changed = self.halves().1;
        let (scale, shift) = (raw.clone().narrow(1, 0, changed), raw.narrow(1, changed, changed));
        let clamp = self.params.clamp;
        let scale = match self.params.clamp_style {
            ClampStyle::Pinned => scale.tanh() * clamp,
            ClampStyle::Newer => (scale / clamp).tanh() * clamp,
        };
        (scale, shift)
    }

    /// The global scale of a block, 1 × channels: positive.
    fn global_scale(&self, parameters: &Parameters, block: usize) -> Tensor<2> {
        // 0.1 · softplus with β = 0.5; the exponent stays far below where an f32 ends.
        ((parameters.get(&self.name(block, "scale")) * 0.5).exp() + 1.0).log() * 0.2
    }

    /// One block: its output, rows × channels, and the logarithm of its volume, rows × 1.
    pub fn block(
        &self,
        parameters: &Parameters,
        block: usize,
        x: Tensor<2>,
        condition: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        let (kept, changed) = self.halves();
        let (first, second) = (x.clone().narrow(1, 0, kept), x.narrow(1, kept, changed));
        let (scale, shift) = self.coupling(parameters, block, first.clone(), condition);
        let second = second * scale.clone().exp() + shift;
        let global = self.global_scale(parameters, block);
        let both = Tensor::cat(vec![first, second], 1) * global.clone() + parameters.get(&self.name(block, "offset"));
        let turned = product(both, parameters.get(&self.name(block, "rotation")).transpose());
        (turned, scale.sum_dim(1) + global.log().sum_dim(1))
    }

    /// The inverse of [`Flow::block`].
    fn block_back(&self, parameters: &Parameters, block: usize, y: Tensor<2>, condition: Tensor<2>) -> Tensor<2> {
        let (kept, changed) = self.halves();
        let both = product(y, parameters.get(&self.name(block, "rotation")));
        let both = (both - parameters.get(&self.name(block, "offset"))) / self.global_scale(parameters, block);
        let (first, second) = (both.clone().narrow(1, 0, kept), both.narrow(1, kept, changed));
        let (scale, shift) = self.coupling(parameters, block, first.clone(), condition);
        Tensor::cat(vec![first, (second - shift) * (-scale).exp()], 1)
    }

    /// Feature vectors (rows × channels) under the codes of their positions (rows × values) to z, and log |det ∂z/∂x| as one
    /// column.
    pub fn forward(&self, parameters: &Parameters, x: Tensor<2>, condition: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (mut x, mut volume) = self.block(parameters, 0, x, condition.clone());
        for block in 1..self.params.blocks {
            let (next, own) = self.block(parameters, block, x, condition.clone());
            (x, volume) = (next, volume + own);
        }
        (x, volume)
    }

    /// Back from z to the feature vectors.
    pub fn inverse(&self, parameters: &Parameters, z: Tensor<2>, condition: Tensor<2>) -> Tensor<2> {
        let blocks = (0..self.params.blocks).rev();
        blocks.fold(z, |y, block| self.block_back(parameters, block, y, condition.clone()))
    }

    /// Log-likelihoods of feature vectors per channel: one column.
    pub fn likelihood(&self, parameters: &Parameters, x: Tensor<2>, condition: Tensor<2>) -> Tensor<2> {
        let (z, volume) = self.forward(parameters, x, condition);
        let squares = (z.clone() * z).sum_dim(1);
        (volume - squares * 0.5) / self.channels as f64 - HALF_LOG_TAU
    }
}

/// Codes of the places of a map, rows · columns × `values`: the first half of the values depends on the column, the second on
/// the row; even ones are sines and odd ones cosines of the place times a frequency that falls from 1 towards 1/10000.
pub fn position_code(values: usize, rows: usize, columns: usize) -> Vec<f32> {
    let half = values / 2;
    let code = |place: usize| {
        let wave = move |value: usize| {
            let frequency = 10000f64.powf(-((value / 2 * 2) as f64) / half as f64);
            let angle = place as f64 * frequency;
            (if value.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
        };
        (0..half).map(wave).collect::<Vec<f32>>()
    };
    let (across, down): (Vec<_>, Vec<_>) = ((0..columns).map(code).collect(), (0..rows).map(code).collect());
    down.iter().flat_map(|down| across.iter().flat_map(move |across| across.iter().chain(down).copied())).collect()
}

/// A rotation of `side` dimensions, row by row, uniform among all of them: Gram–Schmidt of normal draws, twice for accuracy,
/// and one row turned round where it would be a reflection.
pub fn rotation(side: usize, seed: u64, index: u64) -> Vec<f32> {
    let mut draws = vec![0.0; side * side];
    stream(seed, Purpose::FlowRotation, index).fill_normal(&mut draws, 1.0);
    let mut rows: Vec<Vec<f64>> = draws.chunks(side).map(|row| row.iter().map(|&v| f64::from(v)).collect()).collect();
    for place in 0..side {
        let (before, rest) = rows.split_at_mut(place);
        let row = &mut rest[0];
        for _ in 0..2 {
            for other in before.iter() {
                let share: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
            }
        }
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    if determinant_is_negative(rows.clone())
        && let Some(row) = rows.last_mut()
    {
        row.iter_mut().for_each(|value| *value = -*value);
    }
    rows.concat().into_iter().map(|value| value as f32).collect()
}

/// Sign of a determinant by Gaussian elimination.
fn determinant_is_negative(mut rows: Vec<Vec<f64>>) -> bool {
    let mut negative = false;
    for column in 0..rows.len() {
        let largest = (column..rows.len()).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        let pivot = largest.unwrap_or(column);
        rows.swap(column, pivot);
        negative ^= (pivot != column) ^ (rows[column][column] < 0.0);
        let (above, below) = rows.split_at_mut(column + 1);
        let top = &above[column];
        for row in below {
            let share = row[column] / top[column];
            row[column..].iter_mut().zip(&top[column..]).for_each(|(value, top)| *value -= share * top);
        }
    }
    negative
}
