//! Whole methods on real images and weights against an independent implementation in another framework.

use std::path::Path;

use dmad::record::read_experiment;
use dmad::report::kinds;
use serde_json::Value as Json;

use crate::program::{Sandbox, finished};
use crate::util;

/// Two points, or two deviations of what is compared. The two sides draw differently, so their numbers are of one distribution
/// and not equal: one run of ours less a mean of three of theirs deviates by √(1 + 1/3) of what a run does, and `deviation`
/// is that of a run (n − 1, over their seeds).
fn tolerance(deviation: f64) -> f64 {
    (2.0 * deviation * (4.0f64 / 3.0).sqrt()).max(0.02)
}

/// Differences of the recorded metrics of a variant to the reference's row that are beyond the tolerance; `class` says of
/// which classes, "mean" being that over all of them.
fn beyond(results: &Path, variant: &str, reference: &Json, class: impl Fn(&str) -> bool) -> Vec<String> {
    let recorded = read_experiment(results, &kinds()).unwrap_or_else(|e| panic!("{e}"));
    let (mut compared, mut faults) = (0, Vec::new());
    for (name, metrics) in reference.as_object().expect("classes").iter().filter(|(name, _)| class(name)) {
        for (metric, expected) in metrics.as_object().expect("metrics") {
            let own: Vec<f64> = recorded
                .metrics
                .iter()
                .filter(|row| row.variant == variant && row.class == *name && row.metric == *metric)
                .map(|row| row.value.unwrap_or_else(|| panic!("no {metric} of {variant} {name}")))
                .collect();
            assert!(!own.is_empty(), "no {metric} of {variant} {name}");
            let own = own.iter().sum::<f64>() / own.len() as f64;
            let [mean, deviation] = ["mean", "sd"].map(|part| expected[part].as_f64().expect("a number"));
            compared += 1;
            if (own - mean).abs() > tolerance(deviation) {
                faults.push(format!("{variant} {name} {metric}: {own}, not {mean} ± {}", tolerance(deviation)));
            }
        }
    }
    assert!(compared >= 3, "{variant}: {compared} numbers compared");
    faults
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs DMAD_DATA, DMAD_WEIGHTS and DMAD_ORACLES")]
fn patchcore_and_dmad_agree_with_an_independent_implementation_on_real_images() {
    let sandbox = Sandbox::new();
    let reference = util::json(&util::oracles().join("mini_reference.json"));
    let rows = &reference["rows"];
    let (data, weights) = (util::data(), util::weights());
    let (results, store) = (sandbox.path("results"), sandbox.path("store"));
    for (variant, seeds) in [("patchcore", "0"), ("full", "0,1,2")] {
        let paths = [("--data", &data), ("--weights", &weights), ("--results", &results), ("--store", &store)];
        let mut arguments = vec!["run", "experiments/real/rivals.toml", "--only", variant, "--seeds", seeds];
        arguments.extend(paths.iter().flat_map(|(name, path)| [*name, path.to_str().expect("UTF-8")]));
        let run = sandbox.dmad_at(Path::new(env!("CARGO_MANIFEST_DIR")), &arguments);
        let runs = seeds.split(',').count();
        assert_eq!((run.code, finished(&run.events)), (0, (runs, 0)), "{}", run.stderr);
    }
    let results = results.join("rivals");
    // PatchCore draws ten start rows and nothing else: every class is compared. DMAD's classes move together with its one
    // model, and how far, three seeds tell badly for a single class: the means over classes, and over seeds, are compared.
    let mut faults = beyond(&results, "patchcore", &rows["patchcore"], |_| true);
    faults.extend(beyond(&results, "full", &rows["dmad_k0"], |class| class == "mean"));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
