//! `dmad data`.

use super::copy_of;
use crate::util;
use clap::Parser;
use dmad::cli::data::{DataCommand, run};
use dmad::data::digest::Digests;
use dmad::data::index::{self, Source};
use dmad::error::Result;
use std::fs;
use std::path::Path;

#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    data: DataCommand,
}

fn dmad_data(words: &[&str], data: &Path) -> Result<bool> {
    let words = std::iter::once(&"data").chain(words);
    run(&Command::try_parse_from(words).unwrap().data, &dmad::data::Catalog::load(None)?, data, false)
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn verify_passes_whole_datasets_and_fails_broken_ones() {
    let data = util::data();
    assert!(dmad_data(&["verify", "smoke", "visa_layout", "dtd_mini", "--deep"], &data).unwrap());
    assert!(!dmad_data(&["verify", "mini"], &data).unwrap(), "seven of its test images are training images");
    assert!(!dmad_data(&["verify", "mvtec_ad"], &data).unwrap());
    assert!(dmad_data(&["verify", "nonsense"], &data).is_err());
    assert!(dmad_data(&["list"], &data).unwrap());
    let folder = copy_of("smoke", &data);
    let leather = folder.path().join("smoke/leather");
    let image = leather.join("test/good/001.png");
    let whole = fs::read(&image).unwrap();
    fs::write(&image, &whole[..whole.len() / 2]).unwrap();
    assert!(dmad_data(&["verify", "smoke"], folder.path()).unwrap(), "the header alone is whole");
    assert!(!dmad_data(&["verify", "smoke", "--deep"], folder.path()).unwrap());
    fs::write(&image, &whole).unwrap();
    assert!(dmad_data(&["verify", "--deep"], folder.path()).unwrap());
    fs::write(leather.join("ground_truth/cut/000_mask.png"), tiny_png()).unwrap();
    assert!(!dmad_data(&["verify"], folder.path()).unwrap(), "the mask has another size");
}

fn tiny_png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::GrayImage::from_pixel(16, 16, image::Luma([255]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn synthesized_files_are_a_whole_dataset_with_the_pixels_of_the_drawings() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("drawn");
    assert!(dmad_data(&["synthesize", out.to_str().unwrap()], folder.path()).unwrap());
    assert!(dmad_data(&["synthesize", out.to_str().unwrap()], folder.path()).is_err(), "the folder is not empty");
    assert!(dmad_data(&["synthesize", "x", "--dataset", "mini"], folder.path()).is_err());
    let entry = super::catalog("[dataset.drawn]\nlayout = \"mvtec\"\nroot = \"drawn\"\n").unwrap();
    let files = index::index(entry.get("drawn").unwrap(), folder.path(), None).unwrap();
    let drawn = index::index(&super::entry("synthetic"), folder.path(), None).unwrap();
    for class in &drawn.classes {
        let written = files.class(&class.name).unwrap();
        assert_eq!(written.counts(), class.counts());
        for (a, b) in class.test.iter().zip(&written.test).step_by(5) {
            assert_eq!((&a.image.path, &a.defect), (&b.image.path, &b.defect));
            assert!(matches!((&a.image.source, &b.image.source), (Source::Synthetic(_), Source::File(_))));
            let load = |l: &index::Labelled| dmad::data::image::load(&l.image).unwrap().into_rgb();
            assert_eq!(load(a), load(b));
            let mask = |l: &index::Labelled| l.mask.as_ref().map(|m| dmad::data::mask::load(&l.image, m).unwrap());
            assert_eq!(mask(a), mask(b));
        }
    }
    assert_eq!(Digests::open(None).of(&files.classes[0].train).unwrap().len(), files.classes[0].train.len());
}
