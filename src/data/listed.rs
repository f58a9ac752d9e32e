//! Lists of images whose contents are known: what stages are given, and what their keys are made of.
//!
//! Owns: that what is decoded is what the digests were taken of. Does not own: digests (`digest`), what a stage makes of pixels.

use std::sync::Arc;

use super::decode::Pixels;
use super::digest::{Digest, Digests, digest_of_list, hex};
use super::image::load_known;
use super::index::Image;
use crate::error::Result;

/// Images in an order, with the digests of their contents.
#[derive(Clone, Debug)]
pub struct Listed {
    images: Arc<[Image]>,
    contents: Arc<[Digest]>,
    digest: String,
}

impl Listed {
    /// Looks at the contents of images.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn new(images: &[Image], digests: &mut Digests) -> Result<Self> {
        let contents = digests.of(images)?;
        let digest = hex(&digest_of_list(images, &contents));
        Ok(Listed { images: images.into(), contents: contents.into(), digest })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The images.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Digest of the list ([`super::list_digest`]), in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// An image at its original size.
    ///
    /// # Errors
    /// Those of [`super::decode::decode`], and a file that does not hold any more what it held when the list was made.
    pub fn load(&self, number: usize) -> Result<Pixels> {
        load_known(&self.images[number], Some(&self.contents[number]))
    }
}
