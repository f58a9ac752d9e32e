//! Metrics against closed forms, the reference values of the generated maps, and a sweep over every threshold.

use dmad::metrics::{
    Ap, Definitions, Level, Metric, MetricName, NO_NEGATIVE, NO_POSITIVE, PixelReport, Pro, REGISTRY, Score,
    class_mean, image_metrics, pixel_metrics, regions,
};

use crate::generated_maps::{Held, Memory, bottle};
use crate::generator::{hash, uniform};

const EXACT: f64 = 1e-12;

fn near(what: &str, got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() <= tolerance, "{what}: {got}, expected {expected}");
}

fn value(metric: &Metric) -> f64 {
    metric.value.unwrap_or_else(|reason| panic!("{}: {reason}", metric.name.as_str()))
}

fn values(report: &PixelReport) -> [f64; 4] {
    std::array::from_fn(|index| value(&report.metrics[index]))
}

fn measure<S: Score>(images: &[Held<S>]) -> PixelReport {
    pixel_metrics(&Memory(images.to_vec()), &Definitions::default()).expect("clean images")
}

fn image_values(scores: &[f64], labels: &[bool], ap: Ap) -> [f64; 3] {
    let definitions = Definitions { ap, ..Definitions::default() };
    let metrics = image_metrics(scores, labels, &definitions).expect("finite scores");
    std::array::from_fn(|index| value(&metrics[index]))
}

fn near_all(what: &str, got: [f64; 4], expected: [f64; 4], tolerance: f64) {
    for (index, metric) in MetricName::of(Level::Pixel).take(4).enumerate() {
        near(&format!("{what}, {}", metric.as_str()), got[index], expected[index], tolerance);
    }
}

/// Small images with a handful of distinct scores and blocky masks.
fn tied_images(seed: u64, levels: u64) -> Vec<Held<f32>> {
    let count = 1 + hash(seed, 0, 0) % 4;
    (0..count)
        .map(|image| {
            let width = 3 + hash(seed, 1, image) as usize % 6;
            let height = 2 + hash(seed, 2, image) as usize % 7;
            let density = uniform(seed, 3, image) * 0.6;
            let mask: Vec<u8> =
                (0..width * height).map(|i| u8::from(uniform(seed, 10 + image, i as u64) < density)).collect();
            let scores = (0..width * height)
                .map(|i| (hash(seed, 20 + image, i as u64) % levels + u64::from(mask[i])) as f32 / 4.0 - 1.0)
                .collect();
            Held::new(width, scores, mask)
        })
        .collect()
}

/// Regions by flooding, as lists of pixel positions.
fn flood(mask: &[u8], width: usize) -> Vec<Vec<usize>> {
    let (height, mut seen, mut found) = (mask.len() / width, vec![false; mask.len()], Vec::new());
    for start in 0..mask.len() {
        if mask[start] == 0 || seen[start] {
            continue;
        }
        let (mut region, mut open) = (Vec::new(), vec![start]);
        seen[start] = true;
        while let Some(at) = open.pop() {
            region.push(at);
            let (y, x) = (at / width, at % width);
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let next = ny * width + nx;
                    if mask[next] != 0 && !seen[next] {
                        seen[next] = true;
                        open.push(next);
                    }
                }
            }
        }
        region.sort_unstable();
        found.push(region);
    }
    found
}

/// Every pixel with its score and truth, and the scores of every region.
struct Flat {
    pixels: Vec<(f32, bool)>,
    regions: Vec<Vec<f32>>,
}

impl Flat {
    fn new(images: &[Held<f32>]) -> Flat {
        let pixels = images.iter().flat_map(|i| i.scores.iter().copied().zip(i.mask.iter().map(|&m| m != 0))).collect();
        let regions = images
            .iter()
            .flat_map(|i| flood(&i.mask, i.width).into_iter().map(|r| r.iter().map(|&p| i.scores[p]).collect()))
            .collect();
        Flat { pixels, regions }
    }

    fn count(&self, truth: bool, threshold: f32) -> f64 {
        self.pixels.iter().filter(|p| p.1 == truth && p.0 >= threshold).count() as f64
    }

    /// AUROC over all pairs; AP, trapezoid AP, F1max and AUPRO over all thresholds.
    fn sweep(&self) -> [f64; 5] {
        let (positives, negatives) = (self.count(true, f32::MIN), self.count(false, f32::MIN));
        let mut wins = 0.0;
        for p in self.pixels.iter().filter(|p| p.1) {
            for n in self.pixels.iter().filter(|p| !p.1) {
                wins += if p.0 > n.0 {
                    1.0
                } else if p.0 == n.0 {
                    0.5
                } else {
                    0.0
                };
            }
        }
        let mut thresholds: Vec<f32> = self.pixels.iter().map(|p| p.0).collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let (mut ap, mut trapezoid, mut f1max, mut pro) = (0.0, 0.0, 0.0f64, 0.0);
        let (mut recall, mut precision, mut rate, mut overlap) = (0.0, 1.0, 0.0, 0.0);
        for &threshold in &thresholds {
            let (tp, fp) = (self.count(true, threshold), self.count(false, threshold));
            let (next_recall, next_precision, next_rate) = (tp / positives, tp / (tp + fp), fp / negatives);
            ap += (next_recall - recall) * next_precision;
            trapezoid += (next_recall - recall) * (precision + next_precision) / 2.0;
            f1max = f1max.max(2.0 * tp / (tp + fp + positives));
            let found = |r: &Vec<f32>| r.iter().filter(|&&s| s >= threshold).count() as f64 / r.len() as f64;
            let next_overlap = self.regions.iter().map(found).sum::<f64>() / self.regions.len() as f64;
            if rate < 0.3 && next_rate > rate {
                let end = next_rate.min(0.3);
                let at_end = overlap + (next_overlap - overlap) * (end - rate) / (next_rate - rate);
                pro += (end - rate) * (overlap + at_end) / 2.0 / 0.3;
            }
            (recall, precision, rate, overlap) = (next_recall, next_precision, next_rate, next_overlap);
        }
        [wins / positives / negatives, ap, trapezoid, f1max, pro]
    }
}

/// PRO with thresholds, widened predictions and stretched rates, done threshold by threshold.
fn legacy_by_hand(images: &[Held<f32>], steps: usize, radius: usize, from_least: bool) -> Option<f64> {
    let all = || images.iter().flat_map(|i| i.scores.iter().map(|&s| f64::from(s)));
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
    let mut points = Vec::new();
    for step in 0..steps {
        let threshold = low + step as f64 * ((high - low) / steps as f64);
        let (mut false_hits, mut normals, mut shares) = (0.0, 0.0, Vec::new());
        for image in images {
            let height = image.mask.len() / image.width;
            let predicted = |p: usize| f64::from(image.scores[p]) > threshold;
            let widened = |p: usize| {
                let (y, x) = (p / image.width, p % image.width);
                let near = |at: usize, len: usize| at.saturating_sub(radius)..(at + radius + 1).min(len);
                near(y, height).any(|ny| near(x, image.width).any(|nx| predicted(ny * image.width + nx)))
            };
            for region in flood(&image.mask, image.width) {
                shares.push(region.iter().filter(|&&p| widened(p)).count() as f64 / region.len() as f64);
            }
            for p in (0..image.mask.len()).filter(|&p| image.mask[p] == 0) {
                normals += 1.0;
                false_hits += f64::from(u8::from(predicted(p)));
            }
        }
        points.push((false_hits / normals, shares.iter().sum::<f64>() / shares.len() as f64));
    }
    points.retain(|point| point.0 < 0.3);
    let (most, least) = (points.first()?.0, points.last()?.0);
    let area: f64 = points.windows(2).map(|w| (w[0].0 - w[1].0) * (w[0].1 + w[1].1) / 2.0).sum();
    (most > least).then(|| area / if from_least { most - least } else { most })
}

#[test]
fn four_ranked_images_have_the_textbook_values() {
    let (scores, labels) = ([0.1, 0.4, 0.35, 0.8], [false, false, true, true]);
    let [auroc, ap, f1max] = image_values(&scores, &labels, Ap::Step);
    near("auroc", auroc, 0.75, EXACT);
    near("step ap", ap, 5.0 / 6.0, EXACT);
    near("f1max", f1max, 0.8, EXACT);
    near("trapezoid ap", image_values(&scores, &labels, Ap::Trapezoid)[1], 19.0 / 24.0, EXACT);
}

fn worked_example() -> Held<f32> {
    let mask = vec![1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let scores = vec![
        0.9, 0.8, 0.1, 0.2, 0.0, 0.7, 0.3, 0.05, 0.15, 0.25, 0.6, 0.12, 0.02, 0.03, 0.04, 0.5, 0.06, 0.07, 0.08, 0.55,
    ];
    Held::new(5, scores, mask)
}

#[test]
fn the_worked_aupro_example_gives_five_sixths() {
    let report = measure(&[worked_example()]);
    near("pixel_pro", values(&report)[3], 5.0 / 6.0, EXACT);
    assert_eq!((report.regions, report.metrics[0].n_pos), (2, 5));
}

#[test]
fn the_generated_bottle_has_the_reference_values() {
    let maps = bottle(256);
    let report = pixel_metrics(&maps, &Definitions::default()).expect("clean maps");
    near_all("exact", values(&report), [0.946172, 0.620337, 0.648313, 0.867364], 5e-7);
    let scores: Vec<f64> = report.images.iter().map(|facts| facts.highest).collect();
    let labels: Vec<bool> = report.images.iter().map(|facts| facts.anomalous).collect();
    near("image_auroc", image_values(&scores, &labels, Ap::Step)[0], 0.994444, 5e-7);
    let ader = pixel_metrics(&maps, &Definitions { pro: Pro::Ader, ..Definitions::default() }).expect("clean maps");
    near("ADer's PRO", value(&ader.metrics[3]), 0.857010, 5e-7);
    assert_eq!(ader.metrics[..3], report.metrics[..3]);
}

#[test]
fn every_metric_equals_a_sweep_over_all_thresholds_when_scores_tie() {
    let mut compared = 0;
    for seed in 0..400 {
        let images = tied_images(seed, 2 + seed % 12);
        let trapezoid =
            pixel_metrics(&Memory(images.clone()), &Definitions { ap: Ap::Trapezoid, ..Definitions::default() });
        let report = measure(&images);
        if report.metrics[0].value.is_err() {
            continue;
        }
        let [auroc, ap, trapezoid_ap, f1max, pro] = Flat::new(&images).sweep();
        near_all(&format!("seed {seed}"), values(&report), [auroc, ap, f1max, pro], EXACT);
        near("trapezoid", value(&trapezoid.expect("clean images").metrics[1]), trapezoid_ap, EXACT);
        let pixels = Flat::new(&images).pixels;
        let (scores, labels): (Vec<f64>, Vec<bool>) = pixels.iter().map(|p| (f64::from(p.0), p.1)).unzip();
        let [a, b, c] = image_values(&scores, &labels, Ap::Step);
        near_all("pixels taken as images", [a, b, c, pro], [auroc, ap, f1max, pro], EXACT);
        compared += 1;
    }
    assert!(compared > 300, "{compared} cases had both kinds of pixels");
}

/// Forms, their thresholds, how far they widen, and whether rates are stretched from the least one.
const LEGACY: [(Pro, usize, usize, bool); 3] =
    [(Pro::Simplenet, 200, 2, false), (Pro::Ader, 100, 0, true), (Pro::Rd4ad, 200, 0, false)];

#[test]
fn legacy_pro_equals_its_definition_threshold_by_threshold() {
    let mut compared = 0;
    for seed in 0..60 {
        let images = tied_images(seed, 40);
        for (form, steps, radius, from_least) in LEGACY {
            let definitions = Definitions { pro: form, ..Definitions::default() };
            let report = pixel_metrics(&Memory(images.clone()), &definitions).expect("clean images");
            if report.metrics[0].value.is_err() {
                continue;
            }
            let by_hand = |images: &[Held<f32>]| legacy_by_hand(images, steps, radius, from_least);
            let anomalous = images.iter().filter(|image| image.mask.contains(&1));
            let expected = match form {
                Pro::Rd4ad => anomalous
                    .map(|image| by_hand(std::slice::from_ref(image)))
                    .collect::<Option<Vec<f64>>>()
                    .map(|values| values.iter().sum::<f64>() / values.len() as f64),
                _ => by_hand(&images),
            };
            match (report.metrics[3].value, expected) {
                (Ok(got), Some(expected)) => near(&format!("{form:?} {seed}"), got, expected, EXACT),
                (got, expected) => {
                    assert!(got.is_err() && expected.is_none(), "{seed}: {got:?}, expected {expected:?}")
                }
            }
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared} cases");
}

#[test]
fn regions_join_over_corners_and_keep_reading_order() {
    for seed in 0..200 {
        for image in tied_images(seed, 2) {
            let found = regions(&image.mask, image.width);
            let mut pixels = vec![Vec::new(); found.sizes.len()];
            for stretch in &found.stretches {
                let columns = stretch.start..stretch.end;
                pixels[stretch.region].extend(columns.map(|x| stretch.row * image.width + x));
            }
            assert_eq!(pixels, flood(&image.mask, image.width), "seed {seed}");
            let sizes: Vec<u64> = pixels.iter().map(|region| region.len() as u64).collect();
            assert_eq!(found.sizes, sizes, "seed {seed}");
        }
    }
}

#[test]
fn constant_maps_score_half_prevalence_and_fifteen_hundredths() {
    let flat = Held { scores: vec![0.7f32; 20], ..worked_example() };
    let report = measure(std::slice::from_ref(&flat));
    near_all("constant", values(&report), [0.5, 0.25, 0.4, 0.15], EXACT);
    let definitions = Definitions { pro: Pro::Ader, ..Definitions::default() };
    assert!(pixel_metrics(&Memory(vec![flat]), &definitions).expect("clean images").metrics[3].value.is_err());
}

#[test]
fn a_perfect_detector_scores_one_and_its_opposite_zero() {
    let mut image = bottle(64).0.pop().expect("an anomalous map");
    image.scores = image.mask.iter().map(|&m| f32::from(m)).collect();
    near_all("perfect", values(&measure(&[image.clone()])), [1.0; 4], EXACT);
    image.scores.iter_mut().for_each(|score| *score = -*score);
    let [auroc, _, _, pro] = values(&measure(&[image]));
    assert_eq!((auroc, pro), (0.0, 0.0));
}

#[test]
fn rising_transforms_change_nothing_and_negation_mirrors_auroc() {
    let Memory(images) = bottle(64);
    let expected = values(&measure(&images));
    let mapped = |f: &dyn Fn(f32) -> f64| -> Vec<Held<f64>> {
        let scores = |image: &Held<f32>| image.scores.iter().map(|&score| f(score)).collect();
        images.iter().map(|image| Held::new(image.width, scores(image), image.mask.clone())).collect()
    };
    for (what, transform) in [
        ("widened", &f64::from as &dyn Fn(f32) -> f64),
        ("heavy tail", &|s| (f64::from(s) * 80.0).exp()),
        ("huge range", &|s| (f64::from(s) - 0.7) * 1.6e308),
        ("tiny range", &|s| f64::from(s) * 1e-303),
        ("shifted", &|s| f64::from(s) * 1e-3 + 10.0),
    ] {
        near_all(what, values(&measure(&mapped(transform))), expected, 0.0);
    }
    let mirrored = values(&measure(&mapped(&|s| -f64::from(s))));
    near("auroc and its mirror", mirrored[0] + expected[0], 1.0, EXACT);
}

#[test]
fn negative_zero_ties_with_zero() {
    let image = |scores: Vec<f32>| Held::new(4, scores, vec![1, 1, 0, 0]);
    let signed = values(&measure(&[image(vec![0.0, -0.0, -0.0, 0.0])]));
    assert_eq!(signed, values(&measure(&[image(vec![0.0; 4])])));
}

#[test]
fn scores_that_only_f64_tells_apart_are_not_merged() {
    let image = Held::new(2, vec![1.0 + 1e-12, 1.0], vec![1, 0]);
    assert_eq!(values(&measure(&[image])), [1.0; 4]);
}

#[test]
fn a_test_set_taken_twice_gives_the_same_numbers_and_a_split_region_changes_pro_alone() {
    let images = bottle(64).0;
    let twice: Vec<_> = images.iter().chain(&images).cloned().collect();
    near_all("twice", values(&measure(&twice)), values(&measure(&images)), EXACT);
    // The same scores and truth, once as one region of three pixels, once as two regions.
    let joined = Held::new(5, vec![0.9f32, 0.1, 0.2, 0.8, 0.3], vec![1, 1, 1, 0, 0]);
    let split = Held::new(5, vec![0.9f32, 0.1, 0.8, 0.2, 0.3], vec![1, 1, 0, 1, 0]);
    let (joined, split) = (values(&measure(&[joined])), values(&measure(&[split])));
    assert_eq!(joined[..3], split[..3]);
    assert_ne!(joined[3], split[3]);
}

#[test]
fn cutting_images_along_clean_rows_changes_nothing() {
    // Image borders only matter to regions: an image cut where no defect lies is the same set of pixels and regions.
    let images: Vec<Held<f32>> = bottle(64).0;
    let mut pieces = Vec::new();
    for image in &images {
        let clean = |row: &usize| image.mask[row * image.width..][..image.width].iter().all(|&m| m == 0);
        let cut = (1..image.mask.len() / image.width).find(clean).expect("a clean row") * image.width;
        pieces.push(Held::new(image.width, image.scores[..cut].to_vec(), image.mask[..cut].to_vec()));
        pieces.push(Held::new(image.width, image.scores[cut..].to_vec(), image.mask[cut..].to_vec()));
    }
    assert_eq!(values(&measure(&pieces)), values(&measure(&images)));
}

#[test]
fn one_two_and_five_threads_give_the_same_bits() {
    let maps = bottle(128);
    for pro in [Pro::Exact, Pro::Simplenet, Pro::Ader, Pro::Rd4ad] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| pixel_metrics(&maps, &Definitions { pro, ..Definitions::default() })).expect("clean maps")
        };
        let bits = |report: PixelReport| values(&report).map(f64::to_bits);
        let one = bits(on(1));
        assert_eq!((one, one), (bits(on(2)), bits(on(5))));
    }
}

#[test]
fn a_score_that_is_no_number_is_an_error_that_names_the_first_such_image() {
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut images = bottle(64).0;
        images[40].scores[64 * 3 + 5] = broken;
        images[60].scores[0] = broken;
        let error = pixel_metrics(&Memory(images), &Definitions::default()).expect_err("a broken score").to_string();
        assert!(error.contains("picture-40") && error.contains("row 3, column 5"), "{error}");
    }
    let error =
        image_metrics(&[0.5, f64::NAN], &[true, false], &Definitions::default()).expect_err("a NaN").to_string();
    assert!(error.contains("image 1"), "{error}");
}

#[test]
fn a_mask_of_another_size_is_an_error_that_names_the_image() {
    let mut image = worked_example();
    image.mask.pop();
    let error = pixel_metrics(&Memory(vec![image]), &Definitions::default()).expect_err("a short mask").to_string();
    assert!(error.contains("picture-0") && error.contains("19 mask pixels"), "{error}");
}

#[test]
fn undefined_metrics_say_why_and_are_not_numbers() {
    let all = |metrics: &[Metric], reason| metrics.iter().all(|metric| metric.value == Err(reason));
    let blank = Held::new(5, vec![0.5f32; 20], vec![0; 20]);
    assert!(all(&measure(&[blank]).metrics, NO_POSITIVE));
    let full = Held::new(5, vec![0.5f32; 20], vec![1; 20]);
    assert!(all(&measure(&[full]).metrics, NO_NEGATIVE));
    assert!(all(&measure::<f32>(&[]).metrics, NO_POSITIVE));
    let images = image_metrics(&[0.5, 0.6], &[true, true], &Definitions::default()).expect("finite scores");
    assert!(all(&images, NO_NEGATIVE));
}

#[test]
fn an_anomalous_image_whose_mask_came_out_empty_keeps_its_label_and_is_counted() {
    let lost = Held { anomalous: true, ..Held::new(5, vec![0.01f32; 20], vec![0; 20]) };
    let report = measure(&[worked_example(), lost]);
    assert_eq!((report.empty_masks, report.regions), (1, 2));
    assert!(report.images[1].anomalous);
    assert_eq!(report.metrics[0].n_neg, 35);
}

#[test]
fn class_means_weigh_classes_alike_and_count_the_undefined() {
    let mean = class_mean([Some(0.5), None, Some(1.0)]);
    assert_eq!((mean.mean, mean.undefined), (Some(0.75), 1));
    assert_eq!(class_mean([None]).mean, None);
}

#[test]
fn every_registered_metric_is_computed_and_has_a_definition_that_follows_the_options() {
    let image = image_metrics(&[0.5], &[true], &Definitions::default()).expect("finite scores");
    let pixel = measure(&[worked_example()]);
    let computed: Vec<MetricName> = image.iter().chain(&pixel.metrics).map(|metric| metric.name).collect();
    assert_eq!(computed, MetricName::ALL);
    let other = Definitions { ap: Ap::Trapezoid, pro: Pro::Ader, ..Definitions::default() };
    for (metric, kind) in MetricName::ALL.into_iter().zip(REGISTRY) {
        assert_eq!(serde_json::to_value(metric).expect("a name"), kind.name);
        assert_eq!(metric.definition(&Definitions::default()), kind.sentence);
        let differs = metric.definition(&other) != kind.sentence;
        assert_eq!(differs, ["image_ap", "pixel_ap", "pixel_pro"].contains(&kind.name), "{}", kind.name);
    }
}
