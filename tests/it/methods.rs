//! What all methods have in common: the registry, and how patch scores become maps.

use dmad::methods::{METHODS, Scoring, Select};
use dmad::run::Event;

use crate::lab::{Lab, study, with};

#[test]
fn what_is_certain_to_fail_is_refused_before_any_work() {
    let few = [("method.train.batch", "9"), ("method.train.drop_last", "true")];
    for (method, settings, what, help) in [
        ("bgad", &few[..], "8 normal images make no batch of 9", "method.train.batch"),
        ("simplenet", &few, "8 training images make no step of 9", "method.train.batch"),
        (
            "patchcore",
            &[("method.score.neighbours", "400")],
            "400 neighbours are wanted of a bank of",
            "score.neighbours",
        ),
        ("patchcore", &[("method.score.reweight", "400")], "400 neighbours are wanted of a bank of", "score.reweight"),
        ("anomalydino", &[("method.score.neighbours", "999")], "999 neighbours are wanted", "method.bank.shots"),
    ] {
        let lab = Lab::new();
        let Err(fault) = lab.try_run("study", &with(&study(method), settings)) else { panic!("{method} was begun") };
        let said = format!("{fault} {}", fault.help().unwrap_or_default());
        assert!(said.contains(what) && said.contains(help), "{method}: {said}");
        assert!(!lab.heard().iter().any(|event| matches!(event, Event::Computed { .. })), "{method}: work had begun");
    }
}

#[test]
fn every_stage_of_every_method_is_listed_with_its_method() {
    for entry in METHODS {
        assert!(entry.stages.iter().all(|stage| stage.method == entry.kind.name), "{}", entry.kind.name);
        assert!(entry.stages.iter().any(|stage| stage.kind == "scores"), "{}", entry.kind.name);
    }
}

#[test]
fn maps_are_enlarged_as_the_method_says_and_smoothed() {
    let scoring =
        |align_corners, sigma| Scoring { top_k: 1, sigma, align_corners, select: Select::Last, ..Scoring::default() };
    let patches = [0.0, 3.0, 6.0, 9.0];
    let row = |align_corners| scoring(align_corners, 0.0).map(&patches, (2, 2), (4, 4))[..4].to_vec();
    assert_eq!(row(true), [0.0, 1.0, 2.0, 3.0], "corners are patches");
    assert_eq!(row(false), [0.0, 0.75, 2.25, 3.0], "patches are areas");
    assert_ne!(scoring(true, 1.0).map(&patches, (2, 2), (4, 4))[..4], row(true), "smoothed");
}
