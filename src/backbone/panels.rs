//! Products of rows with weights that are packed once, on processors with AVX-512.
//!
//! Owns: the packing and the innermost loops. Does not own: what is convolved (`places`). A place is a row of outputs; what it
//! meets in the input are runs of values, so a convolution needs no unfolded copy of its image where channels lie together.

/// Outputs side by side in a register.
const LANES: usize = 16;
/// Registers of outputs that are computed together.
const WIDE: usize = 4;
/// Places that are computed together.
const TOGETHER: usize = 6;
/// Values of packed weights that stay in a processor's second cache while places pass by.
const CACHED: usize = 3 << 16;

/// True where the processor has the instructions.
pub(super) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Weights of all outputs, with what is added to each.
pub(super) struct Panels {
    /// 64 outputs side by side (the last panel as few registers as it needs), value of the input by value.
    values: Vec<f32>,
    /// Filled up with zeros.
    bias: Vec<f32>,
    depth: usize,
    outputs: usize,
}

/// A row of outputs.
pub(super) struct Line<'a> {
    /// From the first value that the first place meets on.
    pub input: &'a [f32],
    /// Where in the outputs it begins.
    pub to: usize,
    /// Added to the outputs.
    pub addend: Option<&'a [f32]>,
}

/// How places of a line lie in the input.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    /// Places of a line.
    pub places: usize,
    /// Values from one place to the next.
    pub step: usize,
    /// Runs that a place meets, and values of each.
    pub runs: usize,
    pub run: usize,
    /// Values from one run to the next.
    pub pitch: usize,
}

impl Panels {
    /// Packs `weight(input, output)` for `depth` values of input.
    pub(super) fn new(depth: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Panels {
        let outputs = bias.len();
        let mut values = vec![0.0; depth * outputs.next_multiple_of(LANES)];
        for first in (0..outputs).step_by(LANES * WIDE) {
            let width = (outputs - first).next_multiple_of(LANES).min(LANES * WIDE);
            let panel = &mut values[first * depth..][..width * depth];
            for (input, row) in panel.chunks_exact_mut(width).enumerate() {
                let rest = outputs - first;
                row.iter_mut().take(rest).enumerate().for_each(|(lane, value)| *value = weight(input, first + lane));
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(outputs.next_multiple_of(LANES), 0.0);
        Panels { values, bias, depth, outputs }
    }

    /// Writes the outputs of `lines` (places × outputs each) to `out`: weights times inputs, bias and addend, cut off at both
    /// ends of `range`.
    pub(super) fn multiply(&self, lines: &[Line], reach: Reach, range: [f32; 2], out: &mut [f32]) {
        let Reach { places, step, runs, run, pitch } = reach;
        assert!(available() && places > 0 && runs * run == self.depth, "what a place meets");
        for line in lines {
            assert!((places - 1) * step + (runs - 1) * pitch + run <= line.input.len(), "inputs outside");
            assert!(line.to + places * self.outputs <= out.len(), "outputs outside");
            assert!(line.addend.is_none_or(|addend| places * self.outputs <= addend.len()), "an addend outside");
        }
        // Weights that are too many pass by in parts, a run each; sums wait in the outputs.
        let parts = if self.depth * LANES * WIDE > CACHED { runs } else { 1 };
        for first in (0..self.outputs).step_by(LANES * WIDE) {
            let width = (self.outputs - first).next_multiple_of(LANES).min(LANES * WIDE);
            for part in 0..parts {
                let share = Share {
                    first,
                    part,
                    is_last: part + 1 == parts,
                    reach: Reach { runs: runs / parts, ..reach },
                    weights: &self.values[first * self.depth + part * (self.depth / parts) * width..],
                };
                for line in lines {
                    for place in (0..places).step_by(TOGETHER) {
                        #[cfg(target_arch = "x86_64")]
                        // SAFETY: the instructions are there; all places of all lines were checked to lie inside above.
                        unsafe {
                            avx512::tile(self, &share, line, place, (places - place).min(TOGETHER), range, out);
                        }
                    }
                }
            }
        }
    }
}

/// Part of the weights of some outputs.
struct Share<'a> {
    /// The first output.
    first: usize,
    /// The number of the first run.
    part: usize,
    is_last: bool,
    reach: Reach,
    weights: &'a [f32],
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{LANES, Line, Panels, Share, WIDE};
    use std::arch::x86_64::*;

    /// Some places of a line with the outputs of a share.
    ///
    /// # Safety
    /// The processor has AVX-512; the places lie inside of the line, its input and `out`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn tile(
        panels: &Panels,
        share: &Share,
        line: &Line,
        place: usize,
        places: usize,
        range: [f32; 2],
        out: &mut [f32],
    ) {
        let registers = (panels.outputs - share.first).div_ceil(LANES).min(WIDE);
        macro_rules! call {
            ($($places:literal)*) => {
                // SAFETY: as the caller promises.
                unsafe {
                    match (places, registers) {
                        $(($places, 1) => sized::<$places, 1>(panels, share, line, place, range, out),
                        ($places, 2) => sized::<$places, 2>(panels, share, line, place, range, out),
                        ($places, 3) => sized::<$places, 3>(panels, share, line, place, range, out),
                        ($places, _) => sized::<$places, 4>(panels, share, line, place, range, out),)*
                        _ => unreachable!("at most six places"),
                    }
                }
            };
        }
        call!(1 2 3 4 5 6)
    }

    /// # Safety
    /// As of [`tile`], for N places and W registers.
    #[target_feature(enable = "avx512f")]
    unsafe fn sized<const N: usize, const W: usize>(
        panels: &Panels,
        share: &Share,
        line: &Line,
        place: usize,
        range: [f32; 2],
        out: &mut [f32],
    ) {
        let (outputs, reach) = (panels.outputs, &share.reach);
        let own = place * outputs + share.first;
        // Lanes of the last register that are outputs.
        let rest = (outputs - share.first).min(W * LANES) - (W - 1) * LANES;
        let mask = |w: usize| if w + 1 == W { (((1u32 << rest) - 1) & 0xffff) as u16 } else { u16::MAX };
        let to = out[line.to + own..].as_mut_ptr();
        let mut sums = [[_mm512_setzero_ps(); W]; N];
        for (n, sums) in sums.iter_mut().enumerate() {
            for (w, sum) in sums.iter_mut().enumerate() {
                // SAFETY: masked lanes are not read, all others are inside as the caller promises.
                unsafe {
                    *sum = if share.part > 0 {
                        _mm512_maskz_loadu_ps(mask(w), to.add(n * outputs + w * LANES))
                    } else {
                        let bias = _mm512_loadu_ps(panels.bias.as_ptr().add(share.first + w * LANES));
                        match line.addend {
                            Some(addend) => {
                                let from = addend.as_ptr().add(own + n * outputs + w * LANES);
                                _mm512_add_ps(bias, _mm512_maskz_loadu_ps(mask(w), from))
                            }
                            None => bias,
                        }
                    };
                }
            }
        }
        let mut weights = share.weights.as_ptr();
        for run in 0..reach.runs {
            let from = line.input[place * reach.step + (share.part + run) * reach.pitch..].as_ptr();
            for index in 0..reach.run {
                // SAFETY: the share has as many values for each value of its runs; inputs are inside as the caller promises.
                unsafe {
                    let row: [__m512; W] = std::array::from_fn(|w| _mm512_loadu_ps(weights.add(w * LANES)));
                    weights = weights.add(W * LANES);
                    for (n, sums) in sums.iter_mut().enumerate() {
                        let value = _mm512_set1_ps(*from.add(n * reach.step + index));
                        sums.iter_mut().zip(&row).for_each(|(sum, row)| *sum = _mm512_fmadd_ps(value, *row, *sum));
                    }
                }
            }
        }
        let [low, high] = if share.is_last { range } else { [f32::NEG_INFINITY, f32::INFINITY] };
        let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
        for (n, sums) in sums.iter().enumerate() {
            for (w, sum) in sums.iter().enumerate() {
                // What is no number stays so: these give the second where one is none.
                let cut = _mm512_min_ps(high, _mm512_max_ps(low, *sum));
                // SAFETY: masked lanes are not written, all others are inside as the caller promises.
                unsafe { _mm512_mask_storeu_ps(to.add(n * outputs + w * LANES), mask(w), cut) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn outputs_are_those_of_the_plain_sums_at_every_width() {
        if !available() {
            return;
        }
        let mut draws = stream(4, Purpose::Synthetic, 0);
        for (places, outputs, runs, run) in
            [(1, 1, 1, 1), (7, 24, 3, 9), (13, 64, 1, 40), (6, 83, 3, 1100), (5, 130, 2, 5)]
        {
            let (step, pitch) = (run / 2 + 1, 2 * run + 3);
            let reach = Reach { places, step, runs, run, pitch };
            let mut drawn = |count: usize| {
                let mut values = vec![0.0; count];
                draws.fill_normal(&mut values, 1.0);
                values
            };
            let (input, weights) = (drawn((places - 1) * step + (runs - 1) * pitch + run), drawn(runs * run * outputs));
            let (bias, addend) = (drawn(outputs), drawn(places * outputs));
            let panels = Panels::new(runs * run, &bias, |input, output| weights[input * outputs + output]);
            let mut out = vec![7.0; 3 + places * outputs];
            let line = Line { input: &input, to: 3, addend: Some(&addend) };
            panels.multiply(&[line], reach, [-2.0, 30.0], &mut out);
            assert_eq!(out[..3], [7.0; 3]);
            for place in 0..places {
                for output in 0..outputs {
                    let meets = (0..runs * run).map(|at| input[place * step + at / run * pitch + at % run]);
                    let sum: f64 =
                        meets.enumerate().map(|(at, value)| value as f64 * weights[at * outputs + output] as f64).sum();
                    let number = place * outputs + output;
                    let expected = (sum + bias[output] as f64 + addend[number] as f64).clamp(-2.0, 30.0);
                    let found = out[3 + number] as f64;
                    assert!((found - expected).abs() < 1e-4 * (1.0 + (runs * run) as f64).sqrt(), "{found} {expected}");
                }
            }
        }
    }
}
