//! The teacher: a frozen network, and its maps of training images.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use crate::backbone::Backbone;
use crate::data::decode::Pixels;
use crate::error::Result;
use crate::plan::{Level, Pictures};
use crate::train::{Shelf, download, upload};

/// The maps of an image, shallow first: channels × rows × columns each.
pub type Maps = Vec<Vec<f32>>;

/// A frozen network and lists of images that it is shown again and again. Its maps of them are made once, as far as memory
/// goes.
pub struct Teacher {
    backbone: Backbone,
    shelf: Shelf<Maps>,
}

impl Teacher {
    /// A network whose maps of `lists` may take so many bytes of memory between two looks; those of the first images stay.
    pub fn new(backbone: Backbone, lists: Vec<Pictures>, levels: &[Level], memory_bytes: u64) -> Self {
        Teacher { backbone, shelf: Shelf::of(lists, memory_bytes, Teacher::image_bytes(levels)) }
    }

    /// Bytes of an image's maps.
    pub fn image_bytes(levels: &[Level]) -> usize {
        4 * levels.iter().map(Level::values).sum::<usize>()
    }

    /// Class and number of every image, where each class has a list.
    pub fn images(&self) -> Vec<(usize, usize)> {
        self.shelf.images()
    }

    /// Maps of an image of a list.
    ///
    /// # Errors
    /// A file that cannot be decoded any more.
    pub fn maps(&self, image: (usize, usize)) -> Result<Arc<Maps>> {
        self.shelf.made(image, |pixels| self.look(&pixels))
    }

    /// Maps of any image. Each passes alone, so that they depend on nothing else.
    ///
    /// # Errors
    /// An image that is too small for the network.
    pub fn look(&self, image: &Pixels) -> Result<Maps> {
        Ok(self.backbone.forward(&[&image.data], image.width)?.into_iter().map(download).collect())
    }
}

/// Maps of images as tensors, images × channels × rows × columns for each level.
pub fn stack(images: &[Arc<Maps>], levels: &[Level], device: &Device) -> Vec<Tensor<4>> {
    let of_level = |(number, level): (usize, &Level)| {
        let values: Vec<&[f32]> = images.iter().map(|maps| maps[number].as_slice()).collect();
        upload(values.concat(), [images.len(), level.channels, level.side, level.side], device)
    };
    levels.iter().enumerate().map(of_level).collect()
}
