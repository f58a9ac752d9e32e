//! Rows of images that stay on a device through a whole training, so that a step moves numbers of images and nothing else.

use burn::tensor::{Device, Int, Tensor};

use crate::device::{Chosen, upload, upload_ints};
use crate::matrix::Rows;

/// The rows of some images, each image a tensor of its own.
pub struct Resident {
    images: Vec<Tensor<2>>,
}

/// Whole numbers that belong to rows of images.
pub struct ResidentNumbers {
    images: Vec<Tensor<1, Int>>,
}

/// Which rows of which images enter a step.
pub struct Choice {
    images: Vec<usize>,
    /// The rows of all images one after the other, and how many each has; none = all rows.
    rows: Option<(Tensor<1, Int>, Vec<usize>)>,
}

impl Choice {
    /// All rows of these images.
    pub fn all(images: Vec<usize>) -> Choice {
        Choice { images, rows: None }
    }

    /// These rows of these images; the numbers go to `device`.
    pub fn some(images: Vec<usize>, rows: &[Vec<usize>], device: &Device) -> Choice {
        let numbers: Vec<u32> = rows.iter().flatten().map(|&row| row as u32).collect();
        Choice { images, rows: Some((upload_ints(&numbers, device), rows.iter().map(Vec::len).collect())) }
    }

    /// What `pick` makes of each image and of the numbers of its rows.
    fn each<T>(&self, pick: impl Fn(usize, Option<Tensor<1, Int>>) -> T) -> Vec<T> {
        let mut start = 0;
        let of_image = |(place, &image): (usize, &usize)| {
            let rows = self.rows.as_ref().map(|(numbers, counts)| {
                let range = start..start + counts[place];
                start = range.end;
                numbers.clone().slice([range])
            });
            pick(image, rows)
        };
        self.images.iter().enumerate().map(of_image).collect()
    }
}

impl Resident {
    /// Brings the rows of all images to the device.
    pub fn new<'a>(images: impl Iterator<Item = Rows<'a>>, device: &Device) -> Resident {
        let bring = |rows: Rows| upload(rows.data().to_vec(), [rows.len(), rows.cols()], device);
        Resident { images: images.map(bring).collect() }
    }

    /// The rows of all images of all classes on `device`, if `chosen` is a GPU that has room for them.
    pub fn where_there_is_room(
        chosen: &Chosen,
        classes: &[Rows],
        per_image: usize,
        device: &Device,
    ) -> Option<Resident> {
        let bytes: u64 = classes.iter().map(|rows| 4 * rows.data().len() as u64).sum();
        let images = classes.iter().flat_map(|rows| {
            (0..rows.len() / per_image).map(|image| rows.slice(image * per_image..(image + 1) * per_image))
        });
        chosen.keeps(bytes).then(|| Resident::new(images, device))
    }

    /// The chosen rows, image after image.
    pub fn gather(&self, choice: &Choice) -> Tensor<2> {
        let pick = |image: usize, rows: Option<Tensor<1, Int>>| match rows {
            Some(rows) => self.images[image].clone().select(0, rows),
            None => self.images[image].clone(),
        };
        Tensor::cat(choice.each(pick), 0)
    }
}

impl ResidentNumbers {
    /// Brings the numbers of all images to the device.
    pub fn new<'a>(images: impl Iterator<Item = &'a [u32]>, device: &Device) -> ResidentNumbers {
        ResidentNumbers { images: images.map(|numbers| upload_ints(numbers, device)).collect() }
    }

    /// Those of the chosen rows, image after image.
    pub fn gather(&self, choice: &Choice) -> Tensor<1, Int> {
        let pick = |image: usize, rows: Option<Tensor<1, Int>>| match rows {
            Some(rows) => self.images[image].clone().select(0, rows),
            None => self.images[image].clone(),
        };
        Tensor::cat(choice.each(pick), 0)
    }
}
