//! Which images a step of DRA's training has, and what they are made of. Everything here is a function of the step's number.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::params::{Params, PseudoSource, Pyramid, ReferenceScope, TestReferences, TrainReferences};
use super::trainer::Label;
use crate::backbone::{Architecture, normalise};
use crate::data::decode::Pixels;
use crate::error::Result;
use crate::random::{Purpose, Stream, stream};
use crate::train::{Shelf, rounds};

/// All images that a training may draw from.
pub struct Pool<'a> {
    /// Settings.
    pub params: &'a Params,
    /// The run's seed.
    pub seed: u64,
    /// For mean and deviation of pixels.
    pub architecture: &'static Architecture,
    /// Sides of the scales, full scale first.
    pub sides: Vec<usize>,
    /// Normal images, one list for each class; then external anomalies, one list for each category.
    pub normals: Shelf,
    /// Classes among the lists of `normals`.
    pub classes: usize,
    /// Lists of external anomalies behind them.
    pub externals: usize,
    /// Class and number of each normal image.
    pub images: Vec<(usize, usize)>,
    /// Seen anomalies, one list.
    pub seen: Shelf,
    /// Class of each of them.
    pub seen_classes: Vec<usize>,
}

/// An image that enters a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A normal image, by its number among all.
    Normal(usize),
    /// A seen anomaly.
    Seen(usize),
}

/// Normalised planes of an image at every scale, full scale first.
pub type Planes = Vec<Vec<f32>>;

/// The images of a step on the host.
pub struct Draft {
    /// References first, then the labelled images, normalised planes; full scale first.
    pub scales: Vec<Vec<f32>>,
    /// What the labelled images are.
    pub labels: Vec<Label>,
    /// Labelled × references: weights of the references.
    pub average: Vec<f32>,
    /// References.
    pub references: usize,
}

impl Pool<'_> {
    /// The images of a step.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn draft(&self, step: u64) -> Result<Draft> {
        let (normal, seen) = self.params.train.shares(self.seen.len(0) > 0);
        let normals = rounds(self.seed, Purpose::NormalOrder, self.images.len(), step, normal).map(Source::Normal);
        let seen = rounds(self.seed, Purpose::AnomalyOrder, self.seen.len(0), step, seen).map(Source::Seen);
        let sources: Vec<Source> = normals.chain(seen).collect();
        let batch = sources.len() as u64;
        let of_place = |(place, source): (usize, &Source)| {
            let mut draws = stream(self.seed, Purpose::Augmentation, step * batch + place as u64);
            let (image, label) = match *source {
                Source::Normal(image) => self.mixed(image, &mut draws)?,
                Source::Seen(image) => (self.seen.get(0, image)?, Label::Seen),
            };
            let image = self.params.augment.apply(Arc::unwrap_or_clone(image), &mut draws);
            Ok((self.planes(&image), label))
        };
        let labelled = sources.par_iter().enumerate().map(of_place).collect::<Result<Vec<_>>>()?;
        let groups: Vec<usize> = sources.iter().map(|source| self.group(*source)).collect();
        let (references, average) = self.references(step, &groups)?;
        let count = references.len();
        let (own, labels): (Vec<_>, Vec<_>) = labelled.into_iter().unzip();
        let all: Vec<Planes> = references.into_iter().chain(own).collect();
        let scales = (0..self.sides.len()).map(|scale| all.iter().flat_map(|image| &image[scale]).copied().collect());
        Ok(Draft { scales: scales.collect(), labels, average, references: count })
    }

    /// The list of references that an image is compared with: that of all classes, or of its own.
    fn group(&self, source: Source) -> usize {
        match (self.params.references.scope, source) {
            (ReferenceScope::Any, _) => 0,
            (ReferenceScope::Class, Source::Normal(image)) => self.images[image].0,
            (ReferenceScope::Class, Source::Seen(image)) => self.seen_classes[image],
        }
    }

    /// The references of a step whose images need those of `groups`, and their weights for each image.
    fn references(&self, step: u64, groups: &[usize]) -> Result<(Vec<Planes>, Vec<f32>)> {
        let mut chosen: Vec<(usize, usize, u64)> = Vec::new(); // group, image, number through all steps
        let mut members: BTreeMap<usize, usize> = BTreeMap::new();
        let mut wanted = groups.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let mixed = self.params.references.train == TrainReferences::RandomMixed;
        for group in wanted {
            let place = step * self.classes as u64 + group as u64;
            let images = match mixed {
                true => self.choose(group, &mut stream(self.seed, Purpose::ReferenceImages, place)),
                false => self.fixed(group, 0),
            };
            members.insert(group, images.len());
            let first = place * self.params.references.count as u64;
            chosen.extend(images.into_iter().enumerate().map(|(n, image)| (group, image, first + n as u64)));
        }
        let of_image = |&(_, image, number): &(usize, usize, u64)| {
            if !mixed {
                return Ok(self.planes(&*self.normal(image)?));
            }
            self.changed(image, &mut stream(self.seed, Purpose::ReferenceAugmentation, number))
        };
        let images = chosen.par_iter().map(of_image).collect::<Result<Vec<_>>>()?;
        let weight = |own: usize, group: usize| if own == group { 1.0 / members[&group] as f32 } else { 0.0 };
        let average = groups.iter().flat_map(|&own| chosen.iter().map(move |&(group, ..)| (own, group)));
        Ok((images, average.map(|(own, group)| weight(own, group)).collect()))
    }

    /// References from a stream: distinct normal images of a group.
    fn choose(&self, group: usize, draws: &mut Stream) -> Vec<usize> {
        let whole = self.params.references.scope == ReferenceScope::Any;
        let own: Vec<usize> = (0..self.images.len()).filter(|&image| whole || self.images[image].0 == group).collect();
        draws.choose(own.len(), self.params.references.count).into_iter().map(|place| own[place]).collect()
    }

    /// The references of a draw that stay the same for all images.
    fn fixed(&self, group: usize, draw: u64) -> Vec<usize> {
        let index = draw * self.classes as u64 + group as u64;
        self.choose(group, &mut stream(self.seed, Purpose::TestReferences, index))
    }

    /// The references of a group once training is over, as planes: those of a draw, and with references that are drawn anew
    /// for every batch those of a batch of tested images.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn test_references(&self, group: usize, draw: u64, batch: u64) -> Result<Vec<Planes>> {
        if self.params.references.test == TestReferences::FixedClean {
            return self.fixed(group, draw).into_iter().map(|image| Ok(self.planes(&*self.normal(image)?))).collect();
        }
        // Numbers of draws, batches and groups in one index.
        let index = (draw << 48) + (batch << 16) + group as u64;
        let mut draws = stream(self.seed, Purpose::TestReferences, index);
        let images = self.choose(group, &mut draws);
        images.into_iter().map(|image| self.changed(image, &mut draws)).collect()
    }

    fn normal(&self, image: usize) -> Result<Arc<Pixels>> {
        let (class, number) = self.images[image];
        self.normals.get(class, number)
    }

    /// A normal image, or a pseudo-anomaly in its place, changed as training images are.
    fn changed(&self, image: usize, draws: &mut Stream) -> Result<Planes> {
        let (image, _) = self.mixed(image, draws)?;
        Ok(self.planes(&self.params.augment.apply(Arc::unwrap_or_clone(image), draws)))
    }

    /// A normal image, or by chance a pseudo-anomaly in its place: another normal image with a piece of itself pasted
    /// elsewhere, or an external anomaly.
    fn mixed(&self, image: usize, draws: &mut Stream) -> Result<(Arc<Pixels>, Label)> {
        let pseudo = &self.params.pseudo;
        if draws.uniform() >= pseudo.probability {
            return Ok((self.normal(image)?, Label::Normal));
        }
        if pseudo.source == PseudoSource::External {
            let list = self.classes + draws.below(self.externals);
            let image = self.normals.get(list, draws.below(self.normals.len(list)))?;
            return Ok((image, Label::Pseudo));
        }
        let other = self.normal(draws.below(self.images.len()))?;
        let cut = pseudo.cut.draw([other.width, other.height], draws);
        Ok((Arc::new(cut.apply(&other, (*other).clone())), Label::Pseudo))
    }

    /// Normalised planes of an image at every scale.
    pub fn planes(&self, image: &Pixels) -> Planes {
        let mut full = Vec::with_capacity(image.data.len());
        normalise(&image.data, self.architecture, &mut full);
        let smaller = self.sides[1..].iter().map(|&side| shrunk(&full, image.width, side, self.params.network.pyramid));
        let smaller: Planes = smaller.collect();
        std::iter::once(full).chain(smaller).collect()
    }
}

/// Three square planes brought from `from` to `to` pixels.
fn shrunk(planes: &[f32], from: usize, to: usize, pyramid: Pyramid) -> Vec<f32> {
    let scale = from as f64 / to as f64;
    // For each target: the pixel before, the one behind, and the share of that one.
    let places: Vec<(usize, usize, f32)> = (0..to)
        .map(|target| match pyramid {
            Pyramid::Nearest => {
                let place = ((target as f64 * scale) as usize).min(from - 1);
                (place, place, 0.0)
            }
            Pyramid::Bilinear => {
                let place = ((target as f64 + 0.5) * scale - 0.5).max(0.0);
                let before = (place as usize).min(from - 1);
                (before, (before + 1).min(from - 1), (place - before as f64) as f32)
            }
        })
        .collect();
    let between = |a: f32, b: f32, share: f32| if share == 0.0 { a } else { a + share * (b - a) };
    let mut out = Vec::with_capacity(3 * to * to);
    for plane in planes.chunks_exact(from * from) {
        for &(above, below, down) in &places {
            let (upper, lower) = (&plane[above * from..][..from], &plane[below * from..][..from]);
            out.extend(places.iter().map(|&(left, right, across)| {
                between(between(upper[left], upper[right], across), between(lower[left], lower[right], across), down)
            }));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::layouts::synthetic::SyntheticSpec;
    use crate::data::{self, Digests, Image, Listed, index::Drawing};
    use crate::plan::Pictures;
    use crate::spec::Geometry;

    #[test]
    fn rounds_go_through_all_images_before_one_comes_again_and_start_anywhere() {
        let all: Vec<usize> = rounds(0, Purpose::NormalOrder, 5, 0, 20).collect();
        for round in all.chunks(5) {
            let mut sorted = round.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert_ne!(all[..5], all[5..10]);
        let steps: Vec<usize> = (0..10).flat_map(|step| rounds(0, Purpose::NormalOrder, 5, step, 2)).collect();
        assert_eq!(steps, all);
        assert_eq!(rounds(0, Purpose::AnomalyOrder, 0, 3, 16).count(), 0);
    }

    fn pictures(class: &str, defect: &'static str, count: usize) -> Pictures {
        let of_number = |index: usize| {
            let (class, split) = (class.to_string(), if defect == "good" { "train" } else { "test" });
            let drawing = Drawing { spec: SyntheticSpec { seed: 0, side: 64 }, class, split, defect, index };
            Image { path: String::new(), source: data::Source::Synthetic(drawing) }
        };
        let geometry = Geometry { size: 32, ..Geometry::default() };
        let images: Vec<Image> = (0..count).map(of_number).collect();
        Pictures::new(Listed::new(&images, &mut Digests::open(None)).expect("nothing is read"), geometry)
    }

    fn pool<'a>(params: &'a Params, normals: &[&str]) -> Pool<'a> {
        let seen: Vec<Pictures> = vec![pictures("wood", "hole", 3)];
        let lists: Vec<Pictures> = normals.iter().map(|class| pictures(class, "good", 4)).collect();
        Pool {
            params,
            seed: 0,
            architecture: Architecture::find("resnet18").expect("known"),
            sides: vec![32],
            classes: lists.len(),
            externals: 0,
            images: (0..lists.len()).flat_map(|class| (0..4).map(move |image| (class, image))).collect(),
            normals: Shelf::new(lists, 1 << 20),
            seen: Shelf::new(seen, 1 << 20),
            seen_classes: vec![normals.len() - 1; 3],
        }
    }

    #[test]
    fn a_third_of_the_images_is_of_each_kind_and_a_step_is_the_same_whenever_it_is_made() {
        let params = Params::default();
        let pool = pool(&params, &["tile", "wood"]);
        let mut counts = [0usize; 3];
        for step in 0..60 {
            let labels = pool.draft(step).expect("images").labels;
            labels.iter().for_each(|label| counts[*label as usize] += 1);
        }
        let all = counts.iter().sum::<usize>() as f64;
        assert!(counts.iter().all(|&count| (count as f64 / all - 1.0 / 3.0).abs() < 0.02), "{counts:?}");
        let [first, again, other] = [7, 7, 8].map(|step| pool.draft(step).expect("images").scales);
        assert!(first == again && first != other);
    }

    #[test]
    fn weights_of_references_sum_up_to_one_and_are_those_of_the_own_class_where_that_is_asked_for() {
        for (scope, expected) in [(ReferenceScope::Any, 3), (ReferenceScope::Class, 6)] {
            let mut params = Params::default();
            params.references.scope = scope;
            params.references.count = 3;
            let draft = pool(&params, &["tile", "wood"]).draft(0).expect("images");
            assert_eq!((draft.references, draft.average.len()), (expected, expected * draft.labels.len()));
            for row in draft.average.chunks(expected) {
                let sum: f32 = row.iter().sum();
                assert!((sum - 1.0).abs() < 1e-6 && row.iter().filter(|&&weight| weight > 0.0).count() == 3);
            }
        }
    }

    #[test]
    fn fixed_references_are_the_same_for_every_step_and_after_it() {
        let mut params = Params::default();
        params.references.train = TrainReferences::Fixed;
        let pool = pool(&params, &["tile", "wood"]);
        let side = 3 * 32 * 32;
        let [first, second] = [0, 1].map(|step| pool.draft(step).expect("images").scales[0][..5 * side].to_vec());
        let after: Vec<f32> = pool.test_references(0, 0, 0).expect("images").concat().concat();
        assert!(first == second && first == after);
        assert_ne!(after, pool.test_references(0, 1, 0).expect("images").concat().concat(), "another draw");
    }

    #[test]
    fn the_nearest_half_is_every_second_pixel_and_the_bilinear_one_the_mean_of_four() {
        let planes: Vec<f32> = (0..48).map(|value| value as f32).collect();
        assert_eq!(shrunk(&planes, 4, 2, Pyramid::Nearest)[..4], [0.0, 2.0, 8.0, 10.0]);
        assert_eq!(shrunk(&planes, 4, 2, Pyramid::Bilinear)[..4], [2.5, 4.5, 10.5, 12.5]);
    }
}
