//! `dmad submission`: every file that the server of MVTec AD 2 wants, in its form, and what it would refuse.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dmad::export::mvtec_ad_2::{CLASSES, SETS, Sizes, above, check, factor, places, tiff};
use half::f16;
use image::{Rgb, RgbImage};
use tiff::decoder::{Decoder, DecodingResult};

use crate::program::{EXPERIMENT, Sandbox};

/// A picture of any size with a pattern of `seed`.
fn picture(path: &Path, (width, height): (u32, u32), seed: u32, defect: bool) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let noise = ((x * 31 + y * 17 + seed * 101).wrapping_mul(2_654_435_761) >> 27) as u8;
        let bar = defect && (16..40).contains(&x) && (12..24).contains(&y);
        if bar { Rgb([250, 240, 10]) } else { Rgb([110 + noise, 90 + noise, 70 + noise]) }
    });
    picture.save(path).expect("a picture");
}

/// Two classes in the layout, the private images of another size than the others.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let catalog = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("a catalog");
    sandbox.write("datasets.toml", format!("{catalog}\n[dataset.ad2]\nlayout = \"mvtec2\"\nroot = \"ad2\"\n"));
    for (number, class) in ["can", "rice"].into_iter().enumerate() {
        let of = |folder: &str, count: u32, size: (u32, u32), ending: &str, defect: bool| {
            for image in 0..count {
                let path = sandbox.path(&format!("data/ad2/{class}/{folder}/{image:03}_{ending}.png"));
                let seed = 100 * number as u32 + 10 * folder.len() as u32 + image;
                picture(&path, size, seed, defect);
            }
        };
        of("train/good", 4, (64, 64), "regular", false);
        of("validation/good", 2, (64, 64), "regular", false);
        of("test_public/good", 2, (64, 64), "regular", false);
        of("test_public/bad", 2, (64, 64), "regular", true);
        of("test_private", 2, (64, 64), "regular", true);
        of("test_private_mixed", 2, (96, 48), "mixed", true);
        for image in 0..2 {
            let mask = format!("data/ad2/{class}/test_public/ground_truth/bad/{image:03}_regular_mask.png");
            sandbox.mask(&mask, 64, true);
        }
    }
    sandbox.write("experiment.toml", study());
    sandbox
}

fn study() -> String {
    EXPERIMENT.replace("dataset = \"parts\"", "dataset = \"ad2\"").replace("seen.count = 1", "seen.count = 0")
}

/// The ids of the runs that are recorded, in the order of the experiment.
fn ids(sandbox: &Sandbox) -> Vec<String> {
    let folder = sandbox.path("results/experiment");
    let recorded = dmad::record::read_experiment(&folder, &dmad::report::kinds()).unwrap_or_else(|e| panic!("{e}"));
    recorded.runs.iter().map(|run| run.id.clone()).collect()
}

/// All files below a folder, by their path in it.
fn files(folder: &Path, below: &Path, out: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(below).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            files(folder, &path, out);
        } else {
            out.push(path.strip_prefix(folder).expect("below").to_path_buf());
        }
    }
}

/// Scores of a TIFF of 16-bit floats in one channel, read by another's reader, with width and height.
fn scores(path: &Path) -> (Vec<f32>, (u32, u32)) {
    let mut decoder = Decoder::new(std::fs::File::open(path).expect("a file")).expect("a TIFF");
    assert_eq!(decoder.colortype().expect("a type"), tiff::ColorType::Gray(16));
    let size = decoder.dimensions().expect("a size");
    match decoder.read_image().expect("scores") {
        DecodingResult::F16(values) => (values.into_iter().map(f16::to_f32).collect(), size),
        _ => panic!("{} holds no 16-bit floats", path.display()),
    }
}

/// The pixels of an 8-bit grey PNG.
fn binary(path: &Path) -> (Vec<u8>, (u32, u32)) {
    match image::open(path).expect("a picture") {
        image::DynamicImage::ImageLuma8(image) => (image.as_raw().clone(), image.dimensions()),
        other => panic!("{} is {:?}", path.display(), other.color()),
    }
}

/// The threshold that was used of each class.
fn thresholds(out: &str) -> BTreeMap<String, f64> {
    let json: serde_json::Value = serde_json::from_str(out).unwrap_or_else(|fault| panic!("{fault}: {out}"));
    let classes = json["classes"].as_array().expect("classes").iter();
    classes
        .map(|class| (class["class"].as_str().expect("a name").into(), class["threshold"].as_f64().expect("a number")))
        .collect()
}

#[test]
fn every_private_image_has_its_scores_and_its_binary_map_in_its_own_size_and_what_is_missing_is_said() {
    let sandbox = sandbox();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[]);
    let id = ids(&sandbox).remove(0);
    let submit =
        |arguments: &[&str]| sandbox.dmad(&[&["submission", "--run", &id, "--format", "json"], arguments].concat());
    // The images are two of each set, where the server has hundreds, and six classes are not there.
    let out = submit(&["--out", "sent"]);
    out.says(1, &["can/test_private has 2 of the 321 images", "walnuts/test_private_mixed has 0 of the 228 images"]);
    assert!(!out.stderr.contains("is missing") && !out.stderr.contains("is no "), "{}", out.stderr);
    let folder = sandbox.path("sent");
    let mut there = Vec::new();
    files(&folder, &folder, &mut there);
    there.sort();
    let mut expected = Vec::new();
    for class in ["can", "rice"] {
        for (set, ending) in SETS {
            let images = (0..2).map(|image| format!("{class}/{set}/{image:03}_{ending}"));
            expected.extend(images.flat_map(|image| places(Path::new(""), &image)));
        }
    }
    expected.sort();
    assert_eq!(there, expected);
    let used = thresholds(&out.stdout);
    for path in expected.iter().filter(|path| path.extension().is_some_and(|ending| ending == "tiff")) {
        let (scores, size) = scores(&folder.join(path));
        let text = path.to_str().expect("UTF-8");
        assert_eq!(size, if text.contains("mixed") { (96, 48) } else { (64, 64) }, "{text}");
        assert_eq!(scores.len(), (size.0 * size.1) as usize);
        let place = text.replace("anomaly_images", "anomaly_images_thresholded").replace(".tiff", ".png");
        let (pixels, same) = binary(&folder.join(place));
        assert_eq!(same, size);
        let threshold = used[text.split('/').nth(1).expect("a class")];
        let rounding = threshold.abs() / 1000.0;
        for (score, pixel) in scores.iter().zip(pixels) {
            let score = f64::from(*score);
            let fine = (score - threshold).abs() < rounding || pixel == if score > threshold { 255 } else { 0 };
            assert!(fine, "{text}: {score}, {threshold}, {pixel}");
        }
    }
    // The same numbers as of `dmad predict`.
    sandbox.dmad(&["predict", "--run", &id, "data/ad2/can/test_private", "--out", "found"]).says(0, &[]);
    let csv = std::fs::read_to_string(sandbox.path("found/scores.csv")).expect("scores");
    for (line, image) in csv.lines().skip(1).zip(0..) {
        let highest: f32 = line.split(',').nth(4).expect("a cell").parse().expect("a number");
        let (scores, _) = scores(&folder.join(format!("anomaly_images/can/test_private/{image:03}_regular.tiff")));
        let own = scores.into_iter().fold(f32::NEG_INFINITY, f32::max);
        assert!((own - highest).abs() <= highest.abs() / 1000.0, "{own}, {highest}");
    }
    submit(&["--out", "sent"]).says(2, &["sent is not empty"]);
    submit(&["--out", "other", "--rule", "highest", "--threshold", "1"]).says(2, &["cannot be used with"]);
    submit(&["--out", "other", "--threshold", "nan"]).says(2, &["a finite number is wanted"]);
}

#[test]
fn the_threshold_is_what_the_user_gives_or_what_the_rule_makes_of_validation_images() {
    let sandbox = sandbox();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[]);
    let id = ids(&sandbox).remove(0);
    let submit = |out: &str, arguments: &[&str]| {
        let out = sandbox.dmad(&[&["submission", "--run", &id, "--format", "json", "--out", out], arguments].concat());
        out.says(1, &["images that the server wants"]);
        thresholds(&out.stdout)
    };
    let (mean, highest) = (submit("mean", &[]), submit("highest", &["--rule", "highest"]));
    assert_eq!(submit("named", &["--rule", "mean-3std"]), mean);
    assert!(mean["can"] != highest["can"] && mean["can"] != mean["rice"], "{mean:?} {highest:?}");
    assert_eq!(submit("none", &["--threshold", "1e9"])["rice"], 1e9);
    submit("all", &["--threshold", "-1e9"]);
    let pixels = |out: &str| {
        let folder = sandbox.path(out).join("anomaly_images_thresholded/rice/test_private_mixed");
        binary(&folder.join("000_mixed.png")).0
    };
    assert!(pixels("none").iter().all(|&pixel| pixel == 0) && pixels("all").iter().all(|&pixel| pixel == 255));
    // Images that were trained on would set a threshold that is too low.
    let catalog = std::fs::read_to_string(sandbox.path("datasets.toml")).expect("a catalog");
    sandbox.write("datasets.toml", format!("{catalog}validation = \"train\"\n"));
    let refused = sandbox.dmad(&["submission", "--run", &id, "--out", "refused"]);
    refused.says(2, &["have been trained on and set no threshold", "--threshold"]);
    let stale = sandbox.dmad(&["submission", "--run", &id, "--out", "refused", "--threshold", "1"]);
    stale.says(2, &["is stale"]);
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[]);
    submit("given", &["--threshold", "1"]);
}

#[test]
fn where_the_network_sees_a_part_of_an_image_the_rest_has_the_lowest_score() {
    let sandbox = sandbox();
    sandbox.write("experiment.toml", study().replace("[image]\n", "[image]\nresize = 96\n"));
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[]);
    let id = ids(&sandbox).remove(0);
    sandbox.dmad(&["submission", "--run", &id, "--out", "sent"]).says(1, &["has 2 of the"]);
    let (scores, size) = scores(&sandbox.path("sent/anomaly_images/can/test_private/000_regular.tiff"));
    assert_eq!(size, (64, 64));
    // 64 of 96 are seen: a sixth of 64 pixels is left at every side.
    let lowest = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let at = |x: usize, y: usize| scores[y * 64 + x];
    assert!([(0, 0), (63, 63), (5, 32), (32, 60)].iter().all(|&(x, y)| at(x, y) == lowest));
    assert!(at(32, 18) > lowest);
}

#[test]
fn runs_on_other_datasets_have_nothing_that_a_server_judges() {
    let sandbox = Sandbox::new();
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &[]);
    let id = ids(&sandbox).remove(0);
    let refused = sandbox.dmad(&["submission", "--run", &id, "--out", "sent"]);
    refused.says(2, &["no server judges images of `parts`", "layout mvtec2"]);
    assert!(!sandbox.path("sent").exists());
}

#[test]
fn a_folder_with_all_files_is_what_the_server_takes_and_one_with_others_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut sizes, size) = (Sizes::new(), (3, 2));
    let files = [tiff(&[0.5; 6], size), above(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], size, 2.5)];
    for (class, count) in CLASSES {
        for (set, ending) in SETS {
            for place in places(folder.path(), &format!("{class}/{set}/x")) {
                std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
            }
            for number in 0..count {
                let image = format!("{class}/{set}/{number:03}_{ending}");
                for (place, bytes) in places(folder.path(), &image).iter().zip(&files) {
                    std::fs::write(place, bytes).expect("written");
                }
                sizes.insert(image, size);
            }
        }
    }
    assert_eq!(sizes.len(), 2 * 2045);
    let said = |sizes: &Sizes| -> Vec<String> {
        check(folder.path(), sizes).expect("a folder").iter().map(|fault| fault.to_string()).collect()
    };
    assert!(said(&sizes).is_empty(), "{:?}", said(&sizes));
    let [scores, binary] = places(folder.path(), "vial/test_private/000_regular");
    let broken = |place: &Path, bytes: &[u8], word: &str| {
        let whole = std::fs::read(place).expect("a file");
        std::fs::write(place, bytes).expect("written");
        let said = said(&sizes);
        assert!(said.len() == 1 && said[0].contains(word) && said[0].contains("000_regular"), "{said:?}");
        std::fs::write(place, whole).expect("written");
    };
    let form = "is no TIFF of 3 × 2 16-bit floats";
    broken(&scores, &tiff(&[0.5; 4], (2, 2)), form);
    broken(&scores, &files[0][..files[0].len() - 1], form);
    broken(&scores, b"", form);
    let form = "is no PNG of 3 × 2 pixels of 0 and 255";
    broken(&binary, &above(&[0.0; 4], (2, 2), 1.0), form);
    broken(&binary, &dmad::data::thumbnail::png(&[0, 1, 255, 0, 0, 0], size, None), form);
    broken(&binary, &dmad::data::thumbnail::png(&[0; 18], size, None), form);
    broken(&binary, &files[0], form);
    std::fs::write(folder.path().join("log.txt"), "x").expect("written");
    assert!(said(&sizes)[0].contains("log.txt: the server takes no such file"), "{:?}", said(&sizes));
    std::fs::remove_file(folder.path().join("log.txt")).expect("removed");
    std::fs::remove_file(&scores).expect("removed");
    assert!(said(&sizes)[0].contains("000_regular.tiff: is missing"), "{:?}", said(&sizes));
    std::fs::write(&scores, &files[0]).expect("written");
    // An image that the server does not know, and one that it knows and nobody has.
    sizes.remove("vial/test_private/275_regular");
    for place in places(folder.path(), "vial/test_private/275_regular") {
        let other = place.to_str().expect("UTF-8").replace("275_", "999_");
        std::fs::rename(&place, other).expect("renamed");
    }
    sizes.insert("vial/test_private/999_regular".into(), size);
    let said = said(&sizes);
    assert!(said.len() == 2 && said[0].contains("vial/test_private has 275 of the 276 images"), "{said:?}");
    assert!(said[1].contains("the server knows no image vial/test_private/999_regular"), "{said:?}");
}

#[test]
fn scores_that_16_bit_floats_do_not_hold_are_scaled_by_a_power_of_two() {
    for (largest, expected) in
        [(0.0, 1.0), (1.5, 1.0), (60_000.0, 1.0), (1.0 / 64.0, 1.0), (131_072.0, 1.0 / 131_072.0), (0.001, 1024.0)]
    {
        assert_eq!(factor(largest), expected, "{largest}");
    }
    for largest in [1e-30f32, 3e-5, 7e4, 1e30] {
        assert!((1.0..2.0).contains(&(largest * factor(largest))), "{largest}");
    }
}

/// Its stages have other keys, so nothing that is recorded could be found.
#[test]
fn a_run_of_another_device_is_told_from_one_that_is_out_of_date() {
    let sandbox = sandbox();
    sandbox.dmad(&["run", "experiment.toml", "--data", "data"]).says(0, &[]);
    let id = ids(&sandbox).remove(0);
    let out = sandbox.dmad(&["submission", "--run", &id, "--out", "sent", "--data", "data", "--device", "cuda"]);
    out.says(2, &["was made with --device cpu"]);
}
