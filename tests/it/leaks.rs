//! Test images that are training images, and images that are passed over, are said wherever numbers are made or checked.

use crate::program::Sandbox;

#[test]
fn a_test_image_that_is_a_training_image_labels_its_run_and_is_a_fault_of_the_dataset() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["data", "verify", "parts"]).says(0, &[]);
    let train = std::fs::read(sandbox.path("data/parts/disc/train/good/001.png")).expect("a picture");
    sandbox.write("data/parts/disc/test/good/000.png", &train);
    for deep in [&[][..], &["--deep"]] {
        let out = sandbox.dmad(&[&["data", "verify", "parts"], deep].concat());
        assert_eq!(out.code, 1, "{}", out.stdout);
        for words in ["1 fault", "disc/test/good/000.png", "content of training image disc/train/good/001.png"] {
            assert!(out.stdout.contains(words), "{words:?} is not in {}", out.stdout);
        }
    }
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    out.says(0, &["1 runs done"]);
    assert!(out.stdout.contains("1 test image is a training image"), "{}", out.stdout);
    // Of another class as well.
    sandbox.write("data/parts/plate/test/good/001.png", &train);
    let out = sandbox.dmad(&["run", "experiment.toml"]);
    assert!(out.stdout.contains("2 test images are training images"), "{}", out.stdout);
    let csv = sandbox.dmad(&["runs", "list", "--format", "json"]).stdout;
    assert!(csv.contains("2 test images are training images"), "{csv}");
}

#[test]
fn images_of_formats_that_are_not_read_are_named_by_verify_plan_and_run() {
    let sandbox = Sandbox::new();
    for name in ["005.avif", "006.GIF"] {
        sandbox.write(&format!("data/parts/disc/train/good/{name}"), "an image for others");
    }
    let words =
        "parts: 2 images are passed over, since their format is not read, such as data/parts/disc/train/good/005";
    for command in [&["data", "verify", "parts"][..], &["plan", "experiment.toml"]] {
        let out = sandbox.dmad(command);
        assert!(out.code == 0 && out.stdout.contains(words), "{command:?}: {}", out.stdout);
    }
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[words]);
}
