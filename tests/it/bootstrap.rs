//! Bootstrap intervals, held against cases that can be worked out by hand and against the nominal coverage.

use std::slice::from_ref;

use dmad::metrics::bootstrap::{
    ClassValue, ImageStatistic, Interval, Paired, Resampling, ScoredClass, ScoredImage, class_interval, image_interval,
    paired_class_interval, paired_image_interval,
};
use dmad::metrics::{Ap, Definitions, MetricName, image_metrics};
use dmad::random::{Purpose, stream};

fn statistic(metric: MetricName, ap: Ap) -> ImageStatistic {
    ImageStatistic::of(metric, Definitions { ap, ..Definitions::default() }).expect("an image metric")
}

fn auroc() -> ImageStatistic {
    statistic(MetricName::ImageAuroc, Ap::Step)
}

/// Paths of images, so that tests need no storage of their own.
const PATHS: usize = 3000;

fn path(number: usize) -> &'static str {
    static NAMES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    &NAMES.get_or_init(|| (0..PATHS).map(|number| format!("{number:04}.png")).collect())[number]
}

/// One class from its anomalous and its normal scores.
fn scored(class: &'static str, seed: u64, anomalous: &[f64], normal: &[f64]) -> ScoredClass<'static> {
    let labelled = anomalous.iter().map(|&score| (true, score)).chain(normal.iter().map(|&score| (false, score)));
    let images = labelled.enumerate().map(|(i, (anomalous, score))| ScoredImage { path: path(i), anomalous, score });
    ScoredClass { class, seed, images: images.collect() }
}

/// Normal draws, anomalous ones shifted up, on a grid of `step` so that some are equal.
fn noisy(stream_number: u64, count: usize, shift: f64, step: f64) -> Vec<f64> {
    let mut values = vec![0f32; count];
    stream(7, Purpose::Synthetic, stream_number).fill_normal(&mut values, 1.0);
    values.iter().map(|&value| ((f64::from(value) + shift) / step).round() * step).collect()
}

fn resampling(resamples: usize) -> Resampling {
    Resampling { resamples, seed: 0 }
}

fn by_statistic(run: &ScoredClass, definitions: &Definitions) -> Vec<f64> {
    let scores: Vec<f64> = run.images.iter().map(|image| image.score).collect();
    let labels: Vec<bool> = run.images.iter().map(|image| image.anomalous).collect();
    let metrics = image_metrics(&scores, &labels, definitions).expect("metrics");
    metrics.iter().map(|metric| metric.value.expect("a value")).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

#[test]
fn estimates_are_the_metrics_themselves_averaged_over_seeds_and_classes() {
    let runs: Vec<ScoredClass> = [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
        .iter()
        .enumerate()
        .map(|(i, &(class, seed))| {
            scored(
                class,
                seed,
                &noisy(2 * i as u64, 20 + 5 * usize::from(class == "b"), 1.0, 0.25),
                &noisy(2 * i as u64 + 1, 30, 0.0, 0.25),
            )
        })
        .collect();
    for (index, metric) in MetricName::ALL.into_iter().take(3).enumerate() {
        let statistic = statistic(metric, Ap::Step);
        let expected = runs.iter().map(|run| by_statistic(run, &Definitions::default())[index]).sum::<f64>() / 4.0;
        let interval = image_interval(&runs, statistic, resampling(50)).expect("an interval");
        assert!(close(interval.estimate, expected), "{statistic:?}: {interval:?}, {expected}");
        assert!(interval.low < expected && expected < interval.high, "{statistic:?}: {interval:?}");
        assert_eq!(interval.n, 50 + 55);
    }
    let trapezoid = statistic(MetricName::ImageAp, Ap::Trapezoid);
    let definitions = Definitions { ap: Ap::Trapezoid, ..Definitions::default() };
    let interval = image_interval(&runs[..1], trapezoid, resampling(1)).expect("an interval");
    assert!(close(interval.estimate, by_statistic(&runs[0], &definitions)[1]));
}

#[test]
fn one_anomaly_between_forty_normals_has_the_quantiles_of_the_binomial_distribution() {
    // The anomaly wins against 20 of 40, so a resample's AUROC is Binomial(40, 1/2) / 40, whose 2.5 % and 97.5 % quantiles
    // are 14 and 26.
    let normal: Vec<f64> = (0..40).map(f64::from).collect();
    let run = scored("a", 0, &[19.5], &normal);
    let interval = image_interval(&[run], auroc(), resampling(20_000)).expect("an interval");
    assert_eq!(interval, Interval { estimate: 0.5, low: 14.0 / 40.0, high: 26.0 / 40.0, n: 41 });
}

#[test]
fn ap_of_two_anomalies_and_a_normal_between_takes_its_three_values() {
    // Anomalies at 3 and 1, normal at 2. Both draws the upper one: AP 1; one of each: (1 + 2/3) / 2 = 5/6; both the lower
    // one: precision 2/3. A quarter, a half, a quarter of the resamples.
    let run = scored("a", 0, &[3.0, 1.0], &[2.0]);
    let interval =
        image_interval(&[run], statistic(MetricName::ImageAp, Ap::Step), resampling(4000)).expect("an interval");
    assert!(close(interval.estimate, 5.0 / 6.0) && close(interval.low, 2.0 / 3.0) && close(interval.high, 1.0));
}

#[test]
fn intervals_cover_the_true_auroc_about_as_often_as_they_say() {
    // Scores N(1, 1) against N(0, 1): the true AUROC is Φ(1/√2).
    let truth = 0.760_249_938_9;
    let covered = (0..300)
        .filter(|&trial| {
            let run = scored("a", 0, &noisy(2 * trial, 60, 1.0, 1e-9), &noisy(2 * trial + 1, 60, 0.0, 1e-9));
            let interval = image_interval(&[run], auroc(), resampling(400)).expect("an interval");
            interval.low <= truth && truth <= interval.high
        })
        .count();
    // 95 % of 300 is 285; four standard deviations of chance and the known shortfall of percentile intervals.
    assert!((268..=299).contains(&covered), "{covered} of 300");
}

#[test]
fn a_difference_on_the_same_images_is_known_better_than_either_number() {
    let (anomalous, normal) = (noisy(0, 50, 1.0, 1e-9), noisy(1, 50, 0.0, 1e-9));
    let nudged: Vec<f64> = anomalous.iter().map(|score| score + 0.1).collect();
    let (first, second) = (scored("a", 0, &nudged, &normal), scored("a", 0, &anomalous, &normal));
    let width = |interval: Interval| interval.high - interval.low;
    let alone = image_interval(from_ref(&second), auroc(), resampling(2000)).expect("one");
    let paired = paired_image_interval(from_ref(&first), from_ref(&second), auroc(), resampling(2000));
    let Paired { interval, left_out } = paired.expect("a difference");
    assert_eq!(left_out, 0);
    assert!(interval.low > 0.0 && width(interval) < width(alone) / 3.0, "{interval:?} {alone:?}");
    let back = paired_image_interval(from_ref(&second), from_ref(&first), auroc(), resampling(2000)).expect("back");
    assert!(close(back.interval.low, -interval.high) && close(back.interval.estimate, -interval.estimate));
    let none = paired_image_interval(from_ref(&second), from_ref(&second), auroc(), resampling(100)).expect("none");
    assert_eq!(none.interval, Interval { estimate: 0.0, low: 0.0, high: 0.0, n: 100 });
}

#[test]
fn images_that_one_method_has_seen_are_left_out_of_the_difference() {
    let (anomalous, normal) = (noisy(4, 30, 1.0, 0.1), noisy(5, 30, 0.0, 0.1));
    let all = scored("a", 0, &anomalous, &normal);
    let mut fewer = all.clone();
    fewer.images.drain(..10);
    fewer.images.reverse();
    let paired = paired_image_interval(&[all], &[fewer.clone()], auroc(), resampling(500)).expect("paired");
    assert_eq!(paired.left_out, 10);
    assert_eq!(paired.interval, Interval { estimate: 0.0, low: 0.0, high: 0.0, n: 50 });
}

#[test]
fn seeds_that_saw_different_anomalies_share_the_draws_of_all_images() {
    let (anomalous, normal) = (noisy(6, 20, 1.0, 0.1), noisy(7, 30, 0.0, 0.1));
    let seeds: Vec<ScoredClass> = (0..3)
        .map(|seed| {
            let mut run = scored("a", seed, &anomalous, &normal);
            run.images.drain(5 * seed as usize..5 * seed as usize + 5);
            run
        })
        .collect();
    let interval = image_interval(&seeds, auroc(), resampling(500)).expect("an interval");
    let expected = seeds.iter().map(|run| by_statistic(run, &Definitions::default())[0]).sum::<f64>() / 3.0;
    assert!(close(interval.estimate, expected) && interval.low < expected && expected < interval.high);
    assert_eq!(interval.n, 50);
    // One image each, and not the same: a resample has each of them only by chance, and never none of them.
    let (mut left, mut right) = (scored("a", 0, &[2.0, 1.0], &[0.0]), scored("a", 1, &[2.0, 1.0], &[0.0]));
    left.images.remove(0);
    right.images.remove(1);
    let interval = image_interval(&[left, right], auroc(), resampling(200)).expect("an interval");
    assert_eq!((interval.low, interval.high), (1.0, 1.0));
}

#[test]
fn another_class_does_not_change_the_draws_of_a_class() {
    let run = scored("a", 0, &noisy(8, 25, 0.7, 0.1), &noisy(9, 35, 0.0, 0.1));
    let perfect = scored("b", 0, &[2.0, 3.0], &[0.0, 1.0]);
    let alone = image_interval(from_ref(&run), auroc(), resampling(999)).expect("one class");
    let both = image_interval(&[perfect, run], auroc(), resampling(999)).expect("two classes");
    assert!(close(both.low, (1.0 + alone.low) / 2.0) && close(both.high, (1.0 + alone.high) / 2.0));
    let other = image_interval(
        &[scored("a", 0, &noisy(8, 25, 0.7, 0.1), &noisy(9, 35, 0.0, 0.1))],
        auroc(),
        Resampling { resamples: 999, seed: 1 },
    );
    assert_ne!(other.expect("another seed"), alone);
}

#[test]
fn intervals_do_not_depend_on_threads_or_on_the_order_of_images_and_runs() {
    let runs: Vec<ScoredClass> = [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
        .iter()
        .map(|&(class, seed)| scored(class, seed, &noisy(seed, 40, 1.0, 0.1), &noisy(10 + seed, 60, 0.0, 0.1)))
        .collect();
    let mut turned = runs.clone();
    turned.reverse();
    turned.iter_mut().for_each(|run| run.images.reverse());
    let compute = |threads: usize, runs: &[ScoredClass]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            image_interval(runs, statistic(MetricName::ImageAp, Ap::Step), resampling(400)).expect("an interval")
        })
    };
    let expected = compute(1, &runs);
    for threads in [2, 5] {
        assert_eq!(compute(threads, &runs), expected);
        assert_eq!(compute(threads, &turned), expected);
    }
}

fn values(table: &[(&'static str, u64, f64)]) -> Vec<ClassValue<'static>> {
    table.iter().map(|&(class, seed, value)| ClassValue { class, seed, value }).collect()
}

#[test]
fn classes_and_seeds_are_resampled_where_images_cannot_be() {
    let two = values(&[("a", 0, 0.0), ("b", 0, 1.0)]);
    let interval = class_interval(&two, resampling(2000)).expect("values").expect("two classes");
    assert_eq!(interval, Interval { estimate: 0.5, low: 0.0, high: 1.0, n: 2 });
    // Forty seeds of one class, half of them 1: Binomial(40, 1/2) / 40 again.
    let seeds: Vec<ClassValue> =
        (0..40).map(|seed| ClassValue { class: "a", seed, value: (seed % 2) as f64 }).collect();
    let interval = class_interval(&seeds, resampling(20_000)).expect("values").expect("forty seeds");
    assert_eq!(interval, Interval { estimate: 0.5, low: 0.35, high: 0.65, n: 40 });
    assert_eq!(class_interval(&two[..1], resampling(10)).expect("values"), None);
    // Classes differ much, the difference does not: paired, it is known exactly.
    let better = values(&[("a", 0, 0.75), ("a", 1, 0.5), ("b", 0, 1.0), ("b", 1, 0.25)]);
    let than: Vec<ClassValue> = better.iter().map(|v| ClassValue { value: v.value - 0.125, ..*v }).collect();
    let paired = paired_class_interval(&better, &than, resampling(300)).expect("values").expect("a difference");
    assert_eq!(paired, Interval { estimate: 0.125, low: 0.125, high: 0.125, n: 4 });
    assert_eq!(paired.times(100.0), Interval { estimate: 12.5, low: 12.5, high: 12.5, n: 4 });
}

#[test]
fn what_cannot_be_resampled_is_refused_by_name() {
    let good = || scored("a", 0, &[2.0], &[1.0]);
    let fault =
        |runs: &[ScoredClass]| image_interval(runs, auroc(), resampling(5)).expect_err("no interval").to_string();
    let other = |class, seed| scored(class, seed, &[2.0], &[1.0]);
    assert_eq!(fault(&[]), "there is no class to resample");
    assert!(fault(&[good(), good()]).contains("class a is there twice with seed 0"));
    assert!(fault(&[good(), other("a", 1), other("b", 1)]).contains("class b has no run with seed 0"));
    assert!(fault(&[scored("a", 0, &[2.0], &[])]).contains("class a: a run has only anomalous or only normal images"));
    assert!(fault(&[scored("a", 0, &[f64::NAN], &[1.0])]).contains("class a: the score of 0000.png is NaN"));
    let mut twice = good();
    twice.images.push(twice.images[0]);
    assert!(fault(&[twice]).contains("class a: an image is there twice"));
    let mut relabelled = other("a", 1);
    relabelled.images[1].anomalous = true;
    assert!(fault(&[good(), relabelled]).contains("0001.png is normal in one run and anomalous in another"));
    let unpaired = paired_image_interval(&[good()], &[other("a", 1)], auroc(), resampling(5));
    assert!(
        unpaired.expect_err("no pair").to_string().contains("class a with seed 0 is there for one of the two only")
    );
    let infinite = class_interval(&values(&[("a", 0, f64::INFINITY)]), resampling(5));
    assert!(infinite.expect_err("no value").to_string().contains("class a with seed 0 is inf"));
}
