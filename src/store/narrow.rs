//! Values of 16 bits: rounded when they are written, widened when they are read.
//!
//! Owns: both directions. Does not own: who wants it (`features.store`).

use half::{bf16, f16};
use rayon::prelude::*;

use crate::error::{Error, Result};

/// A kind of floating-point number of 16 bits.
pub(super) trait Narrow: bytemuck::Pod + Send + Sync {
    /// What people call it.
    const NAME: &'static str;

    /// The nearest one, halves to even.
    fn of(value: f32) -> Self;

    /// Exactly.
    fn wide(self) -> f32;
}

impl Narrow for f16 {
    const NAME: &'static str = "f16";

    fn of(value: f32) -> Self {
        f16::from_f32(value)
    }

    fn wide(self) -> f32 {
        self.to_f32()
    }
}

impl Narrow for bf16 {
    const NAME: &'static str = "bf16";

    fn of(value: f32) -> Self {
        bf16::from_f32(value)
    }

    fn wide(self) -> f32 {
        self.to_f32()
    }
}

/// Values of a piece that one thread converts.
const PIECE: usize = 1 << 16;

/// The nearest values of this kind.
///
/// # Errors
/// A finite value that is too large for it.
pub(super) fn rounded<N: Narrow>(values: &[f32]) -> Result<Vec<N>> {
    let narrow: Vec<N> = values.par_iter().with_min_len(PIECE).map(|&value| N::of(value)).collect();
    let lost = |(value, narrow): (&f32, &N)| value.is_finite() && !narrow.wide().is_finite();
    match values.iter().zip(&narrow).find(|&pair| lost(pair)) {
        None => Ok(narrow),
        Some((value, _)) => {
            let what = format!("{value} is too large for {}", N::NAME);
            Err(Error::method(what, "set features.store = \"bf16\" or \"f32\""))
        }
    }
}

/// The values as f32.
pub(super) fn widen<N: Narrow>(values: &[N], into: &mut [f32]) {
    into.par_chunks_mut(PIECE).zip(values.par_chunks(PIECE)).for_each(|(into, values)| {
        into.iter_mut().zip(values).for_each(|(into, value)| *into = value.wide());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_nearest_of_their_kind_and_come_back_exactly() {
        // 2049 lies halfway between two of f16's values, and the even one is 2048; bf16 has eight bits of precision.
        let values = [0.0, -1.5, 2049.0, 65504.0, 1.0e-7, f32::NAN];
        let mut back = [0.0; 6];
        widen(&rounded::<f16>(&values).expect("they fit"), &mut back);
        assert_eq!(back[..4], [0.0, -1.5, 2048.0, 65504.0]);
        assert!(back[4] > 5e-8 && back[5].is_nan());
        widen(&rounded::<bf16>(&values).expect("they fit"), &mut back);
        assert_eq!(back[..4], [0.0, -1.5, 2048.0, 65536.0]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let fault = rounded::<f16>(&[1.0, 7e4]).expect_err("too large");
        assert!(fault.to_string().contains("70000 is too large for f16"), "{fault}");
        assert!(fault.help().is_some_and(|help| help.contains("bf16")));
        assert!(rounded::<f16>(&[f32::INFINITY]).is_ok() && rounded::<bf16>(&[7e4]).is_ok());
    }
}
