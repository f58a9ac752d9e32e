//! What a run is given of its dataset: the split, and what its images are by content.
//!
//! Owns: digests of lists, of the truth, of the dataset, and which runs are given the same. Does not own: stages (`prepare`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::session::{Session, cached};
use crate::data::{
    ClassSplit, Digest, Digests, Image, Labelled, Listed, Source, Split, hex, list_digest, split, verify,
};
use crate::error::Result;
use crate::spec::{RunSpec, Sampler, to_json};

/// The data of a run.
pub struct Data {
    pub split: Split,
    /// By class, in the split's order.
    pub lists: Vec<ClassLists>,
    /// Digest of labels and masks of the test images.
    pub truth_digest: String,
    /// Digest of all images of the split.
    pub dataset_digest: String,
    /// Digest of all images and masks of the dataset's classes, in the split or not, as `data verify` prints it.
    pub whole_digest: String,
    /// Files passed over when the dataset was read.
    pub skipped: usize,
    /// Test images whose content is also that of a training image, of whatever class.
    pub leaked: usize,
}

/// The images of a class as stages take them.
pub struct ClassLists {
    pub train: Listed,
    pub pool: Listed,
    /// Seen anomalies that are not of the pool (VisA's two-class splits).
    pub own: Listed,
    /// Those of the pool that are tested.
    pub tested: Listed,
    /// Digests of image and mask of each seen anomaly.
    pub seen: Vec<[Digest; 2]>,
    /// Those of the masks of the tested images, for the evaluation alone.
    pub masks: Vec<Option<Digest>>,
}

/// Data of several runs, each read once: for whoever looks at many runs at one time.
#[derive(Default)]
pub struct Datas(Mutex<BTreeMap<String, Arc<Data>>>);

impl Datas {
    /// The data of a run.
    ///
    /// # Errors
    /// Those of [`Data::new`].
    pub fn of(&self, session: &Session, spec: &RunSpec) -> Result<Arc<Data>> {
        // The only draw that a split makes with the run's own seed.
        let draws = spec.protocol.seen.count > 0 && spec.protocol.seen.sampler == Sampler::Chacha;
        let seed = if draws { spec.seed } else { 0 };
        let key = serde_json::json!([spec.dataset, spec.classes, to_json(&spec.protocol), seed]).to_string();
        cached(&self.0, key, || Data::new(session, spec).map(Arc::new))
    }
}

impl Data {
    /// Reads the dataset and splits it.
    ///
    /// # Errors
    /// A dataset that is not there, more seen anomalies wanted than there are, a file that cannot be read.
    pub fn new(session: &Session, spec: &RunSpec) -> Result<Self> {
        let index = session.index(&spec.dataset, &spec.classes)?;
        let mut digests = session.digests();
        let split = split(&index, &spec.protocol, spec.seed, &mut digests)?;
        let lists: Vec<ClassLists> =
            split.classes.iter().map(|class| ClassLists::new(class, &mut digests)).collect::<Result<_>>()?;
        let mut images: Vec<Image> = Vec::new();
        for class in &split.classes {
            images.extend(class.train.iter().chain(&class.pool).cloned());
            images.extend(class.seen.iter().map(|seen| seen.image.clone()));
        }
        let data = Data {
            truth_digest: truth_digest(&split, &lists),
            dataset_digest: hex(&list_digest(&mut digests, &images)?),
            whole_digest: verify::digest(&index, &mut digests)?,
            leaked: leaked(&split, &mut digests)?,
            skipped: index.skipped.len(),
            lists,
            split,
        };
        digests.save()?;
        Ok(data)
    }
}

impl ClassLists {
    fn new(class: &ClassSplit, digests: &mut Digests) -> Result<Self> {
        let seen = class.seen.iter().map(|seen| &seen.image);
        let own: Vec<Image> = seen.filter(|image| !class.pool.contains(image)).cloned().collect();
        let tested: Vec<Image> = class.test.iter().map(|&image| class.pool[image].clone()).collect();
        let mut seen = Vec::new();
        for anomaly in &class.seen {
            seen.push(both(&anomaly.image, &anomaly.mask, digests)?);
        }
        let mut masks = Vec::new();
        for labelled in class.truth.images() {
            let mask = labelled.mask.as_ref().map(mask_image);
            masks.push(mask.map(|mask| digests.of([&mask])).transpose()?.map(|found| found[0]));
        }
        let mut listed = |images: &[Image]| Listed::new(images, digests);
        let (train, pool, own, tested) = (listed(&class.train)?, listed(&class.pool)?, listed(&own)?, listed(&tested)?);
        Ok(ClassLists { train, pool, own, tested, seen, masks })
    }
}

fn both(image: &Image, mask: &Source, digests: &mut Digests) -> Result<[Digest; 2]> {
    let found = digests.of([image, &mask_image(mask)])?;
    Ok([found[0], found[1]])
}

fn truth_digest(split: &Split, lists: &[ClassLists]) -> String {
    let mut truth = blake3::Hasher::new();
    for (class, ClassLists { masks, .. }) in split.classes.iter().zip(lists) {
        for (Labelled { image, defect, anomalous, .. }, mask) in class.truth.images().iter().zip(masks) {
            truth.update(format!("{}\n{}\n{defect}\n{anomalous}\n", class.name, image.path).as_bytes());
            truth.update(mask.as_ref().map_or(&[], |mask| mask));
        }
    }
    truth.finalize().to_hex().to_string()
}

/// How many test images have the content of a training image.
fn leaked(split: &Split, digests: &mut Digests) -> Result<usize> {
    let trained: BTreeSet<Digest> =
        digests.of(split.classes.iter().flat_map(|class| &class.train))?.into_iter().collect();
    let tested = split.classes.iter().flat_map(|class| class.test.iter().map(|&image| &class.pool[image]));
    Ok(digests.of(tested)?.iter().filter(|digest| trained.contains(*digest)).count())
}

/// A mask as something that has a content digest.
pub fn mask_image(mask: &Source) -> Image {
    Image { path: String::new(), source: mask.clone() }
}
