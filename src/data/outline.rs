//! Indexes without their images: what an exported model knows of the datasets that it was made of.
//!
//! Owns: an index as plain data, every image as its path and its content's digest, and the way back. Does not own: where the
//! outline is kept (`run::model`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, Digests, hex};
use super::index::{ClassIndex, Image, Index, Labelled, Source};
use crate::error::{Error, Result};

/// An index as plain data. Splits, and keys of stages, made of it are those of the index itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    dataset: String,
    classes: Vec<OutlinedClass>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OutlinedClass {
    name: String,
    train: Vec<OutlinedImage>,
    train_anomalies: Vec<OutlinedTruth>,
    test: Vec<OutlinedTruth>,
}

/// Path, and digest in hex.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OutlinedImage(String, String);

/// Image, kind of defect, label, digest of the mask in hex.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OutlinedTruth(OutlinedImage, String, bool, Option<String>);

impl Outline {
    /// The outline of an index.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn new(index: &Index, digests: &mut Digests) -> Result<Outline> {
        let classes = index.classes.iter().map(|class| {
            Ok(OutlinedClass {
                name: class.name.clone(),
                train: outlined(class.train.iter(), digests)?,
                train_anomalies: outlined_truth(&class.train_anomalies, digests)?,
                test: outlined_truth(&class.test, digests)?,
            })
        });
        Ok(Outline { dataset: index.dataset.clone(), classes: classes.collect::<Result<_>>()? })
    }

    /// The index, whose images are absent.
    ///
    /// # Errors
    /// A digest that is none.
    pub fn index(&self) -> Result<Index> {
        let classes = self.classes.iter().map(|class| {
            let train: Result<Vec<Image>> = class.train.iter().map(OutlinedImage::image).collect();
            let labelled = |rows: &[OutlinedTruth]| rows.iter().map(OutlinedTruth::labelled).collect::<Result<_>>();
            let (train_anomalies, test) = (labelled(&class.train_anomalies)?, labelled(&class.test)?);
            Ok(ClassIndex { name: class.name.clone(), train: train?, train_anomalies, test })
        });
        let (dataset, classes) = (self.dataset.clone(), classes.collect::<Result<_>>()?);
        Ok(Index { dataset, root: PathBuf::new(), classes, skipped: Vec::new() })
    }
}

impl OutlinedImage {
    fn image(&self) -> Result<Image> {
        Ok(Image { path: self.0.clone(), source: absent(&self.1)? })
    }
}

impl OutlinedTruth {
    fn labelled(&self) -> Result<Labelled> {
        let OutlinedTruth(image, defect, anomalous, mask) = self;
        let mask = mask.as_deref().map(absent).transpose()?;
        Ok(Labelled { image: image.image()?, defect: defect.clone(), anomalous: *anomalous, mask })
    }
}

fn absent(hex: &str) -> Result<Source> {
    let digest: Digest = match blake3::Hash::from_hex(hex) {
        Ok(hash) => *hash.as_bytes(),
        Err(_) => return Err(Error::usage(format!("`{hex}` is no digest of an image"), "export the model again")),
    };
    Ok(Source::Absent(digest))
}

fn outlined<'a>(images: impl Iterator<Item = &'a Image> + Clone, digests: &mut Digests) -> Result<Vec<OutlinedImage>> {
    let contents = digests.of(images.clone())?;
    Ok(images.zip(&contents).map(|(image, content)| OutlinedImage(image.path.clone(), hex(content))).collect())
}

fn outlined_truth(rows: &[Labelled], digests: &mut Digests) -> Result<Vec<OutlinedTruth>> {
    let images = outlined(rows.iter().map(|row| &row.image), digests)?;
    let masks: Vec<Option<Image>> = rows
        .iter()
        .map(|row| row.mask.as_ref().map(|mask| Image { path: String::new(), source: mask.clone() }))
        .collect();
    let mut contents = digests.of(masks.iter().flatten())?.into_iter();
    let mut row = |(row, (image, mask)): (&Labelled, (OutlinedImage, &Option<Image>))| {
        let mask = mask.as_ref().and_then(|_| contents.next()).as_ref().map(hex);
        OutlinedTruth(image, row.defect.clone(), row.anomalous, mask)
    };
    Ok(rows.iter().zip(images.into_iter().zip(&masks)).map(&mut row).collect())
}
