//! Writes a state dictionary as safetensors, tensors in order of names.

use std::io::Write;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{StateDict, little_endian};
use crate::error::{Error, Result};

/// Writes `state` to `path` through a temporary file beside it, so that a crash leaves the old file or none.
pub fn write(path: &Path, state: &StateDict) -> Result<()> {
    let bytes: Vec<(&String, Vec<u8>)> =
        state.iter().map(|(name, weight)| (name, little_endian(&weight.values))).collect();
    let broken = |error: safetensors::SafeTensorError| Error::weights(path, format!("cannot be written: {error}"), "");
    let mut views = Vec::with_capacity(bytes.len());
    for (name, bytes) in &bytes {
        views.push((name.as_str(), TensorView::new(Dtype::F32, state[*name].shape.clone(), bytes).map_err(broken)?));
    }
    let file = safetensors::serialize(views, None).map_err(broken)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let part = path.with_extension("safetensors.part");
    let mut out = std::fs::File::create(&part).map_err(Error::io("write", &part))?;
    out.write_all(&file).and_then(|()| out.sync_all()).map_err(Error::io("write", &part))?;
    std::fs::rename(&part, path).map_err(Error::io("write", path))?;
    Ok(())
}
