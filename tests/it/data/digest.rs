//! Content digests and their memory.

use super::{catalog, copy_of, entry, real};
use crate::util;
use dmad::data::digest::{Digests, list_digest};
use dmad::data::index::{self, Image};
use std::fs;
use std::path::Path;

/// After so long a file counts as one that nobody is writing any more.
const SETTLED: std::time::Duration = std::time::Duration::from_millis(2100);

fn training(index: &index::Index) -> Vec<Image> {
    index.classes[0].train.clone()
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn a_list_digest_depends_on_paths_contents_and_order_but_not_on_the_folder() {
    let data = util::data();
    let folder = copy_of("smoke", &data);
    let (here, there) = (training(&real("smoke", &data)), training(&real("smoke", folder.path())));
    let digest = |images: &[Image]| list_digest(&mut Digests::open(None), images).unwrap();
    assert_eq!(digest(&here), digest(&there));
    let mut reversed = here.clone();
    reversed.reverse();
    assert_ne!(digest(&here), digest(&reversed));
    let mut renamed = here.clone();
    renamed[0].path.push('x');
    assert_ne!(digest(&here), digest(&renamed));
    fs::copy(folder.path().join("smoke/leather/test/good/000.png"), there[0].place()).unwrap();
    assert_ne!(digest(&here), digest(&there));
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn the_cache_saves_reading_notices_changes_and_is_rebuilt_when_damaged() {
    let data = util::data();
    let folder = copy_of("smoke", &data);
    let images = training(&real("smoke", folder.path()));
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    let age = |image: &Image, time| {
        fs::File::options().append(true).open(image.place()).unwrap().set_modified(time).unwrap();
    };
    images.iter().for_each(|image| age(image, old));
    std::thread::sleep(SETTLED);
    let file = folder.path().join("cache/digests");
    let read = || {
        let mut digests = Digests::open(Some(&file));
        let list = digests.of(&images).unwrap();
        digests.save().unwrap();
        (list, digests.hashed())
    };
    let (first, hashed) = read();
    assert_eq!((hashed, read()), (4, (first.clone(), 0)));
    // Another content of the same length.
    let mut bytes = fs::read(images[0].place()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(images[0].place(), bytes).unwrap();
    let (changed, hashed) = read();
    assert_eq!((hashed, changed[0] == first[0], &changed[1..]), (1, false, &first[1..]));
    // A file that changed just now may change again unseen: it is read every time.
    assert_eq!(read().1, 1);
    age(&images[0], old);
    std::thread::sleep(SETTLED);
    assert_eq!((read().1, read().1), (1, 0));
    let text = fs::read_to_string(&file).unwrap();
    // What an earlier version has written is of another form, whole as it is.
    let earlier = "dmad image digests 1\n";
    let earlier = format!("{earlier}{}\n", blake3::hash(earlier.as_bytes()).to_hex());
    let others = [text.replace('a', "b"), text[..text.len() / 2].into(), String::new(), "nonsense\n".into(), earlier];
    for damaged in others {
        fs::write(&file, damaged).unwrap();
        assert_eq!((read(), read().1), ((changed.clone(), 4), 0));
    }
}

#[cfg(unix)]
#[test]
fn files_that_change_places_are_told_whatever_time_of_modification_they_carry() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other, aside] = ["one.bmp", "other.bmp", "aside"].map(|name| folder.path().join(name));
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(1_000_000);
    for (path, content) in [(&one, "first"), (&other, "other")] {
        fs::write(path, content).unwrap();
        fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
    }
    std::thread::sleep(SETTLED);
    let images = [Image::at(&one), Image::at(&other)];
    let file = folder.path().join("digests");
    let read = || {
        let mut digests = Digests::open(Some(&file));
        let list = digests.of(&images).unwrap();
        digests.save().unwrap();
        (list, digests.hashed())
    };
    let (before, _) = read();
    assert_eq!(read().1, 0);
    fs::rename(&one, &aside).and_then(|()| fs::rename(&other, &one)).and_then(|()| fs::rename(&aside, &other)).unwrap();
    let (after, hashed) = read();
    assert_eq!((hashed, [after[1], after[0]]), (2, [before[0], before[1]]));
    // Written over in place, as by a copy that keeps the time of its source.
    fs::write(&one, "third").unwrap();
    fs::File::options().append(true).open(&one).unwrap().set_modified(old).unwrap();
    assert!(!after.contains(&read().0[0]));
}

#[test]
fn drawings_have_digests_without_being_drawn() {
    let entry = entry("synthetic");
    let here = training(&index::index(&entry, Path::new(""), None).unwrap());
    let mut digests = Digests::open(None);
    let list = digests.of(&here).unwrap();
    let distinct: std::collections::BTreeSet<_> = list.iter().collect();
    assert_eq!((distinct.len(), digests.hashed()), (here.len(), 0));
    let text = "[dataset.other]\nlayout = \"synthetic\"\nseed = 1\nside = 256\ntrain = 64\ntest_good = 12\ntest_per_defect = 8\n";
    let other = catalog(text).unwrap();
    let there = training(&index::index(other.get("other").unwrap(), Path::new(""), None).unwrap());
    assert_ne!(list[0], digests.of(&there).unwrap()[0]);
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn a_vanished_file_is_an_error_that_names_it() {
    let data = util::data();
    let folder = copy_of("smoke", &data);
    let images = training(&real("smoke", folder.path()));
    fs::remove_file(images[2].place()).unwrap();
    let error = Digests::open(None).of(&images).unwrap_err().to_string();
    assert!(error.contains("train/good/002.png"), "{error}");
}
