//! `dmad metrics` on NumPy files, good and broken.

use std::path::{Path, PathBuf};

use clap::Parser;
use dmad::cli::metrics::{Args, render};
use npyz::WriterBuilder;

use crate::generated_maps::{Memory, bottle};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn save<T: npyz::AutoSerialize>(
    folder: &Path,
    name: &str,
    shape: &[u64],
    values: impl IntoIterator<Item = T>,
) -> PathBuf {
    let mut bytes = Vec::new();
    let mut writer =
        npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().expect("header");
    writer.extend(values).expect("values");
    writer.finish().expect("end");
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("file");
    path
}

/// An array whose header is written by hand.
fn save_raw(folder: &Path, name: &str, header: &str, data: &[u8]) -> PathBuf {
    let mut text = header.to_string();
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let length = (text.len() as u16).to_le_bytes();
    let path = folder.join(name);
    std::fs::write(&path, [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), data].concat()).expect("file");
    path
}

fn render_line(parts: &[&dyn AsRef<Path>]) -> dmad::error::Result<String> {
    render_as(parts, false)
}

fn render_as(parts: &[&dyn AsRef<Path>], json: bool) -> dmad::error::Result<String> {
    let words = parts.iter().map(|part| part.as_ref().as_os_str().to_os_string());
    render(
        &Line::try_parse_from(std::iter::once("metrics".into()).chain(words)).unwrap_or_else(|e| panic!("{e}")).args,
        json,
    )
}

fn json_of(parts: &[&dyn AsRef<Path>]) -> serde_json::Value {
    serde_json::from_str(&render_as(parts, true).unwrap_or_else(|e| panic!("{e}"))).expect("JSON")
}

fn complaint(parts: &[&dyn AsRef<Path>], words: &[&str]) {
    let error = render_line(parts).expect_err("an error");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error}");
    }
    assert!(error.help().is_some_and(|help| !help.is_empty()), "{error}");
}

const SHAPE: [u64; 3] = [83, 64, 64];

fn saved_bottle(folder: &Path) -> (PathBuf, PathBuf) {
    let Memory(images) = bottle(64);
    let maps = save(folder, "maps.npy", &SHAPE, images.iter().flat_map(|i| i.scores.clone()));
    let masks = save(folder, "masks.npy", &SHAPE, images.iter().flat_map(|i| i.mask.clone()));
    (maps, masks)
}

#[test]
fn every_type_of_map_and_mask_gives_the_same_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (maps, masks) = saved_bottle(folder);
    let expected = json_of(&[&maps, &masks]);
    for name in ["image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "pixel_pro"] {
        assert!(expected[name].as_f64().is_some_and(|v| v > 0.3 && v <= 1.0), "{name}: {}", expected[name]);
    }
    assert_eq!(expected["counts"]["anomalous_images"], 63);
    let Memory(images) = bottle(64);
    let scores = || images.iter().flat_map(|i| i.scores.clone());
    let truth = || images.iter().flat_map(|i| i.mask.clone());
    let wide = save(folder, "wide.npy", &SHAPE, scores().map(f64::from));
    let big: Vec<u8> = scores().flat_map(|s| s.to_be_bytes()).collect();
    let big = save_raw(folder, "big.npy", "{'descr': '>f4', 'fortran_order': False, 'shape': (83, 64, 64), }", &big);
    assert_eq!(json_of(&[&wide, &masks]), expected);
    assert_eq!(json_of(&[&big, &masks]), expected);
    for other in [
        save(folder, "bool.npy", &SHAPE, truth().map(|m| m != 0)),
        save(folder, "i64.npy", &SHAPE, truth().map(|m| i64::from(m) << 40)),
        save(folder, "u16.npy", &SHAPE, truth().map(|m| u16::from(m) << 8)),
        save(folder, "f32.npy", &SHAPE, truth().map(|m| if m == 0 { -0.0 } else { 255f32 })),
        save(folder, "f64.npy", &SHAPE, truth().map(|m| f64::from(m) * 1e-300)),
    ] {
        assert_eq!(json_of(&[&maps, &other]), expected, "{}", other.display());
    }
}

#[test]
fn options_reach_the_numbers_and_the_table_says_which_definition_was_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let (maps, masks) = saved_bottle(folder.path());
    let plain = json_of(&[&maps, &masks]);
    let other = json_of(&[&maps, &masks, &"--ap", &"trapezoid", &"--pro", &"simplenet"]);
    for name in ["image_ap", "pixel_ap", "pixel_pro"] {
        assert_ne!(plain[name], other[name], "{name}");
    }
    assert_eq!(plain["pixel_auroc"], other["pixel_auroc"]);
    let far = json_of(&[&maps, &masks, &"--pro-limit", &"0.6"]);
    let [limited, whole] = [&plain, &far].map(|own| own["pixel_pro"].as_f64().expect("a number"));
    assert!(whole > limited, "a rising curve is higher on the average, the further it goes: {whole} and {limited}");
    let table = render_line(&[&maps, &masks, &"--pro-limit", &"0.6"]).expect("a table");
    assert!(table.contains("AUPRO@0.6") && !table.contains("@0.3: mean"), "{table}");
    let table = render_line(&[&maps, &masks, &"--pro", &"ader"]).expect("a table");
    assert!(table.contains("63 anomalous, 20 normal") && table.contains("ADer's PRO"), "{table}");
    // All but AUPIMO, which 20 × 64 × 64 normal pixels are too few for.
    let valued = table.lines().filter(|line| line.contains(" %  ")).count();
    assert_eq!(valued, dmad::metrics::REGISTRY.len() - 1, "{table}");
    assert!(table.contains("too few normal pixels"), "{table}");
}

#[test]
fn labels_keep_an_image_anomalous_whose_mask_is_empty_but_may_not_contradict_a_mask() {
    let folder = tempfile::tempdir().expect("a folder");
    let (maps, masks) = saved_bottle(folder.path());
    let lost = save(folder.path(), "lost.npy", &[83], (0..83).map(|image| i32::from(image >= 19)));
    let report = json_of(&[&maps, &masks, &"--labels", &lost]);
    assert_eq!((&report["counts"]["anomalous_images"], &report["counts"]["empty_masks"]), (&64.into(), &1.into()));
    let wrong = save(folder.path(), "wrong.npy", &[83], (0..83).map(|image| image > 20));
    complaint(&[&maps, &masks, &"--labels", &wrong], &["masks.npy", "image 20", "normal"]);
    let short = save(folder.path(), "short.npy", &[82], vec![1u8; 82]);
    complaint(&[&maps, &masks, &"--labels", &short], &["short.npy", "[82]", "83"]);
}

#[test]
fn undefined_metrics_are_null_with_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let (maps, _) = saved_bottle(folder.path());
    let blank = save(folder.path(), "blank.npy", &SHAPE, vec![0u8; 83 * 64 * 64]);
    let report = json_of(&[&maps, &blank]);
    assert!(report["pixel_pro"].is_null() && report["image_auroc"].is_null());
    assert_eq!(report["reasons"]["pixel_pro"], dmad::metrics::NO_POSITIVE);
    let table = render_line(&[&maps, &blank]).expect("a table");
    assert!(table.contains(dmad::metrics::NO_POSITIVE), "{table}");
}

#[test]
fn broken_files_are_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (maps, masks) = saved_bottle(folder);
    let bytes = std::fs::read(&maps).expect("maps");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).expect("file");
        folder.join(name)
    };
    complaint(&[&write("cut.npy", &bytes[..bytes.len() - 5]), &masks], &["cut.npy", "the file holds 1359867"]);
    complaint(&[&write("long.npy", &[&bytes[..], b"x"].concat()), &masks], &["long.npy", "the file holds"]);
    complaint(&[&write("text.npy", b"score,label\n"), &masks], &["text.npy", "not a .npy array"]);
    complaint(&[&write("head.npy", &bytes[..20]), &masks], &["head.npy", "not a .npy array"]);
    let error = render_line(&[&folder.join("missing.npy"), &masks]).expect_err("no file").to_string();
    assert!(error.contains("missing.npy"), "{error}");
    let column = "{'descr': '<f4', 'fortran_order': True, 'shape': (83, 64, 64), }";
    complaint(&[&save_raw(folder, "f.npy", column, &bytes[bytes.len() - 83 * 64 * 64 * 4..]), &masks], &["Fortran"]);
    let whole = save(folder, "whole.npy", &SHAPE, vec![1i32; 83 * 64 * 64]);
    complaint(&[&whole, &masks], &["whole.npy", "<i4"]);
    let flat = save(folder, "flat.npy", &[83 * 64 * 64], vec![1f32; 83 * 64 * 64]);
    complaint(&[&flat, &masks], &["flat.npy", "N×H×W"]);
    let none = save(folder, "none.npy", &[0, 64, 64], Vec::<f32>::new());
    complaint(&[&none, &none], &["none.npy", "no pixel"]);
    let half = save(folder, "half.npy", &[83, 32, 64], vec![0u8; 83 * 32 * 64]);
    complaint(&[&maps, &half], &["half.npy", "[83, 32, 64]", "[83, 64, 64]"]);
}

#[test]
fn values_that_are_no_numbers_are_named_with_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let (maps, masks) = saved_bottle(folder.path());
    let Memory(images) = bottle(64);
    let spoiled = images.iter().flat_map(|i| i.scores.clone()).enumerate();
    let spoiled = spoiled.map(|(index, score)| if index == 64 * 64 * 2 + 70 { f64::NAN } else { f64::from(score) });
    let nan = save(folder.path(), "nan.npy", &SHAPE, spoiled);
    complaint(&[&nan, &masks], &["nan.npy", "image 2", "row 1, column 6", "NaN"]);
    let truth = (0..83 * 64 * 64).map(|index| if index == 9 { -f32::NAN } else { 0.0 });
    let truth = save(folder.path(), "truth.npy", &SHAPE, truth);
    complaint(&[&maps, &truth], &["truth.npy", "value 9", "NaN"]);
}
