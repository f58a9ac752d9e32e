//! Which images a step of DM-GRD's training has, what they are made of, and what the teacher says of them. Everything here is
//! a function of the step's number.

use std::sync::Arc;

use burn::tensor::Device;
use rayon::prelude::*;

use super::memory::MemoryView;
use super::params::{Order, Params, Target};
use super::select::{Selected, select};
use crate::backbone::{Architecture, Backbone, normalise};
use crate::data::decode::Pixels;
use crate::error::Result;
use crate::methods::distillation::Maps;
use crate::random::{Purpose, Stream, stream};
use crate::train::{Shelf, download, rounds};

/// All images that may be drawn from.
pub struct Pool<'a> {
    /// Settings.
    pub params: &'a Params,
    /// The run's seed.
    pub seed: u64,
    /// Normal images, one list for each class.
    pub normals: Shelf,
    /// Class and number of each normal image.
    pub images: Vec<(usize, usize)>,
    /// Textures, one list for each category.
    pub textures: Shelf,
    /// Categories of textures.
    pub categories: usize,
}

/// A training image: normalised planes.
pub struct Drawn {
    /// As it is learned from.
    pub planes: Vec<f32>,
    /// What an anomaly was made of.
    pub clean: Option<Vec<f32>>,
}

impl Pool<'_> {
    fn image(&self, number: usize) -> Result<Arc<Pixels>> {
        let (class, image) = self.images[number];
        self.normals.get(class, image)
    }

    /// Normalised planes of a normal image.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn clean(&self, number: usize, architecture: &Architecture) -> Result<Vec<f32>> {
        let image = self.image(number)?;
        let mut planes = Vec::with_capacity(image.data.len());
        normalise(&image.data, architecture, &mut planes);
        Ok(planes)
    }

    /// Normalised planes of an anomaly made of a normal image.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn anomaly(&self, number: usize, architecture: &Architecture, draws: &mut Stream) -> Result<Vec<f32>> {
        let category = draws.below(self.categories);
        let texture = self.textures.get(category, draws.below(self.textures.len(category)))?;
        let anomaly = &self.params.synthesis.anomaly;
        let mut planes = anomaly.make(&*self.image(number)?, &texture, &anomaly.draw(draws)).image;
        let pixels = planes.len() / 3;
        for (channel, plane) in planes.chunks_exact_mut(pixels).enumerate() {
            let (mean, deviation) = (architecture.mean[channel], architecture.std[channel]);
            plane.iter_mut().for_each(|value| *value = (*value - mean) / deviation);
        }
        Ok(planes)
    }

    /// The images of a step.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn draw(&self, step: u64, architecture: &Architecture) -> Result<Vec<Drawn>> {
        let batch = self.params.train.batch;
        let images: Vec<usize> = rounds(self.seed, Purpose::NormalOrder, self.images.len(), step, batch).collect();
        let of_place = |(place, &image): (usize, &usize)| {
            let number = step * batch as u64 + place as u64;
            let draws = &mut stream(self.seed, Purpose::Augmentation, number);
            if !self.is_anomaly(number, draws) {
                return Ok(Drawn { planes: self.clean(image, architecture)?, clean: None });
            }
            let clean = (self.params.loss.kd_target == Target::Clean).then(|| self.clean(image, architecture));
            Ok(Drawn { planes: self.anomaly(image, architecture, draws)?, clean: clean.transpose()? })
        };
        images.par_iter().enumerate().map(of_place).collect()
    }

    /// Whether an image, by its number through all steps, becomes an anomaly.
    fn is_anomaly(&self, number: u64, draws: &mut Stream) -> bool {
        match self.params.synthesis.order {
            Order::Coin => draws.uniform() < self.params.synthesis.probability,
            Order::Alternate => number % 2 == 1,
        }
    }
}

/// What the teacher says of an image. Each image passes alone, so that its maps depend on nothing else.
///
/// # Errors
/// An image that is too small for the network.
pub fn teacher_maps(backbone: &Backbone, planes: Vec<f32>, side: usize) -> Result<Maps> {
    Ok(backbone.maps(planes, side)?.into_iter().map(download).collect())
}

/// The memories, as far as there are any, and how they are asked.
pub struct Memories<'a> {
    /// That of normal images.
    pub normal: Option<MemoryView<'a>>,
    /// That of anomalies.
    pub abnormal: Option<MemoryView<'a>>,
}

/// Everything that is known of an image before the student sees it.
pub struct Prepared {
    /// What the teacher says of it.
    pub maps: Arc<Maps>,
    /// What the student is to say, where that is something else.
    pub target: Option<Arc<Maps>>,
    /// What it is compared with.
    pub normal: Option<Selected>,
    /// The anomaly that it is compared with.
    pub abnormal: Option<Selected>,
}

impl Memories<'_> {
    /// Looks an image up in both memories.
    pub fn look_up(&self, params: &Params, maps: Arc<Maps>, device: &Device) -> Prepared {
        let found = |memory: &Option<MemoryView>| {
            memory.as_ref().map(|memory| select(params.memory.select, memory, &maps, device))
        };
        let (normal, abnormal) = (found(&self.normal), found(&self.abnormal));
        Prepared { maps, target: None, normal, abnormal }
    }
}
