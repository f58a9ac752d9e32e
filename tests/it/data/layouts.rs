//! The layouts of MVTec AD 2, Real-IAD and ELPV, on small trees: what is found, what each key changes, and faults.

use super::{catalog, data_error};
use dmad::data::catalog::DatasetEntry;
use dmad::data::index::{self, Findings, Index, Source};
use dmad::data::layouts::{elpv, real_iad, recognise};
use dmad::data::verify;
use std::fs;
use std::path::Path;

/// An image of 16 × 16 pixels that no other number gives.
fn picture(folder: &Path, path: &str, number: u8) {
    let file = folder.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(16, 16, image::Rgb([200, number, 50])).save(file).unwrap();
}

fn mask(folder: &Path, path: &str) {
    let file = folder.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    image::GrayImage::from_fn(16, 16, |x, _| image::Luma([if x < 4 { 255 } else { 0 }])).save(file).unwrap();
}

/// The entry of a dataset `it` below the folder `it`, of a layout and with further keys.
fn entry(layout: &str, keys: &str) -> DatasetEntry {
    let text = format!("[dataset.it]\nlayout = \"{layout}\"\nroot = \"it\"\n{keys}");
    catalog(&text).unwrap().get("it").unwrap().clone()
}

fn found(entry: &DatasetEntry, folder: &Path) -> Index {
    let index = index::index(entry, folder, None).unwrap_or_else(|fault| panic!("{fault} ({:?})", fault.help()));
    assert!(verify::contents(&index).is_empty(), "every image and mask can be read");
    index
}

/// Paths of the training images and "type/file" of the tested ones, of one class.
fn listed(index: &Index, class: usize) -> (Vec<&str>, Vec<String>) {
    let class = &index.classes[class];
    let train = class.train.iter().map(|image| image.path.as_str()).collect();
    (train, class.test.iter().map(|labelled| labelled.sort_key()).collect())
}

/// The first fault of a tree that was broken: its path below the dataset's folder, and what it says.
fn fault(folder: &Path, entry: &DatasetEntry) -> (String, String) {
    let (path, what, _) = data_error(index::index(entry, folder, None).unwrap_err());
    (path.strip_prefix(folder.join("it")).unwrap().to_str().unwrap().to_owned(), what)
}

fn mvtec2() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("it");
    for class in ["can", "rice"] {
        picture(&root, &format!("{class}/train/good/000_regular.png"), 0);
        picture(&root, &format!("{class}/train/good/001_regular.png"), 1);
        picture(&root, &format!("{class}/validation/good/000_regular.png"), 2);
        picture(&root, &format!("{class}/test_public/good/000_regular.png"), 3);
        picture(&root, &format!("{class}/test_public/bad/000_overexposed.png"), 4);
        mask(&root, &format!("{class}/test_public/ground_truth/bad/000_overexposed_mask.png"));
        picture(&root, &format!("{class}/test_private/000_regular.png"), 5);
        picture(&root, &format!("{class}/test_private_mixed/000_mixed.png"), 6);
    }
    folder
}

#[test]
fn mvtec_ad_2_is_measured_on_its_public_test_set_and_its_private_ones_have_no_labels() {
    let folder = mvtec2();
    let entry = entry("mvtec2", "");
    let index = found(&entry, folder.path());
    let (train, test) = listed(&index, 0);
    assert_eq!(train, ["can/train/good/000_regular.png", "can/train/good/001_regular.png"]);
    assert_eq!(test, ["bad/000_overexposed.png", "good/000_regular.png"]);
    let Some(Source::File(mask)) = &index.classes[1].test[0].mask else { panic!("no mask") };
    assert!(mask.ends_with("rice/test_public/ground_truth/bad/000_overexposed_mask.png"));
    let judged = entry.layout.judged(folder.path(), "rice", &mut Findings::default()).unwrap();
    let sets: Vec<_> = judged.sets.iter().map(|(set, images)| (*set, images[0].path.as_str())).collect();
    assert_eq!(
        sets,
        [
            ("test_private", "rice/test_private/000_regular.png"),
            ("test_private_mixed", "rice/test_private_mixed/000_mixed.png")
        ]
    );
    assert_eq!(judged.normals.unwrap()[0].path, "rice/validation/good/000_regular.png");
    let (row, recognised) = recognise(&folder.path().join("it")).unwrap();
    assert_eq!((row.name, recognised.classes), ("mvtec2", vec!["can".to_string(), "rice".into()]));
}

#[test]
fn mvtec_ad_2s_validation_images_train_where_the_key_says_so() {
    let folder = mvtec2();
    let entry = entry("mvtec2", "validation = \"train\"\n");
    let index = found(&entry, folder.path());
    assert_eq!(listed(&index, 0).0[2], "can/validation/good/000_regular.png");
    let judged = entry.layout.judged(folder.path(), "can", &mut Findings::default()).unwrap();
    assert!(judged.normals.is_none(), "what was trained on sets no threshold");
}

#[test]
fn mvtec_ad_2s_missing_masks_images_and_folders_are_faults_that_name_the_path() {
    let check = |path: &str, word: &str, breaking: &dyn Fn(&Path)| {
        let folder = mvtec2();
        breaking(&folder.path().join("it"));
        let (found, what) = fault(folder.path(), &entry("mvtec2", "classes = [\"can\"]\nvalidation = \"train\"\n"));
        assert_eq!(found, path, "{what}");
        assert!(what.contains(word), "{what}");
    };
    let mask = "can/test_public/ground_truth/bad/000_overexposed_mask.png";
    let another = |root: &Path| {
        picture(root, "can/test_public/bad/001_regular.png", 9);
        self::mask(root, "can/test_public/ground_truth/bad/001_regular_mask.png");
    };
    check(mask, "can/test_public/bad/000_overexposed.png is missing", &|root| {
        another(root);
        fs::remove_file(root.join(mask)).unwrap();
    });
    check(mask, "has no image", &|root| {
        another(root);
        fs::remove_file(root.join("can/test_public/bad/000_overexposed.png")).unwrap();
    });
    check("can/validation/good", "no such folder", &|root| {
        fs::remove_dir_all(root.join("can/validation")).unwrap();
    });
    check("can", "class `can` is missing", &|root| fs::remove_dir_all(root.join("can")).unwrap());
    let folder = mvtec2();
    fs::remove_dir_all(folder.path().join("it/rice/test_private")).unwrap();
    let mut findings = Findings::default();
    entry("mvtec2", "").layout.judged(folder.path(), "rice", &mut findings);
    assert!(findings.faults[0].to_string().contains("rice/test_private: no such folder"), "{:?}", findings.faults);
}

/// One class of Real-IAD in the official form: a line for each image.
const JSON: &str = r#"{
  "meta": {"normal_class": "OK", "prefix": "toy/"},
  "train": [
    {"category": "toy", "anomaly_class": "OK", "image_path": "OK/S0001/toy_0001_OK_C2.jpg", "mask_path": null},
    {"category": "toy", "anomaly_class": "OK", "image_path": "OK/S0001/toy_0001_OK_C1.jpg", "mask_path": null}
  ],
  "test": [
    {"category": "toy", "anomaly_class": "OK", "image_path": "OK/S0002/toy_0002_OK_C1.jpg", "mask_path": null},
    {"category": "toy", "anomaly_class": "HS", "image_path": "NG/HS/S0003/toy_0003_NG_HS_C1.jpg", "mask_path": "NG/HS/S0003/toy_0003_NG_HS_C1.png"},
    {"category": "toy", "anomaly_class": "HS", "image_path": "NG/HS/S0003/toy_0003_NG_HS_C2.jpg", "mask_path": null}
  ]
}"#;

fn real_iad(jsons: &str, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("it");
    let images = ["OK/S0001/toy_0001_OK_C1", "OK/S0001/toy_0001_OK_C2", "OK/S0002/toy_0002_OK_C1"];
    let defective = ["NG/HS/S0003/toy_0003_NG_HS_C1", "NG/HS/S0003/toy_0003_NG_HS_C2"];
    for (number, image) in images.into_iter().chain(defective).enumerate() {
        for size in ["realiad_1024", "realiad_256"] {
            picture(&root, &format!("{size}/toy/{image}.jpg"), 10 * number as u8);
        }
    }
    for size in ["realiad_1024", "realiad_256"] {
        mask(&root, &format!("{size}/toy/{}.png", defective[0]));
    }
    fs::create_dir_all(root.join(jsons)).unwrap();
    fs::write(root.join(jsons).join("toy.json"), text).unwrap();
    folder
}

#[test]
fn real_iads_views_have_labels_of_their_own_and_the_json_files_lie_where_unpackers_leave_them() {
    for jsons in ["realiad_jsons", "realiad_jsons/realiad_jsons"] {
        let folder = real_iad(jsons, JSON);
        let index = found(&entry("real_iad", "images = \"realiad_1024\"\n"), folder.path());
        let (train, test) = listed(&index, 0);
        assert_eq!(train, ["toy/OK/S0001/toy_0001_OK_C1.jpg", "toy/OK/S0001/toy_0001_OK_C2.jpg"]);
        // The view of the defective part that does not show the defect is normal.
        assert_eq!(test, ["HS/toy_0003_NG_HS_C1.jpg", "good/toy_0002_OK_C1.jpg", "good/toy_0003_NG_HS_C2.jpg"]);
        let Some(Source::File(mask)) = &index.classes[0].test[0].mask else { panic!("no mask") };
        assert!(mask.ends_with("realiad_1024/toy/NG/HS/S0003/toy_0003_NG_HS_C1.png"));
        let (row, recognised) = recognise(&folder.path().join("it")).unwrap();
        assert_eq!((row.name, recognised.classes), ("real_iad", vec!["toy".to_string()]));
        assert_eq!(recognised.keys, [("images", "realiad_1024".to_string()), ("split", "multi_view".into())]);
    }
}

#[test]
fn each_key_of_real_iad_reads_other_files() {
    let folder = real_iad("realiad_jsons", JSON);
    let small = found(&entry("real_iad", "images = \"realiad_256\"\n"), folder.path());
    assert!(small.root.ends_with("it/realiad_256"));
    let splits = [
        ("single_view", "realiad_jsons_sv"),
        ("fuiad_0.0", "realiad_jsons_fuiad_0.0"),
        ("fuiad_0.1", "realiad_jsons_fuiad_0.1"),
        ("fuiad_0.2", "realiad_jsons_fuiad_0.2"),
        ("fuiad_0.4", "realiad_jsons_fuiad_0.4"),
    ];
    for (split, jsons) in splits {
        let entry = entry("real_iad", &format!("images = \"realiad_1024\"\nsplit = \"{split}\"\n"));
        assert_eq!(entry.layout.split(), split);
        let (path, what) = fault(folder.path(), &entry);
        assert!(path == jsons && what.contains("JSON files is missing"), "{path}: {what}");
        // As published, training images of these splits may show anomalies, and are normal all the same.
        fs::create_dir_all(folder.path().join("it").join(jsons)).unwrap();
        let noisy = JSON.replacen(
            "\"OK\", \"image_path\": \"OK/S0001/toy_0001_OK_C2",
            "\"HS\", \"image_path\": \"NG/HS/S0003/toy_0003_NG_HS_C2",
            1,
        );
        let noisy = noisy.replace(",\n    {\"category\": \"toy\", \"anomaly_class\": \"HS\", \"image_path\": \"NG/HS/S0003/toy_0003_NG_HS_C2.jpg\", \"mask_path\": null}\n  ]\n}", "\n  ]\n}");
        fs::write(folder.path().join("it").join(jsons).join("toy.json"), noisy).unwrap();
        let index = found(&entry, folder.path());
        let (train, test) = listed(&index, 0);
        assert_eq!(train[0], "toy/NG/HS/S0003/toy_0003_NG_HS_C2.jpg");
        assert_eq!(test.len(), 2);
        assert!(index.classes[0].train_anomalies.is_empty(), "no label tells");
    }
}

#[test]
fn faults_of_real_iads_json_files_name_file_and_line() {
    let entry = entry("real_iad", "images = \"realiad_1024\"\nclasses = [\"toy\"]\n");
    let last = "OK/S0002/toy_0002_OK_C1.jpg";
    for (text, expected) in [
        (JSON.replace("\"mask_path\": null}\n  ]\n}", "\"mask_path\": null}\n  ]\n"), "line 12: EOF while parsing"),
        (JSON.replacen(", \"mask_path\": null},\n", ", \"mask_path\": 5},\n", 1), "line 4: invalid type: integer `5`"),
        (JSON.replace("\"normal_class\"", "\"normal\""), "line 2: missing field `normal_class`"),
        (JSON.replace("\"train\"", "\"training\""), "line 12: missing field `train`"),
        (JSON.replace(last, "OK/S0001/toy_0001_OK_C1.jpg"), "line 8: toy/OK/S0001/toy_0001_OK_C1.jpg is named twice"),
        (JSON.replace(last, "../../secret.jpg"), "line 8: `toy/../../secret.jpg` is not a path below the dataset"),
        (JSON.replace("S0003/toy_0003_NG_HS_C1.png", "../../../m.png"), "line 9: `toy/NG/HS/../../../m.png` is not"),
        (JSON.replace("\"toy/\"", "\"/toy\""), "line 4: `/toy/OK/S0001/toy_0001_OK_C2.jpg` is not a path below"),
    ] {
        let folder = real_iad("realiad_jsons", &text);
        let (path, what) = fault(folder.path(), &entry);
        assert!(path == "realiad_jsons/toy.json" && what.contains(expected), "{path}: {what}, expected {expected}");
    }
    let missing = |path: &str, word: &str, breaking: &dyn Fn(&Path)| {
        let folder = real_iad("realiad_jsons", JSON);
        breaking(&folder.path().join("it"));
        let (found, what) = fault(folder.path(), &entry);
        assert!(found == path && what.contains(word), "{found}: {what}");
    };
    missing("realiad_jsons/toy.json", "JSON file is missing", &|root| {
        fs::remove_file(root.join("realiad_jsons/toy.json")).unwrap();
    });
    for file in ["toy/OK/S0002/toy_0002_OK_C1.jpg", "toy/NG/HS/S0003/toy_0003_NG_HS_C1.png"] {
        let file = format!("realiad_1024/{file}");
        missing(&file, "toy.json names it", &|root| fs::remove_file(root.join(&file)).unwrap());
    }
    missing("realiad_1024/toy", "class `toy` is missing", &|root| {
        fs::remove_dir_all(root.join("realiad_1024/toy")).unwrap();
    });
    assert_eq!(real_iad::read_json(&real_iad("j", JSON).path().join("it/j/toy.json")).unwrap().len(), 5);
}

/// Ten cells of each type: six sure to be normal, the others more or less probably defective.
fn elpv() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("it");
    let mut labels = String::new();
    for (number, class) in ["mono", "poly"].iter().enumerate() {
        let probabilities =
            ["0.0", "0.0", "0.0", "0.3333333333333333", "0.0", "0.6666666666666666", "0.0", "1.0", "0.0", "1.0"];
        for (image, probability) in probabilities.iter().enumerate() {
            let path = format!("images/cell{:04}.png", 10 * number + image);
            picture(&root, &path, (20 * number + image) as u8);
            labels += &format!("{path}  {probability:<18}  {class}\n");
        }
    }
    fs::write(root.join("labels.csv"), labels).unwrap();
    folder
}

#[test]
fn elpv_has_labels_without_masks_and_a_split_that_is_drawn() {
    let folder = elpv();
    let index = found(&entry("elpv", ""), folder.path());
    let counts: Vec<_> = index.classes.iter().map(|class| (class.name.as_str(), class.counts().total())).collect();
    assert_eq!(counts, [("mono", 10), ("poly", 10)]);
    let mono = &index.classes[0];
    assert_eq!((mono.counts().train, mono.counts().test_good, mono.counts().test_bad), (5, 1, 4));
    assert!(mono.test.iter().all(|labelled| labelled.mask.is_none()));
    let kinds: Vec<_> = mono.test.iter().map(|labelled| labelled.defect.as_str()).collect();
    assert_eq!(kinds, ["good", "p0.33", "p0.67", "p1.00", "p1.00"]);
    assert!(mono.train.is_sorted_by(|a, b| a.path < b.path));
    // Where the lines stand says nothing.
    let labels = folder.path().join("it/labels.csv");
    let lines = fs::read_to_string(&labels).unwrap();
    fs::write(&labels, lines.lines().rev().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    assert_eq!(found(&entry("elpv", ""), folder.path()), index);
    let (row, recognised) = recognise(&folder.path().join("it")).unwrap();
    assert_eq!((row.name, recognised.classes), ("elpv", vec!["mono".to_string(), "poly".into()]));
}

#[test]
fn each_key_of_elpv_gives_another_split() {
    let folder = elpv();
    let of = |keys: &str| found(&entry("elpv", keys), folder.path());
    let counts = |keys: &str| {
        let counts = of(keys).classes[0].counts();
        (counts.train, counts.test_good, counts.test_bad)
    };
    assert_eq!(counts("train_share = 0.5\n"), (3, 3, 4));
    assert_eq!(counts("train_share = 0.01\n"), (1, 5, 4), "one image at least");
    assert_eq!(counts("train_share = 0.99\n"), (5, 1, 4), "and one to be tested");
    assert_eq!(counts("anomalous_from = 0.5\n"), (5, 1, 3), "one between is dropped");
    assert_eq!(counts("anomalous_from = 1.0\nbetween = \"normal\"\n"), (6, 2, 2));
    assert_eq!(counts("anomalous_from = 1.0\nbetween = \"dropped\"\n"), (5, 1, 2));
    let trained = |seed: u64| listed(&of(&format!("train_share = 0.5\nsplit_seed = {seed}\n")), 0).0.concat();
    assert_eq!(trained(0), trained(0));
    assert!((1..4).any(|seed| trained(seed) != trained(0)), "another seed draws others");
}

#[test]
fn faults_of_elpvs_labels_name_file_and_line() {
    let entry = entry("elpv", "");
    for (line, expected) in [
        ("images/cell0001.png 0.0", "line 2: expected path, probability and type, found 2 fields"),
        ("images/cell0001.png zero mono", "line 2: `zero` is no probability"),
        ("images/cell0001.png NaN mono", "line 2: `NaN` is no probability"),
        ("images/cell0001.png 1.5 mono", "line 2: `1.5` is no probability"),
        ("images/cell0001.png 0.0 tandem", "line 2: type is `tandem`, neither mono nor poly"),
        ("../cell0001.png 0.0 mono", "line 2: `../cell0001.png` is not a path below the dataset"),
        ("/cell0001.png 0.0 mono", "line 2: `/cell0001.png` is not a path"),
        ("images/cell0000.png 0.0 mono", "line 2: images/cell0000.png is named twice"),
    ] {
        let folder = elpv();
        let labels = folder.path().join("it/labels.csv");
        let text = fs::read_to_string(&labels).unwrap();
        let second = text.lines().nth(1).unwrap().to_string();
        fs::write(&labels, text.replacen(&second, line, 1)).unwrap();
        let (path, what) = fault(folder.path(), &entry);
        assert!(path == "labels.csv" && what.contains(expected), "{path}: {what}");
    }
    let folder = elpv();
    fs::remove_file(folder.path().join("it/images/cell0012.png")).unwrap();
    let (path, what) = fault(folder.path(), &entry);
    assert!(path == "images/cell0012.png" && what.contains("labels.csv names it"), "{path}: {what}");
    fs::write(folder.path().join("it/labels.csv"), "images/cell0000.png 0.0 mono\n").unwrap();
    assert!(fault(folder.path(), &entry).1.contains("class `mono` has 1 normal images"));
    fs::remove_file(folder.path().join("it/labels.csv")).unwrap();
    assert!(fault(folder.path(), &entry).1.contains("file of labels is missing"));
    assert!(elpv::read_labels(Path::new("/nowhere/labels.csv")).is_err());
}
