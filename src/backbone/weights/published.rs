//! Weights that others have published, or that come with the program, as a backbone's row names them.
//!
//! Owns: what is known of them, and whether a file is the published one. Does not own: which backbone has which (its row).

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// A published file of weights: what `backbone.weights = "imagenet"` means.
#[derive(Clone, Copy, Debug)]
pub struct PublishedFile {
    /// File name as published.
    pub file: &'static str,
    /// Where it is published.
    pub url: &'static str,
    /// SHA-256 of the file in hex, or as much of its beginning as is known, if any is.
    pub sha256: Option<&'static str>,
    /// Licence of the weights.
    pub licence: &'static str,
    /// Who trained them, on what.
    pub source: &'static str,
}

/// ImageNet weights that are part of the program.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// Name of the safetensors file.
    pub file: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    /// The deepest tap they reach.
    pub deepest: &'static str,
}

impl PublishedFile {
    /// Checks that `path` has the published digest, so that a broken download is called that.
    pub fn check(&self, path: &Path) -> Result<()> {
        let Some(known) = self.sha256 else { return Ok(()) };
        let found = sha256(path)?;
        if found.starts_with(known) {
            return Ok(());
        }
        let what = format!("its SHA-256 is {found}, that of the published file starts with {known}");
        let help =
            format!("download it again from {}; to use other weights, give their path in backbone.weights", self.url);
        Err(Error::weights(path, what, help))
    }
}

/// SHA-256 of a file in hex.
pub fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).map_err(Error::io("read", path))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
