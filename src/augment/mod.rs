//! Changes of training images: flips, turns, colours, pieces cut out and pasted, synthetic anomalies.
//!
//! Owns: what each change does to the bytes of an image, and which draws it takes. Does not own: which images are changed, how
//! often, and from which stream the draws come (the methods): a change is a function of the image and of a
//! [`Stream`], so that the stream's name alone (seed, purpose, number of the image among all that are trained on) decides what
//! an image becomes, on any number of threads and after any interruption.
//!
//! The arithmetic is Pillow's on bytes, which released codes use; masks are images of one channel.

mod colour;
mod fourier;
mod geometry;
mod paste;
mod perlin;
mod synthesis;
mod tamper;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use colour::{Colour, Jitter};
pub use fourier::AmplitudeMix;
pub use geometry::{Affine, flip_columns, flip_rows, quarter_turns, rotate, transpose, turned_mirrored, warped};
pub use paste::{Cut, Cutting, paste_masked};
pub use perlin::{Lattice, turned};
pub use synthesis::{Anomaly, Blend, Recipe, Synthesis};
pub use tamper::{ALL_CHANGES, Change, EIGHT_CHANGES, three_changes};

use crate::data::decode::Pixels;
use crate::random::Stream;

/// Changes that keep the label of an image, in this order: colours, flips, a turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Changes {
    /// Images are turned by an angle between minus and plus so many degrees; corners become black.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub rotation: f64,
    /// Chance of a flip of the columns, and of one of the rows.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub flip: f64,
    /// Brightness, contrast and saturation are multiplied by 1 ± this, and the hue is shifted by ± this share of the circle.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub colour: f64,
}

impl Changes {
    /// The changed image. Every change that is switched on takes its draws, whatever they come to.
    pub fn apply(&self, mut image: Pixels, draws: &mut Stream) -> Pixels {
        if self.colour > 0.0 {
            let uniforms = std::array::from_fn(|_| draws.uniform());
            image = Jitter::new(self.colour, uniforms).apply(image);
        }
        if self.flip > 0.0 {
            for flip in [flip_columns, flip_rows] {
                image = if draws.uniform() < self.flip { flip(&image) } else { image };
            }
        }
        if self.rotation > 0.0 {
            image = rotate(&image, (2.0 * draws.uniform() - 1.0) * self.rotation);
        }
        image
    }
}
