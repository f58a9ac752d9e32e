//! Synthetic anomalies: an image whose low frequencies are mixed with those of a texture, blended by a mask of Perlin noise
//! (docs/methods/dm_grd.md, Synthetic anomalies).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fourier::AmplitudeMix;
use super::perlin::{Lattice, turned};
use crate::data::decode::Pixels;
use crate::random::Stream;

/// How an anomaly is blended with its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blend {
    /// The image inside the mask, (2 − β) times the image outside (DM-GRD): all of it changes.
    Dmgrd,
    /// The image outside the mask, (1 − β) times the texture and β times the image inside (DRAEM, without its changes of
    /// the texture).
    Draem,
}

/// How anomalies are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Synthesis {
    /// Mix the amplitudes of low frequencies with those of the texture first.
    pub mix: bool,
    /// Frequencies up to this share of the image's side are low.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub low_frequency: f64,
    /// Noise above this is inside the mask.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub threshold: f64,
    /// How image and anomaly are blended.
    pub blend: Blend,
    /// β is uniform between 0 and this.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub opacity: f64,
    /// Cut the mixed image to the range of images before it is blended.
    pub clip: bool,
}

impl Default for Synthesis {
    fn default() -> Self {
        Synthesis { mix: true, low_frequency: 0.1, threshold: 0.5, blend: Blend::Dmgrd, opacity: 0.8, clip: false }
    }
}

/// What is drawn for one anomaly.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Share of the texture in the low amplitudes.
    pub lambda: f64,
    /// Weight of the blend.
    pub beta: f64,
    /// The noise.
    pub lattice: Lattice,
    /// By how much it is turned.
    pub degrees: f64,
}

/// An anomaly. Images are three planes, row by row, 1 = white; they may leave the range of images.
#[derive(Clone, Debug)]
pub struct Anomaly {
    /// The image after mixing.
    pub mixed: Vec<f32>,
    /// Where the mask is.
    pub mask: Vec<bool>,
    /// What is learned from.
    pub image: Vec<f32>,
}

impl Synthesis {
    /// A recipe from the next draws of a stream: λ, β, cells, directions, angle.
    pub fn draw(&self, draws: &mut Stream) -> Recipe {
        let (lambda, beta) = (draws.uniform(), self.opacity * draws.uniform());
        let lattice = Lattice::draw(draws);
        Recipe { lambda, beta, lattice, degrees: 180.0 * draws.uniform() - 90.0 }
    }

    /// The mask of a recipe for a square image.
    pub fn mask(&self, recipe: &Recipe, side: usize) -> Vec<bool> {
        let noise = turned(&recipe.lattice.noise(side), side, recipe.degrees);
        noise.into_iter().map(|value| value > self.threshold).collect()
    }

    /// The anomaly that a recipe makes of an image and a texture, squares of one size with three channels.
    pub fn make(&self, image: &Pixels, texture: &Pixels, recipe: &Recipe) -> Anomaly {
        let (side, mask) = (image.width, self.mask(recipe, image.width));
        let mix = self.mix.then(|| AmplitudeMix::new(side, self.low_frequency));
        let mut made = Anomaly { mixed: Vec::new(), mask, image: Vec::new() };
        for channel in 0..3 {
            let [own, other] = [image, texture].map(|image| plane(image, channel));
            let mut mixed = mix.as_ref().map_or_else(|| own.clone(), |mix| mix.apply(&own, &other, recipe.lambda));
            if self.clip {
                mixed.iter_mut().for_each(|value| *value = value.clamp(0.0, 255.0));
            }
            let blended = mixed.iter().zip(&other).zip(&made.mask).map(|((&mixed, &texture), &inside)| {
                let value = match (self.blend, inside) {
                    (Blend::Dmgrd, true) | (Blend::Draem, false) => mixed,
                    (Blend::Dmgrd, false) => (2.0 - recipe.beta) * mixed,
                    (Blend::Draem, true) => (1.0 - recipe.beta) * texture + recipe.beta * mixed,
                };
                (value / 255.0) as f32
            });
            made.image.extend(blended);
            made.mixed.extend(mixed.into_iter().map(|value| (value / 255.0) as f32));
        }
        made
    }
}

/// One channel of an image.
fn plane(image: &Pixels, channel: usize) -> Vec<f64> {
    image.data.iter().skip(channel).step_by(image.channels).map(|&value| f64::from(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    const SIDE: usize = 256;

    fn masks(count: u64) -> Vec<([usize; 2], usize)> {
        let synthesis = Synthesis::default();
        let of_index = |index: u64| {
            let recipe = synthesis.draw(&mut stream(0, Purpose::Augmentation, index));
            let area = synthesis.mask(&recipe, SIDE).into_iter().filter(|&inside| inside).count();
            (recipe.lattice.cells, area)
        };
        (0..count).map(of_index).collect()
    }

    #[test]
    fn masks_have_the_areas_of_the_released_code() {
        let masks = masks(3000);
        let mut areas: Vec<f64> = masks.iter().map(|(_, area)| *area as f64 / (SIDE * SIDE) as f64).collect();
        let mean = areas.iter().sum::<f64>() / areas.len() as f64;
        assert!((mean - 0.049).abs() < 0.003, "mean area {mean}");
        areas.sort_by(f64::total_cmp);
        let median = areas[areas.len() / 2];
        assert!((median - 0.046).abs() < 0.003, "median area {median}");
        let empty = areas.iter().filter(|&&area| area == 0.0).count() as f64 / areas.len() as f64;
        assert!((empty - 0.046).abs() < 0.01, "{empty} are empty");
        let (mut one_cell, mut fine) = (Vec::new(), Vec::new());
        for (cells, area) in masks {
            match cells {
                [1, 1] => one_cell.push(area),
                [rows, columns] if rows.min(columns) >= 4 => fine.push(area),
                _ => {}
            }
        }
        let empty = one_cell.iter().filter(|&&area| area == 0).count() as f64 / one_cell.len() as f64;
        assert!((empty - 0.53).abs() < 0.17, "{empty} of {} with one cell are empty", one_cell.len());
        assert!(fine.iter().all(|&area| area > 0));
    }

    fn pixels(index: u64) -> Pixels {
        let mut draws = stream(1, Purpose::Augmentation, index);
        let data = (0..3 * 32 * 32).map(|_| draws.below(256) as u8).collect();
        Pixels { width: 32, height: 32, channels: 3, data }
    }

    fn recipe() -> Recipe {
        Synthesis::default().draw(&mut stream(0, Purpose::Augmentation, 12))
    }

    #[test]
    fn the_whole_image_changes_outside_the_mask_or_only_what_is_inside_it() {
        let (image, texture, recipe) = (pixels(0), pixels(1), recipe());
        let made = Synthesis::default().make(&image, &texture, &recipe);
        assert!(made.mask.contains(&true) && made.mask.contains(&false));
        for (place, (&value, &mixed)) in made.image.iter().zip(&made.mixed).enumerate() {
            let factor = if made.mask[place % made.mask.len()] { 1.0 } else { 2.0 - recipe.beta };
            assert!((f64::from(value) - factor * f64::from(mixed)).abs() < 1e-6);
        }
        let draem = Synthesis { blend: Blend::Draem, mix: false, ..Synthesis::default() };
        let made = draem.make(&image, &texture, &recipe);
        for (place, &value) in made.image.iter().enumerate() {
            let (pixel, channel) = (place % made.mask.len(), place / made.mask.len());
            let [own, other] = [&image, &texture].map(|image| f64::from(image.data[3 * pixel + channel]) / 255.0);
            let inside = (1.0 - recipe.beta) * other + recipe.beta * own;
            let expected = if made.mask[pixel] { inside } else { own };
            assert!((f64::from(value) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn cut_images_stay_in_the_range_of_images_until_they_are_blended() {
        let black = Pixels { data: vec![0; 3 * 32 * 32], ..pixels(0) };
        let make = |clip: bool| Synthesis { clip, ..Synthesis::default() }.make(&pixels(0), &black, &recipe());
        let outside = |made: &Anomaly| made.mixed.iter().filter(|value| !(0.0..=1.0).contains(*value)).count();
        assert!(outside(&make(false)) > 0 && outside(&make(true)) == 0);
    }
}
