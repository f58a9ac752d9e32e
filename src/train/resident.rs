//! Rows of images that stay on a device through a whole training, so that a step moves numbers of images and nothing else.

use burn::tensor::{Device, Int, Tensor};

use crate::device::{Chosen, Source, gather_rows, upload, upload_ints};
use crate::matrix::Rows;

/// The rows of some images, each image a tensor of its own: one buffer of all of them could be more than a device hands out at once.
pub struct Resident {
    images: Vec<Tensor<2>>,
    /// Number of each image's first row among those of all.
    starts: Vec<usize>,
    device: Device,
}

/// Which rows of which images enter a step.
pub struct Choice {
    images: Vec<usize>,
    /// How many rows each has.
    counts: Vec<usize>,
    /// The numbers of chosen rows among those of all images; none = all rows.
    rows: Option<Tensor<1, Int>>,
}

impl Choice {
    /// How many rows each image has.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }
}

impl Resident {
    /// Brings the rows of all images to the device.
    pub fn new<'a>(images: impl Iterator<Item = Rows<'a>>, device: &Device) -> Resident {
        let mut all = Resident { images: Vec::new(), starts: Vec::new(), device: device.clone() };
        let mut start = 0;
        for rows in images {
            all.images.push(upload(rows.data().to_vec(), [rows.len(), rows.cols()], device));
            all.starts.push(start);
            start += rows.len();
        }
        all
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

    /// All rows of these images.
    pub fn all(&self, images: Vec<usize>) -> Choice {
        let counts = images.iter().map(|&image| self.images[image].dims()[0]).collect();
        Choice { images, counts, rows: None }
    }

    /// These rows of these images, whose numbers go to the device; nothing goes there where they are all rows in their order.
    pub fn some(&self, images: Vec<usize>, rows: &[Vec<usize>]) -> Choice {
        let all = self.all(images);
        let whole = |(rows, &count): (&Vec<usize>, &usize)| rows.iter().copied().eq(0..count);
        if rows.iter().zip(&all.counts).all(whole) {
            return all;
        }
        let of_image = |(rows, &image): (&Vec<usize>, &usize)| self.numbers_of(image, rows.iter().copied());
        let numbers: Vec<u32> = rows.iter().zip(&all.images).flat_map(of_image).collect();
        let counts = rows.iter().map(Vec::len).collect();
        Choice { counts, rows: Some(upload_ints(&numbers, &self.device)), ..all }
    }

    /// What rows of an image are numbered among those of all.
    fn numbers_of(&self, image: usize, rows: impl Iterator<Item = usize>) -> Vec<u32> {
        rows.map(|row| (self.starts[image] + row) as u32).collect()
    }

    /// The chosen rows, image after image.
    pub fn gather(&self, choice: &Choice) -> Tensor<2> {
        let Some(numbers) = &choice.rows else {
            return Tensor::cat(choice.images.iter().map(|&image| self.images[image].clone()).collect(), 0);
        };
        let source =
            |(&image, &count): (&usize, &usize)| Source { rows: &self.images[image], first: self.starts[image], count };
        gather_rows(&choice.images.iter().zip(&choice.counts).map(source).collect::<Vec<_>>(), numbers)
    }

    /// The numbers of the chosen rows among those of all images. Where all rows of images are chosen that have equally many, numbers of
    /// first rows go to the device and nothing else.
    pub fn numbers(&self, choice: &Choice) -> Tensor<1, Int> {
        if let Some(numbers) = &choice.rows {
            return numbers.clone();
        }
        let count = choice.counts.first().copied().unwrap_or(0);
        if choice.counts.iter().all(|&other| other == count) {
            let starts: Vec<u32> = choice.images.iter().map(|&image| self.starts[image] as u32).collect();
            let starts = upload_ints(&starts, &self.device).reshape([-1, 1]);
            let within = Tensor::<1, Int>::arange(0..count as i64, &self.device).reshape([1, -1]);
            return (starts + within).reshape([-1]);
        }
        let of_image = |(&image, &count): (&usize, &usize)| self.numbers_of(image, 0..count);
        let numbers: Vec<u32> = choice.images.iter().zip(&choice.counts).flat_map(of_image).collect();
        upload_ints(&numbers, &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{download, download_ints};
    use crate::matrix::Matrix;

    #[test]
    fn chosen_rows_come_with_their_numbers_among_all() {
        let rows = Matrix::new((0..12).map(|value| value as f32).collect(), 2);
        let rows = rows.view();
        let images = [rows.slice(0..2), rows.slice(2..5), rows.slice(5..6)];
        let resident = Resident::new(images.into_iter(), &Device::flex());
        let told = |choice: Choice, counts: &[usize], numbers: &[i32]| {
            assert_eq!(choice.counts(), counts);
            assert_eq!(download_ints(resident.numbers(&choice)), numbers);
            let values: Vec<f32> =
                numbers.iter().flat_map(|&number| [2 * number, 2 * number + 1]).map(|v| v as f32).collect();
            assert_eq!(download(resident.gather(&choice)), values);
        };
        told(resident.all(vec![1, 1]), &[3, 3], &[2, 3, 4, 2, 3, 4]);
        told(resident.all(vec![2, 0]), &[1, 2], &[5, 0, 1]);
        told(resident.some(vec![1, 0], &[vec![2, 0], vec![1]]), &[2, 1], &[4, 2, 1]);
        let whole = resident.some(vec![0, 2], &[vec![0, 1], vec![0]]);
        assert!(whole.rows.is_none());
        told(whole, &[2, 1], &[0, 1, 5]);
        assert!(resident.some(vec![0], &[vec![1, 0]]).rows.is_some());
    }
}
