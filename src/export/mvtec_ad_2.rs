//! What the server of MVTec AD 2 takes: a folder with two files for every image of its private test sets.
//!
//! Owns: names, forms and their check, as the publisher's own check has them before an upload. Does not own: which scores
//! (`run`).
//!
//! `anomaly_images/CLASS/SET/NAME.tiff` are scores as 16-bit floats in one channel, `anomaly_images_thresholded/CLASS/SET/NAME.png`
//! are 0 and 255 in 8-bit grey, both in the size of the image; nothing else may lie there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use half::f16;

use crate::data::thumbnail::png;
use crate::error::{Error, Result};

/// The classes, and how many images each private set of theirs has.
pub const CLASSES: [(&str, usize); 8] = [
    ("can", 321),
    ("fabric", 314),
    ("fruit_jelly", 255),
    ("rice", 277),
    ("sheet_metal", 142),
    ("vial", 276),
    ("wallplugs", 232),
    ("walnuts", 228),
];
/// The private sets, and what names of their images end in.
pub const SETS: [(&str, &str); 2] = [("test_private", "regular"), ("test_private_mixed", "mixed")];
/// Folder and ending of scores, and of what is above the threshold.
const FORMS: [(&str, &str); 2] = [("anomaly_images", "tiff"), ("anomaly_images_thresholded", "png")];

/// Width and height of every image, by `CLASS/SET/NAME` without an ending.
pub type Sizes = BTreeMap<String, (usize, usize)>;

/// Where an image's scores, and what of them is above the threshold, go below the folder.
pub fn places(folder: &Path, image: &str) -> [PathBuf; 2] {
    FORMS.map(|(form, ending)| folder.join(form).join(format!("{image}.{ending}")))
}

/// The power of two that scores are multiplied by, so that 16-bit floats hold them: 1 where they do. No order of scores is
/// changed by it.
pub fn factor(largest: f32) -> f32 {
    // Below this, less than eleven digits are left to many of the scores.
    const SMALL: f32 = 1.0 / 64.0;
    if largest == 0.0 || (SMALL..=f16::MAX.to_f32()).contains(&largest) {
        return 1.0;
    }
    largest.log2().floor().clamp(-126.0, 126.0).exp2().recip()
}

/// A TIFF of `width` × `height` 16-bit floats: one strip, not compressed.
///
/// # Panics
/// When `scores` does not hold one score per pixel.
pub fn tiff(scores: &[f32], (width, height): (usize, usize)) -> Vec<u8> {
    assert_eq!(scores.len(), width * height, "one score per pixel");
    let mut bytes = head((width, height));
    bytes.extend(scores.iter().flat_map(|&score| f16::from_f32(score).to_le_bytes()));
    bytes
}

/// All of such a file before its scores: the directory comes first, so that it tells size and form alone.
fn head((width, height): (usize, usize)) -> Vec<u8> {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let bytes_of_scores = 2 * width * height;
    // Width, height, bits, no compression, black is zero, place of the scores, one channel, all rows in one strip, bytes, floats.
    let tags = |start: usize| {
        [
            (256, LONG, width),
            (257, LONG, height),
            (258, SHORT, 16),
            (259, SHORT, 1),
            (262, SHORT, 1),
            (273, LONG, start),
            (277, SHORT, 1),
            (278, LONG, height),
            (279, LONG, bytes_of_scores),
            (339, SHORT, 3),
        ]
    };
    const BEFORE: usize = 8;
    let start = BEFORE + 2 + 12 * tags(0).len() + 4;
    let mut bytes = b"II*\0".to_vec();
    bytes.extend((BEFORE as u32).to_le_bytes());
    bytes.extend((tags(start).len() as u16).to_le_bytes());
    for (tag, kind, value) in tags(start) {
        bytes.extend([u16::to_le_bytes(tag), kind.to_le_bytes()].concat());
        // A short value stands in the first half of its four bytes, and little-endian numbers make no difference of that.
        bytes.extend([1u32.to_le_bytes(), (value as u32).to_le_bytes()].concat());
    }
    // No further directory.
    bytes.extend([0; 4]);
    bytes
}

/// A PNG of what is above `threshold`: 255 there, else 0.
pub fn above(scores: &[f32], size: (usize, usize), threshold: f64) -> Vec<u8> {
    let pixels: Vec<u8> = scores.iter().map(|&score| if f64::from(score) > threshold { 255 } else { 0 }).collect();
    png(&pixels, size, None)
}

/// Whatever the server would refuse of a folder: a file that is missing, too many, or of another form or size than it should
/// have for images of these `sizes`.
///
/// # Errors
/// A folder or file that cannot be read.
pub fn check(folder: &Path, sizes: &Sizes) -> Result<Vec<Error>> {
    let mut wanted: BTreeMap<PathBuf, (usize, usize)> = BTreeMap::new();
    for (image, size) in sizes {
        wanted.extend(places(folder, image).into_iter().map(|place| (place, *size)));
    }
    let mut there = BTreeSet::new();
    collect(folder, &mut there)?;
    let mut faults: Vec<Error> = Vec::new();
    for foreign in there.iter().filter(|path| !wanted.contains_key(*path)) {
        faults.push(Error::data(foreign, "the server takes no such file", "remove it"));
    }
    for (path, size) in &wanted {
        let what = match there.contains(path) {
            false => Some("is missing".to_string()),
            true => wrong_form(path, *size)?,
        };
        faults.extend(what.map(|what| Error::data(path, what, "write the folder again")));
    }
    faults.extend(incomplete(folder, sizes));
    Ok(faults)
}

/// All files below `folder`.
fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// What is wrong with a file's form.
fn wrong_form(path: &Path, size: (usize, usize)) -> Result<Option<String>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    if path.extension().is_some_and(|ending| ending == "tiff") {
        let head = head(size);
        let fine = bytes.starts_with(&head) && bytes.len() == head.len() + 2 * size.0 * size.1;
        return Ok((!fine).then(|| format!("is no TIFF of {} × {} 16-bit floats", size.0, size.1)));
    }
    let values = grey(&bytes, size);
    let fine = values.is_some_and(|values| values.iter().all(|value| [0, 255].contains(value)));
    Ok((!fine).then(|| format!("is no PNG of {} × {} pixels of 0 and 255", size.0, size.1)))
}

/// The pixels of a PNG of this size in 8-bit grey; `None` for anything else.
fn grey(bytes: &[u8], size: (usize, usize)) -> Option<Vec<u8>> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut pixels).ok()?;
    let form = (frame.color_type, frame.bit_depth, (frame.width as usize, frame.height as usize));
    (form == (png::ColorType::Grayscale, png::BitDepth::Eight, size)).then_some(pixels)
}

/// What the server wants and the images have not: all classes, each with all images of both sets, and nothing else.
fn incomplete(folder: &Path, sizes: &Sizes) -> Vec<Error> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (class, count) in CLASSES {
        for (set, ending) in SETS {
            let names = (0..count).map(|number| format!("{number:03}_{ending}"));
            wanted.insert(format!("{class}/{set}"), names.collect());
        }
    }
    let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for image in sizes.keys() {
        let (set, name) = image.rsplit_once('/').unwrap_or(("", image));
        there.entry(set.into()).or_default().insert(name.into());
    }
    let mut faults = Vec::new();
    let help = "complete the dataset, and take a run of all its classes";
    for (set, names) in &wanted {
        let found = there.get(set).map_or(0, |own| own.intersection(names).count());
        if found < names.len() {
            let what = format!("{set} has {found} of the {} images that the server wants", names.len());
            faults.push(Error::data(folder, what, help));
        }
    }
    for (set, names) in &there {
        let foreign = names.iter().find(|name| !wanted.get(set).is_some_and(|own| own.contains(*name)));
        faults.extend(foreign.map(|name| Error::data(folder, format!("the server knows no image {set}/{name}"), help)));
    }
    faults
}
