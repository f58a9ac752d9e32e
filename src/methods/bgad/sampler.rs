//! Which places a step of BGAD's training has, and what they are made of. Everything here is a function of the numbers of a
//! pass and of a batch in it.

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::levels::{Levels, level_mask, vectors};
use super::params::{Params, PastedChanges, Sampling};
use crate::augment::{ALL_CHANGES, EIGHT_CHANGES, paste_masked, three_changes};
use crate::backbone::Backbone;
use crate::data::decode::Pixels;
use crate::error::Result;
use crate::plan::Level;
use crate::random::{Purpose, Stream, stream};
use crate::train::{Shelf, rounds};

/// A pass over the images.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Its number through all epochs.
    pub number: usize,
    /// It belongs to the first epoch, which has no anomalies.
    pub first_epoch: bool,
}

/// All images that a training may draw from.
pub struct Pool<'a> {
    /// Settings.
    pub params: &'a Params,
    /// The run's seed.
    pub seed: u64,
    /// Layers.
    pub levels: Vec<Level>,
    /// From images to vectors.
    pub backbone: Backbone,
    /// Normal images, one list for each class.
    pub normals: Shelf,
    /// Class and number of each normal image.
    pub images: Vec<(usize, usize)>,
    /// Seen anomalies that are learned from, one list.
    pub seen: Shelf,
    /// Class of each of them.
    pub seen_classes: Vec<usize>,
    /// Their masks: one channel, 0 or 255, as large as the images.
    pub masks: Vec<Pixels>,
    /// Vectors of unchanged images that stay in memory: normal ones, then seen anomalies.
    pub kept: Vec<OnceLock<Arc<Levels>>>,
}

/// An image of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A normal one, by its number among all.
    Normal(usize),
    /// A seen anomaly as it is.
    Seen(usize),
    /// A normal one with the defect of a seen anomaly.
    Pasted(usize),
}

/// The places of a step, on the host.
pub struct Draft {
    /// Number of the layer.
    pub level: usize,
    /// Feature vectors, one after the other.
    pub vectors: Vec<f32>,
    /// Where in the map each of them is, row by row.
    pub places: Vec<usize>,
    /// Which are anomalous.
    pub anomalous: Vec<bool>,
}

/// An image's vectors, and its anomalous places by layer; none = all normal.
type Drawn = (Arc<Levels>, Option<Vec<Vec<bool>>>);

impl Pool<'_> {
    /// Batches of a pass.
    pub fn batches(&self, pass: Pass) -> usize {
        let train = &self.params.train;
        if self.balances(pass) {
            return train.steps;
        }
        let images = self.images.len() + self.entries(pass);
        if train.drop_last { images / train.batch } else { images.div_ceil(train.batch) }
    }

    fn balances(&self, pass: Pass) -> bool {
        self.params.train.sampling == Sampling::Balanced && self.entries(pass) > 0
    }

    /// How many anomalies stand in the list of a pass.
    fn entries(&self, pass: Pass) -> usize {
        if pass.first_epoch { 0 } else { self.params.anomalies.repeat * self.seen_classes.len() }
    }

    /// What stands in the list of anomalies: real ones first, then pasted ones.
    fn entry(&self, number: usize, entries: usize) -> Source {
        let real = ((1.0 - self.params.anomalies.pasted) * entries as f64).round() as usize;
        let image = number % self.seen_classes.len();
        if number < real { Source::Seen(image) } else { Source::Pasted(image) }
    }

    fn sources(&self, pass: Pass, batch: usize) -> Vec<Source> {
        let (train, entries, normals) = (&self.params.train, self.entries(pass), self.images.len());
        if self.balances(pass) {
            let step = (pass.number * train.steps + batch) as u64;
            let share = train.normal_share();
            let normal = rounds(self.seed, Purpose::NormalOrder, normals, step, share).map(Source::Normal);
            let anomalies = rounds(self.seed, Purpose::AnomalyOrder, entries, step, train.batch - share);
            return normal.chain(anomalies.map(|number| self.entry(number, entries))).collect();
        }
        let order = stream(self.seed, Purpose::NormalOrder, pass.number as u64).permutation(normals + entries);
        let own = order.into_iter().skip(batch * train.batch).take(train.batch);
        let source = |number: usize| {
            if number < normals { Source::Normal(number) } else { self.entry(number - normals, entries) }
        };
        own.map(source).collect()
    }

    /// The steps of a batch: layer by layer, its places in random order.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn drafts(&self, pass: Pass, batch: usize) -> Result<Vec<Draft>> {
        // Numbers of passes, batches and places in one index.
        let index = (pass.number as u64) << 40 | (batch as u64) << 16;
        let of_place = |(place, source): (usize, &Source)| {
            self.drawn(*source, &mut stream(self.seed, Purpose::Augmentation, index + place as u64))
        };
        let sources = self.sources(pass, batch);
        let images = sources.par_iter().enumerate().map(of_place).collect::<Result<Vec<_>>>()?;
        let drafts = self.levels.iter().enumerate().flat_map(|(number, level)| {
            let mut draws = stream(self.seed, Purpose::PatchChoice, index + number as u64);
            self.split(number, level, &images, &draws.permutation(images.len() * level.side.pow(2)))
        });
        Ok(drafts.collect())
    }

    /// The places of all images in one layer, in this order, as steps.
    fn split(&self, number: usize, level: &Level, images: &[Drawn], order: &[usize]) -> Vec<Draft> {
        let places = level.side.pow(2);
        let of_chunk = |chunk: &[usize]| {
            let mut vectors = Vec::with_capacity(chunk.len() * level.channels);
            for &place in chunk {
                let own = &images[place / places].0[number];
                vectors.extend_from_slice(&own[place % places * level.channels..][..level.channels]);
            }
            let is_anomalous =
                |&place: &usize| images[place / places].1.as_ref().is_some_and(|masks| masks[number][place % places]);
            Draft {
                level: number,
                vectors,
                places: chunk.iter().map(|place| place % places).collect(),
                anomalous: chunk.iter().map(is_anomalous).collect(),
            }
        };
        // A layer with fewer places than a step has makes one step of all.
        order.chunks_exact(self.params.train.chunk.min(order.len()).max(1)).map(of_chunk).collect()
    }

    fn drawn(&self, source: Source, draws: &mut Stream) -> Result<Drawn> {
        match source {
            Source::Normal(image) => Ok((self.vectors(image, || self.normal(image))?, None)),
            Source::Seen(image) => {
                let vectors = self.vectors(self.images.len() + image, || self.seen.get(0, image))?;
                Ok((vectors, Some(self.level_masks(&self.masks[image]))))
            }
            Source::Pasted(image) => {
                let (image, mask) = self.pasted(image, draws)?;
                Ok((Arc::new(vectors(&self.backbone, &image)?), Some(self.level_masks(&mask))))
            }
        }
    }

    /// A normal image of the class of a seen anomaly with its defect, and where that is. Where the class has no normal image
    /// the changed anomaly itself.
    fn pasted(&self, image: usize, draws: &mut Stream) -> Result<(Pixels, Pixels)> {
        let (list, anomaly) = (self.seen_classes[image], self.seen.get(0, image)?);
        let (anomaly, mask) = ((*anomaly).clone(), self.masks[image].clone());
        let (anomaly, mask) = match self.params.anomalies.changes {
            PastedChanges::Subset => three_changes(EIGHT_CHANGES, anomaly, mask, draws),
            PastedChanges::Full => three_changes(ALL_CHANGES, anomaly, mask, draws),
            PastedChanges::None => (anomaly, mask),
        };
        if self.normals.len(list) == 0 {
            return Ok((anomaly, mask));
        }
        let normal = self.normals.get(list, draws.below(self.normals.len(list)))?;
        Ok((paste_masked(&anomaly, &mask, (*normal).clone()), mask))
    }

    fn level_masks(&self, mask: &Pixels) -> Vec<Vec<bool>> {
        let set: Vec<bool> = mask.data.iter().map(|&value| value == u8::MAX).collect();
        let how = self.params.anomalies.mask_resize;
        self.levels.iter().map(|level| level_mask(&set, mask.width, level.side, how)).collect()
    }

    fn normal(&self, image: usize) -> Result<Arc<Pixels>> {
        let (class, number) = self.images[image];
        self.normals.get(class, number)
    }

    /// Vectors of an unchanged image, kept where there is room.
    fn vectors(&self, place: usize, image: impl Fn() -> Result<Arc<Pixels>>) -> Result<Arc<Levels>> {
        let kept = self.kept.get(place);
        if let Some(known) = kept.and_then(OnceLock::get) {
            return Ok(Arc::clone(known));
        }
        let vectors = Arc::new(vectors(&self.backbone, &*image()?)?);
        Ok(kept.map_or(Arc::clone(&vectors), |kept| Arc::clone(kept.get_or_init(|| vectors))))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;
    use crate::data::layouts::synthetic::SyntheticSpec;
    use crate::data::{self, Digests, Image, Listed, index::Drawing};
    use crate::plan::Pictures;
    use crate::spec::{self, Geometry};

    const SIDE: usize = 32;
    const NORMALS: usize = 6;
    const SEEN: usize = 2;

    fn pictures(defect: &'static str, count: usize) -> Pictures {
        let of_number = |index: usize| {
            let (class, split) = ("wood".to_string(), if defect == "good" { "train" } else { "test" });
            let drawing = Drawing { spec: SyntheticSpec { seed: 0, side: 64 }, class, split, defect, index };
            Image { path: String::new(), source: data::Source::Synthetic(drawing) }
        };
        let geometry = Geometry { size: SIDE, ..Geometry::default() };
        let images: Vec<Image> = (0..count).map(of_number).collect();
        Pictures::new(Listed::new(&images, &mut Digests::open(None)).expect("nothing is read"), geometry)
    }

    fn pool(params: &Params) -> Pool<'_> {
        let name = "efficientnet_lite0".to_string();
        let spec = spec::Backbone {
            name,
            layers: vec!["stride8".into(), "stride16".into()],
            weights: "random".into(),
            ..Default::default()
        };
        let mask = |_| {
            let data = (0..SIDE * SIDE).map(|place| if place % SIDE < 9 { u8::MAX } else { 0 }).collect();
            Pixels { width: SIDE, height: SIDE, channels: 1, data }
        };
        Pool {
            params,
            seed: 0,
            levels: vec![Level { side: 4, channels: 40 }, Level { side: 2, channels: 112 }],
            backbone: Backbone::load(&spec, Path::new("none"), 0, &Device::flex()).expect("random weights"),
            normals: Shelf::new(vec![pictures("good", NORMALS)], 1 << 20),
            images: (0..NORMALS).map(|image| (0, image)).collect(),
            seen: Shelf::new(vec![pictures("hole", SEEN)], 1 << 20),
            seen_classes: vec![0; SEEN],
            masks: (0..SEEN).map(mask).collect(),
            kept: (0..3).map(|_| OnceLock::new()).collect(),
        }
    }

    const FIRST: Pass = Pass { number: 0, first_epoch: true };
    const LATER: Pass = Pass { number: 9, first_epoch: false };

    #[test]
    fn a_pass_has_every_normal_image_once_and_every_anomaly_ten_times_half_of_them_pasted() {
        let mut params = Params::default();
        (params.train.batch, params.train.drop_last) = (4, false);
        let pool = pool(&params);
        let sources = |pass: Pass| -> Vec<Source> {
            (0..pool.batches(pass)).flat_map(|batch| pool.sources(pass, batch)).collect()
        };
        let count = |sources: &[Source], wanted: Source| sources.iter().filter(|&&source| source == wanted).count();
        let later = sources(LATER);
        assert_eq!(later.len(), NORMALS + 10 * SEEN);
        assert!((0..NORMALS).all(|image| count(&later, Source::Normal(image)) == 1));
        for image in 0..SEEN {
            assert_eq!([Source::Seen(image), Source::Pasted(image)].map(|source| count(&later, source)), [5, 5]);
        }
        let first = sources(FIRST);
        assert!(first.len() == NORMALS && first.iter().all(|source| matches!(source, Source::Normal(_))));
        params.train.drop_last = true;
        assert_eq!([FIRST, LATER].map(|pass| self::pool(&params).batches(pass)), [1, 6]);
    }

    #[test]
    fn a_third_of_a_balanced_batch_is_anomalies() {
        let mut params = Params::default();
        (params.train.batch, params.train.sampling) = (6, Sampling::Balanced);
        let pool = pool(&params);
        assert_eq!(pool.batches(LATER), params.train.steps);
        for batch in 0..pool.batches(LATER) {
            let sources = pool.sources(LATER, batch);
            let normal = sources.iter().filter(|source| matches!(source, Source::Normal(_))).count();
            assert_eq!((sources.len(), normal), (6, 4));
        }
    }

    #[test]
    fn steps_have_every_place_once_and_are_the_same_whenever_they_are_made() {
        let mut params = Params::default();
        (params.train.batch, params.train.chunk) = (4, 16);
        let pool = pool(&params);
        let drafts = pool.drafts(LATER, 1).expect("images");
        assert_eq!(
            drafts.iter().map(|draft| (draft.level, draft.places.len())).collect::<Vec<_>>(),
            [(0, 16), (0, 16), (0, 16), (0, 16), (1, 16)]
        );
        for (level, side) in [(0, 4), (1, 2)] {
            let own = drafts.iter().filter(|draft| draft.level == level);
            let places: Vec<usize> = own.flat_map(|draft| draft.places.iter().copied()).collect();
            let often = |place| places.iter().filter(|&&other| other == place).count();
            assert!((0..side * side).all(|place| often(place) == 4), "each place of each of four images");
        }
        let again = pool.drafts(LATER, 1).expect("images");
        assert!(drafts.iter().zip(&again).all(|(a, b)| a.vectors == b.vectors && a.anomalous == b.anomalous));
        let other = pool.drafts(Pass { number: 10, ..LATER }, 1).expect("images");
        assert!(drafts.iter().zip(&other).any(|(a, b)| a.vectors != b.vectors));
    }

    #[test]
    fn a_pasted_defect_leaves_the_normal_image_outside_its_mask() {
        let mut params = Params::default();
        params.anomalies.changes = PastedChanges::None;
        let pool = pool(&params);
        let mut draws = stream(0, Purpose::Augmentation, 3);
        let (image, mask) = pool.pasted(1, &mut draws).expect("images");
        let anomaly = pool.seen.get(0, 1).expect("an image");
        let normals: Vec<_> = (0..NORMALS).map(|image| pool.normals.get(0, image).expect("an image")).collect();
        let like = |other: &Pixels, inside: bool| {
            let pixels = image.data.chunks(3).zip(other.data.chunks(3)).zip(&mask.data);
            pixels.filter(|(_, mask)| (**mask == u8::MAX) == inside).all(|((a, b), _)| a == b)
        };
        assert!(like(&anomaly, true));
        assert_eq!(normals.iter().filter(|normal| like(normal, false)).count(), 1);
    }
}
