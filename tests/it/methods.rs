//! What all methods have in common: the registry, and how patch scores become maps.

use dmad::methods::{METHODS, Scoring, Select};

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
