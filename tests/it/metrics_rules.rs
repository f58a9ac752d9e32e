//! Rules of evaluation that publications disagree about: AUPIMO, and F1 at a threshold of normal images alone.

use dmad::metrics::{Definitions, Metric, MetricName, NO_POSITIVE, image_metrics, pixel_metrics};

use crate::generated_maps::{Held, Memory};
use crate::generator::uniforms;

fn of(metrics: &[Metric], name: MetricName) -> Result<f64, &'static str> {
    metrics.iter().find(|metric| metric.name == name).expect("it is computed").value
}

fn aupimo(images: Vec<Held<f32>>) -> Result<f64, &'static str> {
    let report = pixel_metrics(&Memory(images), &Definitions::default()).expect("clean images");
    of(&report.metrics, MetricName::PixelAupimo)
}

const SIDE: usize = 256;

/// 20 normal and 6 anomalous images; those of `tests/references/aupimo.py`.
fn aupimo_maps(lift: f64) -> Vec<Held<f32>> {
    let image = |k: usize| {
        let mut scores = uniforms(5, k as u64, 0, SIDE * SIDE);
        let mut mask = vec![0; SIDE * SIDE];
        if let Some(rank) = k.checked_sub(20) {
            for (place, score) in scores.iter_mut().enumerate() {
                if (40..60 + 5 * rank).contains(&(place / SIDE)) && (100..140).contains(&(place % SIDE)) {
                    mask[place] = 1;
                    *score += lift * rank as f64;
                }
            }
        }
        Held { anomalous: k >= 20, ..Held::new(SIDE, scores.into_iter().map(|score| score as f32).collect(), mask) }
    };
    (0..26).map(image).collect()
}

#[test]
fn aupimo_is_that_of_anomalib() {
    // By 300,000 thresholds of equal width, and without interpolation at the bounds.
    let reference = 0.37738542954646404;
    let value = aupimo(aupimo_maps(0.15)).expect("it has a value");
    assert!((value - reference).abs() < 2e-3, "{value}, anomalib {reference}");
}

#[test]
fn aupimo_is_a_mean_over_images_and_needs_enough_normal_pixels() {
    // What is far above all normal pixels is found at any rate: five of six images, and nothing of the first.
    let high = aupimo(aupimo_maps(9.0)).expect("it has a value");
    let first = aupimo(aupimo_maps(9.0).into_iter().take(21).collect()).expect("it has a value");
    assert!((high - (5.0 + first) / 6.0).abs() < 1e-12, "{high}, of the first image {first}");
    // Splitting a defect into regions changes nothing: pixels of an image count alike.
    let mut split = aupimo_maps(0.15);
    for image in &mut split[20..] {
        image.mask.iter_mut().enumerate().for_each(|(place, truth)| *truth *= u8::from(place / SIDE != 50));
    }
    let same_pixels = {
        let mut maps = aupimo_maps(0.15);
        for (whole, split) in maps[20..].iter_mut().zip(&split[20..]) {
            whole.mask.clone_from(&split.mask);
        }
        aupimo(maps)
    };
    assert_eq!(aupimo(split), same_pixels);
    let few = aupimo(aupimo_maps(0.15).into_iter().skip(19).collect());
    assert!(few.is_err_and(|why| why.contains("too few normal pixels")), "{few:?}");
    assert_eq!(aupimo(aupimo_maps(0.15).into_iter().take(20).collect()), Err(NO_POSITIVE));
}

#[test]
fn f1_at_five_per_cent_of_false_alarms_takes_its_threshold_from_normal_images() {
    let f1 = |normals: &[f64], anomalies: &[f64]| {
        let scores = [normals, anomalies].concat();
        let labels: Vec<bool> = (0..scores.len()).map(|image| image >= normals.len()).collect();
        let metrics = image_metrics(&scores, &labels, &Definitions::default()).expect("finite scores");
        of(&metrics, MetricName::ImageF1Normal).expect("both kinds are there")
    };
    // 40 normals, of which two may be called anomalous: those of 39 and 40; 38 is the threshold.
    let normals: Vec<f64> = (1..=40).map(f64::from).collect();
    assert_eq!(f1(&normals, &[38.0, 38.5, 40.0, 50.0]), 2.0 * 3.0 / (3.0 + 2.0 + 4.0));
    assert_eq!(f1(&normals, &[1.0, 2.0]), 0.0);
    // Of fewer than twenty none may: what lies above all of them is found.
    assert_eq!(f1(&normals[..10], &[10.0, 10.5, 11.0]), 2.0 * 2.0 / (2.0 + 3.0));
    // Anomalies move F1max, not the threshold.
    assert_eq!(f1(&normals, &[39.5; 4]), 2.0 * 4.0 / (4.0 + 2.0 + 4.0));
}
