//! Images for training: looked up, and made into batches on all cores while the device works.
//!
//! Owns: which images stay in memory, and how far ahead batches are made. Does not own: what a batch is (the methods). What a
//! batch holds must be a function of its number alone: then it is the same on any number of threads, and after any
//! interruption.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};

use crate::data::decode::Pixels;
use crate::error::{Error, Result};
use crate::plan::Pictures;
use crate::random::{Purpose, stream};

/// Lists of images that are looked at again and again, and what is made of each: the image itself, or anything that a frozen
/// network says of it. Those of the first images stay in memory, as many as may.
pub struct Shelf<T = Pixels> {
    lists: Vec<Pictures>,
    /// Where each list begins among all images.
    starts: Vec<usize>,
    kept: Vec<OnceLock<Arc<T>>>,
}

impl<T> Shelf<T> {
    /// Lists of which so much may stay in memory between two looks, where one image takes `image_bytes`.
    pub fn of(lists: Vec<Pictures>, memory_bytes: u64, image_bytes: usize) -> Self {
        let starts = lists.iter().scan(0, |sum, list| Some(std::mem::replace(sum, *sum + list.len()))).collect();
        let images = lists.iter().map(Pictures::len).sum::<usize>();
        let fitting = usize::try_from(memory_bytes / image_bytes.max(1) as u64).unwrap_or(usize::MAX).min(images);
        Shelf { lists, starts, kept: (0..fitting).map(|_| OnceLock::new()).collect() }
    }

    /// Images of a list.
    pub fn len(&self, list: usize) -> usize {
        self.lists[list].len()
    }

    /// True when there is no image at all.
    pub fn is_empty(&self) -> bool {
        self.lists.iter().all(Pictures::is_empty)
    }

    /// List and number within the list of every image.
    pub fn images(&self) -> Vec<(usize, usize)> {
        let lists = self.lists.iter().enumerate();
        lists.flat_map(|(number, list)| (0..list.len()).map(move |image| (number, image))).collect()
    }

    /// What `make` makes of an image of a list, made where it is not known.
    ///
    /// # Errors
    /// A file that cannot be decoded any more, and those of `make`.
    pub fn made(&self, (list, number): (usize, usize), make: impl FnOnce(Pixels) -> Result<T>) -> Result<Arc<T>> {
        let place = self.kept.get(self.starts[list] + number);
        if let Some(known) = place.and_then(OnceLock::get) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(make(self.lists[list].load(number)?)?);
        Ok(place.map_or(Arc::clone(&made), |place| Arc::clone(place.get_or_init(|| made))))
    }
}

impl Shelf {
    /// Lists whose images may take so many bytes of memory between two looks.
    pub fn new(lists: Vec<Pictures>, memory_bytes: u64) -> Shelf {
        let image_bytes = lists.first().map_or(1, |list| 3 * list.side().pow(2));
        Shelf::of(lists, memory_bytes, image_bytes)
    }

    /// An image of a list.
    ///
    /// # Errors
    /// A file that cannot be decoded any more.
    pub fn get(&self, list: usize, number: usize) -> Result<Arc<Pixels>> {
        self.made((list, number), Ok)
    }
}

/// Batches that wait for the device besides the one it works on and the one that is made.
const WAITING: usize = 1;

/// Batches in memory at once.
pub const BATCHES_AT_ONCE: usize = WAITING + 2;

/// Makes `count` batches, each from its number, on a thread of their own (and on all cores where `make` uses them), and
/// hands them to `use_batch` in order, which meanwhile works on those before.
///
/// # Errors
/// The first one that making or using a batch gives; nothing is made or used after it.
pub fn ahead<B: Send>(
    count: usize,
    make: impl Fn(usize) -> Result<B> + Sync,
    mut use_batch: impl FnMut(usize, B) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        scope.spawn(|| {
            let sender = sender;
            for number in 0..count {
                let made = make(number);
                let failed = made.is_err();
                if sender.send(made).is_err() || failed {
                    break;
                }
            }
        });
        for number in 0..count {
            let died = |_| Error::method("making a training batch broke off", "please report it");
            use_batch(number, receiver.recv().map_err(died)??)?;
        }
        Ok(())
    })
}

/// The numbers `step · count …` of an endless row of permutations of `0..images`; none where there is no image.
pub fn rounds(seed: u64, purpose: Purpose, images: usize, step: u64, count: usize) -> impl Iterator<Item = usize> {
    let mut round: Option<(u64, Vec<usize>)> = None;
    let first = step * count as u64;
    let numbers = if images == 0 { first..first } else { first..first + count as u64 };
    numbers.map(move |number| {
        let (now, place) = (number / images as u64, (number % images as u64) as usize);
        let known = round.take().filter(|(known, _)| *known == now);
        let order = known.map_or_else(|| stream(seed, purpose, now).permutation(images), |(_, order)| order);
        let image = order[place];
        round = Some((now, order));
        image
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_in_order_and_the_first_fault_ends_it() {
        let mut used = Vec::new();
        let push = |number: usize, batch: usize| {
            used.push((number, batch));
            Ok(())
        };
        ahead(20, |number| Ok(number * number), push).expect("no fault");
        assert!(used.iter().enumerate().all(|(place, &(number, batch))| (place, place * place) == (number, batch)));
        let fault = || Error::method("it is over", "");
        let made = ahead(9, |number| if number == 3 { Err(fault()) } else { Ok(()) }, |_, ()| Ok(()));
        assert!(made.is_err_and(|error| error.to_string().contains("it is over")));
        let mut count = 0;
        let used = ahead(9, Ok, |number, _| {
            count += 1;
            if number == 2 { Err(fault()) } else { Ok(()) }
        });
        assert!(used.is_err() && count == 3);
    }
}
