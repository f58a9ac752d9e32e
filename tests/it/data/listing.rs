//! Layouts and the checks on what they find.

use super::{catalog, copy_of, data_error, entry, real, usage_error};
use crate::util;
use dmad::data::catalog::DatasetEntry;
use dmad::data::index::{self, Index, Source};
use dmad::data::layouts::visa;
use std::fs;
use std::path::Path;

/// `smoke` without declared classes and counts, so that other faults come first.
fn free_smoke() -> DatasetEntry {
    catalog("[dataset.smoke]\nlayout = \"mvtec\"\nroot = \"smoke\"\n").unwrap().get("smoke").unwrap().clone()
}

/// The fault that indexing a broken copy of `smoke` must give: path and message.
fn fault(entry: &DatasetEntry, breaking: impl FnOnce(&Path)) -> (String, String) {
    let folder = copy_of("smoke", &util::data());
    breaking(&folder.path().join("smoke/leather"));
    let (path, what, help) = data_error(index::index(entry, folder.path(), None).unwrap_err());
    let path = path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
    (path, format!("{what} ({help})"))
}

fn total(index: &Index) -> [usize; 4] {
    let counts: Vec<_> = index.classes.iter().map(|class| class.counts()).collect();
    let sum = |f: fn(&dmad::data::catalog::Counts) -> usize| counts.iter().map(f).sum();
    [sum(|c| c.train), sum(|c| c.train_bad), sum(|c| c.test_good), sum(|c| c.test_bad)]
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn the_real_datasets_have_their_declared_counts() {
    let data = util::data();
    assert_eq!(total(&real("mini", &data)), [876, 0, 249, 891]);
    assert_eq!(total(&real("smoke", &data)), [4, 0, 4, 11]);
    assert_eq!(total(&real("visa_layout", &data)), [32, 0, 16, 48]);
    let textures = real("dtd_mini", &data);
    assert_eq!((textures.classes.len(), total(&textures)), (10, [120, 0, 0, 0]));
    assert_eq!(textures.classes[0].train[0].path, "banded/banded_0002.jpg");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn paths_are_relative_with_forward_slashes_sorted_and_masks_belong_to_their_images() {
    let data = util::data();
    let smoke = real("smoke", &data);
    let class = &smoke.classes[0];
    assert_eq!(class.train[0].path, "leather/train/good/000.png");
    let keys: Vec<String> = class.test.iter().map(|l| l.sort_key()).collect();
    assert!(keys.is_sorted() && keys[0] == "color/000.png" && keys.len() == 15, "{keys:?}");
    for labelled in &class.test {
        assert_eq!(labelled.anomalous, labelled.defect != "good");
        let Some(Source::File(path)) = &labelled.mask else {
            assert!(!labelled.anomalous);
            continue;
        };
        let stem = labelled.image.file_name().strip_suffix(".png").unwrap();
        assert!(path.ends_with(format!("{}/{stem}_mask.png", labelled.defect)), "{}", path.display());
    }
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn hidden_and_foreign_files_are_passed_over_and_counted() {
    let data = util::data();
    let folder = copy_of("smoke", &data);
    let root = folder.path().join("smoke");
    for name in ["readme.txt", "leather/.hidden", "leather/train/good/Thumbs.db", "leather/test/.DS_Store"] {
        fs::write(root.join(name), "x").unwrap();
    }
    fs::create_dir(root.join("notes")).unwrap();
    let found = index::index(&free_smoke(), folder.path(), None).unwrap();
    assert_eq!(total(&found), [4, 0, 4, 11]);
    let skipped: Vec<_> = found.skipped.iter().map(|p| p.strip_prefix(&root).unwrap().to_str().unwrap()).collect();
    assert_eq!(skipped, ["leather/test/.DS_Store", "leather/train/good/Thumbs.db", "notes", "readme.txt"]);
}

#[test]
fn a_missing_root_names_the_folder_where_to_get_it_and_the_option() {
    let (path, what, help) = data_error(index::index(&entry("mvtec_ad"), Path::new("/nowhere"), None).unwrap_err());
    assert_eq!(path, Path::new("/nowhere/mvtec_ad"));
    assert!(what.contains("`mvtec_ad`") && help.contains("mvtec.com") && help.contains("CC BY-NC-SA 4.0"), "{help}");
    assert!(help.contains("--data"), "{help}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn missing_classes_normals_masks_and_images_are_faults_that_name_the_path() {
    let free = free_smoke();
    let check = |entry: &DatasetEntry, path: &str, word: &str, breaking: &dyn Fn(&Path)| {
        let (found, what) = fault(entry, breaking);
        assert_eq!(found.replace("smoke/leather", "L"), path, "{what}");
        assert!(what.contains(word), "{what}");
    };
    check(&entry("smoke"), "L", "class `leather` is missing", &|l| fs::remove_dir_all(l).unwrap());
    check(&free, "smoke", "no class found", &|l| fs::remove_dir_all(l).unwrap());
    check(&free, "L/train/good", "no such folder", &|l| fs::remove_dir_all(l.join("train/good")).unwrap());
    check(&free, "L/train/good", "no image", &|l| {
        fs::remove_dir_all(l.join("train/good")).unwrap();
        fs::create_dir(l.join("train/good")).unwrap();
    });
    check(&free, "L/test", "no such folder", &|l| fs::remove_dir_all(l.join("test")).unwrap());
    check(&free, "L/ground_truth/cut/001_mask.png", "leather/test/cut/001.png", &|l| {
        fs::remove_file(l.join("ground_truth/cut/001_mask.png")).unwrap();
    });
    check(&free, "L/ground_truth/cut/001_mask.png", "has no image", &|l| {
        fs::remove_file(l.join("test/cut/001.png")).unwrap();
    });
    check(&free, "L/ground_truth/cut", "have no images", &|l| fs::remove_dir_all(l.join("test/cut")).unwrap());
    check(&free, "L/test/scratch", "no image", &|l| fs::create_dir(l.join("test/scratch")).unwrap());
    check(
        &entry("smoke"),
        "smoke",
        "leather: expected 4 train, 4 test normal, 11 test anomalous; found 3 train",
        &|l| {
            fs::remove_file(l.join("train/good/000.png")).unwrap();
        },
    );
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn a_survey_collects_all_faults_and_the_first_error_says_how_many_more_there_are() {
    let data = util::data();
    let folder = copy_of("smoke", &data);
    for mask in ["cut/000_mask.png", "glue/008_mask.png", "poke/010_mask.png"] {
        fs::remove_file(folder.path().join("smoke/leather/ground_truth").join(mask)).unwrap();
    }
    assert_eq!(index::survey(&entry("smoke"), folder.path(), None).unwrap().faults.len(), 3);
    let (_, _, help) = data_error(index::index(&entry("smoke"), folder.path(), None).unwrap_err());
    assert!(help.contains("2 more faults") && help.contains("dmad data verify smoke"), "{help}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn classes_can_be_narrowed_and_an_unknown_one_is_refused() {
    let data = util::data();
    let narrow = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|s| (*s).into()).collect();
        index::index(&entry("mini"), &data, Some(&names))
    };
    let found = narrow(&["screw", "magnetic_tile"]).unwrap();
    assert_eq!(found.classes.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["magnetic_tile", "screw"]);
    let (what, help) = usage_error(narrow(&["screws"]).unwrap_err());
    assert!(what.contains("`screws`") && help.contains("did you mean `screw`?"), "{what}: {help}");
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn an_empty_or_missing_category_of_outliers_is_a_fault() {
    let data = util::data();
    let folder = copy_of("dtd", &data);
    let banded = folder.path().join("dtd/images/banded");
    fs::remove_dir_all(&banded).unwrap();
    let fault = || data_error(index::index(&entry("dtd_mini"), folder.path(), None).unwrap_err());
    assert_eq!((fault().0.as_path(), fault().1.as_str()), (banded.as_path(), "no such folder"));
    fs::create_dir(&banded).unwrap();
    assert!(fault().1.contains("no image"), "{}", fault().1);
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn the_official_visa_splits_have_the_published_counts() {
    let data = util::data();
    for (name, split) in [("visa", "2cls_fewshot"), ("visa_1cls", "1cls"), ("visa_2cls_highshot", "2cls_highshot")] {
        let declared = entry(name).declared;
        let csv = data.join("visa_split_csv/split_csv").join(format!("{split}.csv"));
        let rows = visa::read_csv(&csv).unwrap();
        assert_eq!((rows.len(), visa::classes(&rows)), (10_821, declared.classes), "{name}");
        for (class, counts) in declared.counts {
            let found = [(true, false), (true, true), (false, false), (false, true)].map(|wanted| {
                rows.iter().filter(|row| row.object == class && (row.training, row.anomalous) == wanted).count()
            });
            let declared = [counts.train, counts.train_bad, counts.test_good, counts.test_bad];
            assert_eq!(found, declared, "{name}: {class}");
        }
    }
}

#[test]
fn faults_of_a_visa_split_name_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("1cls.csv");
    let normal = "a,train,normal,a/Data/Images/Normal/0.JPG,";
    for (lines, expected) in [
        ("object,split,label,image".to_owned(), "line 1: expected the columns"),
        (format!("H\n{normal},x"), "line 2: expected 5 fields, found 6"),
        (format!("H\n{normal}\n{normal}"), "line 3: a/Data/Images/Normal/0.JPG is named twice"),
        ("H\na,val,normal,i.JPG,".into(), "`val`"),
        ("H\na,test,bad,i.JPG,".into(), "`bad`"),
        ("H\na,test,anomaly,i.JPG,".into(), "anomaly without mask"),
        ("H\na,test,normal,i.JPG,m.png".into(), "but has the mask m.png"),
        ("H\na,test,normal,../i.JPG,".into(), "`../i.JPG`"),
        ("H\na,test,normal,/i.JPG,".into(), "`/i.JPG`"),
    ] {
        fs::write(&csv, lines.replace('H', "object,split,label,image,mask")).unwrap();
        let (path, what, _) = data_error(visa::read_csv(&csv).unwrap_err());
        assert!(path == csv && what.contains(expected), "{what}");
    }
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn files_that_a_visa_split_names_must_be_there() {
    let data = util::data();
    let folder = copy_of("visa_layout", &data);
    let fault = || data_error(index::index(&entry("visa_layout"), folder.path(), None).unwrap_err());
    let mask = folder.path().join("visa_layout/paper_btn01_rl/Data/Masks/Anomaly/003.png");
    fs::remove_file(&mask).unwrap();
    assert!(fault().0 == mask && fault().1.contains("1cls.csv names it"), "{:?}", fault());
    fs::remove_dir_all(folder.path().join("visa_layout/paper_btn01_rl")).unwrap();
    assert!(fault().1.contains("class `paper_btn01_rl` is missing"), "{:?}", fault());
    fs::remove_file(folder.path().join("visa_layout/split_csv/1cls.csv")).unwrap();
    assert!(fault().1.contains("split file is missing"), "{:?}", fault());
}

#[test]
fn the_synthetic_set_has_the_images_its_entry_asks_for() {
    let entry = entry("synthetic");
    let found = index::index(&entry, Path::new("/nowhere"), None).unwrap();
    for class in &found.classes {
        let kinds = dmad::data::layouts::synthetic::defects(&class.name).unwrap().len();
        let counts = class.counts();
        assert_eq!((counts.train, counts.test_good), (64, 12));
        assert_eq!(counts.test_bad, kinds * 8, "{}", class.name);
    }
    let textures = index::index(&super::entry("synthetic_textures"), Path::new("/nowhere"), None).unwrap();
    assert!(textures.classes.iter().all(|c| c.train.len() == 5 && c.test.is_empty()) && !textures.classes.is_empty());
}

/// A dataset in BTAD's layout with one training image, two normal and two anomalous test images in each class; endings as in the
/// original.
fn btad() -> (tempfile::TempDir, DatasetEntry) {
    let folder = tempfile::tempdir().expect("a folder");
    for (class, image, mask) in [("01", "bmp", "png"), ("02", "png", "png"), ("03", "bmp", "bmp")] {
        let lists =
            [("train/ok", image, 1), ("test/ok", image, 2), ("test/ko", image, 2), ("ground_truth/ko", mask, 2)];
        for (list, ending, count) in lists {
            let list = folder.path().join("btad").join(class).join(list);
            fs::create_dir_all(&list).unwrap();
            for number in 0..count {
                let file = list.join(format!("{number:04}.{ending}"));
                image::RgbImage::from_pixel(16, 16, image::Rgb([200, number, 0])).save(file).unwrap();
            }
        }
    }
    (folder, entry("btad"))
}

#[test]
fn btads_masks_are_found_whatever_the_ending_of_the_class() {
    let (folder, entry) = btad();
    let found = index::index(&entry, folder.path(), None).unwrap();
    assert_eq!(total(&found), [3, 0, 6, 6]);
    let keys: Vec<String> = found.classes[0].test.iter().map(|labelled| labelled.sort_key()).collect();
    assert_eq!(keys, ["good/0000.bmp", "good/0001.bmp", "ko/0000.bmp", "ko/0001.bmp"]);
    for (class, ending) in found.classes.iter().zip(["png", "png", "bmp"]) {
        for labelled in class.test.iter().filter(|labelled| labelled.anomalous) {
            let Some(Source::File(path)) = &labelled.mask else { panic!("no mask") };
            let stem = labelled.image.file_name().rsplit_once('.').unwrap().0;
            assert!(path.ends_with(format!("{}/ground_truth/ko/{stem}.{ending}", class.name)), "{}", path.display());
        }
    }
}

#[test]
fn btads_missing_foreign_and_doubled_masks_are_faults_that_name_the_path() {
    let check = |path: &str, word: &str, breaking: &dyn Fn(&Path)| {
        let (folder, entry) = btad();
        let root = folder.path().join("btad");
        breaking(&root);
        let (found, what, _) = data_error(index::index(&entry, folder.path(), None).unwrap_err());
        assert_eq!(found.strip_prefix(&root).unwrap().to_str().unwrap(), path, "{what}");
        assert!(what.contains(word), "{what}");
    };
    check("02", "class `02` is missing", &|root| fs::remove_dir_all(root.join("02")).unwrap());
    check("01/test/ko/0001.bmp", "no mask", &|root| fs::remove_file(root.join("01/ground_truth/ko/0001.png")).unwrap());
    check("03/ground_truth/ko/0000.bmp", "has no image", &|root| {
        fs::remove_file(root.join("03/test/ko/0000.bmp")).unwrap();
    });
    check("01/ground_truth/ko/0000.png", "a mask of the same image", &|root| {
        fs::copy(root.join("01/ground_truth/ko/0000.png"), root.join("01/ground_truth/ko/0000.bmp")).unwrap();
    });
}
