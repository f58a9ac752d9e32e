//! Frozen convolutions of 3 × 3 kernels with fewer multiplications (`winograd`), on maps whose channels lie together.
//!
//! Owns: kernels as they meet squares of inputs, packed once. Does not own: maps, and what is added to the outputs (`places`).

use super::panels::{Line, Panels, Reach};
use super::plan::ConvSpec;
use super::winograd::{LEAST, Step, VALUES, kernels, sums};

/// A kernel of outputs × channels × 3 × 3.
pub(super) struct Squares {
    /// For each of sixteen values of a square, channels × outputs.
    values: Vec<Panels>,
    channels: usize,
    outputs: usize,
}

impl Squares {
    /// True where a convolution is computed here, whatever the side of its maps.
    pub(super) fn fit(conv: &ConvSpec) -> bool {
        let is_plain = conv.kernel == 3 && conv.stride == 1 && conv.groups == 1;
        is_plain && conv.padding.around(8, 3, 1) == (1, 1) && conv.inputs.min(conv.outputs) >= LEAST
    }

    pub(super) fn new(channels: usize, outputs: usize, weight: &[f32]) -> Squares {
        let met = kernels([channels, outputs], |channel| {
            let value = |at: usize, output: usize| weight[(output * channels + channel) * 9 + at];
            (0..9).flat_map(|at| (0..outputs).map(move |output| value(at, output))).collect()
        });
        let of_value = |value: usize| {
            Panels::new(channels, &vec![0.0; outputs], |input, output| met[(input * VALUES + value) * outputs + output])
        };
        Squares { values: (0..VALUES).map(of_value).collect(), channels, outputs }
    }

    /// Outputs of rows × columns squares of two by two, places × outputs; `input` begins where the first of them meets it, its
    /// rows are `pitch` values apart.
    pub(super) fn outputs(&self, input: &[f32], pitch: usize, [rows, columns]: [usize; 2]) -> Vec<f32> {
        let (channels, outputs, count) = (self.channels, self.outputs, rows * columns);
        let (mut met, mut products) = (vec![0.0; VALUES * count * channels], vec![0.0; VALUES * count * outputs]);
        let squares = || (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        for (number, (row, column)) in squares().enumerate() {
            let from = (&input[2 * row * pitch + 2 * column * channels..], [pitch, channels]);
            let to = (&mut met[number * channels..], [4 * count * channels, count * channels]);
            sums(Step::Inputs, channels, from, to);
        }
        let reach = Reach { places: count, step: channels, runs: 1, run: channels, pitch: 0 };
        let of_value = met.chunks_exact(count * channels).zip(products.chunks_exact_mut(count * outputs));
        for (panels, (input, out)) in self.values.iter().zip(of_value) {
            panels.multiply(&[Line { input, to: 0, addend: None }], reach, [f32::NEG_INFINITY, f32::INFINITY], out);
        }
        let mut y = vec![0.0; 4 * count * outputs];
        let width = 2 * columns * outputs;
        for (number, (row, column)) in squares().enumerate() {
            let from = (&products[number * outputs..], [4 * count * outputs, count * outputs]);
            sums(Step::Outputs, outputs, from, (&mut y[2 * row * width + 2 * column * outputs..], [width, outputs]));
        }
        y
    }
}
