//! Files that change between the look that a key is made of and the moment when they are decoded.

use crate::program::Sandbox;
use dmad::data::{Catalog, Digests, Image, Listed, Source, training_mask};
use dmad::device::{DeviceName, Precision};
use dmad::run::{self, Event, Options, Progress, Resources, Session, Summary};
use dmad::spec::{Geometry, load};
use std::fs;

#[test]
fn an_image_or_a_mask_that_has_changed_since_it_was_listed_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let at = |name: &str| Image::at(&sandbox.path(&format!("data/parts/disc/{name}")));
    let (image, other, mask) = (at("test/cut/000.png"), at("test/cut/001.png"), at("ground_truth/cut/000_mask.png"));
    let mut digests = Digests::open(None);
    let listed = Listed::new(&[other.clone(), image.clone()], &mut digests).unwrap();
    let content = digests.of([&mask]).unwrap()[0];
    let source = Source::File(mask.place().into());
    let seen = || training_mask(&image, &source, Some(&content), &Geometry { size: 64, ..Geometry::default() });
    assert!(listed.load(0).is_ok() && listed.load(1).is_ok() && seen().is_ok());
    fs::copy(other.place(), image.place()).unwrap();
    sandbox.mask("data/parts/disc/ground_truth/cut/000_mask.png", 64, false);
    for (fault, name) in [(listed.load(1).unwrap_err(), "cut/000.png"), (seen().unwrap_err(), "cut/000_mask.png")] {
        let (said, help) = (fault.to_string(), fault.help().unwrap_or_default());
        assert!(said.contains(name) && said.contains("changed while") && help.contains("run again"), "{said}: {help}");
    }
    assert!(listed.load(0).is_ok());
}

/// Runs the sandbox's study; `hear` is told of everything that happens.
fn study(sandbox: &Sandbox, hear: impl Fn(&Event) + Send + Sync + 'static) -> Summary {
    let resources = Resources {
        data: sandbox.path("data"),
        weights: sandbox.path("weights"),
        results: sandbox.path("results"),
        store: sandbox.path("store"),
        device: DeviceName::default(),
        precision: Precision::F32,
        device_memory_bytes: None,
        memory_bytes: 1 << 30,
        jobs: 1,
    };
    let catalog = Catalog::load(Some(&sandbox.path("datasets.toml"))).unwrap();
    let session = Session::open(resources, catalog, Progress::silent().heard_by(hear)).unwrap();
    let experiment = load(&sandbox.path("experiment.toml"), &dmad::report::kinds(), &[]).unwrap();
    let needs = run::check(&session, &experiment, &experiment.runs).unwrap();
    run::experiment(&session, &experiment, &experiment.runs, needs.expected, &Options::default()).unwrap()
}

#[test]
fn a_study_whose_image_or_mask_changes_fails_by_name_and_keeps_nothing_of_it() {
    let undisturbed = Sandbox::new();
    study(&undisturbed, |_| ());
    let metrics = |sandbox: &Sandbox| fs::read(sandbox.path("results/experiment/metrics.csv")).unwrap();
    // Which of the anomalies is tested is drawn: all masks change.
    let masks = ["ground_truth/cut/000_mask.png", "ground_truth/cut/001_mask.png", "ground_truth/cut/002_mask.png"];
    for (stage, names) in [("plate test features", &["test/good/001.png"][..]), ("evaluation", &masks)] {
        let sandbox = Sandbox::new();
        let at = |name: &str| sandbox.path(&format!("data/parts/plate/{name}"));
        let before: Vec<_> = names.iter().map(|name| (at(name), fs::read(at(name)).unwrap())).collect();
        let (changed, bytes) = (before.clone(), fs::read(at("test/cut/001.png")).unwrap());
        let summary = study(&sandbox, move |event| {
            if matches!(event, Event::Stage { label, .. } if label == stage) {
                changed.iter().for_each(|(path, _)| fs::write(path, &bytes).unwrap());
            }
        });
        let message = &summary.failed.first().unwrap_or_else(|| panic!("{stage}: nothing failed")).message;
        assert!(
            message.contains("plate") && message.contains(".png") && message.contains("changed while"),
            "{message}"
        );
        before.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        assert_eq!(study(&sandbox, |_| ()).done, 1, "{stage}");
        assert_eq!(metrics(&sandbox), metrics(&undisturbed), "{stage}");
    }
}
