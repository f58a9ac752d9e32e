//! Writes a state dictionary as safetensors, tensors in order of names.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{StateDict, little_endian};
use crate::error::{Error, Result};
use crate::store::write_atomically;

/// Writes `state` to `path` in one step, so that a crash leaves the old file or none, and several processes that import
/// at once a whole one.
pub fn write(path: &Path, state: &StateDict) -> Result<()> {
    let bytes: Vec<(&String, Vec<u8>)> =
        state.iter().map(|(name, weight)| (name, little_endian(&weight.values))).collect();
    let broken = |error: safetensors::SafeTensorError| Error::weights(path, format!("cannot be written: {error}"), "");
    let mut views = Vec::with_capacity(bytes.len());
    for (name, bytes) in &bytes {
        views.push((name.as_str(), TensorView::new(Dtype::F32, state[*name].shape.clone(), bytes).map_err(broken)?));
    }
    let file = safetensors::serialize(views, None).map_err(broken)?;
    write_atomically(path, &file)
}
