//! A dataset that labels images and has no masks, through the whole program: image metrics have values, pixel metrics say why
//! they have none.

use crate::program::{Sandbox, finished};

const REASON: &str = "the dataset labels images, not pixels: an anomaly has no mask";

/// A sandbox with cells in ELPV's layout and a study of them.
fn cells() -> Sandbox {
    let sandbox = Sandbox::new();
    let catalog = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("a catalog");
    sandbox.write("datasets.toml", format!("{catalog}\n[dataset.cells]\nlayout = \"elpv\"\nroot = \"cells\"\n"));
    let mut labels = String::new();
    for (number, class) in ["mono", "poly"].into_iter().enumerate() {
        for image in 0..9 {
            let (path, defect) = (format!("images/cell{number}{image}.png"), image > 5);
            sandbox.picture(&format!("data/cells/{path}"), (100 * number + image) as u32, defect);
            labels += &format!("{path}  {}  {class}\n", if defect { "1.0" } else { "0.0" });
        }
    }
    sandbox.write("data/cells/labels.csv", labels);
    let text = sandbox.edit(&[("dataset = \"parts\"", "dataset = \"cells\""), ("seen.count = 1", "seen.count = 0")]);
    let shown = "\n[[table]]\nrows = \"class\"\ncolumns = [\"variant\"]\n\n[[figure]]\nkind = \"maps\"\n";
    sandbox.write("experiment.toml", format!("{text}{shown}"));
    sandbox
}

#[test]
fn without_masks_image_metrics_have_values_and_pixel_metrics_say_why_they_have_none() {
    let sandbox = cells();
    sandbox.dmad(&["data", "verify", "cells"]).says(0, &[]);
    let out = sandbox.dmad(&["run", "experiment.toml", "--data", "data"]);
    out.says(0, &[]);
    assert_eq!(finished(&out.events), (1, 0));
    assert!(out.stdout.contains("undefined") && out.stdout.contains(REASON), "{}", out.stdout);
    let results = sandbox.path("results/experiment");
    let recorded = dmad::record::read_experiment(&results, &dmad::report::kinds()).unwrap_or_else(|e| panic!("{e}"));
    for row in &recorded.metrics {
        let pixel = row.metric.starts_with("pixel_");
        assert_eq!(row.value.is_none(), pixel, "{} of {}: {:?}", row.metric, row.class, row.value);
        assert_eq!(row.error, if pixel { REASON } else { "" }, "{} of {}", row.metric, row.class);
    }
    assert!(recorded.metrics.iter().any(|row| row.metric == "pixel_pro" && row.class == "mean"));
    let read = |name: &str| std::fs::read_to_string(results.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let csv = read("tables/table1.csv");
    for class in ["mono", "poly", "mean"] {
        let cell = csv.lines().find(|line| line.starts_with(&format!("\"{class}\"")) && line.contains("pixel_auroc"));
        assert!(cell.is_some_and(|cell| cell.contains(",,,0,") && cell.contains(REASON)), "{csv}");
    }
    for name in ["tables/table1.md", "report.html"] {
        assert!(read(name).contains(&format!("undefined: {REASON}")), "{name}");
    }
    // No label says where: there is no outline to show, and no defect in place of one.
    let images = recorded.runs[0].images().expect("images");
    assert_eq!(images.iter().filter(|image| image.label).count(), 6);
    assert!(results.join("figures/figure1.svg").is_file());
    let again = sandbox.dmad(&["run", "experiment.toml", "--data", "data"]);
    assert_eq!(finished(&again.events), (0, 1), "a record without pixel metrics is up to date as others are");
}

#[test]
fn training_with_seen_anomalies_wants_masks_and_says_so() {
    let sandbox = cells();
    let out = sandbox.dmad(&["run", "experiment.toml", "--data", "data", "--set", "protocol.seen.count=1"]);
    assert_ne!(out.code, 0);
    for word in ["a seen anomaly needs a mask", "protocol.seen.count = 0"] {
        assert!(out.stderr.contains(word), "{}", out.stderr);
    }
}
