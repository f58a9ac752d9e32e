//! Convolutions of 3 × 3 kernels, a place after the other, with fewer multiplications (Winograd 1980; Lavin and Gray 2016,
//! F(2 × 2, 3 × 3)).
//!
//! Four outputs side by side, two by two, take sixteen products of each channel with each output in place of 36: the sixteen inputs
//! that they meet and the kernel are turned into sums and differences first, products of these are
//! summed over channels, and outputs are sums and differences again. The gradients are the same steps the other way. Owns: the arithmetic, and
//! when it is worth it. Does not own: other kernels (`window`).

use rayon::prelude::*;

use super::window::Window;
use crate::device::multiply::{Panels, Strided, multiply_alone};
use crate::device::room;
use crate::device::turn::turn;

/// Values of a square of inputs, and of a kernel as it meets them.
pub(super) const VALUES: usize = 16;
/// Channels and outputs at least, so that sums and differences are few beside the products.
pub(super) const LEAST: usize = 16;
/// Tiles whose products are made together: enough for a product, few enough for a cache.
pub(super) const TILES: usize = 96;
/// Tiles that a gradient of a kernel is summed over at once.
const DEPTH: usize = 256;

/// True where a convolution is computed here.
pub(super) fn fits(window: &Window) -> bool {
    let is_wide = window.input[1].min(window.output[1]) >= LEAST;
    window.kernel == [3, 3] && window.stride == [1, 1] && window.padding.iter().all(|&zeros| zeros < 3) && is_wide
}

/// How the outputs of a convolution are cut into tiles of two by two.
#[derive(Clone, Copy)]
struct Tiles {
    images: usize,
    /// Rows of tiles of an image, and tiles of a row.
    sides: [usize; 2],
}

impl Tiles {
    fn of(window: &Window) -> Tiles {
        let sides = [window.output[2], window.output[3]].map(|side| side.div_ceil(2));
        Tiles { images: window.input[0], sides }
    }

    /// Rows of tiles of all images.
    fn rows(&self) -> usize {
        self.images * self.sides[0]
    }

    /// Rows of tiles that are worked on together.
    fn rows_of(&self, tiles: usize) -> usize {
        tiles.div_ceil(self.sides[1])
    }

    /// Rows and columns of an image that all its tiles meet.
    fn inputs(&self) -> [usize; 2] {
        self.sides.map(|side| 2 * side + 2)
    }
}

/// Maps whose channels lie together: images × rows × columns × channels.
struct Map {
    values: Vec<f32>,
    sides: [usize; 2],
    channels: usize,
}

impl Map {
    /// Planes, images × channels × rows × columns, with zeros around: `before` rows and columns in front, and as many behind as
    /// `sides` wants.
    fn new(
        planes: &[f32],
        [images, channels, rows, columns]: [usize; 4],
        before: [usize; 2],
        sides: [usize; 2],
    ) -> Map {
        let mut values = room::zeros(images * sides[0] * sides[1] * channels);
        let own = values.par_chunks_mut((sides[0] * sides[1] * channels).max(1));
        own.zip(planes.par_chunks((channels * rows * columns).max(1))).for_each_init(
            Vec::new,
            |turned, (own, planes)| {
                turned.resize(rows * columns * channels, 0.0f32);
                turn(planes, rows * columns, [channels, rows * columns], turned, channels);
                for (row, turned) in turned.chunks_exact(columns * channels).enumerate() {
                    let own = &mut own[((row + before[0]) * sides[1] + before[1]) * channels..];
                    own[..turned.len()].copy_from_slice(turned);
                }
            },
        );
        Map { values, sides, channels }
    }

    /// Values of a row of all its channels and columns.
    fn pitch(&self) -> usize {
        self.sides[1] * self.channels
    }

    /// From the first value on that the tile of a row of tiles meets; images have `2 · tiles` rows, and two more where they are
    /// inputs.
    fn tile(&self, tiles: &Tiles, row: usize, column: usize) -> &[f32] {
        let (image, row) = (row / tiles.sides[0], row % tiles.sides[0]);
        &self.values[(image * self.sides[0] + 2 * row) * self.pitch() + 2 * column * self.channels..]
    }

    /// The same as planes, without what is behind `rows` and `columns`.
    fn planes(&self, [images, channels, rows, columns]: [usize; 4]) -> Vec<f32> {
        let mut planes = room::zeros(images * channels * rows * columns);
        let own = self.values.par_chunks((self.sides[0] * self.pitch()).max(1));
        let of_images = planes.par_chunks_mut((channels * rows * columns).max(1)).zip(own);
        of_images.for_each_init(Vec::new, |whole, (planes, own)| {
            whole.clear();
            (0..rows).for_each(|row| whole.extend_from_slice(&own[row * self.pitch()..][..columns * channels]));
            turn(whole, channels, [rows * columns, channels], planes, rows * columns);
        });
        planes
    }
}

/// Outputs, images × outputs × rows × columns, of a kernel of outputs × channels × 3 × 3.
pub(super) fn forward(window: &Window, x: &[f32], kernel: &[f32]) -> Vec<f32> {
    let [channels, outputs] = [window.input[1], window.output[1]];
    // channels × 9 × outputs.
    let mut turned = room::zeros(kernel.len());
    turn(kernel, channels * 9, [outputs, channels * 9], &mut turned, outputs);
    let of_channel = |channel: usize| turned[channel * 9 * outputs..][..9 * outputs].to_vec();
    convolved(window, x, [channels, outputs], of_channel)
}

/// The gradient of the input, images × channels × rows × columns, where the outputs have the gradient `grad`: the convolution
/// with the kernel turned round.
pub(super) fn input_gradient(window: &Window, kernel: &[f32], grad: &[f32]) -> Vec<f32> {
    let [channels, outputs] = [window.input[1], window.output[1]];
    let back = Window {
        input: window.output,
        output: window.input,
        padding: window.padding.map(|padding| 2 - padding),
        ..*window
    };
    convolved(&back, grad, [outputs, channels], |output| {
        let mut turned = vec![0.0; 9 * channels];
        turn(&kernel[output * channels * 9..], 9, [channels, 9], &mut turned, channels);
        // The last place of the kernel first.
        turned.chunks_exact(channels).rev().flatten().copied().collect()
    })
}

/// Kernels as they meet squares of inputs, channels × 16 × outputs, of those of each channel: 3 × 3 × outputs.
pub(super) fn kernels([channels, outputs]: [usize; 2], of_channel: impl Fn(usize) -> Vec<f32> + Sync) -> Vec<f32> {
    let mut met = room::zeros(channels * VALUES * outputs);
    met.par_chunks_mut(VALUES * outputs).enumerate().for_each(|(channel, met)| {
        sums(Step::Kernel, outputs, (&of_channel(channel), [3 * outputs, outputs]), (met, [4 * outputs, outputs]));
    });
    met
}

/// Outputs of `window`, whose kernels are given for each of its channels: 3 × 3 × outputs.
fn convolved(
    window: &Window,
    x: &[f32],
    [channels, outputs]: [usize; 2],
    kernels_of: impl Fn(usize) -> Vec<f32> + Sync,
) -> Vec<f32> {
    let (tiles, kernel) = (Tiles::of(window), kernels([channels, outputs], kernels_of));
    let panels = |value: usize| {
        let own = Strided { values: &kernel[value * outputs..], row: VALUES * outputs, column: 1 };
        Panels::new(&own, [channels, outputs])
    };
    let panels: Vec<Panels> = (0..VALUES).into_par_iter().map(panels).collect();
    let x = Map::new(x, window.input, window.padding, tiles.inputs());
    let sides = tiles.sides.map(|side| 2 * side);
    let count = tiles.images * sides[0] * sides[1] * outputs;
    let mut y = Map { values: room::used(count), sides, channels: outputs };
    let (together, pitch) = (tiles.rows_of(TILES), y.pitch());
    y.values[..count].par_chunks_mut(together * 2 * pitch).enumerate().for_each_init(
        Vec::new,
        |scratch: &mut Vec<f32>, (number, y)| {
            let rows = y.len() / (2 * pitch);
            let count = rows * tiles.sides[1];
            scratch.resize(VALUES * count * (channels + outputs), 0.0);
            let (inputs, products) = scratch.split_at_mut(VALUES * count * channels);
            for row in 0..rows {
                for column in 0..tiles.sides[1] {
                    let own = &mut inputs[(row * tiles.sides[1] + column) * channels..];
                    let to = (own, [4 * count * channels, count * channels]);
                    sums(
                        Step::Inputs,
                        channels,
                        (x.tile(&tiles, number * together + row, column), [x.pitch(), channels]),
                        to,
                    );
                }
            }
            products.par_chunks_mut(count * outputs).enumerate().for_each(|(value, products)| {
                let left = Strided { values: &inputs[value * count * channels..], row: channels, column: 1 };
                multiply_alone(products, outputs, [count, outputs, channels], left, &panels[value], false);
            });
            for row in 0..rows {
                for column in 0..tiles.sides[1] {
                    let own = &products[(row * tiles.sides[1] + column) * outputs..];
                    let to = (&mut y[row * 2 * pitch + column * 2 * outputs..], [pitch, outputs]);
                    sums(Step::Outputs, outputs, (own, [4 * count * outputs, count * outputs]), to);
                }
            }
        },
    );
    let planes = y.planes(window.output);
    room::keep(y.values);
    planes
}

/// The gradient of the kernel, outputs × channels × 3 × 3, where the outputs have the gradient `grad`.
pub(super) fn kernel_gradient(window: &Window, x: &[f32], grad: &[f32]) -> Vec<f32> {
    let (tiles, [channels, outputs]) = (Tiles::of(window), [window.input[1], window.output[1]]);
    let x = Map::new(x, window.input, window.padding, tiles.inputs());
    let grad = Map::new(grad, window.output, [0, 0], tiles.sides.map(|side| 2 * side));
    let together = tiles.rows_of(DEPTH);
    let most = VALUES * together * tiles.sides[1];
    let (mut inputs, mut pulls) = (room::used(most * channels), room::used(most * outputs));
    let mut all = room::zeros(VALUES * channels * outputs);
    for first in (0..tiles.rows()).step_by(together) {
        let count = together.min(tiles.rows() - first) * tiles.sides[1];
        // Tiles are shared out among threads, then values: each sum is made by one thread, in the order of tiles.
        let square = |step, map: &Map, own: &mut Vec<f32>| {
            let channels = map.channels;
            own[..VALUES * count * channels].par_chunks_mut(VALUES * channels).enumerate().for_each(|(tile, own)| {
                let from = map.tile(&tiles, first + tile / tiles.sides[1], tile % tiles.sides[1]);
                sums(step, channels, (from, [map.pitch(), channels]), (own, [4 * channels, channels]));
            });
        };
        square(Step::Inputs, &x, &mut inputs);
        square(Step::Pulls, &grad, &mut pulls);
        all.par_chunks_mut(channels * outputs).enumerate().for_each(|(value, sum)| {
            let left = Strided { values: &inputs[value * channels..], row: 1, column: VALUES * channels };
            let right = Strided { values: &pulls[value * outputs..], row: VALUES * outputs, column: 1 };
            multiply_alone(sum, outputs, [channels, outputs, count], left, &right, true);
        });
    }
    room::keep(inputs);
    room::keep(pulls);
    let mut places = room::zeros(channels * 9 * outputs);
    places.par_chunks_mut(9 * outputs).enumerate().for_each(|(channel, own)| {
        let pitch = channels * outputs;
        sums(Step::Places, outputs, (&all[channel * outputs..], [4 * pitch, pitch]), (own, [3 * outputs, outputs]));
    });
    let mut gradient = room::zeros(places.len());
    turn(&places, outputs, [channels * 9, outputs], &mut gradient, channels * 9);
    gradient
}

/// What is made of squares of values, as rows and then columns of them.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// Four by four inputs, as they meet kernels.
    Inputs,
    /// Three by three values of a kernel, as they meet inputs.
    Kernel,
    /// Two by two outputs of four by four products.
    Outputs,
    /// The gradients of four by four products, where the two by two outputs have these.
    Pulls,
    /// The gradients of three by three values of a kernel, where those that meet inputs have these.
    Places,
}

/// Values and the distances between rows and between columns of a square of them, `channels` values each.
pub(super) type From<'a> = (&'a [f32], [usize; 2]);
pub(super) type To<'a> = (&'a mut [f32], [usize; 2]);

/// One step for all channels of a square.
pub(super) fn sums(step: Step, channels: usize, from: From, to: To) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn wide(step: Step, channels: usize, from: From, to: To) {
            sums_body(step, channels, from, to)
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions, as just asked.
            return unsafe { wide(step, channels, from, to) };
        }
    }
    sums_body(step, channels, from, to)
}

#[inline(always)]
fn sums_body(step: Step, channels: usize, from: From, mut to: To) {
    const WIDE: usize = 16;
    // Loops, here and below: adapters would be compiled without the instructions.
    let mut first = 0;
    while first + WIDE <= channels {
        sums_at::<WIDE>(step, first, from, &mut to);
        first += WIDE;
    }
    while first < channels {
        sums_at::<1>(step, first, from, &mut to);
        first += 1;
    }
}

#[inline(always)]
fn sums_at<const L: usize>(step: Step, first: usize, from: From, to: &mut To) {
    match step {
        Step::Inputs => square::<L, 4, 4>(first, from, to, |[a, b, c, d]| [a - c, b + c, c - b, b - d]),
        Step::Kernel => square::<L, 3, 4>(first, from, to, |[a, b, c]| {
            let ends = a + c;
            [a, (ends + b).half(), (ends - b).half(), c]
        }),
        Step::Outputs => square::<L, 4, 2>(first, from, to, |[a, b, c, d]| [a + b + c, b - c - d]),
        Step::Pulls => square::<L, 2, 4>(first, from, to, |[a, b]| [a, a + b, a - b, Lanes([0.0; L]) - b]),
        Step::Places => square::<L, 4, 3>(first, from, to, |[a, b, c, d]| {
            let (sum, difference) = ((b + c).half(), (b - c).half());
            [a + sum, difference, sum + d]
        }),
    }
}

/// Rows, then columns of a square of A × A, from channel `first` on.
#[inline(always)]
fn square<const L: usize, const A: usize, const B: usize>(
    first: usize,
    (values, [row, column]): From,
    (out, [out_row, out_column]): &mut To,
    line: impl Fn([Lanes<L>; A]) -> [Lanes<L>; B],
) {
    let mut rows = [[Lanes([0.0; L]); B]; A];
    for i in 0..A {
        let mut read = [Lanes([0.0; L]); A];
        for j in 0..A {
            read[j].0.copy_from_slice(&values[i * row + j * column + first..][..L]);
        }
        rows[i] = line(read);
    }
    for j in 0..B {
        let mut own = [Lanes([0.0; L]); A];
        for i in 0..A {
            own[i] = rows[i][j];
        }
        let own = line(own);
        for i in 0..B {
            out[i * *out_row + j * *out_column + first..][..L].copy_from_slice(&own[i].0);
        }
    }
}

/// Channels side by side.
#[derive(Clone, Copy)]
struct Lanes<const L: usize>([f32; L]);

impl<const L: usize> Lanes<L> {
    #[inline(always)]
    fn half(mut self) -> Lanes<L> {
        for lane in 0..L {
            self.0[lane] *= 0.5;
        }
        self
    }
}

impl<const L: usize> std::ops::Add for Lanes<L> {
    type Output = Self;

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for lane in 0..L {
            self.0[lane] += other.0[lane];
        }
        self
    }
}

impl<const L: usize> std::ops::Sub for Lanes<L> {
    type Output = Self;

    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for lane in 0..L {
            self.0[lane] -= other.0[lane];
        }
        self
    }
}
