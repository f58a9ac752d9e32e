//! Whether the images and masks of an index can be used at all.
//!
//! Owns: which files are looked at, by header or by content, and the order of faults. Does not own: what a whole file is
//! (`decode`, `mask`).

use crate::data::digest::{Digests, hex, list_digest};
use crate::data::index::{Image, Index, Labelled, Source};
use crate::data::{decode, image, mask};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// Faults that headers show, of all images and masks, in the order of the index: no image, too small, a mask of another
/// size than its image.
pub fn headers(index: &Index) -> Vec<Error> {
    faults(
        index,
        |image| image::size(image).map(drop),
        |labelled, source| match source {
            Source::File(path) => mask::check_size(path, decode::size(path)?, &labelled.image),
            Source::Synthetic(_) | Source::Absent(_) => Ok(()),
        },
    )
}

/// Faults of all images and masks, decoded, in the order of the index. What is drawn is in no file and cannot be damaged.
pub fn contents(index: &Index) -> Vec<Error> {
    faults(
        index,
        |image| match &image.source {
            Source::File(_) => image::load(image).map(drop),
            Source::Synthetic(_) | Source::Absent(_) => Ok(()),
        },
        |labelled, source| match source {
            Source::File(_) => mask::load(&labelled.image, source).map(drop),
            Source::Synthetic(_) | Source::Absent(_) => Ok(()),
        },
    )
}

/// Image files that whoever shows them turns first ([`decode::is_turned`]).
pub fn turned(index: &Index) -> Vec<&Image> {
    let (plain, labelled) = all_images(index);
    let images: Vec<&Image> = plain.into_iter().chain(labelled.into_iter().map(|own| &own.image)).collect();
    let is_turned = |image: &&&Image| matches!(&image.source, Source::File(path) if decode::is_turned(path));
    images.par_iter().filter(is_turned).copied().collect()
}

/// All training images, then all images with labels.
pub fn all_images(index: &Index) -> (Vec<&Image>, Vec<&Labelled>) {
    let plain = index.classes.iter().flat_map(|class| &class.train).collect();
    let labelled = index.classes.iter().flat_map(|class| class.train_anomalies.iter().chain(&class.test)).collect();
    (plain, labelled)
}

/// Content digest of a dataset: all its images with their paths, and all masks. Equal datasets in other folders have equal
/// digests.
pub fn digest(index: &Index, digests: &mut Digests) -> Result<String> {
    let (plain, labelled) = all_images(index);
    let masked = labelled.into_iter().flat_map(|Labelled { image, mask, .. }| {
        let mask = mask.iter().map(|mask| Image { path: format!("mask of {}", image.path), source: mask.clone() });
        std::iter::once(image.clone()).chain(mask)
    });
    let images: Vec<Image> = plain.into_iter().cloned().chain(masked).collect();
    Ok(hex(&list_digest(digests, &images)?))
}

fn faults(
    index: &Index,
    check_image: impl Fn(&Image) -> Result<()> + Sync,
    check_mask: impl Fn(&Labelled, &Source) -> Result<()> + Sync,
) -> Vec<Error> {
    let (plain, labelled) = all_images(index);
    let mut faults: Vec<Error> = plain.par_iter().filter_map(|image| check_image(image).err()).collect();
    let check = |labelled: &Labelled| {
        check_image(&labelled.image)?;
        labelled.mask.as_ref().map_or(Ok(()), |source| check_mask(labelled, source))
    };
    faults.par_extend(labelled.par_iter().filter_map(|labelled| check(labelled).err()));
    faults
}
