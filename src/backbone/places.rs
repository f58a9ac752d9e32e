//! Frozen networks on processors with AVX-512: maps whose channels lie together, place by place.
//!
//! Owns: maps, layers and the way through blocks in that form, an image on a thread and rows of a layer shared out where threads
//! are free. Does not own: folding (`network`), innermost loops (`panels`). The tensor library's path (`network::forward`) is
//! the plain twin: the same sums in another order.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::panels::{Line, Panels, Reach, available};
use super::plan::{Activation, BlockSpec, ConvSpec, Plan, Shortcut};
use super::squares::Squares;
use super::winograd::TILES;

/// Places that a thread takes at once, at least.
const PLACES: usize = 128;

/// A network whose layers are packed.
pub(super) struct Packed {
    layers: BTreeMap<String, Layer>,
}

/// A convolution with what was folded into it.
enum Layer {
    Dense(Panels),
    /// A kernel of 3 × 3 that has a shorter way, and what is added.
    Squares(Squares, Vec<f32>),
    /// Weights by place of the kernel, then by channel; and what is added.
    Depthwise(Vec<f32>, Vec<f32>),
}

/// rows × columns × channels with zeros around.
struct Map {
    values: Vec<f32>,
    side: usize,
    channels: usize,
    /// Zeros before and after, in rows and in columns.
    border: [usize; 2],
}

impl Map {
    fn new(side: usize, channels: usize, border: [usize; 2]) -> Map {
        let width = side + border[0] + border[1];
        Map { values: vec![0.0; width * width * channels], side, channels, border }
    }

    /// Places of a row, with the zeros around.
    fn width(&self) -> usize {
        self.side + self.border[0] + self.border[1]
    }

    /// Where a place begins.
    fn at(&self, row: usize, column: usize) -> usize {
        ((row + self.border[0]) * self.width() + column + self.border[0]) * self.channels
    }

    /// The same with at least so many zeros around.
    fn with_border(&self, border: [usize; 2]) -> Map {
        let mut wide = Map::new(self.side, self.channels, border);
        for row in 0..self.side {
            let (from, to, count) = (self.at(row, 0), wide.at(row, 0), self.side * self.channels);
            wide.values[to..to + count].copy_from_slice(&self.values[from..from + count]);
        }
        wide
    }

    /// Appends channels × rows × columns.
    fn append_planes(&self, out: &mut Vec<f32>) {
        let start = out.len();
        out.resize(start + self.channels * self.side * self.side, 0.0);
        let planes = &mut out[start..];
        for row in 0..self.side {
            for column in 0..self.side {
                let values = &self.values[self.at(row, column)..][..self.channels];
                let own = planes[row * self.side + column..].iter_mut().step_by(self.side * self.side);
                own.zip(values).for_each(|(out, value)| *out = *value);
            }
        }
    }
}

/// The values that an activation lets through; `None` for one that is more than that.
fn range(activation: Activation) -> Option<[f32; 2]> {
    match activation {
        Activation::None => Some([f32::NEG_INFINITY, f32::INFINITY]),
        Activation::Relu => Some([0.0, f32::INFINITY]),
        Activation::Relu6 => Some([0.0, 6.0]),
        Activation::Silu => None,
    }
}

/// What follows the last convolution of a block.
fn last_range(block: &BlockSpec) -> Option<[f32; 2]> {
    let own = block.convs.last()?.activation;
    match (own, block.activation, &block.shortcut) {
        (Activation::None, after, _) => range(after),
        (own, Activation::None, Shortcut::None) => range(own),
        _ => None,
    }
}

fn is_depthwise(conv: &ConvSpec) -> bool {
    conv.groups == conv.inputs && conv.groups == conv.outputs && conv.groups > 1
}

/// True where all that a network does up to block `depth` is done here, and the processor can.
pub(super) fn runs(plan: &Plan, depth: usize) -> bool {
    let conv = |conv: &ConvSpec| {
        let known = conv.groups == 1 || is_depthwise(conv);
        known && !conv.transposed && range(conv.activation).is_some()
    };
    let block = |block: &BlockSpec| {
        let addend = !block.convs.last().is_some_and(is_depthwise) || matches!(block.shortcut, Shortcut::None);
        block.gate.is_none() && addend && last_range(block).is_some() && block.convolutions().all(conv)
    };
    available() && conv(&plan.stem) && plan.blocks[..depth].iter().all(block)
}

impl Packed {
    pub(super) fn new() -> Packed {
        Packed { layers: BTreeMap::new() }
    }

    /// Packs the kernel of `conv`, outputs × inputs / groups × side × side, and its bias.
    pub(super) fn add(&mut self, conv: &ConvSpec, weight: &[f32], bias: &[f32]) {
        let area = conv.kernel * conv.kernel;
        let layer = if is_depthwise(conv) {
            let by_place = (0..area).flat_map(|at| (0..conv.outputs).map(move |channel| weight[channel * area + at]));
            Layer::Depthwise(by_place.collect(), bias.to_vec())
        } else if Squares::fit(conv) {
            Layer::Squares(Squares::new(conv.inputs, conv.outputs, weight), bias.to_vec())
        } else {
            let depth = conv.inputs * area;
            let value = |input: usize, output: usize| {
                let (at, channel) = (input / conv.inputs, input % conv.inputs);
                weight[output * depth + channel * area + at]
            };
            Layer::Dense(Panels::new(depth, bias, value))
        };
        self.layers.insert(conv.weight.clone(), layer);
    }

    /// Maps behind the blocks `taps`, images × channels × height × width, of normalised planes, 3 × side × side for each image.
    pub(super) fn forward(&self, plan: &Plan, taps: &[usize], planes: &[f32], side: usize) -> Vec<Tensor<4>> {
        let all: Vec<Vec<Map>> =
            planes.par_chunks(3 * side * side).map(|planes| self.maps(plan, taps, planes, side)).collect();
        let tap = |number: usize| {
            let (first, mut values) = (&all[0][number], Vec::new());
            all.iter().for_each(|maps| maps[number].append_planes(&mut values));
            let shape = [all.len(), first.channels, first.side, first.side];
            Tensor::from_data(TensorData::new(values, shape), &Device::flex())
        };
        (0..taps.len()).map(tap).collect()
    }

    /// Maps of an image.
    fn maps(&self, plan: &Plan, taps: &[usize], planes: &[f32], side: usize) -> Vec<Map> {
        let depth = taps.last().map_or(0, |&block| block + 1);
        // Zeros that the blocks from `number` on want around what they are given.
        let wanted = |number: usize, side: usize| match plan.blocks[..depth].get(number) {
            Some(block) => border(&block.convs[0], side),
            None => [0, 0],
        };
        let mut image = Map::new(side, planes.len() / (side * side), border(&plan.stem, side));
        for (channel, plane) in planes.chunks_exact(side * side).enumerate() {
            for (row, values) in plane.chunks_exact(side).enumerate() {
                let start = image.at(row, 0) + channel;
                let own = image.values[start..].iter_mut().step_by(image.channels);
                own.zip(values).for_each(|(out, value)| *out = *value);
            }
        }
        let stem = range(plan.stem.activation).expect("asked before");
        let after = plan.stem.output_side(side);
        let mut x = if plan.pool {
            let stem = self.layer(&plan.stem, &image, None, stem, [0, 0]);
            pooled(&stem, wanted(0, after.div_ceil(2)))
        } else {
            self.layer(&plan.stem, &image, None, stem, wanted(0, after))
        };
        let mut maps = Vec::with_capacity(taps.len());
        for (number, block) in plan.blocks[..depth].iter().enumerate() {
            let after = block.convs.iter().fold(x.side, |side, conv| conv.output_side(side));
            let out = self.block(block, &x, wanted(number + 1, after));
            if taps.contains(&number) {
                maps.push(out.with_border([0, 0]));
            }
            x = out;
        }
        maps
    }

    /// A map through a block.
    fn block(&self, block: &BlockSpec, input: &Map, border_after: [usize; 2]) -> Map {
        let projected = match &block.shortcut {
            Shortcut::Projection(conv) => {
                Some(self.layer(conv, input, None, range(conv.activation).expect("asked before"), [0, 0]))
            }
            _ => None,
        };
        let addend = match &block.shortcut {
            Shortcut::None => None,
            Shortcut::Identity => Some(input),
            Shortcut::Projection(_) => projected.as_ref(),
        };
        let (last, before) = block.convs.split_last().expect("a block has convolutions");
        let mut x: Option<Map> = None;
        for (number, conv) in before.iter().enumerate() {
            let own = x.as_ref().unwrap_or(input);
            let zeros = border(&block.convs[number + 1], conv.output_side(own.side));
            x = Some(self.layer(conv, own, None, range(conv.activation).expect("asked before"), zeros));
        }
        let range = last_range(block).expect("asked before");
        self.layer(last, x.as_ref().unwrap_or(input), addend, range, border_after)
    }

    /// A convolution of a map, plus `addend`, cut off at both ends of `range`.
    fn layer(&self, conv: &ConvSpec, x: &Map, addend: Option<&Map>, range: [f32; 2], zeros: [usize; 2]) -> Map {
        let needed = border(conv, x.side);
        let padded = (needed[0] > x.border[0] || needed[1] > x.border[1]).then(|| x.with_border(needed));
        let x = padded.as_ref().unwrap_or(x);
        if let Layer::Squares(squares, bias) = &self.layers[&conv.weight] {
            return of_squares(squares, bias, x, addend, range, zeros);
        }
        let mut out = Map::new(conv.output_side(x.side), conv.outputs, zeros);
        let (side, pitch, first) = (out.side, out.width() * out.channels, out.at(0, 0));
        let layer = &self.layers[&conv.weight];
        let rows = PLACES.div_ceil(side);
        let lines = &mut out.values[first - zeros[0] * conv.outputs..][..side * pitch];
        lines.par_chunks_mut(rows * pitch).enumerate().for_each(|(block, out)| {
            let rows = block * rows..side.min((block + 1) * rows);
            let line = |row: usize| Line {
                // The first place that the kernel meets; a border may have more zeros than it needs.
                input: &x.values[x.at(row * conv.stride, 0) - needed[0] * (x.width() + 1) * x.channels..],
                to: (row - rows.start) * pitch + zeros[0] * conv.outputs,
                addend: addend.map(|addend| &addend.values[addend.at(row, 0)..]),
            };
            let lines: Vec<Line> = rows.clone().map(line).collect();
            let reach = Reach {
                places: side,
                step: conv.stride * x.channels,
                runs: conv.kernel,
                run: conv.kernel * x.channels,
                pitch: x.width() * x.channels,
            };
            match layer {
                Layer::Dense(panels) if reach.pitch == reach.run => {
                    // Nothing lies between the runs.
                    panels.multiply(&lines, Reach { runs: 1, run: reach.run * reach.runs, ..reach }, range, out);
                }
                Layer::Dense(panels) => panels.multiply(&lines, reach, range, out),
                Layer::Depthwise(weights, bias) => depthwise(&lines, reach, (weights, bias), range, out),
                Layer::Squares(..) => unreachable!("done above"),
            }
        });
        out
    }
}

/// A convolution by squares of outputs, plus bias and `addend`, cut off at both ends of `range`.
fn of_squares(
    squares: &Squares,
    bias: &[f32],
    x: &Map,
    addend: Option<&Map>,
    [low, high]: [f32; 2],
    zeros: [usize; 2],
) -> Map {
    let (side, outputs, columns) = (x.side, bias.len(), x.side.div_ceil(2));
    let mut out = Map::new(side, outputs, zeros);
    let (pitch, first, together) = (out.width() * outputs, out.at(0, 0), TILES.div_ceil(columns));
    let lines = &mut out.values[first - zeros[0] * outputs..][..side * pitch];
    lines.par_chunks_mut(2 * together * pitch).enumerate().for_each(|(block, out)| {
        let row = 2 * together * block;
        // From the place above and before the first.
        let input = &x.values[x.at(row, 0) - (x.width() + 1) * x.channels..];
        let y = squares.outputs(input, x.width() * x.channels, [(out.len() / pitch).div_ceil(2), columns]);
        for (number, out) in out.chunks_exact_mut(pitch).enumerate() {
            let y = &y[number * 2 * columns * outputs..][..side * outputs];
            let out = &mut out[zeros[0] * outputs..][..side * outputs];
            let addend = addend.map(|addend| &addend.values[addend.at(row + number, 0)..][..side * outputs]);
            for (place, (out, y)) in out.chunks_exact_mut(outputs).zip(y.chunks_exact(outputs)).enumerate() {
                match addend.map(|addend| &addend[place * outputs..][..outputs]) {
                    Some(addend) => (0..outputs).for_each(|at| out[at] = y[at] + (bias[at] + addend[at])),
                    None => (0..outputs).for_each(|at| out[at] = y[at] + bias[at]),
                }
                out.iter_mut().for_each(|out| {
                    let above = if *out < low { low } else { *out };
                    *out = if above > high { high } else { above };
                });
            }
        }
    });
    out
}

/// Zeros that a convolution wants around a map of `side`.
fn border(conv: &ConvSpec, side: usize) -> [usize; 2] {
    let (before, after) = conv.padding.around(side, conv.kernel, conv.stride);
    // The last of squares of two by two may be outside.
    [before, after + if Squares::fit(conv) { side % 2 } else { 0 }]
}

/// Outputs of a kernel for each channel.
fn depthwise(lines: &[Line], reach: Reach, layer: (&[f32], &[f32]), range: [f32; 2], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn wide(lines: &[Line], reach: Reach, layer: (&[f32], &[f32]), range: [f32; 2], out: &mut [f32]) {
            depthwise_body(lines, reach, layer, range, out)
        }
        if available() {
            // SAFETY: the processor has the instructions, as just asked.
            return unsafe { wide(lines, reach, layer, range, out) };
        }
    }
    depthwise_body(lines, reach, layer, range, out)
}

#[inline(always)]
fn depthwise_body(lines: &[Line], reach: Reach, layer: (&[f32], &[f32]), [low, high]: [f32; 2], out: &mut [f32]) {
    const LANES: usize = 32;
    let (weights, bias) = layer;
    let channels = bias.len();
    for line in lines {
        for place in 0..reach.places {
            let (input, out) = (&line.input[place * reach.step..], &mut out[line.to + place * channels..][..channels]);
            let mut sum = |first: usize, count: usize| {
                let mut sums = [0.0f32; LANES];
                sums[..count].copy_from_slice(&bias[first..first + count]);
                for at in 0..weights.len() / channels {
                    let side = reach.run / channels;
                    let from = at / side * reach.pitch + at % side * channels + first;
                    let (values, own) = (&input[from..from + count], &weights[at * channels + first..][..count]);
                    for lane in 0..count {
                        sums[lane] += values[lane] * own[lane];
                    }
                }
                out[first..first + count].iter_mut().zip(&sums).for_each(|(out, &sum)| {
                    let sum = if sum < low { low } else { sum };
                    *out = if sum > high { high } else { sum };
                });
            };
            let whole = channels / LANES * LANES;
            (0..whole).step_by(LANES).for_each(|first| sum(first, LANES));
            if whole < channels {
                sum(whole, channels - whole);
            }
        }
    }
}

/// Max pooling 3×3, stride 2, padding 1.
fn pooled(x: &Map, zeros: [usize; 2]) -> Map {
    let mut out = Map::new(x.side.div_ceil(2), x.channels, zeros);
    for row in 0..out.side {
        for column in 0..out.side {
            let start = out.at(row, column);
            let own = &mut out.values[start..start + x.channels];
            own.fill(f32::NEG_INFINITY);
            for y in (2 * row).saturating_sub(1)..x.side.min(2 * row + 2) {
                for x_column in (2 * column).saturating_sub(1)..x.side.min(2 * column + 2) {
                    let values = &x.values[x.at(y, x_column)..][..x.channels];
                    own.iter_mut()
                        .zip(values)
                        .for_each(|(most, &value)| *most = if value > *most { value } else { *most });
                }
            }
        }
    }
    out
}
