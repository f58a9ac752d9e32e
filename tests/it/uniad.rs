//! UniAD as a whole: what training on two classes does, and what has no part in it.

use std::path::{Path, PathBuf};

use dmad::data::{ClassSplit, evaluation_mask};
use dmad::spec::{Experiment, MaskResize};
use serde_json::Value as Json;

use crate::lab::{Lab, study as small, with};

/// Losses of the epochs of a run's training, in order.
fn losses(run: &Path) -> Vec<f64> {
    let log = std::fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let stages = log.lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    let training = stages.into_iter().find(|stage| stage["kind"] == "training").expect("a training");
    let epochs = training["note"]["epochs"].as_array().expect("epochs");
    epochs.iter().map(|epoch| epoch["loss"].as_f64().expect("a loss")).collect()
}

/// Losses and metrics (mean over the classes) of a study.
fn outcome(lab: &Lab, name: &str, text: &str) -> (Vec<f64>, impl Fn(&str) -> f64 + use<>) {
    let (experiment, summary) = lab.run(name, text);
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let run = lab.results(&experiment).join("runs").join(&experiment.runs[0].spec.id);
    let metrics = lab.recorded(&experiment).metrics;
    let mean = move |metric: &str| {
        let row = metrics.iter().find(|row| row.class == "mean" && row.metric == metric);
        row.and_then(|row| row.value).unwrap_or_else(|| panic!("no {metric}"))
    };
    (losses(&run), mean)
}

/// Files of trained models.
fn models(lab: &Lab) -> Vec<PathBuf> {
    let artifacts = std::fs::read_dir(lab.store().join("training")).expect("a folder");
    let paths = artifacts.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")).collect()
}

/// Enough to learn something of 16 images of 64 pixels in a second or two.
fn study() -> String {
    with(
        &small("uniad"),
        &[
            ("backbone.layers", "[\"stride4\", \"stride8\"]"),
            ("features", "{ aggregation = \"concat_deepest\" }"),
            ("method.network", "{ hidden = 32, heads = 4, feed_forward = 64, encoder_layers = 2, decoder_layers = 2 }"),
            ("method.train", "{ epochs = 60, batch = 4, lr = 3e-3 }"),
        ],
    )
}

/// By class: mean distance to its reconstruction of the token under each defective pixel, and of that under each other.
fn token_errors(lab: &Lab, experiment: &Experiment) -> Vec<(String, [f64; 2])> {
    let (recorded, geometry) = (lab.recorded(experiment), &experiment.runs[0].spec.image);
    let of_class = |class: &ClassSplit| {
        let truth = class.truth.images();
        let ([images, rows, columns], scores) = recorded.runs[0].patch_scores(&class.name).expect("scores");
        assert_eq!((images, rows), (truth.len(), columns));
        let (side, patch) = (geometry.size, geometry.size / rows);
        let (mut sums, mut counts) = ([0.0; 2], [0.0; 2]);
        for (labelled, tokens) in truth.iter().zip(scores.chunks(rows * columns)) {
            let mask = evaluation_mask(labelled, geometry, side, MaskResize::Nearest).expect("a mask");
            for (pixel, &defect) in mask.data.iter().enumerate() {
                let token = pixel / side / patch * columns + pixel % side / patch;
                sums[usize::from(!defect)] += f64::from(tokens[token]);
                counts[usize::from(!defect)] += 1.0;
            }
        }
        (class.name.clone(), [sums[0] / counts[0], sums[1] / counts[1]])
    };
    lab.split(experiment).classes.iter().map(of_class).collect()
}

#[test]
fn training_lowers_the_loss_and_rebuilds_normal_tokens_better_than_defects() {
    let lab = Lab::new();
    let (losses, trained) = outcome(&lab, "trained", &study());
    assert_eq!(losses.len(), 60);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&losses[50..]) < 0.6 * mean(&losses[..5]), "{losses:?}");
    let errors = token_errors(&lab, &lab.run("trained", &study()).0);
    assert_eq!(errors.len(), 2);
    for (class, [defect, normal]) in errors {
        assert!(normal > 0.0 && defect > 1.02 * normal, "{class}: {defect} on defects, {normal} elsewhere");
    }
    assert!(trained("pixel_auroc") > 0.62, "pixel AUROC {}", trained("pixel_auroc"));
    let (none, untrained) = outcome(&lab, "untrained", &with(&study(), &[("method.train.epochs", "0")]));
    assert_eq!(none, Vec::<f64>::new());
    assert!(trained("pixel_auroc") > untrained("pixel_auroc") + 0.1, "untrained {}", untrained("pixel_auroc"));
}

#[test]
fn seen_anomalies_have_no_part_in_training() {
    let lab = Lab::new();
    let short = with(&study(), &[("method.train.epochs", "2")]);
    let (first, _) = outcome(&lab, "unseen", &short);
    let (second, _) = outcome(&lab, "seen", &with(&short, &[("protocol.seen.count", "2")]));
    assert_eq!(first, second);
    assert_eq!(models(&lab).len(), 1, "both runs share one model");
}

#[test]
fn a_model_is_the_same_bytes_with_1_2_and_5_threads() {
    let text = with(&study(), &[("method.train.epochs", "2"), ("method.train.batch", "5")]);
    let model = |threads: usize| {
        let lab = Lab::new();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let (_, summary) = pool.install(|| lab.run("model", &text));
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        let [model] = models(&lab).try_into().expect("one model");
        std::fs::read(model).expect("a model")
    };
    let first = model(1);
    for threads in [2, 5, 2] {
        assert!(model(threads) == first, "{threads} threads give other bytes");
    }
}

#[test]
fn a_mask_that_hides_everything_is_an_error_that_says_so() {
    let lab = Lab::new();
    let text = with(&small("uniad"), &[("method.mask.size", "9")]);
    let message = lab.try_run("blind", &text).map(|_| ()).expect_err("before any work").to_string();
    assert!(message.contains("9 × 9") && message.contains("8 × 8"), "{message}");
}
