//! Pieces of images pasted elsewhere: CutPaste (Li et al. 2021), which some codes call CutMix.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Jitter;
use crate::data::decode::Pixels;
use crate::random::Stream;

/// Which pieces are cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cutting {
    /// Smallest and largest area of the piece, as shares of the image's.
    pub area: [f64; 2],
    /// Width / height lies between this and one over it; the logarithm is uniform.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub aspect: f64,
    /// The piece's brightness, contrast and saturation are multiplied by 1 ± this, its hue is shifted by ± this share of the
    /// circle; 0 = colours stay.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub colour: f64,
}

impl Default for Cutting {
    fn default() -> Self {
        Cutting { area: [0.02, 0.15], aspect: 0.3, colour: 0.1 }
    }
}

/// A piece of an image, where it goes, and how its colours change on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Columns of the piece, in pixels.
    pub width: usize,
    /// Rows of the piece.
    pub height: usize,
    /// Left and top edge in the image that it is cut from.
    pub from: [usize; 2],
    /// Left and top edge in the image that it is pasted onto.
    pub to: [usize; 2],
    /// What happens to its colours.
    pub jitter: Option<Jitter>,
}

impl Cutting {
    /// The cut that 14 uniforms in [0, 1) stand for, in images of `width` × `height`: area, shape, top and left edge in the
    /// source, top and left edge in the target, then those of [`Jitter::new`]. Sides are rounded with ties to even, and places
    /// are cut to whole pixels.
    pub fn cut(&self, [width, height]: [usize; 2], uniforms: [f64; 14]) -> Cut {
        let [area, shape, from_top, from_left, to_top, to_left, colours @ ..] = uniforms;
        let pixels = (self.area[0] + (self.area[1] - self.area[0]) * area) * (width * height) as f64;
        let (low, high) = (self.aspect.ln(), (1.0 / self.aspect).ln());
        let aspect = f64::from(((low + shape * (high - low)) as f32).exp());
        let side = |length: f64, limit: usize| (length.round_ties_even() as usize).clamp(1, limit);
        let (cut_width, cut_height) = (side((pixels * aspect).sqrt(), width), side((pixels / aspect).sqrt(), height));
        let place = |uniform: f64, room: usize| (uniform * room as f64) as usize;
        let (across, down) = (width - cut_width, height - cut_height);
        Cut {
            width: cut_width,
            height: cut_height,
            from: [place(from_left, across), place(from_top, down)],
            to: [place(to_left, across), place(to_top, down)],
            jitter: (self.colour > 0.0).then(|| Jitter::new(self.colour, colours)),
        }
    }

    /// A cut from the next 14 draws of a stream.
    pub fn draw(&self, size: [usize; 2], draws: &mut Stream) -> Cut {
        self.cut(size, std::array::from_fn(|_| draws.uniform()))
    }
}

impl Cut {
    /// The piece as it is in `image`.
    pub fn piece(&self, image: &Pixels) -> Pixels {
        let [left, top] = self.from;
        let row = |row: usize| {
            let start = ((top + row) * image.width + left) * image.channels;
            &image.data[start..start + self.width * image.channels]
        };
        let data = (0..self.height).flat_map(row).copied().collect();
        Pixels { width: self.width, height: self.height, channels: image.channels, data }
    }

    /// `onto` with a piece of `source`, an image of the same size and channels (CutPaste: the same image; CutMix: another).
    pub fn apply(&self, source: &Pixels, mut onto: Pixels) -> Pixels {
        let piece = self.piece(source);
        let piece = self.jitter.map_or(piece.clone(), |jitter| jitter.apply(piece));
        let [left, top] = self.to;
        let (row_bytes, channels) = (self.width * onto.channels, onto.channels);
        for (row, line) in piece.data.chunks_exact(row_bytes).enumerate() {
            let start = ((top + row) * onto.width + left) * channels;
            onto.data[start..start + row_bytes].copy_from_slice(line);
        }
        onto
    }
}

/// `onto` with the pixels of `source`, an image of the same size and channels, where `mask` is 255.
pub fn paste_masked(source: &Pixels, mask: &Pixels, mut onto: Pixels) -> Pixels {
    let channels = onto.channels;
    let pixels = onto.data.chunks_exact_mut(channels).zip(source.data.chunks_exact(channels));
    for ((pixel, own), _) in pixels.zip(&mask.data).filter(|(_, mask)| **mask == u8::MAX) {
        pixel.copy_from_slice(own);
    }
    onto
}
