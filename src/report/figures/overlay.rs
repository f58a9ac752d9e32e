//! An image beside itself under its anomaly map: what a prediction shows of it.

use std::sync::Arc;

use super::canvas::{Align, Mark, Picture, Scene};
use super::lines::fit;
use super::panel::{colour_bar, heading};
use super::style::{BLACK, GAP, SMALL, TEXT};
use crate::error::Result;
use crate::maps::{heat, shown_share};

/// Width of the picture in centimetres.
const WIDTH_CM: f64 = 12.0;
/// How much of a colour covers the image where the score is highest.
const COVER: f64 = 0.75;

/// What is shown of an image.
pub struct Overlay<'a> {
    pub name: &'a str,
    /// Columns and rows of image and map.
    pub size: (usize, usize),
    /// R, G, B of each pixel.
    pub image: &'a [u8],
    /// The score of each pixel.
    pub map: &'a [f32],
    /// Scores of the darkest and the brightest colour.
    pub colours: (f64, f64),
    pub score: f64,
    /// Images with higher scores are anomalous.
    pub threshold: Option<f64>,
    /// What that makes of the image; empty = nothing.
    pub verdict: &'a str,
}

/// Draws it, as PNG.
///
/// # Errors
/// A fault of the drawing library.
pub fn overlay(shown: &Overlay) -> Result<Vec<u8>> {
    let mut scene = Scene::new(WIDTH_CM);
    heading(&mut scene, shown.name, GAP);
    let threshold = shown.threshold.map(|threshold| format!(" (threshold {threshold:.4})")).unwrap_or_default();
    let verdict = if shown.verdict.is_empty() { String::new() } else { format!(": {}", shown.verdict) };
    scene.text(
        format!("score {:.4}{threshold}{verdict}", shown.score),
        (GAP, scene.height + TEXT * 0.7),
        TEXT,
        Align::Left,
        BLACK,
    );
    scene.height += TEXT * 1.4;
    let (columns, rows) = shown.size;
    let wide = ((scene.width - 3.0 * GAP) / 2.0).floor();
    let high = (wide * rows as f64 / columns as f64).max(1.0);
    let pictures = [shown.image.to_vec(), covered(shown)];
    for (number, data) in pictures.into_iter().enumerate() {
        let picture = Arc::new(Picture { width: columns, height: rows, data });
        let at = (GAP + number as f64 * (wide + GAP), scene.height);
        scene.marks.push(Mark::Picture { at, size: (wide, high), picture });
    }
    scene.height += high + GAP;
    let (low, high) = shown.colours;
    let [low, high] = [low, high].map(|value| fit(&format!("{value:.3}"), scene.width / 4.0, SMALL).concat());
    colour_bar(&mut scene, [&low, &high], f64::INFINITY, GAP);
    scene.png()
}

/// The image under colours that cover it the more, the higher the score.
fn covered(shown: &Overlay) -> Vec<u8> {
    let pixel = |(pixel, &score): (&[u8], &f32)| {
        let share = shown_share(score, shown.colours);
        let (colour, cover) = (heat(share), COVER * share);
        [0, 1, 2].map(|channel| {
            (f64::from(pixel[channel]) * (1.0 - cover) + f64::from(colour[channel]) * cover).round() as u8
        })
    };
    shown.image.chunks_exact(3).zip(shown.map).flat_map(pixel).collect()
}
