//! Writes a state dictionary as safetensors, tensors in order of names.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{StateDict, little_endian};
use crate::error::{Error, Result};
use crate::store::write_atomically;

/// Writes `state` to `path` in one step, so that a crash leaves the old file or none, and several processes that import
/// at once a whole one.
pub fn write(path: &Path, state: &StateDict) -> Result<()> {
    write_noting(path, state, None)
}

/// The same with a note of the SHA-256 of the file that they were in before.
pub fn write_imported(path: &Path, state: &StateDict, sha256: String) -> Result<()> {
    write_noting(path, state, Some(HashMap::from([(IMPORTED.to_string(), sha256)])))
}

/// The SHA-256 that [`write_imported`] has noted in a file.
pub fn imported_from(path: &Path) -> Option<String> {
    // The beginning of the file is all that is read.
    let file = std::fs::File::open(path).ok()?;
    // SAFETY: a file that somebody changes meanwhile is another file; what is read of it is only compared.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.ok()?;
    let (_, head) = SafeTensors::read_metadata(&bytes).ok()?;
    head.metadata().as_ref()?.get(IMPORTED).cloned()
}

/// The key of the note.
const IMPORTED: &str = "imported_from_sha256";

fn write_noting(path: &Path, state: &StateDict, note: Option<HashMap<String, String>>) -> Result<()> {
    let bytes: Vec<(&String, Vec<u8>)> =
        state.iter().map(|(name, weight)| (name, little_endian(&weight.values))).collect();
    let broken = |error: safetensors::SafeTensorError| Error::weights(path, format!("cannot be written: {error}"), "");
    let mut views = Vec::with_capacity(bytes.len());
    for (name, bytes) in &bytes {
        views.push((name.as_str(), TensorView::new(Dtype::F32, state[*name].shape.clone(), bytes).map_err(broken)?));
    }
    let file = safetensors::serialize(views, note).map_err(broken)?;
    write_atomically(path, &file)
}
