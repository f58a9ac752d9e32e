//! Where pixel metrics get their images from.
//!
//! Owns: the seam between metrics and whoever holds maps and masks, and the check of what comes through it. Does not
//! own: any way of reading or resizing.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::error::{Error, Result};

/// A score of a pixel: `f32` or `f64`. Both are ranked as they are; nothing is rounded or merged.
pub trait Score: Copy + PartialOrd + Send + Sync + 'static {
    /// Equal to nothing, itself included.
    const NAN: Self;
    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
    /// A total order that agrees with `<` on finite values.
    fn total_cmp(&self, other: &Self) -> Ordering;
    /// The same value.
    fn to_f64(self) -> f64;
    /// Factor by which `place` spreads `lowest..=highest` over `buckets` buckets.
    fn spread(lowest: Self, highest: Self, buckets: usize) -> Self;
    /// Bucket of a finite score, never falling as the score rises.
    fn place(self, lowest: Self, spread: Self) -> usize;
}

macro_rules! score {
    ($float:ty) => {
        impl Score for $float {
            const NAN: Self = <$float>::NAN;
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            fn total_cmp(&self, other: &Self) -> Ordering {
                <$float>::total_cmp(self, other)
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn spread(lowest: Self, highest: Self, buckets: usize) -> Self {
                buckets as $float / (highest - lowest)
            }
            fn place(self, lowest: Self, spread: Self) -> usize {
                // The cast saturates and takes NaN (0 · ∞) to 0, so the order holds for every range of scores.
                ((self - lowest) * spread) as u32 as usize
            }
        }
    };
}
score!(f32);
score!(f64);

/// One test image at the evaluation resolution.
#[derive(Clone, Debug)]
pub struct PixelImage<'a, S: Score = f32> {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Anomaly score of each pixel, row-major, higher = more anomalous.
    pub scores: Cow<'a, [S]>,
    /// Truth of each pixel, row-major, non-zero = defect.
    pub mask: Cow<'a, [u8]>,
    /// The image's label in the file list, which a mask that lost its defect in resizing does not change.
    pub anomalous: bool,
}

/// The test images of one class. Pixel metrics load each image two or three times and hold one per thread, so that a
/// class never has to fit into memory; loading again must give the same image.
pub trait PixelSource: Sync {
    /// Type of the scores.
    type Score: Score;

    /// Number of images.
    fn len(&self) -> usize;

    /// True without images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What messages call an image.
    fn name(&self, image: usize) -> String;

    /// Loads image `image` of `0..len()`.
    fn load(&self, image: usize) -> Result<PixelImage<'_, Self::Score>>;
}

/// Loads an image and holds it to its promise: sizes agree, and there is at least one pixel.
pub(super) fn load<P: PixelSource>(source: &P, image: usize) -> Result<PixelImage<'_, P::Score>> {
    let loaded = source.load(image)?;
    let PixelImage { width, height, .. } = loaded;
    let (pixels, scores, mask) = (width * height, loaded.scores.len(), loaded.mask.len());
    if scores != pixels || mask != pixels || pixels == 0 || pixels > u32::MAX as usize {
        let name = source.name(image);
        let what = format!("{name}: {scores} scores and {mask} mask pixels for an image of {width} × {height}");
        let help = "map and mask must have the same size, at least one pixel and fewer than 2^32";
        return Err(Error::method(what, help));
    }
    Ok(loaded)
}

/// Lowest and highest score of an image that `load` gave; a NaN or infinite one is an error with its row and column.
pub(super) fn extremes<P: PixelSource>(
    source: &P,
    image: usize,
    loaded: &PixelImage<'_, P::Score>,
) -> Result<(f64, f64)> {
    // Without early exit the loop runs on whole vectors; the position is sought only when there is something wrong.
    let broken = loaded.scores.iter().fold(false, |broken, score| broken | !score.is_finite());
    if broken && let Some(at) = loaded.scores.iter().position(|score| !score.is_finite()) {
        let (name, score) = (source.name(image), loaded.scores[at].to_f64());
        let (row, column) = (at / loaded.width, at % loaded.width);
        let what = format!("{name}: the score at row {row}, column {column} is {score}");
        return Err(Error::method(what, "scores must be finite numbers; find out why the method gave none"));
    }
    let (lowest, highest) = range(&loaded.scores);
    Ok((lowest.to_f64(), highest.to_f64()))
}

/// Lowest and highest of at least one finite score, lane by lane so that the compiler can use vectors.
fn range<S: Score>(scores: &[S]) -> (S, S) {
    const LANES: usize = 16;
    let lower = |a: S, b: S| if b < a { b } else { a };
    let higher = |a: S, b: S| if b > a { b } else { a };
    let (mut lows, mut highs) = ([scores[0]; LANES], [scores[0]; LANES]);
    let blocks = scores.chunks_exact(LANES);
    let rest = blocks.remainder();
    for block in blocks {
        for lane in 0..LANES {
            lows[lane] = lower(lows[lane], block[lane]);
            highs[lane] = higher(highs[lane], block[lane]);
        }
    }
    let low = lows.iter().chain(rest).fold(scores[0], |a, &b| lower(a, b));
    let high = highs.iter().chain(rest).fold(scores[0], |a, &b| higher(a, b));
    (low, high)
}
